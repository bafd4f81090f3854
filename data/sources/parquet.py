"""Candles in Parquet: one file per instrument, named BASE_QUOTE.parquet.

Columns: time (open of the bar, UTC), open, high, low, close (quote), volume (base); further columns are ignored. A
dealer's candles have bid_open to bid_close and ask_open to ask_close instead: their bars are the middle, without
volume, and the market's tick half the dealer's. A bar that closes with the bid above the ask is used and noted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadInput
from data.schema import RAW_COLUMNS
from data.sources.protocol import CHUNK_ROWS, Chunk
from feeds.market import Listing

CROSSED: Final = "crossed"
_PRICES: Final = ("open", "high", "low", "close")
_DECIMALS: Final = 9  # of a middle: half a tick is a decimal again, which a sum of floats misses by the last bit
_SIDES: Final = tuple(f"{side}_{name}" for side in ("bid", "ask") for name in _PRICES)


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
                names = file.schema_arrow.names
                is_quoted = set(_SIDES) <= set(names) and not set(_PRICES) & set(names)
                wanted = ("time", *_SIDES) if is_quoted else RAW_COLUMNS
                row = 0
                for batch in file.iter_batches(CHUNK_ROWS, columns=[name for name in wanted if name in names]):
                    frame = _utc(pl.DataFrame(pa.Table.from_batches([batch])))
                    yield _middle(path.name, row, frame) if is_quoted else Chunk(path.name, row, frame)
                    row += batch.num_rows
            if not row:
                raise BadInput(f"{path}: holds no row; fetch it again or leave {listing.symbol} out with data.symbols")
        except (pa.ArrowException, OSError) as error:
            raise BadInput(f"{path}: not readable as Parquet ({error}); it may be truncated: fetch it again") from None


def _middle(file: str, first_row: int, frame: pl.DataFrame) -> Chunk:
    """The bars in the middle of bid and ask."""
    crossed = frame.with_row_index("row").filter(pl.col("bid_close") > pl.col("ask_close"))
    notes = tuple(
        (first_row + row, CROSSED, f"bid_close={bid} ask_close={ask}")
        for row, bid, ask in crossed.select("row", "bid_close", "ask_close").iter_rows()
    )
    sums = {name: pl.col(f"bid_{name}") + pl.col(f"ask_{name}") for name in _PRICES}
    prices = [(both / 2).round(_DECIMALS).alias(name) for name, both in sums.items()]
    return Chunk(file, first_row, frame.select("time", *prices, pl.lit(0.0).alias("volume")), notes)


def _utc(frame: pl.DataFrame) -> pl.DataFrame:
    """``time`` in ns if it is a UTC time; anything else stays for the schema to refuse."""
    dtype = frame.schema.get("time")
    if isinstance(dtype, pl.Datetime) and dtype.time_zone == "UTC":
        return frame.with_columns(pl.col("time").dt.cast_time_unit("ns"))
    return frame
