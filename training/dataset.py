"""What training reads: the rows of ``artifacts/features``, memory-mapped and aligned with the market tape.

N rows, F features. Nothing here is copied per window: lanes index these arrays. Which rows may carry a label's
information is decided in ``rows`` and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import BadInput
from feeds.tape import Tape
from models.manifest import Fold


@dataclass(frozen=True, slots=True)
class Dataset:
    """Row-aligned arrays; all read-only memory maps."""

    ts_event: np.ndarray  # int64 [N], ns
    instrument: np.ndarray  # uint16 [N]
    features: np.ndarray  # float32 [N, F]
    ready: np.ndarray  # bool [N]: the kernel is warm
    sigma: np.ndarray  # float [N]: standard deviation of the return over the horizon, a fraction
    label: np.ndarray  # int8 [N]: 0 down, 1 flat, 2 up, negative: none
    label_known_at: np.ndarray  # int64 [N], ns
    label_return: np.ndarray  # float32 [N]: realised return over the horizon in sigma


@dataclass(frozen=True, slots=True)
class FoldRows:
    """Row numbers of one fold with a usable label, in tape order; the three are disjoint."""

    train: np.ndarray
    calibrate: np.ndarray
    test: np.ndarray


def open_dataset(tape_path: Path | str, folder: Path | str) -> Dataset:
    """The arrays of ``folder`` beside the tape they were made from. Raises BadInput if one is missing or misaligned."""
    records = Tape.open(tape_path, verify=False).records
    names = ("features", "ready", "sigma", "label", "label_known_at", "label_return")
    arrays = {name: _open(Path(folder) / f"{name}.npy", len(records)) for name in names}
    return Dataset(ts_event=records["ts_event"], instrument=records["instrument"], **arrays)


def _open(path: Path, rows: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}; make it with `dvc repro featurize`") from None
    if len(array) != rows:
        raise BadInput(f"{path}: {len(array)} rows, the tape has {rows}; make it anew with `dvc repro featurize`")
    return array


def rows(data: Dataset, fold: Fold) -> FoldRows:
    """The rows of ``fold`` whose kernel was warm and whose label is known inside their own block.

    A training label must be known before the calibration block starts, a calibration label before the test does
    (the purge); ``fold`` itself carries the embargo.
    """
    usable = np.asarray(data.ready) & (np.asarray(data.label) >= 0)

    def block(start: int, end: int, known_before: int) -> np.ndarray:
        inside = (data.ts_event >= start) & (data.ts_event < end) & (data.label_known_at < known_before)
        return np.flatnonzero(usable & inside)

    found = FoldRows(
        train=block(fold.train_start, fold.train_end, fold.calibrate_start),
        calibrate=block(fold.calibrate_start, fold.calibrate_end, fold.test_start),
        test=block(fold.test_start, fold.test_end, 2**63 - 1),
    )
    for name in ("train", "calibrate"):
        if not len(getattr(found, name)):
            raise BadInput(
                f"fold {fold.index}: no usable {name} row between its bounds; give it more days or check the data"
            )
    return found


def runs(data: Dataset, start: int, end: int) -> Iterator[np.ndarray]:
    """Row numbers of every uninterrupted stream in [start, end): one instrument, warm kernel, no restart between.

    Ordered by instrument, then time.
    """
    inside = np.flatnonzero((data.ts_event >= start) & (data.ts_event < end))
    for instrument in np.unique(data.instrument[inside]):
        own = inside[data.instrument[inside] == instrument]
        warm = np.flatnonzero(data.ready[own])
        for part in np.split(warm, np.flatnonzero(np.diff(warm) > 1) + 1):
            if len(part):
                yield own[part]
