"""Unmodified ccxt against the double of Coinbase, and our own dialect against its frames."""

import asyncio
import json
from typing import Any

import ccxt
import pytest

from core.instruments import Instrument
from core.records import Side
from feeds.dialects import Rule, coinbase
from tests.doubles.book import BUY, SELL
from tests.doubles.clients import against, within
from tests.doubles.coinbase import new_key
from tests.doubles.transport import HOST
from tests.doubles.venues import build
from tests.doubles.wire import Double, Request
from tests.fuzz.laws import Records

SYMBOL = "BTC/USD"
ID = "11111111-2222-4333-8444-555555555555"
PAIR = Instrument(symbol=SYMBOL, base="BTC", quote="USD", tick="0.01", lot="0.00000001")


def test_markets_balance_and_book_are_the_doubles() -> None:
    async def script(venue: Any, double: Double) -> None:
        market = venue.market(SYMBOL)
        assert (market["id"], market["precision"]["price"], market["precision"]["amount"]) == ("BTC-USD", 0.01, 1e-8)
        assert (market["maker"], market["taker"]) == (0.004, 0.006)
        for params in ({}, {"v3": True}):
            balance = await venue.fetch_balance(params)
            assert (balance["BTC"]["free"], balance["USD"]["total"]) == (1.0, 100_000.0)
        book = await venue.fetch_order_book(SYMBOL)
        assert [level[:2] for level in book["bids"][:2]] == [[49_999.0, 0.5], [49_998.0, 0.5]]
        assert (await venue.fetch_trades(SYMBOL))[-1]["price"] == 50_001.0
        assert abs(await venue.fetch_time() - double.clock.now_ms()) < 2000

    against("coinbase", script)


def test_an_order_lives_is_found_and_ends() -> None:
    async def script(venue: Any, double: Double) -> None:
        made = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_000, {"client_order_id": ID})
        found = await venue.fetch_order(made["id"])
        assert (found["status"], found["clientOrderId"], found["price"]) == ("open", ID, 49_000.0)
        assert [each["id"] for each in await venue.fetch_open_orders(SYMBOL)] == [made["id"]]
        assert (await venue.fetch_balance({"v3": True}))["USD"]["used"] == 4900 * 1.006
        again = await venue.create_order(SYMBOL, "limit", "buy", 0.2, 48_000, {"client_order_id": ID})
        assert again["id"] == made["id"]  # the venue answers a repeated id with the first order
        double.exchange.trade(SYMBOL, SELL, 4_900_000, 520_000_000)
        found = await venue.fetch_order(made["id"], SYMBOL)
        assert (found["status"], found["filled"], found["average"]) == ("closed", 0.1, 49_000.0)
        assert (float(found["fee"]["cost"]), found["fee"]["currency"]) == (19.6, "USD")
        mine = await venue.fetch_my_trades(SYMBOL)
        assert [(each["order"], each["takerOrMaker"]) for each in mine] == [(made["id"], "maker")]
        assert [each["id"] for each in await venue.fetch_closed_orders(SYMBOL)] == [made["id"]]
        other = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 40_100)
        await venue.cancel_order(other["id"])
        assert (await venue.fetch_order(other["id"]))["status"] == "canceled"

    against("coinbase", script)


def test_market_post_only_ioc_and_stop_orders() -> None:
    async def script(venue: Any, double: Double) -> None:
        spent = await venue.create_market_buy_order_with_cost(SYMBOL, 1000)
        assert 993 < (await venue.fetch_order(spent["id"]))["cost"] <= 1000 / 1.006
        sold = await venue.create_order(SYMBOL, "market", "sell", 0.1)
        assert (await venue.fetch_order(sold["id"]))["status"] == "closed"
        with pytest.raises(ccxt.ExchangeError, match="POST_ONLY"):
            await venue.create_order(SYMBOL, "limit", "buy", 0.1, 50_100, {"postOnly": True})
        part = await venue.create_order(SYMBOL, "limit", "buy", 0.6, 50_001, {"timeInForce": "IOC"})
        found = await venue.fetch_order(part["id"])
        assert (found["status"], found["filled"] < 0.6) == ("canceled", True)
        stop = await venue.create_order(SYMBOL, "limit", "sell", 0.1, 49_900, {"stopLossPrice": 49_950})
        found = await venue.fetch_order(stop["id"])
        assert (found["triggerPrice"], found["price"], found["status"]) == (49_950.0, 49_900.0, "open")
        order = double.exchange.open_orders("main")[0]
        assert (order.status, order.new.is_take_profit) == ("pending", False)

    against("coinbase", script)


def test_what_the_venue_refuses_reaches_ccxt_as_its_own_errors() -> None:
    async def script(venue: Any, double: Double) -> None:
        cases = [
            (ccxt.ExchangeError, "PRICE_PRECISION", {"limit_price": "49000.001"}),
            (ccxt.ExchangeError, "QUOTE_SIZE_TOO_SMALL", {"base_size": "0.00001"}),
            (ccxt.InsufficientFunds, "INSUFFICIENT_FUND", {"base_size": "10"}),
        ]
        for number, (error, match, change) in enumerate(cases):
            terms = {"base_size": "0.1", "limit_price": "49000", "post_only": False} | change
            body = {"client_order_id": f"{number}", "product_id": "BTC-USD", "side": "BUY"}
            with pytest.raises(error, match=match):
                await venue.v3PrivatePostBrokerageOrders(body | {"order_configuration": {"limit_limit_gtc": terms}})
        with pytest.raises(ccxt.ExchangeError, match="orderID was not found"):
            await venue.fetch_order("00000000-0000-0000-0000-000000000077")
        with pytest.raises(ccxt.BadRequest):
            await venue.cancel_order("00000000-0000-0000-0000-000000000077")
        with pytest.raises(ccxt.BadRequest, match="product_id"):
            await venue.v3PublicGetBrokerageMarketProductBook({"product_id": "ETH-USD"})

    against("coinbase", script)


def test_a_wrong_token_is_refused_rights_are_told_and_calls_are_counted() -> None:
    async def script(venue: Any, double: Double) -> None:
        assert (await venue.v3PrivateGetBrokerageKeyPermissions())["can_transfer"] is False
        venue.secret = new_key().secret
        with pytest.raises(ccxt.AuthenticationError):
            await venue.fetch_balance({"v3": True})
        rich = new_key("organizations/rich", rights=frozenset({"read", "withdraw"}))
        double.keys[rich.api] = rich
        venue.apiKey, venue.secret = rich.api, rich.secret
        assert (await venue.v3PrivateGetBrokerageKeyPermissions())["can_transfer"] is True
        with pytest.raises(ccxt.PermissionDenied):
            await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_000)
        double.clock.advance(300)
        with pytest.raises(ccxt.AuthenticationError):  # the token is of five minutes ago
            await venue.fetch_balance({"v3": True})
        double.clock.advance(-300)
        double.calls.size = 3  # type: ignore[attr-defined]
        with pytest.raises(ccxt.RateLimitExceeded):
            for _ in range(9):
                await venue.fetch_balance({"v3": True})

    against("coinbase", script)


def test_streams_follow_the_double() -> None:
    async def script(venue: Any, double: Double) -> None:
        exchange = double.exchange
        assert await asyncio.wait_for(venue.watch_orders(), 5) == []  # what is open
        watching = asyncio.ensure_future(venue.watch_orders())
        await asyncio.wait_for(venue.watch_order_book(SYMBOL), 5)
        made = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 50_001)
        assert (await asyncio.wait_for(watching, 5))[-1]["id"] == made["id"]
        while venue.orders[-1]["status"] != "closed":
            await asyncio.sleep(0.005)
        for step in range(12):
            exchange.set_level(SYMBOL, BUY, 4_999_910 + step % 5, 10_000_000 * (step % 3))
            exchange.set_level(SYMBOL, SELL, 5_000_100 + 100 * step, 0)
        market = exchange.markets[SYMBOL]
        true = [
            [[float(market.price(at)), float(market.quantity(lots))] for at, lots in exchange.books[SYMBOL].depth(side)]
            for side in (BUY, SELL)
        ]
        sides: list[Any] = []
        while sides != true:
            await asyncio.sleep(0.005)
            sides = [[list(level[:2]) for level in venue.orderbooks[SYMBOL][name]] for name in ("bids", "asks")]
        trades = await asyncio.wait_for(venue.watch_trades(SYMBOL), 5)
        assert [(each["side"], each["price"]) for each in trades[-1:]] == [("sell", 50_001.0)]  # the resting side

    against("coinbase", script)


@pytest.mark.parametrize("fault", ["wrong_checksum", "drop"])
def test_our_dialect_keeps_the_doubles_book_and_notices_what_is_wrong(fault: str) -> None:
    double = build("coinbase")
    texts: list[str] = []
    session = double.connect("/")
    assert session is not None
    session.carry = texts.append
    for channel in ("heartbeats", "level2", "market_trades"):
        session.receive(json.dumps({"type": "subscribe", "channel": channel, "product_ids": ["BTC-USD"]}))
    follower, records = coinbase.Normaliser(PAIR), Records()
    for step in range(200):
        side, offset = (BUY, -(step * 7 % 31)) if step % 2 else (SELL, 20 + step * 11 % 31)
        double.exchange.set_level(SYMBOL, side, 5_000_000 + offset, (step * 7919 % 5) * 12_345_678)
        double.exchange.trade(SYMBOL, -side, 5_000_000 + offset, 1000)
        double.clock.advance(0.1)
    for text in texts:
        follower.on_frame(double.clock.now_ns(), text.encode())
    records.take(follower.take())
    assert not follower.findings.counts
    assert "heartbeats" in follower.findings.passed
    assert records.levels == {
        (int(kind), price): lots
        for kind, side in ((Side.BUY, BUY), (Side.SELL, SELL))
        for price, lots in double.exchange.books[SYMBOL].depth(side)
    }
    texts.clear()
    double.plan.next(fault, "ws.book")
    for lots in (77, 78):
        double.exchange.set_level(SYMBOL, BUY, 5_000_001, lots)
    for text in texts:
        follower.on_frame(double.clock.now_ns(), text.encode())
    assert follower.findings.counts[Rule.GAP] == 1
    double.verify()


def test_a_token_is_good_for_its_own_request_only() -> None:
    async def script(venue: Any, double: Double) -> None:
        signed = venue.sign("brokerage/accounts", ["v3", "private"], "GET", {})
        headers = {"authorization": signed["headers"]["Authorization"], "host": HOST}
        answers = [
            double.handle(Request("GET", f"/api/v3/brokerage/{path}", headers=headers)).status
            for path in ("accounts", "key_permissions")
        ]
        assert answers == [200, 401]

    within("coinbase", script)
