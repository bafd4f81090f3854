"""From what a strategy wants to a sized order: resolve against position and live order, size, clip.

Size is the base sizer's (equity x sigma_target / sigma, never more than equity; or ``fixed_lots``), times the smallest
multiplier in force (CAUTION, back-off), then the minimum of what every limit leaves room for (``core.exposure.room``).
Nothing changes it afterwards; the chain in ``core.rules`` judges exactly this quantity.
"""

from typing import Final

import numpy as np

from core import exposure, pace, portfolio, units
from core.jit import inlined, kernel
from core.records import PPM, Action, OrderState, Reason, Side
from core.strategies import FLAT, LONG
from core.units import DOWN, share_ppm

OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
CANCEL: Final = int(Action.CANCEL)
BUY: Final = int(Side.BUY)
PENDING_CANCEL: Final = int(OrderState.PENDING_CANCEL)

ENTRY: Final = int(Reason.ENTRY)
EXIT: Final = int(Reason.EXIT)
CANCEL_STALE: Final = int(Reason.CANCEL_STALE)
NO_EDGE: Final = int(Reason.NO_EDGE)
HOLD: Final = int(Reason.HOLD)
ALREADY_LONG: Final = int(Reason.ALREADY_LONG)
ALREADY_FLAT: Final = int(Reason.ALREADY_FLAT)
ORDER_IN_FLIGHT: Final = int(Reason.ORDER_IN_FLIGHT)
DUST: Final = int(Reason.DUST)
SIZE_ZERO: Final = int(Reason.SIZE_ZERO)
SIGMA_MISSING: Final = int(Reason.SIGMA_MISSING)
BACK_OFF: Final = int(Reason.BACK_OFF)


@inlined
def resolve(config: np.void, state: np.void, index: int, want: int) -> tuple[int, int]:
    """(action, reason) for what the strategy wants; action 0: nothing to do, and the reason says why.

    Dust counts as flat. Wanting out while a buy is live cancels the buy first; wanting in while any order is live
    waits.
    """
    live = state["orders"][index]["live"] > 0
    flat = portfolio.is_flat(config, state, index)
    if want == LONG:
        if live:
            return 0, ORDER_IN_FLIGHT
        return (OPEN, ENTRY) if flat else (0, ALREADY_LONG)
    if want == FLAT:
        if opening_slot(state, index) >= 0:
            return CANCEL, CANCEL_STALE
        if live:
            return 0, ORDER_IN_FLIGHT
        if not flat:
            return REDUCE, EXIT
        return 0, (DUST if state["positions"][index]["base_units"] != 0 else ALREADY_FLAT)
    return 0, (NO_EDGE if flat else HOLD)


@kernel
def opening_slot(state: np.void, index: int) -> int:
    """The oldest live order that opens a position and is not being cancelled; -1 if there is none."""
    orders_of = state["orders"][index]
    for k in range(orders_of["live"]):
        order = orders_of["slots"][k]
        if order["action"] == OPEN and order["state"] != PENDING_CANCEL:
            return k
    return -1


@kernel
def base_lots(config: np.void, state: np.void, index: int, sigma_ppm: int) -> int:
    """What the base sizer asks for, in lots; -1 if it needs a sigma and has none."""
    market, price = config["markets"][index], state["positions"][index]["price"]
    if config["fixed_lots"] > 0:
        return min(config["fixed_lots"], market["lots_max"])
    if sigma_ppm <= 0:
        return -1
    if price < 1:
        return 0
    part_ppm = min(PPM, config["sigma_target_ppm"] * PPM // sigma_ppm)
    budget = share_ppm(max(0, state["account"]["equity"]), part_ppm, DOWN)
    return units.lots_for(market["instrument"], price, budget)


@kernel
def size_entry(config: np.void, state: np.void, index: int, sigma_ppm: int) -> tuple[int, int, int]:
    """(target lots of the base sizer, lots after multiplier and clips, reason if that is 0)."""
    target = base_lots(config, state, index, sigma_ppm)
    if target < 0:
        return 0, 0, SIGMA_MISSING
    price = state["positions"][index]["price"]
    if target == 0 or price < 1:
        return target, 0, SIZE_ZERO
    lots = pace.scaled(config, state, min(target, config["markets"][index]["lots_max"]))
    if lots == 0:
        return target, 0, BACK_OFF if state["risk"]["backed_off"] == 1 else SIZE_ZERO
    lots, reason = exposure.room(config, state, index, BUY, lots, price)
    return target, lots, (reason if lots == 0 else 0)
