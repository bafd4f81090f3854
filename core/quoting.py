"""Two-sided quotes: bring the orders at work to what a strategy wants, one side after the other.

A working order that is not at the wanted price, or not wanted, is cancelled; a new one is sent only when no order of
that side is left, not even one on its way. So a replacement follows the cancel's confirmation, and a side never has
two orders.
"""

from typing import Final

import numpy as np

from core import chase, exposure, orders, rules, sending
from core.jit import kernel, rare
from core.records import PPM, Action, OrderFlag, Reason, Side

OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
POST_ONLY: Final = int(OrderFlag.POST_ONLY)
QUOTE: Final = int(Reason.QUOTE)
REQUOTE: Final = int(Reason.REQUOTE)


@rare
def apply(config: np.void, state: np.void, box: np.void, index: int) -> None:
    """Cancel and send what ``positions[index]["proposal"]`` asks for; an entry that followed the market ends with it.

    Otherwise what a quote opens would pass for the next order of that entry, which is no new signal (``core.pace``).
    """
    proposal = state["positions"][index]["proposal"]
    chase.end(state["positions"][index])
    _side(config, state, box, index, BUY, proposal["bid_price"], proposal["bid_lots"])
    _side(config, state, box, index, SELL, proposal["ask_price"], proposal["ask_lots"])


@kernel
def _side(config: np.void, state: np.void, box: np.void, index: int, side: int, price: int, lots: int) -> None:
    orders_of, present = state["orders"][index], False
    for k in range(orders_of["live"]):
        order = orders_of["slots"][k]
        if order["side"] != side:
            continue
        present = True
        if (order["limit"] != price or lots == 0) and orders.is_working(order):
            sending.cancel(config, state, box, index, k, REQUOTE)
    if present or lots == 0:
        return
    action = action_of(state, index, side, lots)
    refused = rules.refusal(config, state, box, index, action, side, lots, price, 0, PPM, False)
    position = state["positions"][index]
    shift = 0 if side == BUY else 16
    if refused == 0:
        sending.submit(config, state, box, index, action, side, lots, price, POST_ONLY, QUOTE)
    elif (position["refused"] >> shift) & 0xFFFF == refused:
        box["count"] -= 1  # the CHECK of a refusal that stands is recorded once
    else:
        sending.decision(config, state, box, index, 0, 0, refused, state["account"]["now_ns"], lots, 0)
    position["refused"] = (position["refused"] & ~(0xFFFF << shift)) | (refused << shift)


@kernel
def action_of(state: np.void, index: int, side: int, lots: int) -> int:
    """REDUCE if all of ``lots`` can only bring the position closer to flat, else OPEN."""
    held = state["positions"][index]["view"]["lots"]
    against = -held if side == BUY else held
    return REDUCE if against >= lots + exposure.pending_lots(state, index, side) else OPEN
