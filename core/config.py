"""From typed settings to the one configuration record of the core, with every bound of its arithmetic proven.

What is proven here, so that no later sum or product can leave 64 bits (``core.units`` checks the products again):

- an account's equity stays within ``EQUITY_GROWTH_MAX`` times its initial cash (the core stops beyond it), and
  ``SUM_TERMS`` such amounts can be added;
- price x value_num fits 62 bits for every price up to ``price_max``; a bar or fill above that is refused;
- the lots the whole account could buy at one tick fit 62 bits;
- base units of ``lots_max`` lots fit 61 bits; orders are clipped to it and fills above it refused;
- the divisors value_den and value_den x lot_units are at most 2**62.
"""

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from core import limits, simulation, strategies
from core.errors import BadConfig
from core.fees import Charged, start_taker_ppm
from core.instruments import Instrument
from core.layout import CONFIG, INSTRUMENTS_MAX, PRICE_TICKS_MAX, zeros
from core.limits import TIME_NS_MAX
from core.records import PPM
from core.settings import Account, Execution, Strategy, Trading, within
from core.strategies import parameters
from core.units import DIVISOR_MAX

EQUITY_GROWTH_MAX: Final = 100
SUM_TERMS: Final = 2 * INSTRUMENTS_MAX  # cash, every position, every pending order
AMOUNT_MAX: Final = 2**62
BASE_UNITS_MAX: Final = 2**61
PROFILES: Final = ("spot", "margin")
LEVERAGE_MAX_PPM: Final = 100 * PPM  # of a margin account


def build(trading: Trading, instruments: Sequence[Instrument]) -> np.ndarray:
    """The configuration of one account, shape (1,), dtype CONFIG.

    Raises BadConfig naming the key, its value and the limit for anything impossible or contradictory.
    """
    check(trading)
    _check_instruments(trading, instruments)
    config = zeros(1, CONFIG)
    row = config[0]
    row["n_instruments"] = len(instruments)
    row["initial_cash"], row["equity_max"] = _cash(trading, instruments[0])
    row["is_margin"] = int(trading.account.profile == "margin")
    row["decide_on_event"] = int(trading.execution.decision_clock == "event")
    for name in ("decision_interval_ns", "slippage_ppm", "participation_ppm", "order_ttl_ns"):
        row[name] = getattr(trading.execution, name)
    row["simulation"] = simulation.build(trading.execution)
    row["order_latency_ns"] = simulation.least_ns(row["simulation"]["request"])
    symbols = [instrument.symbol for instrument in instruments]
    limits.fill(row, trading.risk, symbols)
    row["leverage_ppm"] = trading.account.leverage_ppm
    assigned = parameters.assigned(trading, symbols)
    for market, instrument, strategy in zip(row["markets"], instruments, assigned, strict=False):
        _fill_market(market, instrument, trading, strategy, int(row["equity_max"]))
    row["key"] = int.from_bytes(hashlib.sha256(config.tobytes()).digest()[:8], "little") >> 2
    return config


def check(trading: Trading) -> None:
    """Everything about ``trading`` that can be judged without knowing the market; ``build`` asks it too.

    Raises BadConfig as ``build`` does.
    """
    if trading.account.profile not in PROFILES:
        raise BadConfig(
            f"account.profile is {trading.account.profile!r}: there is 'spot' (long-only, no leverage) and 'margin'"
        )
    strategies.check(trading)
    _check_leverage(trading.account)
    limits.check(trading.risk, trading.account.leverage_ppm)
    _check_execution(trading.execution)


def _cash(trading: Trading, instrument: Instrument) -> tuple[int, int]:
    """Initial cash and the equity bound, in quote units."""
    units = Fraction(_decimal("account.initial_cash", trading.account.initial_cash)) / Fraction(instrument.quote_unit)
    if units.denominator != 1 or units <= 0:
        raise BadConfig(
            f"account.initial_cash is {trading.account.initial_cash}: it must be above 0 and a whole number of "
            f"{instrument.quote_unit} {instrument.quote}"
        )
    equity_max = int(units) * EQUITY_GROWTH_MAX
    exposures = SUM_TERMS * max(1, -(-trading.account.leverage_ppm // PPM))  # a position may be worth several equities
    if equity_max * exposures > AMOUNT_MAX:
        most = Fraction(AMOUNT_MAX, exposures * EQUITY_GROWTH_MAX) * Fraction(instrument.quote_unit)
        raise BadConfig(
            f"account.initial_cash is {trading.account.initial_cash}: at most {int(most)} {instrument.quote} fit 64 "
            f"bits at a unit of {instrument.quote_unit} with room to grow {EQUITY_GROWTH_MAX}-fold; use a larger unit"
        )
    return int(units), equity_max


def _decimal(key: str, text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise BadConfig(f"{key} is {text!r}: it must be a decimal string such as '100000'") from None


def _fill_market(
    market: np.void, instrument: Instrument, trading: Trading, strategy: Strategy, equity_max: int
) -> None:
    market["instrument"] = record = instrument.record()
    unit_den = int(record["value_den"]) * int(record["lot_units"])
    if 2 * unit_den > DIVISOR_MAX:
        raise BadConfig(
            f"{instrument.symbol}: lot {instrument.lot} x tick {instrument.tick} divide a cash unit into {unit_den} "
            f"parts, at most {DIVISOR_MAX // 2} fit: use a finer quote_unit or a coarser base_unit"
        )
    lots_at_one_tick = equity_max * int(record["value_den"]) // int(record["value_num"])
    if lots_at_one_tick > AMOUNT_MAX:
        raise BadConfig(
            f"{instrument.symbol}: at a price of one tick the account could hold {lots_at_one_tick} lots, {AMOUNT_MAX} "
            f"fit: use a coarser lot than {instrument.lot} or a coarser tick than {instrument.tick}"
        )
    whitelist = trading.risk.whitelist
    market["allowed"] = int(not whitelist or instrument.symbol in whitelist)
    market["capacity_lots"] = trading.risk.capacity_lots.get(instrument.symbol, 0)
    market["price_max"] = min(PRICE_TICKS_MAX, AMOUNT_MAX // 2 // int(record["value_num"]))
    market["lots_max"] = BASE_UNITS_MAX // int(record["lot_units"])
    market["unit_den"] = unit_den
    params = market["params"]
    parameters.fill(params, strategy)
    market["fees"] = schedule = simulation.schedule(trading.execution, instrument)
    record = market["instrument"]  # what orders reserve for fees: the dearest tier, since volume may fall
    record["maker_fee_ppm"], record["taker_fee_ppm"] = max(schedule["maker_ppm"]), max(schedule["taker_ppm"])
    record["fee_in_received"] = int(schedule["asset"] == Charged.RECEIVED)
    params["slippage_ppm"] = trading.execution.slippage_ppm
    params["taker_fee_ppm"], params["maker_fee_ppm"] = start_taker_ppm(schedule), record["maker_fee_ppm"]
    params["cost_ppm"] = 2 * (params["taker_fee_ppm"] + params["slippage_ppm"])


def _check_instruments(trading: Trading, instruments: Sequence[Instrument]) -> None:
    if not 1 <= len(instruments) <= INSTRUMENTS_MAX:
        raise BadConfig(f"{len(instruments)} instruments share the account: 1 to {INSTRUMENTS_MAX} are possible")
    symbols = [instrument.symbol for instrument in instruments]
    if len(set(symbols)) < len(symbols):
        raise BadConfig(f"a symbol appears twice among {', '.join(symbols)}")
    for instrument in instruments:
        if instrument.quote != trading.account.quote:
            raise BadConfig(
                f"{instrument.symbol} is quoted in {instrument.quote}, account.quote is {trading.account.quote}: "
                "one account holds one quote currency"
            )
        if Fraction(instrument.quote_unit) != Fraction(instruments[0].quote_unit):
            raise BadConfig(
                f"{instrument.symbol} counts {instrument.quote} in units of {instrument.quote_unit}, {symbols[0]} in "
                f"{instruments[0].quote_unit}: one account has one unit"
            )
    named = {
        "risk.whitelist": trading.risk.whitelist,
        "risk.capacity_lots": tuple(trading.risk.capacity_lots),
        **{f"risk.groups[{group.name}].symbols": group.symbols for group in trading.risk.groups},
    }
    for key, names in named.items():
        if unknown := [symbol for symbol in names if symbol not in symbols]:
            raise BadConfig(f"{key} names {', '.join(unknown)}; the tape has {', '.join(symbols)}")


def _check_execution(execution: Execution) -> None:
    for name in ("feed_latency_ns", "decision_latency_ns"):
        within(f"execution.{name}", getattr(execution, name), 0, TIME_NS_MAX)
    within("execution.order_latency_ns", execution.order_latency_ns, 1, TIME_NS_MAX)  # execution after decision
    within("execution.response_latency_ns", execution.response_latency_ns, 1, TIME_NS_MAX)
    within("execution.decision_interval_ns", execution.decision_interval_ns, 1, TIME_NS_MAX)
    if execution.decision_clock not in ("timer", "event"):
        raise BadConfig(f"execution.decision_clock is {execution.decision_clock!r}: there is 'timer' and 'event'")
    within("execution.order_ttl_ns", execution.order_ttl_ns, 1, TIME_NS_MAX)
    within("execution.slippage_ppm", execution.slippage_ppm, 0, PPM // 2)
    within("execution.participation_ppm", execution.participation_ppm, 0, PPM)  # 0: unlimited
    simulation.build(execution)


def _check_leverage(account: Account) -> None:
    within("account.leverage_ppm", account.leverage_ppm, PPM, LEVERAGE_MAX_PPM)
    if account.profile == "spot" and account.leverage_ppm != PPM:
        raise BadConfig(
            f"account.leverage_ppm is {account.leverage_ppm} and account.profile is 'spot': a spot account has no "
            "leverage, leave it at 1000000 or use 'margin'"
        )
