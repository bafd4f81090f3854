"""What must be done whatever a strategy wants: HALT's cancels, FLATTEN's sales, and the way back to enough margin.

Each is tried again after every input until nothing is left to do. An exit that the chain refuses (a halted market, a
venue's minimum) is recorded when the refusal is new, and tried again all the same.
"""

from typing import Final

import numpy as np

from core import exposure, portfolio, risk, rules, sending, units
from core.jit import kernel, rare
from core.records import PPM, Action, OrderState, Reason, RiskState, Side
from core.units import UP

OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
HALT: Final = int(RiskState.HALT)
FLATTEN_STATE: Final = int(RiskState.FLATTEN)
PENDING_CANCEL: Final = int(OrderState.PENDING_CANCEL)
FLATTEN: Final = int(Reason.FLATTEN)
CANCEL_STALE: Final = int(Reason.CANCEL_STALE)
DELEVERAGE: Final = int(Reason.DELEVERAGE)
_SHIFT: Final = 32  # of the forced exit's refusal in position["refused"]


@rare
def react(config: np.void, state: np.void, box: np.void) -> None:
    """What follows when a limit may be reached or a day begins.

    A new day, the risk state machine, and what HALT, FLATTEN and short margin demand, in this order.
    """
    risk_state = state["risk"]
    if state["account"]["now_ns"] >= risk_state["day_end_ns"]:
        risk.new_day(config, state, box)
    risk.update(config, state, box)
    if risk_state["state"] >= HALT:
        sweep(config, state, box)
    if risk_state["deleveraging"] == 1 and risk_state["state"] != FLATTEN_STATE:
        deleverage(config, state, box)


@kernel
def sweep(config: np.void, state: np.void, box: np.void) -> None:
    """In HALT cancel every order that opens; in FLATTEN close what is held, again until nothing is left."""
    flatten = state["risk"]["state"] == FLATTEN_STATE
    for index in range(config["n_instruments"]):
        orders_of = state["orders"][index]
        for k in range(orders_of["live"]):
            order = orders_of["slots"][k]
            if order["state"] == PENDING_CANCEL:
                continue
            if order["action"] == OPEN:
                sending.cancel(config, state, box, index, k, FLATTEN if flatten else CANCEL_STALE)
            elif flatten and order["limit"] > 0:
                sending.cancel(config, state, box, index, k, FLATTEN)  # it waits for a price; we do not
        if flatten and orders_of["live"] == 0 and not portfolio.is_flat(config, state, index):
            _exit(config, state, box, index, abs(state["positions"][index]["view"]["lots"]), FLATTEN)
    risk.end_flatten(config, state, box)


@kernel
def deleverage(config: np.void, state: np.void, box: np.void) -> None:
    """Cancel what rests or opens, and reduce the largest position, then the next, until margin would be enough.

    What was sent for that before and may still fill is counted as if it had.
    """
    account = state["account"]
    excess = account["exposure"] - exposure.margin_allowed(config, account["equity"])
    for index in range(config["n_instruments"]):
        orders_of, instrument = state["orders"][index], config["markets"][index]["instrument"]
        for k in range(orders_of["live"]):
            order = orders_of["slots"][k]
            if order["action"] == REDUCE and order["limit"] == 0:
                excess -= units.notional(instrument, order["price"], order["qty"] - order["filled"], UP)
            elif order["state"] != PENDING_CANCEL:
                sending.cancel(config, state, box, index, k, DELEVERAGE)
    tried = 0
    while excess > 0:
        index = _largest(config, state, tried)
        if index < 0:
            return
        tried |= 1 << index
        position, instrument = state["positions"][index], config["markets"][index]["instrument"]
        held, side = position["view"]["lots"], SELL if position["view"]["lots"] > 0 else BUY
        left = abs(held) - exposure.pending_lots(state, index, side)
        wanted = max(min(excess, config["equity_max"]), instrument["min_notional"])
        lots = units.mul_div(wanted, instrument["value_den"], position["price"] * instrument["value_num"], UP)
        lots = min(max(lots, instrument["min_lots"]), left)
        if lots > 0 and _exit(config, state, box, index, lots, DELEVERAGE):
            excess -= units.notional(instrument, position["price"], lots, UP)


@kernel
def _largest(config: np.void, state: np.void, without: int) -> int:
    """The instrument of the most exposure that is not flat and not in ``without`` (bits); -1 if there is none."""
    best, most = -1, 0
    for index in range(config["n_instruments"]):
        value = abs(state["positions"][index]["value"])
        if (without >> index) & 1 == 0 and value > most and not portfolio.is_flat(config, state, index):
            best, most = index, value
    return best


@kernel
def _exit(config: np.void, state: np.void, box: np.void, index: int, lots: int, reason: int) -> bool:
    """Send a market order that reduces by ``lots``; False if the chain refused it."""
    position = state["positions"][index]
    side = SELL if position["view"]["lots"] > 0 else BUY
    refused = rules.refusal(config, state, box, index, REDUCE, side, lots, 0, 0, PPM, False)
    if refused == 0:
        sending.submit(config, state, box, index, REDUCE, side, lots, 0, 0, reason)
    elif (position["refused"] >> _SHIFT) & 0xFFFF == refused:
        box["count"] -= 1  # the CHECK of a refusal that stands is recorded once
    position["refused"] = (position["refused"] & ~(0xFFFF << _SHIFT)) | (refused << _SHIFT)
    return refused == 0
