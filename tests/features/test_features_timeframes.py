"""Longer bars in the kernel: equal to resampled ones, from closed bars only, and the same however bars come."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BadConfig, Refused
from core.records import MINUTE_NS
from data.resample import Resampler
from features import bars as kernel
from features import spec as s
from features.spec import FeatureParams, bar_spec, spec_from_json
from tests.features import reference
from tests.features.walk import INTERVAL_NS, SPEC, batch, interleave, walk

ROOT = Path(__file__).parents[2]
MINUTES = (15, 60, 240)
LONG = bar_spec(FeatureParams(timeframes_minutes=MINUTES), INTERVAL_NS, 3 * INTERVAL_NS)
ADDED = [name for name in LONG.names if name not in SPEC.names]
QUERY = """
select epoch_ns(time) // $step * $step as opened, last(close order by time) from bars group by opened order by opened
"""


@pytest.fixture(scope="module")
def gappy() -> np.ndarray:
    """Lost bars, an outage of exactly the limit (whole longer bars are missing in it), one longer: a restart."""
    return walk(2_400, 5, lost=0.05, outages=((400, 12), (1_300, 40)))


def resampled(bars: np.ndarray, frame_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """Opening times and closes of longer bars, by ``data.resample`` and, the same, by DuckDB."""
    columns = {name: bars[name].astype(np.int64) for name in ("open", "high", "low", "close", "volume")}
    time = pl.Series("time", bars["ts_event"] - INTERVAL_NS).cast(pl.Datetime("ns", "UTC"))
    frame = pl.DataFrame({"time": time} | columns)
    resampler = Resampler(INTERVAL_NS, frame_ns)
    made = pl.concat([part for part in (resampler.push(frame), resampler.flush()) if len(part)])
    with duckdb.connect() as connection:
        queried = connection.register("bars", frame).execute(QUERY, {"step": frame_ns}).fetchall()
    opened, close = made["time"].dt.epoch("ns").to_numpy(), made["close"].to_numpy()
    assert list(zip(opened.tolist(), close.tolist(), strict=True)) == queried
    return opened, close


def expected_columns(bars: np.ndarray) -> dict[str, np.ndarray]:
    """The added columns of bars without a restart between them: slow, from resampled bars and written-out weights."""
    short, horizon_sigma = reference.segment(bars, SPEC)
    sigma_bar = horizon_sigma / np.sqrt(SPEC.horizon_bars)
    compared = short["momentum_24"]
    out, signs = {}, [np.sign(compared)]
    for minutes, name in zip(MINUTES, ("15m", "1h", "4h"), strict=True):
        frame_ns = minutes * MINUTE_NS
        opened, close = resampled(bars, frame_ns)
        row = np.searchsorted(bars["ts_event"], opened + frame_ns)  # the first row that knows it is closed
        opened, close, row = opened[row < len(bars)], close[row < len(bars)], row[row < len(bars)]
        sigma, x, n = sigma_bar[row] * np.sqrt(frame_ns / INTERVAL_NS), np.log(close), len(row)
        trend = (x - reference.weights(n, reference.alpha(s.TREND_HALF_LIFE)) @ x) / sigma
        changes = np.diff(x) / (sigma[1:] * np.sqrt(np.diff(opened) / frame_ns))
        a = reference.alpha(s.TIMEFRAME_MOMENTUM_HALF_LIFE)
        momentum = reference.weights(n - 1, a) @ np.clip(changes, -s.CLIP, s.CLIP) * np.sqrt((2 - a) / a)
        last = np.searchsorted(row, np.arange(len(bars)), side="right")  # closed by then
        out[f"trend_{name}"] = np.concatenate([[0.0], trend])[last]
        out[f"momentum_{name}"] = np.concatenate([[0.0, 0.0], momentum])[last]
        out[f"divergence_{name}"] = compared - out[f"momentum_{name}"]
        signs.append(np.sign(out[f"momentum_{name}"]))
    return out | {"momentum_alignment": np.mean(signs, axis=0)}


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-5), (np.float64, 1e-9)])
def test_every_column_equals_the_reference_on_resampled_bars(gappy: np.ndarray, dtype: type, tolerance: float) -> None:
    """From the second bar on, on both sides of a restart. The columns of the bar itself stay as they are."""
    out, ready, _ = batch(gappy, replace(LONG, warmup_bars=2), dtype)
    short, short_ready, _ = batch(gappy, replace(SPEC, warmup_bars=2), dtype)
    assert np.array_equal(ready, short_ready) and out[:, : SPEC.n_features].tobytes() == short.tobytes()
    restart = int(np.flatnonzero(np.diff(gappy["ts_event"]) > 13 * INTERVAL_NS)[0]) + 1
    for rows in (slice(0, restart), slice(restart, None)):
        expected = expected_columns(gappy[rows])
        assert set(expected) == set(ADDED)
        for name in ADDED:
            column, warm = out[rows, LONG.names.index(name)], ready[rows]
            wanted = np.clip(expected[name], -s.CLIP, s.CLIP)
            np.testing.assert_allclose(column[warm], wanted[warm], rtol=tolerance, atol=tolerance, err_msg=name)
    assert not [name for name in ADDED if np.ptp(out[ready, LONG.names.index(name)]) == 0]


def test_gaps_of_these_tests_swallow_whole_longer_bars(gappy: np.ndarray) -> None:
    opened, _ = resampled(gappy[:1_000], 15 * MINUTE_NS)
    assert np.diff(opened).max() > 15 * MINUTE_NS


@pytest.mark.parametrize(("minutes", "name"), list(zip(MINUTES, ("15m", "1h", "4h"), strict=True)))
def test_a_longer_bar_speaks_when_it_closes_and_not_before(minutes: int, name: str) -> None:
    """Without gaps its columns move at whole multiples of its length only."""
    bars = walk(1_500, 8)
    out, ready, _ = batch(bars, LONG)
    for column in (f"trend_{name}", f"momentum_{name}"):
        values = out[:, LONG.names.index(column)]
        moved = np.flatnonzero(np.diff(values, prepend=values[:1]) != 0)
        moved = moved[moved > np.argmax(ready)]
        assert len(moved) > 10 and not (bars["ts_event"][moved] % (minutes * MINUTE_NS)).any()


def test_stream_equals_batch_and_instruments_do_not_touch_each_other(gappy: np.ndarray) -> None:
    bars = interleave(gappy[:1_400], walk(1_000, 6, instrument=1))
    out, ready, _ = batch(bars, LONG)
    state, one = kernel.new_state(LONG, 2), np.zeros((1, LONG.n_features), np.float32)
    for row in range(len(bars)):
        assert kernel.update(state, bars[row : row + 1], one) == ready[row]
        assert one.tobytes() == out[row].tobytes()
    assert out[bars["instrument"] == 0].tobytes() == batch(gappy[:1_400], LONG)[0].tobytes()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 2_200), max_size=6))
def test_any_cut_gives_the_same_bytes(gappy: np.ndarray, cuts: list[int]) -> None:
    whole = batch(gappy, LONG)
    state, parts = kernel.new_state(LONG, 1), [np.zeros_like(array) for array in whole]
    places = [0, *sorted(min(cut, len(gappy)) for cut in cuts), len(gappy)]
    for start, end in pairwise(places):
        kernel.batch(state, gappy[start:end], *(part[start:end] for part in parts))
    assert [part.tobytes() for part in parts] == [array.tobytes() for array in whole]


def test_a_restarted_instrument_is_a_new_one(gappy: np.ndarray) -> None:
    restart = int(np.flatnonzero(np.diff(gappy["ts_event"]) > 13 * INTERVAL_NS)[0]) + 1
    for whole, fresh in zip(batch(gappy, LONG), batch(gappy[restart:], LONG), strict=True):
        assert whole[restart:].tobytes() == fresh.tobytes()


def test_scaling_price_and_tick_changes_nothing() -> None:
    bars = walk(1_200, 3, lost=0.01)
    out, ready, _ = batch(bars, LONG, np.float64)
    assert ready.sum() > 300
    for c in (3, 1_000):
        finer = bars.copy()
        for name in ("open", "high", "low", "close"):
            finer[name] *= c
        np.testing.assert_allclose(batch(finer, LONG, np.float64)[0], out, rtol=1e-8, atol=1e-8)


def test_always_finite_clipped_and_zero_until_ready(gappy: np.ndarray) -> None:
    wild = gappy.copy()
    wild["close"] = wild["open"] = np.random.default_rng(1).integers(1, 10**9, len(wild))
    wild["high"], wild["low"] = wild["close"] + 1, wild["close"]
    out, ready, _ = batch(wild, LONG)
    assert np.isfinite(out).all() and np.abs(out).max() == s.CLIP and not out[~ready].any()


def test_the_warm_up_lasts_until_the_longest_has_closed_often_enough() -> None:
    assert LONG.warmup_bars == 13 * 48 and SPEC.warmup_bars == s.WARMUP_BARS
    short = bar_spec(FeatureParams(timeframes_minutes=(15,)), INTERVAL_NS, INTERVAL_NS)
    assert short.warmup_bars == s.WARMUP_BARS
    bars = walk(700, 1)[37:]  # not on the hour
    _, ready, _ = batch(bars, LONG)
    first = int(np.argmax(ready))
    opened, _ = resampled(bars[: first + 1], 240 * MINUTE_NS)
    assert first == LONG.warmup_bars - 1 and len(opened[opened + 240 * MINUTE_NS <= bars["ts_event"][first]]) >= 12


def test_the_specification_carries_the_timeframes() -> None:
    assert len(ADDED) == 3 * 3 + 1 and len(set(LONG.names)) == LONG.n_features
    assert spec_from_json(LONG.as_json()) == LONG and spec_from_json(LONG.as_json()).hash == LONG.hash
    other = bar_spec(FeatureParams(timeframes_minutes=(15, 60)), INTERVAL_NS, 3 * INTERVAL_NS)
    assert len({SPEC.hash, LONG.hash, other.hash}) == 3
    assert "timeframes_ns" not in SPEC.as_json()  # what was made without them stays valid
    with pytest.raises(Refused, match="differs from this program's kernel"):
        spec_from_json(SPEC.as_json() | {"timeframes_ns": [15 * MINUTE_NS]})


@pytest.mark.parametrize("minutes", [(0,), (-15,), (7,), (60, 15), (15, 15), (2_880,), (10, 15, 20, 30, 60)])
def test_timeframes_that_fit_no_day_are_refused(minutes: tuple[int, ...]) -> None:
    with pytest.raises(BadConfig, match=r"timeframes_minutes is .* divide a day"):
        FeatureParams(timeframes_minutes=minutes)


@pytest.mark.parametrize("minutes", [(5,), (3,), (8, 15)])
def test_timeframes_that_are_no_longer_bars_are_refused(minutes: tuple[int, ...]) -> None:
    with pytest.raises(BadConfig, match=rf"timeframes_minutes holds {minutes[0]}, .* larger multiples"):
        bar_spec(FeatureParams(timeframes_minutes=minutes), INTERVAL_NS, INTERVAL_NS)


_PLAIN = """
import hashlib, sys, numpy as np
from core.records import BAR
from tests.features.walk import batch
from tests.features.test_features_timeframes import LONG
print(hashlib.sha256(b"".join(part.tobytes() for part in batch(np.load(sys.argv[1]).view(BAR), LONG))).hexdigest())
"""


def test_plain_python_gives_the_same_bits(gappy: np.ndarray, tmp_path: Path) -> None:
    bars = gappy[:900]
    np.save(tmp_path / "bars.npy", bars)
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _PLAIN, str(tmp_path / "bars.npy")]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == hashlib.sha256(b"".join(part.tobytes() for part in batch(bars, LONG))).hexdigest()
