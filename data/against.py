"""Ingested bars against another recording of the same market with longer ones: what they disagree on.

Exchanges have served minutes whose volume is smaller than what their own five minutes say. Such a bar breaks no rule;
only the other recording shows it. Bars are made longer by the one rule (``data.resample``); a bar that lacks some of
its parts is not compared. Prices must be equal in ticks; volume up to what rounding each part to whole lots can make.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from core.errors import BadInput
from core.instruments import Instrument
from core.records import MINUTE_NS
from data import store
from data.clean import clean
from data.grid import Grid
from data.resample import Resampler
from data.sources.parquet import Parquet
from feeds.market import Listing
from feeds.tape import Tape

RULE: Final = "differs"
VALUES: Final = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Against:
    """One instrument's comparison. ``findings``: file and row of the other recording, time, rule, values of both."""

    symbol: str
    compared: int
    findings: list[dict[str, Any]]


def against(folder: Path, other: Path) -> list[Against]:
    """Hold the bars in ``folder`` (what ingest wrote) against the candles in ``other`` (BASE_QUOTE.parquet).

    An instrument that ``other`` lacks is left out. Raises BadInput if none is there, or its bars are not longer.
    """
    if not (folder / "bars").is_dir():
        raise BadInput(f"{folder}/bars is missing; make it with `dvc repro ingest` (books and quotes have none)")
    listed = [
        (folder / "bars" / f"{item.symbol}.parquet", _listing(item))
        for item in Tape.open(folder / "market.tape", verify=False).instruments
    ]
    found = [_one(path, listing, other) for path, listing in listed if _file(other, listing).is_file()]
    if not found:
        names = ", ".join(_file(other, listing).name for _, listing in listed)
        raise BadInput(f"{other}: none of {names} is there; name the folder of the other recording's candles")
    return found


def _one(path: Path, listing: Listing, other: Path) -> Against:
    theirs, interval_ns = _theirs(listing, other)
    file_ns = int((pq.read_schema(path).metadata or {})[b"interval_ns"])
    if interval_ns % file_ns:
        raise BadInput(
            f"{_file(other, listing)}: bars of {interval_ns / MINUTE_NS:g} minutes are no multiple of the ingested "
            f"{file_ns / MINUTE_NS:g} minutes; compare with longer ones"
        )
    resampler = Resampler(file_ns, interval_ns)
    parts = [resampler.push(bars) for bars in store.read_bars(path)]
    parts.append(resampler.flush())
    partial = {opened for opened, _ in resampler.take_partial()}
    ours = pl.concat([part for part in parts if len(part)])
    both = theirs.join(ours, on="time", suffix="_ours").filter(~pl.col("time").dt.epoch("ns").is_in(list(partial)))
    slack = (interval_ns // file_ns + 1) // 2  # lots: every volume was rounded to whole ones
    limits = dict.fromkeys(VALUES, 0) | {"volume": slack}
    differs = [(pl.col(name) - pl.col(f"{name}_ours")).abs() > limit for name, limit in limits.items()]
    grid, findings = Grid.of(listing), []
    for row in both.filter(pl.any_horizontal(differs)).sort("time").to_dicts():
        wrong = [name for name, limit in limits.items() if abs(row[name] - row[f"{name}_ours"]) > limit]
        findings.append(
            {
                "symbol": listing.symbol,
                "file": _file(other, listing).name,
                "row": row["row"],
                "time": store.iso(int(row["time"].timestamp()) * 10**9),
                "rule": RULE,
                "value": "; ".join(f"{name} {_shown(grid, name, row)}" for name in wrong),
            }
        )
    return Against(listing.symbol, len(both), findings)


def _theirs(listing: Listing, other: Path) -> tuple[pl.DataFrame, int]:
    """The other recording's bars in ticks and lots with their rows, and their length in ns."""
    raw = [(chunk, chunk.frame["time"].dt.epoch("ns")) for chunk in Parquet(other).chunks(listing)]
    times = pl.concat([ns for _, ns in raw])
    if len(times) < 2:
        raise BadInput(f"{_file(other, listing)}: holds {len(times)} bars, 2 are needed; name another folder")
    interval_ns = int(times.diff().drop_nulls().abs().min() or 0)  # type: ignore[arg-type]  # of whole numbers
    if interval_ns < MINUTE_NS:
        raise BadInput(
            f"{_file(other, listing)}: bars {interval_ns} ns apart; candles of a minute or more are expected"
        )
    bars, last_ns = [], None
    for chunk, ns in raw:
        cleaned = clean(chunk, listing, interval_ns, last_ns)
        last_ns = cleaned.last_ns
        rows = pl.DataFrame({"time": chunk.frame["time"], "row": pl.int_range(len(ns), eager=True) + chunk.first_row})
        bars.append(cleaned.bars.join(rows.unique("time", keep="first"), on="time", how="left"))
    return pl.concat(bars), interval_ns


def _listing(item: Instrument) -> Listing:
    return Listing(symbol=item.symbol, base=item.base, quote=item.quote, tick=item.tick, lot=item.lot)


def _file(other: Path, listing: Listing) -> Path:
    return other / f"{listing.base}_{listing.quote}.parquet"


def _shown(grid: Grid, name: str, row: dict[str, Any]) -> str:
    step = grid.lot if name == "volume" else grid.tick
    return f"{float(row[name + '_ours'] * step)}, there {float(row[name] * step)}"
