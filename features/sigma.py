"""How much a mid moves in one step of time, robustly: a weighted mean and a median, streaming.

Kernels work on an instrument's state of ``features.book``. The mid is sampled every SIGMA_STEP_NS of ``ts_known``; the
value at a sample is the one that was known when it was due, so a change belongs to the past when it joins. Changes are
half ticks, whole numbers.
"""

from typing import Final

import numpy as np

from core.jit import kernel
from features import market_state as m

WINDOW: Final = m.SIGMA_WINDOW_STEPS
SIGMA_ALPHA: Final = 1.0 - 0.5 ** (1.0 / m.SIGMA_HALF_LIFE_STEPS)
FIELDS: Final = [
    ("step", "<i8"),  # the last sampled step of SIGMA_STEP_NS since the epoch; -1: none
    ("step_mid2", "<i8"),  # the mid then
    ("steps", "<i8"),  # changes sampled since the last restart
    ("sigma", "<f8"),  # weighted mean of |change|, half ticks
    ("deviation", "<i8"),  # median absolute deviation of the window, half ticks
    ("ring", "<i8", (WINDOW,)),  # the last changes, half ticks
    ("sorted", "<i8", (WINDOW,)),  # the same, ascending; as many as are valid
]


@kernel
def weight(n: int, alpha: float) -> float:
    """Weight of the n-th value: a plain mean until an exponential one is steadier."""
    return max(1.0 / n, alpha)


@kernel
def sample(own: np.void, step: int) -> None:
    """Changes of the mid over the steps that ended before this event: all in the first, none in the others."""
    if own["step"] < 0:
        own["step"], own["step_mid2"] = step, own["bid"] + own["ask"]
        return
    passed = step - own["step"]
    if passed <= 0:
        return
    mid2 = own["bid"] + own["ask"]
    _take(own, mid2 - own["step_mid2"])
    for _ in range(min(passed - 1, WINDOW)):
        _take(own, 0)
    if passed - 1 > WINDOW:
        own["sigma"] *= (1.0 - SIGMA_ALPHA) ** (passed - 1 - WINDOW)
    own["step"], own["step_mid2"] = step, mid2
    own["deviation"] = _deviation(own)


@kernel
def _take(own: np.void, change: int) -> None:
    """Let the mid's change over one step, half ticks, join the window."""
    held = min(own["steps"], WINDOW)
    slot = own["steps"] & (WINDOW - 1)
    if held == WINDOW:
        held = _drop_sorted(own, held, own["ring"][slot])
    at = held
    while at > 0 and own["sorted"][at - 1] > change:
        own["sorted"][at] = own["sorted"][at - 1]
        at -= 1
    own["sorted"][at] = change
    own["ring"][slot] = change
    own["steps"] += 1
    own["sigma"] += weight(own["steps"], SIGMA_ALPHA) * (abs(change) - own["sigma"])


@kernel
def _drop_sorted(own: np.void, held: int, change: int) -> int:
    at = _first_from(own, held, change)
    for k in range(at, held - 1):
        own["sorted"][k] = own["sorted"][k + 1]
    return held - 1


@kernel
def _first_from(own: np.void, held: int, change: int) -> int:
    """The first place in ``sorted`` that is not below ``change``."""
    low, high = 0, held
    while low < high:
        middle = (low + high) >> 1
        if own["sorted"][middle] < change:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _deviation(own: np.void) -> int:
    """Median of |change - median| of the window, half ticks: the nearest half of the changes, from the median out."""
    held = min(own["steps"], WINDOW)
    if held == 0:
        return 0
    middle = held >> 1
    median = own["sorted"][middle]
    low, high, distance = middle - 1, middle + 1, 0
    for _ in range(middle):
        below = median - own["sorted"][low] if low >= 0 else 2**62
        above = own["sorted"][high] - median if high < held else 2**62
        if below <= above:
            distance, low = below, low - 1
        else:
            distance, high = above, high + 1
    return distance
