"""One ONNX graph for one bar: standardisation, recurrent step, heads, temperature and move scale in a single file.

Assembled from standard operators node by node: the graph has no more nodes than the arithmetic needs (time follows
node count) and equal weights give equal bytes. Temperature and move scale are folded into the heads' weights, since
softmax((W h + b) / T) = softmax((W / T) h + b / T).

Inputs ``x`` float32 [1, F] and per layer ``h<i>``, ``c<i>`` [1, 1, H]; outputs ``probabilities`` [1, 3], ``move``
[1, 1] and each state's name + ``_next``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.manifest import StateSpec

OPSET: Final = 20
IR_VERSION: Final = 10
_GATES: Final = (0, 3, 1, 2)  # ONNX orders an LSTM's gates i, o, f, c; torch i, f, c (its g), o


@dataclass(frozen=True, slots=True)
class Step:
    """An exported step and the states it carries."""

    onnx_bytes: bytes
    states: tuple[StateSpec, ...]


def export_lstm(weights: dict[str, np.ndarray], temperature: float = 1.0, move_scale: float = 1.0) -> Step:
    """The step of an LSTM given as ``weights``: its state dict plus ``mean`` and ``std`` (float32 [F]) of the scaler.

    probabilities = softmax(logits / temperature), the move is multiplied by ``move_scale``.
    Raises onnx.checker.ValidationError if the graph breaks the standard, which would be a fault of this module.
    """
    graph = _Graph()
    graph.node("Sub", ["x", graph.constant("mean", weights["mean"][None])], "centred")
    graph.node("Div", ["centred", graph.constant("std", weights["std"][None])], "standardised")
    graph.node("Unsqueeze", ["standardised", graph.constant("sequence_axis", np.array([0]))], "hidden_in")
    hidden, states = "hidden_in", []
    layers = sum(name.startswith("lstm.weight_ih_l") for name in weights)
    for layer in range(layers):
        hidden = _lstm_layer(graph, weights, layer, hidden)
        shape = (1, 1, weights[f"lstm.weight_hh_l{layer}"].shape[1])
        states += [StateSpec(name=f"h{layer}", shape=shape), StateSpec(name=f"c{layer}", shape=shape)]
    graph.node("Squeeze", [hidden, graph.constant("layer_axis", np.array([0]))], "hidden")
    _head(graph, weights, "direction", "logits", 1 / temperature)
    graph.node("Softmax", ["logits"], "probabilities", axis=-1)
    _head(graph, weights, "move", "move", move_scale)
    return Step(_model_bytes(graph, len(weights["mean"]), tuple(states)), tuple(states))


class _Graph:
    """Nodes and constants in the order they were added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], *outputs: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(operator, inputs, list(outputs), name=outputs[-1], **attributes))


def _lstm_layer(graph: _Graph, weights: dict[str, np.ndarray], layer: int, hidden: str) -> str:
    """Add layer ``layer``; returns the name of its output, which is also its next h, [1, 1, H]."""
    input_weight = graph.constant(f"w{layer}", _gates(weights[f"lstm.weight_ih_l{layer}"])[None])
    state_weight = graph.constant(f"r{layer}", _gates(weights[f"lstm.weight_hh_l{layer}"])[None])
    biases = [_gates(weights[f"lstm.bias_{part}_l{layer}"]) for part in ("ih", "hh")]
    bias = graph.constant(f"b{layer}", np.concatenate(biases)[None])
    inputs = [hidden, input_weight, state_weight, bias, "", f"h{layer}", f"c{layer}"]
    size = weights[f"lstm.weight_hh_l{layer}"].shape[1]
    graph.node("LSTM", inputs, "", f"h{layer}_next", f"c{layer}_next", hidden_size=size)
    return f"h{layer}_next"


def _gates(rows: np.ndarray) -> np.ndarray:
    """Torch's stacked gate rows [4H, ...] in ONNX's order."""
    parts = np.split(rows, 4)
    return np.concatenate([parts[gate] for gate in _GATES])


def _head(graph: _Graph, weights: dict[str, np.ndarray], name: str, output: str, scale: float) -> None:
    factor = np.float32(scale)
    weight = graph.constant(f"{name}_weight", weights[f"{name}.weight"] * factor)
    bias = graph.constant(f"{name}_bias", weights[f"{name}.bias"] * factor)
    graph.node("Gemm", ["hidden", weight, bias], output, transB=1)


def _model_bytes(graph: _Graph, n_features: int, states: tuple[StateSpec, ...]) -> bytes:
    def tensors(fixed: dict[str, tuple[int, ...]], suffix: str) -> list[onnx.ValueInfoProto]:
        shapes = fixed | {state.name + suffix: state.shape for state in states}
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]

    inputs = tensors({"x": (1, n_features)}, "")
    outputs = tensors({"probabilities": (1, 3), "move": (1, 1)}, "_next")
    body = helper.make_graph(graph.nodes, "step", inputs, outputs, graph.constants)
    model = helper.make_model(
        body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="portcullis"
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)
