"""Unmodified ccxt against the double of Kraken, and our own dialect against its frames."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import ccxt
import pytest

from core.instruments import Instrument
from core.records import Side
from feeds.dialects import Rule, kraken
from tests.doubles.book import BUY, SELL
from tests.doubles.clients import against
from tests.doubles.kraken_shapes import checksum
from tests.doubles.venues import KEY, MARKETS, build
from tests.doubles.wire import Double, Key
from tests.feeds.test_dialect_kraken import GUIDE_ASKS, GUIDE_BIDS, GUIDE_CHECKSUM
from tests.fuzz.laws import Records

SYMBOL = "BTC/USD"
PAIR = Instrument(symbol=SYMBOL, base="BTC", quote="USD", tick="0.1", lot="0.00000001")
SIDES = ((Side.BUY, BUY), (Side.SELL, SELL))
ID = "11111111-2222-4333-8444-555555555555"


def test_markets_balance_and_book_are_the_doubles() -> None:
    async def script(venue: Any, double: Double) -> None:
        market = venue.market(SYMBOL)
        assert (market["id"], market["precision"]["price"], market["precision"]["amount"]) == ("XXBTZUSD", 0.1, 1e-8)
        assert (market["limits"]["amount"]["min"], market["limits"]["cost"]["min"]) == (0.00005, 0.5)
        assert (market["maker"], market["taker"]) == (0.0025, 0.004)
        balance = await venue.fetch_balance()
        assert (balance["BTC"]["free"], balance["USD"]["total"]) == (1.0, 100_000.0)
        book = await venue.fetch_order_book(SYMBOL)
        assert [level[:2] for level in book["bids"][:2]] == [[49_999.0, 0.5], [49_998.0, 0.5]]
        assert (await venue.fetch_trades(SYMBOL))[-1]["price"] == 50_001.0
        assert (await venue.fetch_status())["status"] == "ok"
        assert abs(await venue.fetch_time() - double.clock.now_ms()) < 2000

    against("kraken", script)


def test_an_order_lives_is_found_by_either_id_and_ends() -> None:
    async def script(venue: Any, double: Double) -> None:
        made = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_000, {"clientOrderId": ID})
        found = await venue.fetch_order(made["id"])
        assert (found["status"], found["clientOrderId"], found["price"]) == ("open", ID, 49_000.0)
        assert [each["id"] for each in await venue.fetch_open_orders(SYMBOL, None, None, {"clientOrderId": ID})] == [
            made["id"]
        ]
        assert (await venue.fetch_balance())["USD"]["used"] == 4900.0 * 1.004
        double.exchange.trade(SYMBOL, SELL, 490_000, 520_000_000)
        found = await venue.fetch_order(made["id"])
        assert (found["status"], found["filled"], found["average"]) == ("closed", 0.1, 49_000.0)
        assert (float(found["fee"]["cost"]), found["fee"]["currency"]) == (12.25, "USD")
        mine = await venue.fetch_my_trades(SYMBOL)
        assert [(each["order"], each["takerOrMaker"]) for each in mine] == [(made["id"], "maker")]
        closed = await venue.fetch_closed_orders(SYMBOL, None, None, {"clientOrderId": ID})
        assert [each["id"] for each in closed] == [made["id"]]
        again = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 40_100, {"clientOrderId": ID})  # the id is free
        await venue.cancel_order(again["id"])
        assert (await venue.fetch_order(again["id"]))["status"] == "canceled"
        await venue.create_order(SYMBOL, "limit", "buy", 0.1, 40_100)
        await venue.cancel_all_orders()
        assert await venue.fetch_open_orders(SYMBOL) == []

    against("kraken", script)


def test_market_post_only_and_stop_orders() -> None:
    async def script(venue: Any, double: Double) -> None:
        bought = await venue.create_order(SYMBOL, "market", "buy", 0.6)
        assert (await venue.fetch_order(bought["id"]))["filled"] == 0.6
        spent = await venue.create_market_buy_order_with_cost(SYMBOL, 1000)
        assert 996 < (await venue.fetch_order(spent["id"]))["cost"] <= 1000
        with pytest.raises(ccxt.ExchangeError, match="Post only"):
            await venue.create_order(SYMBOL, "limit", "buy", 0.1, 50_100, {"postOnly": True})
        stop = await venue.create_order(SYMBOL, "limit", "sell", 0.1, 49_900, {"stopLossPrice": 49_950})
        found = await venue.fetch_order(stop["id"])
        assert (found["info"]["descr"]["ordertype"], found["info"]["status"]) == ("stop-loss-limit", "pending")
        assert (found["triggerPrice"], found["price"]) == (49_950.0, 49_900.0)
        assert double.exchange.orders[int(stop["id"][1:].replace("-", ""))].status == "pending"

    against("kraken", script)


def test_the_dead_mans_switch_cancels_everything_unless_renewed() -> None:
    async def script(venue: Any, double: Double) -> None:
        await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_000)
        await venue.cancel_all_orders_after(60_000)
        double.clock.advance(50)
        await venue.cancel_all_orders_after(60_000)
        double.clock.advance(50)
        assert len(await venue.fetch_open_orders(SYMBOL)) == 1
        double.clock.advance(11)
        assert await venue.fetch_open_orders(SYMBOL) == []
        await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_000)
        await venue.cancel_all_orders_after(60_000)
        answer = await venue.cancel_all_orders_after(0)
        assert answer["result"]["triggerTime"] == "0"
        double.clock.advance(100)
        assert len(await venue.fetch_open_orders(SYMBOL)) == 1

    against("kraken", script)


def test_what_the_venue_refuses_reaches_ccxt_as_its_own_errors() -> None:
    async def script(venue: Any, double: Double) -> None:
        terms = {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "49000", "volume": "0.1"}
        cases = [
            (ccxt.InvalidOrder, {"price": "49000.01"}),
            (ccxt.InvalidOrder, {"volume": "0.000049"}),
            (ccxt.InsufficientFunds, {"volume": "10"}),
            (ccxt.ExchangeError, {"pair": "ETHUSD"}),
            (ccxt.ExchangeError, {"deadline": "2020-01-01T00:00:00Z"}),
            (ccxt.ExchangeError, {"timeinforce": "GTD"}),
        ]
        for error, change in cases:
            with pytest.raises(error):
                await venue.privatePostAddOrder(terms | change)
        await venue.privatePostAddOrder(terms | {"cl_ord_id": ID})
        with pytest.raises(ccxt.ExchangeError, match="cl_ord_id"):
            await venue.privatePostAddOrder(terms | {"cl_ord_id": ID})
        with pytest.raises(ccxt.InvalidOrder, match="Unknown order"):
            await venue.fetch_order("O00000-00000-000077")
        with pytest.raises(ccxt.OrderNotFound):
            await venue.cancel_order("O00000-00000-000077")

    against("kraken", script)


def test_a_wrong_signature_key_or_nonce_is_refused_and_calls_are_counted() -> None:
    async def script(venue: Any, double: Double) -> None:
        venue.secret = "YW5vdGhlcg=="
        with pytest.raises(ccxt.ExchangeError, match="EAPI:Invalid signature"):
            await venue.fetch_balance()
        venue.secret, venue.apiKey = KEY.secret, "unknown"
        with pytest.raises(ccxt.AuthenticationError, match="EAPI:Invalid key"):
            await venue.fetch_balance()
        venue.apiKey = KEY.api
        await venue.fetch_balance()
        double.nonces[KEY.api] += 10**9  # type: ignore[attr-defined]
        with pytest.raises(ccxt.InvalidNonce):
            await venue.fetch_balance()
        double.nonces.clear()  # type: ignore[attr-defined]
        with pytest.raises(ccxt.DDoSProtection):
            for _ in range(30):
                await venue.fetch_balance()
        double.clock.advance(60)
        assert "withdraw-funds" not in (await venue.privatePostGetApiKeyInfo())["result"]["permissions"]
        double.keys["rich"] = Key("rich", KEY.secret, rights=frozenset({"read", "withdraw"}))
        venue.apiKey = "rich"
        assert "withdraw-funds" in (await venue.privatePostGetApiKeyInfo())["result"]["permissions"]
        with pytest.raises(ccxt.PermissionDenied):
            await venue.create_order(SYMBOL, "limit", "buy", 0.1, 49_000)

    against("kraken", script)


def test_private_channels_tell_of_orders_fills_and_balances() -> None:
    async def script(venue: Any, double: Double) -> None:
        watching = [asyncio.ensure_future(call()) for call in (venue.watch_orders, venue.watch_my_trades)]
        total = (await asyncio.wait_for(venue.watch_balance(), 5))["USD"]["total"]
        while not any(getattr(session, "accounts", None) for session in double.sessions):
            await asyncio.sleep(0.005)
        changed = asyncio.ensure_future(venue.watch_balance())
        await asyncio.sleep(0.01)
        made = await venue.create_order(SYMBOL, "limit", "buy", 0.1, 50_001)
        orders, trades = await asyncio.wait_for(asyncio.gather(*watching), 5)
        assert orders[0]["id"] == made["id"]
        assert (trades[0]["order"], trades[0]["price"], trades[0]["amount"]) == (made["id"], 50_001.0, 0.1)
        assert trades[0]["fee"] == {"cost": 20.0004, "currency": "USD"}
        assert (total, (await asyncio.wait_for(changed, 5))["USD"]["total"]) == (100_000.0, 94_979.8996)
        while venue.orders[-1]["status"] != "closed":
            await asyncio.sleep(0.005)

    against("kraken", script)


def test_streams_of_book_and_trades_follow_the_double() -> None:
    async def script(venue: Any, double: Double) -> None:
        exchange = double.exchange
        await asyncio.wait_for(venue.watch_order_book(SYMBOL), 5)
        for step in range(12):
            exchange.set_level(SYMBOL, BUY, 499_991 + step % 5, 10_000_000 * (step % 3))
            exchange.set_level(SYMBOL, SELL, 500_010 + 10 * step, 0)
        exchange.set_level(SYMBOL, BUY, 499_995, 12_345)
        market, told = exchange.markets[SYMBOL], exchange.books[SYMBOL]
        true = [
            [[float(market.price(at)), float(market.quantity(lots))] for at, lots in told.depth(side, 10)]
            for side in (BUY, SELL)
        ]
        sides: list[Any] = []
        while sides != true:
            book = await asyncio.wait_for(venue.watch_order_book(SYMBOL), 5)
            sides = [[list(level[:2]) for level in book[name]] for name in ("bids", "asks")]
        trades = await asyncio.wait_for(venue.watch_trades(SYMBOL), 5)
        assert trades[-1]["price"] == 50_001.0

    against("kraken", script)


class Raw:
    """A session without a socket: what the venue would send."""

    def __init__(self, double: Double):
        self.texts: list[str] = []
        session = double.connect("/v2")
        assert session is not None
        session.carry = self.texts.append
        self.say = lambda **message: session.receive(json.dumps(message))
        session.begin()


@pytest.mark.parametrize("fault", ["wrong_checksum", "drop"])
def test_our_dialect_keeps_the_doubles_book_and_notices_what_is_wrong(fault: str) -> None:
    double = build("kraken")
    raw = Raw(double)
    for channel in ({"channel": "book", "depth": 10}, {"channel": "trade"}):
        raw.say(method="subscribe", params={"symbol": [SYMBOL], **channel})
    follower, records = kraken.Normaliser(PAIR, price_digits=1, qty_digits=8), Records()
    for step in range(200):
        side, offset = (BUY, -(step * 7 % 31)) if step % 2 else (SELL, 20 + step * 11 % 31)
        double.exchange.set_level(SYMBOL, side, 500_000 + offset, (step * 7919 % 5) * 12_345_678)
        double.exchange.trade(SYMBOL, -side, 500_000 + offset, 1000)
    for text in raw.texts:
        follower.on_frame(double.clock.now_ns(), text.encode())
    records.take(follower.take())
    assert not follower.findings.counts
    book = double.exchange.books[SYMBOL]
    assert records.levels == {(int(kind), price): lots for kind, side in SIDES for price, lots in book.depth(side, 10)}
    raw.texts.clear()
    double.plan.next(fault, "ws.book")
    double.exchange.set_level(SYMBOL, BUY, 500_001, 77)
    double.exchange.set_level(SYMBOL, BUY, 500_000, 78)
    for text in raw.texts:
        follower.on_frame(double.clock.now_ns(), text.encode())
    assert follower.findings.counts[Rule.CHECKSUM] == 1
    double.verify()


def test_the_checksum_is_that_of_the_venues_worked_example() -> None:
    market = replace(MARKETS["kraken"])
    bids, asks = (
        [(market.ticks(price), market.lots(size)) for price, size in side.items()] for side in (GUIDE_BIDS, GUIDE_ASKS)
    )
    assert checksum(market, bids, asks) == GUIDE_CHECKSUM


def test_the_book_channel_says_nothing_of_levels_that_others_push_out() -> None:
    double = build("kraken")
    raw = Raw(double)
    raw.say(method="subscribe", params={"channel": "book", "symbol": [SYMBOL], "depth": 10})
    raw.texts.clear()
    double.exchange.set_level(SYMBOL, BUY, 499_995, 100_000_000)  # the eleventh: the worst one leaves the view
    double.exchange.set_level(SYMBOL, BUY, 499_995, 0)  # and is back
    told = [[(each["price"], each["qty"]) for each in json.loads(text)["data"][0]["bids"]] for text in raw.texts]
    assert told == [[(49999.5, 1.0)], [(49999.5, 0), (49990.0, 0.5)]]


def test_a_token_opens_the_private_channels_for_a_quarter_of_an_hour() -> None:
    double = build("kraken")
    token = double.token(KEY, {})["token"]  # type: ignore[attr-defined]
    for after_s, outcome in ((899, True), (2, False)):
        double.clock.advance(after_s)
        raw = Raw(double)
        raw.say(method="subscribe", params={"channel": "executions", "token": token})
        assert json.loads(raw.texts[1])["success"] is outcome
