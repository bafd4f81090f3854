"""Ready-made doubles: one market each, a book, a key and a funded account."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from tests.doubles.binance import RULES as BINANCE_RULES
from tests.doubles.binance import Binance
from tests.doubles.clients import client
from tests.doubles.clock import Clock
from tests.doubles.exchange import Exchange
from tests.doubles.faults import FaultPlan
from tests.doubles.orders import Market
from tests.doubles.server import served
from tests.doubles.wire import Double, Key

SECRET = "not a secret: a key of the built-in exchange"
KEY = Key("demo-key", SECRET)
NAMES = ("binance",)


def build(name: str, clock: Clock | None = None, plan: FaultPlan | None = None, funds: int = 100_000) -> Double:
    """The double of a venue: BTC at about 50,000, ``funds`` in quote and one BTC in the account."""
    clock = clock or Clock()
    if name == "binance":
        market = Market(
            "BTC/USDT", Decimal("0.01"), Decimal("0.00001"), notional_min=Decimal(5), band_ppm=200_000, lots_max=10**8
        )
        exchange = Exchange(clock, [market], BINANCE_RULES)
        double: Double = Binance(exchange, plan, [KEY])
    else:
        raise ValueError(f"no double of {name!r}; there are {', '.join(NAMES)}")
    exchange.deposit(KEY.account, market.base, 10**market.base_decimals)
    exchange.deposit(KEY.account, market.quote, funds * 10**market.quote_decimals)
    fill_book(exchange, market)
    return double


def fill_book(exchange: Exchange, market: Market, mid: int = 50_000) -> None:
    """Ten levels of half a coin on each side, a unit of quote apart, and a first trade."""
    tick, lots = int(1 / market.tick), int(Decimal("0.5") / market.step)
    bids = {(mid - step) * tick: lots for step in range(1, 11)}
    asks = {(mid + step) * tick: lots for step in range(1, 11)}
    exchange.set_book(market.symbol, bids, asks)
    exchange.trade(market.symbol, 1, (mid + 1) * tick, 1)


def against(
    name: str, script: Callable[[Any, Double], Awaitable[None]], plan: FaultPlan | None = None, **config: Any
) -> Double:
    """Run a script with ccxt and a fresh double on the real clock; unknown questions are an error."""
    double = build(name, Clock(time.time_ns), plan)

    async def run() -> None:
        async with served(double) as host:
            venue = client(double, host, **config)
            try:
                await venue.load_markets()
                await asyncio.wait_for(script(venue, double), 30)
            finally:
                await venue.close()

    asyncio.run(run())
    double.verify()
    return double
