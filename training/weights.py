"""Named arrays on disk: ``.npz`` without pickled objects, equal arrays as equal bytes, never half-written."""

import io
import zipfile
from pathlib import Path

import numpy as np

from core.errors import BadInput
from models.atomic import write_atomic


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write ``arrays`` atomically. Names are sorted; NumPy's zip entries carry no clock."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    write_atomic(path, buffer.getvalue())


def load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of ``path``. Raises BadInput for a missing or damaged file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path}: {error}; make it with `dvc repro train`") from None
