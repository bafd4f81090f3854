"""The core's step: one record in, records out. Everything that touches money happens below this file's functions.

Fixed order for every input: apply the event -> mark to market -> risk state machine -> sweep (what HALT and FLATTEN
demand) -> decide -> size -> nine-step chain -> intent. Time is the latest ``ts_known`` seen; there is no other clock.

Bars and predictions are decided on as they arrive, books when a TIMER says so. A book may be torn between the records
of one message, so the account is valued at its mid only at a record flagged LAST.
"""

from typing import Any, Final

import numpy as np

from core import book as books
from core import bracket, chase, decide, forced, orders, pace, portfolio, quoting, risk, sending
from core.errors import BadInput, BrokenInvariant
from core.jit import inlined, kernel, rare
from core.records import (
    PPM,
    Action,
    MarketFlag,
    MarketStatus,
    Metric,
    OrderState,
    PredictionFlag,
    Reason,
    Side,
    TransferCause,
)
from core.strategies.compiled import function_at
from core.strategies.wants import NO_OPINION, ON_BAR, ON_PREDICTION, ON_TIMER, QUOTE
from core.units import as_int

OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
REJECTED: Final = int(OrderState.REJECTED)
NEW: Final = int(OrderState.NEW)
PENDING_CANCEL: Final = int(OrderState.PENDING_CANCEL)
WARMUP: Final = int(Reason.WARMUP)
CANCEL_STALE: Final = int(Reason.CANCEL_STALE)
LATE_CANCEL: Final = int(Reason.LATE_CANCEL)
STOP_LOSS: Final = int(Reason.STOP_LOSS)
IS_WARMUP: Final = int(PredictionFlag.WARMUP)
LAST: Final = int(MarketFlag.LAST)
TRADING: Final = int(MarketStatus.TRADING)
AUCTION: Final = int(MarketStatus.AUCTION)
DEPOSIT: Final = int(TransferCause.DEPOSIT)
ADJUSTMENT: Final = int(TransferCause.ADJUSTMENT)
LEDGER: Final = int(Metric.LEDGER)
TRANSFER_REASONS: Final = np.array([0, Reason.DEPOSIT, Reason.WITHDRAWAL, Reason.ADJUSTMENT], np.int64)  # by cause
RATE_MAX_PPM: Final = 100 * PPM  # a predicted return or deviation beyond 100-fold is not a prediction


@inlined
def check_bar(config: np.void, state: np.void, bar: np.void) -> None:
    """Raise BadInput unless ``bar`` is a possible bar and later than the instrument's last one."""
    if bar["instrument"] >= config["n_instruments"]:
        raise BadInput("a bar's instrument index is not in the configuration: the tape and the account differ")
    index = as_int(bar["instrument"])
    low, high = bar["low"], bar["high"]
    if not (1 <= low <= bar["open"] <= high <= config["markets"][index]["price_max"] and low <= bar["close"] <= high):
        raise BadInput("a bar's prices do not satisfy 1 <= low <= open, close <= high <= price_max: validate the tape")
    if bar["volume"] < 0:
        raise BadInput("a bar's volume is below 0: validate the tape")
    if bar["ts_event"] <= state["positions"][index]["view"]["bar"]["ts_event"]:
        raise BadInput("a bar is not later than the instrument's last bar: remove duplicates and sort the tape")


@kernel
def check_prediction(config: np.void, prediction: np.void) -> None:
    """Raise BadInput unless ``prediction`` is one: probabilities within 0..1, rates within 100-fold."""
    if prediction["instrument"] >= config["n_instruments"]:
        raise BadInput("a prediction's instrument index is not in the configuration")
    if not (0 <= prediction["p_down_ppm"] <= PPM and 0 <= prediction["p_up_ppm"] <= PPM):
        raise BadInput("a prediction's probability lies outside 0..1000000 ppm")
    if not -RATE_MAX_PPM <= prediction["edge_ppm"] <= RATE_MAX_PPM:
        raise BadInput("a prediction's edge lies beyond +-100000000 ppm")
    if not 0 <= prediction["sigma_ppm"] <= RATE_MAX_PPM:
        raise BadInput("a prediction's sigma lies outside 0..100000000 ppm")


@inlined
def on_bar(config: np.void, state: np.void, box: np.void, bar: np.void, handles: Any) -> None:
    """A BAR that passed ``check_bar``; what its orders did in it was reported before."""
    index = as_int(bar["instrument"])
    position = state["positions"][index]
    view = position["view"]
    account, now = state["account"], bar["ts_known"]
    if now > account["now_ns"]:
        account["now_ns"] = now
        if now >= state["risk"]["day_end_ns"]:
            forced.react(config, state, box)
    position["previous_close"] = view["bar"]["close"]
    view["bar"] = bar
    if position["base_units"] == 0:  # the account's value stays what it was, and so does its risk
        position["mark2"] = 2 * bar["close"]
        position["price"] = bar["close"]
    else:
        portfolio.mark(config, state, index, 2 * bar["close"])
        if risk.is_due(state):
            forced.react(config, state, box)
    if state["orders"][index]["live"] > 0:
        _cancel_overdue(config, state, box, index)
    view["event"] = ON_BAR
    strategy = function_at(handles["addresses"][index])
    want = strategy(config["markets"][index]["params"], position["memory"], view, position["proposal"])
    if want != NO_OPINION:
        action, side, reason = decide.resolve(config, state, index, want)
        if action != 0:
            decide.act(config, state, box, index, action, side, reason, bar["ts_event"], PPM, 0)
    if position["managed"] == 1:
        _manage(config, state, box, index, True)


@rare
def on_prediction(config: np.void, state: np.void, box: np.void, prediction: np.void, handles: Any) -> None:
    """A PREDICTION; yields exactly one DECISION, and an INTENT if it trades."""
    check_prediction(config, prediction)
    index = as_int(prediction["instrument"])
    position = state["positions"][index]
    view = position["view"]
    _advance(config, state, box, prediction["ts_known"])
    view["prediction"] = prediction
    _judge(config, state, box)
    params, proposal = config["markets"][index]["params"], position["proposal"]
    proposal["in_milliticks"], proposal["edge"], proposal["cost"] = 0, prediction["edge_ppm"], params["cost_ppm"]
    action, side, reason = 0, 0, WARMUP
    if prediction["flags"] & IS_WARMUP == 0:
        view["event"] = ON_PREDICTION
        strategy = function_at(handles["addresses"][index])
        want = strategy(params, position["memory"], view, proposal)
        action, side, reason = decide.resolve(config, state, index, want)
    bar_ts, sigma_ppm = prediction["bar_ts"], prediction["sigma_ppm"]
    if action == 0:
        sending.decision(config, state, box, index, 0, 0, reason, bar_ts, 0, 0)
        position["decided_ts"] = max(position["decided_ts"], bar_ts)
        return
    confidence = max(prediction["p_up_ppm"], prediction["p_down_ppm"])
    decide.act(config, state, box, index, action, side, reason, bar_ts, confidence, sigma_ppm)


@inlined
def on_level(config: np.void, state: np.void, box: np.void, book: np.void, level: np.void) -> None:
    """A LEVEL of ``book``, the instrument's as far as we know it."""
    books.set_level(book, level["side"] == BUY, level["price"], level["qty"])
    if level["flags"] & LAST != 0:
        on_touch(config, state, box, book, as_int(level["instrument"]), level["ts_known"])


@rare
def on_clear(config: np.void, state: np.void, box: np.void, book: np.void, clear: np.void) -> None:
    """A CLEAR of ``book``."""
    books.clear(book, clear["side"] == BUY, clear["price"])
    if clear["flags"] & LAST != 0:
        on_touch(config, state, box, book, as_int(clear["instrument"]), clear["ts_known"])


@kernel
def on_trade(config: np.void, state: np.void, box: np.void, book: np.void, trade: np.void) -> None:
    """A TRADE of others."""
    if trade["flags"] & LAST != 0:
        on_touch(config, state, box, book, as_int(trade["instrument"]), trade["ts_known"])


@kernel
def on_touch(config: np.void, state: np.void, box: np.void, book: np.void, index: int, ts_known: int) -> None:
    """``book`` is whole again: value the position at its mid, if both sides have a price."""
    _advance(config, state, box, ts_known)
    position = state["positions"][index]
    view, bid, ask = position["view"], book["bid"], book["ask"]
    if bid == view["bid"] and ask == view["ask"]:
        return
    view["bid"], view["ask"] = bid, ask
    if bid == 0 or ask == 0:
        return
    if ask > config["markets"][index]["price_max"]:
        raise BadInput("a book's best price is above price_max: validate the tape")
    if position["base_units"] == 0:
        position["mark2"] = bid + ask
        position["price"] = (bid + ask) >> 1
        return
    portfolio.mark(config, state, index, bid + ask)
    _judge(config, state, box)


@rare
def on_timer(config: np.void, state: np.void, box: np.void, ts_known: int, handles: Any) -> None:
    """A TIMER: time to decide, for every instrument with a book."""
    _advance(config, state, box, ts_known)
    for index in range(config["n_instruments"]):
        if state["orders"][index]["live"] > 0:
            _cancel_overdue(config, state, box, index)
        position = state["positions"][index]
        view = position["view"]
        view["event"], view["now_ns"] = ON_TIMER, ts_known
        strategy = function_at(handles["addresses"][index])
        want = strategy(config["markets"][index]["params"], position["memory"], view, position["proposal"])
        if want == QUOTE:
            if not risk.is_closing(state):  # a quote must not take back what is being sold
                quoting.apply(config, state, box, index)
        elif want != NO_OPINION:
            action, side, reason = decide.resolve(config, state, index, want)
            if action != 0:
                is_warm = view["prediction"]["flags"] & IS_WARMUP == 0
                sigma_ppm = view["prediction"]["sigma_ppm"] if is_warm else 0
                decide.act(config, state, box, index, action, side, reason, ts_known, PPM, sigma_ppm)
        if position["managed"] == 1:
            _manage(config, state, box, index, True)


@rare
def on_order(config: np.void, state: np.void, box: np.void, report: np.void) -> None:
    """An ORDER record: the venue (or recovery) reports what became of a request."""
    index = as_int(report["instrument"])
    if index >= config["n_instruments"]:
        raise BrokenInvariant("an order report's instrument index is not in the configuration")
    if not 1 <= report["order_id"] < state["account"]["next_order_id"]:
        raise BrokenInvariant("an order report names an order that was never sent: reconcile first")
    _advance(config, state, box, report["ts_known"])
    orders_of = state["orders"][index]
    k = orders.find(orders_of, report["order_id"])
    if k < 0 or report["reason"] == LATE_CANCEL:
        return  # of an order that ended: said again, or overtaken by its end
    before = orders_of["slots"][k]["state"]
    after = orders.report(orders_of, k, report["state"])
    if after == REJECTED and before != REJECTED:
        risk.venue_reject(config, state, box)
    elif after == NEW and before != NEW:  # said again, or of an order that ended, it says nothing of the venue now
        risk.venue_accept(config, state, box)
    _judge(config, state, box)
    if state["positions"][index]["managed"] == 1:
        _on_managed(config, state, box, index, report, after)


@rare
def on_fill(config: np.void, state: np.void, box: np.void, fill: np.void) -> None:
    """A FILL: a fact. It is booked whatever it is, and once; beyond its order or below zero it halts trading."""
    index = as_int(fill["instrument"])
    if index >= config["n_instruments"] or (fill["side"] != BUY and fill["side"] != SELL):
        raise BrokenInvariant("a fill's instrument or side is not one of this account: reconcile first")
    _advance(config, state, box, fill["ts_known"])
    if portfolio.is_booked(state, fill):
        return
    orders_of, position = state["orders"][index], state["positions"][index]
    k = orders.find(orders_of, fill["order_id"])
    left = orders.remaining(orders_of["slots"][k]) if k >= 0 else 0
    was_flat, held = portfolio.is_flat(config, state, index), position["view"]["lots"]
    within = orders.apply_fill(orders_of, k, fill)
    portfolio.book_fill(config, state, fill)
    pace.on_fill(config, state, fill)
    risk.venue_accept(config, state, box)  # what fills was accepted, whether the venue said so or not
    if not within:
        risk.fact_beyond_limit(state, box, fill["qty"], left)
    if config["is_margin"] == 0:
        if state["account"]["cash"] < 0:
            risk.fact_beyond_limit(state, box, state["account"]["cash"], 0)
        if position["base_units"] < 0:
            risk.fact_beyond_limit(state, box, position["base_units"], 0)
    is_flat, lots = portfolio.is_flat(config, state, index), position["view"]["lots"]
    if not was_flat and is_flat:
        position["exit_ns"] = state["account"]["now_ns"]
    if (not was_flat and is_flat) or (held > 0 > lots) or (held < 0 < lots):
        pace.round_trip(config, state, box, index)
    _judge(config, state, box)
    if position["managed"] == 1:
        _manage(config, state, box, index, False)


@rare
def on_status(config: np.void, state: np.void, box: np.void, status: np.void) -> None:
    """A STATUS: what the venue lets the instrument do from now on, or until ``until_ns``."""
    position = state["positions"][_index(config, status)]
    if not TRADING <= status["status"] <= AUCTION:
        raise BadInput("a market status is not one that this version knows")
    _advance(config, state, box, status["ts_known"])
    position["status"], position["status_until_ns"] = status["status"], status["until_ns"]
    _judge(config, state, box)  # an exit that a halted market refused may be due


@rare
def on_funding(config: np.void, state: np.void, box: np.void, funding: np.void) -> None:
    """A FUNDING: positions pay or receive it; it is part of what they earn."""
    _index(config, funding)
    _advance(config, state, box, funding["ts_known"])
    portfolio.book_funding(config, state, funding)
    _judge(config, state, box)


@rare
def on_transfer(config: np.void, state: np.void, box: np.void, transfer: np.void) -> None:
    """A TRANSFER: cash or base units from outside. It is no profit, and no loss; an adjustment is both.

    The record of it is a RISK record: it moves what losses are measured from.
    """
    _index(config, transfer)
    if not DEPOSIT <= transfer["cause"] <= ADJUSTMENT:
        raise BadInput("a transfer's cause is not one that this version knows")
    _advance(config, state, box, transfer["ts_known"])
    amount = portfolio.book_transfer(config, state, transfer)
    if transfer["cause"] != ADJUSTMENT:  # books that differed: what was lost or found is lost or found
        risk.transferred(config, state, amount)
    if config["is_margin"] == 0 and state["account"]["cash"] < 0:
        risk.fact_beyond_limit(state, box, state["account"]["cash"], 0)
    reason = TRANSFER_REASONS[transfer["cause"]]
    risk.move(state, box, state["risk"]["state"], reason, LEDGER, amount, 0)
    _judge(config, state, box)


@kernel
def _index(config: np.void, record: np.void) -> int:
    """The instrument of ``record``. Raises BadInput if it is not one of this account's."""
    if record["instrument"] >= config["n_instruments"]:
        raise BadInput("a record's instrument index is not in the configuration")
    return as_int(record["instrument"])


@rare
def on_command(config: np.void, state: np.void, box: np.void, command: np.void) -> None:
    """A COMMAND of the operator."""
    _advance(config, state, box, command["ts_known"])
    risk.command(config, state, box, command["command"])
    _judge(config, state, box)


@kernel
def _advance(config: np.void, state: np.void, box: np.void, ts_known: int) -> None:
    """Time never goes backwards: predictions overtake the bars of other instruments that closed with theirs."""
    account = state["account"]
    if ts_known > account["now_ns"]:
        account["now_ns"] = ts_known
        if ts_known >= state["risk"]["day_end_ns"]:
            forced.react(config, state, box)


@kernel
def _judge(config: np.void, state: np.void, box: np.void) -> None:
    """The risk state machine, and what HALT, FLATTEN and short margin demand: almost always nothing."""
    if risk.is_due(state):
        forced.react(config, state, box)


@rare
def _manage(config: np.void, state: np.void, box: np.void, index: int, is_update: bool) -> None:
    """Look after a chase (at an update: when it may move) and after the order that waits to leave."""
    position = state["positions"][index]
    if chase.is_on(position):
        if is_update:
            chase.follow(config, state, box, index)
        elif chase.left(position) <= 0:
            chase.end(position)
    bracket.keep(config, state, box, index)
    if not chase.is_on(position) and position["take_profit"] == 0 and position["stop_loss"] == 0:
        position["managed"] = 0


@rare
def _on_managed(config: np.void, state: np.void, box: np.void, index: int, report: np.void, after: int) -> None:
    """What a report of an order means for the chase and the waiting exit; a rejected exit is tried again later."""
    orders_of = state["orders"][index]
    k = orders.find(orders_of, report["order_id"])
    if report["reason"] == STOP_LOSS and 0 <= k < orders_of["live"]:
        bracket.on_reached(orders_of, k)
    if after == REJECTED:
        chase.end(state["positions"][index])
    else:
        _manage(config, state, box, index, False)


@rare
def _cancel_overdue(config: np.void, state: np.void, box: np.void, index: int) -> None:
    """A venue that lets an order outlive its deadline is asked to cancel it."""
    orders_of = state["orders"][index]
    for k in range(orders_of["live"]):
        order = orders_of["slots"][k]
        if state["account"]["now_ns"] > order["deadline_ns"] and order["state"] != PENDING_CANCEL:
            sending.cancel(config, state, box, index, k, CANCEL_STALE)
