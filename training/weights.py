"""Named arrays on disk: ``.npz`` without pickled objects, equal arrays as equal bytes, never half-written."""

import os
from pathlib import Path

import numpy as np

from core.errors import BadInput


def save(path: Path | str, arrays: dict[str, np.ndarray]) -> None:
    """Write ``arrays`` beside ``path`` and rename. Names are sorted; the zip entries carry no clock."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path | str) -> dict[str, np.ndarray]:
    """The arrays of ``path``. Raises BadInput for a missing or damaged file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path}: {error}; make it with `dvc repro train`") from None
