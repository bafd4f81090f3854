"""The nine-step chain (requirements RISK-18), as data, and the approval only it can mint.

Every rule is judged on the sized order; the first one, in the order below, that is violated *and* applies to the
action is the reason of the refusal. No rule applies to a cancel. A reduction is stopped only where the order could not
be meant or could not be executed: a stale or repeated signal, the venue's own filters, more than is held. Limits on
exposure, rate, cool-down, daily loss and the kill switch never keep us in a position.
"""

from typing import Final

import numpy as np

from core import orders, portfolio, units
from core.errors import BrokenInvariant
from core.jit import kernel
from core.layout import RATE_SLOTS
from core.records import HOUR_NS, PPM, Action, Reason, RiskState, Side
from core.units import DOWN, UP, as_int, mul_div, share_ppm

#        rule                      open  reduce  cancel
RULES: Final = (
    (Reason.NOT_WHITELISTED, True, False, False),  # 1 policy whitelist
    (Reason.STALE, True, True, False),  # 2 time to live
    (Reason.LOW_CONFIDENCE, True, False, False),  # 3 confidence
    (Reason.KILL_SWITCH, True, False, False),  # 4 HALT and FLATTEN
    (Reason.CIRCUIT_OPEN, True, False, False),  # 5 circuit breaker
    (Reason.PRICE_BAND, True, False, False),  # 6 price band
    (Reason.FILTER_TICK, True, True, False),  # 7 the venue's filters
    (Reason.FILTER_LOT, True, True, False),
    (Reason.FILTER_NOTIONAL, True, True, False),
    (Reason.EXPOSURE_ASSET, True, False, False),  # 8 risk validation
    (Reason.EXPOSURE_TOTAL, True, False, False),
    (Reason.CASH, True, False, False),
    (Reason.LONG_ONLY, True, True, False),
    (Reason.COOLDOWN, True, False, False),
    (Reason.DAILY_STOP, True, False, False),
    (Reason.RATE_LIMIT, True, False, False),
    (Reason.DUPLICATE, True, True, False),  # 9 idempotent submission
)
REASONS: Final = np.array([rule[0] for rule in RULES], np.int64)
# APPLIES[action] has bit k set if rule k may refuse that action; row 0 is no action.
APPLIES: Final = np.array(
    [0] + [sum(1 << k for k, rule in enumerate(RULES) if rule[action]) for action in Action], np.int64
)

BUY: Final = int(Side.BUY)
HALT: Final = int(RiskState.HALT)
OPEN: Final = int(Action.OPEN)


@kernel
def refusal(
    config: np.void,
    state: np.void,
    index: int,
    action: int,
    qty: int,
    age_ns: int,
    confidence_ppm: int,
    repeated: bool,
) -> int:
    """The Reason of the first rule that refuses ``qty`` lots of ``action`` in instrument ``index``; 0: approved.

    ``age_ns``: of the bar the signal was made from; ``repeated``: a decision for that bar was made before.
    """
    violated = _signal_rules(config, state, index, age_ns, confidence_ppm)
    violated |= _filter_rules(config, state, index, qty) << 6
    if violated & APPLIES[action] == 0:  # the limits are computed for quantities that can be orders at all
        violated |= _limit_rules(config, state, index, action, qty) << 9
        violated |= int(repeated) << 16
    refusing = violated & APPLIES[action]
    if refusing == 0:
        return 0
    rule = 0
    while (refusing >> rule) & 1 == 0:
        rule += 1
    return REASONS[rule]


@kernel
def _signal_rules(config: np.void, state: np.void, index: int, age_ns: int, confidence_ppm: int) -> int:
    """Bits 0 to 5: whitelist, age, confidence, kill switch, circuit, price band."""
    market, position, risk = config["markets"][index], state["positions"][index], state["risk"]
    bits = 0
    if market["allowed"] == 0:
        bits |= 1
    if age_ns > config["prediction_ttl_ns"]:
        bits |= 2
    if confidence_ppm < config["min_confidence_ppm"]:
        bits |= 4
    if risk["state"] >= HALT:
        bits |= 8
    if state["account"]["now_ns"] < risk["circuit_until_ns"]:
        bits |= 16
    previous = position["previous_close"]
    if previous > 0:
        move = abs(position["bar"]["close"] - previous)
        if move > share_ppm(previous, config["price_band_ppm"], DOWN):
            bits |= 32
    return bits


@kernel
def _filter_rules(config: np.void, state: np.void, index: int, qty: int) -> int:
    """Bits 0 to 2: a usable price, the lot size, the notional."""
    market, price = config["markets"][index], state["positions"][index]["price"]
    instrument = market["instrument"]
    if price < 1:
        return 1
    if qty < max(1, instrument["min_lots"]) or qty > market["lots_max"]:
        return 2
    return 4 if units.notional(instrument, price, qty, DOWN) < max(1, instrument["min_notional"]) else 0


@kernel
def _limit_rules(config: np.void, state: np.void, index: int, action: int, qty: int) -> int:
    """Bits 0 to 6: asset cap, total cap, cash, long only, cool-down, daily stop, rate."""
    risk, position, now = state["risk"], state["positions"][index], state["account"]["now_ns"]
    market = config["markets"][index]
    bits = 0
    if action == OPEN:
        value = units.notional(market["instrument"], position["price"], qty, UP)
        if value > asset_headroom(config, state, index):
            bits |= 1
        if value > total_headroom(config, state):
            bits |= 2
        if buy_cost(config, index, position["price"], qty) > free_cash(config, state):
            bits |= 4
    elif qty > portfolio.sellable_lots(config, state, index) - _lots_being_sold(state, index):
        bits |= 8
    if position["exit_ns"] > 0 and now - position["exit_ns"] < config["cooldown_ns"]:
        bits |= 16
    if risk["day_stopped"] == 1:
        bits |= 32
    most = config["max_orders_per_hour"]
    if risk["submitted"] >= most and risk["submit_ns"][(risk["submitted"] - most) % RATE_SLOTS] > now - HOUR_NS:
        bits |= 64
    return bits


@kernel
def asset_headroom(config: np.void, state: np.void, index: int) -> int:
    """Quote units that may still be bought of instrument ``index``, its pending order counted."""
    cap = share_ppm(max(0, state["account"]["equity"]), config["asset_cap_ppm"], DOWN)
    return cap - state["positions"][index]["value"] - _pending_buy(config, state, index)


@kernel
def total_headroom(config: np.void, state: np.void) -> int:
    """Quote units that may still be bought of anything, all pending orders counted."""
    room = share_ppm(max(0, state["account"]["equity"]), config["total_cap_ppm"], DOWN) - state["account"]["exposure"]
    for index in range(config["n_instruments"]):
        room -= _pending_buy(config, state, index)
    return room


@kernel
def free_cash(config: np.void, state: np.void) -> int:
    """Cash not reserved for pending buys, in quote units."""
    cash = state["account"]["cash"]
    for index in range(config["n_instruments"]):
        order = state["orders"][index]
        if order["side"] == BUY and orders.is_live(order):
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
def _pending_buy(config: np.void, state: np.void, index: int) -> int:
    order = state["orders"][index]
    if order["side"] != BUY or not orders.is_live(order):
        return 0
    return units.notional(config["markets"][index]["instrument"], order["price"], orders.remaining(order), UP)


@kernel
def _lots_being_sold(state: np.void, index: int) -> int:
    order = state["orders"][index]
    return 0 if order["side"] == BUY else orders.remaining(order)


@kernel
def token(config: np.void, order_id: int, index: int, side: int, action: int, qty: int, deadline_ns: int) -> int:
    """The approval of exactly this order under exactly this configuration: 62 bits, two residues, never 0.

    Not a secret: it makes an unapproved or altered order impossible to send by mistake, not by malice.
    """
    first, second = 1, 1
    for word in (config["key"], order_id, index, side, action, qty, deadline_ns):
        first = (first * 48_271 + word % 2_147_483_647) % 2_147_483_647
        second = (second * 69_621 + word % 2_147_483_629) % 2_147_483_629
    return (first + 1) * 2_147_483_648 + second


@kernel
def verify(config: np.void, intent: np.void) -> None:
    """Raise BrokenInvariant unless ``intent`` (dtype INTENT) carries the approval of exactly what it says."""
    expected = token(
        config,
        intent["order_id"],
        as_int(intent["instrument"]),
        as_int(intent["side"]),
        as_int(intent["flags"]),
        intent["qty"],
        intent["deadline_ns"],
    )
    if intent["token"] != expected:
        raise BrokenInvariant("an intent's token does not match it: it was not approved by risk, or altered since")


@kernel
def cash_budget(config: np.void, state: np.void, index: int) -> int:
    """The notional at the slipped price that free cash covers together with its fee, in quote units."""
    rate = max(0, config["markets"][index]["instrument"]["taker_fee_ppm"])
    return mul_div(max(0, free_cash(config, state) - 1), PPM, PPM + rate, DOWN)
