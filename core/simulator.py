"""The simulated venue on bars: market orders, one working order per instrument, driven by records alone.

Rules, in words and with their reasons in ``docs/simulation.md``. A bar settles what can have happened in it before
the core sees its close: acknowledgement or reject at the order's arrival, then the fill at the bar's open moved
against us by the slippage, then expiry or cancellation of what remains.
"""

from typing import Final

import numpy as np

from core import chance, fees, impact, latency, rules, simulation, units
from core.errors import BrokenInvariant
from core.jit import inlined, kernel
from core.outbox import emit
from core.records import ACTION_MASK, Action, Kind, OrderState, Reason, Side
from core.units import DOWN, UP, as_int, share_ppm

ORDER: Final = int(Kind.ORDER)
FILL: Final = int(Kind.FILL)
BUY: Final = int(Side.BUY)
OPEN: Final = int(Action.OPEN)
CANCEL: Final = int(Action.CANCEL)
NEW: Final = int(OrderState.NEW)
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
CANCEL_STALE: Final = int(Reason.CANCEL_STALE)


@kernel
def submit(config: np.void, venue: np.void, intent: np.void) -> None:
    """Take an INTENT on its way to the venue. Raises BrokenInvariant if risk did not approve exactly this one."""
    rules.verify(config, intent)
    models, index, order_id = config["simulation"], as_int(intent["instrument"]), intent["order_id"]
    order = venue["working"][index]
    number = 2 * order_id + int(intent["flags"] & ACTION_MASK == CANCEL)
    feed_ns = order["last_known_ns"] - order["last_close_ns"]
    travel = simulation.delay_ns(models["request"], models["seed"], REQUEST_LATENCY, index, number, feed_ns)
    arrival = intent["ts_known"] + travel
    if intent["flags"] & ACTION_MASK == CANCEL:
        if order["order_id"] == order_id and order["cancel_ns"] == 0:
            order["cancel_ns"] = latency.in_order(arrival, 0, order["arrival_ns"])
        return
    if order["order_id"] != 0:
        raise BrokenInvariant("the simulated venue got a second order for an instrument whose first one still works")
    order["order_id"] = order_id
    order["side"] = intent["side"]
    order["qty"] = intent["qty"]
    order["filled"] = 0
    order["arrival_ns"] = arrival
    order["deadline_ns"] = intent["deadline_ns"]
    order["cancel_ns"] = 0
    order["acknowledged"] = 0
    late = latency.is_late(intent["ts_known"] - order["last_known_ns"], models["late_decision_ns"])
    order["late"] = int(late and intent["flags"] & ACTION_MASK == OPEN)


@inlined
def on_bar(config: np.void, venue: np.void, box: np.void, bar: np.void) -> None:
    """Settle the instrument's working order in ``bar``; emits ORDER and FILL records."""
    order = venue["working"][as_int(bar["instrument"])]
    opened = order["last_close_ns"]  # no trade of this bar was earlier than the previous bar's close
    order["last_close_ns"] = bar["ts_event"]
    order["last_known_ns"] = bar["ts_known"]
    if order["order_id"] != 0 and order["arrival_ns"] < bar["ts_event"]:
        _settle(config, venue, order, box, bar, opened)


@kernel
def _settle(config: np.void, venue: np.void, order: np.void, box: np.void, bar: np.void, opened: int) -> None:
    """What became of ``order`` in ``bar``, which began no earlier than ``opened``."""
    earliest = max(opened, order["arrival_ns"])
    if order["acknowledged"] == 0:
        rejected = simulation.is_rejected(config["simulation"], as_int(bar["instrument"]), order["order_id"])
        if rejected or not _acceptable(config, order, bar):
            _end(order, box, bar, order["arrival_ns"], REJECTED, VENUE_REJECT)
            return
        order["acknowledged"] = 1
        _report(order, box, bar, order["arrival_ns"], NEW, NONE)
    if _stop_ns(order, earliest) == 0:
        _fill(config, venue, order, box, bar, earliest)
        if order["filled"] == order["qty"]:
            order["order_id"] = 0
            return
    stop = _stop_ns(order, bar["ts_event"])
    if stop > 0 and stop == order["cancel_ns"]:
        _end(order, box, bar, stop, CANCELED, CANCEL_STALE)
    elif stop > 0:
        _end(order, box, bar, stop, EXPIRED_STATE, EXPIRED if order["filled"] > 0 else NO_VOLUME)


@kernel
def _stop_ns(order: np.void, until: int) -> int:
    """When the remainder stops working, if that is no later than ``until``: cancelled or expired, or 0."""
    stop = order["deadline_ns"]
    if 0 < order["cancel_ns"] <= stop:
        stop = order["cancel_ns"]
    return stop if stop <= until else 0


@kernel
def _acceptable(config: np.void, order: np.void, bar: np.void) -> bool:
    """The venue's own filters at the order's arrival, at the only price then known: the bar's open."""
    instrument = config["markets"][as_int(bar["instrument"])]["instrument"]
    if order["qty"] < instrument["min_lots"]:
        return False
    return units.notional(instrument, bar["open"], order["qty"], DOWN) >= instrument["min_notional"]


@kernel
def _fill(config: np.void, venue: np.void, order: np.void, box: np.void, bar: np.void, earliest: int) -> None:
    """Fill what the bar's volume lets through, at its open moved against us."""
    left = order["qty"] - order["filled"]
    volume = bar["volume"]
    if config["participation_ppm"] > 0:
        qty = min(left, share_ppm(volume, config["participation_ppm"], DOWN))
    else:
        qty = left if volume > 0 else 0
    if qty == 0:
        return
    index, is_buy = as_int(bar["instrument"]), order["side"] == BUY
    market, turnover = config["markets"][index], venue["turnover"]
    price = _paid(config, order, bar, qty)
    rate = fees.rate_ppm(market["fees"], fees.volume(market["fees"], turnover, earliest), False)
    charged, asset = fees.charge(market["fees"], market["instrument"], rate, is_buy, price, qty)
    fees.traded(turnover, units.notional(market["instrument"], price, qty, DOWN))
    order["filled"] += qty
    venue["next_exec_id"] += 1
    reason = FILLED if qty == left else PARTIAL
    exec_id, known = venue["next_exec_id"], bar["ts_known"]
    side, order_id = order["side"], order["order_id"]
    emit(box, earliest, known, FILL, side, index, reason, asset, order_id, price, qty, charged, exec_id)


@kernel
def _paid(config: np.void, order: np.void, bar: np.void, qty: int) -> int:
    """The price of ``qty`` lots in ``bar``: its open, after slippage, impact and the charge for a late entry."""
    models, is_buy, opened = config["simulation"], order["side"] == BUY, bar["open"]
    worse = share_ppm(opened, config["slippage_ppm"], UP)
    if order["late"] == 1:
        worse += share_ppm(opened, models["late_slippage_ppm"], UP)
    shift, terms = order["shift_ppm"], models["impact"]
    if terms["temporary_ppm"] > 0 or terms["permanent_ppm"] > 0:
        part = impact.participation_ppm(qty, bar["volume"])
        worse += impact.temporary_ticks(opened, terms["temporary_ppm"], part)
        order["shift_ppm"] = impact.pushed_ppm(shift, terms["permanent_ppm"], part, is_buy)
    moved = impact.shifted_price(opened, shift, is_buy)
    return moved + worse if is_buy else max(1, moved - worse)


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
