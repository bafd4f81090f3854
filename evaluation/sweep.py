"""Parameter sweeps: every point of a grid is one session of the core that trades, on as many processes as there are.

The tape and the predictions are opened, as memory maps, and the compiled kernels loaded once, before the workers are
forked. A worker takes point numbers and sends figures back, so neither records nor settings travel. A point depends on
its number only: the results are the same bytes on any number of processes and in any order of completion.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np

from core import config, engine, strategies, ticks
from core.errors import BadConfig, BadInput, require
from core.layout import zeros
from core.records import BAR, DAY_NS, FILL, MARK, PPM, PREDICTION, RECORD, Kind, RiskState, Verdict
from core.settings import Trading
from evaluation.grid import Grid
from evaluation.inputs import RULES
from evaluation.performance import Curve, daily_returns, drawdown, growth_of
from evaluation.processes import numbered
from evaluation.statistics import deflated_sharpe, moments, utc_day
from evaluation.summary import DAYS_PER_YEAR
from evaluation.trades import fees_paid
from feeds.tape import Tape

MARKS: Final = 8192  # rows that a session is advanced by
BOOK_RULES: Final = ("mean_revert", "mm1")  # strategies that trade a book without predictions


@dataclass(frozen=True, slots=True)
class Study:
    """What is swept."""

    tape: Path  # verified by whoever made this
    predictions: Path | None  # .npy of PREDICTION, one per bar
    sigma_latency_ns: int | None  # the predictions only carry a sigma, at this decision latency; None: a model's
    grid: Grid


@dataclass(frozen=True, slots=True)
class Figures:
    """What one session came to."""

    net_return: float
    max_drawdown: float
    sharpe_daily: float | None  # None: the daily returns do not vary
    skew: float  # of the daily returns, as kurtosis (a normal has 3)
    kurtosis: float
    days: int
    fills: int
    orders_refused: int  # by a limit
    fees: str  # quote
    final_equity: str  # quote
    risk_state: str  # at the end: NORMAL, or what a limit did to the account

    @property
    def sharpe_annual(self) -> float | None:
        """The Sharpe ratio of a year of such days."""
        return None if self.sharpe_daily is None else self.sharpe_daily * DAYS_PER_YEAR**0.5


@dataclass(frozen=True, slots=True)
class Point:
    """One combination of values: the figures of its session, or why it was refused."""

    values: tuple[Any, ...]
    figures: Figures | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Ended:
    """A session that ran."""

    telling: np.ndarray  # RECORD: its fills and refused checks
    state: np.ndarray  # (1,) STATE
    grown: Curve
    deepest: float  # drawdown


class Market:
    """An opened study. Every session reads the same memory."""

    def __init__(self, study: Study) -> None:
        self.grid, self.sigma_latency_ns = study.grid, study.sigma_latency_ns
        self.tape = Tape.open(study.tape, verify=False)
        self.start_ns = int(self.tape.meta.get("trade_from_ns", -1))
        self.predictions = np.zeros(0, PREDICTION)
        if study.predictions is not None:
            self.predictions = np.load(study.predictions, mmap_mode="r", allow_pickle=False).view(PREDICTION)
        in_tape = self.tape.interval_ns == 0 and bool((self.tape.records["kind"] == Kind.PREDICTION).any())
        self.out, self.marks = zeros(16 * engine.OUT_PER_INPUT, RECORD), zeros(MARKS, MARK)  # every session's buffers
        self.has_model = in_tape or (study.predictions is not None and study.sigma_latency_ns is None)

    def load(self) -> None:
        """Load, or compile, what the sessions call, by one without records: of the first point that can be traded."""
        for index in range(len(self.grid)):
            try:
                trading = self.grid.trading(index)
                built = config.build(trading, self.tape.instruments)
                strategy = strategies.of(trading, self.tape.instruments)
            except BadInput:
                continue  # ``point`` will say why
            none = self.tape.records[:0]
            if self.tape.interval_ns > 0:
                state, venue, rows = engine.new_state(built), engine.new_venue(built), np.zeros(0, np.int64)
                nothing = self.predictions[:0]
                engine.run(built, state, venue, none.view(BAR), nothing, rows, 0, self.out, self.marks, strategy)
            else:
                ticks.start(built, none, strategy).advance(1)
            return

    def point(self, index: int) -> Point:
        """Trade point ``index`` from a flat account; a point that cannot be traded says why."""
        values = self.grid.values(index)
        try:
            return Point(values, self._play(self.grid.trading(index)))
        except BadInput as error:
            return Point(values, None, str(error))

    def _play(self, trading: Trading) -> Figures:
        built = config.build(trading, self.tape.instruments)
        self._require_tradable(trading)
        strategy = strategies.of(trading, self.tape.instruments)
        play = self._play_bars if self.tape.interval_ns > 0 else self._play_book
        return self._figures(play(built, strategy, trading.execution.decision_latency_ns))

    def _require_tradable(self, trading: Trading) -> None:
        """Raise BadConfig if a strategy of ``trading`` would wait for records that there are none of."""
        rules = RULES if self.tape.interval_ns > 0 else BOOK_RULES
        for strategy in trading.strategies or (trading.strategy,):
            if not self.has_model and strategy.kind not in rules:
                needed = "--predictions, or" if self.tape.interval_ns > 0 else "a tape that holds some, or"
                raise BadConfig(
                    f"strategy {strategy.kind} trades on what {self.tape.path.name} does not hold, a model's "
                    f"predictions or another kind of records: give {needed} a strategy of {', '.join(rules)}"
                )

    def _predictions(self, latency_ns: int) -> np.ndarray:
        """One PREDICTION per bar; those that only carry a sigma are known ``latency_ns`` after their bar."""
        if self.sigma_latency_ns is None or self.sigma_latency_ns == latency_ns:
            return self.predictions
        moved = np.array(self.predictions)
        moved["ts_known"] += latency_ns - self.sigma_latency_ns
        return moved

    def _play_bars(self, built: np.ndarray, strategy: strategies.Compiled, latency_ns: int) -> "_Ended":
        """A session in pieces that stay in the processor's cache: of each only what the figures need is kept."""
        bars, predictions = self.tape.records.view(BAR), self._predictions(latency_ns)
        rows = np.arange(len(predictions), dtype=np.int64)
        state, venue = engine.new_state(built), engine.new_venue(built)
        kept: list[np.ndarray] = []
        columns: list[list[np.ndarray]] = [[], [], []]
        row = 0
        while row < len(bars):
            before = row
            row, _, made, marked = engine.run(
                built, state, venue, bars, predictions, rows, row, self.out, self.marks, strategy
            )
            require(row > before, f"the session stopped at row {row} of {len(bars)}")
            kept.append(_telling(self.out[:made]))
            for column, name in zip(columns, ("ts_event", "equity", "exposure"), strict=True):
                column.append(self.marks[name][:marked].copy())
        ts, equity, exposure = map(np.concatenate, columns)
        grown = growth_of(ts, equity, exposure, int(built["initial_cash"][0]), self.start_ns)
        return _Ended(np.concatenate(kept), state, grown, float(drawdown(grown.growth).max()))

    def _play_book(self, built: np.ndarray, strategy: strategies.Compiled, latency_ns: int) -> "_Ended":
        """A session whose account is looked at when each UTC day ends; the core itself keeps the drawdown."""
        run = ticks.start(built, self.tape.records, strategy)
        known = self.tape.records["ts_known"]
        days = np.unique(utc_day(known))
        ends = np.searchsorted(known, (days + 1) * DAY_NS, side="right")
        equity = []
        for row in [*ends[:-1].tolist(), len(known) + 1]:
            run.advance(row)
            equity.append(int(run.state[0]["account"]["equity"]))
        growth = np.array(equity, np.float64) / int(built["initial_cash"][0])
        grown = Curve(ts=known[ends - 1].astype(np.int64), growth=growth, exposure=np.zeros(len(days)))
        return _Ended(_telling(run.out), run.state, grown, int(run.state[0]["risk"]["drawdown_max_ppm"]) / PPM)

    def _figures(self, ended: "_Ended") -> Figures:
        out, state, grown = ended.telling, ended.state, ended.grown
        fills, refused = out[out["kind"] == Kind.FILL].view(FILL), out[out["kind"] == Kind.CHECK]
        unit = Decimal(self.tape.instruments[0].quote_unit)
        _, returns = daily_returns(grown)
        spread = float(np.std(returns))
        skew, kurtosis = moments(returns)
        return Figures(
            net_return=float(grown.growth[-1]) - 1.0,
            max_drawdown=ended.deepest,
            sharpe_daily=float(np.mean(returns)) / spread if spread > 0 else None,
            skew=skew,
            kurtosis=kurtosis,
            days=len(returns),
            fills=len(fills),
            orders_refused=len(refused),
            fees=str(fees_paid(fills, self.tape.instruments) * unit),
            final_equity=str(int(state[0]["account"]["equity"]) * unit),
            risk_state=RiskState(int(state[0]["risk"]["state"])).name,
        )


def _telling(out: np.ndarray) -> np.ndarray:
    """A copy of what the figures need of the records put out: fills, and the checks that refused an order."""
    kind = out["kind"].copy()  # records lie 64 bytes apart: one walk over them, not three
    found = out[np.flatnonzero((kind == Kind.FILL) | (kind == Kind.CHECK))]
    return found[(found["kind"] == Kind.FILL) | (found["flags"] == Verdict.REFUSED)]


def run(study: Study, jobs: int, report: Callable[[int], None]) -> list[Point]:
    """Every point of the grid in its order, on ``jobs`` processes; ``report`` hears how many more are done.

    Raises BadInput if a worker was killed, for which memory is the usual reason.
    """
    market = Market(study)
    market.load()
    return numbered(len(study.grid), jobs, market.point, report, "sweep")


def best_sharpe(points: Sequence[Point]) -> Point | None:
    """The point with the highest Sharpe ratio, the first of equals; None if none has one."""
    best, highest = None, -math.inf
    for point in points:
        sharpe = point.figures.sharpe_daily if point.figures else None
        if sharpe is not None and sharpe > highest:
            best, highest = point, sharpe
    return best


def luck_corrected(best: Point, points: Sequence[Point]) -> float | None:
    """Deflated Sharpe ratio of ``best`` among all ``points`` that traded; None where it is undefined."""
    figures = best.figures
    if figures is None or figures.sharpe_daily is None:
        return None
    tried = [point.figures.sharpe_daily or 0.0 for point in points if point.figures is not None]
    try:
        return deflated_sharpe(figures.sharpe_daily, figures.days, figures.skew, figures.kurtosis, tried)
    except BadInput:  # a day or two: moments that no distribution has
        return None
