"""Candles in Parquet: one file per instrument, named BASE_QUOTE.parquet.

Columns: time (open of the bar, UTC), open, high, low, close (quote), volume (base); further columns are ignored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadInput
from data.schema import RAW_COLUMNS
from data.sources.protocol import CHUNK_ROWS, Chunk
from feeds.market import Listing


@dataclass(frozen=True, slots=True)
class Parquet:
    """A folder of Parquet candles."""

    folder: Path

    def chunks(self, listing: Listing) -> Iterator[Chunk]:
        """The instrument's file in pieces of at most CHUNK_ROWS rows."""
        path = self.folder / f"{listing.base}_{listing.quote}.parquet"
        if not path.is_file():
            raise BadInput(f"{path} is missing; add it or leave {listing.symbol} out with data.symbols")
        try:
            with pq.ParquetFile(path) as file:
                present = [name for name in RAW_COLUMNS if name in file.schema_arrow.names]
                row = 0
                for batch in file.iter_batches(CHUNK_ROWS, columns=present):
                    yield Chunk(path.name, row, _utc(pl.DataFrame(pa.Table.from_batches([batch]))))
                    row += batch.num_rows
            if not row:
                raise BadInput(f"{path}: holds no row; fetch it again or leave {listing.symbol} out with data.symbols")
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{path}: not readable as Parquet ({error}); it may be truncated: fetch it again") from None


def _utc(frame: pl.DataFrame) -> pl.DataFrame:
    """``time`` in ns if it is a UTC time; anything else stays for the schema to refuse."""
    dtype = frame.schema.get("time")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC":
        return frame.with_columns(pl.col("time").dt.cast_time_unit("ns"))
    return frame
