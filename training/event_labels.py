"""Labels of events: where the mid is a horizon later, in units of spread or sigma (requirements FEAT-19).

    delta_hat = (mid[t + H] - mid[t]) / max(spread[t], k x sigma[t], 1)        all in ticks

Horizons count events (1, 5, 20) or time (100 ms, 500 ms, 2 s). At t + H of the clock the mid is that of the last event
until then, known when t + H has come; an event's is known with that event. No label reaches across a time without a
price, across a restart of the kernel or beyond its lane, one instrument's UTC day: there it is NaN.
"""

from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from core.canonical import hash_json
from core.settings import Section, decimal
from features.market_state import RESTART_GAP_NS
from training.labels import NEVER_NS
from training.targets import PRIOR, shares_of

EVENT_HORIZONS: Final = (1, 5, 20)
CLOCK_HORIZONS_NS: Final = (100_000_000, 500_000_000, 2_000_000_000)
COLUMNS: Final = ("delta_1", "delta_5", "delta_20", "delta_100ms", "delta_500ms", "delta_2s")
_LABEL_VERSION: Final = 1  # raise it when the rule changes


class EventLabelParams(Section, frozen=True, kw_only=True):
    """Section ``event_labels`` of params.yaml."""

    k_sigma: str = "0.5"  # k: how many sigma count as much as the spread

    def __post_init__(self) -> None:
        decimal("event_labels.k_sigma", self.k_sigma, "0", "10")

    def as_json(self) -> dict[str, Any]:
        """The labels' specification as canonical JSON data."""
        return {
            "label_version": _LABEL_VERSION,
            "kind": "delta_hat",
            "columns": list(COLUMNS),
            "event_horizons": list(EVENT_HORIZONS),
            "clock_horizons_ns": list(CLOCK_HORIZONS_NS),
            "k_sigma": str(Decimal(self.k_sigma).normalize()),
            "known_at": "ts of the later event, or t + H",
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the specification."""
        return hash_json(self.as_json())


@dataclass(frozen=True, slots=True)
class EventLabels:
    """(n, 6), columns COLUMNS; without a label NaN and NEVER_NS."""

    delta_hat: np.ndarray  # float32
    known_at: np.ndarray  # int64 ns


def make(states: np.ndarray, extra: np.ndarray, ready: np.ndarray, params: EventLabelParams) -> EventLabels:
    """Label one lane: ``states`` (n,) MARKET_STATE, ``extra`` (n,) EXTRA, ``ready`` (n,) bool, in order."""
    n, ts, mid2 = len(states), states["ts"], extra["mid2"]
    delta_hat, known_at = np.full((n, len(COLUMNS)), np.nan, np.float32), np.full((n, len(COLUMNS)), NEVER_NS)
    if n == 0:
        return EventLabels(delta_hat, known_at)
    silent = np.diff(ts, prepend=ts[:1]) > RESTART_GAP_NS
    segment = np.cumsum(silent | (mid2 == 0))
    scale = np.maximum(np.maximum(states["spread_ticks"], float(Decimal(params.k_sigma)) * extra["sigma"]), 1.0)
    now = np.arange(n)
    for column, (later, known) in enumerate(_horizons(ts)):
        usable = (later < n) & ready & (mid2 != 0)
        row, end = now[usable], later[usable]
        whole = (segment[row] == segment[end]) & (mid2[end] != 0)
        row, end = row[whole], end[whole]
        delta_hat[row, column] = 0.5 * (mid2[end] - mid2[row]) / scale[row]
        known_at[row, column] = known[row]
    return EventLabels(delta_hat, known_at)


def look_ahead(ts: np.ndarray, stop: int) -> int:
    """Up to which row of ``ts``, ascending, ``make`` must see a lane to label the rows before ``stop``."""
    last = int(ts[stop - 1]) + max(CLOCK_HORIZONS_NS)
    return min(len(ts), max(stop + max(EVENT_HORIZONS), bisect_right(ts, last, lo=stop) + 1))


def counts(delta_hat: np.ndarray) -> np.ndarray:
    """How many labels (n, 6) of each horizon went down, nowhere and up: (6, 3) int64."""
    signs = np.sign(delta_hat)
    return np.stack([(signs == sign).sum(axis=0) for sign in (-1, 0, 1)], axis=1)


def priors(past: np.ndarray) -> np.ndarray:
    """``counts`` of a lane's past days as (6,) PRIOR without a day: their sum, each class's share, NaN of nothing."""
    made = np.zeros(len(past), PRIOR)
    made["count"], made["share"] = shares_of(past)
    return made


def _horizons(ts: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per horizon the later row of each row, n where there is none, and when its price is known, ns."""
    n, made = len(ts), []
    for events in EVENT_HORIZONS:
        later = np.minimum(np.arange(n) + events, n)
        made.append((later, ts[np.minimum(later, n - 1)]))
    for horizon in CLOCK_HORIZONS_NS:
        later = np.searchsorted(ts, ts + horizon, side="right") - 1
        made.append((np.where(ts + horizon <= ts[-1], later, n), ts + horizon))
    return made
