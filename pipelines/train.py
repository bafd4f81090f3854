"""Stage train: every walk-forward fold's network and baselines.

Reads the market tape and ``artifacts/features``; writes ``artifacts/folds``: ``fold_<k>/lstm.npz`` and
``logistic.npz`` (weights and scaler), ``folds.json`` (bounds, row counts, climatology, selected features),
``history.json`` (loss curves).
"""

import json
from itertools import compress
from pathlib import Path
from typing import Any, Final

from core.errors import BadInput
from core.settings import as_json
from features.spec import spec_from_json
from feeds.tape import Tape
from models import command
from models.manifest import Fold
from models.output import output_folder, verify_output
from pipelines import params, tracking
from training import weights
from training.dataset import open_dataset, read_spec
from training.fit import FoldFit, FoldTask, fit_fold
from training.pool import run_tasks
from training.select import is_kept
from training.splits import walk_forward

ARTIFACTS: Final = Path("artifacts")


def train(settings: params.Params, artifacts: Path) -> tuple[list[Fold], list[FoldFit]]:
    """Fit every fold of ``artifacts`` and write ``artifacts/folds``. The worker count changes nothing that is written.

    Raises BadInput if features and tape do not belong together or the history is too short.
    """
    tape, features = artifacts / "data" / "market.tape", artifacts / "features"
    if Tape.open(tape).interval_ns == 0:  # both verified once here; workers then map them unread
        raise BadInput(f"{tape}: books and quotes; networks are trained on bars only: set data.source to bars")
    made_from = verify_output(features, stage="featurize")
    data = open_dataset(tape, features)
    spec = spec_from_json(read_spec(features)["features"])
    folds = walk_forward(data.ts_event, data.label_known_at, settings.splits, spec.warmup_ns)
    tasks = [FoldTask(fold, tape, features, settings.model, settings.training, settings.seed) for fold in folds]
    fits = run_tasks(fit_fold, tasks, steps=settings.training.epochs, workers=settings.workers, title="train")
    with output_folder(artifacts / "folds") as out:
        write_folds(out, folds, fits, spec.names, made_from)
    return folds, fits


def write_folds(out: Path, folds: list[Fold], fits: list[FoldFit], names: tuple[str, ...], made_from: str) -> None:
    """Write weights, bounds and curves of every fold into ``out``; ``made_from`` is the id of the features."""
    for fit in fits:
        weights.save(out / f"fold_{fit.index}" / "lstm.npz", fit.network)
        weights.save(out / f"fold_{fit.index}" / "logistic.npz", fit.logistic)
    bounds = [
        as_json(fold)
        | {"rows": fit.counts, "climatology": fit.climatology}
        | {"selected": list(compress(names, is_kept(fit.network["std"])))}
        for fold, fit in zip(folds, fits, strict=True)
    ]
    _write(out / "folds.json", {"version": 1, "features": made_from, "folds": bounds})
    _write(out / "history.json", {"version": 1, "folds": [{"fold": fit.index, "curves": fit.curves} for fit in fits]})


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def main() -> None:
    """Run the stage with ``params.yaml``; results first, tracking after."""
    settings = params.load()
    folds, fits = train(settings, ARTIFACTS)
    tracking.log_training(settings, folds, fits, ARTIFACTS)


if __name__ == "__main__":
    command.run(main)
