"""Crashes in the middle, and faults that others reported in public, each rebuilt against the double."""

import asyncio

import pytest

from core.records import Kind, OrderState, Reason, Side
from tests.doubles.book import SELL
from tests.doubles.faults import Fault, FaultPlan
from tests.runner.venue_world import SYMBOL, TICKS, World, play

S = OrderState


def only(world: World, order_id: int) -> list[OrderState]:
    world.drain()
    return [state for state, _ in world.states(order_id)]


def creates(world: World) -> int:
    return sum(kind == "create" for kind, _ in world.double.asked)


def test_a_crash_before_the_request_leaves_no_order() -> None:
    async def script(world: World) -> None:
        order = world.intend(Side.BUY, 49_000 * TICKS, 1000)
        await world.crash()
        assert only(world, order) == []  # UNKNOWN: its exposure stays reserved
        await asyncio.sleep(10)
        assert only(world, order) == [S.REJECTED]
        assert creates(world) == 0

    play(script)


@pytest.mark.parametrize("wait_s", [0.0, 0.5, 1.4])
def test_a_crash_before_the_acknowledgement_leaves_one_order(wait_s: float) -> None:
    """The request is under way and taken 1 s later, by when nobody waits for its answer."""

    async def script(world: World) -> None:
        order = world.intend(Side.BUY, 49_000 * TICKS, 1000)
        world.submit(order)
        while not creates(world) and not world.double.plan.struck:
            await asyncio.sleep(0.01)
        await asyncio.sleep(wait_s)
        await world.crash()
        await asyncio.sleep(20)
        assert only(world, order)[-1] == S.NEW
        assert creates(world) == 1

    play(script, FaultPlan([Fault("late", "create", nth=1, seconds=1.0)]))


def test_a_crash_after_the_acknowledgement_loses_no_fill() -> None:
    async def script(world: World) -> None:
        order = world.buy(qty=600)
        await asyncio.sleep(1)
        world.exchange.set_book(SYMBOL, {}, {})
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 100)
        await asyncio.sleep(1)
        world.drain()
        assert len(world.fills(order)) == 1
        await world.venue.close()
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 200)  # while nobody listens
        await world.crash()
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 300)
        await asyncio.sleep(2)
        world.drain()
        assert [lots for _, lots in world.fills(order)] == [100, 200, 300]

    play(script)


def test_a_warm_restart_invents_no_fill() -> None:
    """https://github.com/nautechsystems/nautilus_trader/issues/4736: restarted with a position in its cache, the engine
    added a made-up fill, opposite to the real one, and believed itself flat while the venue held the position.
    """

    async def script(world: World) -> None:
        order = world.sell(price=0, qty=1000)
        await asyncio.sleep(2)
        world.drain()
        before = world.fills(order)
        assert sum(lots for _, lots in before) == 1000
        for _ in range(3):
            await world.crash()
            await asyncio.sleep(12)
        world.drain()
        assert world.fills(order) == before
        assert sum(int(row["kind"][0]) == Kind.FILL for row in world.records) == len(before)

    play(script)


def test_a_restart_keeps_working_orders_whose_position_it_cannot_explain() -> None:
    """https://github.com/nautechsystems/nautilus_trader/issues/5000: fills that did not add up to the venue's position
    made the restarted engine drop 14 orders that were still working there.
    """

    async def script(world: World) -> None:
        orders = [world.buy((49_000 - k) * TICKS, 100) for k in range(14)]
        await asyncio.sleep(1)
        await world.venue.close()
        world.exchange.deposit("main", "BTC", 123_456)  # so that no list of fills gives the balance
        await world.crash()
        await asyncio.sleep(12)
        for order in orders:
            assert set(only(world, order)) == {S.NEW}  # said again after the restart
            assert not world.venue.outbound.orders[order].is_over
        world.cancel(orders[3])
        await asyncio.sleep(1)
        assert only(world, orders[3])[-1] == S.CANCELED

    play(script)


def test_a_timeout_is_no_failure_and_its_order_no_orphan() -> None:
    """https://github.com/hummingbot/hummingbot/issues/493 (and #1664, #3374): five orders were sent, one answer timed
    out, the bot took that for a failure, forgot the order and placed another.
    """

    async def script(world: World) -> None:
        orders = [world.buy((49_000 - k) * TICKS, 100) for k in range(5)]
        await asyncio.sleep(10)
        assert [only(world, order)[-1] for order in orders] == [S.NEW] * 5
        for order in orders:
            world.cancel(order)
        await asyncio.sleep(5)
        assert [only(world, order)[-1] for order in orders] == [S.CANCELED] * 5
        assert creates(world) == 5

    play(script, FaultPlan([Fault("timeout", "create", nth=3), Fault("drop", "ws.order", nth=3)]))


def test_status_503_is_no_refusal() -> None:
    """https://github.com/hummingbot/hummingbot/issues/6033: the venue answered an order with 503, the bot reported a
    failure, and seconds later the same order filled.
    """

    async def script(world: World) -> None:
        order = world.buy(50_001 * TICKS, 100)
        await asyncio.sleep(10)
        assert only(world, order)[-1] == S.NEW
        assert [lots for _, lots in world.fills(order)] == [100]

    play(script, FaultPlan([Fault("error_after", "create", nth=1)]))


def test_an_order_that_is_not_found_at_first_is_not_given_up() -> None:
    """https://github.com/freqtrade/freqtrade/issues/4403 (and #7606): an order just placed was "not found" for a few
    queries, five tries were made, and then it counted as lost.
    """

    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(4.5)
        assert only(world, order) == [S.UNKNOWN]
        assert sum(kind == "order" for kind, _ in world.double.asked) >= 3
        await asyncio.sleep(10)
        assert only(world, order) == [S.UNKNOWN, S.NEW]

    play(script, FaultPlan([Fault("late", "create", nth=1, seconds=4.8), Fault("drop", "ws.order", nth=1)]))


def test_an_answer_that_fails_after_the_stream_told_of_the_order_changes_nothing() -> None:
    """https://github.com/nautechsystems/nautilus_trader/issues/4215: the request timed out, the stream had the order
    accepted, and the retry that was planned all the same was refused as a duplicate.
    """

    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(10)
        assert only(world, order) == [S.NEW]
        assert creates(world) == 1

    play(script, FaultPlan([Fault("timeout", "create", nth=1)]))


def test_a_cancel_that_a_crash_swallowed_is_asked_for_again() -> None:
    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(1)
        world.drain()
        world.mark(order, S.PENDING_CANCEL)  # the journal holds the cancel, the venue never saw it
        await world.crash()
        await asyncio.sleep(2)
        assert only(world, order)[-1] == S.CANCELED

    play(script)


def test_an_acknowledged_order_that_the_venue_has_forgotten_expires() -> None:
    """Venues drop what ended long ago; the core would not believe that an order it saw working was rejected."""

    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(1)
        world.drain()
        await world.venue.close()
        (number,) = world.exchange.orders
        world.exchange.cancel("main", number)
        del world.exchange.orders[number]
        await world.crash()
        await asyncio.sleep(15)
        world.drain()
        assert world.states(order)[-1] == (S.EXPIRED, Reason.EXPIRED)
        del world.intents[order]  # the double has forgotten it

    play(script)
