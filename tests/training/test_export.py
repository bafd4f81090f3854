"""The exported step: standard ONNX, equal bytes for equal weights, nothing beside the file."""

import numpy as np
import onnx
import pytest

from tests.training.worlds import network_arrays
from training.export import export_lstm


def test_equal_weights_give_equal_bytes_and_other_weights_other_bytes() -> None:
    first, again = export_lstm(network_arrays()), export_lstm(network_arrays())
    assert first == again
    assert export_lstm(network_arrays(seed=1)).onnx_bytes != first.onnx_bytes


@pytest.mark.parametrize("factor", [(1.5, 1.0), (1.0, 0.5)])
def test_calibration_is_inside_the_file(factor: tuple[float, float]) -> None:
    assert export_lstm(network_arrays(), *factor).onnx_bytes != export_lstm(network_arrays()).onnx_bytes


@pytest.mark.parametrize("layers", [1, 3])
def test_the_graph_is_standard_self_contained_and_names_its_states(layers: int) -> None:
    step = export_lstm(network_arrays(layers=layers, hidden=5))
    model = onnx.load_model_from_string(step.onnx_bytes)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)
    names = [state.name for state in step.states]
    assert names == [f"{part}{layer}" for layer in range(layers) for part in "hc"]
    assert all(state.shape == (1, 1, 5) for state in step.states)
    assert [node.name for node in model.graph.input] == ["x", *names]
    assert [node.name for node in model.graph.output] == ["probabilities", "move", *(f"{name}_next" for name in names)]


def test_weights_are_not_changed_by_the_export() -> None:
    arrays = network_arrays()
    before = {name: value.copy() for name, value in arrays.items()}
    export_lstm(arrays, 2.0, 0.5)
    for name, value in before.items():
        np.testing.assert_array_equal(arrays[name], value)
