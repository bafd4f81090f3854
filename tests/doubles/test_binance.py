"""Unmodified ccxt against the double of Binance."""

import asyncio
from typing import Any

import ccxt
import pytest

from core.instruments import Instrument
from core.records import Side
from feeds.dialects import Rule, binance
from tests.doubles.book import BUY, SELL
from tests.doubles.clients import against
from tests.doubles.venues import KEY, build
from tests.doubles.wire import Double, Key, Request
from tests.fuzz.laws import Records

SYMBOL = "BTC/USDT"


def test_markets_balance_and_book_are_the_doubles() -> None:
    async def script(venue: Any, double: Double) -> None:
        market = venue.market(SYMBOL)
        assert (market["precision"]["price"], market["precision"]["amount"]) == (0.01, 0.00001)
        assert market["limits"]["cost"]["min"] == 5
        balance = await venue.fetch_balance()
        assert (balance["BTC"]["free"], balance["USDT"]["total"]) == (1.0, 100_000.0)
        book = await venue.fetch_order_book(SYMBOL)
        assert book["bids"][0] == [49_999.0, 0.5]
        assert book["asks"][:2] == [[50_001.0, 0.49999], [50_002.0, 0.5]]
        assert (await venue.fetch_trades(SYMBOL))[-1]["price"] == 50_001.0

    against("binance", script)


def test_an_order_lives_is_found_by_either_id_and_ends() -> None:
    async def script(venue: Any, double: Double) -> None:
        made = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_000, {"newClientOrderId": "one"})
        assert (made["status"], made["clientOrderId"]) == ("open", "one")
        by_id = await venue.fetch_order(made["id"], SYMBOL)
        by_client_id = await venue.fetch_order("", SYMBOL, {"origClientOrderId": "one"})
        assert by_id == by_client_id
        assert [order["id"] for order in await venue.fetch_open_orders(SYMBOL)] == [made["id"]]
        assert (await venue.fetch_balance())["USDT"]["used"] == 4900.0
        double.exchange.trade(SYMBOL, SELL, 4_900_000, 510_000)
        found = await venue.fetch_order(made["id"], SYMBOL)
        assert (found["status"], found["filled"], found["average"]) == ("closed", 0.1, 49_000.0)
        mine = await venue.fetch_my_trades(SYMBOL)
        assert [(each["order"], each["takerOrMaker"], each["fee"]["currency"]) for each in mine] == [
            (made["id"], "maker", "BTC")
        ]
        again = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 40_100)
        assert (await venue.cancel_order(again["id"], SYMBOL))["status"] == "canceled"
        for _ in range(2):
            await venue.create_order(SYMBOL, "limit", "buy", 0.1, 40_100)
        assert len(await venue.cancel_all_orders(SYMBOL)) == 2
        assert await venue.fetch_open_orders(SYMBOL) == []

    against("binance", script)


def test_market_post_only_ioc_and_stop_orders() -> None:
    async def script(venue: Any, double: Double) -> None:
        bought = await venue.create_order(SYMBOL, "market", "buy", 0.6)
        assert (bought["status"], bought["filled"], len(bought["trades"])) == ("closed", 0.6, 2)
        spent = await venue.create_market_buy_order_with_cost(SYMBOL, 1000)
        assert (spent["status"], spent["cost"] <= 1000 < spent["cost"] + 1) == ("closed", True)
        with pytest.raises(ccxt.OrderImmediatelyFillable):
            await venue.create_order(SYMBOL, "limit", "buy", 0.1, 50_100, {"postOnly": True})
        resting = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_990, {"postOnly": True})
        assert resting["postOnly"]
        part = await venue.create_order(SYMBOL, "limit", "sell", 0.6, 49_999, {"timeInForce": "IOC"})
        assert (part["status"], part["filled"]) == ("expired", 0.5)
        none = await venue.create_order(SYMBOL, "limit", "sell", 0.6, 49_998, {"timeInForce": "FOK"})
        assert (none["status"], none["filled"]) == ("expired", 0.0)
        stop = await venue.create_order(SYMBOL, "limit", "sell", 0.1, 49_900, {"stopLossPrice": 49_950})
        assert (stop["status"], stop["triggerPrice"]) == ("open", 49_950.0)
        double.exchange.set_level(SYMBOL, BUY, 4_995_000, 300_000)
        double.exchange.trade(SYMBOL, SELL, 4_995_000, 10_000_000)
        assert (await venue.fetch_order(stop["id"], SYMBOL))["status"] == "open"  # triggered, and nobody is left
        assert double.exchange.orders[int(stop["id"])].status == "open"

    against("binance", script)


def test_what_the_venue_refuses_reaches_ccxt_as_its_own_errors() -> None:
    async def script(venue: Any, double: Double) -> None:
        market = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "type": "LIMIT",
            "timeInForce": "GTC",
            "price": "49000",
            "quantity": "0.1",
        }
        cases = [
            (ccxt.InvalidOrder, {"price": "49000.001"}),
            (ccxt.InvalidOrder, {"quantity": "0.100001"}),
            (ccxt.BadRequest, {"quantity": "0.00001"}),  # notional: ccxt knows no better class for it
            (ccxt.InvalidOrder, {"price": "20000"}),  # band
            (ccxt.InsufficientFunds, {"quantity": "10"}),
            (ccxt.BadSymbol, {"symbol": "ETHUSDT"}),
            (ccxt.BadRequest, {"newClientOrderId": "no spaces"}),
        ]
        for error, change in cases:
            with pytest.raises(error):
                await venue.privatePostOrder(market | change)
        await venue.privatePostOrder(market | {"newClientOrderId": "twice"})
        with pytest.raises(ccxt.InvalidOrder, match="Duplicate"):
            await venue.privatePostOrder(market | {"newClientOrderId": "twice"})
        with pytest.raises(ccxt.OrderNotFound):
            await venue.fetch_order("77", SYMBOL)
        with pytest.raises(ccxt.OrderNotFound):
            await venue.cancel_order("77", SYMBOL)
        double.exchange.markets[SYMBOL].is_trading = False
        with pytest.raises(ccxt.MarketClosed):
            await venue.privatePostOrder(market)

    against("binance", script)


def test_a_wrong_signature_key_or_time_is_refused() -> None:
    async def script(venue: Any, double: Double) -> None:
        venue.secret = "another"
        with pytest.raises(ccxt.AuthenticationError, match="-1022"):
            await venue.fetch_balance()
        venue.secret, venue.apiKey = KEY.secret, "unknown"
        with pytest.raises(ccxt.AuthenticationError, match="-2015"):
            await venue.fetch_balance()
        venue.apiKey = KEY.api
        double.clock.advance(30)
        with pytest.raises(ccxt.InvalidNonce):
            await venue.fetch_balance()
        await venue.load_time_difference()
        await venue.fetch_balance()
        double.clock.advance(-60)
        with pytest.raises(ccxt.InvalidNonce, match="ahead"):
            await venue.fetch_balance()

    against("binance", script)


def test_a_key_says_what_it_may_do() -> None:
    async def script(venue: Any, double: Double) -> None:
        double.keys["rich"] = Key("rich", "s", rights=frozenset({"read", "withdraw"}))
        assert (await venue.sapiGetAccountApiRestrictions())["enableWithdrawals"] is False
        venue.apiKey, venue.secret = "rich", "s"
        rights = await venue.sapiGetAccountApiRestrictions()
        assert (rights["enableWithdrawals"], rights["enableSpotAndMarginTrading"]) == (True, False)
        venue.options["hasAlreadyAuthenticatedSuccessfully"] = False  # or ccxt takes it for a ban
        with pytest.raises(ccxt.AuthenticationError, match="-2015"):
            await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_000)

    against("binance", script)


def test_user_data_tells_of_orders_fills_balances_and_deposits() -> None:
    async def script(venue: Any, double: Double) -> None:
        watching = [
            asyncio.ensure_future(call()) for call in (venue.watch_orders, venue.watch_my_trades, venue.watch_balance)
        ]
        while not any(getattr(session, "accounts", None) for session in double.sessions):
            await asyncio.sleep(0.005)
        made = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 50_001)
        orders, trades, balance = await asyncio.wait_for(asyncio.gather(*watching), 5)
        assert orders[0]["id"] == made["id"]
        assert (trades[0]["order"], trades[0]["price"], trades[0]["amount"]) == (made["id"], 50_001.0, 0.1)
        free = balance["USDT"]["free"]
        assert free < 100_000
        watching = [asyncio.ensure_future(venue.watch_balance())]
        await asyncio.sleep(0.01)
        double.exchange.deposit("main", "USDT", 5 * 10**8)
        assert (await asyncio.wait_for(watching[0], 5))["USDT"]["free"] == free + 5

    against("binance", script)


def test_streams_of_book_and_trades_follow_the_double() -> None:
    async def script(venue: Any, double: Double) -> None:
        exchange = double.exchange
        book = await asyncio.wait_for(venue.watch_order_book(SYMBOL), 5)
        for step in range(20):
            exchange.set_level(SYMBOL, BUY, 4_999_900 - step, 1000 + step)
            exchange.trade(SYMBOL, BUY, 5_000_100, 10)
            book = await asyncio.wait_for(venue.watch_order_book(SYMBOL), 5)
        while book["nonce"] != double.update_id[SYMBOL]:
            book = await asyncio.wait_for(venue.watch_order_book(SYMBOL), 5)
        market = exchange.markets[SYMBOL]
        for name, side in (("bids", BUY), ("asks", SELL)):
            true = [
                [float(market.price(at)), float(market.quantity(lots))]
                for at, lots in exchange.books[SYMBOL].depth(side)
            ]
            assert [list(level) for level in book[name]] == true
        watching = asyncio.ensure_future(venue.watch_trades(SYMBOL))
        while not any("btcusdt@trade" in getattr(session, "names", ()) for session in double.sessions):
            await asyncio.sleep(0.005)
        exchange.trade(SYMBOL, BUY, 5_000_100, 7)
        assert (await asyncio.wait_for(watching, 5))[-1]["amount"] == 0.00007

    against("binance", script)


def test_an_endpoint_or_parameter_the_venue_lacks_fails_the_test() -> None:
    async def script(venue: Any, double: Double) -> None:
        with pytest.raises(ccxt.BadRequest, match="-1104"):
            await venue.privateGetOpenOrders({"symbol": "BTCUSDT", "sort": "asc"})
        with pytest.raises(ccxt.OperationFailed):
            await venue.sapiGetMarginAccount()

    with pytest.raises(AssertionError, match=r"sort.*margin/account"):
        against("binance", script)


def test_too_many_requests_are_refused_with_the_time_to_wait() -> None:
    double = build("binance")
    answers = [double.handle(Request("GET", "/api/v3/depth", "symbol=BTCUSDT")) for _ in range(1201)]
    assert [answer.status for answer in answers] == [200] * 1200 + [429]
    assert answers[-1].headers == {"Retry-After": "1"}
    double.clock.advance(1)
    assert double.handle(Request("GET", "/api/v3/depth", "symbol=BTCUSDT")).status == 200


def test_an_order_made_smaller_keeps_its_place() -> None:
    async def script(venue: Any, double: Double) -> None:
        made = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_999)
        terms = {"symbol": "BTCUSDT", "orderId": made["id"], "newQty": "0.04"}
        answer = await venue.request("order/amend/keepPriority", ["private"], "PUT", terms)
        assert answer["amendedOrder"]["origQty"] == "0.04000000"
        double.exchange.trade(SYMBOL, SELL, 4_999_900, 50_000 + 4000)
        assert (await venue.fetch_order(made["id"], SYMBOL))["status"] == "closed"

    against("binance", script)


@pytest.mark.parametrize("fault", ["", "drop", "wrong_checksum"])
def test_our_dialect_keeps_the_doubles_book_and_notices_a_gap(fault: str) -> None:
    double = build("binance")
    texts: list[str] = []
    session = double.connect("/stream?streams=btcusdt@depth@100ms/btcusdt@trade/btcusdt@bookTicker")
    assert session is not None
    session.carry = texts.append
    pair = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001")
    follower, records = binance.Normaliser(pair, binance.Market.SPOT, symbol="BTCUSDT", tops=True), Records()
    texts.append(double.handle(Request("GET", "/api/v3/depth", "symbol=BTCUSDT&limit=1000")).text)
    for step in range(100):
        changes = {(BUY, 4_999_900 - step % 7): step % 5, (SELL, 5_000_100 + step % 9): step % 4}
        changes |= {(BUY, 4_999_000): step + 1}
        if fault and step == 50:
            double.plan.next(fault, "ws.book")
        double.exchange.set_levels(SYMBOL, changes)
        double.exchange.trade(SYMBOL, BUY, 5_000_200, 10)
    for text in texts:
        follower.on_recorded(double.clock.now_ns(), text.encode())
    records.take(follower.take())
    assert (follower.findings.counts[Rule.GAP] > 0) == bool(fault)
    if not fault:
        assert not follower.findings.counts
        assert records.levels == {
            (int(kind), price): lots
            for kind, side in ((Side.BUY, BUY), (Side.SELL, SELL))
            for price, lots in double.exchange.books[SYMBOL].depth(side)
        }
