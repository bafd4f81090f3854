"""What an account holds, what it cost and earned, and where it is exposed: plain data, from a ledger."""

from typing import Any

from core.instruments import Instrument
from core.records import Side
from runner.ledger import Ledger
from runner.summary import money


def holdings(instruments: tuple[Instrument, ...], ledger: Ledger) -> dict[str, Any]:
    """Profit, balances, positions, open lots and exposure of ``ledger`` at the last marks it has seen.

    equity - paid in = realised + unrealised - funding paid, to the unit.
    """
    unit, quote = instruments[0].quote_unit, instruments[0].quote
    units = {item.base: item.base_unit for item in instruments} | {quote: unit}
    positions = [_position(ledger, k, item) for k, item in enumerate(instruments)]
    cash = ledger.balances.get(("holdings", quote), 0)
    funding = ledger.balances.get(("funding", quote), 0)
    equity = cash + sum(position["value"] for position in positions)
    return {
        "quote": quote,
        "profit": {
            "paid_in": money(ledger.paid_in, unit),
            "equity": money(equity, unit),
            "realised": money(sum(ledger.lots.realised.values()), unit),
            "unrealised": money(sum(position["unrealised"] for position in positions), unit),
            "funding_paid": money(funding, unit),
        },
        "balances": [
            {"account": account, "asset": asset, "amount": money(amount, units[asset])}
            for (account, asset), amount in sorted(ledger.balances.items())
        ],
        "positions": [_held(position, item) for position, item in zip(positions, instruments, strict=True)],
        "results": [_earned(position, item) for position, item in zip(positions, instruments, strict=True)],
        "lots": [
            {
                "lot": lot.id,
                "symbol": item.symbol,
                "quantity": money(lot.left, item.base_unit),
                "cost": money(lot.cost_left, unit),
            }
            for k, item in enumerate(instruments)
            for lot in ledger.lots.open_lots(k)
        ],
        "exposure": _exposure(ledger, positions, instruments, unit),
    }


def _position(ledger: Ledger, k: int, item: Instrument) -> dict[str, int]:
    """Whole units of one position."""
    held, cost = ledger.lots.units(k), ledger.lots.cost(k)
    market, mark2 = ledger.markets[k], ledger.standing.marks2[k]
    value = market.value(mark2, held)
    return {
        "units": held,
        "dust": abs(held) % market.grid["lot_units"],
        "mark2": mark2,
        "value": value,
        "cost": cost,
        "unrealised": value - cost,
        "realised": ledger.lots.realised.get(k, 0),
    }


def _held(position: dict[str, int], item: Instrument) -> dict[str, str]:
    return {
        "symbol": item.symbol,
        "quantity": money(position["units"], item.base_unit),
        "dust": money(position["dust"], item.base_unit),
        "mark": money(position["mark2"] * 5, item.tick + "e-1"),
        "value": money(position["value"], item.quote_unit),
    }


def _earned(position: dict[str, int], item: Instrument) -> dict[str, str]:
    names = ("cost", "unrealised", "realised")
    return {"symbol": item.symbol} | {name: money(position[name], item.quote_unit) for name in names}


def _exposure(
    ledger: Ledger, positions: list[dict[str, int]], instruments: tuple[Instrument, ...], unit: str
) -> list[dict[str, str]]:
    """Per asset and in total: held, pending, and the worst that both can become."""
    rows, total = [], [0, 0, 0, 0]
    for k, (position, item) in enumerate(zip(positions, instruments, strict=True)):
        buying, selling = ledger.standing.sides[k, Side.BUY][1], ledger.standing.sides[k, Side.SELL][1]
        held = position["value"]
        amounts = [held, buying, selling, max(held + buying, selling - held)]
        total = [total[0] + abs(held), *(a + b for a, b in zip(total[1:], amounts[1:], strict=True))]
        rows.append(_amounts("asset", item.base, amounts, unit))
    return [*rows, _amounts("total", "all", total, unit)]


def _amounts(kind: str, of: str, amounts: list[int], unit: str) -> dict[str, str]:
    names = ("held", "pending_buys", "pending_sales", "at_most")
    return {"kind": kind, "of": of} | {name: money(amount, unit) for name, amount in zip(names, amounts, strict=True)}
