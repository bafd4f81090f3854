"""Ready-made doubles: one market each, a book, a key and a funded account."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.doubles import binance, coinbase, kraken
from tests.doubles.binance import Binance
from tests.doubles.clients import client
from tests.doubles.clock import Clock
from tests.doubles.coinbase import Coinbase, new_key
from tests.doubles.exchange import Exchange
from tests.doubles.faults import FaultPlan
from tests.doubles.kraken import Kraken
from tests.doubles.orders import Market, Rules
from tests.doubles.server import served
from tests.doubles.wire import Double, Key

SECRET = base64.b64encode(b"not a secret: a key of the built-in exchange").decode()
KEY = Key("demo-key", SECRET)
MARKETS: dict[str, Market] = {
    "binance": Market(
        "BTC/USDT", Decimal("0.01"), Decimal("0.00001"), notional_min=Decimal(5), band_ppm=200_000, lots_max=10**8
    ),
    "coinbase": Market("BTC/USD", Decimal("0.01"), Decimal("0.00000001"), 8, 10, notional_min=Decimal(1)),
    "kraken": Market(
        "BTC/USD", Decimal("0.1"), Decimal("0.00000001"), 10, 4, lots_min=5000, notional_min=Decimal("0.5")
    ),
}
FACES: dict[str, tuple[type[Double], Rules]] = {
    "binance": (Binance, binance.RULES),
    "coinbase": (Coinbase, coinbase.RULES),
    "kraken": (Kraken, kraken.RULES),
}
NAMES = tuple(FACES)


def build(name: str, clock: Clock | None = None, plan: FaultPlan | None = None, funds: int = 100_000) -> Double:
    """The double of a venue: BTC at about 50,000, ``funds`` in quote and one BTC in the account."""
    if name not in FACES:
        raise ValueError(f"no double of {name!r}; there are {', '.join(NAMES)}")
    face, rules = FACES[name]
    market = replace(MARKETS[name])
    exchange = Exchange(clock or Clock(), [market], rules)
    double = face(exchange, plan, [new_key() if name == "coinbase" else KEY])
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
    exchange.trade(market.symbol, 1, (mid + 1) * tick, int(Decimal("0.00001") / market.step))


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
