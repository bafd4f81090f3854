"""Cash and positions: the facts. Nothing here refuses anything; limits bind approvals, never facts."""

from typing import Final

import numpy as np

from core import units
from core.errors import BadInput
from core.impact import PPB, funding_payment
from core.jit import inlined, kernel
from core.layout import FILL_SLOTS
from core.records import FeeAsset, Side
from core.units import DOWN, INT64_MAX, UP, as_int

BUY: Final = int(Side.BUY)
FEE_IN_BASE: Final = int(FeeAsset.BASE)
BASE_UNITS_MAX: Final = 2**61


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
    if not is_buy:
        amount, moved = -amount, -moved
    fee = 0 if fill["flags"] == FEE_IN_BASE else fill["fee"]
    if fill["flags"] == FEE_IN_BASE:
        moved -= fill["fee"]
    account["cash"] -= amount + fee
    position["realised"] -= fee
    _change(position, moved, amount)
    executions = state["executions"][index]
    executions["order_ids"][executions["booked"] % FILL_SLOTS] = fill["order_id"]
    executions["exec_ids"][executions["booked"] % FILL_SLOTS] = fill["exec_id"]
    executions["booked"] += 1
    executions["exec_id_max"] = max(executions["exec_id_max"], fill["exec_id"])
    hold(config, state, index)
    view = position["view"]
    has_touch = view["bid"] > 0 and view["ask"] > 0
    mark(config, state, index, view["bid"] + view["ask"] if has_touch else 2 * fill["price"])


@kernel
def _change(position: np.void, units_moved: int, paid: int) -> None:
    """``units_moved`` base units more (below 0: less) for ``paid`` quote units (below 0: received), at average cost.

    What closes takes its share of the cost, rounded up, so that what is earned is rounded down, and the average of what
    stays is never above what was paid. Always: cash + the cost of all positions = what was paid in + all realised.
    """
    held = position["base_units"]
    position["base_units"] = held + units_moved
    if min(held, units_moved) >= 0 or max(held, units_moved) <= 0:
        position["cost"] += paid
    else:
        closed = min(abs(held), abs(units_moved))
        closing = _share(paid, closed, abs(units_moved))
        released = _share(position["cost"], closed, abs(held))
        position["realised"] -= closing + released
        position["cost"] += paid - closing - released
    _write_off(position)


@kernel
def _write_off(position: np.void) -> None:
    """Where nothing is held, nothing is left that a cost could be the cost of."""
    if position["base_units"] == 0:
        position["realised"] -= position["cost"]
        position["cost"] = 0


@kernel
def _share(amount: int, part: int, whole: int) -> int:
    """``part`` / ``whole`` of ``amount``, rounded towards more: what we pay up, what we receive down."""
    if part == whole:
        return amount
    return units.mul_div(amount, part, whole, UP) if amount >= 0 else -units.mul_div(-amount, part, whole, DOWN)


@kernel
def balance(config: np.void, state: np.void) -> int:
    """Cash and what was paid for the positions: equity without what is not realised, in quote units."""
    total = state["account"]["cash"]
    for index in range(config["n_instruments"]):
        total += state["positions"][index]["cost"]
    return total


@kernel
def book_funding(config: np.void, state: np.void, funding: np.void) -> int:
    """Pay or receive one FUNDING record; returns the quote units paid. Raises BadInput outside the proven range."""
    index = as_int(funding["instrument"])
    market, position = config["markets"][index], state["positions"][index]
    if not 1 <= funding["price"] <= market["price_max"] or abs(funding["rate_ppb"]) > PPB:
        raise BadInput("a funding's price or rate is outside the range proven at start: check its ticks and its unit")
    paid = funding_payment(market, position["base_units"], funding["price"], funding["rate_ppb"])
    if abs(paid) > config["equity_max"]:
        raise BadInput("a funding payment is beyond the equity bound proven at start: check its rate")
    state["account"]["cash"] -= paid
    position["realised"] -= paid
    mark(config, state, index, position["mark2"])
    return paid


@kernel
def book_transfer(config: np.void, state: np.void, transfer: np.void) -> int:
    """Take in or give away what one TRANSFER says; returns the quote units by which equity changed.

    Base units come in at what they are worth now, so a transfer earns nothing. Raises BadInput outside the range
    proven at start.
    """
    index, amount = as_int(transfer["instrument"]), transfer["amount"]
    account, position, before = state["account"], state["positions"][index], state["account"]["equity"]
    if transfer["flags"] == FEE_IN_BASE:
        if abs(amount) > BASE_UNITS_MAX or abs(position["base_units"] + amount) > BASE_UNITS_MAX:
            raise BadInput("a transfer's base units are beyond what fits: check its unit")
        if position["mark2"] == 0:
            raise BadInput("a transfer of base units before the instrument's first price: its worth is not known yet")
        instrument, held = config["markets"][index]["instrument"], abs(position["base_units"] + amount)
        most = units.lots_for(instrument, max(1, position["price"]), config["equity_max"])
        if held // instrument["lot_units"] > most:
            raise BadInput("a transfer is worth more than the equity bound proven at start: check its unit")
        position["base_units"] += amount
        hold(config, state, index)
        mark(config, state, index, position["mark2"])
        position["cost"] += account["equity"] - before
        _write_off(position)
    else:
        if abs(amount) > config["equity_max"] or abs(account["equity"] + amount) > config["equity_max"]:
            raise BadInput("a transfer is beyond the equity bound proven at start: check its unit")
        account["cash"] += amount
        mark(config, state, index, position["mark2"])
    return account["equity"] - before


@kernel
def hold(config: np.void, state: np.void, index: int) -> None:
    """Bring up to date what follows from ``base_units`` alone. Call it after every change of them."""
    market, position = config["markets"][index], state["positions"][index]
    held, lot_units = position["base_units"], market["instrument"]["lot_units"]
    position["view"]["lots"] = held // lot_units if held >= 0 else -(-held // lot_units)
    position["per_mark"], position["mark2_safe"] = 0, 0
    num, den = market["instrument"]["value_num"], 2 * market["unit_den"]
    if held != 0 and abs(held) <= INT64_MAX // num and held * num % den == 0:
        per_mark = held * num // den
        position["per_mark"] = per_mark
        position["mark2_safe"] = INT64_MAX // abs(per_mark)


@inlined
def mark(config: np.void, state: np.void, index: int, mark2: int) -> None:
    """Value position ``index`` at ``mark2`` half ticks and bring exposure and equity up to date.

    Raises BadInput when equity leaves the range the arithmetic was proven for.
    """
    account, position = state["account"], state["positions"][index]
    position["mark2"] = mark2
    position["price"] = mark2 >> 1
    if position["base_units"] != 0 or position["value"] != 0:
        if mark2 <= position["mark2_safe"]:  # 0 where the product is not exact
            value = mark2 * position["per_mark"]
        else:
            value = units_value(config["markets"][index], mark2, position["base_units"])
        account["holdings"] += value - position["value"]
        account["exposure"] += abs(value) - abs(position["value"])
        position["value"] = value
    account["equity"] = account["cash"] + account["holdings"]
    if abs(account["equity"]) > config["equity_max"]:
        raise BadInput("equity left the range proven at start (100 x initial cash): restart with the present cash")


@kernel
def units_value(market: np.void, mark2: int, base_units: int) -> int:
    """Value of ``base_units`` at ``mark2`` half ticks in quote units, rounded down; owed units are rounded up."""
    value, den = mark2 * market["instrument"]["value_num"], 2 * market["unit_den"]
    if base_units < 0:
        return -units.mul_div(value, -base_units, den, UP)
    return units.mul_div(value, base_units, den, DOWN)


@inlined
def is_flat(config: np.void, state: np.void, index: int) -> bool:
    """Nothing held or owed that a venue would let us close: less than a lot, the minimum quantity or notional."""
    position, instrument = state["positions"][index], config["markets"][index]["instrument"]
    lots = abs(position["view"]["lots"])
    if lots == 0 or lots < instrument["min_lots"]:
        return True
    return instrument["min_notional"] > 0 and _below_notional(instrument, position["price"], lots)


@kernel
def _below_notional(instrument: np.void, price: int, lots: int) -> bool:
    return units.notional(instrument, price, lots, DOWN) < instrument["min_notional"]
