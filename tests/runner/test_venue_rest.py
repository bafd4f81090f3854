"""One retry for all queries and one budget for all requests (requirements ORD-05, TEST-12)."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from core.errors import BadInput
from runner.venues.binance import CREATE, ORDER
from runner.venues.rest import Budget, Busy, Denied, Endpoint, Unanswered
from tests.doubles.faults import Fault, FaultPlan
from tests.doubles.virtual import virtually
from tests.runner.venue_world import World, world


def run(script: Callable[[World], Awaitable[None]], plan: FaultPlan | None = None, **settings: Any) -> None:
    async def inside(now_ns: Callable[[], int]) -> None:
        async with world(now_ns, plan, **settings) as made:
            await made.venue.profile.load(made.venue.rest, ("BTC/USDT",), 1)
            await script(made)

    virtually(inside)


@pytest.mark.parametrize("fault", ["server_error", "bad_gateway", "unavailable", "garbled"])
def test_waits_double_with_jitter_up_to_their_limit_and_end_with_the_fault(fault: str) -> None:
    async def script(made: World) -> None:
        times, handle = [], made.double.handle

        def watched(request: Any) -> Any:
            if request.path.endswith("/time"):
                times.append(made.now_ns() / 1e9)
            return handle(request)

        made.double.handle = watched
        asyncio.get_running_loop().call_later(12, made.double.plan.rules.clear)
        await made.venue.profile.time_ms(made.venue.rest)
        waits = [after - before for before, after in itertools.pairwise(times)]
        most = [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]
        assert 5 <= len(waits) <= len(most) + 1
        for wait, bound in zip(waits, most, strict=False):
            assert bound / 2 <= wait <= bound + 0.1
        assert made.venue.health.failures == 0

    run(script, FaultPlan([Fault(fault, "time", ppm=1_000_000)]))


@pytest.mark.parametrize("fault", ["rate_limited", "banned"])
def test_retry_after_is_waited_for_by_every_request(fault: str) -> None:
    async def script(made: World) -> None:
        made.double.plan.next(fault, "order")
        began_ns = made.now_ns()
        with pytest.raises(Busy) as busy:
            await made.venue.rest.send(ORDER, {"symbol": "BTCUSDT", "orderId": 1})
        assert busy.value.wait_s == 1.0
        await made.venue.profile.balances(made.venue.rest)
        assert made.now_ns() - began_ns >= 10**9

    run(script)


def test_each_kind_of_answer_has_its_meaning() -> None:
    async def script(made: World) -> None:
        rest, asked = made.venue.rest, {"symbol": "BTCUSDT", "origClientOrderId": "none"}
        with pytest.raises(Denied, match="-2013"):
            await rest.send(ORDER, dict(asked))
        for fault in ("server_error", "unanswered", "garbled"):
            made.double.plan.next(fault, "balance")
            with pytest.raises(Unanswered):
                await rest.send(Endpoint("private_get_account"), {})

    run(script)


def test_a_create_is_never_repeated_by_the_libraries_below_us() -> None:
    """A kept connection that breaks lets aiohttp ask a GET or a DELETE again by itself: an order is a POST."""

    async def script(made: World) -> None:
        for name, times in (("order", 2), ("create", 1)):
            made.double.plan.rules.append(Fault("refused", name, ppm=1_000_000))
            with pytest.raises(Unanswered):
                await made.venue.rest.send({"order": ORDER, "create": CREATE}[name], {"symbol": "BTCUSDT"})
            assert made.double.plan.seen[name] <= times

    run(script)


def test_a_start_gives_up_after_its_tries() -> None:
    async def script(made: World) -> None:
        with pytest.raises(BadInput, match="failed 3 times"):
            await made.venue.rest.query(Endpoint("public_get_time"), tries=3)

    run(script, FaultPlan([Fault("unavailable", "time", ppm=1_000_000)]))


def test_orders_come_before_queries_when_the_budget_is_low() -> None:
    async def inside(now_ns: Callable[[], int]) -> None:
        budget = Budget(100, 10)
        for _ in range(80):
            assert await budget.turn(Endpoint("query"), 0)
        assert not await budget.turn(Endpoint("query"), 0.05)
        assert await budget.turn(CREATE, 0)
        began_ns = now_ns()
        assert await budget.turn(Endpoint("query"))
        assert 0.1e9 <= now_ns() - began_ns <= 0.3e9
        budget.pause(5)
        assert not await budget.turn(CREATE, 1)
        assert await budget.turn(CREATE)
        assert now_ns() - began_ns >= 5e9

    virtually(inside)
