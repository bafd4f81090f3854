"""One checker for every claim "this was known at t": change everything after t, recompute, compare.

A computation takes bars and a time t and returns named ``Known`` values. What a feature or label says it knew by t may
not depend on a bar known after t; nor may what is refitted as of t (a scaler, cut points, a calibrator), which states
``known_at`` = t for all of its numbers. The future is replaced by another one: other prices, other volumes, other gaps.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Known:
    """``values[i]`` (any dtype, first axis n) claims to be known at ``known_at[i]`` (n,) int64 ns."""

    values: np.ndarray
    known_at: np.ndarray

    def by(self, t: int) -> bytes:
        """What was known at ``t``, as bytes: NaN equals NaN and 0.0 differs from -0.0."""
        return np.ascontiguousarray(self.values[self.known_at <= t]).tobytes()


Computation = Callable[[np.ndarray, int], Mapping[str, Known]]


def as_of(t: int, *values: np.ndarray) -> Known:
    """Fitted numbers that were known at ``t``."""
    flat = np.concatenate([np.ravel(value) for value in values])
    return Known(flat, np.full(len(flat), t))


def scramble(bars: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    """``bars`` with another future: of those known after ``t`` a fifth is lost, the rest holds other numbers."""
    future = bars["ts_known"] > t
    changed = bars.copy()
    n = int(future.sum())
    close = rng.integers(1, 10**6, n)
    open_ = rng.integers(1, 10**6, n)
    changed["open"][future], changed["close"][future] = open_, close
    changed["high"][future] = np.maximum(open_, close) + rng.integers(0, 10**4, n)
    changed["low"][future] = np.minimum(open_, close)
    changed["volume"][future] = rng.integers(0, 10**9, n)
    lost = future & (rng.random(len(bars)) < 0.2)
    return changed[~lost]


def assert_causal(compute: Computation, bars: np.ndarray, times: Iterable[int], seed: int = 0) -> None:
    """Raise AssertionError naming the first quantity that at one of ``times`` knew a bar from after it."""
    rng = np.random.default_rng(seed)
    for t in times:
        truth, other = compute(bars, t), compute(scramble(bars, t, rng), t)
        for name in truth:
            assert truth[name].by(t) == other[name].by(t), f"{name} known at {t} depends on bars after it"


def random_times(bars: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """``count`` times within the bars: half exactly when a bar is known, half between (ns)."""
    rng = np.random.default_rng(seed)
    on_bar = rng.choice(bars["ts_known"], count // 2)
    between = rng.integers(bars["ts_known"][0], bars["ts_known"][-1], count - count // 2)
    return np.concatenate([on_bar, between])
