"""Selection: the best by a slow reference, on the given rows alone, carried through baseline, framework and ONNX."""

from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest

from core.errors import BadConfig
from core.records import BAR
from features.scaling import Scaling, fit
from features.spec import FeatureParams, spec_from_json
from feeds.tape import Tape
from models.bundle import load_bundle
from models.predictor import Predictor
from models.stream import Stream
from pipelines.calibrate import calibrate
from pipelines.train import train
from tests.training.worlds import dataset, network_arrays, settings, workspace
from training import weights
from training.baselines import fit_logistic, logistic_probabilities
from training.export import export_lstm
from training.select import is_kept, select

KEEP = 5


def f_statistic(x: np.ndarray, labels: np.ndarray) -> float:
    """Between-class over within-class mean square, written out."""
    groups = [x[labels == label].astype(np.float64) for label in np.unique(labels)]
    mean = x.astype(np.float64).mean()
    between = sum(len(group) * (group.mean() - mean) ** 2 for group in groups) / (len(groups) - 1)
    within = sum(((group - group.mean()) ** 2).sum() for group in groups) / (len(x) - len(groups))
    return between / within


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, Scaling]:
    """Twelve features of growing use, one of them constant; labels of three classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 2_000).astype(np.int8)
    x = rng.normal(0, 1, (2_000, 12)) + rng.permutation(12) * 0.02 * labels[:, None]
    x[:, 7] = 3.0
    x = x.astype(np.float32)
    return x, labels, fit(x, np.arange(len(x)))


@pytest.mark.parametrize("seed", range(3))
def test_the_best_are_kept_and_the_rest_is_always_zero(seed: int) -> None:
    x, labels, scale = world(seed)
    kept = is_kept((chosen := select(scale, x, labels, KEEP)).std)
    scores = [f_statistic(x[:, column], labels) if column != 7 else -1.0 for column in range(12)]
    assert set(np.flatnonzero(kept)) == set(np.argsort(scores)[-KEEP:])
    assert np.array_equal(chosen.std[kept], scale.std[kept]) and np.array_equal(chosen.mean, scale.mean)
    standardised = (x - chosen.mean) / chosen.std
    assert not standardised[:, ~kept].any() and standardised[:, kept].std(axis=0) == pytest.approx(1, rel=1e-3)


def test_a_constant_feature_goes_first_and_more_than_there_are_is_refused() -> None:
    x, labels, scale = world()
    assert np.flatnonzero(~is_kept(select(scale, x, labels, 11).std)).tolist() == [7]
    assert select(scale, x, labels, 12).std.tobytes() == scale.std.tobytes()
    with pytest.raises(BadConfig, match=r"training.select_features is 13; there are 12 features"):
        select(scale, x, labels, 13)


def test_what_was_left_out_changes_neither_baseline_nor_step() -> None:
    data = dataset(1_000, features=6)
    rows = np.arange(900)
    chosen = select(fit(data.features, rows), data.features[rows], data.label[rows], 2)
    other = np.where(is_kept(chosen.std), data.features, np.float32(9))
    arrays = fit_logistic(data, rows, chosen)
    assert np.array_equal(logistic_probabilities(arrays, data.features), logistic_probabilities(arrays, other))
    saved = network_arrays(features=6, hidden=8) | {"mean": chosen.mean, "std": chosen.std}
    step = onnxruntime.InferenceSession(export_lstm(saved).onnx_bytes, providers=["CPUExecutionProvider"])
    zero = np.zeros((1, 1, 8), np.float32)
    said = [step.run(None, {"x": x[:1], "h0": zero, "c0": zero})[0] for x in (data.features, other, other * 2)]
    assert said[0].tobytes() == said[1].tobytes() != said[2].tobytes()


def test_longer_bars_and_a_selection_reach_the_runner_in_the_bundle(tmp_path: Path) -> None:
    """The stages with both on: folds.json names what was kept, and the bundle says alone what research said."""
    chosen = settings(features=FeatureParams(timeframes_minutes=(15, 60)))
    chosen = msgspec.structs.replace(
        chosen, training=msgspec.structs.replace(chosen.training, select_features=KEEP, epochs=1)
    )
    workspace(tmp_path, chosen)
    train(chosen, tmp_path)
    assert calibrate(chosen, tmp_path)["onnx_parity"] <= 1e-5
    folder = tmp_path / "calibrated" / "fold_0"
    bundle, tape = load_bundle(folder), Tape.open(folder / "fold.tape")
    spec = spec_from_json(bundle.manifest.feature_spec)
    kept = is_kept(weights.load(tmp_path / "folds" / "fold_0" / "lstm.npz")["std"])
    selected = msgspec.json.decode((tmp_path / "folds" / "folds.json").read_bytes())["folds"][0]["selected"]
    assert selected == [name for name, is_in in zip(spec.names, kept, strict=True) if is_in] and len(selected) == KEEP
    assert "momentum_1h" in spec.names and bundle.manifest.model.n_features == spec.n_features == 26
    stream = Stream(
        spec,
        Predictor(bundle.onnx_bytes, bundle.manifest.model, len(tape.instruments)),
        len(tape.instruments),
        warmup_bars=bundle.manifest.model.warmup_bars,
        latency_ns=bundle.manifest.trading.execution.decision_latency_ns,
        trade_from_ns=tape.meta["trade_from_ns"],
    )
    said = np.concatenate([stream.on_bar(row) for row in np.array(tape.records).view(BAR).reshape(-1, 1)])
    assert said.tobytes() == np.load(folder / "predictions.npy").tobytes()
