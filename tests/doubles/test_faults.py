"""Each fault by name, on every venue: what ccxt sees of it, and what the venue then knows."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import ccxt
import pytest

from tests.doubles.book import BUY, SELL
from tests.doubles.faults import FAULTS, Fault, FaultPlan
from tests.doubles.venues import NAMES, against, build
from tests.doubles.wire import Bucket, Double, Request

each_venue = pytest.mark.parametrize("name", NAMES)
ID_NAMES = {"binance": "newClientOrderId", "kraken": "cl_ord_id", "coinbase": "client_order_id"}
ID = "11111111-2222-4333-8444-555555555555"  # as every venue takes it


def symbol_of(venue: Any) -> str:
    return next(iter(venue.markets))


async def buy(venue: Any, price: float = 49_000) -> Any:
    params = {ID_NAMES[venue.id]: ID}
    return await venue.create_order(symbol_of(venue), "limit", "buy", 0.01, price, params)


def order_of(double: Double) -> Any:
    return double.exchange.by_client_id("main", ID)


REFUSALS = {
    "refused": ccxt.NetworkError,
    "unanswered": ccxt.RequestTimeout,
    "rate_limited": ccxt.DDoSProtection,  # RateLimitExceeded is one
    "banned": ccxt.OperationFailed,
    "server_error": ccxt.BaseError,
    "bad_gateway": ccxt.BaseError,
    "unavailable": ccxt.OperationFailed,
}


@each_venue
@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refused_request_leaves_no_order(name: str, fault: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        venue.timeout = 200
        with pytest.raises((REFUSALS[fault], ccxt.RateLimitExceeded)):
            await buy(venue)
        assert order_of(double) is None

    double = against(name, script, FaultPlan([Fault(fault, "create", nth=1)]))
    assert double.plan.struck == [(fault, "create", 1)]


@each_venue
@pytest.mark.parametrize("fault", ["lost_ack", "timeout", "error_after", "garbled"])
def test_an_order_whose_answer_is_lost_is_found_by_its_client_id(name: str, fault: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        venue.timeout = 200
        with suppress(ccxt.BaseError):  # of half an answer ccxt makes an order without an id
            assert (fault, (await buy(venue))["id"]) == ("garbled", None)
        venue.timeout = 2000
        found = [order for order in await venue.fetch_open_orders(symbol_of(venue)) if order["clientOrderId"] == ID]
        assert [order["price"] for order in found] == [49_000.0]

    against(name, script, FaultPlan([Fault(fault, "create", nth=1)]))


@each_venue
def test_a_late_request_is_carried_out_after_the_client_gave_up(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        venue.timeout = 200
        with pytest.raises(ccxt.RequestTimeout):
            await buy(venue)
        assert order_of(double) is None
        double.clock.advance(2)
        assert order_of(double).is_open

    against(name, script, FaultPlan([Fault("late", "create", nth=1, seconds=2)]))


@each_venue
def test_a_slow_answer_is_only_slow(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        sending = asyncio.ensure_future(buy(venue))
        while order_of(double) is None:
            await asyncio.sleep(0.005)
        assert not sending.done()
        assert (await sending)["id"]

    against(name, script, FaultPlan([Fault("slow", "create", nth=1, seconds=0.2)]))


@each_venue
def test_a_restart_closes_connections_and_keeps_orders(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        await buy(venue)
        watching = asyncio.ensure_future(venue.watch_orders())
        while not double.sessions:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        double.strike(Fault("restart", "*", nth=1, seconds=60))
        with pytest.raises(ccxt.NetworkError):
            await watching
        with pytest.raises(ccxt.NetworkError):
            await venue.fetch_open_orders(symbol_of(venue))
        double.down_until_ns = 0
        assert len(await venue.fetch_open_orders(symbol_of(venue))) == 1

    against(name, script)


@each_venue
def test_maintenance_delisting_and_a_balance_changed_by_hand(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        symbol = symbol_of(venue)
        quote = symbol.split("/")[1]
        await buy(venue)
        double.plan.next(
            "by_hand", "balance", text=quote, units=7 * 10 ** double.exchange.markets[symbol].quote_decimals
        )
        assert (await venue.fetch_balance())[quote]["total"] == 100_007.0
        double.plan.next("delist", "balance", text=symbol)
        assert (await venue.fetch_balance())[quote]["used"] == 0.0
        assert order_of(double).status == "canceled"
        with pytest.raises(ccxt.BadSymbol):
            await buy(venue)
        double.plan.next("maintenance", "balance", seconds=60)
        with pytest.raises(ccxt.OperationFailed):
            await venue.fetch_balance()
        double.maintained_until_ns = 0
        await venue.fetch_balance()

    against(name, script)


async def listening(double: Double) -> None:
    """Until a private stream stands."""
    while not any(getattr(session, "accounts", None) for session in double.sessions):
        await asyncio.sleep(0.005)


@each_venue
@pytest.mark.parametrize(
    ("fault", "order"),
    [("drop", [2, 3]), ("duplicate", [1, 1, 2, 3]), ("reorder", [2, 1, 3]), ("delay", [2, 3, 1])],
)
def test_fills_come_as_planned(name: str, fault: str, order: list[int]) -> None:
    async def script(venue: Any, double: Double) -> None:
        arrived: list[int] = []
        watching = asyncio.ensure_future(venue.watch_my_trades())
        await listening(double)
        market = double.exchange.markets[symbol_of(venue)]
        double.exchange.set_book(market.symbol, {}, {})
        await buy(venue)
        double.plan.next(fault, "ws.fill", seconds=5.0)
        for session in double.sessions:
            session.carry = heard(session.carry, arrived, FILLS_TOLD[name])
        for step in (1, 2, 3):
            double.exchange.trade(market.symbol, SELL, market.ticks("49000"), step * market.lots("0.001"))
        double.clock.advance(6)
        assert arrived == order
        assert len(await watching) >= 1

    against(name, script)


def heard(carry: Any, into: list[int], told: Callable[[Any], list[str]]) -> Any:
    """Note the size of each fill that a message tells of, in thousandths of a coin."""

    def both(text: str) -> None:
        into.extend(round(float(size) * 1000) for size in told(json.loads(text)))
        carry(text)

    return both


def told_by_binance(tree: Any) -> list[str]:
    event = tree.get("event", {})
    return [event["l"]] if event.get("x") == "TRADE" else []


FILLS_TOLD = {"binance": told_by_binance}


@each_venue
def test_a_half_open_connection_stays_open_and_silent(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        watching = asyncio.ensure_future(venue.watch_orders())
        await listening(double)
        await buy(venue)
        await watching
        double.plan.next("half_open", "ws.order")
        watching = asyncio.ensure_future(venue.watch_orders())
        await asyncio.sleep(0.02)
        await venue.cancel_all_orders(symbol_of(venue))
        await asyncio.sleep(0.1)
        assert not watching.done()
        assert any(session.is_dead for session in double.sessions)
        watching.cancel()

    against(name, script)


@each_venue
@pytest.mark.parametrize("fault", ["drop", "wrong_checksum"])
def test_a_gap_or_a_wrong_proof_in_the_book_is_noticed(name: str, fault: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        symbol = symbol_of(venue)
        price = double.exchange.markets[symbol].ticks("49999")
        await asyncio.wait_for(venue.watch_order_book(symbol), 5)
        double.plan.next(fault, "ws.book")
        with pytest.raises((ccxt.ChecksumError, ccxt.InvalidNonce)):
            for step in range(1, 20):
                for lots in (1000 + step, 2000 + step):
                    double.exchange.set_level(symbol, BUY, price, lots)
                await asyncio.wait_for(venue.watch_order_book(symbol), 5)

    against(name, script)


def test_a_plan_strikes_the_same_for_the_same_seed() -> None:
    def struck(seed: int) -> list[tuple[str, str, int]]:
        plan = FaultPlan([Fault("refused", "create", ppm=300_000), Fault("drop", "*", ppm=100_000)], seed)
        for _ in range(200):
            plan.of("create", FAULTS)
        return plan.struck

    assert struck(1) == struck(1) != struck(2)
    assert 40 < sum(name == "refused" for name, _, _ in struck(1)) < 80
    with pytest.raises(ValueError, match="no fault 'flood'"):
        Fault("flood", "create", nth=1)
    with pytest.raises(ValueError, match="never strikes"):
        Fault("drop", "create")


def test_a_bucket_lets_through_what_it_holds_and_refills() -> None:
    bucket = Bucket(10, 2.0)
    assert [bucket.take(4, 0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert bucket.take(4, 10**9) == 0.0


@each_venue
def test_too_many_requests_are_refused_with_the_time_to_wait(name: str) -> None:
    double = build(name)
    statuses = [double.handle(Request("GET", "/api/v3/depth", "symbol=BTCUSDT")).status for _ in range(1201)]
    if name == "binance":
        assert statuses == [200] * 1200 + [429]
