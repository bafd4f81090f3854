"""Where books, trades and quotes come from: one reader per family of files, most of them a dialect fed from disk; one
reads nothing and simulates.

A reader yields an instrument's records in the order they became known and writes into an ``EventLog`` what it could not
use. It only reads; ``data.build_events`` makes the tape.
"""

import gzip
import re
import zipfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadInput
from core.instruments import Instrument
from core.layout import PRICE_TICKS_MAX
from core.records import TOP, Kind, MarketFlag
from data.grid import Grid
from data.sources.protocol import CHUNK_ROWS
from data.sources.text import CHECKSUM, readable
from feeds.dialects import EXAMPLES_MAX, Findings, Rule, lobster, venues
from feeds.dialects.frames import recorded
from feeds.market import Listing

_LOBSTER_NAME: Final = re.compile(r"([A-Z.]+)_(\d{4}-\d{2}-\d{2})_\d+_\d+_message_\d+\.csv")
_NEW_YORK: Final = ZoneInfo("America/New_York")
UTC_TIMES: Final = (pl.Datetime("ns", "UTC"), pl.Datetime("us", "UTC"), pl.Datetime("ms", "UTC"))
_QUOTE_COLUMNS: Final = ("time", "bid", "ask")


@dataclass(slots=True)
class EventLog:
    """What came of reading one instrument's files. Rows count from 0 in each file."""

    files: list[tuple[str, int]] = field(default_factory=list)  # name, first row of it among all rows
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)  # the first findings of each rule
    offsets_ms: dict[int, float] = field(default_factory=dict)  # by UTC day: mean of receipt - event, with two clocks

    def begin(self, file: str) -> None:
        """The rows that follow are of ``file``."""
        self.files.append((file, self.rows))

    @contextmanager
    def file(self, name: str) -> Iterator[None]:
        """The rows read within are of the file ``name``; one without any is a finding."""
        self.begin(name)
        before = self.rows
        yield
        if self.rows == before:
            self.note(name, 0, EMPTY, "no row")

    def note(self, file: str, row: int, rule: str, value: str) -> None:
        """Something that no dialect sees."""
        self.counts[rule] += 1
        if self.counts[rule] <= EXAMPLES_MAX:
            self.examples.append({"file": file, "row": row, "rule": rule, "value": value})

    def add(self, findings: Findings, first_row: int = 0) -> None:
        """Take over what a dialect found; its rows are counted from ``first_row`` of the rows of all files."""
        self.counts.update({rule.value: count for rule, count in findings.counts.items()})
        starts = [first for _, first in self.files]
        for found in findings.examples:
            row = first_row + found.row
            name, first = self.files[max(0, bisect_right(starts, row) - 1)]
            self.examples.append({"file": name, "row": row - first, "rule": found.rule.value, "value": found.value})


@dataclass(frozen=True, slots=True)
class Reading:
    """One instrument's files, and the terms they are read under."""

    paths: tuple[Path, ...]
    listing: Listing
    others: tuple[Instrument, ...]  # of the same market: their frames may be in the same files
    instrument: Instrument
    index: int
    is_perpetual: bool
    feed_latency_ns: int  # for files that have one clock only
    clock_offset_ns: int  # added to every time of receipt


EMPTY: Final = "empty"  # a file without a row
Reader = Callable[[Reading, EventLog], Iterator[np.ndarray]]


def files_of(folder: Path, pattern: str, listing: Listing, *, is_equity: bool) -> tuple[Path, ...]:
    """The files of ``folder`` that match ``pattern`` and name the listing, in order of their names.

    A name holds base and quote, in any case and with or without a separator; of an equity the base alone. Raises
    BadInput if there is none.
    """
    wanted = re.compile(rf"(?<![a-z]){listing.base}[-_]?{'' if is_equity else listing.quote}(?![a-z])", re.I)
    paths = [path for path in sorted(folder.glob(pattern)) if path.suffix != CHECKSUM]
    own = tuple(path for path in paths if wanted.search(path.name))
    if not own:
        raise BadInput(
            f"{folder}: none of {len(paths)} files that match data.files {pattern!r} names {listing.symbol}; add them, "
            f"correct data.files, or leave the symbol out with data.symbols"
        )
    return own


def recordings(exchange: str) -> Reader:
    """Raw WebSocket recordings of ``exchange``: gzip, a line is the time of receipt in ns, a space, and the message."""

    def read(reading: Reading, log: EventLog) -> Iterator[np.ndarray]:
        follower = venues.follower(
            exchange,
            reading.instrument,
            others=reading.others,
            index=reading.index,
            clock_offset_ns=reading.clock_offset_ns,
            is_perpetual=reading.is_perpetual,
        )
        yield from recorded(_lines(reading.paths, log), follower)
        log.add(follower.findings)
        log.offsets_ms = {day: total / count / 1e6 for day, (count, total) in sorted(follower.offsets.items())}

    return read


def lobster_days(reading: Reading, log: EventLog) -> Iterator[np.ndarray]:
    """LOBSTER's files, a zip per ticker and day that holds the message and the orderbook file."""
    before: tuple[date, Path] | None = None
    for path in reading.paths:
        with readable(path), zipfile.ZipFile(path) as files:
            names = [name for name in files.namelist() if _LOBSTER_NAME.fullmatch(name)]
            if len(names) != 1 or names[0].replace("message", "orderbook") not in files.namelist():
                raise BadInput(f"{path}: needs one ..._message_... and its ..._orderbook_... file; get the day again")
            match = _LOBSTER_NAME.fullmatch(names[0])
            day = date.fromisoformat(match[2] if match else "")
            if before and day <= before[0]:
                raise BadInput(
                    f"{path}: holds {day}, {before[1].name} before it {before[0]}; a day may come once and days in the "
                    "order of the files' names: leave one of them out with data.files, or rename them"
                )
            before = day, path
            midnight = datetime(day.year, day.month, day.day, tzinfo=_NEW_YORK)
            findings, first_row = Findings(), log.rows
            messages, rows = files.open(names[0]), files.open(names[0].replace("message", "orderbook"))
            with messages, rows, log.file(names[0]):
                yield from lobster.records(
                    _counted(messages, log),
                    rows,
                    reading.instrument,
                    findings,
                    midnight_ns=int(midnight.timestamp()) * 1_000_000_000,
                    latency_ns=reading.feed_latency_ns,
                    index=reading.index,
                )
            log.add(findings, first_row)


def quote_files(reading: Reading, log: EventLog) -> Iterator[np.ndarray]:
    """Quotes without sizes in Parquet: time (UTC), bid, ask. Crossed quotes are left out, locked ones noted."""
    findings, last_ns = Findings(), 0
    for path in reading.paths:
        with readable(path), log.file(path.name), pq.ParquetFile(path) as file:
            if missing := [name for name in _QUOTE_COLUMNS if name not in file.schema_arrow.names]:
                raise BadInput(f"{path}: column {', '.join(missing)} is missing; needed are time (UTC), bid and ask")
            for batch in file.iter_batches(CHUNK_ROWS, columns=list(_QUOTE_COLUMNS)):
                frame = pl.DataFrame(pa.Table.from_batches([batch]))
                records = _quotes(path, frame, reading, log.rows, findings, last_ns)
                last_ns = int(records["ts_event"][-1]) if len(records) else last_ns
                log.rows += len(frame)
                yield records
    log.add(findings)


def _quotes(
    path: Path, frame: pl.DataFrame, reading: Reading, first_row: int, findings: Findings, last_ns: int
) -> np.ndarray:
    if frame.schema["time"] not in UTC_TIMES:
        raise BadInput(f"{path}: time is {frame.schema['time']}; give it as UTC timestamps")
    grid = Grid.of(reading.listing)
    ns = frame["time"].dt.epoch("ns").fill_null(-1).to_numpy()
    bid, ask = (frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("bid", "ask"))
    with np.errstate(invalid="ignore"):
        bids, asks = grid.ticks(bid), grid.ticks(ask)
        latest = np.maximum.accumulate(np.concatenate([[last_ns], ns]))[:-1]
        rules = {
            Rule.NOT_FINITE: ~(np.isfinite(bid) & np.isfinite(ask)),
            Rule.BAD_TIME: ns <= 0,
            Rule.NOT_POSITIVE: (bids < 1) | (asks < 1),
            Rule.TOO_LARGE: (bids > PRICE_TICKS_MAX) | (asks > PRICE_TICKS_MAX),
            Rule.OFF_GRID: grid.off(bid) | grid.off(ask),
            Rule.BACKWARD: ns < latest,
            Rule.DUPLICATE: (ns == latest) & _repeats(bid) & _repeats(ask),
            Rule.CROSSED: bids > asks,
        }
    good = np.ones(len(frame), bool)
    for rule, broken in rules.items():  # a row is named under the first rule that it breaks
        note(findings, rule, broken & good, first_row, frame, _QUOTE_COLUMNS)
        good &= ~broken
    note(findings, Rule.LOCKED, good & (bids == asks), first_row, frame, _QUOTE_COLUMNS)
    records = np.zeros(int(good.sum()), TOP)
    records["ts_event"], records["ts_known"] = ns[good], ns[good] + reading.feed_latency_ns
    records["kind"], records["instrument"], records["flags"] = Kind.TOP, reading.index, MarketFlag.LAST
    records["bid"], records["ask"] = bids[good], asks[good]
    return records


def _repeats(values: np.ndarray) -> np.ndarray:
    """Where a value is the one before it."""
    return np.concatenate([[False], values[1:] == values[:-1]])


def note(
    findings: Findings, rule: Rule, rows: np.ndarray, first_row: int, frame: pl.DataFrame, columns: tuple[str, ...]
) -> None:
    """Add ``rule`` for each of a chunk's ``rows`` (n,) bool, with what stands in ``columns``."""
    for place, row in enumerate(np.flatnonzero(rows).tolist()):
        if place >= EXAMPLES_MAX:
            findings.counts[rule] += int(rows.sum()) - place
            return
        findings.add(first_row + row, rule, " ".join(f"{name}={frame[name][row]}" for name in columns))


def _lines(paths: tuple[Path, ...], log: EventLog) -> Iterator[bytes]:
    """The lines of gzip files. One that ends too early is read to where it ends: a recorder was killed, say."""
    for path in paths:
        with readable(path), log.file(path.name), gzip.open(path, "rb") as file:
            try:
                yield from _counted(file, log)
            except EOFError as error:
                name, first = log.files[-1]
                if log.rows == first:
                    raise  # not one line
                log.note(name, log.rows - first, Rule.CUT, str(error))


def _counted(lines: Any, log: EventLog) -> Iterator[bytes]:
    for line in lines:
        log.rows += 1
        yield line
