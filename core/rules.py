"""The nine-step chain (requirements RISK-18), as data, and the approval only it can mint.

Every rule is judged on the sized order; the first one, in the order below, that is violated *and* applies to the
action is the reason of the refusal. No rule applies to a cancel. A reduction is stopped only where the order could not
be meant or could not be executed: a stale or repeated signal, the venue's own filters, more than is held. Limits on
exposure, rate, cool-down, daily loss and the kill switch never keep us in a position.
"""

from typing import Final

import numpy as np

from core import orders, units
from core.errors import BrokenInvariant
from core.jit import kernel
from core.layout import ORDERS_MAX, RATE_SLOTS
from core.outbox import emit
from core.records import HOUR_NS, PPM, Action, Kind, Reason, RiskState, Side, Verdict
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
    (Reason.ORDERS_MAX, True, True, False),
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

N_RULES: Final = len(RULES)

CHECK: Final = int(Kind.CHECK)
PASS: Final = int(Verdict.PASS)
REFUSED: Final = int(Verdict.REFUSED)
NOT_APPLIED: Final = int(Verdict.NOT_APPLIED)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
HALT: Final = int(RiskState.HALT)


@kernel
def refusal(
    config: np.void,
    state: np.void,
    box: np.void,
    index: int,
    action: int,
    side: int,
    qty: int,
    limit: int,
    age_ns: int,
    confidence_ppm: int,
    repeated: bool,
) -> int:
    """The Reason of the first rule that refuses ``qty`` lots of ``action`` in instrument ``index``; 0: approved.

    ``limit``: the order's price in ticks, 0 at market; ``age_ns``: of the event the signal was made from; ``repeated``:
    a decision for that event was made before. Records what was judged as CHECK records: every rule of an approved
    order, under the id it is about to get; of a refused one the rule that refused it, under id 0.
    """
    first, now = box["count"], state["account"]["now_ns"]
    order_id = state["account"]["next_order_id"]
    for rule in range(N_RULES):
        if (APPLIES[action] >> rule) & 1 == 0:
            emit(box, now, now, CHECK, side, index, REASONS[rule], NOT_APPLIED, order_id, 0, 0, qty, limit)
            continue
        value, most = measure(config, state, index, rule, side, qty, limit, age_ns, confidence_ppm, repeated)
        if value > most:
            box["count"] = first
            emit(box, now, now, CHECK, side, index, REASONS[rule], REFUSED, 0, value, most, qty, limit)
            return REASONS[rule]
        emit(box, now, now, CHECK, side, index, REASONS[rule], PASS, order_id, value, most, qty, limit)
    return 0


@kernel
def measure(
    config: np.void,
    state: np.void,
    index: int,
    rule: int,
    side: int,
    qty: int,
    limit: int,
    age_ns: int,
    confidence_ppm: int,
    repeated: bool,
) -> tuple[int, int]:
    """(value, the most it may be) of rule number ``rule`` for an order; the rule is violated if value > the most.

    Rules are asked in order, so a later one may rely on what an earlier one let through: the limits multiply only
    quantities and prices that passed the filters.
    """
    if rule < 6:
        return _signal_rule(config, state, index, rule, limit, age_ns, confidence_ppm)
    if rule < 10:
        return _filter_rule(config, state, index, rule, qty, limit)
    if rule < 14:
        return _exposure_rule(config, state, index, rule, side, qty, limit)
    if rule < 17:
        return _pace_rule(config, state, index, rule)
    return int(repeated), 0


@kernel
def _signal_rule(
    config: np.void, state: np.void, index: int, rule: int, limit: int, age_ns: int, confidence_ppm: int
) -> tuple[int, int]:
    """Whitelist, age, confidence, kill switch, circuit, price band."""
    if rule == 0:
        return 1 - config["markets"][index]["allowed"], 0
    if rule == 1:
        return age_ns, config["prediction_ttl_ns"]
    if rule == 2:
        return PPM - confidence_ppm, PPM - config["min_confidence_ppm"]
    if rule == 3:
        return state["risk"]["state"], HALT - 1
    if rule == 4:
        return state["risk"]["circuit_until_ns"], state["account"]["now_ns"]
    position = state["positions"][index]
    reference = position["price"] if limit > 0 else position["previous_close"]
    if reference == 0:
        return 0, 0
    price = limit if limit > 0 else position["view"]["bar"]["close"]
    return abs(price - reference), share_ppm(reference, config["price_band_ppm"], DOWN)


@kernel
def _filter_rule(config: np.void, state: np.void, index: int, rule: int, qty: int, limit: int) -> tuple[int, int]:
    """A usable price and a free slot, the lot size, the notional: what the venue would refuse."""
    market, price = config["markets"][index], limit if limit > 0 else state["positions"][index]["price"]
    instrument = market["instrument"]
    if rule == 6:
        return (1, price) if price < 1 else (price, market["price_max"])
    if rule == 7:
        return (qty, market["lots_max"]) if qty > market["lots_max"] else (max(1, instrument["min_lots"]), qty)
    if rule == 8:
        return max(1, instrument["min_notional"]), units.notional(instrument, price, qty, DOWN)
    return state["orders"][index]["live"] + 1, ORDERS_MAX


@kernel
def _exposure_rule(
    config: np.void, state: np.void, index: int, rule: int, side: int, qty: int, limit: int
) -> tuple[int, int]:
    """Asset cap, total cap, cash, long only: everything pending counted, and this order with it."""
    market, equity = config["markets"][index], max(0, state["account"]["equity"])
    price = limit if limit > 0 else state["positions"][index]["price"]
    value = units.notional(market["instrument"], price, qty, UP)
    if rule == 10:
        return side_exposure(config, state, index, side) + value, share_ppm(equity, config["asset_cap_ppm"], DOWN)
    if rule == 11:
        mine = max(side_exposure(config, state, index, side) + value, side_exposure(config, state, index, 3 - side))
        return others_exposure(config, state, index) + mine, share_ppm(equity, config["total_cap_ppm"], DOWN)
    if rule == 12:
        if config["is_margin"] == 1 or side != BUY:
            return 0, 0
        return buy_cost(config, index, price, qty), free_cash(config, state)
    if config["is_margin"] == 1 or side == BUY:
        return 0, 0
    return qty, state["positions"][index]["view"]["lots"] - pending_lots(state, index, SELL)


@kernel
def _pace_rule(config: np.void, state: np.void, index: int, rule: int) -> tuple[int, int]:
    """Cool-down, daily stop, rate: times are compared with now."""
    now = state["account"]["now_ns"]
    if rule == 14:
        left_ns = state["positions"][index]["exit_ns"]
        return (left_ns + config["cooldown_ns"], now) if left_ns > 0 else (0, 0)
    risk = state["risk"]
    if rule == 15:
        return risk["day_stopped"], 0
    most = config["max_orders_per_hour"]
    if most == 0 or risk["submitted"] < most:
        return 0, 0
    return risk["submit_ns"][(risk["submitted"] - most) % RATE_SLOTS] + HOUR_NS, now


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
def others_exposure(config: np.void, state: np.void, index: int) -> int:
    """The worst exposure of all instruments but ``index``, each in the direction that is worse for it."""
    total = 0
    for other in range(config["n_instruments"]):
        if other != index:
            total += max(side_exposure(config, state, other, BUY), side_exposure(config, state, other, SELL))
    return total


@kernel
def asset_headroom(config: np.void, state: np.void, index: int, side: int) -> int:
    """Quote units by which orders on ``side`` may still add to instrument ``index``."""
    cap = share_ppm(max(0, state["account"]["equity"]), config["asset_cap_ppm"], DOWN)
    return cap - side_exposure(config, state, index, side)


@kernel
def total_headroom(config: np.void, state: np.void, index: int, side: int) -> int:
    """Quote units by which orders on ``side`` of instrument ``index`` may still add to the whole account."""
    cap = share_ppm(max(0, state["account"]["equity"]), config["total_cap_ppm"], DOWN)
    return cap - others_exposure(config, state, index) - side_exposure(config, state, index, side)


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
def token(
    config: np.void, order_id: int, index: int, side: int, flags: int, price: int, qty: int, deadline_ns: int
) -> int:
    """The approval of exactly this order under exactly this configuration: 62 bits, two residues, never 0.

    Not a secret: it makes an unapproved or altered order impossible to send by mistake, not by malice.
    """
    first, second = 1, 1
    for word in (config["key"], order_id, index, side, flags, price, qty, deadline_ns):
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
        intent["price"],
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
