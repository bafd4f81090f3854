"""Cash and positions: the facts. Nothing here refuses anything; limits bind approvals, never facts."""

from typing import Final

import numpy as np

from core import units
from core.errors import BadInput
from core.jit import kernel
from core.layout import FILL_SLOTS
from core.records import FeeAsset, Side
from core.units import DOWN, UP, as_int

BUY: Final = int(Side.BUY)
FEE_IN_BASE: Final = int(FeeAsset.BASE)


@kernel
def is_booked(state: np.void, fill: np.void) -> bool:
    """This very execution was booked before: venues deliver again what they are not sure we got (requirements ORD-03).

    Known for the instrument's last ``FILL_SLOTS`` fills; an older one belongs to an order that ended and so halts.
    """
    executions = state["executions"][as_int(fill["instrument"])]
    if fill["exec_id"] > executions["exec_id_max"]:
        return False
    for slot in range(min(executions["booked"], FILL_SLOTS)):
        if executions["exec_ids"][slot] == fill["exec_id"] and executions["order_ids"][slot] == fill["order_id"]:
            return True
    return False


@kernel
def book_fill(config: np.void, state: np.void, fill: np.void) -> None:
    """Move cash and base holdings by one FILL: a buy's cost rounded up, a sell's proceeds down, its fee as stated.

    Raises BadInput for a price, quantity or fee outside the range the configuration was proven for.
    """
    index = as_int(fill["instrument"])
    market = config["markets"][index]
    if not (1 <= fill["price"] <= market["price_max"] and 1 <= fill["qty"] <= market["lots_max"]):
        raise BadInput("a fill's price or quantity is outside the range proven at start: check its ticks and lots")
    if not -config["equity_max"] <= fill["fee"] <= config["equity_max"]:
        raise BadInput("a fill's fee is beyond the equity bound proven at start: check its unit")
    account, position = state["account"], state["positions"][index]
    is_buy = fill["side"] == BUY
    amount = units.notional(market["instrument"], fill["price"], fill["qty"], UP if is_buy else DOWN)
    if amount > config["equity_max"]:
        raise BadInput("a fill's value is beyond the equity bound proven at start: check its ticks and lots")
    moved = fill["qty"] * market["instrument"]["lot_units"]
    if is_buy:
        account["cash"] -= amount
        position["base_units"] += moved
    else:
        account["cash"] += amount
        position["base_units"] -= moved
    if fill["flags"] == FEE_IN_BASE:
        position["base_units"] -= fill["fee"]
    else:
        account["cash"] -= fill["fee"]
    executions = state["executions"][index]
    executions["order_ids"][executions["booked"] % FILL_SLOTS] = fill["order_id"]
    executions["exec_ids"][executions["booked"] % FILL_SLOTS] = fill["exec_id"]
    executions["booked"] += 1
    executions["exec_id_max"] = max(executions["exec_id_max"], fill["exec_id"])
    mark(config, state, index, fill["price"])


@kernel
def mark(config: np.void, state: np.void, index: int, price: int) -> None:
    """Value position ``index`` at ``price`` ticks and bring exposure and equity up to date.

    Raises BadInput when equity leaves the range the arithmetic was proven for.
    """
    account, position = state["account"], state["positions"][index]
    value = units_value(config["markets"][index], price, position["base_units"])
    account["exposure"] += value - position["value"]
    account["equity"] = account["cash"] + account["exposure"]
    position["value"] = value
    position["price"] = price
    if not -config["equity_max"] <= account["equity"] <= config["equity_max"]:
        raise BadInput("equity left the range proven at start (100 x initial cash): restart with the present cash")


@kernel
def units_value(market: np.void, price: int, base_units: int) -> int:
    """Value of ``base_units`` at ``price`` ticks in quote units, rounded down; owed units are valued rounded up."""
    if base_units == 0:
        return 0
    tick_value = price * market["instrument"]["value_num"]
    if base_units < 0:
        return -units.mul_div(tick_value, -base_units, market["unit_den"], UP)
    return units.mul_div(tick_value, base_units, market["unit_den"], DOWN)


@kernel
def sellable_lots(config: np.void, state: np.void, index: int) -> int:
    """Whole lots held; the rest is dust."""
    base_units = state["positions"][index]["base_units"]
    return max(0, base_units // config["markets"][index]["instrument"]["lot_units"])


@kernel
def is_flat(config: np.void, state: np.void, index: int) -> bool:
    """Nothing held that a venue would let us sell: less than a lot, the minimum quantity or the minimum notional."""
    lots = sellable_lots(config, state, index)
    instrument = config["markets"][index]["instrument"]
    if lots == 0 or lots < instrument["min_lots"]:
        return True
    price = state["positions"][index]["price"]
    return units.notional(instrument, price, lots, DOWN) < instrument["min_notional"]
