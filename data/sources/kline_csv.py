"""Binance's own kline files: 12 columns, plain, .gz or .zip, named BASEQUOTE-<interval>-<date>.csv.

Columns: open time, open, high, low, close, volume (base), close time, quote volume, trades, taker base volume, taker
quote volume, unused. A first line of the venue's names for them is passed over. Times are ms, since 2025 us in the
spot files: a file has one unit, that of its first row, and a file with another one than the file before is a finding.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from core.errors import BadInput
from data.schema import RAW_COLUMNS
from data.sources.protocol import CHUNK_ROWS, Chunk
from data.sources.text import SUFFIXES, text_lines
from feeds.dialects import Rule
from feeds.dialects.binance_bulk import UNITS, unit_of
from feeds.market import Listing

COLUMNS: Final = 12
HEADER: Final = b"open_time,open,high,low,close,volume,close_time,"
_SCHEMA: Final = (
    {"time": pl.Int64}
    | dict.fromkeys(RAW_COLUMNS[1:], pl.Float64)
    | {f"column_{index}": pl.String for index in range(len(RAW_COLUMNS), COLUMNS)}
)


@dataclass(frozen=True, slots=True)
class KlineCsv:
    """A folder of kline files; one instrument may have several, read in the order of their names."""

    folder: Path
    interval_minutes: int

    def chunks(self, listing: Listing) -> Iterator[Chunk]:
        """The instrument's files in pieces of at most CHUNK_ROWS rows; one piece is in memory at a time."""
        stem = f"{listing.base}{listing.quote}-{_label(self.interval_minutes)}-"
        paths = sorted(
            path for path in self.folder.iterdir() if path.name.startswith(stem) and path.name.endswith(SUFFIXES)
        )
        if not paths:
            raise BadInput(
                f"{self.folder}: no file {stem}*.csv[.gz|.zip]; add it or leave {listing.symbol} out with data.symbols"
            )
        before = ""
        for path in paths:
            file = _File(path)
            for chunk in file.chunks():
                notes: tuple[tuple[int, str, str], ...] = ()
                if before and before != file.unit:
                    notes = ((chunk.first_row, Rule.TIME_UNIT.value, f"times in {file.unit}, before in {before}"),)
                before = file.unit
                yield Chunk(path.name, chunk.first_row, chunk.frame, notes)


def _label(interval_minutes: int) -> str:
    if interval_minutes % 1440 == 0:
        return f"{interval_minutes // 1440}d"
    return f"{interval_minutes // 60}h" if interval_minutes % 60 == 0 else f"{interval_minutes}m"


@dataclass(slots=True)
class _File:
    path: Path
    unit: str = ""  # of its times, once its first row is read

    def chunks(self) -> Iterator[Chunk]:
        held: list[bytes] = []
        first_row = number = 0
        for number, line in enumerate(text_lines(self.path), start=1):
            if (found := line.count(b",") + 1) != COLUMNS:  # Polars would fill a line cut short with nulls
                raise self._fault(number, f"has {found} columns, {COLUMNS} expected: truncated or no kline file")
            if number == 1 and not line[:1].isdigit():
                self._check_header(line)
                first_row = 1
                continue
            held.append(line)
            if len(held) == CHUNK_ROWS:
                yield self._chunk(first_row, held)
                first_row, held = number, []
        if held:
            yield self._chunk(first_row, held)
        elif not self.unit:
            raise BadInput(f"{self.path}: empty after line {number}; fetch it again")

    def _fault(self, number: int, what: str) -> BadInput:
        return BadInput(f"{self.path}: line {number} {what}; fetch it again")

    def _check_header(self, line: bytes) -> None:
        if not line.startswith(HEADER):
            raise BadInput(
                f"{self.path}: line 1 starts with {line[:40]!r}, a time or the header {HEADER.decode()}... is "
                "expected; bring the columns into that order and remove the header"
            )

    def _chunk(self, first_row: int, lines: list[bytes]) -> Chunk:
        try:
            frame = pl.read_csv(io.BytesIO(b"\n".join(lines)), has_header=False, schema=_SCHEMA, quote_char=None)
        except pl.exceptions.PolarsError as error:
            raise self._unreadable(first_row, lines, str(error).splitlines()[0]) from None
        if len(frame) != len(lines):
            raise self._unreadable(first_row, lines, f"{len(lines)} lines gave {len(frame)} rows")
        times = frame["time"].drop_nulls()
        self.unit = self.unit or (unit_of(int(times[0])) if len(times) else "")
        least, end, scale = UNITS.get(self.unit, (0, 0, 1))
        if (other := ((frame["time"] < least) | (frame["time"] >= end)).fill_null(False)).any():
            row = int(other.arg_max() or 0)
            told = f"the file began in {self.unit}" if self.unit else "neither ms nor us since 1970"
            raise self._fault(first_row + row + 1, f"has the time {frame['time'][row]}, {told}")
        time = (pl.col("time") * scale).cast(pl.Datetime("ns", "UTC"))
        return Chunk(self.path.name, first_row, frame.select(time, *RAW_COLUMNS[1:]))

    def _unreadable(self, first_row: int, lines: list[bytes], why: str) -> BadInput:
        for row, line in enumerate(lines):
            cells = line.split(b",")
            for name, cell in zip(RAW_COLUMNS, cells, strict=False):
                try:
                    float(cell or b"0") if name != "time" else int(cell or b"0")
                except ValueError:
                    return self._fault(first_row + row + 1, f"has {name} {cell[:20]!r}: not a kline file or damaged")
        return self._fault(first_row + 1, f"or one after it is not a kline ({why})")
