"""The ledger's tables: what an account is, what moved in it and why, and what it owns because of that.

::

    signal <- approval <- fill -> txn <- entry          the double entry; entries are written first, the txn seals them
                                   ^-- lot <- trade      lots bought (or sold short), and the closing of them, FIFO
                                   ^-- transfer, funding

The approvals and what they are judged by are in ``runner.store.approvals``.
"""

from typing import Final

from core.records import Kind, Metric, Reason, RiskState
from runner.store.accounts import INSTRUMENT, JOURNALED, MARKET_PARENT, MINE, SEQ, follows, table
from runner.store.contract import (
    INT64_MAX,
    Law,
    Quotient,
    Unless,
    View,
    any_integer,
    digest,
    flag,
    integer,
    latest,
    parent,
    text,
)

BOOKS: Final = ("holdings", "venue", "fees", "funding", "equity", "adjustment")
CAUSES: Final = ("SESSION", "FILL", "TRANSFER", "FUNDING")

ENTRY: Final = table(
    "entry",
    integer("id", 1),
    integer("txn", 1),
    text("account", *BOOKS),
    text("asset"),
    integer("delta"),
    integer("balance_before"),
    integer("balance_after"),
    key=("id",),
    parents=(parent("asset", "account_id", "asset"),),
    checks={"moves": "delta <> 0", "arithmetic": "balance_after = balance_before + delta"},
    laws=(
        Law(
            "entry_continuous",
            (
                follows("entry"),
                ("entry of a sealed transaction", f"NEW.txn = {latest('id', 'txn', MINE, 0)} + 1"),
                (
                    "entry does not continue its account",
                    "NEW.balance_before = "
                    + latest(
                        "balance_after",
                        "entry@entry_account",
                        f"{MINE} AND account = NEW.account AND asset = NEW.asset",
                        0,
                    ),
                ),
            ),
        ),
    ),
    indexes={"entry_account": ("account_id", "account", "asset", "id")},
)
_LAST: Final = latest("id", "entry", MINE, 0)  # a transaction's entries are the last ones written
TXN: Final = table(
    "txn",
    integer("id", 1),
    SEQ,
    text("cause", *CAUSES),
    integer("entries", 1),
    digest("sha256"),
    key=("id",),
    unique=(("account_id", "seq"),),
    parents=(parent("account", "account_id"),),
    laws=(
        Law(
            "txn_sealed",
            (
                follows("txn"),
                ("transaction out of order", f"NEW.seq > {latest('seq', 'txn', MINE, -1)}"),
                (
                    "transaction incomplete",
                    f"NEW.entries = (SELECT COUNT(*) FROM entry WHERE {MINE} AND id > {_LAST} - NEW.entries "
                    f"AND txn = NEW.id) AND NOT EXISTS (SELECT 1 FROM entry WHERE {MINE} "
                    f"AND id = {_LAST} - NEW.entries AND txn = NEW.id)",
                ),
                (
                    "transaction unbalanced",
                    f"NOT EXISTS (SELECT 1 FROM entry WHERE {MINE} AND id > {_LAST} - NEW.entries "
                    "GROUP BY asset HAVING SUM(delta) <> 0)",
                ),
                ("transaction without cause in the journal", JOURNALED),
            ),
        ),
    ),
)

_HELD: Final = (  # moved in one asset by the transaction just sealed; an asset and a bracket follow
    f"COALESCE((SELECT SUM(delta) FROM entry WHERE {MINE} AND id > {_LAST} - (SELECT entries FROM txn WHERE {MINE} "
    "AND id = NEW.txn) AND txn = NEW.txn AND account = 'holdings' AND asset = "
)
_SEALED: Final = ("not of the last transaction", f"NEW.txn = {latest('id', 'txn', MINE, 0)}")
FILL: Final = table(
    "fill",
    integer("txn", 1),
    any_integer("order_id"),
    any_integer("exec_id"),
    INSTRUMENT,
    integer("side", 1, 2),
    integer("price", 1),
    integer("qty", 1),
    integer("amount", 0),
    integer("units", 1),
    integer("fee"),
    text("fee_asset"),
    any_integer("executed_ns"),
    any_integer("known_ns"),
    flag("approved"),  # 0: of an order that was never approved here; a fact all the same
    key=("order_id", "exec_id"),
    unique=(("account_id", "txn"),),
    order=("account_id", "txn"),
    parents=(
        parent("txn", "account_id", "txn", keys=("account_id", "id")),
        MARKET_PARENT,
    ),
    laws=(
        Law(
            "fill_booked",
            (
                _SEALED,
                (
                    "fill without a transaction of its own",
                    f"(SELECT cause FROM txn WHERE {MINE} AND id = NEW.txn) = 'FILL'",
                ),
                (
                    "fill names an approval it does not have",
                    f"NEW.approved = CASE WHEN EXISTS (SELECT 1 FROM approval WHERE {MINE} "
                    "AND order_id = NEW.order_id) THEN 1 ELSE 0 END",
                ),
                ("fill charged in another asset", "NEW.fee_asset IN (m.base, m.quote)"),
                ("fill of other units", "NEW.units = NEW.qty * m.lot_units"),
                (
                    "fill at another amount",
                    Unless(
                        "NEW.side = 2",
                        Quotient("NEW.amount", "(NEW.price * m.value_num)", "NEW.qty", "m.value_den", up=True),
                    ),
                ),
                (
                    "fill at another amount",
                    Unless(
                        "NEW.side = 1",
                        Quotient("NEW.amount", "(NEW.price * m.value_num)", "NEW.qty", "m.value_den", up=False),
                    ),
                ),
                (
                    "fill booked at another amount",
                    f"{_HELD}m.quote), 0) = CASE NEW.side WHEN 1 THEN -NEW.amount ELSE NEW.amount END "
                    "- CASE WHEN NEW.fee_asset = m.quote THEN NEW.fee ELSE 0 END",
                ),
                (
                    "fill booked at another quantity",
                    f"{_HELD}m.base), 0) = CASE NEW.side WHEN 1 THEN NEW.units ELSE -NEW.units END "
                    "- CASE WHEN NEW.fee_asset = m.base THEN NEW.fee ELSE 0 END",
                ),
            ),
            source="market m WHERE m.account_id = NEW.account_id AND m.instrument = NEW.instrument",
        ),
    ),
)
TRANSFER: Final = table(
    "transfer",
    integer("txn", 1),
    any_integer("transfer_id"),
    text("cause", "DEPOSIT", "WITHDRAWAL", "ADJUSTMENT"),
    text("asset"),
    integer("amount"),
    any_integer("known_ns"),
    key=("txn",),
    unique=(("account_id", "transfer_id"),),
    parents=(parent("txn", "account_id", "txn", keys=("account_id", "id")), parent("asset", "account_id", "asset")),
    checks={
        "direction": "CASE cause WHEN 'DEPOSIT' THEN amount > 0 WHEN 'WITHDRAWAL' THEN amount < 0 ELSE amount <> 0 END"
    },
    laws=(
        Law(
            "transfer_booked",
            (
                _SEALED,
                (
                    "transfer booked at another amount",
                    f"{_HELD}NEW.asset), 0) = NEW.amount",
                ),
            ),
        ),
    ),
)
FUNDING: Final = table(
    "funding",
    integer("txn", 1),
    INSTRUMENT,
    integer("price", 1),
    integer("rate_ppb"),
    integer("units"),
    integer("amount"),  # quote units paid, below 0 received
    any_integer("known_ns"),
    key=("txn",),
    parents=(parent("txn", "account_id", "txn", keys=("account_id", "id")), MARKET_PARENT),
    laws=(
        Law(
            "funding_booked",
            (
                _SEALED,
                ("funding booked at another amount", f"{_HELD}m.quote), 0) = -NEW.amount"),
            ),
            source="market m WHERE m.account_id = NEW.account_id AND m.instrument = NEW.instrument",
        ),
    ),
)

LOT: Final = table(
    "lot",
    integer("id", 1),
    integer("txn", 1),
    INSTRUMENT,
    integer("units"),  # base units; below 0: sold short
    integer("cost"),  # quote units paid, the fee in quote included; below 0: received
    any_integer("opened_ns"),
    key=("id",),
    parents=(parent("txn", "account_id", "txn", keys=("account_id", "id")), MARKET_PARENT),
    checks={"holds_something": "units <> 0"},
    laws=(Law("lot_follows", (follows("lot"),)),),
    indexes={"lot_instrument": ("account_id", "instrument", "id")},
)
_OF_LOT: Final = f"{MINE} AND lot = NEW.lot"
TRADE: Final = table(
    "trade",
    integer("id", 1),
    integer("lot", 1),
    integer("txn", 1),
    INSTRUMENT,
    integer("units"),  # of the lot, closed by this transaction; the lot's sign
    integer("closed"),  # of the lot, by this trade and those before it
    integer("cost"),  # this part of the lot's cost
    integer("cost_closed"),
    integer("proceeds"),  # quote units received for it, fees in quote taken off; below 0: paid
    integer("realised"),
    any_integer("closed_ns"),
    key=("id",),
    parents=(
        parent("txn", "account_id", "txn", keys=("account_id", "id")),
        parent("lot", "account_id", "lot", keys=("account_id", "id")),
    ),
    checks={"closes_something": "units <> 0", "profit": "realised = proceeds - cost"},
    laws=(
        Law(
            "trade_closes",
            (
                follows("trade"),
                ("trade of another instrument", "NEW.instrument = l.instrument"),
                (
                    "trade does not continue its lot",
                    f"NEW.closed = {latest('closed', 'trade@trade_lot', _OF_LOT, 0)} + NEW.units "
                    f"AND NEW.cost_closed = {latest('cost_closed', 'trade@trade_lot', _OF_LOT, 0)} + NEW.cost",
                ),
                (
                    "trade closes more than its lot",
                    "CASE WHEN l.units > 0 THEN NEW.units > 0 AND NEW.closed <= l.units "
                    "ELSE NEW.units < 0 AND NEW.closed >= l.units END",
                ),
                ("trade keeps back cost of a closed lot", "NEW.closed <> l.units OR NEW.cost_closed = l.cost"),
                (
                    "trade closes a lot before an older one",
                    f"NOT EXISTS (SELECT 1 FROM (SELECT id, units FROM lot@lot_instrument WHERE {MINE} "
                    "AND instrument = NEW.instrument AND id < NEW.lot ORDER BY id DESC LIMIT 1) AS older "
                    f"WHERE older.units <> {latest('closed', 'trade@trade_lot', f'{MINE} AND lot = older.id', 0)})",
                ),
            ),
            source="lot l WHERE l.account_id = NEW.account_id AND l.id = NEW.lot",
        ),
    ),
    indexes={"trade_lot": ("account_id", "lot", "id")},
)

_OR_BEFORE: Final = {
    **{name: latest(name, "risk_state", MINE, 0) for name in ("day_stopped", "week_stopped", "total_stopped")},
    "circuit_until_ns": latest("circuit_until_ns", "risk_state", MINE, 0),
}
_CAUTION, _FLATTEN, _HALT, _NORMAL = (
    int(item) for item in (RiskState.CAUTION, RiskState.FLATTEN, RiskState.HALT, RiskState.NORMAL)
)
RISK_STATE: Final = table(
    "risk_state",
    integer("id", 1),
    SEQ,
    any_integer("at_ns"),
    text("reason"),
    integer("state_from", 0, max(RiskState)),
    integer("state_to", 0, max(RiskState)),
    text("metric", *(item.name for item in Metric)),
    any_integer("value"),
    any_integer("limit_value"),
    flag("day_stopped"),
    flag("week_stopped"),
    flag("total_stopped"),
    integer("circuit_until_ns", 0, INT64_MAX),
    digest("sha256"),
    key=("id",),
    unique=(("account_id", "seq"),),
    parents=(parent("account", "account_id"),),
    checks={
        # Tighter at any time; back only as ``core.risk`` says.
        "transition": "state_to >= state_from "
        f"OR (state_from = {_CAUTION} AND state_to = {_NORMAL}) "
        f"OR (state_from = {_FLATTEN} AND state_to = {_HALT}) "
        f"OR (state_from <> {_FLATTEN} AND state_to = {_NORMAL} AND reason = '{Reason.OPERATOR_RESUME.name}')",
    },
    laws=(
        Law(
            "risk_state_continuous",
            (
                follows("risk_state"),
                ("risk state without its record in the journal", JOURNALED),
                (
                    "risk state does not continue the one before",
                    f"NEW.state_from = {latest('state_to', 'risk_state', MINE, _NORMAL)}",
                ),
                (
                    "daily stop lifted or set without its reason",
                    f"NEW.day_stopped = CASE NEW.reason WHEN '{Reason.DAILY_STOP.name}' THEN 1 "
                    f"WHEN '{Reason.NEW_DAY.name}' THEN 0 ELSE {_OR_BEFORE['day_stopped']} END",
                ),
                (
                    "weekly stop lifted or set without its reason",
                    f"NEW.week_stopped = CASE NEW.reason WHEN '{Reason.WEEKLY_STOP.name}' THEN 1 "
                    f"WHEN '{Reason.NEW_WEEK.name}' THEN 0 ELSE {_OR_BEFORE['week_stopped']} END",
                ),
                (
                    "total loss forgotten, or said without its reason",
                    f"NEW.total_stopped = CASE NEW.reason WHEN '{Reason.TOTAL_LOSS_FLATTEN.name}' THEN 1 "
                    f"ELSE {_OR_BEFORE['total_stopped']} END",
                ),
                (
                    "circuit opened or closed without its reason",
                    f"NEW.circuit_until_ns = CASE NEW.reason WHEN '{Reason.CIRCUIT_OPEN.name}' "
                    f"THEN NEW.at_ns + a.circuit_open_ns ELSE {_OR_BEFORE['circuit_until_ns']} END",
                ),
            ),
            source="account a WHERE a.account_id = NEW.account_id",
        ),
    ),
)

SIGNAL: Final = table(
    "signal",
    SEQ,
    text("kind", *(item.name for item in Kind if item < Kind.DECISION)),
    integer("instrument", 0, 2**16 - 1),
    any_integer("event_ns"),
    any_integer("known_ns"),
    key=("seq",),
    parents=(parent("account", "account_id"),),
)

LINEAGE: Final = View(
    "lineage",
    """
SELECT t.account_id, t.id AS trade, t.lot, f.order_id AS opened_by, a.signal AS opened_on,
       g.order_id AS closed_by, b.signal AS closed_on, t.units, t.realised
FROM trade t
JOIN lot l ON l.account_id = t.account_id AND l.id = t.lot
LEFT JOIN fill f ON f.account_id = t.account_id AND f.txn = l.txn
LEFT JOIN approval a ON a.account_id = t.account_id AND a.order_id = f.order_id
LEFT JOIN fill g ON g.account_id = t.account_id AND g.txn = t.txn
LEFT JOIN approval b ON b.account_id = t.account_id AND b.order_id = g.order_id""",
)

TABLES: Final = (ENTRY, TXN, FILL, TRANSFER, FUNDING, LOT, TRADE, RISK_STATE, SIGNAL)
VIEWS: Final = (LINEAGE,)
