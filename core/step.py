"""The core's step: one record in, records out. Everything that touches money happens below this file's functions.

Fixed order for every input: apply the event -> mark to market -> risk state machine -> sweep (what HALT and FLATTEN
demand) -> decide -> size -> nine-step chain -> intent. Time is the latest ``ts_known`` seen; there is no other clock.
"""

from typing import Any, Final

import numpy as np

from core import decide, orders, portfolio, risk, rules
from core.errors import BadInput, BrokenInvariant
from core.jit import kernel
from core.layout import RATE_SLOTS
from core.outbox import emit
from core.records import PPM, Action, Kind, OrderState, PredictionFlag, Reason, RiskState, Side
from core.strategies import NO_OPINION, ON_BAR, ON_PREDICTION
from core.units import as_int

DECISION: Final = int(Kind.DECISION)
INTENT: Final = int(Kind.INTENT)
OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
CANCEL: Final = int(Action.CANCEL)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
HALT: Final = int(RiskState.HALT)
FLATTEN_STATE: Final = int(RiskState.FLATTEN)
REJECTED: Final = int(OrderState.REJECTED)
NEW: Final = int(OrderState.NEW)
PENDING_CANCEL: Final = int(OrderState.PENDING_CANCEL)
WARMUP: Final = int(Reason.WARMUP)
FLATTEN: Final = int(Reason.FLATTEN)
CANCEL_STALE: Final = int(Reason.CANCEL_STALE)
IS_WARMUP: Final = int(PredictionFlag.WARMUP)
RATE_MAX_PPM: Final = 100 * PPM  # a predicted return or deviation beyond 100-fold is not a prediction


@kernel
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
    if bar["ts_event"] <= state["positions"][index]["bar"]["ts_event"]:
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


@kernel
def on_bar(config: np.void, state: np.void, box: np.void, bar: np.void, strategy: Any) -> None:
    """A BAR that passed ``check_bar``; what its orders did in it was reported before."""
    index = as_int(bar["instrument"])
    position = state["positions"][index]
    _advance(config, state, box, bar["ts_known"])
    position["previous_close"] = position["bar"]["close"]
    position["bar"] = bar
    portfolio.mark(config, state, index, bar["close"])
    risk.update(config, state, box)
    _sweep(config, state, box)
    _cancel_overdue(config, state, box, index)
    want = strategy(
        config["markets"][index]["params"], position["memory"], ON_BAR, position["bar"], position["prediction"]
    )
    if want != NO_OPINION:
        action, reason = decide.resolve(config, state, index, want)
        if action != 0:
            _act(config, state, box, index, action, reason, bar["ts_event"], PPM, 0, 0)


@kernel
def on_prediction(config: np.void, state: np.void, box: np.void, prediction: np.void, strategy: Any) -> None:
    """A PREDICTION; yields exactly one DECISION, and an INTENT if it trades."""
    check_prediction(config, prediction)
    index = as_int(prediction["instrument"])
    position = state["positions"][index]
    _advance(config, state, box, prediction["ts_known"])
    position["prediction"] = prediction
    risk.update(config, state, box)
    _sweep(config, state, box)
    action, reason = 0, WARMUP
    if prediction["flags"] & IS_WARMUP == 0:
        want = strategy(
            config["markets"][index]["params"],
            position["memory"],
            ON_PREDICTION,
            position["bar"],
            position["prediction"],
        )
        action, reason = decide.resolve(config, state, index, want)
    edge_ppm, bar_ts = prediction["edge_ppm"], prediction["bar_ts"]
    if action == 0:
        _decision(config, state, box, index, 0, reason, bar_ts, 0, 0, edge_ppm)
        position["decided_ts"] = max(position["decided_ts"], bar_ts)
        return
    confidence = max(prediction["p_up_ppm"], prediction["p_down_ppm"])
    _act(config, state, box, index, action, reason, bar_ts, confidence, edge_ppm, prediction["sigma_ppm"])


@kernel
def on_order(config: np.void, state: np.void, box: np.void, report: np.void) -> None:
    """An ORDER record: the venue (or recovery) reports what became of a request."""
    index = as_int(report["instrument"])
    if index >= config["n_instruments"]:
        raise BrokenInvariant("an order report's instrument index is not in the configuration")
    order = state["orders"][index]
    if report["order_id"] > order["order_id"]:
        raise BrokenInvariant("an order report names an order that was never sent: reconcile first")
    _advance(config, state, box, report["ts_known"])
    if report["order_id"] < order["order_id"]:
        return  # of an order that ended: said again, or overtaken by its end
    before = order["state"]
    orders.report(order, report["state"])
    if report["state"] == REJECTED and before != REJECTED:
        risk.venue_reject(config, state, box)
    elif report["state"] == NEW:
        risk.venue_accept(config, state, box)
    risk.update(config, state, box)
    _sweep(config, state, box)


@kernel
def on_fill(config: np.void, state: np.void, box: np.void, fill: np.void) -> None:
    """A FILL: a fact. It is booked whatever it is, and once; beyond its order or below zero it halts trading."""
    index = as_int(fill["instrument"])
    if index >= config["n_instruments"] or (fill["side"] != BUY and fill["side"] != SELL):
        raise BrokenInvariant("a fill's instrument or side is not one of this account: reconcile first")
    _advance(config, state, box, fill["ts_known"])
    if portfolio.is_booked(state, fill):
        return
    order, position = state["orders"][index], state["positions"][index]
    left = orders.remaining(order)
    within = orders.apply_fill(order, fill)
    portfolio.book_fill(config, state, fill)
    if not within:
        risk.fact_beyond_limit(state, box, fill["qty"], left)
    if state["account"]["cash"] < 0:
        risk.fact_beyond_limit(state, box, state["account"]["cash"], 0)
    if position["base_units"] < 0:
        risk.fact_beyond_limit(state, box, position["base_units"], 0)
    if fill["side"] == SELL and portfolio.is_flat(config, state, index):
        position["exit_ns"] = state["account"]["now_ns"]
    risk.update(config, state, box)
    _sweep(config, state, box)


@kernel
def on_command(config: np.void, state: np.void, box: np.void, command: np.void) -> None:
    """A COMMAND of the operator."""
    _advance(config, state, box, command["ts_known"])
    risk.command(state, box, command["command"])
    risk.update(config, state, box)
    _sweep(config, state, box)


@kernel
def _advance(config: np.void, state: np.void, box: np.void, ts_known: int) -> None:
    """Time never goes backwards: predictions overtake the bars of other instruments that closed with theirs."""
    account = state["account"]
    if ts_known > account["now_ns"]:
        account["now_ns"] = ts_known
        risk.new_day(config, state, box)


@kernel
def _sweep(config: np.void, state: np.void, box: np.void) -> None:
    """In HALT cancel every live buy; in FLATTEN cancel buys and sell what is held, again until nothing is left."""
    if state["risk"]["state"] < HALT:
        return
    flatten = state["risk"]["state"] == FLATTEN_STATE
    for index in range(config["n_instruments"]):
        order = state["orders"][index]
        if orders.is_live(order):
            if order["side"] == BUY and order["state"] != PENDING_CANCEL:
                _cancel(config, state, box, index, FLATTEN if flatten else CANCEL_STALE)
        elif flatten and not portfolio.is_flat(config, state, index):
            lots = portfolio.sellable_lots(config, state, index)
            if rules.refusal(config, state, index, REDUCE, lots, 0, PPM, False) == 0:
                _submit(config, state, box, index, REDUCE, SELL, lots, FLATTEN)
    risk.end_flatten(config, state, box)


@kernel
def _cancel_overdue(config: np.void, state: np.void, box: np.void, index: int) -> None:
    """A venue that lets an order outlive its deadline is asked to cancel it."""
    order = state["orders"][index]
    overdue = orders.is_live(order) and state["account"]["now_ns"] > order["deadline_ns"]
    if overdue and order["state"] != PENDING_CANCEL:
        _cancel(config, state, box, index, CANCEL_STALE)


@kernel
def _act(
    config: np.void,
    state: np.void,
    box: np.void,
    index: int,
    action: int,
    reason: int,
    bar_ts: int,
    confidence_ppm: int,
    edge_ppm: int,
    sigma_ppm: int,
) -> None:
    """Size the wanted action, take it through the chain, record the DECISION, and the INTENT if it is approved."""
    position = state["positions"][index]
    target, lots, refused = 0, 0, 0
    if action == OPEN:
        target, lots, refused = decide.size_entry(config, state, index, sigma_ppm)
    elif action == REDUCE:
        lots = portfolio.sellable_lots(config, state, index)
    if refused == 0:
        age_ns = state["account"]["now_ns"] - bar_ts
        repeated = bar_ts <= position["decided_ts"]
        refused = rules.refusal(config, state, index, action, lots, age_ns, confidence_ppm, repeated)
    position["decided_ts"] = max(position["decided_ts"], bar_ts)
    if refused != 0:
        _decision(config, state, box, index, 0, refused, bar_ts, target, 0, edge_ppm)
        return
    _decision(config, state, box, index, action, reason, bar_ts, target, lots, edge_ppm)
    if action == CANCEL:
        _cancel(config, state, box, index, reason)
    else:
        _submit(config, state, box, index, action, BUY if action == OPEN else SELL, lots, reason)


@kernel
def _decision(
    config: np.void,
    state: np.void,
    box: np.void,
    index: int,
    action: int,
    reason: int,
    bar_ts: int,
    target: int,
    lots: int,
    edge_ppm: int,
) -> None:
    now = state["account"]["now_ns"]
    cost = config["markets"][index]["params"]["cost_ppm"]
    side = BUY if action == OPEN else (SELL if action == REDUCE else 0)
    emit(box, now, now, DECISION, side, index, reason, action, bar_ts, target, lots, edge_ppm, cost)


@kernel
def _submit(
    config: np.void, state: np.void, box: np.void, index: int, action: int, side: int, lots: int, reason: int
) -> None:
    """Reserve, count and send an approved market order (price 0)."""
    account, position, risk_state = state["account"], state["positions"][index], state["risk"]
    now, order_id = account["now_ns"], account["next_order_id"]
    deadline = now + config["order_ttl_ns"]
    account["next_order_id"] = order_id + 1
    orders.open_slot(state["orders"][index], order_id, side, lots, position["price"], deadline)
    risk_state["submit_ns"][risk_state["submitted"] % RATE_SLOTS] = now
    risk_state["submitted"] += 1
    approval = rules.token(config, order_id, index, side, action, lots, deadline)
    emit(box, now, now, INTENT, side, index, reason, action, order_id, 0, lots, deadline, approval)


@kernel
def _cancel(config: np.void, state: np.void, box: np.void, index: int, reason: int) -> None:
    """Ask for the cancellation of the live order; nothing may refuse that."""
    order, now = state["orders"][index], state["account"]["now_ns"]
    orders.report(order, PENDING_CANCEL)
    side, order_id, deadline = order["side"], order["order_id"], order["deadline_ns"]
    approval = rules.token(config, order_id, index, side, CANCEL, 0, deadline)
    emit(box, now, now, INTENT, side, index, reason, CANCEL, order_id, 0, 0, deadline, approval)
