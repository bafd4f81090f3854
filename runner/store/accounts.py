"""What an account is: its limits, assets, markets and groups, and the words every table of an account is made of.

Every table carries ``account_id``, every key and every look-up begins with it: two accounts in one database cannot
meet.
"""

from typing import Final

from core.layout import INSTRUMENTS_MAX
from runner.store.contract import PPM, Column, Law, Table, any_integer, digest, flag, integer, latest, parent, text

NO_ROW: Final = 0

# Limits an approval is judged by: fields of the core's configuration, under their names there.
LIMITS: Final = (
    "initial_cash",
    "equity_max",
    "is_margin",
    "order_latency_ns",
    "slippage_ppm",
    "asset_cap_ppm",
    "total_cap_ppm",
    "min_confidence_ppm",
    "prediction_ttl_ns",
    "price_band_ppm",
    "leverage_ppm",
    "deleverage_ppm",
    "fee_guard_ppm",
    "max_orders_per_hour",
    "cooldown_ns",
    "circuit_open_ns",
)
# Of a market: fields of its instrument on the venue's grid, and the bounds proven for it.
GRID: Final = (
    "value_num",
    "value_den",
    "lot_units",
    "min_lots",
    "min_notional",
    "maker_fee_ppm",
    "taker_fee_ppm",
    "fee_in_received",
)
BOUNDS: Final = ("allowed", "price_max", "lots_max", "unit_den", "capacity_lots")

ACCOUNT_ID: Final = integer("account_id", 1)
SEQ: Final = integer("seq", 0)  # sequence number of the journal record that caused the row
INSTRUMENT: Final = integer("instrument", 0, INSTRUMENTS_MAX - 1)
MARKET_PARENT: Final = parent("market", "account_id", "instrument")
MINE: Final = "account_id = NEW.account_id"
JOURNALED: Final = "NEW.seq < COALESCE((SELECT first + count FROM batch ORDER BY first DESC LIMIT 1), 0)"


def table(name: str, *columns: Column, key: tuple[str, ...], **more: object) -> Table:
    """A table of one account: ``account_id`` comes first in the row and in the key."""
    return Table(name, (ACCOUNT_ID, *columns), ("account_id", *key), **more)  # type: ignore[arg-type]


def follows(name: str, column: str = "id") -> tuple[str, str]:
    """The condition that the new row's number is the one after the last."""
    return (f"{name} leaves a hole", f"NEW.{column} = {latest(column, name, MINE, NO_ROW, column)} + 1")


ACCOUNT: Final = table(
    "account",
    text("profile", "spot", "margin"),
    text("quote"),
    *(integer(name, 0) for name in LIMITS),
    key=(),
    checks={
        "no_leverage": f"profile = 'margin' OR (asset_cap_ppm <= {PPM} AND total_cap_ppm <= {PPM})",
        "profile_flag": "is_margin = CASE profile WHEN 'margin' THEN 1 ELSE 0 END",
        "execution_after_decision": "order_latency_ns >= 1",
    },
)
ASSET: Final = table("asset", text("asset"), text("unit"), key=("asset",), parents=(parent("account", "account_id"),))
MARKET: Final = table(
    "market",
    INSTRUMENT,
    text("symbol"),
    text("base"),
    text("quote"),
    *(integer(name) for name in GRID),
    *(integer(name, 0) for name in BOUNDS),
    key=("instrument",),
    unique=(("account_id", "symbol"), ("account_id", "base")),
    parents=(parent("account", "account_id"), parent("asset", "account_id", "base", keys=("account_id", "asset"))),
    checks={"grid": "value_num >= 1 AND value_den >= 1 AND lot_units >= 1 AND unit_den = value_den * lot_units"},
)

# Which instruments a theme or cluster has, as of a time: the last row at or before it counts.
MEMBER: Final = table(
    "member",
    integer("group_id", 0),
    integer("id", 1),
    text("kind", "theme", "cluster"),
    INSTRUMENT,
    flag("is_member"),
    integer("cap_ppm", 0),
    any_integer("from_ns"),
    digest("sha256"),  # over this row and the hash before it
    key=("id",),
    parents=(MARKET_PARENT,),
    laws=(
        Law(
            "member_follows",
            (
                follows("member"),
                ("member of the past", f"NEW.from_ns >= {latest('from_ns', 'member', MINE, 'NEW.from_ns')}"),
            ),
        ),
    ),
    indexes={"member_group": ("account_id", "group_id", "instrument", "id")},
)

TABLES: Final = (ACCOUNT, ASSET, MARKET, MEMBER)
