"""Random bars for tests: a walk with changing volatility, lost bars and outages."""

import numpy as np

from core.records import BAR, Kind
from features import bars as kernel
from features.spec import FeatureParams, FeatureSpec, bar_spec

INTERVAL_NS = 300_000_000_000
LATENCY_NS = 50_000_000
START_NS = 1_709_251_200_000_000_000  # 2024-03-01, so that both daylight saving changes of spring are near
SPEC: FeatureSpec = bar_spec(FeatureParams(), INTERVAL_NS, 3 * INTERVAL_NS)


def walk(rows: int, seed: int, *, lost: float = 0.0, outages: tuple[tuple[int, int], ...] = (), instrument: int = 0):
    """At most ``rows`` bars of one instrument; ``outages`` are (first row, bars), ``lost`` the chance of a lost bar."""
    rng = np.random.default_rng(seed)
    sigma = 1e-3 * np.exp(np.convolve(rng.normal(0, 0.3, rows + 49), np.ones(50) / 7, "valid"))
    close = np.round(100_000 * np.exp(np.cumsum(sigma * rng.standard_t(4, rows)))).astype(np.int64)
    bars = np.zeros(rows, BAR)
    bars["kind"], bars["instrument"] = Kind.BAR, instrument
    bars["ts_event"] = START_NS + INTERVAL_NS * np.arange(1, rows + 1)
    bars["ts_known"] = bars["ts_event"] + LATENCY_NS
    bars["open"], bars["close"] = np.concatenate([close[:1], close[:-1]]), close
    wick = (close * sigma * np.abs(rng.normal(0, 0.4, (2, rows)))).astype(np.int64)
    bars["high"] = np.maximum(bars["open"], close) + wick[0]
    bars["low"] = np.minimum(bars["open"], close) - wick[1]
    bars["volume"] = rng.lognormal(6, 1, rows).astype(np.int64)
    keep = rng.random(rows) >= lost
    for first, count in outages:
        keep[first : first + count] = False
    return bars[keep]


def interleave(*series: np.ndarray) -> np.ndarray:
    """Several instruments as one tape orders them."""
    bars = np.concatenate(series)
    return bars[np.lexsort((bars["instrument"], bars["ts_known"]))]


def batch(bars: np.ndarray, spec: FeatureSpec = SPEC, dtype: type = np.float32):
    """``features.bars.batch`` from a new state: (features, ready, sigma)."""
    state = kernel.new_state(spec, int(bars["instrument"].max()) + 1 if len(bars) else 1)
    out = np.zeros((len(bars), spec.n_features), dtype)
    ready, sigma = np.zeros(len(bars), np.bool_), np.zeros(len(bars))
    kernel.batch(state, bars, out, ready, sigma)
    return out, ready, sigma
