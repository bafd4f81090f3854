"""The kernel on recorded candles with venue outages and a crash: equal to the reference, finite, ready when due."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from core.records import BAR, Kind
from features import spec as s
from tests.features import reference
from tests.features.test_features_timeframes import ADDED, LONG, expected_columns
from tests.features.walk import INTERVAL_NS, LATENCY_NS, SPEC, batch

CANDLES = Path(__file__).parents[2] / ".." / "shared" / "market-data" / "candles"


def bars_of(name: str, ticks_per_unit: int) -> np.ndarray:
    """A recorded 5-minute market as bars; lots of 1e-5."""
    path = CANDLES / name
    if not path.exists():
        pytest.skip(f"recorded candles are not beside the checkout ({name})")
    frame = pl.read_parquet(path)
    bars = np.zeros(len(frame), BAR)
    bars["kind"] = Kind.BAR
    bars["ts_event"] = frame["time"].dt.epoch("ns").to_numpy() + INTERVAL_NS
    bars["ts_known"] = bars["ts_event"] + LATENCY_NS
    for column in ("open", "high", "low", "close"):
        bars[column] = np.round(frame[column].to_numpy() * ticks_per_unit)
    bars["volume"] = np.round(frame["volume"].to_numpy() * 1e5)
    return bars


def test_outages_of_2021_equal_the_reference_on_both_sides() -> None:
    bars = bars_of("binance-spot-5m-2021/BTC_USDT.parquet", 100)
    out, ready, _ = batch(bars)
    assert np.isfinite(out).all() and np.abs(out).max() <= s.CLIP
    missing = np.diff(bars["ts_event"]) // INTERVAL_NS - 1
    restarts = np.flatnonzero(missing > SPEC.reset_gap_bars) + 1
    assert len(restarts) >= 3
    assert (~ready).sum() == (len(restarts) + 1) * (SPEC.warmup_bars - 1)
    start = int(restarts[0])
    rows = slice(start, start + 900)
    expected, _ = reference.segment(bars[rows], SPEC)
    for column, name in enumerate(SPEC.names):
        wanted = np.clip(expected[name], -s.CLIP, s.CLIP)
        np.testing.assert_allclose(out[rows][ready[rows], column], wanted[ready[rows]], rtol=1e-5, atol=1e-5)


def test_longer_bars_after_an_outage_of_2021_equal_resampled_ones() -> None:
    bars = bars_of("binance-spot-5m-2021/BTC_USDT.parquet", 100)
    missing = np.diff(bars["ts_event"]) // INTERVAL_NS - 1
    start = int(np.flatnonzero(missing > LONG.reset_gap_bars)[-1]) + 1
    bars = bars[start : start + 1_600]
    out, ready, _ = batch(bars, LONG)
    expected = expected_columns(bars)
    assert ready.sum() > 900
    for name in ADDED:
        wanted = np.clip(expected[name], -s.CLIP, s.CLIP)
        column = out[:, LONG.names.index(name)]
        np.testing.assert_allclose(column[ready], wanted[ready], rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_crash_of_october_2025_stays_within_the_clip() -> None:
    bars = bars_of("binance-spot-5m-2025/SOL_USDT.parquet", 100)
    out, ready, sigma = batch(bars)
    returns = out[:, SPEC.names.index("return_1")]
    assert np.isfinite(out).all() and np.abs(returns).max() == s.CLIP  # the crash itself reaches it
    assert ready.mean() > 0.99 and sigma[ready].min() > 1e-5 and sigma.max() < 0.2
    assert 0.8 < returns[ready].std() < 1.3
