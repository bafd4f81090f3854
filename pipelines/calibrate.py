"""Stage calibrate: one bundle and one session per fold, and the candidate.

Reads the market tape, ``artifacts/features`` and ``artifacts/folds``; writes ``artifacts/calibrated/fold_<k>`` (the
bundle, ``fold.tape``, ``predictions.npy`` by the exported step, ``predictions_torch.npy`` by the training framework,
``logistic.npy``), ``artifacts/calibrated/metrics.json`` and ``artifacts/candidate``, the last fold's bundle.
"""

import json
from pathlib import Path
from typing import Any, Final

from core import config
from core.errors import BadInput
from core.settings import parse
from features.spec import FeatureSpec, spec_from_json
from feeds.tape import Tape
from models import command
from models.bundle import load_bundle, write_bundle
from models.lineage import code_hash
from models.manifest import Fold, Manifest
from models.output import output_folder, verify_output
from pipelines import params, tracking
from training.dataset import read_spec
from training.latency import measure_step
from training.pool import run_tasks
from training.session import SessionTask, make_session

ARTIFACTS: Final = Path("artifacts")
ONNX_PARITY_MAX: Final = "0.00001"


def calibrate(settings: params.Params, artifacts: Path) -> dict[str, Any]:
    """Calibrate, export and run every trained fold of ``artifacts``; returns what ``metrics.json`` holds.

    How far an exported step differs from its network is written, not enforced: the gate ``onnx_parity`` judges it.
    Raises BadInput for missing, altered or foreign inputs, BadConfig for an account that cannot trade this market.
    """
    tape = Tape.open(artifacts / "data" / "market.tape")
    made_from = verify_output(artifacts / "features", stage="featurize")
    verify_output(artifacts / "folds", stage="train")
    config.build(settings.trading, tape.instruments)  # account and market must fit before anything is made
    spec = spec_from_json(read_spec(artifacts / "features")["features"])
    folds, climatologies = read_folds(artifacts / "folds" / "folds.json", made_from)
    template = manifest_template(settings, tape, spec)
    with output_folder(artifacts / "calibrated") as out:
        tasks = [
            SessionTask(
                folds=tuple(folds[: index + 1]),
                tape=tape.path,
                features=artifacts / "features",
                trained=artifacts / "folds" / f"fold_{index}",
                climatology=climatologies[index],
                out=out / f"fold_{index}",
                model=settings.model,
                burn_in=settings.training.burn_in,
                spec=spec,
                manifest=template,
            )
            for index in range(len(folds))
        ]
        entries = run_tasks(make_session, tasks, steps=1, workers=settings.workers, title="calibrate")
        last = load_bundle(tasks[-1].out)
        metrics = {
            "version": 1,
            "onnx_parity": max(entry["onnx_parity"] for entry in entries),
            "folds": entries,
            "timing": measure_step(last.onnx_bytes, last.manifest.model),
        }
        (out / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True) + "\n")
    write_bundle(artifacts / "candidate", last.onnx_bytes, last.manifest)
    return metrics


def manifest_template(settings: params.Params, tape: Tape, spec: FeatureSpec) -> Manifest:
    """What every fold's manifest says alike; the model and the folds are added where they are made."""
    return Manifest(
        strategy=settings.strategy.kind,
        model=None,
        feature_spec=spec.as_json(),
        feature_spec_hash=spec.hash,
        label_spec=settings.labels.as_json(),
        label_spec_hash=settings.labels.hash,
        dialect=str(tape.meta["source"]),
        dialect_hash=code_hash(("feeds",)),
        instruments=tuple(instrument.as_json() for instrument in tape.instruments),
        interval_ns=tape.interval_ns,
        data_hash=tape.tape_id,
        params_hash=settings.params_hash,
        code_hash=code_hash(),
        injected=bool(tape.meta["injected"]),
        folds=(),
        tolerances={"onnx_parity": ONNX_PARITY_MAX},
        trading=settings.trading,
    )


def read_folds(path: Path, made_from: str | None = None) -> tuple[list[Fold], list[tuple[float, ...]]]:
    """The folds of ``folds.json`` and each one's climatology.

    Raises BadInput if the file is missing or damaged, or the folds were trained on other features than ``made_from``.
    """
    try:
        document = json.loads(path.read_bytes())
        entries, trained_on = document["folds"], document["features"]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path}: {error!r}; make it with `dvc repro train`") from None
    if made_from not in (None, trained_on):
        raise BadInput(
            f"{path}: trained on features {trained_on[:16]}, artifacts/features is {made_from[:16]}; `dvc repro train`"
        )
    folds = [
        parse(Fold, {name: entry[name] for name in Fold.__struct_fields__}, where=f"{path}: fold {index}")
        for index, entry in enumerate(entries)
    ]
    return folds, [tuple(entry["climatology"]) for entry in entries]


def main() -> None:
    """Run the stage with ``params.yaml``; results first, tracking after."""
    settings = params.load()
    metrics = calibrate(settings, ARTIFACTS)
    tracking.log_calibration(settings, metrics, ARTIFACTS)


if __name__ == "__main__":
    command.run(main)
