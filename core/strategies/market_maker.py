"""``mm1``: quotes on both sides of a book, within an inventory and leaning against it."""

import numpy as np

from core.strategies.wants import NO_OPINION, ON_TIMER, QUOTE
from core.units import DOWN, mul_div


def mm1(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """Quote ``order_lots`` at the best bid and ask, each side only while it keeps within ``inventory_lots``.

    With an ``inventory_skew_milliticks`` both quotes move against what is held, by that much per lot (requirements
    RISK-20): the side that brings the inventory back stands nearer to the market, at most one tick from the other
    side's best, and the side that adds to it stands farther. Without a bid below an ask it leaves everything as it is.
    """
    if view["event"] != ON_TIMER or view["bid"] == 0 or view["ask"] <= view["bid"]:
        return NO_OPINION
    lots, cap, held = params["order_lots"], params["inventory_lots"], view["lots"]
    bid, ask = view["bid"], view["ask"]
    if params["inventory_skew_milliticks"] > 0 and held != 0:
        shift = mul_div(min(abs(held), cap), params["inventory_skew_milliticks"], 1000, DOWN)
        bid, ask = (bid - shift, max(ask - shift, bid + 1)) if held > 0 else (min(bid + shift, ask - 1), ask + shift)
    proposal["bid_price"] = bid
    proposal["bid_lots"] = lots if held + lots <= cap and bid >= 1 else 0
    proposal["ask_price"] = ask
    proposal["ask_lots"] = lots if held - lots >= -cap else 0
    return QUOTE
