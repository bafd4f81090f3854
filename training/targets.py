"""More to learn from than a direction: triple barriers, big moves, quantiles, and how often each class came so far.

All of it is of bars, in units of sigma over the label's horizon, row by row with ``training.labels``:

* barrier: which comes first after a bar's close, a rise by ``take_profit_sigma``, a fall by ``stop_loss_sigma`` or the
  end of ``barrier_minutes`` (Lopez de Prado, Advances in Financial Machine Learning, 2018, section 3.4). A bar that
  holds both is a stop; a bar that opens beyond a barrier is left at its open. A missing bar may hide either: no label.
* big move: whether the label's return is beyond ``big_move_sigma``.
* quantile: the return's place among those that became known in the ``quantile_days`` UTC days before its own.
* priors: per UTC day the share of each class among all labels known before it began (requirements FEAT-21).
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np

from core.canonical import hash_json
from core.errors import BadConfig
from core.records import DAY_NS, MINUTE_NS
from core.settings import Section, decimal, within
from training.labels import HORIZON_MINUTES_MAX, NEVER_NS, NULL, Labels

STOP: Final = 0
TIMEOUT: Final = 1
PROFIT: Final = 2
CLASSES: Final = 3  # of a direction and of a barrier
PRIOR: Final = np.dtype([("day", "<i8"), ("count", "<i8"), ("share", "<f8", (CLASSES,))])
_PAST_PER_QUANTILE: Final = 20  # fewer past returns than this for each quantile make no cut points
_CHUNK_ROWS: Final = 65_536
_VERSION: Final = 1  # raise it when a rule changes


class TargetParams(Section, frozen=True, kw_only=True):
    """Section ``targets`` of params.yaml."""

    barrier_minutes: int = 60
    take_profit_sigma: str = "1.5"
    stop_loss_sigma: str = "1.5"
    big_move_sigma: str = "2"
    quantiles: int = 5
    quantile_days: int = 30

    def __post_init__(self) -> None:
        within("targets.barrier_minutes", self.barrier_minutes, 1, HORIZON_MINUTES_MAX)
        for name in ("take_profit_sigma", "stop_loss_sigma", "big_move_sigma"):
            decimal(f"targets.{name}", getattr(self, name), "0.01", "100")
        within("targets.quantiles", self.quantiles, 2, 100)
        within("targets.quantile_days", self.quantile_days, 1, 3_650)

    @property
    def barrier_ns(self) -> int:
        """The time after which neither barrier counts, ns."""
        return self.barrier_minutes * MINUTE_NS

    def as_json(self) -> dict[str, Any]:
        """The targets' specification as canonical JSON data."""
        return {
            "target_version": _VERSION,
            "barrier_ns": self.barrier_ns,
            **{
                name: str(Decimal(getattr(self, name)).normalize())
                for name in ("take_profit_sigma", "stop_loss_sigma", "big_move_sigma")
            },
            "quantiles": self.quantiles,
            "quantile_days": self.quantile_days,
            "known_at": "barrier: ts_known of the bar that ends it; others: as the label",
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the specification."""
        return hash_json(self.as_json())


@dataclass(frozen=True, slots=True)
class Barriers:
    """Row-aligned with the bars they were made from; rows without a label hold NULL, NEVER_NS and 0."""

    label: np.ndarray  # int8: STOP, TIMEOUT, PROFIT or NULL
    known_at: np.ndarray  # int64, ns
    label_return: np.ndarray  # float32: log return to where it ended, in sigma


def barriers(bars: np.ndarray, sigma: np.ndarray, interval_ns: int, params: TargetParams) -> Barriers:
    """Triple barriers of ``bars`` (dtype BAR, instruments interleaved), ``sigma`` (rows,) as for ``labels.make``.

    Raises BadConfig if the barriers' time is no multiple of ``interval_ns``.
    """
    if params.barrier_ns % interval_ns:
        raise BadConfig(
            f"targets.barrier_minutes is {params.barrier_minutes}, bars are {interval_ns // MINUTE_NS} minutes: "
            "use a multiple"
        )
    made = Barriers(np.full(len(bars), NULL, np.int8), np.full(len(bars), NEVER_NS), np.zeros(len(bars), np.float32))
    for instrument in np.unique(bars["instrument"]):
        rows = np.flatnonzero(bars["instrument"] == instrument)
        _of_one(bars[rows], sigma[rows], interval_ns, params, rows, made)
    return made


def _of_one(
    bars: np.ndarray, sigma: np.ndarray, interval_ns: int, params: TargetParams, rows: np.ndarray, made: Barriers
) -> None:
    """Step by step ahead, all rows that have not ended yet at once; rows go into ``made`` as they end."""
    up, down = float(Decimal(params.take_profit_sigma)), float(Decimal(params.stop_loss_sigma))
    profit, stop = bars["close"] * np.exp(up * sigma), bars["close"] * np.exp(-down * sigma)
    steps = params.barrier_ns // interval_ns
    waiting = np.flatnonzero(sigma > 0)
    for step in range(1, steps + 1):
        waiting = waiting[waiting + step < len(bars)]
        waiting = waiting[bars["ts_event"][waiting + step] == bars["ts_event"][waiting] + step * interval_ns]
        bar = bars[waiting + step]
        lost, won = bar["low"] <= stop[waiting], bar["high"] >= profit[waiting]
        ended = lost | won if step < steps else np.ones(len(waiting), bool)
        left_at = np.where(won, np.maximum(profit[waiting], bar["open"]), bar["close"])
        left_at = np.where(lost, np.minimum(stop[waiting], bar["open"]), left_at)
        row, moved = waiting[ended], np.log(left_at[ended] / bars["close"][waiting[ended]])
        made.label[rows[row]] = np.where(lost, STOP, np.where(won, PROFIT, TIMEOUT))[ended]
        made.known_at[rows[row]] = bar["ts_known"][ended]
        made.label_return[rows[row]] = moved / sigma[row]
        waiting = waiting[~ended]


def big_moves(labels: Labels, params: TargetParams) -> np.ndarray:
    """Whether each label's return is a big move, up or down: int8 1, 0 or NULL; known with the label."""
    beyond = np.abs(labels.label_return) > float(Decimal(params.big_move_sigma))
    return np.where(labels.label == NULL, NULL, beyond).astype(np.int8)


def quantiles(
    days: np.ndarray, starts: np.ndarray, labels: Labels, horizon_ns: int, params: TargetParams, out: np.ndarray
) -> None:
    """Each label's quantile into ``out`` (rows,) int8, 0 the lowest; NULL without a label or enough of a past.

    ``days`` (d,) int64: the UTC days of the rows' ``ts_known``, ascending; day k's rows begin at ``starts[k]``, of
    d + 1. A label is known at most ``horizon_ns`` and a day after its row. Memory is that of ``quantile_days``.
    """
    shares = np.arange(1, params.quantiles) / params.quantiles
    for k, day in enumerate(days.tolist()):
        since = day - params.quantile_days
        oldest = int(starts[np.searchsorted(days, since - 1 - horizon_ns // DAY_NS)])
        known_at, own = labels.known_at[oldest : starts[k]], slice(starts[k], starts[k + 1])
        past = labels.label_return[oldest : starts[k]][(known_at >= since * DAY_NS) & (known_at < day * DAY_NS)]
        place = np.full(starts[k + 1] - starts[k], NULL)
        if len(past) >= _PAST_PER_QUANTILE * params.quantiles:
            place = np.searchsorted(np.quantile(past, shares), labels.label_return[own], side="right")
        out[own] = np.where(labels.label[own] == NULL, NULL, place)


def priors(days: np.ndarray, label: np.ndarray, known_at: np.ndarray) -> np.ndarray:
    """Per UTC day of ``days`` (ascending) what was known of the classes when it began: dtype PRIOR, one row a day.

    ``count`` labels, and the share of each class among them; NaN where there were none. A label counts from the day
    after the one it became known in.
    """
    counts = np.zeros((len(days) + 1, CLASSES), np.int64)
    for start in range(0, len(label), _CHUNK_ROWS):
        held = label[start : start + _CHUNK_ROWS] != NULL
        known_day = known_at[start : start + _CHUNK_ROWS][held] // DAY_NS
        joins = np.searchsorted(days, known_day, side="right")  # the first day that begins later
        np.add.at(counts, (joins, label[start : start + _CHUNK_ROWS][held]), 1)
    made = np.zeros(len(days), PRIOR)
    made["day"] = days
    made["count"], made["share"] = shares_of(counts.cumsum(axis=0)[:-1])
    return made


def shares_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of ``counts`` (..., classes) and each class's share of it, NaN of nothing."""
    total = counts.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return total, counts / total[..., None]
