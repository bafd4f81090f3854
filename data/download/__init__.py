"""``python -m data download``: candles and trades of an exchange, as the files that ``data.source`` reads."""
