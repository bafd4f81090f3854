"""MLflow holds a parent per training and a child per fold and model, and can hurt no result."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feeds.tape import write_tape
from models.manifest import Fold
from pipelines import tracking
from tests.training.worlds import INTERVAL_NS, files, settings
from training.fit import FoldFit

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own dependencies

CURVE = [3.0, 2.0, 1.5]


def finished(artifacts: Path) -> tuple[list[Fold], list[FoldFit], dict[str, Any]]:
    """Two folds as the stages leave them, in miniature."""
    write_tape(artifacts / "data" / "market.tape", [], instruments=[], interval_ns=INTERVAL_NS, meta={})
    folds, fits, entries = [], [], []
    for index in (0, 1):
        start = index * 10
        bounds = dict(zip(Fold.__struct_fields__, (index, *range(start, start + 6)), strict=True))
        folds.append(Fold(**bounds))
        weights = {"w": np.zeros(2)}
        counts = {"train": 5, "calibrate": 2, "test": 2}
        fits.append(FoldFit(index, weights, weights, (0.4, 0.2, 0.4), counts, {"loss": CURVE}))
        for name in ("folds/fold_{}/lstm.npz", "folds/fold_{}/logistic.npz", "calibrated/fold_{}/step.onnx"):
            path = artifacts / name.format(index)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"bytes")
        (artifacts / "calibrated" / f"fold_{index}" / "manifest.json").write_text("{}")
        scores = {"log_loss": dict.fromkeys(tracking.MODELS, 1.0), "curves": dict.fromkeys(tracking.MODELS, CURVE)}
        entries.append({"fold": index, "temperature": 1.0, "move_scale": 1.0, "onnx_parity": 1e-7} | scores)
    for name in ("folds", "history"):
        (artifacts / "folds" / f"{name}.json").write_text(json.dumps({}))
    return folds, fits, {"onnx_parity": 1e-7, "folds": entries}


def test_folds_times_models_with_parameters_curves_and_artifacts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    artifacts, chosen = tmp_path / "artifacts", settings()
    folds, fits, metrics = finished(artifacts)
    before = files(artifacts)
    tracking.log_training(chosen, folds, fits, artifacts)
    tracking.log_calibration(chosen, metrics, artifacts)
    tracking.log_backtest(chosen, {"sharpe_daily": {"value": 1.5}, "empty": {"value": None}}, [], artifacts)
    assert files(artifacts) == before

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking.STORE)
    experiment = client.get_experiment_by_name(tracking.EXPERIMENT)
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1, "a later stage made a second parent"
    assert parents[0].data.metrics == {"onnx_parity": 1e-7, "sharpe_daily": 1.5}
    assert parents[0].data.params["risk.asset_cap_ppm"] == str(chosen.risk.asset_cap_ppm)
    assert {run.data.params["fold"] + run.data.params["model"] for run in children} == {
        f"{fold}{model}" for fold in (0, 1) for model in tracking.MODELS
    }
    for run in children:
        assert run.info.status == "FINISHED"
        assert "fold.test_start" in run.data.params
        curve = client.get_metric_history(run.info.run_id, "test_log_loss_by_day")
        assert [point.value for point in sorted(curve, key=lambda point: point.step)] == CURVE
        held = {file.path for file in client.list_artifacts(run.info.run_id)}
        expected = {"lstm": {"lstm.npz", "step.onnx", "manifest.json"}, "logistic": {"logistic.npz"}}
        assert held == expected.get(run.data.params["model"], set())
    network = next(run for run in children if run.data.params["model"] == "lstm")
    assert "training.epochs" in network.data.params
    assert len(client.get_metric_history(network.info.run_id, "loss")) == len(CURVE)


def test_a_store_that_cannot_be_written_is_reported_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    artifacts = tmp_path / "artifacts"
    folds, fits, _ = finished(artifacts)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    tracking.log_training(settings(), folds, fits, artifacts)
    assert "results are complete without it" in " ".join(capsys.readouterr().err.split())


def test_the_key_of_a_run_follows_its_inputs(tmp_path: Path) -> None:
    finished(tmp_path)
    key = tracking.run_key(settings(), tmp_path)
    assert tracking.run_key(settings(workers=2), tmp_path) == key
    assert tracking.run_key(settings(seed=8), tmp_path) != key
    write_tape(tmp_path / "data" / "market.tape", [], instruments=[], interval_ns=1, meta={})
    assert tracking.run_key(settings(), tmp_path) != key


def test_nested_sections_become_dotted_names() -> None:
    assert tracking.flat({"a": {"b": 1, "c": {"d": "x"}}, "e": ()}) == {"a.b": 1, "a.c.d": "x", "e": ()}
