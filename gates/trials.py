"""Trials: every distinct experiment that was judged, one small file each, so that luck can be priced in.

A trial is identified by what produced it: parameters, data, features and code. Running it again does not count again,
and because the files are tracked by git neither a fresh clone nor a deleted database sets the count back. An
experiment that DVC runs in a copy of the checkout (``.dvc/tmp/exps/...``, queued or ``--temp``) writes to the real one,
or its trial would vanish with the copy.

All trials of the checkout count, whatever they were run on: a rule that let "other data" start at zero could be met by
moving a date by one day.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from core.canonical import canonical_json, hash_json
from core.errors import BadConfig, BadInput
from core.settings import Section, as_json, parse
from gates.metrics import Metric
from models.atomic import write_atomic
from models.manifest import Manifest

_EXPERIMENTS: Final = (".dvc", "tmp", "exps")


class Trial(Section, frozen=True, kw_only=True):
    """One trial. ``sharpe`` is daily, a decimal string; None if it is undefined (it never traded)."""

    version: int = 1
    params_hash: str
    data_hash: str
    feature_spec_hash: str
    code_hash: str
    sharpe: str | None
    n: int  # days behind ``sharpe``

    @property
    def id(self) -> str:
        """Hash over what produced the trial: its file's name."""
        return hash_json([self.params_hash, self.data_hash, self.feature_spec_hash, self.code_hash])


def trial_of(manifest: Manifest, metrics: Mapping[str, Metric]) -> Trial:
    """The trial that a candidate and its measured daily Sharpe ratio stand for."""
    sharpe = metrics.get("sharpe_daily", Metric(value=None))
    return Trial(
        params_hash=manifest.params_hash,
        data_hash=manifest.data_hash,
        feature_spec_hash=manifest.feature_spec_hash,
        code_hash=manifest.code_hash,
        sharpe=None if sharpe.value is None else repr(sharpe.value),
        n=sharpe.n,
    )


def trials_folder(checkout: Path) -> Path:
    """``trials/`` of ``checkout``, or of the checkout it is a temporary copy of."""
    parts = checkout.resolve().parts
    for index in range(len(parts) - len(_EXPERIMENTS)):
        if parts[index : index + len(_EXPERIMENTS)] == _EXPERIMENTS:
            return Path(*parts[:index]) / "trials"
    return checkout / "trials"


def record_trial(folder: Path, trial: Trial) -> bool:
    """Write ``trial``; a trial measured anew replaces its file. Returns whether anything was written."""
    path = folder / f"{trial.id}.json"
    data = canonical_json(as_json(trial)) + b"\n"
    if path.is_file() and path.read_bytes() == data:
        return False
    write_atomic(path, data)
    return True


def read_trials(folder: Path) -> dict[str, Trial]:
    """All trials by id. Raises BadInput naming a file that is not one, or is not the one its name says."""
    trials = {}
    for path in sorted(folder.glob("*.json")):
        try:
            trial = parse(Trial, msgspec.json.decode(path.read_bytes()), where=str(path))
            daily_sharpe(trial)
        except (msgspec.DecodeError, BadConfig, ValueError) as error:
            raise BadInput(f"{path}: not a trial ({error}); restore it with git") from None
        if path.stem != trial.id:
            raise BadInput(f"{path}: holds the trial {trial.id}; restore it with git")
        trials[trial.id] = trial
    return trials


def daily_sharpe(trial: Trial) -> float:
    """The Sharpe ratio that enters the correction: a trial that never traded earned nothing, so 0."""
    return 0.0 if trial.sharpe is None else float(trial.sharpe)
