"""Scores of three-class forecasts: proper scores against climatology, direction at full coverage, calibration.

Classes are down, flat, up (0, 1, 2). Rows of all folds are pooled; each row carries its own fold's climatology (the
class frequencies of that fold's training rows), so no reference knows more than the model did. Every score is a
function of daily sums and takes its interval from the shared day-wise bootstrap.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from core.records import PPM, PREDICTION, PredictionFlag
from evaluation.statistics import (
    Bootstrap,
    Estimate,
    debiased_calibration_error,
    effective_sample_size,
    ratio,
    skill,
)

NULL_LABEL: Final = -128  # no bar exactly one horizon later
CALIBRATION_BINS: Final = 15
_LEAST_PROBABILITY: Final = 1.0 / PPM  # what one part per million can express; keeps the log loss finite


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Scored rows, n of them in time order per fold."""

    probabilities: np.ndarray  # float64 [n, 3]
    climatology: np.ndarray  # float64 [n, 3]
    label: np.ndarray  # int64 [n], 0 down, 1 flat, 2 up
    direction: np.ndarray  # int64 [n], sign of the realised return over the horizon
    day: np.ndarray  # int64 [n], UTC days since the epoch
    bar: np.ndarray  # int64 [n], ts_event in bar intervals
    instrument: np.ndarray  # int64 [n]
    fold: np.ndarray  # int64 [n]

    def __len__(self) -> int:
        return len(self.label)

    def select(self, mask: np.ndarray) -> "Forecasts":
        """The rows where ``mask`` holds."""
        return Forecasts(**{item.name: getattr(self, item.name)[mask] for item in fields(self)})


def pool(parts: Sequence[Forecasts]) -> Forecasts:
    """All rows of ``parts``, in order."""
    return Forecasts(
        **{item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Forecasts)}
    )


def probabilities(predictions: np.ndarray) -> np.ndarray:
    """PREDICTION records [n] as (down, flat, up), float64 [n, 3]; each row sums to 1."""
    down, up = predictions["p_down_ppm"], predictions["p_up_ppm"]
    return np.stack([down, PPM - down - up, up], axis=1) / PPM


def scored(predictions: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Which rows count, bool [n]: everything the model was sure enough to be asked about, nothing selected by score."""
    if predictions.dtype != PREDICTION:
        raise TypeError(f"predictions have dtype {predictions.dtype}, PREDICTION required")
    return ((predictions["flags"] & PredictionFlag.WARMUP) == 0) & (label != NULL_LABEL)


def frequencies(label: np.ndarray) -> np.ndarray:
    """Share of each class among the labels that exist, float64 [3]; uniform when there are none."""
    counts = np.bincount(label[label != NULL_LABEL], minlength=3).astype(np.float64)
    return counts / counts.sum() if counts.sum() else np.full(3, 1 / 3)


def effective_rows(rows: Forecasts, horizon_bars: int) -> int:
    """Effective sample size of overlapping labels, summed over folds and instruments."""
    total = 0.0
    for fold in np.unique(rows.fold):
        for instrument in np.unique(rows.instrument):
            mine = (rows.fold == fold) & (rows.instrument == instrument)
            total += effective_sample_size(rows.bar[mine], horizon_bars)
    return int(total)


def brier(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Brier score of each row over all classes, [n] in [0, 2] (Brier 1950)."""
    return np.sum((probability - np.eye(3)[label]) ** 2, axis=1)


def direction_brier(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Brier score of "up, given that it moved", [n] in [0, 1]; 0 for flat rows, which say nothing about direction.

    Classes have a dead zone in sigmas, so a model that knows volatility better than sigma does has skill in all three
    classes without knowing any direction; this score is what is left for direction.
    """
    moved = probability[:, 2] + probability[:, 0]
    up = np.divide(probability[:, 2], moved, out=np.full(len(label), 0.5), where=moved > 0)
    return np.where(label == 1, 0.0, (up - (label == 2)) ** 2)


def log_loss(probability: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each row in nats, [n]."""
    return -np.log(np.maximum(probability[np.arange(len(label)), label], _LEAST_PROBABILITY))


def direction_hits(up_minus_down: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """1 where the sign agrees, 0 where not, 1/2 where the forecast has no sign; NaN where nothing moved, [n]."""
    hits = (np.sign(up_minus_down) * direction + 1) / 2
    return np.where(direction == 0, np.nan, hits)


def by_day(values: np.ndarray, day: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Sums of ``values`` [n, k] over each of ``days`` (sorted, complete): [len(days), k]."""
    row = np.searchsorted(days, day)
    return np.stack([np.bincount(row, column, minlength=len(days)) for column in values.T], axis=1)


def scores(rows: Forecasts, days: np.ndarray, bootstrap: Bootstrap, n_effective: int) -> dict[str, Estimate]:
    """Every probability metric of ``rows``; ``days`` is the bootstrap's axis. ``n`` is the effective sample size."""
    one = np.ones(len(rows))

    def mean(values: np.ndarray, against: np.ndarray | None = None) -> Estimate:
        columns = np.stack([values, one if against is None else against], axis=1)
        return bootstrap.estimate(ratio if against is None else skill, by_day(columns, rows.day, days), n_effective)

    loss, reference = brier(rows.probabilities, rows.label), brier(rows.climatology, rows.label)
    moved = rows.select(rows.label != 1)
    n_moved = n_effective * len(moved) // max(1, len(rows))
    direction = np.stack(
        [direction_brier(item, moved.label) for item in (moved.probabilities, moved.climatology)], axis=1
    )
    log, log_reference = log_loss(rows.probabilities, rows.label), log_loss(rows.climatology, rows.label)
    return {
        "skill_over_climatology": mean(loss, reference),
        "direction_skill": bootstrap.estimate(skill, by_day(direction, moved.day, days), n_moved),
        "log_skill_over_climatology": mean(log, log_reference),
        "brier": mean(loss),
        "log_loss": mean(log),
        "directional_accuracy": accuracy(
            rows, rows.probabilities[:, 2] - rows.probabilities[:, 0], days, bootstrap, n_effective
        ),
        **calibration(rows, days, bootstrap, n_effective),
    }


def accuracy(
    rows: Forecasts, up_minus_down: np.ndarray, days: np.ndarray, bootstrap: Bootstrap, n_effective: int
) -> Estimate:
    """Share of moves whose direction ``up_minus_down`` [n] named, over all rows that moved: full coverage."""
    hits = direction_hits(up_minus_down, rows.direction)
    moved = ~np.isnan(hits)
    columns = np.stack([np.where(moved, hits, 0.0), moved.astype(np.float64)], axis=1)
    return bootstrap.estimate(ratio, by_day(columns, rows.day, days), n_effective)


def calibration(rows: Forecasts, days: np.ndarray, bootstrap: Bootstrap, n_effective: int) -> dict[str, Estimate]:
    """``ece`` (plug-in mean absolute gap) and ``ece_debiased`` of the top label, on equal-mass bins.

    Labels overlap, so a gap's sampling variance is the bootstrap's, not the binomial one. A draw's own squared gap
    overstates the truth twice (the sample's noise and the draw's), hence twice the variance there.
    """
    sums = _bin_sums(rows, days)
    if not len(rows):
        return {"ece": Estimate(None, None, None, 0), "ece_debiased": Estimate(None, None, None, 0)}
    gap, weight = _gaps(sums.sum(axis=0, keepdims=True))
    drawn_gap, drawn_weight = _gaps(bootstrap.sums(sums))
    variance = drawn_gap.var(axis=0)
    plain = float(np.sum(weight * np.abs(gap)))
    value = float(debiased_calibration_error(gap, weight, variance)[0])
    draws = debiased_calibration_error(drawn_gap, drawn_weight, 2 * variance)
    plain_bounds = bootstrap.interval(np.sum(drawn_weight * np.abs(drawn_gap), axis=1))
    return {
        "ece": Estimate(plain, *plain_bounds, n_effective),
        "ece_debiased": Estimate(value, *bootstrap.interval(draws), n_effective),
    }


def reliability(rows: Forecasts) -> np.ndarray:
    """The reliability diagram of the top label: float64 [bins, 3] of mean confidence, hit rate, rows."""
    sums = _bin_sums(rows, np.unique(rows.day)).sum(axis=0).reshape(3, -1)
    used = sums[0] > 0
    count, confidence, hits = sums[:, used]
    return np.stack([confidence / count, hits / count, count], axis=1)


def _bin_sums(rows: Forecasts, days: np.ndarray) -> np.ndarray:
    """Per day and bin: rows, confidence, hits; [len(days), 3 * CALIBRATION_BINS]."""
    confidence, hit = rows.probabilities.max(axis=1), rows.probabilities.argmax(axis=1) == rows.label
    edges = np.quantile(confidence, np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS) if len(rows) else np.zeros(0)
    cell = np.searchsorted(days, rows.day) * CALIBRATION_BINS + np.searchsorted(edges, confidence, side="right")
    size = len(days) * CALIBRATION_BINS
    columns = (np.ones(len(rows)), confidence, hit.astype(np.float64))
    cells = [np.bincount(cell, column, minlength=size).reshape(len(days), CALIBRATION_BINS) for column in columns]
    return np.concatenate(cells, axis=1)


def _gaps(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gap and weight of each bin, [m, bins], from sums [m, 3 * bins]; an empty bin has neither."""
    count, confidence, hits = np.split(sums, 3, axis=1)
    gap = np.divide(confidence - hits, count, out=np.zeros_like(count), where=count > 0)
    return gap, count / count.sum(axis=1, keepdims=True)
