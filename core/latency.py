"""How long things take in a simulation: constant, sampled or as recorded, and never by wall time.

One record of dtype LATENCY is one model; feed, decision, request and response have one each. ``draw_ns`` is a
function of the model, the seed and a counter (``core.chance``), so it does not depend on how a run is cut.

- constant: always the same.
- sampled: the inverse of a distribution function, given by up to 16 quantiles and linear between them. Its mean is
  known in advance (``mean_ns``); EVAL-05 holds what a run measures against it.
- recorded: the feed latency of the nearest earlier record of the tape, times a factor: orders are slow when data is.

Messages on one line stay in order: who sends passes every arrival through ``in_order``, which may add waiting time to
what was drawn, never take some away.
"""

from collections.abc import Sequence
from enum import IntEnum
from fractions import Fraction
from itertools import pairwise
from typing import Final

import numpy as np

from core import chance
from core.errors import BadConfig
from core.jit import kernel
from core.records import PPM
from core.settings import within
from core.units import UP, mul_div, share_ppm

QUANTILES_MAX: Final = 16
LATENCY_NS_MAX: Final = 10**17  # as every time in a configuration
SCALE_PPM_MAX: Final = 1000 * PPM
LATENCY: Final = np.dtype(
    [
        ("kind", "<i8"),
        ("constant_ns", "<i8"),
        ("scale_ppm", "<i8"),  # recorded: of the feed latency
        ("count", "<i8"),  # sampled: quantiles in use
        ("at_ppm", "<i8", (QUANTILES_MAX,)),  # ascending from 0 to 10**6
        ("quantile_ns", "<i8", (QUANTILES_MAX,)),
    ]
)


class Latency(IntEnum):
    """LATENCY.kind."""

    CONSTANT = 1
    SAMPLED = 2
    RECORDED = 3


_CONSTANT: Final = int(Latency.CONSTANT)
_RECORDED: Final = int(Latency.RECORDED)


def constant(ns: int, *, key: str = "latency") -> np.ndarray:
    """A constant model, shape (), dtype LATENCY. Raises BadConfig naming ``key`` for an impossible value."""
    within(f"{key}.constant_ns", ns, 0, LATENCY_NS_MAX)
    return np.array((Latency.CONSTANT, ns, 0, 0, (0,) * QUANTILES_MAX, (0,) * QUANTILES_MAX), LATENCY)


def sampled(quantiles: Sequence[tuple[int, int]], *, key: str = "latency") -> np.ndarray:
    """A sampled model from (probability in ppm, ns) pairs, the first at 0, the last at 10**6; shape (), dtype LATENCY.

    Raises BadConfig naming ``key`` for pairs that are no distribution function.
    """
    at, ns = [pair[0] for pair in quantiles], [pair[1] for pair in quantiles]
    if not 2 <= len(at) <= QUANTILES_MAX or at[0] != 0 or at[-1] != PPM:
        raise BadConfig(f"{key}.quantiles: 2 to {QUANTILES_MAX} pairs, the first at 0 ppm and the last at {PPM} ppm")
    if any(later <= earlier for earlier, later in pairwise(at)):
        raise BadConfig(f"{key}.quantiles: the probabilities {at} must ascend")
    if any(later < earlier for earlier, later in pairwise(ns)):
        raise BadConfig(f"{key}.quantiles: the times {ns} must not descend")
    within(f"{key}.quantiles", ns[0], 0, LATENCY_NS_MAX)
    within(f"{key}.quantiles", ns[-1], 0, LATENCY_NS_MAX)
    model = np.zeros((), LATENCY)
    model["kind"], model["count"] = Latency.SAMPLED, len(at)
    model["at_ppm"][: len(at)] = at
    model["quantile_ns"][: len(ns)] = ns
    return model


def recorded(scale_ppm: int, *, key: str = "latency") -> np.ndarray:
    """``scale_ppm`` of the tape's feed latency, shape (), dtype LATENCY. Raises BadConfig naming ``key``."""
    within(f"{key}.scale_ppm", scale_ppm, 0, SCALE_PPM_MAX)
    model = np.zeros((), LATENCY)
    model["kind"], model["scale_ppm"] = Latency.RECORDED, scale_ppm
    return model


def mean_ns(model: np.ndarray) -> int:
    """The mean of a constant or sampled ``model`` (shape (), dtype LATENCY), rounded to a whole ns.

    The mean of the piecewise linear inverse: each piece's midpoint, weighted by its probability.
    """
    if model["kind"] == _CONSTANT:
        return int(model["constant_ns"])
    n, total = int(model["count"]), Fraction(0)
    at, ns = model["at_ppm"].tolist(), model["quantile_ns"].tolist()
    for k in range(1, n):
        total += Fraction((at[k] - at[k - 1]) * (ns[k] + ns[k - 1]), 2 * PPM)
    return round(total)


@kernel
def draw_ns(model: np.void, seed: int, stream: int, counter: int, feed_ns: int) -> int:
    """One latency. ``feed_ns``: the feed latency of the nearest earlier record; only the recorded kind uses it."""
    if model["kind"] == _CONSTANT:
        return model["constant_ns"]
    if model["kind"] == _RECORDED:
        return share_ppm(max(0, feed_ns), model["scale_ppm"], UP)
    return quantile_ns(model, chance.draw_ppm(seed, stream, counter))


@kernel
def quantile_ns(model: np.void, at_ppm: int) -> int:
    """The value of a sampled model at the probability ``at_ppm`` in 0 .. 10**6, rounded down."""
    k = 1
    while k + 1 < model["count"] and at_ppm >= model["at_ppm"][k]:
        k += 1
    low, width = model["quantile_ns"][k - 1], model["at_ppm"][k] - model["at_ppm"][k - 1]
    return low + mul_div(model["quantile_ns"][k] - low, at_ppm - model["at_ppm"][k - 1], width, 0)


@kernel
def in_order(sent_ns: int, latency_ns: int, last_arrival_ns: int) -> int:
    """When a message arrives on a line whose last message arrives at ``last_arrival_ns``: none overtakes another."""
    return max(sent_ns + latency_ns, last_arrival_ns)


@kernel
def late_ticks(price: int, late: int, p90_slippage_ppm: int) -> int:
    """Ticks by which an entry at ``price`` is worse if its decision was ``late``, 0 or 1 (``is_late``).

    EVAL-12: exactly the 90th percentile of slippage, rounded up to a tick.
    """
    return share_ppm(price, p90_slippage_ppm, UP) if late == 1 else 0


@kernel
def is_late(latency_ns: int, limit_ns: int) -> bool:
    """A decision took longer than ``limit_ns``; 0: there is no limit."""
    return 0 < limit_ns < latency_ns
