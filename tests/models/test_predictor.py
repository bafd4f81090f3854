"""The predictor: only the model it was promised, one independent stream per instrument, rounding against us."""

from decimal import Decimal

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.canonical import sha256_hex
from core.errors import BadInput, BrokenInvariant, Refused
from core.records import BAR, PPM, PREDICTION, Kind, PredictionFlag
from models.manifest import Model, StateSpec
from models.predictor import Predictor, prediction
from tests.training.worlds import network_arrays
from training.export import export_lstm

FEATURES = 6


def made(arrays: dict[str, np.ndarray] | None = None) -> tuple[bytes, Model]:
    step = export_lstm(arrays or network_arrays(features=FEATURES, hidden=4))
    digest = sha256_hex(step.onnx_bytes)
    return step.onnx_bytes, Model(
        kind="lstm", onnx_sha256=digest, n_features=FEATURES, states=step.states, warmup_bars=0
    )


def features(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, FEATURES), np.float32)


def test_an_altered_file_is_refused_before_it_is_parsed() -> None:
    onnx_bytes, model = made()
    for position in (0, len(onnx_bytes) // 2, len(onnx_bytes) - 1):
        altered = bytearray(onnx_bytes)
        altered[position] ^= 1
        with pytest.raises(Refused, match="altered"):
            Predictor(bytes(altered), model, 1)


@pytest.mark.parametrize("change", [{"n_features": 7}, {"states": (StateSpec(name="h0", shape=(1, 1, 4)),)}])
def test_a_graph_with_another_signature_is_refused(change: dict[str, object]) -> None:
    onnx_bytes, model = made()
    with pytest.raises(BadInput, match="manifest says"):
        Predictor(onnx_bytes, msgspec.structs.replace(model, **change), 1)


def test_interleaved_instruments_equal_separate_runs() -> None:
    onnx_bytes, model = made()
    rows, order = features(200), np.random.default_rng(1).integers(0, 2, 200)
    together = Predictor(onnx_bytes, model, 2)
    mixed = [together.step(int(who), x) for who, x in zip(order, rows, strict=True)]
    for instrument in (0, 1):
        alone = Predictor(onnx_bytes, model, 1)
        mine = np.flatnonzero(order == instrument)
        assert [mixed[row] for row in mine] == [alone.step(0, rows[row]) for row in mine]


@given(st.integers(0, 7))
def test_a_reset_stream_is_a_new_one(steps: int) -> None:
    predictor = Predictor(*made(), 2)
    expected = [predictor.step(0, x) for x in features(5)]
    for x in features(steps, seed=9):
        predictor.step(0, x)
    predictor.reset(0)
    assert [predictor.step(0, x) for x in features(5)] == expected


def test_a_model_that_says_nan_stops_the_program() -> None:
    arrays = network_arrays(features=FEATURES, hidden=4)
    arrays["move.bias"] = np.array([np.nan], np.float32)
    with pytest.raises(BrokenInvariant, match="not finite"):
        Predictor(*made(arrays), 1).step(0, features(1)[0])


def bar() -> np.ndarray:
    row = np.zeros(1, BAR)
    row["ts_event"], row["ts_known"], row["instrument"], row["kind"] = 1_000, 1_050, 3, Kind.BAR
    return row


PROBABILITY = st.floats(0, 1, width=32)


@given(PROBABILITY, PROBABILITY, st.floats(-8, 8, width=32), st.floats(0, 0.5))
def test_rounding_is_against_us(p_down: float, p_up: float, move: float, sigma: float) -> None:
    row = prediction(bar(), (p_down, 0.0, p_up, move), sigma, True, 7)
    assert row.dtype == PREDICTION
    assert row.shape == (1,)
    hair = Decimal("1e-6")  # floats: the product itself is rounded
    for name, p in (("p_down_ppm", p_down), ("p_up_ppm", p_up)):
        assert 0 <= int(row[name][0]) <= PPM
        assert -hair <= Decimal(p) * PPM - int(row[name][0]) < 1 + hair
    assert -hair <= Decimal(move * sigma) * PPM - int(row["edge_ppm"][0]) < 1 + hair
    assert int(row["sigma_ppm"][0]) >= max(1, Decimal(sigma) * PPM - hair)


def test_a_prediction_names_its_bar_and_when_it_is_known() -> None:
    row = prediction(bar(), (0.25, 0.25, 0.5, 0.5), 0.001, True, 7)
    expected = (1_000, 1_057, Kind.PREDICTION, 0, 3, 0, 0, 250_000, 500_000, 500, 1_000, 1_000)
    assert row[0].item() == expected
    assert prediction(bar(), (0.25, 0.25, 0.5, 0.5), 0.001, False, 7)["flags"][0] == PredictionFlag.WARMUP


@pytest.mark.parametrize("sigma", [float("nan"), float("inf"), -1e-9])
def test_a_sigma_that_cannot_be_stops_the_program(sigma: float) -> None:
    with pytest.raises(BrokenInvariant, match="sigma"):
        prediction(bar(), (0.2, 0.3, 0.5, 0.1), sigma, True, 0)


def test_a_softmax_a_hair_above_one_stays_a_probability() -> None:
    assert prediction(bar(), (0.0, 0.0, 1.0000001, 0.0), 0.001, True, 0)["p_up_ppm"][0] == PPM
