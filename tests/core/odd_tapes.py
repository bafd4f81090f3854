"""Odd tapes from a seed: what real books do once a year, all the time.

Each tape mixes some of these: far jumps, one-sided and empty books, single rows, bursts at one instant, many levels,
clears of a part and of a whole side, trades through several prices, levels beyond the other side's best, levels set to
nothing that never were there, pauses of minutes, and an exchange that saw the rows in another order than we do.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from core.records import RECORD, Kind, MarketFlag, Side

START_NS = 1_700_006_400_000_000_000
FEED_NS = 1_000_000
ROWS_MAX = 400
ORDER_VALUE_MAX = 10**13  # cash units: far below any limit of the account that trades it
GRIDS = (  # tick, lot; in the last but one a tick of one lot is no whole number of cash units of 1e-8
    ("0.1", "0.001"),
    ("0.01", "1"),
    ("0.07", "0.3"),
    ("0.00000025", "0.16"),
    ("0.0001", "0.00003"),
    ("25", "0.05"),
)


@dataclass(frozen=True)
class OddTape:
    """A tape and the terms to trade it under. ``records``: (n,) RECORD, sorted by ``ts_known``."""

    seed: int
    records: np.ndarray
    tick: str
    lot: str
    order_lots: int
    inventory_lots: int
    maker_fee_ppm: int
    clock: str

    @property
    def value(self) -> Fraction:
        """Cash units of 1e-8 of one lot at a price of one tick."""
        return Fraction(self.tick) * Fraction(self.lot) * 10**8


def odd_tape(seed: int) -> OddTape:
    """The tape of ``seed``: always the same one."""
    rng = np.random.default_rng([19, seed])
    tick, lot = GRIDS[rng.integers(len(GRIDS))]
    n = int(rng.choice([0, 1, 2, 5, 40, 150, ROWS_MAX], p=[0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.3]))
    order_lots = int(rng.choice([1, 3, 100]))
    value = Fraction(tick) * Fraction(lot) * 10**8
    low = max(1, int(2 / (value * order_lots)))  # an order is worth a cash unit at least
    records = _market(rng, n, low, min(50_000_000, int(ORDER_VALUE_MAX / (value * order_lots))))
    records["ts_event"], records["ts_known"] = _times(rng, n)
    records = records[np.argsort(records["ts_known"], kind="stable")]
    flag_last(records)
    return OddTape(
        seed=seed,
        records=records,
        tick=tick,
        lot=lot,
        order_lots=order_lots,
        inventory_lots=int(rng.choice([0, order_lots, 4 * order_lots - 1, 10 * order_lots])),
        maker_fee_ppm=int(rng.choice([-20, 0, 1, 200, 333])),
        clock=str(rng.choice(["timer", "event"])),
    )


def flag_last(records: np.ndarray) -> None:
    """Flag the last row of each instant: there the book is whole again. Needs ``ts_known`` in order."""
    last = np.append(records["ts_known"][1:] != records["ts_known"][:-1], True)[: len(records)]
    records["flags"][last] |= int(MarketFlag.LAST)


def _market(rng: np.random.Generator, n: int, low: int, high: int) -> np.ndarray:
    """``n`` rows around a wandering price within [low, high], some levels up to four times as far; without times."""
    records = np.zeros(n, RECORD)
    spread, depth = int(rng.choice([1, 2, 7, 40])), int(rng.choice([1, 3, 12, 300]))
    sizes = np.array([1, 1, 2, 3, 7, 50, 10_000])
    middle = min(high, int(rng.choice([60, 1_000, 60_000, 5_000_000])))
    jumps, calm = rng.random() < 0.4, rng.random() < 0.4  # calm: a standing book, orders wait their turn
    for row in records:
        shape = 0.5 if calm else rng.random()
        if shape < 0.25:
            middle = max(5, middle + int(rng.integers(-3, 4)))
        if jumps and shape > 0.985:
            middle = max(5, int(middle * rng.choice([0.01, 0.5, 0.999, 1.001, 2, 90])) % high)
        side = int(rng.integers(1, 3))
        sign = 1 if side == Side.SELL else -1
        away = int(rng.integers(0, depth + 1))
        row["kind"], row["side"], row["a"] = Kind.LEVEL, side, max(low, middle + sign * (spread // 2 + away))
        row["b"] = 0 if rng.random() < (0.08 if calm else 0.35) else rng.choice(sizes)
        kind = rng.random() * (0.5 if calm else 1)
        if calm and kind > 0.3:
            continue
        if kind < 0.3:  # mostly at the touch, at times through it
            row["kind"], row["b"] = Kind.TRADE, rng.choice(sizes)
            touch = int(rng.choice([-1, 1])) * (spread // 2)
            row["a"] = max(low, middle + (touch if rng.random() < 0.6 else int(rng.integers(-spread - 2, spread + 3))))
        elif kind < 0.34:
            row["kind"], row["b"] = Kind.CLEAR, 0
            row["a"] = 0 if rng.random() < 0.5 else row["a"]
        elif kind < 0.38:  # beyond the other side's best: hides what it passes
            row["a"], row["b"] = max(low, middle - sign * int(rng.integers(1, 2 * spread + 3))), rng.choice(sizes)
        elif kind < 0.40:
            row["a"] = max(low, int(middle * rng.choice([0.001, 0.3, 3, 900])) % (4 * high))
    return records


def _times(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(ts_event, ts_known): bursts at one instant, steps near the latency and the interval, pauses, jitter."""
    steps = np.array([0, 1, 400_000, 1_000_000, 2_000_000, 30_000_000, 99_999_999, 100_000_000, 400_000_000])
    weights = np.array([rng.choice([1, 6]), 1, 1, 2, 2, 2, 1, 1, 1], float)
    gaps = rng.choice(steps, n, p=weights / weights.sum())
    if n and rng.random() < 0.1:
        gaps[rng.integers(n)] = 240_000_000_000
    ts_event = rng.choice([0, 34_200_000_000_000, START_NS]) + np.cumsum(gaps)
    latency = np.full(n, FEED_NS)
    if rng.random() < 0.3:  # the exchange saw them in another order
        latency = rng.choice([0, 1, FEED_NS, 5_000_000, 60_000_000], n)
    return ts_event, ts_event + latency
