"""The nine-step chain (requirements RISK-18), as data, and the approval only it can mint.

Every rule is judged on the sized order; the first one, in the order below, that is violated *and* applies to the
action is the reason of the refusal. No rule applies to a cancel. A reduction is stopped only where the order could not
be meant or could not be executed: a stale or repeated signal, a halted market, the venue's own filters, more than is
held. Limits on exposure, margin, fees, pace, losses and the kill switch never keep us in a position.

A value at its limit passes, one beyond it does not. ``docs/risk.md`` states every rule with its unit and its reason.
"""

from typing import Final

import numpy as np

from core import exposure, pace, units
from core.errors import BrokenInvariant
from core.jit import kernel, rare
from core.layout import ORDERS_MAX, RATE_SLOTS
from core.outbox import emit
from core.records import HOUR_NS, PPM, Action, Kind, MarketStatus, Reason, RiskState, Side, Verdict
from core.units import DOWN, UP, as_int, share_ppm

#        rule                      open  reduce  cancel
RULES: Final = (
    (Reason.NOT_WHITELISTED, True, False, False),  # 1 policy whitelist
    (Reason.STALE, True, True, False),  # 2 time to live
    (Reason.LOW_CONFIDENCE, True, False, False),  # 3 confidence
    (Reason.KILL_SWITCH, True, False, False),  # 4 HALT and FLATTEN
    (Reason.CIRCUIT_OPEN, True, False, False),  # 5 circuit breaker
    (Reason.PRICE_BAND, True, False, False),  # 6 price band
    (Reason.MARKET_HALTED, True, True, False),  # 7 what the venue would refuse
    (Reason.FILTER_TICK, True, True, False),
    (Reason.FILTER_LOT, True, True, False),
    (Reason.FILTER_NOTIONAL, True, True, False),
    (Reason.ORDERS_MAX, True, True, False),
    (Reason.EXPOSURE_ASSET, True, False, False),  # 8 risk: how much
    (Reason.EXPOSURE_THEME, True, False, False),
    (Reason.EXPOSURE_CLUSTER, True, False, False),
    (Reason.EXPOSURE_TOTAL, True, False, False),
    (Reason.MARGIN, True, False, False),
    (Reason.CASH, True, False, False),
    (Reason.LONG_ONLY, True, True, False),
    (Reason.REDUCE_ONLY, False, True, False),
    (Reason.FEE_GUARD, True, False, False),
    (Reason.DEPTH, True, False, False),
    (Reason.TURNOVER, True, False, False),  # how often
    (Reason.COOLDOWN, True, False, False),
    (Reason.RATE_LIMIT, True, False, False),
    (Reason.SIGNAL_RATE, True, False, False),
    (Reason.SIGNAL_RATE_HIGH, True, False, False),
    (Reason.DAILY_STOP, True, False, False),  # after which losses
    (Reason.WEEKLY_STOP, True, False, False),
    (Reason.TOTAL_LOSS, True, False, False),
    (Reason.DUPLICATE, True, True, False),  # 9 idempotent submission
)
REASONS: Final = np.array([rule[0] for rule in RULES], np.int64)
# APPLIES[action] has bit k set if rule k may refuse that action; row 0 is no action.
APPLIES: Final = np.array(
    [0] + [sum(1 << k for k, rule in enumerate(RULES) if rule[action]) for action in Action], np.int64
)
N_RULES: Final = len(RULES)
# These always compare something, whatever the action: an order without their CHECK records was not judged.
ALWAYS_SAID: Final = (Reason.FILTER_TICK, Reason.FILTER_LOT, Reason.FILTER_NOTIONAL, Reason.ORDERS_MAX)


def _number(reason: Reason) -> int:
    return [rule[0] for rule in RULES].index(reason)


_WHITELIST: Final = _number(Reason.NOT_WHITELISTED)
_STALE: Final = _number(Reason.STALE)
_CONFIDENCE: Final = _number(Reason.LOW_CONFIDENCE)
_KILL_SWITCH: Final = _number(Reason.KILL_SWITCH)
_CIRCUIT: Final = _number(Reason.CIRCUIT_OPEN)
_BAND: Final = _number(Reason.PRICE_BAND)
_HALTED: Final = _number(Reason.MARKET_HALTED)
_TICK: Final = _number(Reason.FILTER_TICK)
_LOT: Final = _number(Reason.FILTER_LOT)
_NOTIONAL: Final = _number(Reason.FILTER_NOTIONAL)
_ORDERS: Final = _number(Reason.ORDERS_MAX)
_ASSET: Final = _number(Reason.EXPOSURE_ASSET)
_THEME: Final = _number(Reason.EXPOSURE_THEME)
_CLUSTER: Final = _number(Reason.EXPOSURE_CLUSTER)
_TOTAL: Final = _number(Reason.EXPOSURE_TOTAL)
_MARGIN: Final = _number(Reason.MARGIN)
_CASH: Final = _number(Reason.CASH)
_LONG_ONLY: Final = _number(Reason.LONG_ONLY)
_REDUCE_ONLY: Final = _number(Reason.REDUCE_ONLY)
_FEES: Final = _number(Reason.FEE_GUARD)
_DEPTH: Final = _number(Reason.DEPTH)
_TURNOVER: Final = _number(Reason.TURNOVER)
_COOLDOWN: Final = _number(Reason.COOLDOWN)
_RATE: Final = _number(Reason.RATE_LIMIT)
_SIGNALS: Final = _number(Reason.SIGNAL_RATE)
_SIGNALS_HIGH: Final = _number(Reason.SIGNAL_RATE_HIGH)
_DAY: Final = _number(Reason.DAILY_STOP)
_WEEK: Final = _number(Reason.WEEKLY_STOP)
_LOSS: Final = _number(Reason.TOTAL_LOSS)

CHECK: Final = int(Kind.CHECK)
PASS: Final = int(Verdict.PASS)
REFUSED: Final = int(Verdict.REFUSED)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
HALT: Final = int(RiskState.HALT)
TRADING: Final = int(MarketStatus.TRADING)


@rare
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
    a decision for that event was made before. Records what was judged as CHECK records: of an approved order every
    rule that applies to ``action`` and compares something (0 against 0 is silent: no limit, or nothing against it),
    under the id it is about to get; of a refused one the rule that refused it, under id 0. An approval is counted
    (signals, the circuit's probe): what is approved must be sent.
    """
    first, now = box["count"], state["account"]["now_ns"]
    order_id, asked = state["account"]["next_order_id"], APPLIES[action]
    for rule in range(N_RULES):
        if (asked >> rule) & 1 == 0:
            continue
        value, most = measure(config, state, index, rule, side, qty, limit, age_ns, confidence_ppm, repeated)
        if value > most:
            box["count"] = first
            emit(box, now, now, CHECK, side, index, REASONS[rule], REFUSED, 0, value, most, qty, limit)
            return REASONS[rule]
        if value != 0 or most != 0:
            emit(box, now, now, CHECK, side, index, REASONS[rule], PASS, order_id, value, most, qty, limit)
    pace.approved(config, state, index, action, order_id, confidence_ppm)
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
    if rule <= _BAND:
        return _signal_rule(config, state, index, rule, limit, age_ns, confidence_ppm)
    if rule <= _ORDERS:
        return _venue_rule(config, state, index, rule, qty, limit)
    if rule <= _TURNOVER:
        return _amount_rule(config, state, index, rule, side, qty, limit)
    if rule <= _LOSS:
        return _pace_rule(config, state, index, rule, confidence_ppm)
    return int(repeated), 0


@kernel
def _signal_rule(
    config: np.void, state: np.void, index: int, rule: int, limit: int, age_ns: int, confidence_ppm: int
) -> tuple[int, int]:
    """Whitelist, age, confidence, kill switch, circuit, price band."""
    if rule == _WHITELIST:
        return 1 - config["markets"][index]["allowed"], 0
    if rule == _STALE:
        return age_ns, config["prediction_ttl_ns"]
    if rule == _CONFIDENCE:
        return PPM - confidence_ppm, PPM - config["min_confidence_ppm"]
    if rule == _KILL_SWITCH:
        return state["risk"]["state"], HALT - 1
    if rule == _CIRCUIT:
        return pace.circuit(config, state)
    position = state["positions"][index]
    reference = position["price"] if limit > 0 else position["previous_close"]
    if reference == 0:
        return 0, 0
    price = limit if limit > 0 else position["view"]["bar"]["close"]
    return abs(price - reference), share_ppm(reference, config["price_band_ppm"], DOWN)


@kernel
def _venue_rule(config: np.void, state: np.void, index: int, rule: int, qty: int, limit: int) -> tuple[int, int]:
    """An open market, a usable price and a free slot, the lot size, the notional: what the venue would refuse."""
    market, position = config["markets"][index], state["positions"][index]
    instrument, price = market["instrument"], limit if limit > 0 else position["price"]
    if rule == _HALTED:
        return int(not is_trading(position, state["account"]["now_ns"])), 0
    if rule == _TICK:
        return (1, price) if price < 1 else (price, market["price_max"])
    if rule == _LOT:
        return (qty, market["lots_max"]) if qty > market["lots_max"] else (max(1, instrument["min_lots"]), qty)
    if rule == _NOTIONAL:
        return max(1, instrument["min_notional"]), units.notional(instrument, price, qty, DOWN)
    return state["orders"][index]["live"] + 1, ORDERS_MAX


@kernel
def is_trading(position: np.void, now: int) -> bool:
    """The venue lets the instrument of ``position`` trade at ``now``: nothing else was said, or it has ended."""
    if position["status"] == 0 or position["status"] == TRADING:
        return True
    return 0 < position["status_until_ns"] <= now


@kernel
def _amount_rule(
    config: np.void, state: np.void, index: int, rule: int, side: int, qty: int, limit: int
) -> tuple[int, int]:
    """Caps, margin, cash, what is held, fees, depth, turnover: everything pending counted, and this order with it.

    Cash and long-only bind a spot account, margin and reduce-only one on margin: the others have (0, 0) there.
    """
    price = limit if limit > 0 else state["positions"][index]["price"]
    value = units.notional(config["markets"][index]["instrument"], price, qty, UP)
    if rule == _ASSET:
        return exposure.in_asset(config, state, index, side, value)
    if rule in (_THEME, _CLUSTER):
        return exposure.in_groups(config, state, index, side, value, rule - _THEME)
    if rule == _TOTAL:
        return exposure.in_total(config, state, index, side, value)
    if rule == _MARGIN:
        return exposure.in_margin(config, state, index, side, value) if config["is_margin"] == 1 else (0, 0)
    if rule == _CASH:
        if config["is_margin"] == 1 or side != BUY:
            return 0, 0
        return exposure.buy_cost(config, index, price, qty), exposure.free_cash(config, state)
    if rule in (_LONG_ONLY, _REDUCE_ONLY):
        if (config["is_margin"] == 1) != (rule == _REDUCE_ONLY) or (rule == _LONG_ONLY and side == BUY):
            return 0, 0
        held = state["positions"][index]["view"]["lots"]
        return qty, (held if side == SELL else -held) - exposure.pending_lots(state, index, side)
    if rule == _FEES:
        return exposure.in_fees(config, state, index, value)
    if rule == _DEPTH:
        return exposure.in_depth(config, state, index, side, qty)
    return pace.turnover(config, state, value)


@kernel
def _pace_rule(config: np.void, state: np.void, index: int, rule: int, confidence_ppm: int) -> tuple[int, int]:
    """Cool-down and rates, whose times are compared with now; the stops after losses."""
    now, risk = state["account"]["now_ns"], state["risk"]
    if rule == _COOLDOWN:
        left_ns = state["positions"][index]["exit_ns"]
        return (left_ns + config["cooldown_ns"], now) if left_ns > 0 else (0, 0)
    if rule == _RATE:
        most = config["max_orders_per_hour"]
        if most == 0 or risk["submitted"] < most:
            return 0, 0
        return risk["submit_ns"][(risk["submitted"] - most) % RATE_SLOTS] + HOUR_NS, now
    if rule == _SIGNALS:
        return pace.signals(config, state, index)
    if rule == _SIGNALS_HIGH:
        return pace.signals_high(config, state, index, confidence_ppm)
    if rule == _DAY:
        return risk["day_stopped"], 0
    if rule == _WEEK:
        return risk["week_stopped"], 0
    return risk["total_stopped"], 0


@rare
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
