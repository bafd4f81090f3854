"""Trades in Parquet, as ``python -m data download trades`` writes them: one file per instrument, BASE_QUOTE.parquet.

Columns: time (UTC), id, price (quote), qty (base), side (1: the buyer began it, 2: the seller).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadInput
from core.layout import PRICE_TICKS_MAX
from core.records import TRADE, Kind, MarketFlag, Side
from data.grid import Grid
from data.sources.events import UTC_TIMES, EventLog, Reading, note
from data.sources.protocol import CHUNK_ROWS
from data.sources.text import readable
from feeds.dialects import LOTS_MAX, Findings, Rule

COLUMNS: Final = ("time", "id", "price", "qty", "side")


def trade_files(reading: Reading, log: EventLog) -> Iterator[np.ndarray]:
    """TRADE records, by id; ids count up by one, and one that is lacking is a gap."""
    findings, last_ns, last_id = Findings(), 0, -1
    for path in reading.paths:
        with readable(path), log.file(path.name), pq.ParquetFile(path) as file:
            if missing := [name for name in COLUMNS if name not in file.schema_arrow.names]:
                raise BadInput(f"{path}: column {', '.join(missing)} is missing; needed are {', '.join(COLUMNS)}")
            for batch in file.iter_batches(CHUNK_ROWS, columns=list(COLUMNS)):
                frame = pl.DataFrame(pa.Table.from_batches([batch]))
                records = _trades(path, frame, reading, log.rows, findings, (last_ns, last_id))
                if len(records):
                    last_ns, last_id = int(records["ts_event"][-1]), int(records["trade_id"][-1])
                log.rows += len(frame)
                yield records
    log.add(findings)


def _trades(
    path: Path, frame: pl.DataFrame, reading: Reading, first_row: int, findings: Findings, last: tuple[int, int]
) -> np.ndarray:
    if frame.schema["time"] not in UTC_TIMES or not (frame.schema["id"].is_integer()):
        raise BadInput(
            f"{path}: time is {frame.schema['time']}, id {frame.schema['id']}; give UTC timestamps and whole numbers"
        )
    grid = Grid.of(reading.listing)
    ns = frame["time"].dt.epoch("ns").fill_null(-1).to_numpy()
    ids = frame["id"].cast(pl.Int64).fill_null(-1).to_numpy()
    side = frame["side"].cast(pl.Int64, strict=False).fill_null(0).to_numpy()
    price, qty = (frame[name].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
                  for name in ("price", "qty"))  # fmt: skip
    with np.errstate(invalid="ignore"):
        ticks, lots = grid.ticks(price), np.floor(grid.lots(qty))
        rules = {
            Rule.NOT_FINITE: ~(np.isfinite(price) & np.isfinite(qty)),
            Rule.GARBAGE: ~np.isin(side, (int(Side.BUY), int(Side.SELL))) | (ids < 0),
            Rule.BAD_TIME: ns <= 0,
            Rule.NOT_POSITIVE: (price <= 0) | (qty <= 0) | (ticks < 1) | (lots < 1),
            Rule.TOO_LARGE: (ticks > PRICE_TICKS_MAX) | (lots > LOTS_MAX),
            Rule.OFF_GRID: grid.off(price),
            Rule.DUPLICATE: ids == _latest(ids, last[1]),
            Rule.BACKWARD: (ids < _latest(ids, last[1])) | (ns < _latest(ns, last[0])),
        }
    good = np.ones(len(frame), bool)
    for rule, broken in rules.items():  # a row is named under the first rule that it breaks
        note(findings, rule, broken & good, first_row, frame, COLUMNS)
        good &= ~broken
    before = np.concatenate([[last[1]], ids[good]])
    jumps = np.zeros(len(frame), bool)
    jumps[good] = (np.diff(before) > 1) & (before[:-1] >= 0)
    note(findings, Rule.GAP, jumps, first_row, frame, COLUMNS)
    note(findings, Rule.PART_LOT, good & (grid.quantity(lots) != qty), first_row, frame, COLUMNS)
    records = np.zeros(int(good.sum()), TRADE)
    records["ts_event"], records["ts_known"] = ns[good], ns[good] + reading.feed_latency_ns
    records["kind"], records["instrument"], records["flags"] = Kind.TRADE, reading.index, MarketFlag.LAST
    records["side"], records["price"], records["qty"], records["trade_id"] = (
        side[good], ticks[good], lots[good], ids[good],
    )  # fmt: skip
    return records


def _latest(values: np.ndarray, before: int) -> np.ndarray:
    """The largest value before each."""
    return np.maximum.accumulate(np.concatenate([[before], values]))[:-1]
