"""The simulated exchange on books: our orders queue in recorded markets, at the exchange's own time.

It sees a tape's records at ``ts_event``, before we do, and our requests after the order latency; what it says travels
back for the response latency. Requests and reports never overtake one another. A resting order waits behind what was
shown at its price when it arrived; trades at that price shorten the queue and it is never longer than what is shown
(risk-averse). It fills whole at its own price when the queue is used up, when a trade goes through its price, or when
the other side's best reaches it. A stop executes at market when the best price that it would get has come to it.
``docs/simulation.md`` has the rules with their reasons.
"""

from typing import Final

import numpy as np

from core import book as books
from core import chance, fees, impact, latency, queue, rules, simulation, units
from core.errors import BrokenInvariant
from core.jit import inlined, kernel, rare
from core.layout import ORDERS_MAX, REQUEST_SLOTS, RESPONSE_SLOTS
from core.records import ACTION_MASK, Action, Kind, MarketFlag, MarketStatus, OrderFlag, OrderState, Reason, Side
from core.units import DOWN, as_int

NEVER: Final = 2**62  # ns: later than any record
BUY: Final = int(Side.BUY)
OPEN: Final = int(Action.OPEN)
CANCEL: Final = int(Action.CANCEL)
POST_ONLY: Final = int(OrderFlag.POST_ONLY)
IMMEDIATE: Final = int(OrderFlag.IMMEDIATE)
STOP: Final = int(OrderFlag.STOP)
LAST: Final = int(MarketFlag.LAST)
AT_ONCE: Final = -1  # a stop that is reached whatever the price
OUT_OF_REACH: Final = (NEVER, 0, NEVER)  # by side: a resting order's price that no market comes to
ORDER: Final = int(Kind.ORDER)
FILL: Final = int(Kind.FILL)
NEW: Final = int(OrderState.NEW)
CANCELED: Final = int(OrderState.CANCELED)
EXPIRED_STATE: Final = int(OrderState.EXPIRED)
NONE_STATE: Final = int(OrderState.NONE)
REJECTED: Final = int(OrderState.REJECTED)
PARTIAL_STATE: Final = int(OrderState.PARTIAL)
TRADING: Final = int(MarketStatus.TRADING)
AUCTION: Final = int(MarketStatus.AUCTION)
RISK_AVERSE: Final = int(queue.Queue.RISK_AVERSE)
DECISION_LATENCY: Final = int(chance.Purpose.DECISION_LATENCY)
REQUEST_LATENCY: Final = int(chance.Purpose.REQUEST_LATENCY)
RESPONSE_LATENCY: Final = int(chance.Purpose.RESPONSE_LATENCY)
NONE: Final = int(Reason.NONE)
FILLED: Final = int(Reason.FILLED)
PARTIAL: Final = int(Reason.PARTIAL)
NO_VOLUME: Final = int(Reason.NO_VOLUME)
VENUE_REJECT: Final = int(Reason.VENUE_REJECT)
MARKET_HALTED: Final = int(Reason.MARKET_HALTED)
FILTER_LOT: Final = int(Reason.FILTER_LOT)
FILTER_NOTIONAL: Final = int(Reason.FILTER_NOTIONAL)
WOULD_CROSS: Final = int(Reason.WOULD_CROSS)
LATE_CANCEL: Final = int(Reason.LATE_CANCEL)
CANCEL_STALE: Final = int(Reason.CANCEL_STALE)
STOP_LOSS: Final = int(Reason.STOP_LOSS)


@rare
def send(config: np.void, exchange: np.void, intent: np.void) -> None:
    """Put an INTENT on its way. Raises BrokenInvariant if risk did not approve exactly this one."""
    rules.verify(config, intent)
    tail = exchange["request_tail"]
    if tail - exchange["request_head"] >= REQUEST_SLOTS:
        raise BrokenInvariant("more requests are on their way to the simulated exchange than all order slots can make")
    models, index, order_id = config["simulation"], as_int(intent["instrument"]), intent["order_id"]
    number, feed_ns = 2 * order_id + int(intent["flags"] & ACTION_MASK == CANCEL), exchange["feed_ns"]
    took = simulation.delay_ns(models["decision"], models["seed"], DECISION_LATENCY, index, number, feed_ns)
    travel = simulation.delay_ns(models["request"], models["seed"], REQUEST_LATENCY, index, number, feed_ns)
    arrival = latency.in_order(intent["ts_known"], took + travel, exchange["request_last_ns"])
    request = exchange["requests"][tail & (REQUEST_SLOTS - 1)]
    request["arrival_ns"] = arrival
    request["flags"] = intent["flags"]
    request["order_id"] = intent["order_id"]
    request["instrument"] = intent["instrument"]
    request["side"] = intent["side"]
    request["price"] = intent["price"]
    request["qty"] = intent["qty"]
    request["deadline_ns"] = intent["deadline_ns"]
    late = latency.is_late(took, models["late_decision_ns"])
    request["late"] = int(late and intent["flags"] & ACTION_MASK == OPEN)
    if tail == exchange["request_head"]:
        exchange["request_ns"] = arrival
    exchange["request_tail"] = tail + 1
    exchange["request_last_ns"] = arrival


@rare
def take_request(config: np.void, exchange: np.void, book: np.void, request: np.void) -> None:
    """The first request has arrived; ``book`` is its instrument's at the exchange. Frees its slot."""
    matching = exchange["matching"][request["instrument"]]
    if request["flags"] & ACTION_MASK == CANCEL:
        _cancel(config, exchange, matching, book, request)
    else:
        _enter(config, exchange, matching, book, request)
    head = exchange["request_head"] + 1
    exchange["request_head"] = head
    empty = head == exchange["request_tail"]
    exchange["request_ns"] = NEVER if empty else exchange["requests"][head & (REQUEST_SLOTS - 1)]["arrival_ns"]


@kernel
def _cancel(config: np.void, exchange: np.void, matching: np.void, book: np.void, request: np.void) -> None:
    """A cancel, or the instruction to execute at market from a price on; too late for an order that has ended."""
    for k in range(matching["count"]):
        order = matching["orders"][k]
        if order["order_id"] != request["order_id"]:
            continue
        if request["flags"] & STOP != 0:
            matching["stops"] += int(order["stop"] == 0)
            order["stop"] = request["price"] if request["price"] > 0 else AT_ONCE
            _stop(config, exchange, matching, book, as_int(request["instrument"]), request["arrival_ns"])
            return
        left = order["qty"] - order["filled"]
        _report(config, exchange, request, CANCELED, CANCEL_STALE, order["filled"], left)
        _remove(matching, k)
        return
    _report(config, exchange, request, NONE_STATE, LATE_CANCEL, 0, 0)


@rare
def _stop(config: np.void, exchange: np.void, matching: np.void, book: np.void, index: int, ts_event: int) -> None:
    """Execute at market what is left of every order whose stop the other side's best has reached, oldest first.

    The best price, not the last trade, since that is what the order will get. What the book cannot fill expires.
    """
    k = 0
    while k < matching["count"] and matching["stops"] > 0 and matching["status"] <= TRADING:
        order, is_buy = matching["orders"][k], matching["orders"][k]["side"] == BUY
        best, stop = book["ask"] if is_buy else book["bid"], order["stop"]
        is_due = stop == AT_ONCE or (stop > 0 and best > 0 and (best >= stop if is_buy else best <= stop))
        if not is_due:
            k += 1
            continue
        request = exchange["triggered"]
        request["arrival_ns"] = ts_event
        request["order_id"] = order["order_id"]
        request["instrument"] = index
        request["side"] = order["side"]
        request["qty"] = order["qty"] - order["filled"]
        filled = order["filled"]
        _remove(matching, k)
        state = NEW if filled == 0 else PARTIAL_STATE
        reason = NONE if stop == AT_ONCE else STOP_LOSS
        _report(config, exchange, request, state, reason, filled, request["qty"])
        taken = _take(config, exchange, matching, book, request)
        if taken < request["qty"]:
            left = request["qty"] - taken
            _report(config, exchange, request, EXPIRED_STATE, NO_VOLUME, filled + taken, left)


@kernel
def _enter(config: np.void, exchange: np.void, matching: np.void, book: np.void, request: np.void) -> None:
    """A new order: refuse it, expire it, let it take, or let it rest."""
    index = as_int(request["instrument"])
    refused = _refusal(config, matching, index, request)
    if refused != NONE:
        _report(config, exchange, request, REJECTED, refused, 0, request["qty"])
        return
    is_buy, price = request["side"] == BUY, request["price"]
    best = book["ask"] if is_buy else book["bid"]
    is_stop = request["flags"] & STOP != 0
    crosses = not is_stop and best > 0 and (price == 0 or (best <= price if is_buy else best >= price))
    if crosses and request["flags"] & POST_ONLY != 0:
        _report(config, exchange, request, EXPIRED_STATE, WOULD_CROSS, 0, request["qty"])
        return
    _report(config, exchange, request, NEW, NONE, 0, request["qty"])
    filled = _take(config, exchange, matching, book, request) if crosses and matching["status"] <= TRADING else 0
    left = request["qty"] - filled
    if left == 0:
        return
    if price == 0 or request["flags"] & IMMEDIATE != 0:
        _report(config, exchange, request, EXPIRED_STATE, NO_VOLUME, filled, left)
        return
    count = matching["count"]
    if count >= ORDERS_MAX:
        raise BrokenInvariant("more orders rest at the simulated exchange than an instrument has slots")
    order = matching["orders"][count]
    order["order_id"] = request["order_id"]
    order["side"] = request["side"]
    order["price"] = price
    order["qty"] = request["qty"]
    order["filled"] = filled
    order["deadline_ns"] = request["deadline_ns"]
    order["stop"] = 0
    matching["count"] = count + 1
    if is_stop:  # a stop alone is an order whose limit is out of reach
        order["stop"], order["price"] = price, OUT_OF_REACH[request["side"]]
        matching["stops"] += 1
        _stop(config, exchange, matching, book, index, request["arrival_ns"])
    else:
        queue.on_new(order, books.qty_at(book, is_buy, price))


@kernel
def _refusal(config: np.void, matching: np.void, index: int, request: np.void) -> int:
    """Why the venue rejects a new order: chance, its status, its filters; else NONE."""
    if simulation.is_rejected(config["simulation"], index, request["order_id"]):
        return VENUE_REJECT
    if matching["status"] > TRADING and matching["status"] != AUCTION:
        return MARKET_HALTED
    instrument = config["markets"][index]["instrument"]
    if request["qty"] < instrument["min_lots"]:
        return FILTER_LOT
    price, least = request["price"], instrument["min_notional"]
    if price > 0 and least > 0 and units.notional(instrument, price, request["qty"], DOWN) < least:
        return FILTER_NOTIONAL
    return NONE


@kernel
def _take(config: np.void, exchange: np.void, matching: np.void, book: np.void, request: np.void) -> int:
    """Fill against the visible levels from the best on, each at its own price moved by our impact; returns the lots."""
    models, is_buy, filled = config["simulation"], request["side"] == BUY, 0
    price, shift = book["ask"] if is_buy else book["bid"], matching["shift_ppm"]
    while price > 0 and filled < request["qty"]:
        qty = min(books.qty_at(book, not is_buy, price), request["qty"] - filled)
        part = impact.participation_ppm(filled + qty, models["impact"]["reference_lots"])
        paid = _paid(models, request, price, shift, part)
        if request["price"] > 0 and (paid > request["price"] if is_buy else paid < request["price"]):
            break
        filled += qty
        index, side, left = as_int(request["instrument"]), as_int(request["side"]), request["qty"] - filled
        _fill(config, exchange, request["arrival_ns"], index, side, request["order_id"], paid, qty, left, False)
        price = books.next_price(book, not is_buy, price)
    part = impact.participation_ppm(filled, models["impact"]["reference_lots"])
    matching["shift_ppm"] = impact.pushed_ppm(shift, models["impact"]["permanent_ppm"], part, is_buy)
    return filled


@kernel
def _paid(models: np.void, request: np.void, price: int, shift_ppm: int, participation: int) -> int:
    """What ``request`` pays or gets at a level of ``price``, after impact and the charge for a late entry."""
    is_buy, worse = request["side"] == BUY, 0
    if models["impact"]["temporary_ppm"] > 0:
        worse = impact.temporary_ticks(price, models["impact"]["temporary_ppm"], participation)
    worse += latency.late_ticks(price, request["late"], models["late_slippage_ppm"])
    moved = impact.shifted_price(price, shift_ppm, is_buy)
    return moved + worse if is_buy else max(1, moved - worse)


@inlined
def on_level(config: np.void, exchange: np.void, book: np.void, level: np.void) -> None:
    """A LEVEL of the exchange's ``book``: what is shown shrinks queues, and a better best may reach our orders."""
    is_bid, price, qty = level["side"] == BUY, level["price"], level["qty"]
    index = as_int(level["instrument"])
    matching = exchange["matching"][index]
    if matching["count"] == 0:
        books.set_level(book, is_bid, price, qty)
        return
    model, before = config["simulation"]["queue"], 0
    if model["kind"] != RISK_AVERSE:
        before = books.qty_at(book, is_bid, price)
    bid, ask = book["bid"], book["ask"]
    may_differ = books.set_level(book, is_bid, price, qty)
    for k in range(matching["count"]):
        order = matching["orders"][k]
        if order["price"] == price and (order["side"] == BUY) == is_bid:
            queue.on_depth(model, order, before, qty)
    if may_differ and (book["bid"] > bid if is_bid else book["ask"] > 0 and (ask == 0 or book["ask"] < ask)):
        _reach(config, exchange, matching, book, index, level["ts_event"])
    if matching["stops"] > 0 and level["flags"] & LAST != 0:
        _stop(config, exchange, matching, book, index, level["ts_event"])


@rare
def on_whole(config: np.void, exchange: np.void, book: np.void, index: int, ts_event: int) -> None:
    """The book is whole again after something else than a LEVEL. Within a message its best price means nothing."""
    _stop(config, exchange, exchange["matching"][index], book, index, ts_event)


@rare
def on_status(config: np.void, exchange: np.void, book: np.void, status: np.void) -> None:
    """A STATUS: while it is not TRADING nothing matches; then the book as it is may have reached our orders."""
    index = as_int(status["instrument"])
    matching = exchange["matching"][index]
    matching["status"] = status["status"]
    _stop(config, exchange, matching, book, index, status["ts_event"])
    _reach(config, exchange, matching, book, index, status["ts_event"])


@rare
def _reach(config: np.void, exchange: np.void, matching: np.void, book: np.void, index: int, ts_event: int) -> None:
    """The other side's best has come to, or past, the price of some of our orders."""
    if matching["status"] > TRADING:
        return
    k = 0
    while k < matching["count"]:
        order = matching["orders"][k]
        best = book["ask"] if order["side"] == BUY else book["bid"]
        if best > 0 and (best <= order["price"] if order["side"] == BUY else best >= order["price"]):
            _fill_resting(config, exchange, matching, k, index, ts_event, order["qty"] - order["filled"])
        else:
            k += 1


@rare
def on_trade(config: np.void, exchange: np.void, trade: np.void) -> None:
    """A TRADE: it fills the orders it went through, and shortens the queue of those at its price."""
    index = as_int(trade["instrument"])
    matching = exchange["matching"][index]
    is_partial, k = config["simulation"]["partial_fills"] == 1, 0
    while k < matching["count"] and matching["status"] <= TRADING:
        order = matching["orders"][k]
        is_buy, left = order["side"] == BUY, order["qty"] - order["filled"]
        if (trade["side"] == BUY) == is_buy:
            k += 1
            continue
        lots = left if (order["price"] > trade["price"] if is_buy else order["price"] < trade["price"]) else 0
        if order["price"] == trade["price"]:
            queue.on_trade(order, trade["qty"])
            lots = queue.take_filled(order, left, is_partial)
        if lots > 0:
            _fill_resting(config, exchange, matching, k, index, trade["ts_event"], lots)
        if lots < left:
            k += 1


@rare
def _fill_resting(
    config: np.void, exchange: np.void, matching: np.void, k: int, index: int, ts_event: int, lots: int
) -> None:
    """Fill ``lots`` of the order in slot ``k`` at its own price; it leaves the slot when nothing is left."""
    order = matching["orders"][k]
    left = order["qty"] - order["filled"] - lots
    side, order_id, price = order["side"], order["order_id"], order["price"]
    _fill(config, exchange, ts_event, index, side, order_id, price, lots, left, True)
    order["filled"] += lots
    if left == 0:
        _remove(matching, k)


@kernel
def _remove(matching: np.void, k: int) -> None:
    count = matching["count"] - 1
    matching["stops"] -= int(matching["orders"][k]["stop"] != 0)
    for i in range(k, count):
        matching["orders"][i] = matching["orders"][i + 1]
    matching["count"] = count


@kernel
def _fill(
    config: np.void,
    exchange: np.void,
    ts_event: int,
    index: int,
    side: int,
    order_id: int,
    price: int,
    qty: int,
    left: int,
    is_maker: bool,
) -> None:
    """Report an execution with its fee, at the rate of the volume traded before, and count its own."""
    market, is_buy, turnover = config["markets"][index], side == BUY, exchange["turnover"]
    rate = fees.rate_ppm(market["fees"], fees.volume(market["fees"], turnover, ts_event), is_maker)
    charged, asset = fees.charge(market["fees"], market["instrument"], rate, is_buy, price, qty)
    fees.traded(turnover, units.notional(market["instrument"], price, qty, DOWN))
    exchange["next_exec_id"] += 1
    reason = FILLED if left == 0 else PARTIAL
    response = _respond(config, exchange, ts_event, FILL, side, index, reason, asset)
    response["a"] = order_id
    response["b"] = price
    response["c"] = qty
    response["d"] = charged
    response["e"] = exchange["next_exec_id"]


@kernel
def _report(
    config: np.void, exchange: np.void, request: np.void, state: int, reason: int, filled: int, left: int
) -> None:
    side, index = as_int(request["side"]), as_int(request["instrument"])
    response = _respond(config, exchange, request["arrival_ns"], ORDER, side, index, reason, 0)
    response["a"] = request["order_id"]
    response["b"] = state
    response["c"] = filled
    response["d"] = left
    response["e"] = 0


@kernel
def _respond(
    config: np.void, exchange: np.void, ts_event: int, kind: int, side: int, index: int, reason: int, flags: int
) -> np.void:
    """A record on its way back with its head filled in; it arrives after the response latency, in order."""
    tail, models = exchange["response_tail"], config["simulation"]
    if tail - exchange["response_head"] >= RESPONSE_SLOTS:
        raise BrokenInvariant("more reports are on their way back than fit: shorten execution.response_latency_ns")
    travel = simulation.delay_ns(models["response"], models["seed"], RESPONSE_LATENCY, index, tail, exchange["feed_ns"])
    arrival = latency.in_order(ts_event, travel, exchange["response_last_ns"])
    response = exchange["responses"][tail & (RESPONSE_SLOTS - 1)]
    response["ts_event"] = ts_event
    response["ts_known"] = arrival
    response["kind"] = kind
    response["side"] = side
    response["instrument"] = index
    response["reason"] = reason
    response["flags"] = flags
    if tail == exchange["response_head"]:
        exchange["response_ns"] = arrival
    exchange["response_tail"] = tail + 1
    exchange["response_last_ns"] = arrival
    return response


@kernel
def drop_response(exchange: np.void) -> None:
    """The first response was delivered: free its slot."""
    head = exchange["response_head"] + 1
    exchange["response_head"] = head
    empty = head == exchange["response_tail"]
    exchange["response_ns"] = NEVER if empty else exchange["responses"][head & (RESPONSE_SLOTS - 1)]["ts_known"]
