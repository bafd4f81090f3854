"""Venues that send valid frames: a book that moves, trades, and what else their connections carry."""

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import msgspec

from core.instruments import Instrument
from core.records import Side
from feeds.dialects import binance, coinbase, kraken
from feeds.dialects.frames import Follower

NOW_NS = 1_700_000_000_000_000_000
STEP_NS = 1_000_000
BUY, SELL = int(Side.BUY), int(Side.SELL)
PLACES = {BUY: range(970, 1000), SELL: range(1001, 1031)}  # ticks; the sides never meet
BEST_FIRST = {BUY: -1, SELL: 1}
PAIR = Instrument(symbol="BTC/USD", base="BTC", quote="USD", tick="0.1", lot="0.001")

Book = dict[tuple[int, int], int]  # (side, ticks): lots


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: its JSON, and what it is to the book."""

    tree: Any
    is_book: bool = False
    is_snapshot: bool = False
    name: str = ""  # the channel it says it is of

    @property
    def message(self) -> bytes:
        """As it is sent."""
        return msgspec.json.encode(self.tree)


class Venue(ABC):
    """One connection, and the true book of the last frame made."""

    proves_itself = False  # an update carries the proof of the book it leads to
    mends_itself = True  # snapshots come on the connection, so that one is enough whatever came before
    channels: tuple[str, ...] = ()

    def __init__(self, rng: random.Random):
        self.rng, self.book, self.trade_id = rng, Book(), 100
        self.now_ns = NOW_NS
        for side, places in PLACES.items():
            for price in rng.sample(places, 6):
                self.book[side, price] = rng.randrange(1, 5000)

    @abstractmethod
    def follower(self) -> Follower:
        """Its dialect, at the beginning."""

    @abstractmethod
    def snapshot(self) -> Frame:
        """The whole book."""

    @abstractmethod
    def update(self, changes: Book) -> Frame:
        """``changes`` of the book, which has them already."""

    @abstractmethod
    def trades(self, count: int) -> Frame:
        """``count`` trades."""

    @abstractmethod
    def other(self) -> Frame:
        """Something that is not about book or trades."""

    def next(self) -> Frame:
        """The next message of a connection that goes on."""
        self.now_ns += STEP_NS
        what = self.rng.random()
        if what < 0.6:
            return self.update(self.move())
        return self.trades(self.rng.randrange(1, 4)) if what < 0.85 else self.other()

    def move(self) -> Book:
        """Change some levels of the book; what is now at them."""
        changes = Book()
        for _ in range(self.rng.randrange(1, 5)):
            side = self.rng.choice((BUY, SELL))
            price = self.rng.choice(PLACES[side])
            changes[side, price] = self.rng.choice((0, self.rng.randrange(1, 5000)))
        self.book = {key: lots for key, lots in (self.book | changes).items() if lots}
        return changes

    def side(self, levels: Book, side: int) -> list[tuple[str, str]]:
        """(price, quantity) as text, from the best on."""
        prices = sorted((price for at, price in levels if at == side), key=lambda price: BEST_FIRST[side] * price)
        return [(price_text(price), f"{levels[side, price] / 1000:.3f}") for price in prices]

    def stamp(self) -> str:
        """The time as RFC 3339."""
        seconds, ns = divmod(self.now_ns - NOW_NS, 10**9)
        return f"2023-11-14T22:{13 + (20 + seconds) // 60:02}:{(20 + seconds) % 60:02}.{ns:09}Z"


def price_text(ticks: int) -> str:
    """With the one digit that the tick has."""
    return f"{ticks // 10}.{ticks % 10}"


class Binance(Venue):
    """Depth updates with ids, and a snapshot that is asked for beside them. Keys in the venue's own order."""

    market, is_futures = binance.Market.FUTURES, True
    mends_itself = False  # a snapshot's id may be damaged to one that no update reaches
    channels = ("depth", "trade", "bookTicker")

    def __init__(self, rng: random.Random):
        super().__init__(rng)
        self.id, self.top_id = 1000, 1

    def follower(self) -> Follower:
        return binance.Normaliser(PAIR, self.market, symbol="BTCUSD", tops=True)

    def snapshot(self) -> Frame:
        bids, asks = self.side(self.book, BUY), self.side(self.book, SELL)
        return Frame({"lastUpdateId": self.id, "bids": bids, "asks": asks}, True, True)

    def update(self, changes: Book) -> Frame:
        before, self.id = self.id, self.id + self.rng.randrange(1, 4)
        ids = {"s": "BTCUSD", "U": before + 1, "u": self.id} | ({"pu": before} if self.is_futures else {})
        sides = {"b": self.side(changes, BUY), "a": self.side(changes, SELL)}
        return self._frame("depth", {"e": "depthUpdate"} | self._times() | ids | sides, True)

    def trades(self, count: int) -> Frame:
        self.trade_id += 1
        said = {"s": "BTCUSD", "t": self.trade_id, "p": "100.0", "q": "0.005"}
        late = {"X": "MARKET"} if self.is_futures else {"T": self.now_ns // 10**6}
        maker = {"m": bool(self.rng.randrange(2))} | ({} if self.is_futures else {"M": True})
        return self._frame("trade", {"e": "trade"} | self._times() | said | late | maker)

    def other(self) -> Frame:
        if self.rng.random() < 0.2:
            return Frame({"result": None, "id": 1})
        self.top_id += 1
        data = {"u": self.top_id, "s": "BTCUSD", "b": "99.9", "B": "1.500", "a": "100.1", "A": "0.002"}
        if self.is_futures:
            data = {"e": "bookTicker"} | data | {"T": self.now_ns // 10**6, "E": self.now_ns // 10**6}
        return self._frame("bookTicker", data)

    def _times(self) -> dict[str, int]:
        return dict.fromkeys("ET" if self.is_futures else "E", self.now_ns // 10**6)

    def _frame(self, name: str, data: dict[str, Any], is_book: bool = False) -> Frame:
        is_bare = "e" in data and self.rng.random() < 0.3
        return Frame(data if is_bare else {"stream": f"btcusd@{name}", "data": data}, is_book, False, name)


class BinanceSpot(Binance):
    """Its spot market: updates do not name the one before."""

    market, is_futures = binance.Market.SPOT, False


class Kraken(Venue):
    """Ten levels a side, and a checksum of them with each message."""

    proves_itself = True
    channels = ("book", "trade", "instrument", "status", "heartbeat", "ticker", "ohlc")

    def follower(self) -> Follower:
        return kraken.Normaliser(PAIR, price_digits=1, qty_digits=3, depth=10, others=("ETH/USD",))

    def move(self) -> Book:
        changes = super().move()
        for side, sign in BEST_FIRST.items():
            prices = sorted((price for at, price in self.book if at == side), key=lambda price, s=sign: s * price)
            for price in prices[10:]:
                del self.book[side, price]
        return changes

    def snapshot(self) -> Frame:
        return self._book("snapshot", self.book)

    def update(self, changes: Book) -> Frame:
        return self._book("update", changes)

    def trades(self, count: int) -> Frame:
        data = []
        for _ in range(count):
            self.trade_id += 1
            trade = {"symbol": PAIR.symbol, "side": self.rng.choice(("buy", "sell")), "price": msgspec.Raw(b"100.0")}
            data.append(trade | {"qty": msgspec.Raw(b"5e-3"), "trade_id": self.trade_id, "timestamp": self.stamp()})
        return Frame({"channel": "trade", "type": "update", "data": data}, name="trade")

    def other(self) -> Frame:
        pair = {"symbol": PAIR.symbol, "status": self.rng.choice(tuple(kraken.STATUSES))}
        pair |= {"price_precision": 1, "qty_precision": 3}
        said = (
            ("heartbeat", {}),
            ("ticker", {"type": "update", "data": [{"symbol": PAIR.symbol}]}),
            ("instrument", {"type": "update", "data": {"assets": [], "pairs": [pair]}}),
            ("status", {"type": "update", "data": [{"system": "online"}]}),
        )
        name, rest = self.rng.choice(said)
        return Frame({"channel": name} | rest, name=name)

    def _book(self, kind: str, levels: Book) -> Frame:
        sides = {
            name: [{"price": msgspec.Raw(p.encode()), "qty": msgspec.Raw(q.encode())} for p, q in self.side(levels, at)]
            for name, at in (("bids", BUY), ("asks", SELL))
        }
        first = [*self.side(self.book, SELL)[:10], *self.side(self.book, BUY)[:10]]
        digits = "".join(text.replace(".", "").lstrip("0") for level in first for text in level)
        book = {"symbol": PAIR.symbol} | sides | {"checksum": crc32(digits.encode()), "timestamp": self.stamp()}
        return Frame({"channel": "book", "type": kind, "data": [book]}, True, kind == "snapshot", "book")


class Coinbase(Venue):
    """Every message of the connection is counted."""

    channels = ("l2_data", "market_trades", *coinbase.PASSED)

    def __init__(self, rng: random.Random):
        super().__init__(rng)
        self.number = -1

    def follower(self) -> Follower:
        return coinbase.Normaliser(PAIR, others=("ETH-USD",))

    def snapshot(self) -> Frame:
        return self._book("snapshot", self.book)

    def update(self, changes: Book) -> Frame:
        return self._book("update", changes)

    def trades(self, count: int) -> Frame:
        said = []
        for _ in range(count):
            self.trade_id += 1
            trade = {"trade_id": str(self.trade_id), "product_id": "BTC-USD", "price": "100.0", "size": "0.005"}
            said.append(trade | {"side": self.rng.choice(("BUY", "SELL")), "time": self.stamp()})
        return self._frame("market_trades", [{"type": "update", "trades": said[::-1]}])

    def other(self) -> Frame:
        return self._frame(self.rng.choice(coinbase.PASSED), [{"heartbeat_counter": 1}])

    def _book(self, kind: str, levels: Book) -> Frame:
        updates = [
            {"side": name, "event_time": self.stamp(), "price_level": price, "new_quantity": qty}
            for name, at in (("bid", BUY), ("offer", SELL))
            for price, qty in self.side(levels, at)
        ]
        events = [{"type": kind, "product_id": "BTC-USD", "updates": updates}]
        return self._frame("l2_data", events, True, kind == "snapshot")

    def _frame(self, name: str, events: list[Any], is_book: bool = False, is_snapshot: bool = False) -> Frame:
        self.number += 1
        outer = {"channel": name, "client_id": "", "timestamp": self.stamp(), "sequence_num": self.number}
        return Frame(outer | {"events": events}, is_book, is_snapshot, name)


VENUES: dict[str, type[Venue]] = {
    "binance-futures": Binance,
    "binance-spot": BinanceSpot,
    "kraken": Kraken,
    "coinbase": Coinbase,
}
