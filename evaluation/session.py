"""One fold's trading session: the core and its simulated venue over one tape, and what came of it.

Nothing here decides anything: bars and predictions go into ``core.engine``, records come out. The same call serves the
model, the rule baselines, the cost stress and the check against the training framework's predictions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
import numpy as np

from core import config, engine, strategies
from core.errors import BadInput
from core.instruments import Instrument
from core.records import DECISION, FILL, Kind
from core.settings import Strategy, Trading
from evaluation.performance import Curve, curve
from evaluation.trades import round_trips, slippage_paid

S = TypeVar("S", bound=Strategy)


@dataclass(frozen=True, slots=True)
class Account:
    """What an account did in a session: all that the metrics need, small enough to travel between processes."""

    curve: Curve
    trips: np.ndarray  # TRIP
    initial_cash: int  # quote units
    slippage: int  # quote units paid to modelled slippage


@dataclass(frozen=True, slots=True)
class Played:
    """A session that ran: the core's own records and what they add up to."""

    session: engine.Session
    account: Account

    @property
    def fills(self) -> np.ndarray:
        """FILL records in time order."""
        return self._of(Kind.FILL).view(FILL)

    @property
    def decisions(self) -> np.ndarray:
        """DECISION records, one per prediction."""
        return self._of(Kind.DECISION).view(DECISION)

    def _of(self, kind: Kind) -> np.ndarray:
        return self.session.out[self.session.out["kind"] == kind]


def play(
    bars: np.ndarray,
    instruments: Sequence[Instrument],
    predictions: np.ndarray,
    trading: Trading,
    trade_from_ns: int,
) -> Played:
    """Trade ``bars`` (BAR) from a flat account; ``predictions[i]`` arrives after ``bars[i]``, or there are none at all.

    Raises BadInput if the two differ in length, BadConfig if ``trading`` does not hold together.
    """
    if len(predictions) not in (0, len(bars)):
        raise BadInput(f"{len(predictions)} predictions for {len(bars)} bars: each bar has one; run calibrate again")
    built = config.build(trading, instruments)
    rows = np.arange(len(predictions), dtype=np.int64)
    run = engine.session(built, bars, predictions, rows, strategies.of(trading, instruments))
    fills = run.out[run.out["kind"] == Kind.FILL].view(FILL)
    cash = int(built["initial_cash"][0])
    closes, end = last_closes(bars, len(instruments)), int(bars["ts_event"][-1])
    account = Account(
        curve=curve(run.marks, cash, trade_from_ns),
        trips=round_trips(
            fills,
            instruments,
            closes,
            end,
            trading.execution.slippage_ppm,
            may_be_short=trading.account.profile == "margin",
        ),
        initial_cash=cash,
        slippage=slippage_paid(fills, instruments, trading.execution.slippage_ppm),
    )
    return Played(run, account)


def last_closes(bars: np.ndarray, n_instruments: int) -> list[int]:
    """The last close of each instrument in ticks; 0 for one without a bar."""
    closes = [0] * n_instruments
    for instrument in range(n_instruments):
        mine = np.flatnonzero(bars["instrument"] == instrument)
        if len(mine):
            closes[instrument] = int(bars["close"][mine[-1]])
    return closes


def stressed(
    trading: Trading, instruments: Sequence[Instrument], factor: int
) -> tuple[Trading, tuple[Instrument, ...]]:
    """The same session where fees and slippage turn out ``factor`` times as high as the strategy believes.

    The entry threshold is a multiple of modelled cost; dividing the multiple keeps the threshold where it was, so the
    strategy goes on taking the trades it would have taken and pays more for them.
    """
    execution = msgspec.structs.replace(trading.execution, slippage_ppm=trading.execution.slippage_ppm * factor)
    strategy = _less_demanding(trading.strategy, factor)
    several = tuple(_less_demanding(item, factor) for item in trading.strategies)
    dearer = tuple(
        replace(item, maker_fee_ppm=item.maker_fee_ppm * factor, taker_fee_ppm=item.taker_fee_ppm * factor)
        for item in instruments
    )
    return msgspec.structs.replace(trading, execution=execution, strategy=strategy, strategies=several), dearer


def _less_demanding(strategy: S, factor: int) -> S:
    return msgspec.structs.replace(strategy, entry_margin_ppm=strategy.entry_margin_ppm // factor)


def with_rule(trading: Trading, strategy: Strategy) -> Trading:
    """``trading`` under a rule strategy: same account, costs and risk."""
    return msgspec.structs.replace(trading, strategy=strategy, strategies=())


def flips(decisions: np.ndarray, other: np.ndarray) -> int:
    """How many decisions of two sessions over the same bars differ in reason or in side."""
    if len(decisions) != len(other):
        raise BadInput(f"{len(decisions)} decisions against {len(other)}: not sessions over the same bars")
    return int(np.count_nonzero((decisions["reason"] != other["reason"]) | (decisions["side"] != other["side"])))
