"""How liquid an instrument was yesterday among the days before today (requirements FEAT-17), streaming.

Kernels work on an instrument's state of ``features.book``. A day's value is the median, over its events, of lots at the
touch per tick of spread, on a logarithmic scale; days are UTC days of ``ts_known``.
"""

import math
from typing import Final

import numpy as np

from core.jit import kernel
from features import market_state as m

LOW: Final = int(m.Liquidity.LOW)
MID: Final = int(m.Liquidity.MID)
HIGH: Final = int(m.Liquidity.HIGH)
BINS: Final = 256
BINS_PER_DOUBLING: Final = 8.0
FIELDS: Final = [
    ("day", "<i8"),  # UTC day of the last event
    ("liquidity", "<i8"),
    ("counts", "<i8", (BINS,)),  # events of this day by log of lots per tick of spread
    ("days", "<i8"),  # whole days seen
    ("medians", "<i8", (m.DAYS_KEPT,)),  # of the last whole days, as places in ``counts``
]


@kernel
def count(own: np.void, lots: int, spread: int) -> None:
    """Let an event with ``lots`` at the touch and ``spread`` ticks join its day."""
    own["counts"][_place(lots, spread)] += 1


@kernel
def _place(lots: int, spread: int) -> int:
    """The place of lots at the touch per tick of spread on a logarithmic scale."""
    place = int(BINS_PER_DOUBLING * math.log2(lots / max(1, spread)) + BINS / 4)
    return min(max(place, 0), BINS - 1)


@kernel
def new_day(own: np.void, day: int) -> None:
    """Keep the finished day's median and place it among the days before today (requirements FEAT-17)."""
    median, total = _median_of_day(own), 0
    own["day"] = day
    for k in range(BINS):
        total += own["counts"][k]
        own["counts"][k] = 0
    if total == 0:
        return
    own["medians"][own["days"] % m.DAYS_KEPT] = median
    own["days"] += 1
    days = min(own["days"], m.DAYS_KEPT)
    below, same = 0, 0
    for k in range(days):
        below += own["medians"][k] < median
        same += own["medians"][k] == median
    if days < m.DAYS_LEAST:
        own["liquidity"] = MID
    elif 3 * below >= 2 * days:
        own["liquidity"] = HIGH
    else:
        own["liquidity"] = LOW if 3 * (below + same) <= days else MID


@kernel
def _median_of_day(own: np.void) -> int:
    total, seen = 0, 0
    for k in range(BINS):
        total += own["counts"][k]
    for k in range(BINS):
        seen += own["counts"][k]
        if 2 * seen >= total:
            return k
    return 0
