"""Where things lie in a checkout, and the candidate that is up for judgement there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import Refused
from gates.judge import Verdict, judge
from gates.metrics import Metric, load_metrics
from gates.schema import BAR_MODEL, GateFile, load_gates
from gates.trials import Trial, daily_sharpe, read_trials, trial_of, trials_folder
from models.bundle import Bundle, load_bundle


@dataclass(frozen=True, slots=True)
class Workspace:
    """The paths of one checkout, ``root``."""

    root: Path

    @property
    def candidate(self) -> Path:
        """The bundle that ``calibrate`` made."""
        return self.root / "artifacts" / "candidate"

    @property
    def metrics(self) -> Path:
        """What ``backtest`` measured of it."""
        return self.root / "artifacts" / "backtest" / "metrics.json"

    @property
    def verdict(self) -> Path:
        """What ``gate`` found."""
        return self.root / "artifacts" / "gate" / "verdict.json"

    @property
    def gate_file(self) -> Path:
        """The limits."""
        return self.root / "gates" / "gates.yaml"

    @property
    def log(self) -> Path:
        """The decision log."""
        return self.root / "gates" / "decisions.jsonl"

    @property
    def trials(self) -> Path:
        """One file per trial; of the real checkout if this one is a temporary copy."""
        return trials_folder(self.root)

    @property
    def registry(self) -> Path:
        """Versions by tag."""
        return self.root / "models" / "registry.json"

    @property
    def pointer(self) -> Path:
        """Symbolic link to the bundle in use."""
        return self.root / "models" / "promoted"

    def stored(self, bundle_id: str) -> Path:
        """Where a promoted bundle is kept."""
        return self.root / "models" / "store" / bundle_id

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One promotion or rollback at a time; others wait."""
        folder = self.root / "models"
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Case:
    """A candidate with everything it is judged on, and the verdict."""

    bundle: Bundle
    metrics: dict[str, Metric]
    metrics_sha256: str
    gate_file: GateFile
    trial: Trial
    verdict: Verdict


def open_case(work: Workspace, profile: str = BAR_MODEL) -> Case:
    """Judge the candidate of ``work``; its own trial counts whether or not it is recorded yet. Writes nothing.

    Raises BadInput, BadConfig or Refused for anything missing, malformed or altered.
    """
    gate_file = load_gates(work.gate_file)
    gates = gate_file.profile(profile)
    bundle = load_bundle(work.candidate)
    measured, metrics_sha256 = load_metrics(work.metrics)
    if measured.bundle_id != bundle.id:
        raise Refused(
            f"{work.metrics}: measured bundle {measured.bundle_id[:16]}, the candidate is {bundle.id[:16]}; "
            f"`dvc repro` measures it"
        )
    metrics = measured.metrics
    trial = trial_of(bundle.manifest, metrics)
    trials = read_trials(work.trials) | {trial.id: trial}
    verdict = judge(metrics, gates, [daily_sharpe(item) for item in trials.values()], profile=profile)
    return Case(bundle, metrics, metrics_sha256, gate_file, trial, verdict)
