"""The kernel against a slow reference, against itself bar by bar, and against what must not matter to it."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BadInput
from features import bars as kernel
from features import spec as s
from tests.features import reference
from tests.features.walk import INTERVAL_NS, SPEC, batch, interleave, walk

ROOT = Path(__file__).parents[2]
RESTART_ROW = 773  # of the bars called gappy
GOLDEN = {
    "return_1": -2.426695,
    "return_3": -1.141804,
    "return_12": 0.769183,
    "return_36": -0.37832,
    "momentum_6": 0.29919,
    "momentum_24": -0.638868,
    "momentum_96": -0.977621,
    "range_to_atr": 2.088154,
    "atr_to_sigma": 1.561253,
    "volatility_ratio": 0.285037,
    "volume_z": -0.755412,
    "close_location": -0.842105,
    "session_asia": 1.0,
    "session_london": 0.0,
    "session_new_york": 0.0,
    "weekday_sin": -0.781831,
    "weekday_cos": 0.62349,
    "volatility_regime": 1.0,
    "gap": 0.0,
    "sigma": 0.002414291,
}


@pytest.fixture(scope="module")
def gappy() -> np.ndarray:
    """Some lost bars, one outage of exactly the limit, one longer: a restart."""
    return walk(1_500, 5, lost=0.02, outages=((400, 12), (800, 40)))


@pytest.mark.parametrize(
    ("warmup_bars", "dtype", "tolerance"),
    [(s.WARMUP_BARS, np.float32, 1e-5), (s.WARMUP_BARS, np.float64, 1e-9), (2, np.float64, 1e-9)],
)
def test_every_feature_equals_the_reference(gappy: np.ndarray, warmup_bars: int, dtype: type, tolerance: float) -> None:
    """With a warm-up of two bars the estimates are compared from their first value on."""
    spec = replace(SPEC, warmup_bars=warmup_bars)
    out, ready, sigma = batch(gappy, spec, dtype)
    for rows in (slice(0, RESTART_ROW), slice(RESTART_ROW, None)):
        expected, expected_sigma = reference.segment(gappy[rows], spec)
        assert set(expected) == set(spec.names)
        warm = np.arange(len(gappy[rows])) >= warmup_bars - 1
        assert np.array_equal(ready[rows], warm) and warm.sum() > 300
        np.testing.assert_allclose(sigma[rows][warm], expected_sigma[warm], rtol=1e-9)
        for column, name in enumerate(spec.names):
            wanted = np.clip(expected[name], -s.CLIP, s.CLIP)[warm]
            np.testing.assert_allclose(out[rows][warm, column], wanted, rtol=tolerance, atol=tolerance, err_msg=name)
    assert not [name for column, name in enumerate(spec.names) if np.ptp(out[ready, column]) == 0]  # each one moves


def test_the_gaps_of_these_tests_lie_on_both_sides_of_the_limit(gappy: np.ndarray) -> None:
    missing = np.diff(gappy["ts_event"]) // INTERVAL_NS - 1
    assert sorted(missing)[-2] == SPEC.reset_gap_bars == 12
    assert np.flatnonzero(missing > 12).tolist() == [RESTART_ROW - 1]


def test_a_restarted_instrument_is_a_new_one(gappy: np.ndarray) -> None:
    for whole, fresh in zip(batch(gappy), batch(gappy[RESTART_ROW:]), strict=True):
        assert whole[RESTART_ROW:].tobytes() == fresh.tobytes()
    old, new = kernel.new_state(SPEC, 1), kernel.new_state(SPEC, 1)
    out = np.zeros((1, SPEC.n_features), np.float32)
    for bar in np.split(gappy[: RESTART_ROW + 2], RESTART_ROW + 2):
        kernel.update(old, bar, out)
    for bar in np.split(gappy[RESTART_ROW : RESTART_ROW + 2], 2):
        kernel.update(new, bar, out)
    assert old.tobytes() == new.tobytes()  # nothing of before lingers below the last digit


def test_stream_equals_batch_at_every_prefix(gappy: np.ndarray) -> None:
    bars = interleave(gappy[:900], walk(700, 6, instrument=1))
    out, ready, sigma = batch(bars)
    state = kernel.new_state(SPEC, 2)
    one = np.zeros((1, SPEC.n_features), np.float32)
    for row in range(len(bars)):
        assert kernel.update(state, bars[row : row + 1], one) == ready[row]
        assert one.tobytes() == out[row].tobytes()
        assert state["sigma"][bars["instrument"][row]] == sigma[row]
    whole = kernel.new_state(SPEC, 2)
    kernel.batch(whole, bars, out, ready, sigma)
    assert whole.tobytes() == state.tobytes()


def test_batch_in_any_chunks_is_the_same(gappy: np.ndarray) -> None:
    out, ready, sigma = batch(gappy)
    for size in (1, 7, 500):
        state = kernel.new_state(SPEC, 1)
        parts = np.zeros_like(out), np.zeros_like(ready), np.zeros_like(sigma)
        for start in range(0, len(gappy), size):
            kernel.batch(state, gappy[start : start + size], *(part[start : start + size] for part in parts))
        assert [part.tobytes() for part in parts] == [out.tobytes(), ready.tobytes(), sigma.tobytes()]


def test_instruments_do_not_touch_each_other(gappy: np.ndarray) -> None:
    other = walk(1_500, 9, lost=0.05, instrument=1)
    both = interleave(gappy, other)
    out, _, _ = batch(both)
    assert out[both["instrument"] == 0].tobytes() == batch(gappy)[0].tobytes()


def test_scaling_price_and_tick_changes_nothing() -> None:
    """FEAT-11. A record holds ticks, so scaling both leaves it as it is; a c times finer tick alone must not matter."""
    bars = walk(900, 3, lost=0.01)
    out, _, sigma = batch(bars, dtype=np.float64)
    for c in (3, 100, 1_000):
        finer = bars.copy()
        for name in ("open", "high", "low", "close"):
            finer[name] *= c
        scaled, _, scaled_sigma = batch(finer, dtype=np.float64)
        np.testing.assert_allclose(scaled, out, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(scaled_sigma, sigma, rtol=1e-9)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    price=st.sampled_from([1, 2, 50, 10**6, 10**12]),
    jump=st.floats(0, 40),
    flat=st.floats(0, 1),
    volume=st.sampled_from([0, 1, 10**15]),
)
def test_always_finite_clipped_and_zero_until_ready(
    seed: int, price: int, jump: float, flat: float, volume: int
) -> None:
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 1e-3, 400) * np.where(rng.random(400) < 0.02, np.exp(jump / 5), 1) * (rng.random(400) > flat)
    close = np.maximum(1, np.minimum(price * np.exp(np.cumsum(moves)), 10**15)).astype(np.int64)
    bars = walk(400, seed)
    bars["open"], bars["close"] = np.concatenate([close[:1], close[:-1]]), close
    bars["high"] = np.maximum(bars["open"], close) + rng.integers(0, 2, 400)
    bars["low"] = np.maximum(1, np.minimum(bars["open"], close) - rng.integers(0, 2, 400))
    bars["volume"] = rng.integers(0, volume + 1, 400)
    out, ready, sigma = batch(bars)
    assert np.isfinite(out).all() and np.abs(out).max() <= s.CLIP
    assert not out[~ready].any() and not sigma[~ready].any()
    assert (sigma[ready] > 0).all() and np.isfinite(sigma).all()


def test_a_price_that_never_moved_is_never_ready() -> None:
    bars = walk(400, 1)
    for name in ("open", "high", "low", "close"):
        bars[name] = 7
    _, ready, sigma = batch(bars)
    assert not ready.any() and not sigma.any()


def test_sigma_of_normal_returns_is_their_standard_deviation() -> None:
    """FEAT-18: within 2 % on normal data."""
    bars = walk(100_000, 2)
    close = 10**9 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 1e-3, len(bars))))
    bars["open"] = bars["high"] = bars["low"] = bars["close"] = close.astype(np.int64)
    _, ready, sigma = batch(bars)
    assert abs(sigma[ready].mean() / (1e-3 * np.sqrt(3)) - 1) < 0.02


def test_regimes_split_lognormal_volatility_into_thirds() -> None:
    out, ready, _ = batch(walk(60_000, 11))
    regime = out[ready, SPEC.names.index("volatility_regime")]
    for value in (-1, 0, 1):
        assert 0.25 < (regime == value).mean() < 0.42


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("low", 0, "0 < low"),
        ("close", -5, "0 < low"),
        ("high", 1, "high"),
        ("volume", -1, "volume is below 0"),
        ("ts_event", 0, "whole number of intervals"),
        ("ts_event", INTERVAL_NS + 1, "whole number of intervals"),
        ("ts_event", -INTERVAL_NS, "whole number of intervals"),
    ],
)
def test_an_impossible_bar_is_refused_and_leaves_the_state(field: str, value: int, message: str) -> None:
    bars = walk(10, 1)
    state = kernel.new_state(SPEC, 1)
    out = np.zeros((1, SPEC.n_features), np.float32)
    kernel.update(state, bars[:1], out)
    before = state.tobytes()
    bad = bars[1:2].copy()
    bad[field] = bars["ts_event"][0] + value if field == "ts_event" else value
    with pytest.raises(BadInput, match=message):
        kernel.update(state, bad, out)
    assert state.tobytes() == before


def test_an_unknown_instrument_is_refused() -> None:
    bars = walk(1, 1, instrument=1)
    with pytest.raises(IndexError):
        kernel.update(kernel.new_state(SPEC, 1), bars, np.zeros((1, SPEC.n_features), np.float32))


_PLAIN = """
import hashlib, sys, numpy as np
from core.records import BAR
from tests.features.walk import batch
print(hashlib.sha256(b"".join(part.tobytes() for part in batch(np.load(sys.argv[1]).view(BAR)))).hexdigest())
"""


def test_plain_python_gives_the_same_bits(gappy: np.ndarray, tmp_path: Path) -> None:
    bars = gappy[:700]
    np.save(tmp_path / "bars.npy", bars)
    env = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", _PLAIN, str(tmp_path / "bars.npy")]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    compiled = hashlib.sha256(b"".join(part.tobytes() for part in batch(bars))).hexdigest()
    assert done.stdout.strip() == compiled


def test_a_day_of_features_is_pinned() -> None:
    """Golden values: whoever changes a formula must raise KERNEL_VERSION and these together."""
    out, _, sigma = batch(walk(600, 1), dtype=np.float64)
    assert s.KERNEL_VERSION == 1
    golden = dict(zip(SPEC.names, out[-1].round(6).tolist(), strict=True)) | {"sigma": round(float(sigma[-1]), 9)}
    assert golden == GOLDEN
