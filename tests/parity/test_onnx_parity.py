"""Chunk, step and exported step are one model: over 1,200 bars no output differs by more than 1e-5."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from core.canonical import sha256_hex
from features.scaling import Scaling
from models.manifest import Model
from models.predictor import Predictor
from tests.training.worlds import network_arrays
from training import export
from training.lanes import standardise
from training.networks.lstm import Lstm

TOLERANCE = 1e-5
BARS, FEATURES, HIDDEN = 1_200, 20, 16
TEMPERATURE, MOVE_SCALE = 1.3, 0.7


def exported(arrays: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    step = export.export_lstm(arrays, TEMPERATURE, MOVE_SCALE)
    model = Model(
        kind="lstm",
        onnx_sha256=sha256_hex(step.onnx_bytes),
        n_features=FEATURES,
        states=step.states,
        warmup_bars=0,
    )
    predictor = Predictor(step.onnx_bytes, model, 1)
    return np.array([predictor.step(0, x) for x in features])


def framework(arrays: dict[str, np.ndarray], layers: int, features: np.ndarray, chunk: int | None) -> np.ndarray:
    """Outputs [BARS, 4] in chunks of ``chunk`` bars, or bar by bar through ``step`` if it is None."""
    network = Lstm(FEATURES, HIDDEN, layers)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items() if k not in ("mean", "std")})
    x = torch.from_numpy(standardise(features, Scaling(arrays["mean"], arrays["std"])))[None]
    state, logits, moves = network.initial_state(1), [], []
    with torch.no_grad():
        for start in range(0, BARS, chunk or 1):
            if chunk is None:
                outputs, state = network.step(x[:, start], state)
            else:
                outputs, state = network(x[:, start : start + chunk], state)
            logits.append(outputs.logits[0].numpy())
            moves.append(outputs.move[0].numpy())
    probabilities = softmax(np.concatenate(logits) / TEMPERATURE, axis=1)
    return np.column_stack([probabilities, np.concatenate(moves) * MOVE_SCALE])


def lively(layers: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Weights three times as large as at initialisation, so that states saturate and the outputs move."""
    arrays = network_arrays(layers=layers, hidden=HIDDEN, features=FEATURES)
    arrays |= {name: 3 * value for name, value in arrays.items() if name not in ("mean", "std")}
    return arrays, np.random.default_rng(3).standard_normal((BARS, FEATURES), np.float32) * 2


@pytest.mark.parametrize("layers", [1, 2])
def test_chunk_step_and_onnx_agree(layers: int) -> None:
    arrays, features = lively(layers)
    whole = framework(arrays, layers, features, BARS)
    assert whole.std(axis=0).min() > 0.01, "outputs that hardly move would agree with anything"
    for name, other in {
        "chunks of 128": framework(arrays, layers, features, 128),
        "steps": framework(arrays, layers, features, None),
        "exported step": exported(arrays, features),
    }.items():
        assert np.abs(whole - other).max() <= TOLERANCE, name


def test_gates_in_the_wrong_order_would_be_noticed(monkeypatch: Any) -> None:
    arrays, features = lively(1)
    monkeypatch.setattr(export, "_GATES", (0, 1, 2, 3))
    assert np.abs(framework(arrays, 1, features, BARS) - exported(arrays, features)).max() > 100 * TOLERANCE
