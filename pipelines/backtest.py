"""Stage backtest: trade every fold with the code that trades live, measure, draw the tearsheet.

Reads ``artifacts/calibrated``, ``artifacts/features`` and the market tape; writes ``artifacts/backtest``:
``fold_<k>/{out,marks}.npy``, ``metrics.json``, ``plots/*.csv`` and ``report.html``.
"""

import json
from pathlib import Path
from typing import Any, Final

from core.errors import BadInput
from evaluation import report, results
from evaluation.backtest import FoldSource, run_fold
from evaluation.metrics import measure, with_rehearsal
from evaluation.rehearsal import rehearse
from feeds.tape import Tape
from models import command
from models.atomic import write_atomic
from models.bundle import load_bundle
from models.output import output_folder, verify_output
from pipelines import params, tracking
from training.pool import run_tasks

ARTIFACTS: Final = Path("artifacts")


def backtest(settings: params.Params, artifacts: Path) -> dict[str, Any]:
    """Write ``artifacts``/backtest and return what ``metrics.json`` holds. The worker count changes nothing in it.

    Raises BadInput for missing inputs or inputs that do not belong together.
    """
    calibrated, features = artifacts / "calibrated", artifacts / "features"
    market = Tape.open(artifacts / "data/market.tape")  # all verified once here; workers then map them unread
    verify_output(features, stage="featurize")
    verify_output(calibrated, stage="calibrate")
    parity = read_parity(calibrated / "metrics.json")
    folders = [calibrated / f"fold_{index}" for index in range(len(list(calibrated.glob("fold_*"))))]
    if not folders:
        raise BadInput(f"{calibrated}: no fold; make them with `dvc repro calibrate`")
    with output_folder(artifacts / "backtest") as out:
        sources = [FoldSource(folder, market.path, features, out / folder.name) for folder in folders]
        folds = run_tasks(run_fold, sources, steps=1, workers=settings.workers, title="backtest")
        metrics = with_rehearsal(measure(folds, settings.evaluation, settings.seed, parity), rehearse(folders[-1]))
        metrics["bundle_id"] = load_bundle(folders[-1]).id  # the candidate is the last fold's bundle
        results.write_tables(out, folds, [item.symbol for item in market.instruments])
        results.write_json(out / "metrics.json", metrics)
        write_atomic(out / "report.html", report.render(*results.read(out), None).encode())
    return metrics


def read_parity(path: Path) -> float:
    """The largest difference between training framework and ONNX. Raises BadInput if calibrate did not measure it."""
    try:
        return float(json.loads(path.read_bytes())["onnx_parity"])
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: {error!r}; make it with `dvc repro calibrate`") from None


def main() -> None:
    """Run the stage with ``params.yaml``; results first, tracking after."""
    settings = params.load()
    metrics = backtest(settings, ARTIFACTS)
    files = [ARTIFACTS / "backtest/metrics.json", ARTIFACTS / "backtest/report.html"]
    tracking.log_backtest(settings, metrics["metrics"], files, ARTIFACTS)


if __name__ == "__main__":
    command.run(main)
