"""The signal planted into recorded bars: against a slow reference, causal, chunk-free, findable."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadConfig, BadInput
from core.records import BAR
from feeds import injection, synthetic
from feeds.market import BUILTIN, SESSIONS, Signal

INTERVAL = 300_000_000_000
HOUR = 3_600_000_000_000
RECORDED = np.concatenate(list(synthetic.market(BUILTIN, days=30, seed=13, strength=0.0)))


def inject(bars: np.ndarray, strength: float = 1.0) -> np.ndarray:
    return injection.inject(injection.new_state(3), bars, interval_ns=INTERVAL, strength=strength)


def weight(ts: int) -> float:
    """The multiplier of the planted drift in the session that holds at ``ts``."""
    hour = ts // HOUR % 24
    return next(s.signal_ppm for s in SESSIONS if s.start <= hour < s.end) / 1e6


def slow(bars: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """One instrument by the formulas of the module's docstring; also the signal known at each close."""
    signal = Signal()
    decay = 2 ** (-1 / signal.half_life_bars)
    u, variance, m, out, known = 0.0, 0.0, 1.0, bars.copy(), np.zeros(len(bars))
    for row, bar in enumerate(bars):
        sigma = math.sqrt(variance)
        planted = strength * signal.correlation_ppm / 1e6 * weight(int(bar["ts_event"]) - INTERVAL)
        drift = planted * sigma * u if row > injection.WARMUP_BARS else 0.0
        after = m * (1 + drift)
        opened, closed = round(bar["open"] * m), round(bar["close"] * after)
        middle = (m + after) / 2
        out["open"][row], out["close"][row] = opened, closed
        out["high"][row] = max(opened, closed, round(bar["high"] * middle))
        out["low"][row] = min(opened, closed, round(bar["low"] * middle))
        m = after
        if row:
            rate = int(bar["close"]) / int(bars["close"][row - 1]) - 1
            if sigma:
                u = decay * u + math.sqrt(1 - decay**2) * max(-3.0, min(3.0, rate / sigma))
            keep = 2 ** (-1 / injection.VOLATILITY_HALF_LIFE_BARS)
            variance += max(1 - keep, 1 / row) * (rate**2 - variance)
        known[row] = u
    return out, known


def of(bars: np.ndarray, instrument: int) -> np.ndarray:
    return bars[bars["instrument"] == instrument]


def test_equals_the_slow_reference() -> None:
    fast = inject(RECORDED[:6_000])
    for instrument in range(3):
        expected, _ = slow(of(RECORDED[:6_000], instrument), 1.0)
        mine = of(fast, instrument)
        for name in BAR.names or ():
            assert np.abs(mine[name] - expected[name].astype(np.int64)).max() <= (
                name in ("open", "high", "low", "close")
            )


def test_strength_zero_changes_no_byte() -> None:
    assert inject(RECORDED, 0.0).tobytes() == RECORDED.tobytes()


def test_the_input_is_left_alone_and_bars_stay_consistent() -> None:
    before = RECORDED.tobytes()
    bars = inject(RECORDED, 2.0)
    assert RECORDED.tobytes() == before
    assert not np.array_equal(bars["close"], RECORDED["close"])
    assert (bars["low"] <= np.minimum(bars["open"], bars["close"])).all()
    assert (bars["high"] >= np.maximum(bars["open"], bars["close"])).all()
    for name in ("ts_event", "ts_known", "instrument", "volume"):
        assert np.array_equal(bars[name], RECORDED[name])
    for instrument in range(3):
        mine = of(bars, instrument)
        assert np.array_equal(mine["open"][1:], mine["close"][:-1])  # as in the recording: no gap was torn


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, len(RECORDED)), max_size=5))
def test_chunks_change_nothing(cuts: list[int]) -> None:
    state, edges = injection.new_state(3), [0, *sorted(cuts), len(RECORDED)]
    parts = [injection.inject(state, RECORDED[a:b], interval_ns=INTERVAL, strength=1.0) for a, b in pairwise(edges)]
    assert np.concatenate(parts).tobytes() == inject(RECORDED).tobytes()


def test_instruments_do_not_touch_each_other() -> None:
    whole = inject(RECORDED)
    for instrument in range(3):
        assert inject(of(RECORDED, instrument)).tobytes() == of(whole, instrument).tobytes()


@settings(max_examples=25, deadline=None)
@given(row=st.integers(1, len(RECORDED) - 1), factor=st.floats(0.5, 2.0))
def test_nothing_later_reaches_back(row: int, factor: float) -> None:
    changed = RECORDED.copy()
    for name in ("open", "high", "low", "close"):
        changed[name][row:] = np.maximum(100, changed[name][row:] * factor)
    assert inject(changed)[:row].tobytes() == inject(RECORDED)[:row].tobytes()


def test_drift_of_a_bar_does_not_depend_on_that_bar() -> None:
    """The multiplier a bar gets was fixed at the close before: another close scales by the same factor."""
    bars = of(RECORDED, 1)[:2_000]
    other = bars.copy()
    other["close"][-1] = bars["close"][-1] * 3 // 2
    first, second = inject(bars)[-1], inject(other)[-1]
    assert first["close"] / bars["close"][-1] == pytest.approx(second["close"] / other["close"][-1], rel=1e-5)


def test_planted_signal_predicts_the_new_returns_only() -> None:
    recorded = np.concatenate(list(synthetic.market(BUILTIN, days=250, seed=21, strength=0.0)))
    planted = inject(recorded)
    hits: dict[str, list[np.ndarray]] = {"recorded": [], "planted": []}
    for instrument in range(3):
        _, known = slow(of(recorded, instrument), 0.0)
        for name, bars in (("recorded", recorded), ("planted", planted)):
            close = of(bars, instrument)["close"]
            drift = known * np.array([weight(int(ts)) for ts in of(bars, instrument)["ts_event"]])
            move = (close[3:] - close[:-3])[300:]
            hits[name].append(((move > 0) == (drift[:-3][300:] > 0))[move != 0])
    assert 0.54 < np.concatenate(hits["planted"]).mean() < 0.57
    assert 0.49 < np.concatenate(hits["recorded"]).mean() < 0.51


def test_impossible_strengths_and_prices_are_refused() -> None:
    with pytest.raises(BadConfig, match="inject_strength is -1"):
        inject(RECORDED, -1.0)
    falling = of(RECORDED, 0)[:1_500].copy()
    for name in ("open", "high", "low", "close"):
        falling[name] = 1_650 - np.arange(1_500)
    with pytest.raises(BadInput, match="100 allowed"):
        inject(falling, 4.0)
