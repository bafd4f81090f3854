"""Seeded hours of trading with everything going wrong at once, crashes included; more of them on request:

PORTCULLIS_SCENARIOS=500 python -m pytest tests/runner/test_venue_scenarios.py
"""

import asyncio
import os
import random

import pytest

from core.records import Side
from tests.doubles.book import BUY, SELL
from tests.doubles.faults import Fault, FaultPlan
from tests.doubles.venues import fill_book
from tests.runner.venue_world import IMMEDIATE, POST_ONLY, SYMBOL, TICKS, World, play

COUNT = int(os.environ.get("PORTCULLIS_SCENARIOS", "30"))
QUERIES = ("order", "open_orders", "orders", "my_trades", "balance", "book", "top", "trades", "time")
STEPS = 40


def faults(chance: random.Random) -> list[Fault]:
    """Some of everything, more or less of it."""
    rules = []
    for name in ("lost_ack", "timeout", "error_after", "garbled", "refused", "unanswered", "bad_gateway", "late"):
        for kind in ("create", "cancel"):
            rules.append(Fault(name, kind, ppm=chance.randrange(1, 120_000), seconds=chance.uniform(0.5, 9)))
    for name in ("rate_limited", "server_error", "unavailable", "refused", "unanswered", "garbled", "slow"):
        rules += [Fault(name, kind, ppm=chance.randrange(1, 60_000), seconds=0.5) for kind in QUERIES]
    rules += [Fault("rate_limited", kind, ppm=chance.randrange(1, 60_000)) for kind in ("create", "cancel")]
    for name in ("drop", "duplicate", "delay", "reorder"):
        for kind in ("ws.order", "ws.fill"):
            rules.append(Fault(name, kind, ppm=chance.randrange(1, 200_000), seconds=chance.uniform(0.1, 8)))
    rules += [Fault(name, "ws.fill", ppm=chance.randrange(1, 50_000)) for name in ("half_open", "disconnect")]
    return rules


async def trade(world: World, chance: random.Random) -> None:
    """Orders, cancels, a market that moves, restarts of the venue and of the runner."""
    mid = 50_000
    for _ in range(STEPS):
        what = chance.random()
        if what < 0.45:
            price = (mid + chance.randrange(-8, 9)) * TICKS
            flags = chance.choice((0, 0, POST_ONLY, IMMEDIATE))
            side = chance.choice((Side.BUY, Side.SELL))
            price = chance.choice((price, price, price, 0))
            order = world.intend(side, price, chance.randrange(20, 3000), 0 if price == 0 else flags)
            if chance.random() > 0.05:  # or the process dies between the journal and the request
                world.submit(order)
        elif what < 0.65 and world.intents:
            world.drain()
            live = [
                order for order in world.intents if order in world.venue.outbound.orders and not world.is_over(order)
            ]
            if live:
                world.cancel(chance.choice(live))
        elif what < 0.90:
            mid += chance.randrange(-3, 4)
            fill_book(world.exchange, world.exchange.markets[SYMBOL], mid)
            world.exchange.trade(SYMBOL, chance.choice((BUY, SELL)), mid * TICKS, chance.randrange(100, 5000))
        elif what < 0.94:
            await world.crash()
        elif what < 0.96:
            world.double.strike(Fault("restart", "*", nth=1, seconds=chance.uniform(1, 20)))
        elif what < 0.98:
            world.skew_ns += chance.randrange(-4 * 10**9, 4 * 10**9)
        await asyncio.sleep(chance.choice((0.0, 0.01, 0.3, 2.0, 5.0)))


@pytest.mark.parametrize("seed", range(COUNT))
def test_at_the_end_both_sides_agree(seed: int) -> None:
    chance = random.Random(seed)
    plan = FaultPlan([], seed)

    async def script(world: World) -> None:
        plan.rules.extend(faults(chance))
        world.exchange.trade(SYMBOL, BUY, 50_001 * TICKS, 1)
        await trade(world, chance)
        plan.rules.clear()
        unsent = [order for order in world.intents if order not in world.venue.outbound.orders]
        if any(not world.is_over(order) for order in unsent):
            await world.crash()  # what only the journal knows is resolved by the next start
        await asyncio.sleep(60)

    play(script, plan, seed)
