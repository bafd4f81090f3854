"""From what a strategy wants to an order: resolve against position and live orders, size, clip, choose the way in.

Size is the base sizer's (see ``base_lots``), times the smallest multiplier in force (CAUTION, back-off), then the
minimum of what every limit leaves room for (``core.exposure.room``). Nothing changes it afterwards; the chain in
``core.rules`` judges exactly this quantity.
"""

from typing import Final

import numpy as np

from core import bracket, chase, exposure, pace, portfolio, rules, sending, units
from core.jit import inlined, kernel, rare
from core.records import PPM, Action, OrderFlag, OrderState, Reason, Side
from core.strategies.parameters import BY_EDGE
from core.strategies.wants import BY_SETTINGS, FLAT, LONG, MARKET, POST, SHORT
from core.units import DOWN, UP, mul_div, share_ppm

OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
CANCEL: Final = int(Action.CANCEL)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
PENDING_CANCEL: Final = int(OrderState.PENDING_CANCEL)
POST_ONLY: Final = int(OrderFlag.POST_ONLY)
IMMEDIATE: Final = int(OrderFlag.IMMEDIATE)

ENTRY: Final = int(Reason.ENTRY)
EXIT: Final = int(Reason.EXIT)
CROSSED: Final = int(Reason.CROSS)
POSTED: Final = int(Reason.POST)
CANCEL_STALE: Final = int(Reason.CANCEL_STALE)
NO_EDGE: Final = int(Reason.NO_EDGE)
HOLD: Final = int(Reason.HOLD)
ALREADY_LONG: Final = int(Reason.ALREADY_LONG)
ALREADY_SHORT: Final = int(Reason.ALREADY_SHORT)
ALREADY_FLAT: Final = int(Reason.ALREADY_FLAT)
ORDER_IN_FLIGHT: Final = int(Reason.ORDER_IN_FLIGHT)
DUST: Final = int(Reason.DUST)
SIZE_ZERO: Final = int(Reason.SIZE_ZERO)
SIGMA_MISSING: Final = int(Reason.SIGMA_MISSING)
BACK_OFF: Final = int(Reason.BACK_OFF)
_EDGE_MAX: Final = 2**48  # so that it can be earned over any number of horizons


@inlined
def resolve(config: np.void, state: np.void, index: int, want: int) -> tuple[int, int, int]:
    """(action, side, reason) for what the strategy wants; action 0: nothing to do, and the reason says why.

    Dust counts as flat. An entry under way that is no longer wanted is cancelled first; a position on the other side is
    closed first; anything else under way is waited for, but for the resting exit of the position, which gives way.
    """
    position, flat = state["positions"][index], portfolio.is_flat(config, state, index)
    held, busy = position["view"]["lots"], False
    if state["orders"][index]["live"] > 0 or position["managed"] == 1:
        busy = chase.is_on(position) or not bracket.is_alone(state["orders"][index])
    if want == LONG or (want == SHORT and config["is_margin"] == 1):
        side = BUY if want == LONG else SELL
        if busy:
            against = opening_slot(state, index, 3 - side) >= 0 or position["chase"]["side"] == 3 - side
            return (CANCEL, 0, CANCEL_STALE) if against else (0, 0, ORDER_IN_FLIGHT)
        if flat:
            return OPEN, side, ENTRY
        if (held > 0) == (side == BUY):
            return 0, 0, (ALREADY_LONG if held > 0 else ALREADY_SHORT)
        return REDUCE, side, EXIT
    if want in (FLAT, SHORT):
        if busy and (opening_slot(state, index, 0) >= 0 or chase.is_on(position)):
            return CANCEL, 0, CANCEL_STALE
        if busy:
            return 0, 0, ORDER_IN_FLIGHT
        if not flat:
            return REDUCE, (SELL if held > 0 else BUY), EXIT
        return 0, 0, (DUST if position["base_units"] != 0 else ALREADY_FLAT)
    return 0, 0, (NO_EDGE if flat else HOLD)


@kernel
def opening_slot(state: np.void, index: int, side: int) -> int:
    """The oldest live order that opens a position on ``side`` (0: any) and is not being cancelled; -1: none."""
    orders_of = state["orders"][index]
    for k in range(orders_of["live"]):
        order = orders_of["slots"][k]
        if order["action"] == OPEN and order["state"] != PENDING_CANCEL and (side == 0 or order["side"] == side):
            return k
    return -1


@kernel
def base_lots(config: np.void, state: np.void, index: int, side: int, sigma_ppm: int) -> int:
    """What the base sizer asks for, in lots; -1 if it needs a sigma and has none.

    ``fixed_lots``; or by volatility: equity x sigma_target / sigma; or by edge (requirements RISK-19): equity x
    edge_scale x edge / sigma, and nothing unless the edge is more than the cost. Never worth more than equity.
    """
    market, price = config["markets"][index], state["positions"][index]["price"]
    params, proposal = market["params"], state["positions"][index]["proposal"]
    if params["fixed_lots"] > 0:
        return min(params["fixed_lots"], market["lots_max"])
    if sigma_ppm <= 0:
        return -1
    if price < 1:
        return 0
    if params["sizing"] == BY_EDGE:
        part_ppm = _edge_part_ppm(params, proposal, side, price, sigma_ppm)
    else:
        part_ppm = config["sigma_target_ppm"] * PPM // sigma_ppm
    budget = share_ppm(max(0, state["account"]["equity"]), min(PPM, part_ppm), DOWN)
    return units.lots_for(market["instrument"], price, budget)


@kernel
def _edge_part_ppm(params: np.void, proposal: np.void, side: int, price: int, sigma_ppm: int) -> int:
    """edge_scale x edge / sigma in ppm, at most the whole; 0 unless the edge on that ``side`` is more than the cost.

    In ppm the edge is one horizon's and is earned ``hold_horizons`` times; in thousandths of a tick it is all there is.
    """
    edge, sigma = proposal["edge"] if side == BUY else -proposal["edge"], sigma_ppm
    if proposal["in_milliticks"] == 1:
        sigma = max(1, mul_div(sigma_ppm, price, 1000, UP))
    else:
        edge = min(edge, _EDGE_MAX) * params["hold_horizons"]
    if edge <= proposal["cost"]:
        return 0
    if edge // sigma >= PPM:  # the scale is at least one millionth
        return PPM
    return mul_div(params["edge_scale_ppm"], edge, sigma, DOWN)


@kernel
def size_entry(config: np.void, state: np.void, index: int, side: int, sigma_ppm: int) -> tuple[int, int, int]:
    """(target lots of the base sizer, lots after multiplier and clips, reason if that is 0)."""
    target = base_lots(config, state, index, side, sigma_ppm)
    if target < 0:
        return 0, 0, SIGMA_MISSING
    price = state["positions"][index]["price"]
    if target == 0 or price < 1:
        return target, 0, SIZE_ZERO
    lots = pace.scaled(config, state, min(target, config["markets"][index]["lots_max"]))
    if lots == 0:
        return target, 0, BACK_OFF if state["risk"]["backed_off"] == 1 else SIZE_ZERO
    lots, reason = exposure.room(config, state, index, side, lots, price)
    return target, lots, (reason if lots == 0 else 0)


@kernel
def way(config: np.void, state: np.void, index: int, action: int, side: int) -> tuple[int, int, int, int]:
    """(limit, flags, deadline, reason) of an order on ``side``: at market, across the spread, or at our side's best.

    An exit never rests: it crosses where entries cross or post and a best price is known, and goes at market otherwise.
    Without a book an entry that posts does so at the last price.
    """
    params, position, now = config["markets"][index]["params"], state["positions"][index], state["account"]["now_ns"]
    view, asked = position["view"], position["proposal"]["entry"]
    how = asked if asked != BY_SETTINGS else params["entry"]
    near, far = (view["bid"], view["ask"]) if side == BUY else (view["ask"], view["bid"])
    if how == POST and action == OPEN:
        return (near if near > 0 else position["price"]), POST_ONLY, now + params["chase_ttl_ns"], POSTED
    deadline = now + config["order_ttl_ns"]
    if how == MARKET or far == 0:
        return 0, 0, deadline, (ENTRY if action == OPEN else EXIT)
    return far, IMMEDIATE, deadline, CROSSED


@kernel
def _stopped_within_loss(
    config: np.void, state: np.void, index: int, side: int, lots: int, price: int, sigma_ppm: int
) -> int:
    """As many of ``lots`` as lose no more, stopped out, than may still be lost today; all where no stop is planned."""
    distance = bracket.stop_distance(config, state, index, price, sigma_ppm)
    if distance == 0:
        return lots
    stop = max(1, price - distance) if side == BUY else min(config["markets"][index]["price_max"], price + distance)
    return exposure.lots_within_loss(config, state, index, side, price, stop, lots)


@rare
def act(
    config: np.void,
    state: np.void,
    box: np.void,
    index: int,
    action: int,
    side: int,
    reason: int,
    event_ns: int,
    confidence_ppm: int,
    sigma_ppm: int,
) -> None:
    """Size the wanted action, take it through the chain, record the DECISION, and the INTENT if it is approved."""
    position = state["positions"][index]
    repeated = event_ns <= position["decided_ts"]
    position["decided_ts"] = max(position["decided_ts"], event_ns)
    if action == CANCEL:
        sending.decision(config, state, box, index, CANCEL, 0, reason, event_ns, 0, 0)
        chase.end(position)
        k = opening_slot(state, index, 0)
        if k >= 0:
            sending.cancel(config, state, box, index, k, reason)
        return
    target, lots, refused = 0, abs(position["view"]["lots"]), 0
    if action == OPEN:
        target, lots, refused = size_entry(config, state, index, side, sigma_ppm)
    elif bracket.slot(state["orders"][index]) >= 0:
        sending.decision(config, state, box, index, CANCEL, 0, reason, event_ns, 0, lots)
        bracket.release(config, state, box, index, reason)
        return
    limit, flags, deadline_ns, sent = way(config, state, index, action, side)
    if action == OPEN and refused == 0:
        price = limit if limit > 0 else position["price"]
        lots = _stopped_within_loss(config, state, index, side, lots, price, sigma_ppm)
        refused = SIZE_ZERO if lots == 0 else 0
    if refused == 0:
        age_ns = state["account"]["now_ns"] - event_ns
        refused = rules.refusal(config, state, box, index, action, side, lots, limit, age_ns, confidence_ppm, repeated)
    if refused != 0:
        sending.decision(config, state, box, index, 0, 0, refused, event_ns, target, 0)
        return
    sending.decision(config, state, box, index, action, side, reason, event_ns, target, lots)
    sending.submit_until(config, state, box, index, action, side, lots, limit, flags, sent, deadline_ns)
    if action == OPEN:
        bracket.plan(config, state, index, side, limit if limit > 0 else position["price"], sigma_ppm)
        if sent == POSTED:
            chase.begin(position, side, lots, limit, deadline_ns)
