"""Post and chase (requirements ORD-10): an entry that rests at our side's best price and follows it.

At every update (a TIMER on books, a bar otherwise) the order is cancelled if the best price has moved away from it, and
once that is confirmed a new one follows, at most one tick farther than the last: so a price that runs away is not run
after. If the market came towards us instead, the new one goes to the best price at once, which is better for us. The
whole ends after ``chase_ttl_ns``, with what has filled by then; each of its orders has that moment as its deadline.
"""

from typing import Final

import numpy as np

from core import orders, rules, sending
from core.jit import inlined, kernel
from core.records import PPM, Action, OrderFlag, Reason, Side

OPEN: Final = int(Action.OPEN)
BUY: Final = int(Side.BUY)
POST_ONLY: Final = int(OrderFlag.POST_ONLY)
CHASE: Final = int(Reason.CHASE)


@inlined
def is_on(position: np.void) -> bool:
    """An entry of ``position`` (dtype POSITION) is under way that follows the market."""
    return position["chase"]["side"] != 0


@kernel
def begin(position: np.void, side: int, lots: int, limit: int, until_ns: int) -> None:
    """The first order, of ``lots`` at ``limit``, was sent."""
    record, held = position["chase"], position["view"]["lots"]
    record["side"] = side
    record["goal"] = held + lots if side == BUY else held - lots
    record["limit"] = limit
    record["until_ns"] = until_ns
    position["managed"] = 1


@inlined
def end(position: np.void) -> None:
    """Nothing more is sent; an order that still rests is the caller's to cancel."""
    position["chase"]["side"] = 0


@kernel
def left(position: np.void) -> int:
    """Lots still missing; not above 0 when the chase is done."""
    record, held = position["chase"], position["view"]["lots"]
    return record["goal"] - held if record["side"] == BUY else held - record["goal"]


@kernel
def follow(config: np.void, state: np.void, box: np.void, index: int) -> None:
    """One update of a chase that is on."""
    position = state["positions"][index]
    record, orders_of, now = position["chase"], state["orders"][index], state["account"]["now_ns"]
    if now >= record["until_ns"] or left(position) <= 0:
        end(position)
        return
    best, is_buy = _best(position), record["side"] == BUY
    for k in range(orders_of["live"]):
        order = orders_of["slots"][k]
        if order["action"] == OPEN:
            is_behind = best > order["limit"] if is_buy else 0 < best < order["limit"]
            if is_behind and orders.is_working(order):
                sending.cancel(config, state, box, index, k, CHASE)
            return
    if best == 0:
        return
    limit = min(best, record["limit"] + 1) if is_buy else max(best, record["limit"] - 1)
    lots, side = left(position), record["side"]
    refused = rules.refusal(config, state, box, index, OPEN, side, lots, limit, 0, PPM, False)
    if refused != 0:
        sending.decision(config, state, box, index, 0, 0, refused, now, lots, 0)
        end(position)
        return
    record["limit"] = limit
    sending.submit_until(config, state, box, index, OPEN, side, lots, limit, POST_ONLY, CHASE, record["until_ns"])


@kernel
def _best(position: np.void) -> int:
    """Our side's best price in ticks, without a book the last price; 0: there is none."""
    view = position["view"]
    if view["bid"] == 0 and view["ask"] == 0:
        return position["price"]
    return view["bid"] if position["chase"]["side"] == BUY else view["ask"]
