"""The stream: bars in, predictions out, one at a time, with the same kernel and the same step everywhere.

Calibration makes a fold's ``predictions.npy`` with it and the runner trades by it, so their bits agree. The model's
recurrent state lives exactly as long as an uninterrupted run of ready rows: a row that is not ready (warm-up, a long
gap, a price that does not move) resets it, as training cuts its lanes there too.
"""

from typing import Final, Protocol, cast

import numpy as np

from core.errors import BadInput
from core.records import BAR
from features import bars as kernel
from features.spec import FeatureSpec
from models.predictor import Outputs, prediction

_UNKNOWN: Final[Outputs] = (1 / 3, 1 / 3, 1 / 3, 0.0)  # what a stream that is not ready says
_BEGINNING_NS: Final = -(2**63)


class Step(Protocol):
    """What the stream needs of a model: ``models.predictor.Predictor`` is one."""

    def step(self, instrument: int, x: np.ndarray) -> Outputs:
        """Advance the stream of ``instrument`` by features ``x``."""

    def reset(self, instrument: int) -> None:
        """Forget everything about ``instrument``."""


class Resumable(Step, Protocol):
    """What it needs besides to be kept in a snapshot."""

    def dump(self) -> bytes:
        """The recurrent states of every instrument."""

    def load(self, data: bytes) -> None:
        """Take up what ``dump`` gave."""


class Stream:
    """Kernel and model for ``n_instruments``.

    ``warmup_bars`` is the model's own burn-in after a reset (``manifest.Model.warmup_bars``), on top of the kernel's;
    predictions within it, and those of bars with ``ts_event`` <= ``trade_from_ns`` (a fold's warm-up prefix), carry
    the flag WARMUP and are sized 0. ``latency_ns`` passes between a bar's and its prediction's ``ts_known``.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        predictor: Step,
        n_instruments: int,
        *,
        warmup_bars: int,
        latency_ns: int,
        trade_from_ns: int = _BEGINNING_NS,
    ) -> None:
        self._predictor = predictor
        self._warmup_bars = warmup_bars
        self._latency_ns = latency_ns
        self._trade_from_ns = trade_from_ns
        self._state = kernel.new_state(spec, n_instruments)
        self._bar = np.zeros(1, BAR)  # a bar is copied here: a read-only slice of a tape would compile another kernel
        self._features = np.zeros((1, spec.n_features), np.float32)
        self._steps = [0] * n_instruments  # of the model since its last reset

    def on_bar(self, bar: np.ndarray) -> np.ndarray:
        """Take one bar, shape (1,) dtype BAR, and return its PREDICTION, shape (1,).

        Raises BadInput for an instrument beyond ``n_instruments`` and for the bars ``features.bars.update`` refuses;
        the stream is then as it was.
        """
        instrument = int(bar["instrument"][0])
        if instrument >= len(self._steps):
            raise BadInput(f"bar of instrument {instrument}; this stream has {len(self._steps)}: check the tape's head")
        self._bar[:] = bar
        ready = kernel.update(self._state, self._bar, self._features)
        if not ready:
            self._predictor.reset(instrument)
            self._steps[instrument] = 0
            return prediction(bar, _UNKNOWN, 0.0, False, self._latency_ns)
        outputs = self._predictor.step(instrument, self._features[0])
        self._steps[instrument] += 1
        tradable = self._steps[instrument] > self._warmup_bars and bar["ts_event"][0] > self._trade_from_ns
        return prediction(bar, outputs, float(self._state["sigma"][instrument]), bool(tradable), self._latency_ns)

    def dump(self) -> bytes:
        """Kernel, recurrent states and step counts: a stream that loads them goes on as this one does."""
        steps = np.array(self._steps, np.int64)
        return self._state.tobytes() + steps.tobytes() + cast(Resumable, self._predictor).dump()

    def load(self, data: bytes) -> None:
        """Take up what ``dump`` gave. Raises BadInput if it is not of this specification and model."""
        kernel_bytes, steps_bytes = self._state.nbytes, 8 * len(self._steps)
        if len(data) < kernel_bytes + steps_bytes:
            raise BadInput("a stream's snapshot is shorter than this kernel's state: it is of another specification")
        self._state[:] = np.frombuffer(data[:kernel_bytes], self._state.dtype)
        self._steps = np.frombuffer(data[kernel_bytes : kernel_bytes + steps_bytes], np.int64).tolist()
        cast(Resumable, self._predictor).load(data[kernel_bytes + steps_bytes :])
