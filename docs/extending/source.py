"""Add a data source: a class with one method that hands over rows as floats and times. Ingest does the rest.

This one reads a folder of JSON-lines candles, one file per instrument: BTC_USDT.jsonl with lines such as

    {"t": "2025-01-01T00:00:00Z", "o": 92792.05, "h": 92848.01, "l": 92706.02, "c": 92782.39, "v": 51.41651}

To offer it by name, move it to ``data/sources/``, add the name to ``DataParams.source`` and a line to ``open_source``.
A bad row is not the source's business: hand it over, ``data.clean`` judges it. A file that cannot be read is: BadInput.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from core.errors import BadInput
from data.sources.protocol import Chunk
from feeds.market import Listing

NAMES = {"t": "time", "o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
SCHEMA = {"t": pl.String} | dict.fromkeys("ohlcv", pl.Float64)


@dataclass(frozen=True)
class JsonLines:
    """A folder of JSON-lines candles."""

    folder: Path

    def chunks(self, listing: Listing) -> Iterator[Chunk]:
        """The instrument's file as one chunk: columns time (UTC, ns), open, high, low, close, volume (floats)."""
        path = self.folder / f"{listing.base}_{listing.quote}.jsonl"
        try:
            frame = pl.read_ndjson(path, schema=SCHEMA).rename(NAMES)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise BadInput(f"{path}: not readable as JSON lines ({error}); fetch it again") from None
        yield Chunk(path.name, 0, frame.with_columns(pl.col("time").str.to_datetime(time_unit="ns", time_zone="UTC")))
