"""How much of what: exposure with everything pending, cash, margin, fees, depth, and the room they leave an entry.

Exposure of an instrument is what it would be worth if all its live orders of one side filled and none of the other
side's did, in the worse direction: orders can fill in any order. Amounts are quote units, rounded against us.
"""

from typing import Final

import numpy as np

from core import orders, units
from core.jit import kernel
from core.records import PPM, Reason, Side
from core.units import DOWN, INT64_MAX, UP, mul_div, share_ppm

BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
EXPOSURE_ASSET: Final = int(Reason.EXPOSURE_ASSET)
EXPOSURE_THEME: Final = int(Reason.EXPOSURE_THEME)
EXPOSURE_CLUSTER: Final = int(Reason.EXPOSURE_CLUSTER)
EXPOSURE_TOTAL: Final = int(Reason.EXPOSURE_TOTAL)
MARGIN: Final = int(Reason.MARGIN)
CASH: Final = int(Reason.CASH)
DEPTH: Final = int(Reason.DEPTH)
_NO_LIMIT: Final = INT64_MAX


@kernel
def pending_lots(state: np.void, index: int, side: int) -> int:
    """Lots of live orders on ``side`` that may still fill."""
    orders_of, lots = state["orders"][index], 0
    for k in range(orders_of["live"]):
        if orders_of["slots"][k]["side"] == side:
            lots += orders.remaining(orders_of["slots"][k])
    return lots


@kernel
def pending_value(config: np.void, state: np.void, index: int, side: int) -> int:
    """Quote units of live orders on ``side`` that may still fill, at the prices they were approved at."""
    orders_of, value = state["orders"][index], 0
    for k in range(orders_of["live"]):
        order = orders_of["slots"][k]
        if order["side"] == side:
            value += units.notional(config["markets"][index]["instrument"], order["price"], orders.remaining(order), UP)
    return value


@kernel
def side_exposure(config: np.void, state: np.void, index: int, side: int) -> int:
    """Quote units held in the direction of ``side`` if all its live orders fill and none of the other side's does."""
    held = state["positions"][index]["value"]
    return (held if side == BUY else -held) + pending_value(config, state, index, side)


@kernel
def worst_exposure(config: np.void, state: np.void, index: int) -> int:
    """Quote units of instrument ``index`` in the direction that is worse for it."""
    return max(side_exposure(config, state, index, BUY), side_exposure(config, state, index, SELL))


@kernel
def others_exposure(config: np.void, state: np.void, index: int) -> int:
    """The worst exposure of all instruments but ``index``."""
    total = 0
    for other in range(config["n_instruments"]):
        if other != index:
            total += worst_exposure(config, state, other)
    return total


@kernel
def members_exposure(config: np.void, state: np.void, index: int, members: int) -> int:
    """The worst exposure of the instruments in ``members`` (bit k: instrument k), without ``index``."""
    total = 0
    for other in range(config["n_instruments"]):
        if other != index and (members >> other) & 1 == 1:
            total += worst_exposure(config, state, other)
    return total


@kernel
def with_order(config: np.void, state: np.void, index: int, side: int, value: int) -> int:
    """The worst exposure of ``index`` with ``value`` more pending on ``side``."""
    return max(side_exposure(config, state, index, side) + value, side_exposure(config, state, index, 3 - side))


@kernel
def in_asset(config: np.void, state: np.void, index: int, side: int, value: int) -> tuple[int, int]:
    """(exposure with ``value`` more on ``side``, its cap) of the instrument."""
    cap = share_ppm(max(0, state["account"]["equity"]), config["asset_cap_ppm"], DOWN)
    return side_exposure(config, state, index, side) + value, cap


@kernel
def in_total(config: np.void, state: np.void, index: int, side: int, value: int) -> tuple[int, int]:
    """(exposure with ``value`` more on ``side``, its cap) of the account."""
    cap = share_ppm(max(0, state["account"]["equity"]), config["total_cap_ppm"], DOWN)
    return others_exposure(config, state, index) + with_order(config, state, index, side, value), cap


@kernel
def in_groups(config: np.void, state: np.void, index: int, side: int, value: int, is_cluster: int) -> tuple[int, int]:
    """(exposure with ``value`` more on ``side``, its cap) of the theme or cluster with the least room; (0, 0): none."""
    worst, worst_cap, found = 0, 0, False
    for k in range(config["n_groups"]):
        group = config["groups"][k]
        if group["is_cluster"] != is_cluster or (group["members"] >> index) & 1 == 0:
            continue
        cap = share_ppm(max(0, state["account"]["equity"]), group["cap_ppm"], DOWN)
        held = members_exposure(config, state, index, group["members"])
        held += with_order(config, state, index, side, value)
        if not found or cap - held < worst_cap - worst:
            worst, worst_cap, found = held, cap, True
    return worst, worst_cap


@kernel
def margin_total(config: np.void, equity: int) -> int:
    """The exposure that uses all margin of an account worth ``equity``."""
    return share_ppm(max(0, equity), config["leverage_ppm"], DOWN)


@kernel
def margin_allowed(config: np.void, equity: int) -> int:
    """The most exposure that keeps the margin in use within ``deleverage_ppm``."""
    return mul_div(max(0, equity), config["leverage_ppm"] * config["deleverage_ppm"], PPM * PPM, DOWN)


@kernel
def in_margin(config: np.void, state: np.void, index: int, side: int, value: int) -> tuple[int, int]:
    """(exposure with ``value`` more on ``side``, the most that margin allows) of the account."""
    held = others_exposure(config, state, index) + with_order(config, state, index, side, value)
    return held, margin_allowed(config, state["account"]["equity"])


@kernel
def all_pending(config: np.void, state: np.void) -> int:
    """Quote units of all live orders of both sides."""
    value = 0
    for index in range(config["n_instruments"]):
        if state["orders"][index]["live"] > 0:
            value += pending_value(config, state, index, BUY) + pending_value(config, state, index, SELL)
    return value


@kernel
def free_cash(config: np.void, state: np.void) -> int:
    """Cash not reserved for pending buys, in quote units."""
    cash = state["account"]["cash"]
    for index in range(config["n_instruments"]):
        orders_of = state["orders"][index]
        for k in range(orders_of["live"]):
            order = orders_of["slots"][k]
            if order["side"] == BUY:
                cash -= buy_cost(config, index, order["price"], orders.remaining(order))
    return cash


@kernel
def buy_cost(config: np.void, index: int, price: int, lots: int) -> int:
    """Quote units a market buy is expected to take at most: slipped price and taker fee; a gap may exceed it."""
    instrument = config["markets"][index]["instrument"]
    worst = units.worse_price(price, config["slippage_ppm"], True)
    value = units.notional(instrument, worst, lots, UP)
    return value + max(0, units.fee(value, instrument["taker_fee_ppm"]))


@kernel
def cash_budget(config: np.void, state: np.void, index: int) -> int:
    """The notional at the slipped price that free cash covers together with its fee, in quote units."""
    rate = max(0, config["markets"][index]["instrument"]["taker_fee_ppm"])
    return mul_div(max(0, free_cash(config, state) - 1), PPM, PPM + rate, DOWN)


@kernel
def expected_fee(config: np.void, index: int, value: int) -> int:
    """The fee of trading ``value`` at the dearer of the instrument's two rates; a rebate counts as none."""
    instrument = config["markets"][index]["instrument"]
    return units.fee(value, max(0, max(instrument["maker_fee_ppm"], instrument["taker_fee_ppm"])))


@kernel
def pending_fees(config: np.void, state: np.void) -> int:
    """The expected fees of all live orders."""
    total = 0
    for index in range(config["n_instruments"]):
        if state["orders"][index]["live"] > 0:
            total += expected_fee(config, index, pending_value(config, state, index, BUY))
            total += expected_fee(config, index, pending_value(config, state, index, SELL))
    return total


@kernel
def in_fees(config: np.void, state: np.void, index: int, value: int) -> tuple[int, int]:
    """(expected fee of trading ``value``, the most it may be): of its value, and of what the day's budget has left."""
    if config["fee_guard_ppm"] == 0 and config["fee_budget_day_ppm"] == 0:
        return 0, 0
    most = _NO_LIMIT
    if config["fee_guard_ppm"] > 0:
        most = share_ppm(value, config["fee_guard_ppm"], DOWN)
    if config["fee_budget_day_ppm"] > 0:
        budget = share_ppm(max(0, state["risk"]["day_equity"]), config["fee_budget_day_ppm"], DOWN)
        most = min(most, budget - state["risk"]["day_fees"] - pending_fees(config, state))
    return expected_fee(config, index, value), most


@kernel
def depth_lots(config: np.void, state: np.void, index: int, side: int) -> int:
    """The most lots one entry on ``side`` may have: of its capacity, and of what the other side shows at its best."""
    market, view, most = config["markets"][index], state["positions"][index]["view"], _NO_LIMIT
    if market["capacity_lots"] > 0:
        most = market["capacity_lots"]
    if config["depth_share_ppm"] > 0 and (view["bid"] > 0 or view["ask"] > 0):
        shown = view["ask_qty"] if side == BUY else view["bid_qty"]
        most = min(most, share_ppm(max(0, shown), config["depth_share_ppm"], DOWN))
    return most


@kernel
def in_depth(config: np.void, state: np.void, index: int, side: int, qty: int) -> tuple[int, int]:
    """(lots of an entry, the most it may have); (0, 0) where nothing limits it."""
    most = depth_lots(config, state, index, side)
    return (0, 0) if most == _NO_LIMIT else (qty, most)


@kernel
def room(config: np.void, state: np.void, index: int, side: int, lots: int, price: int) -> tuple[int, int]:
    """(lots, reason): as many of ``lots`` at ``price`` ticks as every limit leaves room for, and which left the least.

    The reason is 0 if nothing was clipped. Only sizes come from here; the chain judges the result again.
    """
    instrument, reason = config["markets"][index]["instrument"], 0
    depth = depth_lots(config, state, index, side)
    if depth < lots:
        lots, reason = depth, DEPTH
    if lots > INT64_MAX // (price * instrument["value_num"]):  # too many to multiply with
        lots = min(lots, units.lots_for(instrument, price, config["equity_max"]))
    used, most = in_asset(config, state, index, side, 0)
    lots, reason = _clip(config, index, price, lots, most - used, reason, EXPOSURE_ASSET)
    if config["n_groups"] > 0:
        for is_cluster in range(2):
            used, most = in_groups(config, state, index, side, 0, is_cluster)
            name = EXPOSURE_CLUSTER if is_cluster == 1 else EXPOSURE_THEME
            if used != 0 or most != 0:
                lots, reason = _clip(config, index, price, lots, most - used, reason, name)
    used, most = in_total(config, state, index, side, 0)
    lots, reason = _clip(config, index, price, lots, most - used, reason, EXPOSURE_TOTAL)
    if config["is_margin"] == 1:
        used, most = in_margin(config, state, index, side, 0)
        return _clip(config, index, price, lots, most - used, reason, MARGIN)
    if side == BUY and buy_cost(config, index, price, lots) > free_cash(config, state):
        worst = units.worse_price(price, config["slippage_ppm"], True)
        affordable = units.lots_for(instrument, worst, cash_budget(config, state, index))
        if affordable < lots:
            lots, reason = affordable, CASH
    return lots, reason


@kernel
def _clip(config: np.void, index: int, price: int, lots: int, left: int, reason: int, limit: int) -> tuple[int, int]:
    """(lots, reason) so that ``lots`` are worth at most ``left``; ``limit`` is the reason if that takes some off."""
    instrument = config["markets"][index]["instrument"]
    if units.notional(instrument, price, lots, UP) <= left:  # almost always, and it spares a division
        return lots, reason
    return units.lots_for(instrument, price, min(max(0, left), config["equity_max"])), limit


@kernel
def lots_within_loss(config: np.void, state: np.void, index: int, side: int, price: int, stop: int, most: int) -> int:
    """As many of ``most`` lots, entered at ``price`` ticks and stopped at ``stop``, as stay within what today may lose.

    The loss counts the distance, slippage on the way in and out, and the taker's fee of both (requirements RISK-13).
    What is open already is not counted: its own loss comes on top.
    """
    is_buy = side == BUY
    left = state["account"]["equity"] - hard_floor(state["risk"]) - 1
    enter = units.worse_price(price, config["slippage_ppm"], is_buy)
    leave = units.worse_price(stop, config["slippage_ppm"], not is_buy)
    distance = max(0, enter - leave if is_buy else leave - enter)
    if _stopped_loss(config, index, distance, max(enter, leave), most) <= left:
        return most  # almost always
    low, high = 0, most - 1
    while low < high:
        middle = low + (high - low + 1) // 2
        if _stopped_loss(config, index, distance, max(enter, leave), middle) <= left:
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def _stopped_loss(config: np.void, index: int, distance: int, price: int, lots: int) -> int:
    """What a round trip of ``lots`` loses that moves ``distance`` ticks against us, at ``price`` ticks at most."""
    instrument = config["markets"][index]["instrument"]
    if lots > units.lots_for(instrument, price, config["equity_max"]):
        return INT64_MAX  # worth more than an account ever holds: no fill of it would be booked
    fees = 2 * units.fee(units.notional(instrument, price, lots, UP), max(0, instrument["taker_fee_ppm"]))
    return units.notional(instrument, distance, lots, UP) + 1 + fees  # 1: of two values rounded apart


@kernel
def hard_floor(risk: np.void) -> int:
    """The equity at or below which the account is closed today, quote units; ``risk``: dtype RISK_STATE."""
    return max(risk["day_sell_floor"], max(risk["day_limit_floor"], risk["total_floor"]))
