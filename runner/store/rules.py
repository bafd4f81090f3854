"""The rules an order had to pass, as conditions on its row of ``approval`` (requirements RISK-06, 08, 09, 10).

``RULES`` mirrors ``core.rules.RULES`` name by name, in its order; a test holds the two tables equal, and a differential
test their verdicts. Adding a rule is one line here (and a column of ``runner.store.approvals`` with its source, if it
is judged by something new).
"""

from dataclasses import dataclass
from typing import Final

from core.layout import ORDERS_MAX
from core.records import HOUR_NS, Action, RiskState, Side
from runner.store.accounts import MINE
from runner.store.contract import PPM, AtMost, Condition, Product, Unless, latest, positive

OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
BOTH: Final = (OPEN, REDUCE)
ENTRIES: Final = (OPEN,)


@dataclass(frozen=True, slots=True)
class Rule:
    """``name``: of a Reason; ``actions``: what it may refuse; ``holds``: what must hold of the row NEW.

    ``a`` is the account's row, ``m`` the market's.
    """

    name: str
    actions: tuple[int, ...]
    holds: tuple[Condition, ...]


def rule(name: str, actions: tuple[int, ...], *holds: Condition) -> Rule:
    """A rule that holds if all of ``holds`` do."""
    return Rule(name, actions, holds)


SPOT_BUY: Final = f"a.is_margin = 1 OR NEW.side = {SELL}"
_SPOT_SELL: Final = f"a.is_margin = 1 OR NEW.side = {BUY}"
_EQUITY: Final = positive("NEW.equity")


def _share(amount: str, rate_ppm: str) -> str:
    """``rate_ppm`` of ``amount`` >= 0, rounded down, without a product beyond 64 bits."""
    return f"({amount}) / {PPM} * {rate_ppm} + ({amount}) % {PPM} * {rate_ppm} / {PPM}"


def _worst(held: str, buying: str, selling: str) -> str:
    """The larger of the long and the short side of one instrument."""
    return f"CASE WHEN {held} + {buying} >= {selling} - {held} THEN {held} + {buying} ELSE {selling} - {held} END"


def pending(column: str, side: int | str, instrument: str = "NEW.instrument") -> str:
    """``column`` of the instrument's latest reservation on ``side``."""
    return latest(column, "reservation@reservation_side", f"{MINE} AND instrument = {instrument} AND side = {side}", 0)


def held_value(instrument: str = "NEW.instrument") -> str:
    """What is held of the instrument, as last valued."""
    return latest("value", "valuation@valuation_instrument", f"{MINE} AND instrument = {instrument}", 0)


def exposure_of(instruments: str) -> str:
    """The worst exposure of the markets i for which ``instruments`` holds, together."""
    return (
        f"COALESCE((SELECT SUM({_worst('o.held', 'o.buying', 'o.selling')}) FROM (SELECT "
        f"{held_value('i.instrument')} AS held, {pending('side_value', BUY, 'i.instrument')} AS buying, "
        f"{pending('side_value', SELL, 'i.instrument')} AS selling FROM market i WHERE i.{MINE} AND {instruments}) "
        "AS o), 0)"
    )


def _is_member(instrument: str) -> str:
    """Whether ``instrument`` belongs to the group of the row g, as of the decision."""
    where = f"{MINE} AND group_id = g.group_id AND instrument = {instrument} AND from_ns <= NEW.decision_ns"
    return latest("is_member", "member@member_group", where, 0) + " = 1"


def _within_groups(kind: str) -> str:
    """No group of that kind with the order's instrument has more than its cap, this order included."""
    others = exposure_of(f"i.instrument <> NEW.instrument AND {_is_member('i.instrument')}")
    return (
        f"NOT EXISTS (SELECT 1 FROM member g WHERE g.{MINE} AND g.kind = '{kind}' AND g.instrument = NEW.instrument "
        f"AND {_is_member('NEW.instrument')} "
        f"AND {others} + NEW.exposure_total - NEW.others > {_share(_EQUITY, 'g.cap_ppm')})"
    )


RULES: Final = (
    rule("NOT_WHITELISTED", ENTRIES, "m.allowed = 1"),
    rule("STALE", BOTH, "NEW.decision_ns - NEW.event_ns <= a.prediction_ttl_ns"),
    rule("LOW_CONFIDENCE", ENTRIES, "NEW.confidence_ppm >= a.min_confidence_ppm"),
    rule("KILL_SWITCH", ENTRIES, f"NEW.risk_state < {int(RiskState.HALT)}"),
    rule(
        "CIRCUIT_OPEN",
        ENTRIES,
        "NEW.circuit_until_ns <= NEW.decision_ns",
        "NEW.probe_ns <= NEW.decision_ns",
    ),
    rule(
        "PRICE_BAND",
        ENTRIES,
        Unless(
            "NEW.band_reference = 0",
            AtMost(
                Product("ABS(NEW.band_price - NEW.band_reference)", str(PPM)),
                Product("NEW.band_reference", "a.price_band_ppm"),
            ),
        ),
    ),
    rule("MARKET_HALTED", BOTH, "NEW.halted = 0"),
    rule("FILTER_TICK", BOTH, "NEW.valued_price BETWEEN 1 AND m.price_max"),
    rule("FILTER_LOT", BOTH, "NEW.qty >= 1 AND NEW.qty >= m.min_lots AND NEW.qty <= m.lots_max"),
    rule(
        "FILTER_NOTIONAL",
        BOTH,
        AtMost(Product("m.value_den", "1"), Product("NEW.tick_value", "NEW.qty")),
        AtMost(Product("m.min_notional", "m.value_den"), Product("NEW.tick_value", "NEW.qty")),
    ),
    rule("ORDERS_MAX", BOTH, f"NEW.live < {ORDERS_MAX}"),
    rule(
        "EXPOSURE_ASSET",
        ENTRIES,
        AtMost(Product(positive("NEW.exposure_asset"), str(PPM)), Product(_EQUITY, "a.asset_cap_ppm")),
    ),
    rule("EXPOSURE_THEME", ENTRIES, _within_groups("theme")),
    rule("EXPOSURE_CLUSTER", ENTRIES, _within_groups("cluster")),
    rule(
        "EXPOSURE_TOTAL",
        ENTRIES,
        AtMost(Product(positive("NEW.exposure_total"), str(PPM)), Product(_EQUITY, "a.total_cap_ppm")),
    ),
    rule(
        "MARGIN",
        ENTRIES,
        Unless(
            "a.is_margin = 0",
            AtMost(
                Product(positive("NEW.exposure_total"), str(PPM * PPM)),
                Product(_EQUITY, "(a.leverage_ppm * a.deleverage_ppm)"),
            ),
        ),
    ),
    rule("CASH", ENTRIES, f"{SPOT_BUY} OR NEW.worst_value + NEW.expected_fee <= NEW.cash - NEW.cash_reserved"),
    rule("LONG_ONLY", BOTH, f"{_SPOT_SELL} OR NEW.qty <= NEW.lots_held - NEW.lots_pending"),
    rule(
        "REDUCE_ONLY",
        (REDUCE,),
        f"a.is_margin = 0 OR NEW.qty <= CASE NEW.side WHEN {SELL} THEN NEW.lots_held ELSE -NEW.lots_held END "
        "- NEW.lots_pending",
    ),
    rule(
        "FEE_GUARD",
        ENTRIES,
        f"a.fee_guard_ppm = 0 OR NEW.dearest_fee <= {_share('NEW.notional', 'a.fee_guard_ppm')}",
        "NEW.dearest_fee <= NEW.fees_left",
    ),
    rule("DEPTH", ENTRIES, "m.capacity_lots = 0 OR NEW.qty <= m.capacity_lots", "NEW.qty <= NEW.depth_lots"),
    rule("TURNOVER", ENTRIES, "NEW.turnover_left >= 0"),
    rule("COOLDOWN", ENTRIES, "NEW.exit_ns = 0 OR NEW.exit_ns + a.cooldown_ns <= NEW.decision_ns"),
    rule("RATE_LIMIT", ENTRIES, f"NEW.rate_ns = 0 OR NEW.rate_ns + {HOUR_NS} <= NEW.decision_ns"),
    rule("SIGNAL_RATE", ENTRIES, "NEW.signal_ns <= NEW.decision_ns"),
    rule("SIGNAL_RATE_HIGH", ENTRIES, "NEW.signal_high_ns <= NEW.decision_ns"),
    rule("DAILY_STOP", ENTRIES, "NEW.day_stopped = 0"),
    rule("WEEKLY_STOP", ENTRIES, "NEW.week_stopped = 0"),
    rule("TOTAL_LOSS", ENTRIES, "NEW.total_stopped = 0"),
    rule("DUPLICATE", BOTH, "NEW.repeated = 0"),
)
ALL_RULES: Final = (1 << len(RULES)) - 1
