"""After any course of trading, what ccxt reads from a venue is what the engine behind it holds."""

import random
from contextlib import suppress
from decimal import Decimal
from typing import Any

import ccxt
import pytest

from tests.doubles.book import BUY, SELL
from tests.doubles.clients import within
from tests.doubles.market import Walk
from tests.doubles.orders import Order
from tests.doubles.venues import NAMES
from tests.doubles.wire import Double

ACTIONS = 60
STATUS = {"open": "open", "pending": "open", "filled": "closed", "canceled": "canceled", "expired": "expired"}


async def act(venue: Any, draw: random.Random, symbol: str, ids: list[str]) -> None:
    """One action of a trader who knows no plan; the venue may refuse it."""
    side, price = draw.choice(("buy", "sell")), 50_000 + draw.randrange(-12, 13)
    size = draw.choice((0.001, 0.02, 0.3))
    away = 20 if side == "buy" else -20
    stops = {"stopLossPrice": price + away}, {"takeProfitPrice": price - away}
    params: dict[str, Any] = draw.choice(({}, {}, {"postOnly": True}, {"timeInForce": "IOC"}, *stops))
    if draw.random() < 0.2 and ids:
        await venue.cancel_order(draw.choice(ids), symbol)
    elif draw.random() < 0.2:
        buys_by_cost = venue.id == "coinbase" and side == "buy"
        call = venue.create_market_buy_order_with_cost(symbol, size * 50_000) if buys_by_cost else None
        ids.append((await (call or venue.create_order(symbol, "market", side, size)))["id"])
    else:
        ids.append((await venue.create_order(symbol, "limit", side, size, price, params))["id"])


def expected_status(name: str, order: Order) -> str:
    """ccxt's word for what the engine says."""
    return "canceled" if (name, order.status) == ("coinbase", "expired") else STATUS[order.status]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_is_what_is_held(name: str, seed: int) -> None:
    async def script(venue: Any, double: Double) -> None:
        draw, ids = random.Random(f"{name}{seed}"), list[str]()
        ((symbol, market),) = double.exchange.markets.items()
        walk = Walk(double, symbol, seed)
        for _ in range(ACTIONS):
            double.clock.advance(5)
            with suppress(ccxt.BaseError):
                await act(venue, draw, symbol, ids)
            walk.step()
        orders = list(double.exchange.orders.values())
        assert len(ids) == len(orders) > ACTIONS // 3
        for order_id, order in zip(ids, orders, strict=True):
            double.clock.advance(1)
            found = await venue.fetch_order(order_id, symbol)
            assert found["status"] == expected_status(name, order)
            assert found["side"] == ("buy" if order.side == BUY else "sell")
            assert Decimal(str(found["filled"])) == market.quantity(order.filled)
        double.clock.advance(60)
        is_open = [order_id for order_id, order in zip(ids, orders, strict=True) if order.is_open]
        assert sorted(each["id"] for each in await venue.fetch_open_orders(symbol)) == sorted(is_open)
        fills = await venue.fetch_my_trades(symbol)
        told = [(each["side"], Decimal(str(each["price"])), Decimal(str(each["amount"]))) for each in fills]
        held = [
            ("buy" if fill.order.side == BUY else "sell", market.price(fill.price), market.quantity(fill.lots))
            for fill in double.exchange.fills
        ]
        assert sorted(told) == sorted(held[-len(told) :])  # Kraken gives the latest fifty
        assert len(told) == len(held) or (name, len(told)) == ("kraken", 50)
        balance = await venue.fetch_balance({"v3": True} if name == "coinbase" else {})
        for asset in (market.base, market.quote):
            units = double.exchange.balance("main", asset)
            held_now = [pytest.approx(float(Decimal(each).scaleb(-market.decimals(asset)))) for each in units]
            assert [balance[asset][key] for key in ("free", "used")] == held_now
        assert {fill.order.side for fill in double.exchange.fills} == {BUY, SELL}

    within(name, script)
