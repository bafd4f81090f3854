"""Take-profit and stop-loss of a position (requirements ORD-16): one resting order that leaves at either price.

The order is a limit at the take-profit; the stop is an instruction to the venue that goes with it (OrderFlag.STOP): at
its price, what is left of the order executes at market. So both legs can never fill, a spot account needs its holdings
once, and the stop works while this process does not. Without a take-profit the order is the stop alone.

Prices are fixed by the decision that entered: distances from its price, as the strategy proposed or the settings say.
The order covers what is held: a fill that changes that replaces it. An exit for another reason turns it into a market
order, which needs no cancel that could be too late.

From the records: the INTENT of reason TAKE_PROFIT or STOP_LOSS names the order, an ORDER of reason STOP_LOSS says that
the stop was reached, and its FILLs when the position was left.
"""

from typing import Final

import numpy as np

from core import orders, portfolio, risk, rules, sending
from core.jit import kernel
from core.records import PPM, Action, OrderFlag, Reason, Side
from core.units import DOWN, UP, mul_div

OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
STOP: Final = int(OrderFlag.STOP)
TAKE_PROFIT: Final = int(Reason.TAKE_PROFIT)
STOP_LOSS: Final = int(Reason.STOP_LOSS)
REQUOTE: Final = int(Reason.REQUOTE)
POST: Final = int(Reason.POST)
CHASE: Final = int(Reason.CHASE)
LIFETIME_NS: Final = 10**17  # three years: it lives as long as the position
_SHIFT: Final = 48  # of its refusal in position["refused"]


@kernel
def plan(config: np.void, state: np.void, index: int, side: int, price: int, sigma_ppm: int) -> None:
    """Fix where a position entered on ``side`` at ``price`` ticks is to be left; 0 where the settings say nothing.

    A sigma is that of the prediction, in ppm of ``price``: none, and distances in sigmas are none.
    """
    params, position = config["markets"][index]["params"], state["positions"][index]
    stop = stop_distance(config, state, index, price, sigma_ppm)
    sigma = mul_div(max(0, sigma_ppm), price, PPM, UP)
    proposed = position["proposal"]["take_profit_ticks"]
    take = _distance(proposed, params["take_profit_ticks"], params["take_profit_sigma_ppm"], sigma)
    if take == 0 and stop > 0 and params["reward_risk_ppm"] > 0:
        take = max(1, mul_div(stop, params["reward_risk_ppm"], PPM, UP))
    most = config["markets"][index]["price_max"]
    up, down = (take, stop) if side == BUY else (stop, take)
    above, below = min(most, price + up) if up > 0 else 0, max(1, price - down) if down > 0 else 0
    position["take_profit"], position["stop_loss"] = (above, below) if side == BUY else (below, above)
    position["entered"] = side
    if take > 0 or stop > 0:
        position["managed"] = 1


@kernel
def stop_distance(config: np.void, state: np.void, index: int, price: int, sigma_ppm: int) -> int:
    """How many ticks from ``price`` an entry is to be stopped; 0: nowhere."""
    params, proposed = config["markets"][index]["params"], state["positions"][index]["proposal"]["stop_loss_ticks"]
    sigma = mul_div(max(0, sigma_ppm), price, PPM, UP)
    return _distance(proposed, params["stop_loss_ticks"], params["stop_loss_sigma_ppm"], sigma)


@kernel
def _distance(proposed: int, ticks: int, sigmas_ppm: int, sigma: int) -> int:
    if proposed > 0:
        return proposed
    return ticks if ticks > 0 else mul_div(sigma, sigmas_ppm, PPM, DOWN)


@kernel
def slot(orders_of: np.void) -> int:
    """The live order (dtype ORDERS) that waits to leave at a price; -1: none."""
    for k in range(orders_of["live"]):
        order = orders_of["slots"][k]
        if order["limit"] > 0 and (order["reason"] == TAKE_PROFIT or order["reason"] == STOP_LOSS):
            return k
    return -1


@kernel
def is_alone(orders_of: np.void) -> bool:
    """Nothing is at work but, at most, the order that waits to leave, and nothing is under way to change it."""
    if orders_of["live"] == 0:
        return True
    k = slot(orders_of)
    return orders_of["live"] == 1 and k == 0 and orders_of["slots"][0]["state"] < orders.PENDING_CANCEL


@kernel
def release(config: np.void, state: np.void, box: np.void, index: int, reason: int) -> None:
    """Leave now: what is left of the waiting order executes at market."""
    sending.stop(config, state, box, index, slot(state["orders"][index]), 0, reason)


@kernel
def on_reached(orders_of: np.void, k: int) -> None:
    """The venue says that the stop of the order in slot ``k`` was reached: it is a market order now."""
    orders_of["slots"][k]["limit"] = 0
    orders_of["slots"][k]["stop"] = 0


@kernel
def keep(config: np.void, state: np.void, box: np.void, index: int) -> None:
    """Have exactly one order wait to leave with all that is held; call it whenever that may have changed."""
    position, orders_of = state["positions"][index], state["orders"][index]
    if position["take_profit"] == 0 and position["stop_loss"] == 0:
        return
    if risk.is_closing(state):
        return  # what is forced takes the orders that wait out of its way
    flat, lots, k = portfolio.is_flat(config, state, index), position["view"]["lots"], slot(orders_of)
    side = SELL if lots > 0 else BUY
    if k >= 0:
        order = orders_of["slots"][k]
        if (flat or orders.remaining(order) != abs(lots) or order["side"] != side) and orders.is_working(order):
            sending.cancel(config, state, box, index, k, REQUOTE)
        return
    if flat:
        if orders_of["live"] == 0 and position["chase"]["side"] == 0:
            position["take_profit"], position["stop_loss"] = 0, 0
        return
    if side != position["entered"] and not _is_busy(state, index):
        _send(config, state, box, index, side, abs(lots))


@kernel
def _is_busy(state: np.void, index: int) -> bool:
    """An exit is under way, or an entry that will have ended in a moment, or the venue refuses everything."""
    if state["risk"]["circuit_until_ns"] > state["account"]["now_ns"]:
        return True
    orders_of, view = state["orders"][index], state["positions"][index]["view"]
    has_book = view["bid"] > 0 or view["ask"] > 0
    for k in range(orders_of["live"]):
        order = orders_of["slots"][k]
        rests = order["reason"] == POST or order["reason"] == CHASE
        if order["action"] == REDUCE or (has_book and not rests):
            return True
    return False


@kernel
def _send(config: np.void, state: np.void, box: np.void, index: int, side: int, lots: int) -> None:
    position, orders_of = state["positions"][index], state["orders"][index]
    take, stop = position["take_profit"], position["stop_loss"]
    limit, flags, reason = (take, 0, TAKE_PROFIT) if take > 0 else (stop, STOP, STOP_LOSS)
    refused = rules.refusal(config, state, box, index, REDUCE, side, lots, limit, 0, PPM, False)
    if refused == 0:
        deadline_ns = state["account"]["now_ns"] + LIFETIME_NS
        sending.submit_until(config, state, box, index, REDUCE, side, lots, limit, flags, reason, deadline_ns)
        if take > 0 and stop > 0:
            sending.stop(config, state, box, index, orders_of["live"] - 1, stop, STOP_LOSS)
    elif (position["refused"] >> _SHIFT) & 0x7FFF == refused:
        box["count"] -= 1  # the CHECK of a refusal that stands is recorded once
    position["refused"] = (position["refused"] & ~(0x7FFF << _SHIFT)) | (refused << _SHIFT)
