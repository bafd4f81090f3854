"""The files of ``artifacts/backtest``: ``metrics.json``, the plots' tables and the trade log.

Every file appears whole or not at all. Tables are CSV, so DVC plots, a spreadsheet and the tearsheet
read the same numbers.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadInput
from core.records import HOUR_NS
from evaluation import probability
from evaluation.backtest import FoldResult
from evaluation.metrics import BASELINES
from evaluation.performance import Curve, chain, drawdown
from evaluation.rules import BASELINES as RULES
from models.atomic import write_atomic

Table = list[dict[str, str]]

TRADE_COLUMNS: Final = (
    "fold",
    "symbol",
    "entry",
    "exit",
    "bps",
    "closed",
    "entry_notional",
    "exit_notional",
    "fees",
    "pnl",
)
_MONEY: Final = ("entry_notional", "exit_notional", "fees", "pnl")
TABLES: Final = ("equity", "drawdown", "reliability", "trades")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """``data`` as readable JSON with sorted keys. Raises ValueError for NaN and infinities."""
    write_atomic(path, (json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())


def write_table(path: Path, table: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """``table`` as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    write_atomic(path, text.getvalue().encode())


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Table]]:
    """(metrics, tables by name) of a backtest.

    Raises BadInput naming the file that is missing or broken, or the baseline that it was not evaluated beside.
    """
    try:
        metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_bytes())
        tables = {}
        for name in TABLES:
            with open(folder / "plots" / f"{name}.csv", newline="", encoding="utf-8") as file:
                tables[name] = list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: {error}; make it with `dvc repro backtest`") from None
    if missing := [name for name in BASELINES if name not in metrics.get("baselines", {})]:
        raise BadInput(f"{folder}: evaluated without {', '.join(missing)}; make it anew with `dvc repro backtest`")
    return metrics, tables


def write_tables(folder: Path, folds: Sequence[FoldResult], symbols: Sequence[str]) -> None:
    """The tables of ``TABLES`` under ``folder``/plots."""
    equity = equity_table(folds)
    write_table(folder / "plots/equity.csv", equity, list(equity[0]))
    whole = chain([fold.model.curve for fold in folds])
    pick = hourly(whole.ts)
    depth = drawdown(whole.growth)[pick]
    rows = [{"time": iso(ts), "drawdown": number(value)} for ts, value in zip(whole.ts[pick], depth, strict=True)]
    write_table(folder / "plots/drawdown.csv", rows, ["time", "drawdown"])
    bins = probability.reliability(probability.pool([fold.forecasts for fold in folds]))
    names = ["confidence", "hit_rate", "rows"]
    rows = [dict(zip(names, map(number, line), strict=True)) for line in bins]
    write_table(folder / "plots/reliability.csv", rows, names)
    trips = [(fold.index, trip) for fold in folds for trip in fold.model.trips]
    write_trades(folder / "plots/trades.csv", trips, symbols)


def write_curve(path: Path, item: Curve) -> None:
    """An account's growth of one unit, drawdown and exposure at each bar time."""
    lines = zip(item.ts, item.growth, drawdown(item.growth), item.exposure, strict=True)
    columns = ["time", "growth", "drawdown", "exposure"]
    rows = [dict(zip(columns, (iso(ts), *map(number, values)), strict=True)) for ts, *values in lines]
    write_table(path, rows, columns)


def write_trades(path: Path, trips: Sequence[tuple[int, np.void]], symbols: Sequence[str]) -> None:
    """The trade log: one line per (fold, TRIP record)."""
    write_table(path, [trade_row(index, trip, symbols) for index, trip in trips], TRADE_COLUMNS)


def equity_table(folds: Sequence[FoldResult]) -> list[dict[str, Any]]:
    """Growth of one unit, hourly: the model net of costs, at twice the costs, the rules, and holding."""
    net, double = (chain([fold.stress[factor].curve for fold in folds]) for factor in (1, 2))
    beside = {name: chain([fold.rules[name].curve for fold in folds]) for name in RULES}
    beside["hold"] = chain([fold.hold for fold in folds])
    fold_of = np.concatenate([np.full(len(fold.model.curve.ts), fold.index) for fold in folds])
    return [
        {
            "time": iso(net.ts[row]),
            "fold": int(fold_of[row]),
            "net": number(net.growth[row]),
            "cost_2x": number(double.growth[row]),
            **{name: number(_at(curve, net.ts[row])) for name, curve in beside.items()},
            "exposure": number(net.exposure[row]),
        }
        for row in hourly(net.ts)
    ]


def trade_row(fold: int, trip: np.void, symbols: Sequence[str]) -> dict[str, Any]:
    """One round trip as a line of the trade log; money in quote units."""
    return {
        "fold": fold,
        "symbol": symbols[int(trip["instrument"])],
        "entry": iso(trip["ts_entry"]),
        "exit": iso(trip["ts_exit"]),
        "bps": number(1e4 * int(trip["pnl"]) / int(trip["entry_notional"])),
        "closed": int(trip["closed"]),
        **{name: int(trip[name]) for name in _MONEY},
    }


def hourly(ts: np.ndarray) -> np.ndarray:
    """Positions of the last point of each hour."""
    hour = (ts - 1) // HOUR_NS
    return np.flatnonzero(np.append(hour[1:] != hour[:-1], True))


def iso(ts: int | np.integer) -> str:
    """A time in ns as UTC to the second."""
    return datetime.fromtimestamp(int(ts) // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def number(value: float) -> str:
    """Seven significant digits: plots need no more."""
    return f"{value:.7g}"


def _at(item: Curve, ts: int) -> float:
    """The growth of ``item`` at its last point not after ``ts``; 1 before its first."""
    position = int(np.searchsorted(item.ts, ts, side="right")) - 1
    return float(item.growth[position]) if position >= 0 else 1.0
