"""An adapter against the double of Binance with each fault: every order once or never, every fill once."""

import asyncio
import random

import pytest

from core.records import Action, OrderFlag, OrderState, Reason, Side
from tests.doubles.book import BUY, SELL
from tests.doubles.faults import Fault, FaultPlan
from tests.doubles.orders import NewOrder
from tests.doubles.venues import fill_book
from tests.runner.venue_world import IMMEDIATE, POST_ONLY, SYMBOL, TICKS, World, play

S = OrderState


def states(world: World, order_id: int) -> list[OrderState]:
    world.drain()
    return [state for state, _ in world.states(order_id)]


def test_an_order_rests_fills_in_parts_and_another_is_cancelled() -> None:
    async def script(world: World) -> None:
        first, second = world.buy(qty=1000), world.buy(48_000 * TICKS)
        await asyncio.sleep(1)
        world.exchange.set_book(SYMBOL, {}, {})
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 400)
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 600)
        world.cancel(second)
        await asyncio.sleep(1)
        assert states(world, first) == [S.NEW]
        assert [lots for _, lots in world.fills(first)] == [400, 600]
        assert states(world, second) == [S.NEW, S.CANCELED]
        assert not world.venue.stream.breaks

    play(script)


@pytest.mark.parametrize("fault", ["lost_ack", "timeout", "error_after", "garbled"])
def test_an_order_whose_acknowledgement_is_lost_is_found_and_not_sent_again(fault: str) -> None:
    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(20)
        assert states(world, order) in ([S.UNKNOWN, S.NEW], [S.NEW])  # the stream may tell before the answer fails

    play(script, FaultPlan([Fault(fault, "create", nth=1)]))


@pytest.mark.parametrize("fault", ["refused", "unanswered", "server_error", "bad_gateway", "unavailable"])
def test_an_order_that_never_arrived_is_given_up_only_past_the_deadline(fault: str) -> None:
    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(5.5)  # 5 s: until the venue may take it; 2 s more: the margin
        assert states(world, order) == [S.UNKNOWN]
        await asyncio.sleep(20)
        world.drain()
        assert world.states(order)[1:] == [(S.REJECTED, Reason.EXPIRED)]

    play(script, FaultPlan([Fault(fault, "create", nth=1)]))


@pytest.mark.parametrize("seconds", [2.0, 4.9, 8.0])
def test_an_order_taken_after_the_client_gave_up_is_found_whenever_it_arrives(seconds: float) -> None:
    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(40)
        assert states(world, order)[-1] == (S.NEW if seconds < 5 else S.REJECTED)

    play(script, FaultPlan([Fault("late", "create", nth=1, seconds=seconds)]))


@pytest.mark.parametrize("fault", ["drop", "duplicate", "reorder", "delay"])
def test_fills_are_told_once_and_in_order_however_they_arrive(fault: str) -> None:
    async def script(world: World) -> None:
        order = world.buy(qty=600)
        await asyncio.sleep(1)
        world.exchange.set_book(SYMBOL, {}, {})
        for lots in (100, 200, 300):
            world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, lots)
        await asyncio.sleep(10)
        world.drain()
        assert [lots for _, lots in world.fills(order)] == [100, 200, 300]

    play(script, FaultPlan([Fault(fault, "ws.fill", nth=1, seconds=3.0)]))


def test_an_end_waits_for_the_fills_before_it() -> None:
    async def script(world: World) -> None:
        order = world.buy(qty=600)
        await asyncio.sleep(1)
        world.exchange.set_book(SYMBOL, {}, {})
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 100)
        world.cancel(order)
        await asyncio.sleep(5)
        world.drain()
        assert [int(row["kind"][0]) for row in world.records] == [3, 3, 4, 3]  # NEW, our cancel, the fill, CANCELED

    play(script, FaultPlan([Fault("drop", "ws.fill", nth=1)]))


def test_a_silent_stream_is_noticed_by_what_it_does_not_tell() -> None:
    async def script(world: World) -> None:
        order = world.buy(qty=600)
        await asyncio.sleep(1)
        world.exchange.set_book(SYMBOL, {}, {})
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 100)
        await asyncio.sleep(15)
        world.drain()
        assert world.fills(order)
        assert len(world.venue.stream.breaks) == 1
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 100)
        await asyncio.sleep(0.5)
        world.drain()
        assert len(world.fills(order)) == 2  # told by the new stream, before the lists are read again

    play(script, FaultPlan([Fault("half_open", "ws.fill", nth=1)]))


def test_a_restart_of_the_venue_stops_new_exposure_and_then_lets_it_again() -> None:
    async def script(world: World) -> None:
        order = world.buy(qty=600)
        await asyncio.sleep(1)
        world.exchange.set_book(SYMBOL, {}, {})
        world.double.strike(Fault("restart", "*", nth=1, seconds=40))
        world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 100)
        await asyncio.sleep(30)
        assert not world.venue.health.may_trade
        refused = world.buy()
        await asyncio.sleep(30)
        assert world.venue.health.may_trade
        world.drain()
        assert world.states(refused) == [(S.REJECTED, Reason.CIRCUIT_OPEN)]
        assert [lots for _, lots in world.fills(order)] == [100]
        assert [change.may_trade for change in world.venue.health.changes] == [True, False, True]

    play(script)


def test_too_many_requests_are_waited_for_as_long_as_the_venue_says() -> None:
    async def script(world: World) -> None:
        world.double.plan.next("banned", "order")
        world.double.plan.next("lost_ack", "create")
        order = world.buy()
        await asyncio.sleep(10)
        assert states(world, order)[-1] == S.NEW
        world.double.plan.next("rate_limited", "create")
        limited = world.buy()
        await asyncio.sleep(10)
        assert world.states(limited) == [] and states(world, limited) == [S.REJECTED]
        assert world.states(limited)[0][1] == Reason.RATE_LIMIT

    play(script)


def test_a_clock_that_drifts_is_measured_again() -> None:
    async def script(world: World) -> None:
        world.skew_ns = -60 * 10**9
        first = world.buy()
        await asyncio.sleep(20)
        assert states(world, first) in ([S.REJECTED], [S.NEW])
        second = world.buy()
        await asyncio.sleep(5)
        assert states(world, second) == [S.NEW]

    play(script)


@pytest.mark.parametrize("fault", ["lost_ack", "timeout", "refused", "server_error", "error_after"])
def test_a_cancel_is_asked_for_until_the_order_has_ended(fault: str) -> None:
    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(1)
        world.cancel(order)
        await asyncio.sleep(20)
        assert states(world, order) == [S.NEW, S.CANCELED]

    play(script, FaultPlan([Fault(fault, "cancel", nth=1)]))


def test_a_cancel_of_an_order_in_flight_waits_for_it() -> None:
    async def script(world: World) -> None:
        order = world.buy()
        await asyncio.sleep(0.1)
        world.cancel(order)
        await asyncio.sleep(30)
        assert states(world, order)[-2:] == [S.NEW, S.CANCELED]

    play(script, FaultPlan([Fault("late", "create", nth=1, seconds=3.0), Fault("drop", "ws.order", nth=1)]))


def test_a_stream_that_is_killed_a_hundred_times_loses_and_doubles_nothing() -> None:
    async def script(world: World) -> None:
        chance, order = random.Random(3), world.buy(qty=10_000)
        await asyncio.sleep(1)
        world.exchange.set_book(SYMBOL, {}, {})
        for _ in range(100):
            for session in list(world.double.sessions):
                world.double.drop(session)
            await asyncio.sleep(chance.choice((0.0, 0.05, 0.5, 3.0)))
            world.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, chance.randrange(1, 100))
            await asyncio.sleep(chance.choice((0.0, 0.05, 1.0)))
        await asyncio.sleep(10)
        world.drain()
        assert len(world.fills(order)) == 100
        assert world.venue.stream.up_ns
        assert 20 < len(world.venue.stream.breaks) <= 100

    play(script)


def test_an_order_whose_time_is_over_before_it_could_be_sent_is_not_sent() -> None:
    async def script(world: World) -> None:
        world.life_ns = 2 * 10**9
        world.double.strike(Fault("maintenance", "*", nth=1, seconds=4))  # its prices are asked for meanwhile
        order = world.buy()
        await asyncio.sleep(10)
        world.drain()
        assert world.states(order) == [(S.REJECTED, Reason.STALE)]
        assert not world.double.plan.seen["create"]
        world.double.plan.next("rate_limited", "create")
        world.buy()
        await asyncio.sleep(0.1)
        world.life_ns = 10**8
        late = world.buy()  # the venue asks for a second of silence, the order has a tenth
        await asyncio.sleep(5)
        world.drain()
        assert world.states(late) == [(S.REJECTED, Reason.RATE_LIMIT)]

    play(script)


def test_a_refusal_as_a_duplicate_says_that_the_order_is_there() -> None:
    async def script(world: World) -> None:
        order = world.intend(Side.BUY, 49_000 * TICKS, 1000)
        client_id = world.intents[order][1]
        world.submit(order)
        world.exchange.submit("main", NewOrder(SYMBOL, BUY, 1000, 49_000 * TICKS, client_id))
        await asyncio.sleep(5)
        assert states(world, order)[-1] == S.NEW

    play(script, FaultPlan([Fault("drop", "ws.order", nth=1)]))


@pytest.mark.parametrize(
    ("side", "price", "qty", "flags", "told"),
    [
        (Side.BUY, 50_500, 1000, POST_ONLY, [(S.EXPIRED, Reason.WOULD_CROSS)]),
        (Side.SELL, 51_000, 10**6, 0, [(S.REJECTED, Reason.CASH)]),
        (Side.BUY, 49_000, 1, 0, [(S.REJECTED, Reason.FILTER_NOTIONAL)]),
        (Side.BUY, 49_000, 1000, IMMEDIATE, [(S.NEW, Reason.NONE), (S.EXPIRED, Reason.EXPIRED)]),
    ],
)
def test_refusals_have_their_reason(side: int, price: int, qty: int, flags: int, told: list[object]) -> None:
    async def script(world: World) -> None:
        order = world.submit(world.intend(side, price * TICKS, qty, flags))
        await asyncio.sleep(2)
        world.drain()
        assert world.states(order) == told

    play(script)


def test_a_stop_rests_at_the_venue_and_executes_when_the_market_is_there() -> None:
    async def script(world: World) -> None:
        order = world.submit(world.intend(Side.SELL, 49_500 * TICKS, 1000, int(OrderFlag.STOP), Action.REDUCE))
        await asyncio.sleep(1)
        assert states(world, order) == [S.NEW]
        fill_book(world.exchange, world.exchange.markets[SYMBOL], 49_495)
        world.exchange.trade(SYMBOL, SELL, 49_494 * TICKS, 10)
        await asyncio.sleep(2)
        world.drain()
        assert [lots for _, lots in world.fills(order)] == [1000]
        late = world.submit(world.intend(Side.SELL, 49_600 * TICKS, 1000, int(OrderFlag.STOP), Action.REDUCE))
        await asyncio.sleep(2)
        world.drain()
        assert world.states(late) == [(S.REJECTED, Reason.VENUE_REJECT)]  # it would trigger at once

    play(script)
