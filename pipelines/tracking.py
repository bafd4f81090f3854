"""Experiment tracking: the only module that imports MLflow.

One parent run per training, named by a hash over parameters and data, and under it one run per fold and model. Stages
are separate processes, and a run's id may not enter a stage's output (it would make equal results look different), so
a later stage finds the parent by that hash in its tag. If DVC restored the training from its cache there is no parent
yet; then the stage that comes next makes one.

Everything here runs after a stage has written its results, from the parent process alone. A store that cannot be
written is reported and changes no result. ``MLFLOW_TRACKING_URI`` points to another store.
"""

import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console

from core.canonical import hash_json
from core.settings import as_json
from feeds.tape import Tape
from models.manifest import Fold
from pipelines.params import Params

if TYPE_CHECKING:
    from training.fit import FoldFit  # it loads Lightning, which calibrate does without

EXPERIMENT: Final = "portcullis"
STORE: Final = "sqlite:///mlflow.db"
ARTIFACT_FOLDER: Final = "mlartifacts"
MODELS: Final = ("lstm", "logistic", "climatology")
_KEY: Final = "portcullis.key"  # hash over params and data: equal inputs, equal key
_CHILD: Final = "portcullis.child"  # "" on a parent


def _harmless(log: Callable[..., None]) -> Callable[..., None]:
    """``log``, with a failure of the store reported instead of raised."""

    @functools.wraps(log)
    def guarded(*arguments: Any) -> None:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            log(*arguments)
        except (MlflowException, SQLAlchemyError, OSError) as error:
            text = f"tracking: {error}; the stage's results are complete without it"
            Console(stderr=True).print(text, style="yellow", markup=False)

    return guarded


@_harmless
def log_training(settings: Params, folds: Sequence[Fold], fits: "Sequence[FoldFit]", artifacts: Path) -> None:
    """A new parent run with all parameters, and a child per fold and model with parameters, loss curves and weights."""
    store = _open_store()
    parent = store.new_parent(run_key(settings, artifacts), flat(as_json(settings)))
    store.add_artifacts(parent, [artifacts / "folds" / "folds.json", artifacts / "folds" / "history.json"])
    for fold, fit in zip(folds, fits, strict=True):
        folder = artifacts / "folds" / f"fold_{fit.index}"
        bounds = {f"fold.{name}": value for name, value in as_json(fold).items()}
        shape = flat({"model": as_json(settings.model), "training": as_json(settings.training)})
        counts = {f"rows_{name}": [float(count)] for name, count in fit.counts.items()}
        frequencies = dict(zip(("p_down", "p_flat", "p_up"), ([p] for p in fit.climatology), strict=True))
        store.log(parent, fit.index, "lstm", bounds | shape, fit.curves | counts, [folder / "lstm.npz"])
        store.log(parent, fit.index, "logistic", bounds, counts, [folder / "logistic.npz"])
        store.log(parent, fit.index, "climatology", bounds, counts | frequencies, [])


@_harmless
def log_calibration(settings: Params, metrics: dict[str, Any], artifacts: Path) -> None:
    """The out-of-fold log loss by day on every child, the calibration on the networks', the parity on the parent."""
    store = _open_store()
    parent = store.parent(run_key(settings, artifacts), flat(as_json(settings)))
    store.add_metrics(parent, {"onnx_parity": [metrics["onnx_parity"]]})
    for entry in metrics["folds"]:
        folder = artifacts / "calibrated" / f"fold_{entry['fold']}"
        for model in MODELS:
            curves = {"test_log_loss_by_day": entry["curves"][model], "test_log_loss": [entry["log_loss"][model]]}
            files = []
            if model == "lstm":
                curves |= {name: [entry[name]] for name in ("temperature", "move_scale", "onnx_parity")}
                files = [folder / "step.onnx", folder / "manifest.json"]
            store.log(parent, entry["fold"], model, {}, curves, files)


@_harmless
def log_backtest(settings: Params, metrics: dict[str, Any], files: Iterable[Path], artifacts: Path) -> None:
    """``metrics`` (name -> entry with ``value``) and ``files`` such as the tearsheet, on the parent run."""
    store = _open_store()
    parent = store.parent(run_key(settings, artifacts), flat(as_json(settings)))
    values = {name: [float(entry["value"])] for name, entry in metrics.items() if entry["value"] is not None}
    store.add_metrics(parent, values)
    store.add_artifacts(parent, files)


_MODEL_TRAINING: Final = {"mlflow.experimentKind": "custom_model_development"}  # or the UI opens on language models


def run_key(settings: Params, artifacts: Path) -> str:
    """What names a parent run: a hash over the parameters (worker count excluded) and the market tape."""
    tape = Tape.open(artifacts / "data" / "market.tape", verify=False)
    return hash_json({"params": settings.params_hash, "data": tape.tape_id})


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted names."""
    result: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{name}.")
        else:
            result[prefix + name] = value
    return result


def _open_store() -> "_Store":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    import mlflow  # here: it takes seconds, and most of a pipeline does without

    client = mlflow.MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", STORE))
    return _Store(client, mlflow.entities, _experiment(client))


def _experiment(client: Any) -> str:
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    location = Path(ARTIFACT_FOLDER).resolve().as_uri()
    return str(client.create_experiment(EXPERIMENT, artifact_location=location, tags=_MODEL_TRAINING))


@dataclass(frozen=True, slots=True)
class _Store:
    """MLflow's client with the few operations the stages need. A curve is a list of values, one per step."""

    client: Any  # mlflow.MlflowClient
    entities: Any  # mlflow.entities
    experiment: str

    def new_parent(self, key: str, params: Mapping[str, Any]) -> str:
        """A new parent run named after ``key``; returns its id."""
        run = self._create({_KEY: key, _CHILD: "", "mlflow.runName": f"repro-{key[:8]}"})
        self._batch(run, {}, params)
        return self._finish(run)

    def parent(self, key: str, params: Mapping[str, Any]) -> str:
        """The latest parent run of ``key``, or a new one."""
        runs = self._search(f"tags.`{_KEY}` = '{key}' AND tags.`{_CHILD}` = ''")
        return runs[0].info.run_id if runs else self.new_parent(key, params)

    def log(
        self,
        parent: str,
        fold: int,
        model: str,
        params: Mapping[str, Any],
        curves: Mapping[str, Sequence[float]],
        files: Iterable[Path],
    ) -> None:
        """Add to the child run of ``fold`` and ``model`` under ``parent``, made if it is missing."""
        child = f"fold_{fold}/{model}"
        found = self._search(f"tags.`mlflow.parentRunId` = '{parent}' AND tags.`{_CHILD}` = '{child}'")
        tags = {"mlflow.parentRunId": parent, _CHILD: child, "mlflow.runName": child}
        run = found[0].info.run_id if found else self._create(tags)
        self._batch(run, curves, {"fold": fold, "model": model} | params)
        self.add_artifacts(run, files)
        self._finish(run)

    def add_metrics(self, run: str, curves: Mapping[str, Sequence[float]]) -> None:
        """Add curves to ``run``."""
        self._batch(run, curves, {})

    def add_artifacts(self, run: str, files: Iterable[Path]) -> None:
        """Copy ``files`` into the run's artifacts."""
        for file in files:
            self.client.log_artifact(run, str(file))

    def _search(self, condition: str) -> Any:
        return self.client.search_runs([self.experiment], condition, order_by=["start_time DESC"], max_results=1)

    def _create(self, tags: dict[str, str]) -> str:
        return str(self.client.create_run(self.experiment, tags=tags).info.run_id)

    def _batch(self, run: str, curves: Mapping[str, Sequence[float]], params: Mapping[str, Any]) -> None:
        now_ms = int(time.time() * 1_000)
        metrics = [
            self.entities.Metric(name, value, now_ms, step)
            for name, values in curves.items()
            for step, value in enumerate(values)
        ]
        self.client.log_batch(
            run, metrics=metrics, params=[self.entities.Param(name, str(value)) for name, value in params.items()]
        )

    def _finish(self, run: str) -> str:
        self.client.set_terminated(run)
        return run
