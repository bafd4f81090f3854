"""What a model says on a tape: by its exported step bar by bar, as the runner will hear it, and by the framework.

``models.stream`` runs kernel and step over the bars; the training framework runs the same rows in chunks. The largest
difference is measured, and the framework's own predictions are kept so that the backtest can count the decisions that
would flip. N bars, F features.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.records import PREDICTION
from features import bars as kernel
from features.spec import FeatureSpec
from models.predictor import Outputs, Predictor, prediction
from models.stream import Stream
from training.calibrate import Calibrated
from training.dataset import runs

_UNKNOWN: Final = (1 / 3, 1 / 3, 1 / 3, 0.0)  # of a row that is not ready


@dataclass(frozen=True, slots=True)
class Session:
    """What a stream is told besides its model."""

    spec: FeatureSpec
    n_instruments: int
    warmup_bars: int
    latency_ns: int
    trade_from_ns: int


@dataclass(frozen=True, slots=True)
class Said:
    """Row-aligned with the bars."""

    features: np.ndarray  # float32 [N, F]
    predictions: np.ndarray  # PREDICTION [N], by the exported step
    predictions_torch: np.ndarray  # PREDICTION [N], by the training framework
    exported: np.ndarray  # float64 [N, 4]: p_down, p_flat, p_up, move of the exported step
    parity: float  # largest difference of a probability or a move between step and framework


def listen(bars: np.ndarray, session: Session, predictor: Predictor, trained: Calibrated) -> Said:
    """Everything ``predictor`` and the network it was exported from say on ``bars``, dtype BAR."""
    recorder = _Recorder(predictor)
    stream = Stream(
        session.spec,
        recorder,
        session.n_instruments,
        warmup_bars=session.warmup_bars,
        latency_ns=session.latency_ns,
        trade_from_ns=session.trade_from_ns,
    )
    predictions = np.zeros(len(bars), PREDICTION)
    for row in range(len(bars)):
        predictions[row] = stream.on_bar(bars[row : row + 1])[0]

    features = np.zeros((len(bars), session.spec.n_features), np.float32)
    ready, sigma = np.zeros(len(bars), bool), np.zeros(len(bars))
    kernel.batch(kernel.new_state(session.spec, session.n_instruments), bars, features, ready, sigma)
    exported = np.tile(_UNKNOWN, (len(bars), 1))
    exported[ready] = np.array(recorder.outputs).reshape(-1, 4)
    framework = np.tile(_UNKNOWN, (len(bars), 1))
    for run in runs(bars["instrument"], ready, np.arange(len(bars))):
        framework[run] = trained.outputs(features[run])
    return Said(
        features=features,
        predictions=predictions,
        predictions_torch=_restated(predictions, bars, framework, sigma, session.latency_ns),
        exported=exported,
        parity=float(np.abs(exported - framework).max(initial=0.0)),
    )


def _restated(
    predictions: np.ndarray, bars: np.ndarray, outputs: np.ndarray, sigma: np.ndarray, latency_ns: int
) -> np.ndarray:
    """``predictions`` as they would be with ``outputs`` [N, 4] in place of the exported step's."""
    restated, tradable = np.zeros_like(predictions), predictions["flags"] == 0
    for row, values in enumerate(outputs.tolist()):
        bar = bars[row : row + 1]
        restated[row] = prediction(bar, tuple(values), float(sigma[row]), bool(tradable[row]), latency_ns)[0]
    return restated


@dataclass(frozen=True, slots=True)
class _Recorder:
    """A step that also remembers its outputs, one per ready bar in the bars' order."""

    predictor: Predictor
    outputs: list[Outputs] = field(default_factory=list)

    def step(self, instrument: int, x: np.ndarray) -> Outputs:
        outputs = self.predictor.step(instrument, x)
        self.outputs.append(outputs)
        return outputs

    def reset(self, instrument: int) -> None:
        self.predictor.reset(instrument)
