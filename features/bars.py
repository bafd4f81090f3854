"""The bar kernel: one compiled update per bar; a batch is a loop over it. ``features.spec`` names what it computes.

State is one record of dtype STATE per instrument and carries its own configuration, so a state array is all there is
to copy, compare or restore. Shapes: ``state`` (n_instruments,), ``bar`` (1,) and ``bars`` (rows,) of dtype
``core.records.BAR``, ``out`` (rows, n_features) float32, ``ready`` (rows,) bool, ``sigma`` (rows,) float64.

Gaps: up to ``reset_gap_bars`` missing bars, the last close stands in for the missing ones, the return over the gap
counts as one bar's after division by the root of the bars it spans, and the feature ``gap`` says so. A longer gap
restarts the instrument, its longer bars (``features.timeframes``) too. A row is not ready, and is all zero with sigma
0, during the warm-up and while the price has not moved at all.
"""

import math
from typing import Final

import numpy as np

from core.days import weekday
from core.errors import BadInput
from core.jit import entry, kernel
from core.records import DAY_NS
from features import spec as s
from features import timeframes
from features.sessions import ASIA, LONDON, NEW_YORK, sessions

_RING: Final = 64  # log closes kept, a power of two above the longest return
_MASK: Final = _RING - 1

STATE: Final = np.dtype(
    [
        ("interval_ns", "<i8"),
        ("reset_gap_bars", "<i8"),
        ("warmup_bars", "<i8"),
        ("horizon_root", "<f8"),  # square root of the label horizon in bars
        ("bars", "<i8"),  # since the last restart; 0 before the first bar
        ("last_ts", "<i8"),
        ("last_close", "<i8"),
        ("missing", "<i8"),  # bars missing just before the last one
        ("slot", "<i8"),  # position of the last close in the ring
        ("log_closes", "<f8", (_RING,)),
        ("sigma_bar", "<f8"),  # robust volatility of one bar, at least _SIGMA_MIN
        ("sigma", "<f8"),  # over the label horizon, as a fraction; 0 while not ready
        ("absolute", "<f8"),  # weighted mean of |return|
        ("momentum", "<f8", (len(s.MOMENTUM_HALF_LIFE_BARS),)),
        ("atr", "<f8"),  # ticks
        ("variance_short", "<f8"),
        ("variance_long", "<f8"),
        ("volume_mean", "<f8"),
        ("volume_variance", "<f8"),
        ("volume_z", "<f8"),
        ("regime_mean", "<f8"),
        ("regime_variance", "<f8"),
        ("regime", "<f8"),
        ("n_timeframes", "<i8"),
        ("timeframes", timeframes.TIMEFRAME, (s.TIMEFRAMES_MAX,)),
    ]
)


def _alpha(half_life_bars: int) -> float:
    return 1.0 - 0.5 ** (1.0 / half_life_bars)


_SIGMA_MIN: Final = 1e-6  # 1 ppm a bar: below it a price counts as not moving
_VARIANCE_MIN: Final = 1e-12
_CLIP: Final = float(s.CLIP)
_ABSOLUTE_TO_SIGMA: Final = math.sqrt(math.pi / 2.0)  # E|x| = sigma * sqrt(2 / pi) for a normal x
_THIRD: Final = 0.430727299  # two thirds of a normal lie below the mean + this many standard deviations
_SIGMA_ALPHA: Final = _alpha(s.SIGMA_HALF_LIFE_BARS)
_SHORT_ALPHA: Final = _alpha(s.VOLATILITY_SHORT_HALF_LIFE_BARS)
_LONG_ALPHA: Final = _alpha(s.VOLATILITY_LONG_HALF_LIFE_BARS)
_VOLUME_ALPHA: Final = _alpha(s.VOLUME_HALF_LIFE_BARS)
_REGIME_ALPHA: Final = _alpha(s.REGIME_HALF_LIFE_BARS)
_ATR_ALPHA: Final = 1.0 / s.ATR_BARS  # Wilder, "New Concepts in Technical Trading Systems" (1978)
_RETURN_BARS: Final = s.RETURN_BARS
_RETURN_ROOT: Final = tuple(math.sqrt(n) for n in s.RETURN_BARS)
_MOMENTUM_ALPHA: Final = tuple(_alpha(n) for n in s.MOMENTUM_HALF_LIFE_BARS)
_MOMENTUM_SCALE: Final = tuple(math.sqrt((2.0 - a) / a) for a in _MOMENTUM_ALPHA)  # 1 / standard deviation of the mean
_COMPARED_SCALE: Final = _MOMENTUM_SCALE[s.COMPARED_MOMENTUM]
_N_FEATURES: Final = len(s.FEATURES)
_WEEKDAY_SIN: Final = tuple(math.sin(2.0 * math.pi * day / 7.0) for day in range(7))
_WEEKDAY_COS: Final = tuple(math.cos(2.0 * math.pi * day / 7.0) for day in range(7))


def new_state(spec: s.FeatureSpec, n_instruments: int) -> np.ndarray:
    """The state before the first bar, shape (n_instruments,), dtype STATE."""
    state = np.zeros(n_instruments, STATE)
    state["interval_ns"] = spec.interval_ns
    state["reset_gap_bars"] = spec.reset_gap_bars
    state["warmup_bars"] = spec.warmup_bars
    state["horizon_root"] = math.sqrt(spec.horizon_bars)
    state["n_timeframes"] = len(spec.timeframes_ns)
    for i, frame_ns in enumerate(spec.timeframes_ns):
        state["timeframes"]["interval_ns"][:, i] = frame_ns
        state["timeframes"]["root"][:, i] = math.sqrt(frame_ns // spec.interval_ns)
    return state


@entry
def update(state: np.ndarray, bar: np.ndarray, out: np.ndarray) -> bool:
    """Take one bar, write its features to ``out`` of shape (1, n_features) and return whether they are ready.

    ``state[instrument]["sigma"]`` then holds sigma over the label horizon. Raises BadInput, with the state untouched,
    for a bar that is off the interval's grid, not after its instrument's last one, or impossible in its prices;
    IndexError for an unknown instrument.
    """
    return _step(state[bar[0]["instrument"]], bar[0], out, 0)


@entry
def batch(state: np.ndarray, bars: np.ndarray, out: np.ndarray, ready: np.ndarray, sigma: np.ndarray) -> None:
    """``update`` over every row of ``bars``, instruments interleaved as they come. Raises as ``update`` does."""
    for row in range(len(bars)):
        own = state[bars[row]["instrument"]]
        ready[row] = _step(own, bars[row], out, row)
        sigma[row] = own["sigma"]


@kernel
def _step(own: np.void, bar: np.void, out: np.ndarray, row: int) -> bool:
    missing = _missing(own, bar)
    if own["bars"] == 0 or missing > own["reset_gap_bars"]:
        _restart(own, bar)
    else:
        _take_return(own, bar, missing)
    _take_volume(own, bar)
    for i in range(own["n_timeframes"]):
        opened = bar["ts_event"] - own["interval_ns"]
        timeframes.take(own["timeframes"][i], opened, bar["ts_event"], bar["close"], own["sigma_bar"])
    own["last_ts"] = bar["ts_event"]
    own["last_close"] = bar["close"]
    is_ready = own["bars"] >= own["warmup_bars"] and own["sigma_bar"] > _SIGMA_MIN
    if is_ready:
        own["sigma"] = own["sigma_bar"] * own["horizon_root"]
        _write(own, bar, out, row)
        if own["n_timeframes"] > 0:
            _write_timeframes(own, out, row)
    else:
        own["sigma"] = 0.0
        out[row, :] = 0.0
    return is_ready


@kernel
def _missing(own: np.void, bar: np.void) -> int:
    """How many bars are missing before ``bar``; refuses one that cannot be."""
    if not (0 < bar["low"] <= min(bar["open"], bar["close"]) and max(bar["open"], bar["close"]) <= bar["high"]):
        raise BadInput("bar prices must hold 0 < low <= open, close <= high: validate the tape at ingest")
    if bar["volume"] < 0:
        raise BadInput("bar volume is below 0: validate the tape at ingest")
    if own["bars"] == 0:
        return 0
    elapsed = bar["ts_event"] - own["last_ts"]
    if elapsed <= 0 or elapsed % own["interval_ns"] != 0:
        raise BadInput("bar is not a whole number of intervals after the last one: sort and deduplicate at ingest")
    return elapsed // own["interval_ns"] - 1


@kernel
def _restart(own: np.void, bar: np.void) -> None:
    """Begin the warm-up with ``bar``. The closes before it are taken to be its own."""
    own["bars"] = 1
    own["missing"] = 0
    own["slot"] = 0
    log_close = math.log(bar["close"])
    for i in range(_RING):
        own["log_closes"][i] = log_close
    own["sigma_bar"] = _SIGMA_MIN
    own["absolute"] = 0.0
    for i in range(len(_MOMENTUM_ALPHA)):
        own["momentum"][i] = 0.0
    own["atr"] = bar["high"] - bar["low"]
    own["variance_short"] = 0.0
    own["variance_long"] = 0.0
    own["volume_mean"] = 0.0
    own["volume_variance"] = 0.0
    own["regime_mean"] = 0.0
    own["regime_variance"] = 0.0
    own["regime"] = 0.0
    for i in range(own["n_timeframes"]):
        timeframes.restart(own["timeframes"][i])


@kernel
def _take_return(own: np.void, bar: np.void, missing: int) -> None:
    """Advance everything that depends on the return since the last bar."""
    own["missing"] = missing
    own["bars"] += 1
    n = own["bars"] - 1  # returns seen, this one included
    last = own["log_closes"][own["slot"]]
    log_close = math.log(bar["close"])
    for _ in range(missing):
        own["slot"] = (own["slot"] + 1) & _MASK
        own["log_closes"][own["slot"]] = last
    own["slot"] = (own["slot"] + 1) & _MASK
    own["log_closes"][own["slot"]] = log_close

    root = math.sqrt(missing + 1.0)
    change = (log_close - last) / root
    own["absolute"] += _weight(n, _SIGMA_ALPHA) * (abs(change) - own["absolute"])
    own["variance_short"] += _weight(n, _SHORT_ALPHA) * (change * change - own["variance_short"])
    own["variance_long"] += _weight(n, _LONG_ALPHA) * (change * change - own["variance_long"])
    own["sigma_bar"] = max(own["absolute"] * _ABSOLUTE_TO_SIGMA, _SIGMA_MIN)
    standardised = _clip(change / own["sigma_bar"])
    for i in range(len(_MOMENTUM_ALPHA)):
        own["momentum"][i] += _weight(n, _MOMENTUM_ALPHA[i]) * (standardised - own["momentum"][i])

    jump = max(abs(bar["high"] - own["last_close"]), abs(bar["low"] - own["last_close"])) / root
    true_range = max(bar["high"] - bar["low"], jump)
    own["atr"] += _weight(own["bars"], _ATR_ALPHA) * (true_range - own["atr"])
    _take_regime(own, n)


@kernel
def _take_regime(own: np.void, n: int) -> None:
    """Place log sigma among its past, then let it join that past."""
    x = math.log(own["sigma_bar"])
    z = _z_score(x, own["regime_mean"], own["regime_variance"])
    own["regime"] = 0.0
    if z > _THIRD:
        own["regime"] = 1.0
    elif z < -_THIRD:
        own["regime"] = -1.0
    weight = _weight(n, _REGIME_ALPHA)
    deviation = x - own["regime_mean"]
    own["regime_mean"] += weight * deviation
    own["regime_variance"] = (1.0 - weight) * (own["regime_variance"] + weight * deviation * deviation)


@kernel
def _take_volume(own: np.void, bar: np.void) -> None:
    """Place the log volume among its past, then let it join that past."""
    x = math.log(1.0 + bar["volume"])
    own["volume_z"] = _z_score(x, own["volume_mean"], own["volume_variance"])
    weight = _weight(own["bars"], _VOLUME_ALPHA)
    deviation = x - own["volume_mean"]
    own["volume_mean"] += weight * deviation
    own["volume_variance"] = (1.0 - weight) * (own["volume_variance"] + weight * deviation * deviation)


@kernel
def _write(own: np.void, bar: np.void, out: np.ndarray, row: int) -> None:
    """The features of a ready row, in the order of ``features.spec.FEATURES``."""
    column = 0
    log_close = own["log_closes"][own["slot"]]
    for i in range(len(_RETURN_BARS)):
        before = own["log_closes"][(own["slot"] - _RETURN_BARS[i]) & _MASK]
        out[row, column] = _clip((log_close - before) / (own["sigma_bar"] * _RETURN_ROOT[i]))
        column += 1
    for i in range(len(_MOMENTUM_SCALE)):
        out[row, column] = _clip(own["momentum"][i] * _MOMENTUM_SCALE[i])
        column += 1
    height = bar["high"] - bar["low"]
    out[row, column] = _clip(height / own["atr"]) if own["atr"] > 0.0 else 0.0
    out[row, column + 1] = _clip(own["atr"] / (bar["close"] * own["sigma_bar"]))
    floor = _SIGMA_MIN * _SIGMA_MIN
    out[row, column + 2] = _clip(0.5 * math.log((own["variance_short"] + floor) / (own["variance_long"] + floor)))
    out[row, column + 3] = _clip(own["volume_z"])
    out[row, column + 4] = (2.0 * bar["close"] - bar["high"] - bar["low"]) / height if height > 0 else 0.0
    now = bar["ts_event"]
    open_sessions = sessions(now)
    out[row, column + 5] = 1.0 if open_sessions & ASIA else 0.0
    out[row, column + 6] = 1.0 if open_sessions & LONDON else 0.0
    out[row, column + 7] = 1.0 if open_sessions & NEW_YORK else 0.0
    day = weekday(now // DAY_NS)
    out[row, column + 8] = _WEEKDAY_SIN[day]
    out[row, column + 9] = _WEEKDAY_COS[day]
    out[row, column + 10] = own["regime"]
    out[row, column + 11] = 1.0 if own["missing"] > 0 else 0.0


@kernel
def _write_timeframes(own: np.void, out: np.ndarray, row: int) -> None:
    """The columns of ``features.spec.timeframe_features``, behind the others."""
    column = _N_FEATURES
    short = own["momentum"][s.COMPARED_MOMENTUM] * _COMPARED_SCALE
    agreeing = _sign(short)
    for i in range(own["n_timeframes"]):
        frame = own["timeframes"][i]
        momentum = frame["momentum"] * timeframes.MOMENTUM_SCALE
        out[row, column] = _clip(frame["trend"])
        out[row, column + 1] = _clip(momentum)
        out[row, column + 2] = _clip(short - momentum)
        agreeing += _sign(momentum)
        column += 3
    out[row, column] = agreeing / (1 + own["n_timeframes"])


@kernel
def _sign(x: float) -> float:
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)


@kernel
def _weight(n: int, alpha: float) -> float:
    """Weight of the n-th value: a plain mean until an exponential one is steadier."""
    return max(1.0 / n, alpha)


@kernel
def _z_score(x: float, mean: float, variance: float) -> float:
    return (x - mean) / math.sqrt(variance) if variance > _VARIANCE_MIN else 0.0


@kernel
def _clip(x: float) -> float:
    return min(max(x, -_CLIP), _CLIP)
