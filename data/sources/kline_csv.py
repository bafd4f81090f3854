"""Binance's own kline files: 12 columns without a header, plain, .gz or .zip, named BASEQUOTE-<interval>-<date>.csv.

Columns: open time, open, high, low, close, volume (base), close time, quote volume, trades, taker base volume, taker
quote volume, unused. Times are ms, in newer files us, since the epoch.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from core.errors import BadInput
from data.schema import RAW_COLUMNS
from data.sources.protocol import CHUNK_ROWS, Chunk
from feeds.market import Listing

COLUMNS: Final = 12
MICROSECONDS_FROM: Final = 10**14  # as ms this is the year 5138, as us 1973
_SUFFIXES: Final = (".csv", ".csv.gz", ".csv.zip", ".zip")


@dataclass(frozen=True, slots=True)
class KlineCsv:
    """A folder of kline files; one instrument may have several, read in the order of their names."""

    folder: Path
    interval_minutes: int

    def chunks(self, listing: Listing) -> Iterator[Chunk]:
        """The instrument's files, each in pieces of at most CHUNK_ROWS rows. One file is in memory at a time."""
        stem = f"{listing.base}{listing.quote}-{_label(self.interval_minutes)}-"
        paths = sorted(
            path for path in self.folder.iterdir() if path.name.startswith(stem) and path.name.endswith(_SUFFIXES)
        )
        if not paths:
            raise BadInput(
                f"{self.folder}: no file {stem}*.csv[.gz|.zip]; add it or leave {listing.symbol} out with data.symbols"
            )
        for path in paths:
            frame = _parse(path, _text(path))
            for row in range(0, len(frame), CHUNK_ROWS):
                yield Chunk(path.name, row, frame.slice(row, CHUNK_ROWS))


def _label(interval_minutes: int) -> str:
    if interval_minutes % 1440 == 0:
        return f"{interval_minutes // 1440}d"
    return f"{interval_minutes // 60}h" if interval_minutes % 60 == 0 else f"{interval_minutes}m"


def _text(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        if path.name.endswith(".gz"):
            return gzip.decompress(data)
        if path.name.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                if len(names := archive.namelist()) != 1:
                    raise BadInput(f"{path}: holds {len(names)} files; one CSV per archive is expected")
                return archive.read(names[0])
        return data
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise BadInput(f"{path}: cannot be read ({error}); it may be truncated: fetch it again") from None


def _parse(path: Path, text: bytes) -> pl.DataFrame:
    lines = text.splitlines()
    if not lines:
        raise BadInput(f"{path}: empty; fetch it again")
    for number, line in enumerate(lines, start=1):  # Polars would fill a line cut short with nulls
        if (found := line.count(b",") + 1) != COLUMNS:
            raise BadInput(f"{path}: line {number} has {found} columns, {COLUMNS} expected: truncated or no kline file")
    if not lines[0].split(b",", 1)[0].isdigit():
        raise BadInput(f"{path}: line 1 starts with {lines[0][:20]!r}, a time is expected; remove the header")
    schema = {"time": pl.Int64} | dict.fromkeys(RAW_COLUMNS[1:], pl.Float64)
    schema |= {f"column_{index}": pl.String for index in range(len(schema), COLUMNS)}
    try:
        frame = pl.read_csv(io.BytesIO(text), has_header=False, schema=schema)
    except pl.exceptions.PolarsError as error:
        first = str(error).splitlines()[0]
        raise BadInput(f"{path}: not a kline file ({first}); {COLUMNS} columns without a header are expected") from None
    scale = pl.when(pl.col("time") >= MICROSECONDS_FROM).then(1_000).otherwise(1_000_000)
    time = (pl.col("time") * scale).cast(pl.Datetime("ns", "UTC"))
    return frame.select(time, *RAW_COLUMNS[1:])
