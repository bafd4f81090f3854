"""What training reads: the rows of ``artifacts/features``, memory-mapped and aligned with the market tape.

N rows, F features. Nothing here is copied per window: lanes index these arrays. Which rows may carry a label's
information is decided in ``rows`` and nowhere else.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import BadInput
from feeds.tape import Tape
from models.manifest import Fold
from training.labels import NULL


@dataclass(frozen=True, slots=True)
class Dataset:
    """Row-aligned arrays; all read-only memory maps."""

    ts_event: np.ndarray  # int64 [N], ns
    instrument: np.ndarray  # uint16 [N]
    features: np.ndarray  # float32 [N, F]
    ready: np.ndarray  # bool [N]: the kernel is warm
    sigma: np.ndarray  # float [N]: standard deviation of the return over the horizon, a fraction
    label: np.ndarray  # int8 [N]: DOWN, FLAT, UP or NULL of ``training.labels``
    label_known_at: np.ndarray  # int64 [N], ns
    label_return: np.ndarray  # float32 [N]: realised return over the horizon in sigma


@dataclass(frozen=True, slots=True)
class FoldRows:
    """Row numbers of one fold with a usable label, in tape order; the three are disjoint."""

    train: np.ndarray
    calibrate: np.ndarray
    test: np.ndarray


def open_dataset(tape_path: Path, folder: Path) -> Dataset:
    """The arrays of ``folder`` beside the tape they were made from.

    Raises BadInput if an array is missing, has another length, or was made from another tape.
    """
    tape = Tape.open(tape_path, verify=False)
    if (made_from := read_spec(folder)["tape_id"]) != tape.tape_id:
        raise BadInput(
            f"{folder} was made from tape {made_from[:16]}, {tape_path} is {tape.tape_id[:16]}: run `dvc repro`"
        )
    names = ("features", "ready", "sigma", "label", "label_known_at", "label_return")
    arrays = {name: _open(folder / f"{name}.npy", len(tape.records)) for name in names}
    return Dataset(ts_event=tape.records["ts_event"], instrument=tape.records["instrument"], **arrays)


def read_spec(folder: Path) -> dict[str, Any]:
    """``spec.json`` of ``folder``: feature and label specification with their hashes, and the tape's id."""
    try:
        return json.loads((folder / "spec.json").read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}/spec.json: {error}; make it with `dvc repro featurize`") from None


def _open(path: Path, rows: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}; make it with `dvc repro featurize`") from None
    if len(array) != rows:
        raise BadInput(f"{path}: {len(array)} rows, the tape has {rows}; make it anew with `dvc repro featurize`")
    return array


def rows(data: Dataset, fold: Fold) -> FoldRows:
    """The rows of each block of ``fold`` whose kernel was warm and that have a label.

    The purge is in the bounds of ``fold``: ``training.splits`` ends a block before the first label that the next block
    would leak into. Raises BadInput if nothing is left to train on or to calibrate with, or if every
    training label is of one class.
    """
    usable = np.asarray(data.ready) & (np.asarray(data.label) != NULL)

    def block(start: int, end: int) -> np.ndarray:
        return np.flatnonzero(usable & (data.ts_event >= start) & (data.ts_event < end))

    found = FoldRows(
        train=block(fold.train_start, fold.train_end),
        calibrate=block(fold.calibrate_start, fold.calibrate_end),
        test=block(fold.test_start, fold.test_end),
    )
    for name in ("train", "calibrate"):
        if not len(getattr(found, name)):
            raise BadInput(
                f"fold {fold.index}: no usable {name} row between its bounds; give it more days or check the data"
            )
    if len(classes := np.unique(data.label[found.train])) < 2:
        raise BadInput(
            f"fold {fold.index}: its {len(found.train)} training labels are all of class {classes[0]}; lower "
            "labels.dead_zone_sigma, or give the fold more days"
        )
    return found


def runs(instrument: np.ndarray, ready: np.ndarray, inside: np.ndarray) -> Iterator[np.ndarray]:
    """Row numbers of every uninterrupted stream among the rows ``inside``: one instrument, no row that is not ready.

    Where a run ends, ``models.stream`` resets the recurrent state too. Ordered by instrument, then time.
    """
    for index in np.unique(instrument[inside]):
        own = inside[instrument[inside] == index]
        warm = np.flatnonzero(ready[own])
        for part in np.split(warm, np.flatnonzero(np.diff(warm) > 1) + 1):
            if len(part):
                yield own[part]


def between(data: Dataset, start: int, end: int) -> np.ndarray:
    """Row numbers with ``ts_event`` in [start, end)."""
    return np.flatnonzero((data.ts_event >= start) & (data.ts_event < end))
