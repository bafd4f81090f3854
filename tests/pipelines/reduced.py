"""A reduced copy of the checkout in which the whole graph runs in under a minute.

The copy holds the files git knows, with their present content, so that a test never touches the checkout's own
artifacts, registry, trials or promoted model.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

SMALL: dict[str, Any] = {
    "workers": 1,
    "data.days": 80,
    "splits.train_days": 40,
    "splits.calibrate_days": 8,
    "splits.test_days": 10,
    "training.epochs": 8,
    "training.lanes": 8,  # more and smaller steps: there are few rows
    "evaluation.bootstrap_draws": 400,
}

STAGES = ("ingest", "featurize", "train", "calibrate", "backtest", "gate")


@dataclass(frozen=True)
class Checkout:
    """A reduced checkout and the environment its commands run in."""

    path: Path
    env: dict[str, str]

    def run(self, *command: str, code: int | None = 0) -> str:
        """Run ``command`` in the checkout, check its exit code (None: any) and return what it printed."""
        done = subprocess.run(command, cwd=self.path, env=self.env, capture_output=True, text=True, timeout=900)
        printed = done.stdout + done.stderr
        assert code is None or done.returncode == code, f"{' '.join(command)} ended with {done.returncode}:\n{printed}"
        return printed

    def python(self, *arguments: str, code: int | None = 0) -> str:
        """Run Python in the checkout."""
        return self.run(sys.executable, *arguments, code=code)

    def stages(self, *names: str) -> None:
        """Run stages in one process each, without DVC, in order; all of them by default."""
        for name in names or STAGES:
            self.python("-m", f"pipelines.{name}")


def make(folder: Path, changes: dict[str, Any]) -> Checkout:
    """Copy the checkout to ``folder`` as a git repository and apply ``changes`` (dotted keys) to its params.yaml."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in names.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    shutil.rmtree(folder / "trials", ignore_errors=True)
    (folder / "dvc.lock").unlink(missing_ok=True)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for key, value in changes.items():
        section = params
        *parents, leaf = key.split(".")
        for part in parents:
            section = section[part]
        if leaf not in section:
            raise KeyError(f"params.yaml has no {key}")
        section[leaf] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    checkout = Checkout(folder, environment(folder))
    checkout.run("git", "init", "-q", "-b", "main")
    checkout.run("git", "add", "-A")
    checkout.run("git", "commit", "-q", "-m", "reduced")
    return checkout


def environment(folder: Path) -> dict[str, str]:
    """The environment of this process with keys, threads and telemetry of its own."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PORTCULLIS_KEYS": str(folder.parent / f"{folder.name}-keys"),
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DVC_NO_ANALYTICS": "true",
        "GIT_AUTHOR_NAME": "test", "GIT_AUTHOR_EMAIL": "test@localhost",
        "GIT_COMMITTER_NAME": "test", "GIT_COMMITTER_EMAIL": "test@localhost",
    }  # fmt: skip
