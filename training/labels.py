"""Labels: where the price of the same instrument is one horizon later, in units of what was expected then.

The label of a bar at ``ts_event`` t compares its close with the close of the bar at exactly t + horizon. If that bar
does not exist (an outage, the end of the tape) there is no label: nothing is filled and nothing reaches across a gap.
A label is known when the later bar is: ``known_at`` is that bar's ``ts_known``; purging is derived from it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from core.canonical import hash_json
from core.errors import require
from core.records import MINUTE_NS
from core.settings import Section, decimal, within

DOWN: Final = 0
FLAT: Final = 1
UP: Final = 2
NULL: Final = -128  # no label
HORIZON_MINUTES_MAX: Final = 30 * 1_440
NEVER_NS: Final = 2**63 - 1  # known_at of a row without a label

_LABEL_VERSION: Final = 1  # raise it when the rule changes


class LabelParams(Section, frozen=True, kw_only=True):
    """Section ``labels`` of params.yaml."""

    horizon_minutes: int = 15
    dead_zone_sigma: str = "0.25"  # a return within +- this many sigma is FLAT

    def __post_init__(self) -> None:
        within("labels.horizon_minutes", self.horizon_minutes, 1, HORIZON_MINUTES_MAX)
        decimal("labels.dead_zone_sigma", self.dead_zone_sigma, "0", "10")

    @property
    def horizon_ns(self) -> int:
        """The horizon in ns."""
        return self.horizon_minutes * MINUTE_NS

    def as_json(self) -> dict[str, Any]:
        """The label's specification as canonical JSON data: the manifest's ``label_spec``."""
        return {
            "label_version": _LABEL_VERSION,
            "kind": "direction",
            "horizon_ns": self.horizon_ns,
            "dead_zone_sigma": str(Decimal(self.dead_zone_sigma).normalize()),
            "classes": ["down", "flat", "up"],
            "known_at": "ts_known of the bar one horizon later",
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the specification."""
        return hash_json(self.as_json())


@dataclass(frozen=True, slots=True)
class Labels:
    """Row-aligned with the bars they were made from; rows without a label hold NULL, NEVER_NS and 0."""

    label: np.ndarray  # int8: DOWN, FLAT, UP or NULL
    known_at: np.ndarray  # int64, ns
    label_return: np.ndarray  # float32: log return over the horizon in units of sigma


def make(bars: np.ndarray, sigma: np.ndarray, params: LabelParams) -> Labels:
    """Label ``bars`` (dtype BAR, instruments interleaved, each in order of ``ts_event``).

    ``sigma`` (rows,) is the standard deviation of the return over the horizon as known at each bar, as a fraction; a
    row whose sigma is 0 (kernel not ready) gets no label.
    """
    require(len(sigma) == len(bars), f"{len(sigma)} values of sigma for {len(bars)} bars")
    label = np.full(len(bars), NULL, np.int8)
    known_at = np.full(len(bars), NEVER_NS, np.int64)
    label_return = np.zeros(len(bars), np.float32)
    dead_zone = float(Decimal(params.dead_zone_sigma))
    for instrument in np.unique(bars["instrument"]):
        rows = np.flatnonzero(bars["instrument"] == instrument)
        now, later = _pairs(bars["ts_event"][rows], params.horizon_ns)
        now, later = rows[now], rows[later]
        warm = sigma[now] > 0
        now, later = now[warm], later[warm]
        scaled = np.log(bars["close"][later] / bars["close"][now]) / sigma[now]
        label[now] = np.where(scaled > dead_zone, UP, np.where(scaled < -dead_zone, DOWN, FLAT))
        known_at[now] = bars["ts_known"][later]
        label_return[now] = scaled
    return Labels(label, known_at, label_return)


def still_open(bars: np.ndarray, horizon_ns: int) -> np.ndarray:
    """Which rows' horizon has not passed on their own instrument's clock: more bars may still label them. Bool."""
    result = np.zeros(len(bars), bool)
    for instrument in np.unique(bars["instrument"]):
        own = bars["instrument"] == instrument
        result |= own & (bars["ts_event"] + horizon_ns > bars["ts_event"][own].max())
    return result


def _pairs(ts_event: np.ndarray, horizon_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (now, later) in increasing ``ts_event`` whose times differ by exactly the horizon."""
    later = np.searchsorted(ts_event, ts_event + horizon_ns)
    now = np.flatnonzero(later < len(ts_event))
    now = now[ts_event[later[now]] == ts_event[now] + horizon_ns]
    return now, later[now]
