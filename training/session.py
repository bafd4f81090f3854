"""One fold's session: its bundle, its tape and what is said on it.

The tape is a slice of the market tape: a warm-up prefix long enough for the slowest feature and the model, then the
test days. Everything of a fold is made here from files, so folds run on any number of processes in any order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.canonical import sha256_hex
from core.errors import require
from core.records import BAR, DAY_NS, PredictionFlag
from features.spec import FeatureSpec
from feeds.tape import Tape, write_tape
from models.bundle import write_bundle
from models.manifest import Fold, Manifest, Model
from models.predictor import Predictor
from training import weights
from training.baselines import log_loss, logistic_probabilities
from training.calibrate import Calibrated, calibrate, load_network
from training.dataset import Dataset, between, open_dataset
from training.determinism import make_deterministic
from training.export import export_lstm
from training.labels import NULL
from training.listen import Said, Session, listen
from training.settings import ModelParams


@dataclass(frozen=True, slots=True)
class SessionTask:
    """What a worker needs to make one fold's session. ``manifest`` still lacks the model and the folds."""

    folds: tuple[Fold, ...]  # up to and including this session's own, the last
    tape: Path
    features: Path
    trained: Path  # folder with lstm.npz and logistic.npz
    climatology: tuple[float, ...]  # training frequencies of down, flat, up
    out: Path
    model: ModelParams
    burn_in: int
    spec: FeatureSpec
    manifest: Manifest


def make_session(task: SessionTask, report: Callable[[], None]) -> dict[str, Any]:
    """Write ``step.onnx``, ``manifest.json``, ``fold.tape``, ``predictions*.npy`` and ``logistic.npy`` to ``task.out``.

    Returns the fold's entry of ``metrics.json`` with, under ``curves``, the log loss of every model by test day.
    """
    fold = task.folds[-1]
    make_deterministic(f"session {fold.index}")
    data = open_dataset(task.tape, task.features)
    network = load_network(task.trained / "lstm.npz", task.model)
    fitted = calibrate(data, fold, network, task.burn_in)
    onnx_bytes, manifest = _bundle(task, fitted)
    write_bundle(task.out, onnx_bytes, manifest)
    rows = write_fold_tape(task, data)
    bars = np.array(Tape.open(task.out / "fold.tape", verify=False).records).view(BAR)  # slicing a map is slow
    session = Session(
        spec=task.spec,
        n_instruments=len(manifest.instruments),
        warmup_bars=task.burn_in,
        latency_ns=manifest.trading.execution.decision_latency_ns,
        trade_from_ns=fold.test_start,
    )
    said = listen(bars, session, Predictor(onnx_bytes, manifest.model, session.n_instruments), fitted)
    logistic = logistic_probabilities(weights.load(task.trained / "logistic.npz"), said.features)
    np.save(task.out / "predictions.npy", said.predictions)
    np.save(task.out / "predictions_torch.npy", said.predictions_torch)
    np.save(task.out / "logistic.npy", logistic.astype(np.float32))
    report()
    models = {
        "lstm": said.exported[:, :3],
        "logistic": logistic,
        "climatology": np.tile(task.climatology, (len(bars), 1)),
    }
    return {
        "fold": fold.index,
        "temperature": fitted.temperature,
        "move_scale": fitted.move_scale,
        "calibration_rows": len(fitted.rows),
        "rows": len(bars),
        "onnx_parity": said.parity,
    } | _scores(models, said, data.label[rows], bars["ts_event"])


def _bundle(task: SessionTask, fitted: Calibrated) -> tuple[bytes, Manifest]:
    step = export_lstm(fitted.network.arrays, fitted.temperature, fitted.move_scale)
    model = Model(
        kind=task.model.kind,
        onnx_sha256=sha256_hex(step.onnx_bytes),
        n_features=task.spec.n_features,
        states=step.states,
        warmup_bars=task.burn_in,
    )
    return step.onnx_bytes, msgspec.structs.replace(task.manifest, model=model, folds=task.folds)


def write_fold_tape(task: SessionTask, data: Dataset) -> slice:
    """Write ``fold.tape`` and return which rows of the market tape it holds.

    Before the test days every instrument gets as many bars as the slowest feature and the model look back, or as many
    as there are.
    """
    fold, source = task.folds[-1], Tape.open(task.tape, verify=False)
    windows = (feature.window_bars for feature in task.spec.features)
    lead_bars = max(task.spec.warmup_bars, *windows) + task.burn_in
    start = fold.test_start
    for instrument in range(len(source.instruments)):
        before = np.flatnonzero((data.instrument == instrument) & (data.ts_event < fold.test_start))[-lead_bars:]
        start = min(start, int(data.ts_event[before[0]])) if len(before) else start
    inside = between(data, start, fold.test_end)
    rows = slice(int(inside[0]), int(inside[-1]) + 1)
    require(len(inside) == rows.stop - rows.start, f"fold {fold.index}: the tape's rows are not in order of ts_event")
    meta = {
        "fold": fold.index,
        "trade_from_ns": fold.test_start,
        "source_tape": source.tape_id,
        "source_first_row": rows.start,
    }
    write_tape(
        task.out / "fold.tape",
        [source.records[rows]],
        instruments=source.instruments,
        interval_ns=source.interval_ns,
        meta=source.meta | meta,
    )
    return rows


def _scores(models: dict[str, np.ndarray], said: Said, label: np.ndarray, ts_event: np.ndarray) -> dict[str, Any]:
    """Mean log loss of each model over the tradable, labelled rows, and its curve by UTC day."""
    judged = np.flatnonzero((said.predictions["flags"] & PredictionFlag.WARMUP == 0) & (label != NULL))
    days, position = np.unique(ts_event[judged] // DAY_NS, return_inverse=True)
    losses = {name: log_loss(probabilities[judged], label[judged]) for name, probabilities in models.items()}
    per_day = np.bincount(position, minlength=len(days))
    return {
        "judged_rows": len(judged),
        "log_loss": {name: float(loss.mean()) for name, loss in losses.items()},
        "curves": {name: (np.bincount(position, loss) / per_day).tolist() for name, loss in losses.items()},
    }
