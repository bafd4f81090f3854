"""What our own filters let through, the double's filters let through (requirements ORD-13): the double is the judge."""

import asyncio
import os
import random
from collections import Counter
from fractions import Fraction

from core.records import OrderFlag, Reason, Side
from runner.venues.filters import Filters, Reference, check
from tests.doubles.book import BUY, SELL
from tests.doubles.venues import fill_book
from tests.runner.venue_world import IMMEDIATE, POST_ONLY, SYMBOL, TICKS, World, play

ORDERS = int(os.environ.get("PORTCULLIS_FILTER_ORDERS", "400"))
LOCAL = {
    Reason.FILTER_TICK, Reason.FILTER_LOT, Reason.FILTER_NOTIONAL, Reason.PRICE_BAND, Reason.ORDERS_MAX, Reason.DEPTH,
}  # fmt: skip


def test_nothing_that_passes_is_refused_by_the_venues_filters() -> None:
    async def script(world: World) -> None:
        chance, market = random.Random(5), world.exchange.markets[SYMBOL]
        refused_there: Counter[str] = Counter()
        submit = world.exchange.submit

        def watched(account: str, new: object) -> object:
            try:
                return submit(account, new)
            except Exception as refusal:
                refused_there[refusal.code] += 1
                raise

        world.exchange.submit = watched
        mid = 50_000
        for number in range(ORDERS):
            if number % 20 == 0:
                mid += chance.randrange(-2000, 2001)
                fill_book(world.exchange, market, mid)
                world.exchange.trade(SYMBOL, chance.choice((BUY, SELL)), mid * TICKS, 1000)
                for order in list(world.exchange.open_orders("main")):
                    world.exchange.cancel("main", order.id)
            price = chance.choice((
                0, mid * TICKS + chance.randrange(-1000, 1000), chance.randrange(1, 12 * 10**6), int(mid * 120),
                int(mid * 80), int(mid * 120) + 1, 1, 10**8, 10**8 + 1, 10**9,
            ))  # fmt: skip
            qty = chance.choice((1, 2, 9, 10, 11, chance.randrange(1, 30), chance.randrange(1, 3000), 10**8 + 1))
            flags = 0 if price == 0 else chance.choice((0, POST_ONLY, IMMEDIATE))
            side = chance.choice((Side.BUY, Side.SELL))
            world.submit(world.intend(side, price, qty, flags))
            await asyncio.sleep(0.4)  # two questions of prices each: within the budget, or orders queue behind it
        world.drain()
        assert set(refused_there) <= {"funds", "post_only"}
        reasons = Counter(reason for order in world.intents for _, reason in world.states(order))
        assert {reason for reason in LOCAL if reasons[reason]} >= LOCAL - {Reason.ORDERS_MAX, Reason.DEPTH}
        assert reasons[Reason.NONE] > ORDERS // 10

    play(script, reference_ms=1)


def test_the_number_of_open_orders_is_the_venues() -> None:
    async def script(world: World) -> None:
        world.exchange.markets[SYMBOL].orders_max = 3
        await world.crash()
        for k in range(5):
            world.buy((49_000 - k) * TICKS)
            await asyncio.sleep(0.5)
        world.drain()
        assert [world.states(order)[-1][1] for order in world.intents] == [0, 0, 0, *[Reason.ORDERS_MAX] * 2]

    play(script)


LIMITS = Filters(
    trading=True, price_min=10, price_max=1000, lots_min=2, lots_max=500, market_lots_min=4, market_lots_max=100,
    market_lots_step=2, notional_min=Fraction(500), notional_max=Fraction(50_000), notional_min_at_market=True,
    notional_max_at_market=False, buy_band=(Fraction(1, 2), Fraction(2)), sell_band=(Fraction(1, 4), Fraction(3)),
    orders_max=3, lot_value=Fraction(1),
)  # fmt: skip
LAST = Reference(100, 99, 101)


def test_each_limit_has_its_reason_and_its_edge() -> None:
    def judged(side: int, price: int, qty: int, flags: int = 0, at: Reference = LAST, orders: int = 0) -> Reason:
        return check(LIMITS, side, price, qty, flags, at, orders)

    buy, sell = Side.BUY, Side.SELL
    assert judged(buy, 100, 5) == Reason.NONE
    assert (judged(buy, 100, 1), judged(buy, 100, 501)) == (Reason.FILTER_LOT,) * 2
    assert (judged(buy, 9, 100), judged(buy, 1001, 100)) == (Reason.FILTER_TICK,) * 2
    assert (judged(buy, 50, 10), judged(buy, 200, 10)) == (Reason.NONE,) * 2
    assert (judged(buy, 49, 11), judged(buy, 201, 10)) == (Reason.PRICE_BAND,) * 2
    assert (judged(sell, 25, 20), judged(sell, 300, 10)) == (Reason.NONE,) * 2
    assert (judged(sell, 24, 30), judged(sell, 301, 10)) == (Reason.PRICE_BAND,) * 2
    assert (judged(buy, 100, 4), judged(buy, 125, 4)) == (Reason.FILTER_NOTIONAL, Reason.NONE)
    assert (judged(buy, 100, 500), judged(buy, 101, 500)) == (Reason.NONE, Reason.FILTER_NOTIONAL)
    assert (judged(buy, 0, 6), judged(buy, 0, 7), judged(buy, 0, 102)) == (
        Reason.NONE, Reason.FILTER_LOT, Reason.FILTER_LOT,
    )  # fmt: skip
    assert judged(buy, 0, 4) == Reason.FILTER_NOTIONAL
    assert judged(buy, 0, 6, at=Reference(0)) == Reason.DEPTH
    assert (judged(buy, 100, 5, orders=2), judged(buy, 100, 5, orders=3)) == (Reason.NONE, Reason.ORDERS_MAX)
    assert judged(sell, 100, 7, OrderFlag.STOP) == Reason.FILTER_LOT  # executes at market
