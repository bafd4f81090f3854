"""The exported step at run time, and the only place where a model's floats become integers.

One ONNX Runtime session, one thread, batch 1, as everywhere: calibration, backtest and runner call this very class, so
a paper session gets the same bits as the backtest. Each instrument owns two buffers per recurrent state; a step reads
one and writes the other and the next step swaps them, so nothing is copied and nothing is overwritten while read.
"""

import math
from typing import Final

import numpy as np
import onnxruntime

from core.canonical import sha256_hex
from core.errors import BadInput, Refused, require
from core.records import PPM, PREDICTION, Kind, PredictionFlag
from models.manifest import Model

Outputs = tuple[float, float, float, float]  # p_down, p_flat, p_up, move (return over the horizon in units of sigma)

_FIXED_OUTPUTS: Final = {"probabilities": (1, 3), "move": (1, 1)}


class Predictor:
    """The step of ``model`` for ``n_instruments`` independent streams.

    Raises Refused if ``onnx_bytes`` do not hash to ``model.onnx_sha256``; BadInput if the graph's inputs and outputs
    are not those of ``model``.
    """

    def __init__(self, onnx_bytes: bytes, model: Model, n_instruments: int) -> None:
        if (found := sha256_hex(onnx_bytes)) != model.onnx_sha256:
            raise Refused(f"step.onnx hashes to {found[:16]}, its manifest says {model.onnx_sha256[:16]}: altered")
        self.model = model
        self._session = _session(onnx_bytes)
        _check_signature(self._session, model)
        self._streams = [_Stream(self._session, model) for _ in range(n_instruments)]

    def step(self, instrument: int, x: np.ndarray) -> Outputs:
        """Advance the stream of ``instrument`` by features ``x`` (float32, n_features) and return its outputs.

        Raises BrokenInvariant if an output is not finite: a model that says NaN may not trade on.
        """
        stream = self._streams[instrument]
        stream.x[0, :] = x
        self._session.run_with_iobinding(stream.bindings[stream.turn])
        stream.turn ^= 1
        p_down, p_flat, p_up = stream.probabilities[0].tolist()
        move = stream.move.item()
        require(
            math.isfinite(p_down + p_flat + p_up + move), f"instrument {instrument}: the model's output is not finite"
        )
        return p_down, p_flat, p_up, move

    def reset(self, instrument: int) -> None:
        """Start the stream of ``instrument`` afresh: all states zero."""
        self._streams[instrument].zero()

    def dump(self) -> bytes:
        """The recurrent states of every stream, in order."""
        return b"".join(stream.dump() for stream in self._streams)

    def load(self, data: bytes) -> None:
        """Take up what ``dump`` gave. Raises BadInput if it is not of this model."""
        size = len(self._streams[0].dump()) if self._streams else 0
        if len(data) != size * len(self._streams):
            raise BadInput(f"{len(data)} bytes of recurrent states, this model has {size * len(self._streams)}")
        for index, stream in enumerate(self._streams):
            stream.load(data[index * size : (index + 1) * size])


def prediction(bar: np.ndarray, outputs: Outputs, sigma: float, ready: bool, latency_ns: int) -> np.ndarray:
    """``outputs`` made from ``bar`` as a PREDICTION record, shape (1,), known ``latency_ns`` after the bar.

    ``sigma`` is the standard deviation of the return over the label horizon, a fraction. Rounding is against us: both
    probabilities and the edge (move x sigma) are rounded down, sigma up and to at least 1 ppm. Unless ``ready``,
    the record is flagged WARMUP: the core sizes it 0.
    """
    require(math.isfinite(sigma) and sigma >= 0, f"sigma is {sigma}; the kernel gives finite values of 0 or more")
    p_down, _, p_up, move = outputs
    row = (
        bar["ts_event"].item(),
        bar["ts_known"].item() + latency_ns,
        Kind.PREDICTION,
        0,
        bar["instrument"].item(),
        0,
        0 if ready else PredictionFlag.WARMUP,
        _probability_ppm(p_down),
        _probability_ppm(p_up),
        math.floor(move * sigma * PPM),
        max(1, math.ceil(sigma * PPM)),
        bar["ts_event"].item(),
    )
    return np.array([row], PREDICTION)


def _probability_ppm(value: float) -> int:
    return min(PPM, math.floor(value * PPM))  # a float32 softmax may exceed 1 by a rounding error


class _Stream:
    """Buffers and the two bindings (read a, write b; read b, write a) of one instrument."""

    def __init__(self, session: onnxruntime.InferenceSession, model: Model) -> None:
        self.turn = 0
        self.x = np.zeros((1, model.n_features), np.float32)
        self.probabilities = np.zeros((1, 3), np.float32)
        self.move = np.zeros((1, 1), np.float32)
        self._states = [[np.zeros(state.shape, np.float32) for state in model.states] for _ in range(2)]
        self.bindings = [self._bind(session, model, read) for read in (0, 1)]

    def _bind(self, session: onnxruntime.InferenceSession, model: Model, read: int) -> onnxruntime.IOBinding:
        binding = session.io_binding()
        _bind(binding.bind_input, "x", self.x)
        _bind(binding.bind_output, "probabilities", self.probabilities)
        _bind(binding.bind_output, "move", self.move)
        for index, state in enumerate(model.states):
            _bind(binding.bind_input, state.name, self._states[read][index])
            _bind(binding.bind_output, state.name + "_next", self._states[1 - read][index])
        return binding

    def dump(self) -> bytes:
        return b"".join(state.tobytes() for state in self._states[self.turn])

    def load(self, data: bytes) -> None:
        values = np.frombuffer(data, np.float32)
        for state in self._states[self.turn]:
            state[...] = values[: state.size].reshape(state.shape)
            values = values[state.size :]

    def zero(self) -> None:
        for state in self._states[0] + self._states[1]:
            state[...] = 0


def _bind(bind: object, name: str, buffer: np.ndarray) -> None:
    bind(name, "cpu", 0, np.float32, buffer.shape, buffer.ctypes.data)  # type: ignore[operator]


def _session(onnx_bytes: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx_bytes, options, providers=["CPUExecutionProvider"])


def _check_signature(session: onnxruntime.InferenceSession, model: Model) -> None:
    states = {state.name: tuple(state.shape) for state in model.states}
    expected_in = {"x": (1, model.n_features)} | states
    expected_out = _FIXED_OUTPUTS | {name + "_next": shape for name, shape in states.items()}
    for what, nodes, expected in (
        ("inputs", session.get_inputs(), expected_in),
        ("outputs", session.get_outputs(), expected_out),
    ):
        found = {node.name: tuple(node.shape) for node in nodes}
        if found != expected:
            raise BadInput(f"step.onnx has the {what} {found}, its manifest says {expected}: export it again")
