"""Scaling: mean and standard deviation of each feature over the rows of a training fold, and of no other row."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.errors import BadInput

_CHUNK_ROWS: Final = 65_536
_STD_MIN: Final = 1e-6  # a column that varies less is constant in the fold: it is centred and left unscaled


@dataclass(frozen=True, slots=True)
class Scaling:
    """``(features - mean) / std`` has mean 0 and deviation 1 over the fitted rows. Both (n_features,) float32."""

    mean: np.ndarray
    std: np.ndarray  # above 0; infinite for a feature that is left out (``training.select``)


def fit(features: np.ndarray, rows: np.ndarray) -> Scaling:
    """Fit on ``features[rows]``; ``features`` (n, n_features) may be a memory map, ``rows`` holds increasing indices.

    Two passes in float64 over chunks, so memory stays bounded. Raises BadInput without rows or for a value that is not
    finite.
    """
    if not len(rows):
        raise BadInput("scaling: 0 rows to fit on, at least 1 needed; the fold has no ready, labelled training row")
    chunks = [rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS)]
    mean = sum(features[chunk].sum(axis=0, dtype=np.float64) for chunk in chunks) / len(rows)
    squares = sum(np.square(features[chunk] - mean).sum(axis=0, dtype=np.float64) for chunk in chunks)
    std = np.sqrt(squares / len(rows))
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        bad = np.flatnonzero(~(np.isfinite(mean) & np.isfinite(std)))
        raise BadInput(f"scaling: feature columns {bad.tolist()} hold values that are not finite; run featurize again")
    return Scaling(mean.astype(np.float32), np.where(std < _STD_MIN, 1.0, std).astype(np.float32))
