"""Which program made a thing: a hash over the sources that decide its bytes, and the commit it was built from.

The hash enters a bundle's manifest. The commit is for people, who look for the code of an installed runner: it enters
no id and no hash, because the same sources make the same bytes whatever commit they lie in.
"""

import hashlib
import json
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

MODEL_PACKAGES: Final = ("core", "features", "feeds", "models", "training")  # what a bundle's content depends on
STAMP: Final = "models/build.json"  # in a wheel or source archive only; setup.py writes it
UNTRACED: Final = "unknown"
_WRITTEN_BY_RUNS: Final = ("trials", "dvc.lock", "models/registry.json", "gates/decisions.jsonl")
_ROOT: Final = Path(__file__).resolve().parent.parent


def code_hash(packages: tuple[str, ...] = MODEL_PACKAGES, *, root: Path = _ROOT) -> str:
    """SHA-256 over names and contents of every ``.py`` file of ``packages`` under ``root``, in order of name.

    It reads the files that run, not a commit, so an edit that was never committed counts too.
    """
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


class Build(NamedTuple):
    """Where a program comes from. ``dirty``: it may differ from ``commit``, by an edit or because nobody knows."""

    commit: str
    dirty: bool

    def __str__(self) -> str:
        return f"commit {self.commit[:12]}{', dirty' if self.dirty else ''}"


def build(root: Path = _ROOT) -> Build:
    """The commit of the checkout ``root``, else what was stamped into ``root`` when it was built, else unknown.

    What runs and promotions write beside the code (trials, locks, registry, decision log) makes no tree dirty.
    """
    return _checked_out(root) or _stamped(root) or Build(UNTRACED, dirty=True)


def program() -> str:
    """Version and build of the running program, for people."""
    return f"portcullis {metadata.version('portcullis')} ({build()})"


def write_stamp(root: Path, stamp: Build) -> None:
    """Write ``stamp`` into the copy of the program at ``root``."""
    (root / STAMP).write_text(json.dumps(stamp._asdict()) + "\n", encoding="utf-8")


def _checked_out(root: Path) -> Build | None:
    """None unless ``root`` itself is a checkout: an environment inside someone's repository is not that repository."""
    if not (root / ".git").exists():
        return None
    excluded = [f":(exclude){path}" for path in _WRITTEN_BY_RUNS]
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--", ".", *excluded]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # no git here, or it does not trust the folder's owner
        return None
    lines = done.stdout.splitlines()
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    return None if commit == "(initial)" else Build(commit, dirty=any(not line.startswith("#") for line in lines))


def _stamped(root: Path) -> Build | None:
    try:
        fields = json.loads((root / STAMP).read_text(encoding="utf-8"))
        return Build(str(fields["commit"]), dirty=fields["dirty"] is not False)
    except (OSError, ValueError, KeyError, TypeError):  # no stamp that says anything
        return None
