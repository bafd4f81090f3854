"""``python -m data download``: candle history of an exchange, as the files that ``data.source: parquet`` reads."""
