"""The simulated venue on bars: market orders, resting limits and stops, driven by records alone.

Rules, in words and with their reasons in ``docs/simulation.md``. A bar settles what can have happened in it before
the core sees its close: acknowledgement or reject at an order's arrival, then fills, then expiry or cancellation of
what remains. A bar does not say in which order its prices came, so what hurts is taken to have come first: a stop
counts with the whole bar, a limit only where the price must have gone through it while the order was at work, and where
both could have been reached the stop was.
"""

from typing import Final

import numpy as np

from core import chance, fees, impact, latency, rules, simulation, units
from core.errors import BrokenInvariant
from core.jit import inlined, kernel, rare
from core.layout import ORDERS_MAX
from core.outbox import emit
from core.records import ACTION_MASK, Action, Kind, OrderFlag, OrderState, Reason, Side
from core.units import DOWN, UP, as_int, share_ppm

ORDER: Final = int(Kind.ORDER)
FILL: Final = int(Kind.FILL)
BUY: Final = int(Side.BUY)
OPEN: Final = int(Action.OPEN)
CANCEL: Final = int(Action.CANCEL)
POST_ONLY: Final = int(OrderFlag.POST_ONLY)
IMMEDIATE: Final = int(OrderFlag.IMMEDIATE)
STOP: Final = int(OrderFlag.STOP)
NEW: Final = int(OrderState.NEW)
PARTIAL_STATE: Final = int(OrderState.PARTIAL)
CANCELED: Final = int(OrderState.CANCELED)
EXPIRED_STATE: Final = int(OrderState.EXPIRED)
REJECTED: Final = int(OrderState.REJECTED)
REQUEST_LATENCY: Final = int(chance.Purpose.REQUEST_LATENCY)
NONE: Final = int(Reason.NONE)
FILLED: Final = int(Reason.FILLED)
PARTIAL: Final = int(Reason.PARTIAL)
VENUE_REJECT: Final = int(Reason.VENUE_REJECT)
EXPIRED: Final = int(Reason.EXPIRED)
NO_VOLUME: Final = int(Reason.NO_VOLUME)
WOULD_CROSS: Final = int(Reason.WOULD_CROSS)
CANCEL_STALE: Final = int(Reason.CANCEL_STALE)
STOP_LOSS: Final = int(Reason.STOP_LOSS)


@rare
def submit(config: np.void, venue: np.void, intent: np.void) -> None:
    """Take an INTENT on its way to the venue. Raises BrokenInvariant if risk did not approve exactly this one."""
    rules.verify(config, intent)
    models, index, order_id = config["simulation"], as_int(intent["instrument"]), intent["order_id"]
    working, action = venue["working"][index], intent["flags"] & ACTION_MASK
    number, feed_ns = 2 * order_id + int(action == CANCEL), working["last_known_ns"] - working["last_close_ns"]
    travel = simulation.delay_ns(models["request"], models["seed"], REQUEST_LATENCY, index, number, feed_ns)
    arrival = intent["ts_known"] + travel
    if action == CANCEL:
        _instruct(working, intent, arrival)
        return
    if working["count"] >= ORDERS_MAX:
        raise BrokenInvariant("the simulated venue got more orders for an instrument than it has slots")
    order, is_stop = working["orders"][working["count"]], intent["flags"] & STOP != 0
    order["order_id"] = order_id
    order["side"] = intent["side"]
    order["qty"] = intent["qty"]
    order["filled"] = 0
    order["limit"] = 0 if is_stop else intent["price"]
    order["stop"] = intent["price"] if is_stop else 0
    order["flags"] = intent["flags"]
    order["arrival_ns"] = arrival
    order["deadline_ns"] = intent["deadline_ns"]
    order["cancel_ns"] = 0
    order["acknowledged"] = 0
    late = latency.is_late(intent["ts_known"] - working["last_known_ns"], models["late_decision_ns"])
    order["late"] = int(late and action == OPEN)
    working["count"] += 1


@kernel
def _instruct(working: np.void, intent: np.void, arrival: int) -> None:
    """A cancel of an order at work, or a stop for it; at price 0 it is a market order from its arrival on."""
    for k in range(working["count"]):
        order = working["orders"][k]
        if order["order_id"] != intent["order_id"]:
            continue
        arrival = latency.in_order(arrival, 0, order["arrival_ns"])
        if intent["flags"] & STOP == 0:
            order["cancel_ns"] = arrival if order["cancel_ns"] == 0 else order["cancel_ns"]
        else:
            order["stop"] = intent["price"]
            if intent["price"] == 0:
                order["limit"], order["flags"], order["arrival_ns"] = 0, 0, arrival


@inlined
def on_bar(config: np.void, venue: np.void, box: np.void, bar: np.void) -> None:
    """Settle the instrument's orders in ``bar``; emits ORDER and FILL records."""
    working = venue["working"][as_int(bar["instrument"])]
    opened = working["last_close_ns"]  # no trade of this bar was earlier than the previous bar's close
    working["last_close_ns"] = bar["ts_event"]
    working["last_known_ns"] = bar["ts_known"]
    if working["count"] > 0:
        _settle_all(config, venue, working, box, bar, opened)


@rare
def _settle_all(config: np.void, venue: np.void, working: np.void, box: np.void, bar: np.void, opened: int) -> None:
    """Oldest first; those that ended make room."""
    left = 0
    for k in range(working["count"]):
        order = working["orders"][k]
        if order["arrival_ns"] < bar["ts_event"]:
            _settle(config, venue, working, order, box, bar, opened)
        if order["order_id"] != 0:
            if k != left:
                working["orders"][left] = order
            left += 1
    working["count"] = left


@kernel
def _settle(
    config: np.void, venue: np.void, working: np.void, order: np.void, box: np.void, bar: np.void, opened: int
) -> None:
    """What became of ``order`` in ``bar``, which began no earlier than ``opened``."""
    earliest = max(opened, order["arrival_ns"])
    if order["acknowledged"] == 0:
        rejected = simulation.is_rejected(config["simulation"], as_int(bar["instrument"]), order["order_id"])
        if rejected or not _acceptable(config, order, bar):
            _end(order, box, bar, order["arrival_ns"], REJECTED, VENUE_REJECT)
            return
        order["acknowledged"] = 1
        if order["flags"] & POST_ONLY != 0 and bar["open"] != order["limit"] and _is_through(order, bar["open"]):
            _end(order, box, bar, order["arrival_ns"], EXPIRED_STATE, WOULD_CROSS)
            return
        _report(order, box, bar, order["arrival_ns"], NEW, NONE)
    if _stop_ns(order, earliest) == 0:
        _execute(config, venue, working, order, box, bar, opened)
        if order["filled"] == order["qty"]:
            order["order_id"] = 0
            return
        if order["flags"] & IMMEDIATE != 0:
            _end(order, box, bar, earliest, EXPIRED_STATE, NO_VOLUME)
            return
    stop = _stop_ns(order, bar["ts_event"])
    if stop > 0 and stop == order["cancel_ns"]:
        _end(order, box, bar, stop, CANCELED, CANCEL_STALE)
    elif stop > 0:
        _end(order, box, bar, stop, EXPIRED_STATE, EXPIRED if order["filled"] > 0 else NO_VOLUME)


@kernel
def _execute(
    config: np.void, venue: np.void, working: np.void, order: np.void, box: np.void, bar: np.void, opened: int
) -> None:
    """Fill what ``bar`` lets through: at market at the open, a stop before a limit."""
    is_buy, limit, stop = order["side"] == BUY, order["limit"], order["stop"]
    earliest = max(opened, order["arrival_ns"])
    if limit == 0 and stop == 0:
        _take(config, venue, working, order, box, bar, earliest, bar["open"])
    elif stop > 0 and (bar["high"] >= stop if is_buy else bar["low"] <= stop):
        order["limit"], order["stop"], order["flags"] = 0, 0, 0  # from now on a market order, in later bars too
        _report(order, box, bar, bar["ts_event"], PARTIAL_STATE if order["filled"] > 0 else NEW, STOP_LOSS)
        reached = max(stop, bar["open"]) if is_buy else min(stop, bar["open"])  # a gap goes past it
        _take(config, venue, working, order, box, bar, bar["ts_event"], reached)
    elif limit > 0:
        before = order["filled"]
        if order["flags"] & POST_ONLY == 0 and order["arrival_ns"] > opened and _is_through(order, bar["open"]):
            _take(config, venue, working, order, box, bar, earliest, bar["open"])
        if before == order["filled"] and order["flags"] & IMMEDIATE == 0 and _stop_ns(order, bar["ts_event"]) == 0:
            extreme = bar["low"] if is_buy else bar["high"]
            seen = extreme if order["arrival_ns"] <= opened else bar["close"]
            if seen != limit and _is_through(order, seen):
                _fill(config, venue, order, box, bar, bar["ts_event"], limit, _lots(config, order, bar), True)


@kernel
def _is_through(order: np.void, price: int) -> bool:
    """``price`` is at the limit of ``order`` or beyond it."""
    limit = order["limit"]
    return limit > 0 and (price <= limit if order["side"] == BUY else price >= limit)


@kernel
def _stop_ns(order: np.void, until: int) -> int:
    """When the remainder stops working, if that is no later than ``until``: cancelled or expired, or 0."""
    stop = order["deadline_ns"]
    if 0 < order["cancel_ns"] <= stop:
        stop = order["cancel_ns"]
    return stop if stop <= until else 0


@kernel
def _acceptable(config: np.void, order: np.void, bar: np.void) -> bool:
    """The venue's own filters at the order's arrival, at the only price then known: its own, or the bar's open."""
    instrument = config["markets"][as_int(bar["instrument"])]["instrument"]
    if order["qty"] < instrument["min_lots"]:
        return False
    price = order["limit"] if order["limit"] > 0 else bar["open"]
    return units.notional(instrument, price, order["qty"], DOWN) >= instrument["min_notional"]


@kernel
def _lots(config: np.void, order: np.void, bar: np.void) -> int:
    """What is left of ``order``, as far as the bar's volume lets it through."""
    left = order["qty"] - order["filled"]
    if config["participation_ppm"] > 0:
        return min(left, share_ppm(bar["volume"], config["participation_ppm"], DOWN))
    return left if bar["volume"] > 0 else 0


@kernel
def _take(
    config: np.void,
    venue: np.void,
    working: np.void,
    order: np.void,
    box: np.void,
    bar: np.void,
    ts_event: int,
    price: int,
) -> None:
    """Fill at ``price`` ticks after slippage, impact and the charge for a late entry, if that is within the limit."""
    qty, models, is_buy = _lots(config, order, bar), config["simulation"], order["side"] == BUY
    if qty == 0:
        return
    worse = share_ppm(price, config["slippage_ppm"], UP)
    worse += latency.late_ticks(price, order["late"], models["late_slippage_ppm"])
    shift, terms, part = working["shift_ppm"], models["impact"], 0
    if terms["temporary_ppm"] > 0 or terms["permanent_ppm"] > 0:
        part = impact.participation_ppm(qty, bar["volume"])
        worse += impact.temporary_ticks(price, terms["temporary_ppm"], part)
    moved = impact.shifted_price(price, shift, is_buy)
    paid = moved + worse if is_buy else max(1, moved - worse)
    if order["limit"] > 0 and not _is_through(order, paid):
        return
    working["shift_ppm"] = impact.pushed_ppm(shift, terms["permanent_ppm"], part, is_buy)
    _fill(config, venue, order, box, bar, ts_event, paid, qty, False)


@kernel
def _fill(
    config: np.void,
    venue: np.void,
    order: np.void,
    box: np.void,
    bar: np.void,
    ts_event: int,
    price: int,
    qty: int,
    is_maker: bool,
) -> None:
    """Report the execution of ``qty`` lots at ``price`` ticks with its fee, and count its volume."""
    if qty == 0:
        return
    index, is_buy = as_int(bar["instrument"]), order["side"] == BUY
    market, turnover = config["markets"][index], venue["turnover"]
    rate = fees.rate_ppm(market["fees"], fees.volume(market["fees"], turnover, ts_event), is_maker)
    charged, asset = fees.charge(market["fees"], market["instrument"], rate, is_buy, price, qty)
    fees.traded(turnover, units.notional(market["instrument"], price, qty, DOWN))
    order["filled"] += qty
    venue["next_exec_id"] += 1
    reason = FILLED if order["filled"] == order["qty"] else PARTIAL
    exec_id, known = venue["next_exec_id"], bar["ts_known"]
    side, order_id = order["side"], order["order_id"]
    emit(box, ts_event, known, FILL, side, index, reason, asset, order_id, price, qty, charged, exec_id)


@kernel
def _report(order: np.void, box: np.void, bar: np.void, ts_event: int, to: int, reason: int) -> None:
    left = order["qty"] - order["filled"]
    index, known = as_int(bar["instrument"]), bar["ts_known"]
    side, order_id = order["side"], order["order_id"]
    emit(box, ts_event, known, ORDER, side, index, reason, 0, order_id, to, order["filled"], left, 0)


@kernel
def _end(order: np.void, box: np.void, bar: np.void, ts_event: int, to: int, reason: int) -> None:
    _report(order, box, bar, ts_event, to, reason)
    order["order_id"] = 0
