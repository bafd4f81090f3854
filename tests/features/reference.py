"""The features once more: slow, obvious, float64, from whole arrays instead of carried state.

Bars are laid on the full time grid, so a return is a difference of two grid rows; every weighted mean is an explicit
sum over the past with its weights written out. Nothing is shared with the kernel but the numbers of ``features.spec``.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from features import spec as s


def weights(n: int, alpha: float) -> np.ndarray:
    """Lower triangle W[t, j]: weight of value j in the mean of values 0..t, (n, n)."""
    own = np.maximum(1.0 / np.arange(1, n + 1), alpha)
    result = np.zeros((n, n))
    for t in range(n):
        result[t] = result[t - 1] * (1.0 - own[t])  # what came before fades (row -1 is zero at t = 0)
        result[t, t] = own[t]
    return result


def alpha(half_life: int) -> float:
    return 1.0 - 2.0 ** (-1.0 / half_life)


def past_z(x: np.ndarray, half_life: int) -> np.ndarray:
    """z-score of x[t] against the weighted mean and standard deviation of x[0..t-1]; 0 where they do not exist."""
    w = weights(len(x), alpha(half_life))
    mean = w @ x
    variance = np.array([w[t] @ (x - mean[t]) ** 2 for t in range(len(x))])
    z = np.zeros(len(x))
    known = variance[:-1] > 1e-12
    z[1:][known] = (x[1:][known] - mean[:-1][known]) / np.sqrt(variance[:-1][known])
    return z


def segment(bars: np.ndarray, spec: s.FeatureSpec) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Features by name and sigma over the horizon of one instrument's bars without a restart between them."""
    n = len(bars)
    grid = ((bars["ts_event"] - bars["ts_event"][0]) // spec.interval_ns).astype(int)
    log_close = np.log(bars["close"].astype(float))
    filled = log_close[np.searchsorted(grid, np.arange(grid[-1] + 1), side="right") - 1]  # last close at or before
    spanned = np.diff(grid, prepend=-1)[1:]  # bars each return spans
    returns = np.diff(log_close) / np.sqrt(spanned)
    sigma = np.maximum(weights(n - 1, alpha(s.SIGMA_HALF_LIFE_BARS)) @ np.abs(returns) * np.sqrt(np.pi / 2), 1e-6)
    sigma = np.concatenate([[1e-6], sigma])
    out = {}
    for bars_back in s.RETURN_BARS:
        before = filled[np.maximum(grid - bars_back, 0)]
        out[f"return_{bars_back}"] = (log_close - before) / (sigma * np.sqrt(bars_back))
    standardised = np.clip(returns / sigma[1:], -s.CLIP, s.CLIP)
    for half_life in s.MOMENTUM_HALF_LIFE_BARS:
        a = alpha(half_life)
        momentum = weights(n - 1, a) @ standardised * np.sqrt((2 - a) / a)
        out[f"momentum_{half_life}"] = np.concatenate([[0.0], momentum])
    high, low, close = (bars[name].astype(float) for name in ("high", "low", "close"))
    true_range = high - low
    jump = np.maximum(np.abs(high[1:] - close[:-1]), np.abs(low[1:] - close[:-1])) / np.sqrt(spanned)
    true_range[1:] = np.maximum(true_range[1:], jump)
    atr = weights(n, 1 / s.ATR_BARS) @ true_range
    out["range_to_atr"] = np.divide(high - low, atr, out=np.zeros(n), where=atr > 0)
    out["atr_to_sigma"] = atr / (close * sigma)
    short, long = (
        np.concatenate([[0.0], weights(n - 1, alpha(h)) @ returns**2])
        for h in (s.VOLATILITY_SHORT_HALF_LIFE_BARS, s.VOLATILITY_LONG_HALF_LIFE_BARS)
    )
    out["volatility_ratio"] = 0.5 * np.log((short + 1e-12) / (long + 1e-12))
    out["volume_z"] = past_z(np.log(1.0 + bars["volume"]), s.VOLUME_HALF_LIFE_BARS)
    span = np.where(high > low, high - low, 1.0)
    out["close_location"] = np.where(high > low, (2 * close - high - low) / span, 0.0)
    regime = np.concatenate([[0.0], past_z(np.log(sigma[1:]), s.REGIME_HALF_LIFE_BARS)])
    out["volatility_regime"] = np.sign(regime) * (np.abs(regime) > 0.430727299)
    out["gap"] = np.concatenate([[0.0], spanned > 1]).astype(float)
    return out | clock(bars["ts_event"]), sigma * np.sqrt(spec.horizon_bars)


def clock(ts_event: np.ndarray) -> dict[str, np.ndarray]:
    """Sessions and weekday from the system's time-zone database."""
    out = {}
    at = [datetime.fromtimestamp(int(ts) // 10**9, UTC) for ts in ts_event]
    for name, zone, start, end in (
        ("asia", "Asia/Tokyo", 9, 18),
        ("london", "Europe/London", 8, 17),
        ("new_york", "America/New_York", 8, 17),
    ):
        local = [moment.astimezone(ZoneInfo(zone)) for moment in at]
        out[f"session_{name}"] = np.array([float(start <= moment.hour < end) for moment in local])
    angle = 2 * np.pi * np.array([moment.weekday() for moment in at]) / 7
    return out | {"weekday_sin": np.sin(angle), "weekday_cos": np.cos(angle)}
