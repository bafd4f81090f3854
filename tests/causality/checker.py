"""One checker for every claim "this was known at t": change everything after t, recompute, compare.

A computation takes a tape (bars, or the records of books) and a time t and returns named ``Known`` values. What a
feature or label says it knew by t may not depend on a record known after t; nor may what is refitted as of t (a scaler,
cut points, a calibrator), which states ``known_at`` = t for all of its numbers. The future is replaced by another one:
other prices, other volumes, other gaps.

Two rules make that a proof rather than a hope. A computation makes everything from the tape it is handed, longer bars
too: what it reads elsewhere is not scrambled (``test_lookahead_passed`` shows what slips through then). And t is any
time, not only times at which something was decided.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from core.records import Kind


@dataclass(frozen=True)
class Known:
    """``values[i]`` (any dtype, first axis n) claims to be known at ``known_at[i]`` (n,) int64 ns."""

    values: np.ndarray
    known_at: np.ndarray

    def by(self, t: int) -> bytes:
        """What was known at ``t``, as bytes: NaN equals NaN and 0.0 differs from -0.0."""
        return np.ascontiguousarray(self.values[self.known_at <= t]).tobytes()


Computation = Callable[[np.ndarray, int], Mapping[str, Known]]
Scramble = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def as_of(t: int, *values: np.ndarray | float) -> Known:
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


def scramble_books(records: np.ndarray, t: int, rng: np.random.Generator) -> np.ndarray:
    """The same for levels and trades: other sides, prices, lots and times, and a fifth lost."""
    future = records["ts_known"] > t
    changed = records.copy()
    n = int(future.sum())
    changed["side"][future], changed["a"][future] = rng.integers(1, 3, n), rng.integers(1, 9_000, n)
    is_trade = changed["kind"][future] == Kind.TRADE
    changed["b"][future] = rng.integers(0, 10**6, n) + is_trade  # a level of 0 lots is gone; a trade has some
    changed["ts_known"][future] += np.cumsum(rng.integers(0, 10**9, n))
    lost = future & (rng.random(len(records)) < 0.2)
    return changed[~lost]


def assert_causal(
    compute: Computation, tape: np.ndarray, times: Iterable[int], seed: int = 0, scramble: Scramble = scramble
) -> Counter[str]:
    """Raise AssertionError naming the first quantity that at one of ``times`` knew a record from after it.

    Returns at how many of the times each quantity had said anything: elsewhere nothing was tested.
    """
    rng = np.random.default_rng(seed)
    told: Counter[str] = Counter()
    for t in times:
        truth, other = compute(tape, t), compute(scramble(tape, t, rng), t)
        for name in truth:
            known = truth[name].by(t)
            assert known == other[name].by(t), f"{name} known at {t} depends on records after it"
            told[name] += len(known) > 0
    return told


def random_times(tape: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """``count`` times within the tape: half exactly when a record is known, half between (ns)."""
    rng = np.random.default_rng(seed)
    on_record = rng.choice(tape["ts_known"], count // 2)
    between = rng.integers(tape["ts_known"][0], tape["ts_known"][-1], count - count // 2)
    return np.concatenate([on_record, between])
