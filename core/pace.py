"""How often and how much in a time: signals, turnover, losses in a row, and the circuit breaker's probe.

Signals are entries the chain approved; the orders by which one entry follows the market (``core.chase``) are one
signal, and an order each. Their rolling hour is exact: the time of the n-th last one is kept, and 60 minutes after it
the next is let through.

Turnover is what traded in a rolling window and what is pending. Every entry is judged with all of it, so what entries
trade in any window of that length stays within the cap: those that fill in a window were pending, or had filled in the
same length of time, when the last of them was approved. Windows are kept in 61 buckets of a second or a minute, the
oldest counted whole: the true window lies within them, and an entry may be let through up to one bucket late. Exits
count and are never refused.
"""

from typing import Final

import numpy as np

from core import exposure, orders, risk, units
from core.jit import kernel
from core.layout import BUCKET_SLOTS, LOSS_SLOTS, RATE_SLOTS
from core.records import HOUR_NS, MINUTE_NS, PPM, Action, FeeAsset, Metric, Reason, RiskState
from core.units import DOWN, UP, as_int, share_ppm

SECOND_NS: Final = MINUTE_NS // 60
BUCKETS: Final = 60
AMOUNT_MAX: Final = 2**62
OPEN: Final = int(Action.OPEN)
CAUTION: Final = int(RiskState.CAUTION)
BACK_OFF: Final = int(Reason.BACK_OFF)
LOSSES: Final = int(Metric.LOSSES)
FEE_IN_BASE: Final = int(FeeAsset.BASE)


@kernel
def approved(config: np.void, state: np.void, index: int, action: int, order_id: int, confidence_ppm: int) -> None:
    """Count an order that the chain has let through and that is sent now."""
    if action != OPEN:
        return
    risk_state, now = state["risk"], state["account"]["now_ns"]
    if not is_repost(state, index):
        risk_state["signal_ns"][risk_state["signals"] % RATE_SLOTS] = now
        risk_state["signals"] += 1
        if confidence_ppm >= config["high_confidence_ppm"]:
            risk_state["signal_high_ns"][risk_state["signals_high"] % RATE_SLOTS] = now
            risk_state["signals_high"] += 1
    if risk_state["failures"] >= config["circuit_failures"]:
        risk_state["probe_id"], risk_state["probe_instrument"] = order_id, index


@kernel
def is_repost(state: np.void, index: int) -> bool:
    """An entry of ``index`` is under way that follows the market: its next order is no new signal.

    No other entry of the instrument is sent meanwhile (``core.decide.resolve``).
    """
    return state["positions"][index]["chase"]["side"] != 0


@kernel
def circuit(config: np.void, state: np.void) -> tuple[int, int]:
    """(when the open circuit lets an entry through, now): later while a probe's fate is not known."""
    risk_state, now = state["risk"], state["account"]["now_ns"]
    until = risk_state["circuit_until_ns"]
    if until <= now and risk_state["failures"] >= config["circuit_failures"] and risk_state["probe_id"] > 0:
        orders_of = state["orders"][risk_state["probe_instrument"]]
        k = orders.find(orders_of, risk_state["probe_id"])
        if 0 <= k < orders_of["live"] and not orders.is_working(orders_of["slots"][k]):
            return now + 1, now
    return until, now


@kernel
def signals(config: np.void, state: np.void, index: int) -> tuple[int, int]:
    """(when the next entry may come, now) under the limit on entries; (0, now): at once, (0, 0): there is no limit."""
    risk_state, most, now = state["risk"], config["max_signals_per_hour"], state["account"]["now_ns"]
    if most == 0:
        return 0, 0
    if risk_state["signals"] < most or is_repost(state, index):
        return 0, now
    return risk_state["signal_ns"][(risk_state["signals"] - most) % RATE_SLOTS] + HOUR_NS, now


@kernel
def signals_high(config: np.void, state: np.void, index: int, confidence_ppm: int) -> tuple[int, int]:
    """The same for entries of high confidence; others are not its concern."""
    risk_state, most, now = state["risk"], config["max_signals_per_hour_high"], state["account"]["now_ns"]
    if most == 0:
        return 0, 0
    if risk_state["signals_high"] < most or confidence_ppm < config["high_confidence_ppm"]:
        return 0, now
    if is_repost(state, index):
        return 0, now
    return risk_state["signal_high_ns"][(risk_state["signals_high"] - most) % RATE_SLOTS] + HOUR_NS, now


@kernel
def turnover(config: np.void, state: np.void, value: int) -> tuple[int, int]:
    """(traded and pending with ``value`` more, the most it may be) of the window with the least room; (0, 0): none."""
    if config["turnover_minute_ppm"] == 0 and config["turnover_hour_ppm"] == 0:
        return 0, 0
    equity, now = max(0, state["account"]["equity"]), state["account"]["now_ns"]
    pending = exposure.all_pending(config, state) + value
    used, most = 0, AMOUNT_MAX
    if config["turnover_minute_ppm"] > 0:
        used = _sum(pending, traded(state["risk"]["seconds"], now // SECOND_NS))
        most = share_ppm(equity, config["turnover_minute_ppm"], DOWN)
    if config["turnover_hour_ppm"] > 0:
        hour = _sum(pending, traded(state["risk"]["minutes"], now // MINUTE_NS))
        cap = share_ppm(equity, config["turnover_hour_ppm"], DOWN)
        if cap - hour < most - used:
            used, most = hour, cap
    return used, most


@kernel
def traded(buckets: np.void, number: int) -> int:
    """What was traded in bucket ``number`` and the 60 before it; ``buckets``: dtype BUCKETS."""
    total = 0
    for slot in range(BUCKET_SLOTS):
        if number - BUCKETS <= buckets["number"][slot] <= number:
            total = _sum(total, buckets["amount"][slot])
    return total


@kernel
def _add(buckets: np.void, number: int, amount: int) -> None:
    slot = number % BUCKET_SLOTS
    if buckets["number"][slot] != number:
        buckets["number"][slot] = number
        buckets["amount"][slot] = 0
    buckets["amount"][slot] = _sum(buckets["amount"][slot], amount)


@kernel
def _sum(a: int, b: int) -> int:
    """a + b for amounts >= 0, at most ``AMOUNT_MAX``: beyond every cap, and it stays there."""
    return AMOUNT_MAX if a >= AMOUNT_MAX - b else a + b


@kernel
def on_fill(config: np.void, state: np.void, fill: np.void) -> None:
    """Count what a booked FILL traded and what it cost in fees."""
    risk_state, now = state["risk"], state["account"]["now_ns"]
    market = config["markets"][as_int(fill["instrument"])]
    value = units.notional(market["instrument"], fill["price"], fill["qty"], UP)
    _add(risk_state["seconds"], now // SECOND_NS, value)
    _add(risk_state["minutes"], now // MINUTE_NS, value)
    if fill["fee"] > 0:
        if fill["flags"] == FEE_IN_BASE:
            tick_value = fill["price"] * market["instrument"]["value_num"]
            fee = units.mul_div(tick_value, fill["fee"], market["unit_den"], UP)
        else:
            fee = fill["fee"]
        risk_state["day_fees"] = _sum(risk_state["day_fees"], fee)


@kernel
def round_trip(config: np.void, state: np.void, box: np.void, index: int) -> None:
    """A position has gone to flat, or through it: if it lost, and often enough, sizes are cut for the day.

    Requirements RISK-16: ``backoff_losses`` losing round trips, the first at most ``backoff_window_ns`` ago.
    """
    position, risk_state = state["positions"][index], state["risk"]
    earned = position["realised"] - position["trip_start"]
    position["trip_start"] = position["realised"]
    if earned >= 0:
        return
    now, most = state["account"]["now_ns"], config["backoff_losses"]
    risk_state["loss_ns"][risk_state["losses"] % LOSS_SLOTS] = now
    risk_state["losses"] += 1
    if most == 0 or risk_state["backed_off"] == 1 or risk_state["losses"] < most:
        return
    first = risk_state["loss_ns"][(risk_state["losses"] - most) % LOSS_SLOTS]
    if now - first <= config["backoff_window_ns"]:
        risk_state["backed_off"] = 1
        risk.move(state, box, risk_state["state"], BACK_OFF, LOSSES, most, most)


@kernel
def scaled(config: np.void, state: np.void, lots: int) -> int:
    """``lots`` of an entry times the smallest multiplier in force: CAUTION's, or the one after losses."""
    multiplier = PPM
    if state["risk"]["state"] == CAUTION:
        multiplier = config["caution_multiplier_ppm"]
    if state["risk"]["backed_off"] == 1:
        multiplier = min(multiplier, PPM - config["backoff_cut_ppm"])
    return lots if multiplier == PPM else share_ppm(lots, multiplier, DOWN)
