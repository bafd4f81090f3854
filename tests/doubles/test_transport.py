"""Without sockets the doubles are the same, and hours pass at once."""

import asyncio
from typing import Any

import ccxt
import pytest

from tests.doubles.book import SELL
from tests.doubles.clients import Script, against, within
from tests.doubles.faults import Fault, FaultPlan
from tests.doubles.test_faults import listening
from tests.doubles.venues import NAMES
from tests.doubles.wire import Double

each_venue = pytest.mark.parametrize("name", NAMES)


def trading(seen: list[Any]) -> Script:
    """A session of each kind of request, and what came back."""

    async def script(venue: Any, double: Double) -> None:
        symbol = next(iter(venue.markets))
        watching = asyncio.ensure_future(venue.watch_orders())
        await listening(double)
        first = await venue.create_order(symbol, "limit", "buy", 0.1, 49_000)
        second = await venue.create_order(symbol, "limit", "sell", 0.2, 49_999)
        await asyncio.wait_for(watching, 5)
        await venue.cancel_order(first["id"], symbol)
        with pytest.raises(ccxt.BaseError):
            await venue.create_order(symbol, "limit", "buy", 1000, 49_000)
        for order in (first, second):
            found = await venue.fetch_order(order["id"], symbol)
            seen.append([found[key] for key in ("id", "status", "filled", "amount", "price", "average")])
        seen.append((await venue.fetch_order_book(symbol))["bids"])
        seen.append([fill["price"] for fill in await venue.fetch_my_trades(symbol)])
        seen.append((await venue.fetch_balance())["total"])

    return script


@each_venue
def test_sockets_change_nothing(name: str) -> None:
    with_sockets, without = list[Any](), list[Any]()
    against(name, trading(with_sockets))
    within(name, trading(without))
    assert [str(each) for each in without[:2]] == [str(each) for each in with_sockets[:2]]
    assert [level[:2] for level in without[2]] == [level[:2] for level in with_sockets[2]]
    assert without[3:] == with_sockets[3:]


@each_venue
def test_an_hour_of_faults_passes_at_once_and_repeats(name: str) -> None:
    def play() -> tuple[Double, list[str]]:
        outcomes: list[str] = []

        async def script(venue: Any, double: Double) -> None:
            (symbol,) = double.exchange.markets
            for number in range(60):
                double.clock.advance(50)
                try:
                    order = await venue.create_order(symbol, "limit", "buy", 0.001, 49_000 - number)
                    outcomes.append(str(order["id"]))
                except ccxt.BaseError as error:
                    outcomes.append(type(error).__name__)
            double.exchange.trade(symbol, SELL, double.exchange.markets[symbol].ticks("40000"), 10**12)

        faults = ("lost_ack", "timeout", "late", "rate_limited", "unavailable", "slow", "unanswered")
        plan = FaultPlan([Fault(fault, "create", ppm=60_000, seconds=3) for fault in faults], seed=7)
        return within(name, script, plan), outcomes

    (double, outcomes), (again, repeated) = play(), play()
    assert outcomes == repeated
    assert double.plan.struck == again.plan.struck
    assert len({fault for fault, _, _ in double.plan.struck}) > 3
    taken = {fault for fault, _, _ in double.plan.struck} & {"lost_ack", "timeout", "late"}
    known = sum(1 for outcome in outcomes if not outcome.isalpha())
    assert taken and len(double.exchange.orders) > known  # orders the client was not told of


@each_venue
def test_a_time_out_takes_the_clients_patience_on_the_doubles_clock(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        (symbol,) = double.exchange.markets
        venue.timeout, before_ms = 7000, double.clock.now_ms()
        with pytest.raises(ccxt.RequestTimeout):
            await venue.create_order(symbol, "limit", "buy", 0.001, 49_000)
        assert double.clock.now_ms() - before_ms == 7000
        assert len(double.exchange.open_orders("main")) == 1  # it was late by less

    within(name, script, FaultPlan([Fault("late", "create", nth=1, seconds=5)]))


@each_venue
def test_markets_of_one_account_are_kept_apart(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        first, second = double.exchange.markets
        assert {first, second} <= set(venue.markets)
        for symbol in (first, second):
            await asyncio.wait_for(venue.watch_order_book(symbol), 5)
        bought = [await venue.create_order(symbol, "limit", "buy", 0.3, 50_001) for symbol in (first, second)]
        for symbol, order in zip((first, second), bought, strict=True):
            mine = await venue.fetch_my_trades(symbol)
            assert [(each["symbol"], each["order"]) for each in mine] == [(symbol, order["id"])]
            while venue.orderbooks[symbol]["asks"][0][1] > 0.21:
                await asyncio.wait_for(venue.watch_order_book(symbol), 5)
        assert double.exchange.trades[first][-1].id == double.exchange.trades[second][-1].id == 2
        assert len(await venue.fetch_open_orders(second)) == 0
        balance = await venue.fetch_balance({"v3": True} if name == "coinbase" else {})
        assert balance["BTC"]["total"] == balance["ETH"]["total"] > 1.29
        assert 69_000 < balance[first.split("/")[1]]["total"] < 70_000

    against(name, script, bases=("BTC", "ETH"))
