"""What an order was approved against, and what is reserved for it, as constraints (requirements RISK-06, 08, 09, 10).

One row of ``approval`` per INTENT that opens or reduces. It states the account as it stood; the database recomputes
that from its own rows (entries, lots, pending orders, risk states) and refuses a row that states anything else. Then
each rule of ``runner.store.rules`` is judged on the row. So an order whose check in the core was skipped, or was wrong,
does not get its row, and an intent without its row is never sent: both are one commit.

What the database cannot know it takes from the journaled CHECK records: the age and confidence of the signal, whether
it was used before, when the position was last left, the prices that the order was valued at, whether the market trades,
what a circuit's probe waits for, what the book shows, and what is left of turnover, signals and the day's fees.
"""

from typing import Final

from core.records import RiskState
from runner.store.accounts import INSTRUMENT, JOURNALED, MARKET_PARENT, MINE, SEQ, follows, table
from runner.store.contract import (
    INT64_MAX,
    PPM,
    Condition,
    Law,
    Quotient,
    Unless,
    any_integer,
    flag,
    integer,
    latest,
    parent,
    positive,
)
from runner.store.rules import (
    ALL_RULES,
    BOTH,
    BUY,
    OPEN,
    REDUCE,
    RULES,
    SELL,
    SPOT_BUY,
    exposure_of,
    held_value,
    pending,
)

# What the row states about the account, and where the database finds it itself.

_HERE: Final = f"{MINE} AND instrument = NEW.instrument"


def _balance(asset: str) -> str:
    return latest("balance_after", "entry@entry_account", f"{MINE} AND account = 'holdings' AND asset = {asset}", 0)


_LIVE: Final = latest("live", "reservation@reservation_instrument", _HERE, 0)
SOURCES: Final = {
    "n": f"{latest('n', 'approval', MINE, 0, 'n')} + 1",
    "earliest_ns": "NEW.decision_ns + a.order_latency_ns",
    "cash": _balance("a.quote"),
    "cash_reserved": latest("account_cost", "reservation", MINE, 0),
    "equity": f"NEW.cash + COALESCE((SELECT SUM({held_value('i.instrument')}) FROM market i WHERE i.{MINE}), 0)",
    "lots_held": f"({_balance('m.base')}) / m.lot_units",
    "lots_pending": pending("side_lots", "NEW.side"),
    "held_value": held_value(),
    "pending_buy": pending("side_value", BUY),
    "pending_sell": pending("side_value", SELL),
    "others": exposure_of("i.instrument <> NEW.instrument"),
    "live": _LIVE,
    "rate_ns": "CASE WHEN a.max_orders_per_hour = 0 THEN 0 ELSE COALESCE((SELECT decision_ns FROM approval "
    f"WHERE {MINE} AND n = NEW.n - a.max_orders_per_hour), 0) END",
    "risk_state": latest("state_to", "risk_state", MINE, int(RiskState.NORMAL)),
    "day_stopped": latest("day_stopped", "risk_state", MINE, 0),
    "week_stopped": latest("week_stopped", "risk_state", MINE, 0),
    "total_stopped": latest("total_stopped", "risk_state", MINE, 0),
    "circuit_until_ns": latest("circuit_until_ns", "risk_state", MINE, 0),
}
_UNVALUED: Final = (
    f"NOT EXISTS (SELECT 1 FROM market i WHERE i.{MINE} AND "
    + latest("balance_after", "entry@entry_account", f"{MINE} AND account = 'holdings' AND asset = i.base", 0)
    + f" <> {latest('units', 'valuation@valuation_instrument', f'{MINE} AND instrument = i.instrument', 0)})"
)
_EXACT: Final = (  # judged after the filters, which bound the products
    ("tick value", "NEW.tick_value = NEW.valued_price * m.value_num"),
    ("notional", Quotient("NEW.notional", "NEW.tick_value", "NEW.qty", "m.value_den", up=True)),
    (
        "worst price",
        Quotient("(NEW.worst_price - NEW.valued_price)", "NEW.valued_price", "a.slippage_ppm", str(PPM), up=True),
    ),
    ("worst value", Quotient("NEW.worst_value", "(NEW.worst_price * m.value_num)", "NEW.qty", "m.value_den", up=True)),
    (
        "expected fee",
        Quotient("NEW.expected_fee", "NEW.worst_value", positive("m.taker_fee_ppm"), str(PPM), up=True),
    ),
    (
        "dearest fee",
        Quotient(
            "NEW.dearest_fee",
            "NEW.notional",
            positive("CASE WHEN m.maker_fee_ppm > m.taker_fee_ppm THEN m.maker_fee_ppm ELSE m.taker_fee_ppm END"),
            str(PPM),
            up=True,
        ),
    ),
    (
        "exposure of the asset",
        f"NEW.exposure_asset = NEW.notional + CASE NEW.side WHEN {BUY} THEN NEW.held_value + NEW.pending_buy "
        "ELSE NEW.pending_sell - NEW.held_value END",
    ),
    (
        "total exposure",
        "NEW.exposure_total = NEW.others + CASE WHEN NEW.exposure_asset >= "
        f"(CASE NEW.side WHEN {BUY} THEN NEW.pending_sell - NEW.held_value ELSE NEW.held_value + NEW.pending_buy END) "
        f"THEN NEW.exposure_asset ELSE (CASE NEW.side WHEN {BUY} THEN NEW.pending_sell - NEW.held_value "
        "ELSE NEW.held_value + NEW.pending_buy END) END",
    ),
)
_FILTERS: Final = 11  # rules up to ORDERS_MAX need no amounts


def _judgements() -> tuple[tuple[str, Condition], ...]:
    """(what the refusal says, what must hold), in order: the account as stated, the filters, the amounts, the rest."""
    made: list[tuple[str, Condition]] = [("approval without its intent in the journal", JOURNALED)]
    made += [("approval judged by too few rules", f"NEW.judged = {ALL_RULES}")]
    made += [("approval of an account with holdings that were not valued", _UNVALUED)]
    made += [(f"approval states another {name}", f"NEW.{name} = {source}") for name, source in SOURCES.items()]
    for number, item in enumerate(RULES):
        if number == _FILTERS:
            made += [(f"approval states another {said}", holds) for said, holds in _EXACT]
        elsewhere = " OR ".join(f"NEW.action = {action}" for action in BOTH if action not in item.actions)
        for holds in item.holds:
            made.append((item.name, _or(elsewhere, holds)))
    # Implied by the caps, and said once more: a spot account never owes anything.
    made.append(("NO_LEVERAGE", f"{SPOT_BUY} OR NEW.action = {REDUCE} OR NEW.notional <= NEW.equity"))
    return tuple(made)


def _or(elsewhere: str, holds: Condition) -> Condition:
    if not elsewhere:
        return holds
    if isinstance(holds, Unless):
        return Unless(f"{elsewhere} OR {holds.when}", holds.then)
    return Unless(elsewhere, holds)


APPROVAL: Final = table(
    "approval",
    any_integer("order_id"),
    integer("n", 1),
    SEQ,
    integer("signal", 0),
    INSTRUMENT,
    integer("side", BUY, SELL),
    integer("action", OPEN, REDUCE),
    integer("qty", 1),
    integer("price", 0),  # ticks; 0: a market order
    integer("valued_price", 1),  # ticks that exposure and cash are counted at
    any_integer("decision_ns"),
    any_integer("earliest_ns"),
    any_integer("deadline_ns"),
    any_integer("event_ns"),  # of the event the signal was made from
    integer("confidence_ppm", 0, PPM),
    flag("repeated"),
    integer("exit_ns", 0, INT64_MAX),
    integer("band_price", 0),
    integer("band_reference", 0),
    integer("rate_ns", 0, INT64_MAX),
    integer("risk_state", 0, max(RiskState)),
    flag("day_stopped"),
    flag("week_stopped"),
    flag("total_stopped"),
    integer("circuit_until_ns", 0, INT64_MAX),
    integer("probe_ns", 0, INT64_MAX),
    flag("halted"),
    any_integer("fees_left"),  # of the day's budget, quote units
    any_integer("depth_lots"),  # the most that the book allowed
    any_integer("turnover_left"),  # in the window with the least room, this order included
    integer("signal_ns", 0, INT64_MAX),  # when the next signal might come
    integer("signal_high_ns", 0, INT64_MAX),
    integer("equity"),
    integer("cash"),
    integer("cash_reserved"),
    integer("lots_held"),
    integer("lots_pending"),
    integer("held_value"),
    integer("pending_buy", 0),
    integer("pending_sell", 0),
    integer("others"),
    integer("live", 0),
    integer("tick_value", 0),
    integer("notional", 0),
    integer("worst_price", 0),
    integer("worst_value", 0),
    integer("expected_fee", 0),
    integer("dearest_fee", 0),  # of the order's value at the dearer rate
    integer("exposure_asset"),
    integer("exposure_total"),
    integer("judged", 0, ALL_RULES),  # bit k: rule k passed, or does not apply to this action
    key=("order_id",),
    unique=(("account_id", "n"), ("account_id", "seq")),
    parents=(
        MARKET_PARENT,
        parent("signal", "account_id", "signal", keys=("account_id", "seq")),
    ),
    checks={"execution_after_decision": "earliest_ns > decision_ns"},
    laws=(
        Law(
            "approval_rules",
            _judgements(),
            source="account a JOIN market m ON m.account_id = a.account_id "
            "WHERE a.account_id = NEW.account_id AND m.instrument = NEW.instrument",
        ),
    ),
)

_BEFORE: Final = f"{MINE} AND order_id = NEW.order_id"


def _own(column: str) -> str:
    """``column`` of the order's row before this one; 0 if there is none."""
    return latest(column, "reservation@reservation_order", _BEFORE, 0)


_RESERVED_VALUE: Final = Quotient("NEW.worst_value", "(p.worst_price * m.value_num)", "NEW.lots", "m.value_den", True)
_RESERVED_FEE: Final = Quotient(
    "(NEW.cost - NEW.worst_value)", "NEW.worst_value", positive("m.taker_fee_ppm"), str(PPM), up=True
)
RESERVATION: Final = table(
    "reservation",
    integer("id", 1),
    SEQ,
    any_integer("order_id"),
    INSTRUMENT,
    integer("side", BUY, SELL),
    flag("is_live"),
    integer("lots", 0),  # of this order that may still fill
    integer("value", 0),  # their notional at the approved price, rounded up
    integer("worst_value", 0),  # of a buy: their notional at the slipped price
    integer("cost", 0),  # of a buy: cash held back for them, the expected fee included
    integer("side_lots", 0),  # of all live orders of the instrument on this side
    integer("side_value", 0),
    integer("live", 0),  # orders of the instrument at work
    integer("account_cost", 0),  # cash held back for all live orders of the account
    key=("id",),
    parents=(parent("approval", "account_id", "order_id"),),
    laws=(
        Law(
            "reservation_continuous",
            (
                follows("reservation"),
                ("reservation of another order", "NEW.instrument = p.instrument AND NEW.side = p.side"),
                (
                    "reservation of an ended order",
                    f"NOT EXISTS (SELECT 1 FROM reservation@reservation_order WHERE {_BEFORE}) "
                    f"OR {_own('is_live')} = 1",
                ),
                (
                    "reservation of other lots than are left",
                    f"NEW.lots = CASE NEW.is_live WHEN 0 THEN 0 ELSE p.qty - COALESCE((SELECT SUM(qty) FROM fill "
                    f"WHERE {_BEFORE} AND side = NEW.side AND approved = 1), 0) END",
                ),
                (
                    "reservation at another value",
                    Quotient("NEW.value", "p.tick_value", "NEW.lots", "m.value_den", True),
                ),
                ("reservation at another cost", Unless(f"NEW.side = {SELL}", _RESERVED_VALUE)),
                ("reservation at another cost", Unless(f"NEW.side = {SELL}", _RESERVED_FEE)),
                ("reservation of cash for a sale", f"NEW.side = {BUY} OR (NEW.cost = 0 AND NEW.worst_value = 0)"),
                (
                    "reservation does not continue its side",
                    f"NEW.side_lots = {pending('side_lots', 'NEW.side')} + NEW.lots - {_own('lots')} "
                    f"AND NEW.side_value = {pending('side_value', 'NEW.side')} + NEW.value - {_own('value')}",
                ),
                (
                    "reservation does not continue its account",
                    f"NEW.live = {_LIVE} + NEW.is_live - {_own('is_live')} "
                    f"AND NEW.account_cost = {latest('account_cost', 'reservation', MINE, 0)} "
                    f"+ NEW.cost - {_own('cost')}",
                ),
            ),
            source="approval p JOIN market m ON m.account_id = p.account_id AND m.instrument = p.instrument "
            "WHERE p.account_id = NEW.account_id AND p.order_id = NEW.order_id",
        ),
    ),
    indexes={
        "reservation_order": ("account_id", "order_id", "id"),
        "reservation_side": ("account_id", "instrument", "side", "id"),
        "reservation_instrument": ("account_id", "instrument", "id"),
    },
)

_MARKED: Final = "(NEW.mark2 * m.value_num)"
_DEN2: Final = "(2 * m.unit_den)"
VALUATION: Final = table(
    "valuation",
    integer("id", 1),
    SEQ,
    INSTRUMENT,
    integer("mark2", 0),  # twice the price in ticks
    integer("units"),
    integer("value"),  # quote units, rounded against us
    key=("id",),
    parents=(MARKET_PARENT,),
    laws=(
        Law(
            "valuation_exact",
            (
                follows("valuation"),
                ("valuation of other holdings", f"NEW.units = {_balance('m.base')}"),
                (
                    "valuation at another value",
                    Unless("NEW.units < 0", Quotient("NEW.value", _MARKED, "NEW.units", _DEN2, up=False)),
                ),
                (
                    "valuation at another value",
                    Unless("NEW.units >= 0", Quotient("(-NEW.value)", _MARKED, "(-NEW.units)", _DEN2, up=True)),
                ),
            ),
            source="market m WHERE m.account_id = NEW.account_id AND m.instrument = NEW.instrument",
        ),
    ),
    indexes={"valuation_instrument": ("account_id", "instrument", "id")},
)

TABLES: Final = (VALUATION, APPROVAL, RESERVATION)
