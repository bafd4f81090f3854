"""Which program made a thing: one hash over the sources that decide its bytes."""

import hashlib
from pathlib import Path
from typing import Final

MODEL_PACKAGES: Final = ("core", "features", "feeds", "models", "training")  # what a bundle's content depends on
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
