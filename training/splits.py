"""Walk-forward folds whose separation is structural: train, calibrate, test, each on rows the later ones never touch.

Days are UTC days of ``ts_event``. The last fold's test ends with the last full day of the data, earlier folds step
back by the length of a test, so tests tile the end of the history without overlap and the newest data is always
judged. Within a fold::

    train_start ........ train_end | calibrate_start ... calibrate_end | test_start ........ test_end
    <------------------------- train_days ----------------------------> <------- test_days ------->
                          purge ^                                 purge ^

The purge is not a guess: ``train_end`` is the first bar whose label is known at or after ``calibrate_start`` minus the
embargo, ``calibrate_end`` likewise for ``test_start``. So every label of a block is known before the next one starts.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from core.errors import BadConfig, BadInput, Refused
from core.records import DAY_NS, MINUTE_NS
from core.settings import Section, within
from models.manifest import Fold
from training.labels import NEVER_NS

DAYS_MAX: Final = 36_525  # a hundred years


class SplitParams(Section, frozen=True, kw_only=True):
    """Section ``splits`` of params.yaml."""

    train_days: int = 180  # calibrate_days included
    calibrate_days: int = 15
    test_days: int = 30
    embargo_minutes: int = 0  # on top of the purge

    def __post_init__(self) -> None:
        for name in ("train_days", "test_days"):
            within(f"splits.{name}", getattr(self, name), 1, DAYS_MAX)
        if not 0 < self.calibrate_days < self.train_days:
            raise BadConfig(
                f"splits.calibrate_days is {self.calibrate_days}; it must lie within 1..{self.train_days - 1}, below "
                f"splits.train_days ({self.train_days})"
            )
        if not 0 <= self.embargo_ns < self.calibrate_days * DAY_NS:
            raise BadConfig(
                f"splits.embargo_minutes is {self.embargo_minutes}; it must be 0 or more and shorter than "
                f"splits.calibrate_days ({self.calibrate_days})"
            )

    @property
    def embargo_ns(self) -> int:
        """The embargo in ns."""
        return self.embargo_minutes * MINUTE_NS


def walk_forward(
    ts_event: np.ndarray, label_known_at: np.ndarray, params: SplitParams, feature_warmup_ns: int
) -> list[Fold]:
    """The folds of a tape, oldest first. Both arrays int64 ns, row-aligned, ``NEVER_NS`` where there is no label.

    Raises BadInput if the history is too short for two folds (one would be a static split), if the training block is
    not longer than the features' warm-up, or if a block of a fold has no labelled row.
    """
    if not len(ts_event):
        raise BadInput("walk-forward: the tape has 0 rows; ingest more history")
    first_day, last_day = int(ts_event.min()) // DAY_NS, int(ts_event.max()) // DAY_NS
    n_folds = (last_day - first_day - params.train_days) // params.test_days
    if n_folds < 2:
        raise BadInput(
            f"walk-forward: {last_day - first_day} full days of history, {params.train_days + 2 * params.test_days} "
            f"needed for two folds of {params.train_days} + {params.test_days} days (one alone would be a static "
            "split): ingest more days, or lower splits.train_days or splits.test_days"
        )
    if (train_ns := (params.train_days - params.calibrate_days) * DAY_NS) <= feature_warmup_ns:
        raise BadInput(
            f"walk-forward: the training block of {train_ns // DAY_NS} days is not longer than the features' warm-up "
            f"of {feature_warmup_ns} ns: raise splits.train_days"
        )
    folds = []
    for index in range(n_folds):
        test_start = (last_day - (n_folds - index) * params.test_days) * DAY_NS
        train_start = test_start - params.train_days * DAY_NS
        calibrate_start = test_start - params.calibrate_days * DAY_NS
        embargo = params.embargo_ns
        fold = Fold(
            index=index,
            train_start=train_start,
            train_end=_purged_end(ts_event, label_known_at, train_start, calibrate_start, calibrate_start - embargo),
            calibrate_start=calibrate_start,
            calibrate_end=_purged_end(ts_event, label_known_at, calibrate_start, test_start, test_start - embargo),
            test_start=test_start,
            test_end=test_start + params.test_days * DAY_NS,
        )
        folds.append(fold)
    verify(folds, ts_event, label_known_at, params.embargo_ns)
    return folds


def verify(folds: Sequence[Fold], ts_event: np.ndarray, label_known_at: np.ndarray, embargo_ns: int = 0) -> None:
    """Prove the separation of ``folds`` on the data they split.

    Raises BadInput naming a fold with a block without labelled rows, and Refused naming the fold whose bounds are out
    of order, whose labels reach into a later block, or whose test overlaps the one before.
    """
    if not folds:
        raise Refused("folds: 0 given; walk-forward has at least two")
    previous_end = -NEVER_NS
    for position, fold in enumerate(folds):
        name = f"fold {fold.index}"
        bounds = (fold.train_start, fold.train_end, fold.calibrate_start)
        bounds += (fold.calibrate_end, fold.test_start, fold.test_end)
        if fold.index != position:
            raise Refused(f"{name} stands at position {position}: folds are numbered from 0 in order of time")
        if list(bounds) != sorted(bounds):
            raise Refused(f"{name}: bounds {bounds} are not in order: train, calibrate, test")
        if fold.test_start < previous_end:
            raise Refused(f"{name}: its test starts at {fold.test_start}, before {previous_end}, the end of the last")
        previous_end = fold.test_end
        for block, start, end, limit in (
            ("train", fold.train_start, fold.train_end, fold.calibrate_start - embargo_ns),
            ("calibrate", fold.calibrate_start, fold.calibrate_end, fold.test_start - embargo_ns),
            ("test", fold.test_start, fold.test_end, NEVER_NS),
        ):
            known = label_known_at[(ts_event >= start) & (ts_event < end) & (label_known_at != NEVER_NS)]
            if not len(known):
                raise BadInput(f"{name}: its {block} block [{start}, {end}) has 0 labelled rows; ingest more history")
            if (latest := int(known.max())) >= limit:
                raise Refused(f"{name}: a {block} label is known at {latest}, not before {limit}: it would leak")


def _purged_end(ts_event: np.ndarray, known_at: np.ndarray, start: int, end: int, limit: int) -> int:
    """The latest end <= ``end`` such that every label in [start, end) is known before ``limit``."""
    late = (ts_event >= start) & (ts_event < end) & (known_at >= limit) & (known_at != NEVER_NS)
    return int(ts_event[late].min()) if late.any() else end
