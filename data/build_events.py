"""From books, trades and quotes to a tape: read, judge, keep, cut, merge. Memory is bounded by a chunk.

Written into a folder (``data``) and, for the last ``holdout`` days, into a second one that no later stage reads::

    market.tape  minutes/<symbol>.parquet  findings.json  summary.json

Days are UTC days of ``ts_known``, counted back from the midnight after the last record. Where a cut falls into a book,
what follows it begins with that book as a snapshot. Findings are counted whole and named up to a limit per rule.
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from core import book as books
from core import marks
from core.errors import BadInput
from core.records import DAY_NS, MINUTE_NS, RECORD, RECORD_BYTES, Kind, MarketFlag, Side
from data.settings import DataParams
from data.sources.events import EventLog, Reading, files_of
from data.sources.readers import open_reader
from data.store import FrameWriter, iso
from feeds.dialects import EXAMPLES_MAX
from feeds.market import Market
from feeds.merging import by_time
from feeds.tape import write_tape

CHUNK_ROWS: Final = 65_536
SILENCE_NS: Final = 10 * MINUTE_NS  # without a record: a finding
SILENCE: Final = "silence"
RECORDS: Final = "records"  # instead of a file: the rows of a finding are an instrument's records
EPOCH: Final = date(1970, 1, 1).toordinal()
COUNTED: Final = {"levels": Kind.LEVEL, "trades": Kind.TRADE, "clears": Kind.CLEAR, "quotes": Kind.TOP}
MINUTES: Final = pa.schema(
    [pa.field("time", pa.timestamp("ns", "UTC"), nullable=False)]
    + [pa.field(name, pa.int64(), nullable=False) for name in COUNTED]
    + [pa.field("delay_ms", pa.float64(), nullable=False)]  # mean of ts_known - ts_event
)


@dataclass(slots=True)
class _Staged:
    """One instrument's records in a file, and what was found on the way."""

    path: Path
    log: EventLog = field(default_factory=EventLog)
    records: int = 0
    first_ns: int = 0
    last_ns: int = 0
    silences: int = 0

    def open(self) -> np.ndarray:
        return np.memmap(self.path, RECORD, "r") if self.records else np.zeros(0, RECORD)


def build_events(
    folder: Path | None,
    market: Market,
    params: DataParams,
    *,
    feed_latency_ns: int,
    seed: int = 0,
    out: Path,
    holdout: Path,
    progress: Callable[[str], None] = lambda text: None,
) -> None:
    """Ingest ``market``'s instruments from the files of ``folder`` into the empty folders ``out`` and ``holdout``.

    Without a folder they are simulated with ``seed``.
    The same inputs give the same bytes. Raises BadInput with the thing, the value, the limit and the remedy; then the
    folders are not to be used.
    """
    read, has_depth = open_reader(params, market, seed)
    staged, instruments = [], market.instruments()
    for index, listing in enumerate(market.listings):
        paths: tuple[Path, ...] = ()
        if folder:
            paths = files_of(folder, params.files, listing, is_equity=market.asset_class == "equity")
            progress(f"{listing.symbol}: {', '.join(path.name for path in paths)}")
        reading = Reading(
            paths=paths,
            listing=listing,
            others=tuple(other for other in instruments if other is not instruments[index]),
            instrument=instruments[index],
            index=index,
            is_perpetual=market.asset_class == "crypto_perp",
            feed_latency_ns=feed_latency_ns,
            clock_offset_ns=params.clock_offset_ms * 1_000_000,
        )
        staged.append(_stage(read, reading, out / "staged" / f"{listing.symbol}.records"))
        progress(f"{listing.symbol}: {staged[-1].log.rows:,} rows read, {staged[-1].records:,} records")
    end = max(item.last_ns // DAY_NS + 1 for item in staged) * DAY_NS
    start = end - params.days * DAY_NS if params.days else min(item.first_ns for item in staged)
    cut = end - params.holdout * DAY_NS
    ids, kept = [], []
    for into, window in ((out, (start, cut)), (holdout, (cut, end)))[: 1 + (params.holdout > 0)]:
        parts = [_Part.of(item.open(), window, index) for index, item in enumerate(staged)]
        if into == out and (
            empty := [symbol for symbol, part in zip(_symbols(market), parts, strict=True) if not part]
        ):
            raise BadInput(f"{empty}: no records in the days kept; raise data.days or lower data.holdout")
        meta = {"source": params.source, "has_depth": has_depth, "asset_class": market.asset_class}
        meta |= {"holdout": True} if into == holdout else {}
        tape = into / "market.tape"
        records = by_time([part.chunks() for part in parts])
        ids.append(write_tape(tape, records, instruments=market.instruments(), interval_ns=0, meta=meta))
        kept.append(parts)
    for symbol, part in zip(_symbols(market), kept[0], strict=True):
        _write_minutes(out / "minutes" / f"{symbol}.parquet", part)
    shutil.rmtree(out / "staged")
    _write_findings(out, _symbols(market), staged)
    _write_summary(out, market, staged, kept[0], ids[0])
    late = {"tape_id": ids[1], "records": sum(len(part) for part in kept[1])} if params.holdout else {}
    _write_json(holdout / "summary.json", {"days": params.holdout} | late)


def _symbols(market: Market) -> list[str]:
    return [listing.symbol for listing in market.listings]


def _stage(read: Any, reading: Reading, path: Path) -> _Staged:
    """Read one instrument's files into a file of records."""
    staged = _Staged(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file, closing(read(reading, staged.log)) as chunks:
        for chunk in chunks:
            if not len(chunk):
                continue
            _note_silence(staged, chunk["ts_known"])
            staged.first_ns = staged.first_ns or int(chunk["ts_known"][0])
            staged.last_ns, staged.records = int(chunk["ts_known"][-1]), staged.records + len(chunk)
            file.write(chunk.tobytes())
    if not staged.records:
        found, named = dict(staged.log.counts), sorted(staged.log.examples, key=lambda one: (one["file"], one["row"]))
        first = "".join(f"; {one['file']} line {one['row'] + 1}: {one['rule']}, {one['value']}" for one in named[:1])
        raise BadInput(
            f"{reading.listing.symbol}: no record in {staged.log.rows} rows of {[item.name for item in reading.paths]} "
            f"(findings: {found}{first}); check data.source, data.files and the market file's symbol, tick and lot"
        )
    return staged


def _note_silence(staged: _Staged, known: np.ndarray) -> None:
    before = np.concatenate([[staged.last_ns or known[0]], known[:-1]])
    for row in np.flatnonzero(known - before > SILENCE_NS).tolist():
        staged.silences += 1
        if staged.silences <= EXAMPLES_MAX:
            value = f"{iso(int(before[row]))}/{iso(int(known[row]))}"
            staged.log.examples.append({"file": RECORDS, "row": staged.records + row, "rule": SILENCE, "value": value})


@dataclass(frozen=True, slots=True)
class _Part:
    """An instrument's records within a window, and the book they begin with."""

    opening: np.ndarray  # (m,) RECORD: a snapshot, or nothing
    records: np.ndarray  # (n,) RECORD

    @classmethod
    def of(cls, records: np.ndarray, window: tuple[int, int], index: int) -> "_Part":
        """``records`` with window[0] <= ts_known < window[1], behind the book as it is at the first of them."""
        first, end = (_first_whole(records, at) for at in window)
        opening = np.zeros(0, RECORD)
        if first > 0 and end > first:
            opening = _opening(records[:first], index, int(records["ts_known"][first]))
        return cls(opening, records[first:end])

    def __len__(self) -> int:
        return len(self.opening) + len(self.records)

    def chunks(self) -> Iterator[np.ndarray]:
        """In order, at most CHUNK_ROWS at a time."""
        if len(self.opening):
            yield self.opening
        for start in range(0, len(self.records), CHUNK_ROWS):
            yield self.records[start : start + CHUNK_ROWS]


def _first_whole(records: np.ndarray, at_ns: int) -> int:
    """The first row known at ``at_ns`` or later; records of one instant stay together, and so do messages."""
    return int(np.searchsorted(records["ts_known"], at_ns))


def _opening(before: np.ndarray, index: int, known_ns: int) -> np.ndarray:
    """The book after ``before`` as a snapshot known at ``known_ns``; empty if there is none."""
    n = index + 1  # books are found by a record's instrument
    held, touches, marks2 = books.new_books(n), np.zeros((n, 2), np.int64), np.zeros(n, np.int64)
    for start in range(0, len(before), CHUNK_ROWS):
        marks.follow(held, before[start : start + CHUNK_ROWS], touches, marks2)
    book = held[index]
    levels = []
    for is_bid, best in ((True, "bid"), (False, "ask")):
        price = int(book[best])
        while price > 0:
            levels.append((Side.BUY if is_bid else Side.SELL, price, books.qty_at(book, is_bid, price)))
            price = books.next_price(book, is_bid, price)
    records = np.zeros(len(levels), RECORD)
    records["ts_event"] = records["ts_known"] = known_ns
    records["kind"], records["instrument"], records["flags"] = Kind.LEVEL, index, MarketFlag.SNAPSHOT
    for record, (side, price, lots) in zip(records, levels, strict=True):
        record["side"], record["a"], record["b"] = side, price, lots
    records["flags"][-1:] |= int(MarketFlag.LAST)
    return records


def _write_minutes(path: Path, part: _Part) -> None:
    """What happened in each minute, for people and for the table of completeness."""
    about = {"symbol": path.stem, "interval_ns": str(MINUTE_NS)}
    with FrameWriter(path, MINUTES.with_metadata(about)) as writer:
        held = pl.DataFrame()
        for chunk in part.chunks():
            held = pl.concat([held, _minutes(chunk)]) if len(held) else _minutes(chunk)
            held = held.group_by("minute").sum().sort("minute")
            writer.write(_finished(held[:-1]))  # the last minute may go on in the next chunk
            held = held[-1:]
        writer.write(_finished(held))


def _minutes(chunk: np.ndarray) -> pl.DataFrame:
    kinds = {name: chunk["kind"] == kind for name, kind in COUNTED.items()}
    return pl.DataFrame(
        {"minute": chunk["ts_known"] // MINUTE_NS}
        | {name: is_kind.astype(np.int64) for name, is_kind in kinds.items()}
        | {"records": np.ones(len(chunk), np.int64), "delay": chunk["ts_known"] - chunk["ts_event"]}
    )


def _finished(minutes: pl.DataFrame) -> pl.DataFrame:
    return minutes.select(
        (pl.col("minute") * MINUTE_NS).cast(pl.Datetime("ns", "UTC")).alias("time"),
        *COUNTED,
        (pl.col("delay") / pl.col("records") / 1e6).alias("delay_ms"),
    )


def _write_findings(out: Path, symbols: Sequence[str], staged: Sequence[_Staged]) -> None:
    rows = []
    for symbol, item in zip(symbols, staged, strict=True):
        place = {name: at for at, (name, _) in enumerate(item.log.files)} | {RECORDS: len(item.log.files)}
        ordered = sorted(item.log.examples, key=lambda found: (place[found["file"]], found["row"]))
        rows += [{"symbol": symbol} | finding for finding in ordered]
    (out / "findings.json").write_text("[" + ",\n".join(f"\n{json.dumps(row)}" for row in rows) + "\n]\n")


def _write_summary(out: Path, market: Market, staged: Sequence[_Staged], parts: Sequence[_Part], tape_id: str) -> None:
    totals: Counter[str] = Counter()
    table = {}
    for symbol, item, part in zip(_symbols(market), staged, parts, strict=True):
        found = item.log.counts + Counter({SILENCE: item.silences})
        totals += found
        table[symbol] = {
            "read": item.log.rows,
            "records": len(part),
            "first": iso(int(part.records["ts_known"][0])),
            "last": iso(int(part.records["ts_known"][-1])),
            "findings": dict(sorted(found.items())),
            "offset_ms": {str(date.fromordinal(EPOCH + day)): round(ms, 3) for day, ms in item.log.offsets_ms.items()},
        }
    first, last = (fold(int(part.records["ts_known"][at]) for part in parts) for fold, at in ((min, 0), (max, -1)))
    _write_json(
        out / "summary.json",
        {
            "tape_id": tape_id,
            "rows": sum(len(part) for part in parts),
            "bytes": sum(len(part) for part in parts) * RECORD_BYTES,
            "days": last // DAY_NS - first // DAY_NS + 1,
            "findings": dict(sorted(totals.items())),
            "symbols": table,
        },
    )


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
