"""What an account did: equity curves, daily returns, drawdown, exposure. Floats, for reporting only.

A fold is a session of its own that starts flat with the same cash; the chained curve compounds the folds' returns, as
one account would have that was rebalanced to the new fold's model at midnight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from core.errors import BadInput, require
from core.records import MARK, PPM
from evaluation.statistics import utc_day


@dataclass(frozen=True, slots=True)
class Curve:
    """An account at each distinct bar time of a session's test window, n points."""

    ts: np.ndarray  # int64 [n], ns
    growth: np.ndarray  # float64 [n], equity over initial cash
    exposure: np.ndarray  # float64 [n], share of equity in positions


def curve(marks: np.ndarray, initial_cash: int, trade_from_ns: int) -> Curve:
    """The curve of MARK records; of bars with one time, the last mark counts. ``initial_cash`` in quote units.

    Raises BadInput if no bar lies after ``trade_from_ns``.
    """
    require(marks.dtype == MARK, f"marks have dtype {marks.dtype}, MARK required")
    return growth_of(marks["ts_event"], marks["equity"], marks["exposure"], initial_cash, trade_from_ns)


def growth_of(ts: np.ndarray, equity: np.ndarray, exposure: np.ndarray, initial_cash: int, trade_from_ns: int) -> Curve:
    """``curve`` of marks that are held by column: int64 [n] each, amounts in quote units."""
    kept = ts > trade_from_ns
    if not kept.any():
        raise BadInput(f"no bar after the start of trading at {trade_from_ns}: the tape holds a warm-up prefix only")
    kept[:-1] &= ts[1:] != ts[:-1]
    equity = equity[kept].astype(np.float64)
    exposure = np.divide(exposure[kept], equity, out=np.zeros(len(equity)), where=equity > 0)
    return Curve(ts=ts[kept].astype(np.int64), growth=equity / initial_cash, exposure=exposure)


def chain(curves: Sequence[Curve]) -> Curve:
    """Compound the curves of consecutive folds. Raises BadInput if they overlap in time."""
    factor, growth = 1.0, []
    for earlier, later in pairwise(curves):
        if later.ts[0] <= earlier.ts[-1]:
            raise BadInput(f"a fold starts at {later.ts[0]}, the one before ends at {earlier.ts[-1]}: folds overlap")
    for item in curves:
        growth.append(item.growth * factor)
        factor *= float(item.growth[-1])
    return Curve(
        ts=np.concatenate([item.ts for item in curves]),
        growth=np.concatenate(growth),
        exposure=np.concatenate([item.exposure for item in curves]),
    )


def daily_returns(item: Curve) -> tuple[np.ndarray, np.ndarray]:
    """(days, returns): every UTC day from the first bar to the last; a day without a bar returns 0."""
    day = utc_day(item.ts)
    days = np.arange(day[0], day[-1] + 1)
    last = np.searchsorted(day, days, side="right") - 1
    closing = item.growth[last]
    return days, closing / np.concatenate([[1.0], closing[:-1]]) - 1.0


def drawdown(growth: np.ndarray) -> np.ndarray:
    """Loss from the highest point so far, the start included, as a positive share, [n]."""
    peak = np.maximum.accumulate(np.maximum(growth, 1.0))
    return 1.0 - growth / peak


def buy_and_hold(bars: np.ndarray, n_instruments: int, trade_from_ns: int, cost_ppm: int) -> Curve:
    """Equal cash in every instrument at its first close after ``trade_from_ns``, held to the end, costs paid once.

    ``bars``: BAR records; ``cost_ppm``: fee and slippage of the purchase. A comparator, so in plain floats; an
    instrument without a bar stays cash.
    """
    bars = bars[bars["ts_event"] > trade_from_ns]
    ts = np.unique(bars["ts_event"])
    if not len(ts):
        raise BadInput(f"no bar after the start of trading at {trade_from_ns}: the tape holds a warm-up prefix only")
    growth, exposed = np.zeros(len(ts)), np.zeros(len(ts))
    for instrument in range(n_instruments):
        mine = bars[bars["instrument"] == instrument]
        if not len(mine):
            growth += 1.0 / n_instruments
            continue
        last = np.searchsorted(mine["ts_event"], ts, side="right") - 1
        held = last >= 0
        value = mine["close"][np.maximum(last, 0)] / mine["close"][0] / (1 + cost_ppm / PPM)
        part = np.where(held, value, 1.0) / n_instruments
        growth += part
        exposed += np.where(held, part, 0.0)
    return Curve(ts=ts.astype(np.int64), growth=growth, exposure=exposed / growth)
