"""What moves a double's outside market: a seeded walk, or a recorded book and its trades."""

import json
import random
from collections.abc import Iterable
from decimal import Decimal

from tests.doubles.book import BUY, SELL
from tests.doubles.exchange import Exchange
from tests.doubles.orders import Market
from tests.doubles.wire import Double

LEVELS = 10


def fill_book(exchange: Exchange, market: Market, mid: int = 50_000) -> None:
    """Ten levels of half a coin on each side, a unit of quote apart, and a first trade."""
    tick, lots = int(1 / market.tick), int(Decimal("0.5") / market.step)
    bids = {(mid - step) * tick: lots for step in range(1, LEVELS + 1)}
    asks = {(mid + step) * tick: lots for step in range(1, LEVELS + 1)}
    exchange.set_book(market.symbol, bids, asks)
    exchange.trade(market.symbol, BUY, (mid + 1) * tick, int(Decimal("0.00001") / market.step))


class Walk:
    """A market that wanders: the same steps for the same seed."""

    def __init__(self, double: Double, symbol: str, seed: int = 1, step_s: float = 0.25):
        self.double, self.market, self.step_s = double, double.exchange.markets[symbol], step_s
        self.random = random.Random(seed)
        self.mid = 50_000 * int(1 / self.market.tick)

    def start(self) -> None:
        """Step now, and again every ``step_s`` of the double's time."""
        self.step()
        self.double.later(self.step_s, self.start)

    def step(self) -> None:
        """Move the middle, quote around it anew, and let someone trade."""
        draw, exchange, unit = self.random, self.double.exchange, int(1 / self.market.tick)
        self.mid = max(unit, self.mid + draw.choice((-2, -1, -1, 0, 0, 1, 1, 2)) * unit // 2)
        coin = int(1 / self.market.step)
        for side in (BUY, SELL):
            levels = {self.mid - side * unit * step: draw.randrange(coin // 100, coin) for step in range(1, LEVELS + 1)}
            gone = {price: 0 for price, _ in exchange.books[self.market.symbol].depth(side) if price not in levels}
            exchange.set_levels(self.market.symbol, {(side, price): lots for price, lots in (gone | levels).items()})
        if draw.random() < 0.7:
            side = draw.choice((BUY, SELL))
            exchange.trade(self.market.symbol, side, self.mid + side * unit, draw.randrange(coin // 1000, coin // 10))


def replay(exchange: Exchange, symbol: str, lines: Iterable[bytes], at: int = 0) -> int:
    """Move a market as a recording of Binance's streams says, from its snapshot on; how many messages were used.

    ``at`` is the update the book is at already, 0 for none: then a snapshot comes first.

    A line is the time of receipt in ns, a space and the message. A trade takes what stands first at its price, orders
    among it; the updates say what the outside market has left. Where an update was received before the trade it is
    of, the orders behind that trade stand too far in front by it.
    """
    market, used = exchange.markets[symbol], 0
    for line in lines:
        tree = json.loads(line.partition(b" ")[2])
        data = tree.get("data", tree)
        if "lastUpdateId" in data:
            at = data["lastUpdateId"]
            sides = ({market.ticks(p): market.lots(q) for p, q in data[name]} for name in ("bids", "asks"))
            exchange.set_book(symbol, *sides)
        elif at and data.get("e") == "depthUpdate" and data["u"] > at:
            levels = {
                (side, market.ticks(p)): market.lots(q)
                for side, name in ((BUY, "b"), (SELL, "a"))
                for p, q in data[name]
            }
            exchange.set_levels(symbol, levels)
        elif at and data.get("e") == "trade":
            exchange.trade(symbol, SELL if data["m"] else BUY, market.ticks(data["p"]), market.lots(data["q"]), True)
        else:
            continue
        used += 1
    return used
