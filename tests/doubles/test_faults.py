"""Each fault by name, on every venue: what ccxt sees of it, and what the venue then knows."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import ccxt
import pytest

from tests.doubles import coinbase_shapes, kraken_shapes
from tests.doubles.book import BUY, SELL
from tests.doubles.clients import against, within
from tests.doubles.faults import FAULTS, Fault, FaultPlan
from tests.doubles.server import served
from tests.doubles.venues import NAMES, build
from tests.doubles.wire import Bucket, Double

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


def id_at(venue: Any, order: Any) -> str:
    """The venue's id of an order."""
    names = {"kraken": kraken_shapes.txid(order), "coinbase": coinbase_shapes.uuid(order.id)}
    return names.get(venue.id, str(order.id))


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
def test_a_refused_request_leaves_no_order(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        venue.timeout = 200
        for fault, error in REFUSALS.items():
            double.plan.next(fault, "create")
            with pytest.raises((error, ccxt.RateLimitExceeded)):
                await buy(venue)
            assert order_of(double) is None

    double = within(name, script)
    assert double.plan.struck == [(fault, "create", number) for number, fault in enumerate(REFUSALS, start=1)]


@each_venue
def test_an_order_whose_answer_is_lost_is_found_by_its_client_id(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        for fault in ("lost_ack", "timeout", "error_after", "garbled"):
            venue.timeout = 500
            double.plan.next(fault, "create")
            with suppress(ccxt.BaseError):  # of half an answer ccxt makes an order without an id
                assert (fault, (await buy(venue))["id"]) == ("garbled", None)
            venue.timeout = 10_000
            found = [order for order in await venue.fetch_open_orders(symbol_of(venue)) if order["clientOrderId"] == ID]
            assert [order["price"] for order in found] == [49_000.0]
            double.exchange.cancel_all("main")
            del double.exchange.orders[order_of(double).id]  # its id is free again, on every venue

    against(name, script)


@each_venue
def test_a_late_request_is_carried_out_after_the_client_gave_up(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        venue.timeout = 200
        with pytest.raises(ccxt.RequestTimeout):
            await buy(venue)
        assert order_of(double) is None
        double.clock.advance(2)
        assert order_of(double).is_open

    within(name, script, FaultPlan([Fault("late", "create", nth=1, seconds=2)]))


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
        watching = asyncio.ensure_future(venue.watch_orders())
        await listening(double)
        await buy(venue)
        await watching
        double.strike(Fault("restart", "*", nth=1, seconds=60))
        with pytest.raises(ccxt.NetworkError):
            while True:  # what was told before comes first
                await asyncio.wait_for(venue.watch_orders(), 5)
        with pytest.raises(ccxt.NetworkError):
            await venue.fetch_open_orders(symbol_of(venue))
        double.down_until_ns = 0
        assert len(await venue.fetch_open_orders(symbol_of(venue))) == 1

    against(name, script)


@each_venue
def test_a_connection_that_closes_is_told_and_another_takes_its_place(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        watching = asyncio.ensure_future(venue.watch_orders())
        await listening(double)
        double.plan.next("disconnect", "ws.order")
        with suppress(ccxt.NetworkError):  # on Coinbase a list of no orders came before
            await buy(venue)
            await watching
            await asyncio.wait_for(venue.watch_orders(), 5)
        assert not any(getattr(session, "accounts", None) for session in double.sessions)
        watching = asyncio.ensure_future(venue.watch_orders())
        await listening(double)
        await venue.cancel_order(id_at(venue, order_of(double)), symbol_of(venue))
        assert (await asyncio.wait_for(watching, 5))[-1]["id"]

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
        detail = {"v3": True} if name == "coinbase" else {}  # its older endpoint knows no holds
        assert (await venue.fetch_balance())[quote]["total"] == 100_007.0
        assert (await venue.fetch_balance(detail))[quote]["used"] > 0.0
        double.plan.next("delist", "balance", text=symbol)
        assert (await venue.fetch_balance(detail))[quote]["used"] == 0.0
        assert order_of(double).status == "canceled"
        with pytest.raises(ccxt.ExchangeError):
            await buy(venue)
        double.plan.next("maintenance", "balance", seconds=60)
        with pytest.raises(ccxt.OperationFailed):
            await venue.fetch_balance()
        assert name != "kraken" or (await venue.fetch_status())["status"] == "maintenance"
        double.maintained_until_ns = 0
        await venue.fetch_balance()

    against(name, script)


async def listening(double: Double) -> None:
    """Until a private stream stands."""
    while not any(getattr(session, "accounts", None) for session in double.sessions):
        await asyncio.sleep(0.005)


@each_venue
def test_fills_come_as_planned(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        arrived: list[int] = []
        watching = asyncio.ensure_future(venue.watch_orders() if name == "coinbase" else venue.watch_my_trades())
        await listening(double)
        market = double.exchange.markets[symbol_of(venue)]
        double.exchange.set_book(market.symbol, {}, {})
        for session in double.sessions:
            session.carry = heard(session.carry, arrived, FILLS_TOLD[name])
        for fault, order in ORDER_OF_FILLS.items():
            await venue.create_order(market.symbol, "limit", "buy", 0.006, 49_000)
            double.plan.next(fault, "ws.fill", seconds=5.0)
            for step in (1, 2, 3):
                double.exchange.trade(market.symbol, SELL, market.ticks("49000"), step * market.lots("0.001"))
            double.clock.advance(6)
            assert (fault, arrived) == (fault, order)
            arrived.clear()
        await watching

    within(name, script)


def heard(carry: Any, into: list[int], told: Callable[[Any], list[str]]) -> Any:
    """Note the size of each fill that a message tells of, in thousandths of a coin."""

    def both(text: str) -> None:
        into.extend(round(float(size) * 1000) for size in told(json.loads(text)))
        carry(text)

    return both


def told_by_binance(tree: Any) -> list[str]:
    event = tree.get("event", {})
    return [event["l"]] if event.get("x") == "TRADE" else []


def told_by_kraken(tree: Any) -> list[str]:
    return [each["last_qty"] for each in tree.get("data", []) if each.get("exec_type") == "trade"]


def told_by_coinbase(tree: Any) -> list[str]:
    totals = {"0.001": "0.001", "0.003": "0.002", "0.006": "0.003"}  # it tells what is filled in all
    filled = [each["cumulative_quantity"] for event in tree["events"] for each in event.get("orders", [])]
    return [totals[each] for each in filled if each in totals]


ORDER_OF_FILLS = {"drop": [2, 3], "duplicate": [1, 1, 2, 3], "reorder": [2, 1, 3], "delay": [2, 3, 1]}
FILLS_TOLD = {
    "coinbase": told_by_coinbase,
    "binance": told_by_binance,
    "kraken": told_by_kraken,
}


@each_venue
def test_a_half_open_connection_stays_open_and_silent(name: str) -> None:
    async def script(venue: Any, double: Double) -> None:
        watching = asyncio.ensure_future(venue.watch_orders())
        await listening(double)
        made = await buy(venue)
        await watching
        double.plan.next("half_open", "ws.order")
        await venue.cancel_order(made["id"], symbol_of(venue))
        await asyncio.sleep(0.1)
        assert order_of(double).status == "canceled"
        assert all(order["status"] == "open" for order in venue.orders)
        assert any(session.is_dead for session in double.sessions)

    against(name, script)


def test_a_half_open_connection_answers_no_ping() -> None:
    async def run() -> None:
        double = build("binance")
        async with (
            served(double) as host,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"ws://{host}/ws", autoping=False) as socket,
        ):
            await socket.ping()
            assert (await socket.receive(5)).type == aiohttp.WSMsgType.PONG
            double.plan.next("half_open", "ws.ack")
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            await socket.ping()
            with pytest.raises(TimeoutError):
                await socket.receive(0.2)
            assert not socket.closed
            assert double.sessions[0].is_dead

    asyncio.run(run())


@pytest.mark.parametrize("fault", ["drop", "wrong_checksum"])
@pytest.mark.parametrize("name", ["binance"])  # of the others ccxt looks at no checksum and no number
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


DEADLINES = {  # by venue: parameters of a create, and whether it is still taken when it is carried out after 8 s
    "binance": [({"recvWindow": 5000}, False), ({"recvWindow": 20_000}, True)],
    "coinbase": [({}, True)],
    "kraken": [({"deadline": 5.0}, False), ({"deadline": 20.0}, True), ({}, True)],
}


@pytest.mark.parametrize(("name", "params", "is_taken"), [(name, *each) for name in NAMES for each in DEADLINES[name]])
def test_a_late_request_is_taken_before_its_deadline_only(name: str, params: dict[str, Any], is_taken: bool) -> None:
    async def script(venue: Any, double: Double) -> None:
        if "deadline" in params:
            params["deadline"] = venue.iso8601(double.clock.now_ms() + 1000 * int(params["deadline"]))
        venue.timeout = 1000
        with pytest.raises(ccxt.RequestTimeout):
            await venue.create_order(symbol_of(venue), "limit", "buy", 0.01, 49_000, {ID_NAMES[name]: ID} | params)
        await venue.fetch_balance()  # a later nonce
        double.clock.advance(8)
        assert (order_of(double) is not None) is is_taken

    within(name, script, FaultPlan([Fault("late", "create", nth=1, seconds=8)]))


def test_a_clock_that_jumps_is_noticed_and_learnt() -> None:
    async def script(venue: Any, double: Double) -> None:
        double.plan.next("skew", "balance", seconds=-30)
        with pytest.raises(ccxt.InvalidNonce):
            await venue.fetch_balance()
        await venue.load_time_difference()
        await venue.fetch_balance()

    against("binance", script)


def test_every_fault_is_tried_by_name() -> None:
    tried = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in FAULTS if f'"{name}"' not in tried] == []
