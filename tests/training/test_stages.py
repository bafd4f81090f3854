"""Train and calibrate on a small built-in market: what they write, and that nothing but the inputs decides it."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from core.errors import BadInput
from core.records import BAR, Kind, PredictionFlag
from features.spec import spec_from_json
from feeds.tape import Tape
from models.bundle import load_bundle
from models.predictor import Predictor
from models.stream import Stream
from pipelines import params
from pipelines.calibrate import calibrate, read_folds
from pipelines.train import train
from tests.training.worlds import files, settings, workspace
from training import weights
from training.dataset import open_dataset
from training.fit import FoldTask, fit_fold


@dataclass(frozen=True)
class Run:
    """A workspace with both stages done."""

    artifacts: Path
    settings: params.Params
    tape: Tape
    metrics: dict[str, Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    artifacts, chosen = tmp_path_factory.mktemp("stages"), settings()
    tape = workspace(artifacts, chosen)
    train(chosen, artifacts)
    return Run(artifacts, chosen, tape, calibrate(chosen, artifacts))


def reproducible(artifacts: Path) -> dict[str, bytes]:
    """Everything both stages wrote, without what is measured."""
    found = {}
    for stage in ("folds", "calibrated", "candidate"):
        found |= {f"{stage}/{name}": data for name, data in files(artifacts / stage).items()}
    metrics = json.loads(found["calibrated/metrics.json"])
    assert metrics.pop("timing")["step_p99_us"] > 0
    del found["calibrated/SHA256SUMS"]  # over the measured times too
    return found | {"calibrated/metrics.json": json.dumps(metrics).encode()}


def test_the_stages_write_what_the_architecture_lists(run: Run) -> None:
    found = set(reproducible(run.artifacts))
    folds, _ = read_folds(run.artifacts / "folds" / "folds.json")
    assert len(folds) >= 2
    expected = {"folds/SHA256SUMS", "folds/folds.json", "folds/history.json", "calibrated/metrics.json"}
    expected |= {"candidate/step.onnx", "candidate/manifest.json"}
    for fold in folds:
        expected |= {f"folds/fold_{fold.index}/{name}.npz" for name in ("lstm", "logistic")}
        names = ("step.onnx", "manifest.json", "fold.tape", "predictions.npy", "predictions_torch.npy", "logistic.npy")
        expected |= {f"calibrated/fold_{fold.index}/{name}" for name in names}
    assert found == expected


def test_two_workers_write_the_bytes_of_one(run: Run, tmp_path: Path) -> None:
    for inputs in ("data", "features"):
        shutil.copytree(run.artifacts / inputs, tmp_path / inputs)
    twice = msgspec.structs.replace(run.settings, workers=2)
    train(twice, tmp_path)
    calibrate(twice, tmp_path)
    first, second = reproducible(run.artifacts), reproducible(tmp_path)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_the_order_of_folds_does_not_matter(run: Run, tmp_path: Path) -> None:
    folds, _ = read_folds(run.artifacts / "folds" / "folds.json")
    tape, features = run.artifacts / "data" / "market.tape", run.artifacts / "features"
    for fold in reversed(folds):
        task = FoldTask(fold, tape, features, run.settings.model, run.settings.training, run.settings.seed)
        weights.save(tmp_path / "lstm.npz", fit_fold(task, lambda: None).network)
        written = run.artifacts / "folds" / f"fold_{fold.index}" / "lstm.npz"
        assert (tmp_path / "lstm.npz").read_bytes() == written.read_bytes()


def test_a_session_is_a_slice_of_the_market_with_a_warm_up_before_its_test_days(run: Run) -> None:
    folds, _ = read_folds(run.artifacts / "folds" / "folds.json")
    for fold in folds:
        tape = Tape.open(run.artifacts / "calibrated" / f"fold_{fold.index}" / "fold.tape")
        first = tape.meta["source_first_row"]
        np.testing.assert_array_equal(tape.records, run.tape.records[first : first + len(tape.records)])
        assert tape.meta["source_tape"] == run.tape.tape_id
        assert tape.meta["trade_from_ns"] == fold.test_start
        assert tape.records["ts_event"].max() < fold.test_end
        for instrument in (0, 1):
            before = (tape.records["instrument"] == instrument) & (tape.records["ts_event"] < fold.test_start)
            assert before.sum() >= 288 + run.settings.training.burn_in


def test_predictions_are_what_the_runner_would_say(run: Run) -> None:
    folds, _ = read_folds(run.artifacts / "folds" / "folds.json")
    folder = run.artifacts / "calibrated" / f"fold_{folds[-1].index}"
    bundle, tape = load_bundle(folder), Tape.open(folder / "fold.tape")
    model = bundle.manifest.model
    stream = Stream(
        spec_from_json(bundle.manifest.feature_spec),
        Predictor(bundle.onnx_bytes, model, len(tape.instruments)),
        len(tape.instruments),
        warmup_bars=model.warmup_bars,
        latency_ns=bundle.manifest.trading.execution.decision_latency_ns,
        trade_from_ns=tape.meta["trade_from_ns"],
    )
    said = np.concatenate([stream.on_bar(row) for row in np.array(tape.records).view(BAR).reshape(-1, 1)])
    written = np.load(folder / "predictions.npy")
    assert said.tobytes() == written.tobytes()
    assert (written["kind"] == Kind.PREDICTION).all()
    tradable = written["flags"] & PredictionFlag.WARMUP == 0
    assert tradable.any()
    assert written["ts_event"][tradable].min() > tape.meta["trade_from_ns"]


def test_the_framework_agrees_with_the_step_but_is_not_the_same(run: Run) -> None:
    assert 0 < run.metrics["onnx_parity"] <= 1e-5
    folder = run.artifacts / "calibrated" / "fold_0"
    ours, theirs = np.load(folder / "predictions.npy"), np.load(folder / "predictions_torch.npy")
    for name in ("ts_event", "ts_known", "flags", "sigma_ppm", "bar_ts"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    for name in ("p_down_ppm", "p_up_ppm"):
        assert 0 <= np.abs(ours[name] - theirs[name]).max() <= 11  # 1e-5 and one ppm of rounding


def test_the_candidate_is_the_last_fold_s_bundle_and_knows_its_folds(run: Run) -> None:
    folds, _ = read_folds(run.artifacts / "folds" / "folds.json")
    candidate = load_bundle(run.artifacts / "candidate")
    last = load_bundle(run.artifacts / "calibrated" / f"fold_{folds[-1].index}")
    assert candidate.id == last.id
    assert candidate.manifest.folds == tuple(folds)
    assert candidate.manifest.data_hash == run.tape.tape_id
    assert candidate.manifest.params_hash == run.settings.params_hash
    assert load_bundle(run.artifacts / "calibrated" / "fold_0").manifest.folds == tuple(folds[:1])


def test_baseline_probabilities_are_probabilities(run: Run) -> None:
    folder = run.artifacts / "calibrated" / "fold_0"
    logistic = np.load(folder / "logistic.npy")
    assert logistic.shape == (len(np.load(folder / "predictions.npy")), 3)
    np.testing.assert_allclose(logistic.sum(axis=1), 1, atol=1e-6)


def test_features_of_another_tape_are_refused(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.artifacts / "features", tmp_path / "features")
    other = workspace(tmp_path / "other", run.settings, strength=0.0)
    with pytest.raises(BadInput, match="made from tape"):
        open_dataset(other.path, tmp_path / "features")


def test_missing_inputs_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"folds\.json"):
        read_folds(tmp_path / "folds.json")
    with pytest.raises(BadInput, match=r"lstm\.npz"):
        weights.load(tmp_path / "lstm.npz")
