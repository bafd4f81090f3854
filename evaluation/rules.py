"""Rule strategies as baselines: the same tape, sizing and risk as the model's session, only the decision differs.

The core sizes by the sigma of a PREDICTION, so a rule that is to be compared with a model must decide when one
arrives, not at the bar before it. Where there is no model, ``neutral_predictions`` carries the kernel's sigma.
"""

from typing import Any, Final

import numpy as np

from core import strategies
from core.jit import kernel
from core.records import BAR, PPM, PREDICTION, Kind, PredictionFlag
from core.settings import Strategy
from features import bars as bar_kernel
from features.spec import FeatureSpec

SMA_SIZED: Final = "sma_sized"
MEAN_REVERT_SIZED: Final = "mean_revert_sized"
_ON_BAR: Final = int(Kind.BAR)
_NO_OPINION: Final = strategies.NO_OPINION
_HOLD: Final = strategies.HOLD
_LONG: Final = strategies.LONG
_FLAT: Final = strategies.FLAT
_GAP: Final = strategies.SMA_GAP
_SEEN: Final = strategies.SMA_SEEN
_WANT: Final = strategies.MEAN_REVERT_WANT
_crossover: Any = kernel(strategies.sma)
_fade: Any = kernel(strategies.mean_revert)


def sma_sized(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """``core.strategies.sma``, followed at the bar and answered at the prediction, so that sigma sizes it."""
    if view["event"] == _ON_BAR:
        _crossover(params, memory, view, proposal)
        return _NO_OPINION
    words = memory["words"]
    if words[_SEEN] < params["slow"]:
        return _HOLD
    return _LONG if words[_GAP] > 0 else _FLAT


def mean_revert_sized(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """``core.strategies.mean_revert``, followed at the bar and answered at the prediction, as ``sma_sized``."""
    if view["event"] == _ON_BAR:
        _fade(params, memory, view, proposal)
        return _NO_OPINION
    want = memory["words"][_WANT]
    return want if want != _NO_OPINION else _HOLD


strategies.register(SMA_SIZED, sma_sized)
strategies.register(MEAN_REVERT_SIZED, mean_revert_sized)
# The rules that every model is evaluated beside (requirements EVAL-28), by the name of their baseline.
BASELINES: Final = {"sma": Strategy(kind=SMA_SIZED), "mean_revert": Strategy(kind=MEAN_REVERT_SIZED)}


def neutral_predictions(bars: np.ndarray, n_instruments: int, spec: FeatureSpec, latency_ns: int) -> np.ndarray:
    """PREDICTION records [rows] that know the kernel's sigma and nothing else; WARMUP until the kernel is ready."""
    bars = np.array(bars, BAR)
    features = np.zeros((len(bars), spec.n_features), np.float32)
    ready, sigma = np.zeros(len(bars), np.bool_), np.zeros(len(bars))
    bar_kernel.batch(bar_kernel.new_state(spec, n_instruments), bars, features, ready, sigma)
    predictions = np.zeros(len(bars), PREDICTION)
    for name in ("ts_event", "instrument"):
        predictions[name] = bars[name]
    predictions["ts_known"] = bars["ts_known"] + latency_ns
    predictions["kind"] = Kind.PREDICTION
    predictions["flags"] = np.where(ready, 0, PredictionFlag.WARMUP)
    predictions["p_down_ppm"] = predictions["p_up_ppm"] = PPM // 3
    predictions["sigma_ppm"] = np.maximum(1, np.ceil(sigma * PPM))
    predictions["bar_ts"] = bars["ts_event"]
    return predictions
