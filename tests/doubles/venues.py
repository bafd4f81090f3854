"""Ready-made doubles: one market each, a book, a key and a funded account."""

import base64
from dataclasses import replace
from decimal import Decimal

from tests.doubles import binance, coinbase, kraken
from tests.doubles.binance import Binance
from tests.doubles.clock import Clock
from tests.doubles.coinbase import Coinbase, new_key
from tests.doubles.exchange import Exchange
from tests.doubles.faults import FaultPlan
from tests.doubles.kraken import Kraken
from tests.doubles.market import fill_book
from tests.doubles.orders import Market, Rules
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


def build(
    name: str,
    clock: Clock | None = None,
    plan: FaultPlan | None = None,
    funds: int = 100_000,
    bases: tuple[str, ...] = ("BTC",),
) -> Double:
    """The double of a venue: a market for each base at about 50,000, ``funds`` in quote, one of each base."""
    if name not in FACES:
        raise ValueError(f"no double of {name!r}; there are {', '.join(NAMES)}")
    face, rules = FACES[name]
    quote = MARKETS[name].quote
    markets = [replace(MARKETS[name], symbol=f"{base}/{quote}") for base in bases]
    exchange = Exchange(clock or Clock(), markets, rules)
    double = face(exchange, plan, [new_key() if name == "coinbase" else KEY])
    exchange.deposit(KEY.account, quote, funds * 10 ** markets[0].quote_decimals)
    for market in markets:
        exchange.deposit(KEY.account, market.base, 10**market.base_decimals)
        fill_book(exchange, market)
    return double
