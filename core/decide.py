"""From what a strategy wants to a sized order: resolve against position and live order, size, clip.

Size is the base sizer's (equity x sigma_target / sigma, never more than equity; or ``fixed_lots``), times the CAUTION
multiplier, then the minimum of all headrooms: asset cap, total cap, free cash, the largest quantity proven to fit.
Nothing changes it afterwards; the chain in ``core.rules`` judges exactly this quantity.
"""

from typing import Final

import numpy as np

from core import portfolio, units
from core.jit import inlined, kernel
from core.records import PPM, Action, OrderState, Reason, RiskState, Side
from core.rules import asset_headroom, buy_cost, cash_budget, free_cash, total_headroom
from core.strategies import FLAT, LONG
from core.units import DOWN, INT64_MAX, UP, share_ppm

OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
CANCEL: Final = int(Action.CANCEL)
BUY: Final = int(Side.BUY)
CAUTION: Final = int(RiskState.CAUTION)
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
EXPOSURE_ASSET: Final = int(Reason.EXPOSURE_ASSET)
EXPOSURE_TOTAL: Final = int(Reason.EXPOSURE_TOTAL)
CASH: Final = int(Reason.CASH)


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
    instrument = config["markets"][index]["instrument"]
    lots, reason = min(target, config["markets"][index]["lots_max"]), SIZE_ZERO
    if state["risk"]["state"] == CAUTION:
        lots = share_ppm(lots, config["caution_multiplier_ppm"], DOWN)
    asset = max(0, asset_headroom(config, state, index, BUY))
    total = max(0, total_headroom(config, state, index, BUY))
    if lots > INT64_MAX // (price * instrument["value_num"]):  # too many to multiply with
        lots = units.lots_for(instrument, price, max(asset, total))
    value = units.notional(instrument, price, lots, UP)
    if value > asset:
        lots, reason = units.lots_for(instrument, price, asset), EXPOSURE_ASSET
        value = units.notional(instrument, price, lots, UP)
    if value > total:
        lots, reason = units.lots_for(instrument, price, total), EXPOSURE_TOTAL
    if config["is_margin"] == 0 and buy_cost(config, index, price, lots) > free_cash(config, state):
        worst = units.worse_price(price, config["slippage_ppm"], True)
        cash = units.lots_for(instrument, worst, cash_budget(config, state, index))
        if cash < lots:
            lots, reason = cash, CASH
    return target, lots, (reason if lots == 0 else 0)
