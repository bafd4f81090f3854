"""Kraken's public WebSocket v2 channels: raw frames in, LEVEL, TRADE, CLEAR and STATUS records out.

One ``Normaliser`` follows one instrument. The venue sends a book as a snapshot of the depth subscribed to and then its
changes. They carry no number: what tells that one was missed is a CRC32 over the first ten levels of each side, lowest
ask first, then highest bid, each as the digits of its price and quantity at the pair's precisions without point and
leading zeros. So the book is kept here as well, and after each message it must have the venue's checksum. Levels that
leave the depth are gone: the venue says no more of them. Where the checksum differs, and after any frame that may have
been about the book and could not be used, the book is invalid until the next snapshot, which a subscription brings.

Updates are numbered here, in the order they came. Trades of before the subscription (``snapshot``) are passed over.
Records are in the order they became known: ``ts_known`` never decreases, and is never before ``ts_event``.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Collection
from fractions import Fraction
from typing import Annotated, Final, Literal
from zlib import crc32

import msgspec

from core.errors import BadConfig
from core.instruments import Instrument
from core.records import Kind, MarketStatus, Side
from feeds.dialects import UNREADABLE, BadFrame, Count, Rule, Whole, head, lot_grid, price_grid, utc_ns
from feeds.dialects.frames import Follower, Trade
from feeds.dialects.levels import check_sides, check_spread, level_rows
from feeds.dialects.sequence import LAST, SNAPSHOT, Update

DEPTHS: Final = (10, 25, 100, 500, 1000)  # what the venue lets one subscribe to
CHECKED: Final = 10  # levels of each side in the checksum
DIGITS_MAX: Final = 18
UNITS_MAX: Final = 2**62
EXPONENT_MAX: Final = 30
PASSED: Final = ("heartbeat", "ticker", "ohlc")
NOT_OF_BOOK: Final = ("trade", "instrument", "status", *PASSED)
STATUSES: Final = {
    "online": MarketStatus.TRADING,
    "limit_only": MarketStatus.TRADING,
    "reduce_only": MarketStatus.TRADING,
    "post_only": MarketStatus.AUCTION,
    "cancel_only": MarketStatus.CANCEL_ONLY,
    "maintenance": MarketStatus.HALT,
    "work_in_progress": MarketStatus.HALT,
    "delisted": MarketStatus.HALT,
}


class _Frame(msgspec.Struct, gc=False):
    channel: str = ""
    method: str = ""
    success: bool = True
    error: str | None = None


class _Level(msgspec.Struct, gc=False):
    price: msgspec.Raw  # numbers stay text: a float would lose digits, and the checksum is made of them
    qty: msgspec.Raw


class _Book(msgspec.Struct, gc=False):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    timestamp: str = ""


class _Books(msgspec.Struct, gc=False):
    type: Literal["snapshot", "update"]
    data: Annotated[list[_Book], msgspec.Meta(min_length=1, max_length=1)]


class _Trade(msgspec.Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: Count
    timestamp: str


class _Trades(msgspec.Struct, gc=False):
    type: Literal["snapshot", "update"]
    data: Annotated[list[_Trade], msgspec.Meta(min_length=1)]


class _Pair(msgspec.Struct, gc=False):
    symbol: str
    status: str
    price_digits: int = msgspec.field(name="price_precision")
    qty_digits: int = msgspec.field(name="qty_precision")


class _Pairs(msgspec.Struct, gc=False):
    pairs: list[_Pair] = []


class _Instruments(msgspec.Struct, gc=False):
    data: _Pairs


class _System(msgspec.Struct, gc=False):
    system: str


class _Status(msgspec.Struct, gc=False):
    data: Annotated[list[_System], msgspec.Meta(min_length=1)]


_FRAME: Final = msgspec.json.Decoder(_Frame)
_BOOKS: Final = msgspec.json.Decoder(_Books)
_TRADES: Final = msgspec.json.Decoder(_Trades)
_INSTRUMENTS: Final = msgspec.json.Decoder(_Instruments)
_STATUS: Final = msgspec.json.Decoder(_Status)


class _Side:
    """One side of the venue's book, from its best level on, and of each level what it adds to the checksum."""

    def __init__(self, sign: int):
        self._sign = sign  # -1: the highest price is the best
        self._ranks, self._digits = list[int](), dict[int, bytes]()

    @property
    def best(self) -> int:
        """In ticks; 0: there is none."""
        return self._sign * self._ranks[0] if self._ranks else 0

    def put(self, price: int, digits: bytes) -> None:
        """The level at ``price`` (ticks) is now this; no digits: it is gone."""
        rank = self._sign * price
        if digits and rank not in self._digits:
            insort(self._ranks, rank)
        if digits:
            self._digits[rank] = digits
        elif self._digits.pop(rank, b""):
            del self._ranks[bisect_left(self._ranks, rank)]

    def cut(self, depth: int) -> list[int]:
        """Drop what is beyond ``depth`` levels; the prices dropped."""
        beyond = self._ranks[depth:]
        del self._ranks[depth:]
        for rank in beyond:
            del self._digits[rank]
        return [self._sign * rank for rank in beyond]

    def first(self) -> bytes:
        """What this side adds to the checksum."""
        return b"".join(map(self._digits.__getitem__, self._ranks[:CHECKED]))


class Normaliser(Follower):
    """One instrument's frames as records, in the order they became known.

    ``price_digits`` and ``qty_digits`` are the pair's precisions as the venue's instrument channel states them,
    ``depth`` what was subscribed to, ``symbol`` the venue's name of the pair, else the instrument's. ``others`` are
    pairs that share the connection and are passed over; any further symbol may be this one damaged.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        price_digits: int,
        qty_digits: int,
        depth: int = 10,
        symbol: str = "",
        others: Collection[str] = (),
        index: int = 0,
        clock_offset_ns: int = 0,
    ):
        super().__init__(index, clock_offset_ns)
        if depth not in DEPTHS:
            raise BadConfig(f"a book of {depth} levels; the venue has {', '.join(map(str, DEPTHS))}")
        self._name, self._others, self._depth = symbol or instrument.symbol, frozenset(others), depth
        self._digits = price_digits, qty_digits
        self._ticks, self._lots = price_grid(instrument.tick), lot_grid(instrument.lot)
        self._price_units = _units(price_digits, "price", instrument.tick)
        self._qty_units = _units(qty_digits, "quantity", instrument.lot)
        self._bids, self._asks, self._count = _Side(-1), _Side(1), 0
        self._system = self._pair = MarketStatus.TRADING
        self._status = MarketStatus.TRADING
        self._handlers: dict[str, Callable[[int, bytes], None]] = {
            "book": self._on_book,
            "trade": self._on_trades,
            "instrument": self._on_instruments,
            "status": self._on_status,
        }

    def on_frame(self, received_ns: int, frame: bytes) -> None:
        """One WebSocket message. Answers to requests are passed over, unless they refuse one."""
        self._writer.next_frame()
        channel = ""
        try:
            outer = _FRAME.decode(frame)
            channel = outer.channel or outer.method
            handler = self._handlers.get(outer.channel)
            if handler is not None:
                handler(received_ns, frame)
            elif outer.error or not outer.success:
                raise BadFrame(Rule.VENUE_ERROR, outer.error or frame)
            elif channel in PASSED or (outer.method and not outer.channel):
                self.findings.passed[outer.channel or "answer"] += 1
            else:
                raise BadFrame(Rule.FOREIGN, outer.channel or frame)
        except BadFrame as bad:
            self._refuse(received_ns, bad.rule, bad.value, channel)
        except UNREADABLE as error:
            self._refuse(received_ns, Rule.GARBAGE, error, channel)
        self._writer.note_rounded(self._lots)

    def _refuse(self, received_ns: int, rule: Rule, value: object, channel: str) -> None:
        self._writer.refuse(rule, value)
        if channel not in NOT_OF_BOOK and rule is not Rule.VENUE_ERROR:
            self.on_break(received_ns)  # it was, or may have been, about the book

    def _is_own(self, symbol: str) -> bool:
        """False for a pair that shares the connection. Raises BadFrame for any other."""
        if symbol in self._others:
            self.findings.passed[symbol] += 1
        elif symbol != self._name:
            raise BadFrame(Rule.FOREIGN, symbol)
        return symbol == self._name

    def _on_book(self, received_ns: int, frame: bytes) -> None:
        read = _BOOKS.decode(frame)
        if self._is_own(read.data[0].symbol):
            self._count += 1
            self._use(received_ns, read.data[0], is_snapshot=read.type == "snapshot")

    def _use(self, received_ns: int, book: _Book, *, is_snapshot: bool) -> None:
        ts_event = utc_ns(book.timestamp)
        if is_snapshot:
            self._bids, self._asks = _Side(-1), _Side(1)
            if max(len(book.bids), len(book.asks)) > self._depth:
                raise BadFrame(Rule.TOO_LARGE, f"{len(book.bids)} bids and {len(book.asks)} asks, not {self._depth}")
        elif not self._sequence.has_book:
            raise BadFrame(Rule.NO_SNAPSHOT, f"an update of {len(book.bids)} bids and {len(book.asks)} asks")
        bids, asks = (self._put(side, levels) for side, levels in ((self._bids, book.bids), (self._asks, book.asks)))
        prices, lots = [*bids, *asks], [*bids.values(), *asks.values()]
        if is_snapshot and len(prices) < len(book.bids) + len(book.asks):
            raise BadFrame(Rule.DUPLICATE_LEVEL, "a price twice in a snapshot")
        check_sides(list(bids), list(asks), lots)
        check_spread(self._bids.best, self._asks.best)
        checksum = crc32(self._asks.first() + self._bids.first())
        if checksum != book.checksum:
            raise BadFrame(Rule.CHECKSUM, f"{checksum}, the venue's is {book.checksum}")
        flags = SNAPSHOT if is_snapshot else 0
        rows = level_rows(self._writer.index, prices, lots, len(bids), self._count, flags)
        update = Update(self._writer.row, received_ns, ts_event, self._sequence.at, self._count, rows)
        if is_snapshot:
            self._sequence.begin(update)
        else:
            self._sequence.follow(update)

    def _put(self, side: _Side, levels: list[_Level]) -> dict[int, int]:
        """``levels`` in their order on ``side``; what that makes of each price, in lots. Raises BadFrame."""
        made = dict[int, int]()
        for level in levels:
            price, qty = _text(level.price), _text(level.qty)
            ticks, lots, units = self._ticks[price], self._lots[qty], self._qty_units[qty]
            side.put(ticks, b"%d%d" % (self._price_units[price], units) if units else b"")
            made[ticks] = lots
        return made | dict.fromkeys(side.cut(self._depth), 0)

    def _on_trades(self, received_ns: int, frame: bytes) -> None:
        read = _TRADES.decode(frame)
        own = [trade for trade in read.data if self._is_own(trade.symbol)]
        if own and read.type == "update":
            self._trades.write(received_ns, [self._trade(trade) for trade in own])
        else:
            self.findings.passed["trade"] += 1

    def _trade(self, trade: _Trade) -> Trade:
        side = Side.BUY if trade.side == "buy" else Side.SELL  # of the taker
        price, qty = self._ticks[_text(trade.price)], self._lots[_text(trade.qty)]
        return Trade(trade.trade_id, utc_ns(trade.timestamp), int(side), price, qty)

    def _on_instruments(self, received_ns: int, frame: bytes) -> None:
        for pair in _INSTRUMENTS.decode(frame).data.pairs:
            if pair.symbol == self._name:
                if (pair.price_digits, pair.qty_digits) != self._digits:
                    theirs = f"{pair.price_digits} and {pair.qty_digits}"
                    raise BadFrame(Rule.DISAGREES, f"precisions of {theirs} digits, not {self._digits}")
                self._pair = _status(pair.status)
        self._say_status(received_ns, "instrument")

    def _on_status(self, received_ns: int, frame: bytes) -> None:
        self._system = _status(_STATUS.decode(frame).data[-1].system)
        self._say_status(received_ns, "status")

    def _say_status(self, received_ns: int, channel: str) -> None:
        """What the whole venue does not let do, no pair does."""
        status = self._pair if self._system is MarketStatus.TRADING else self._system
        if status is self._status:
            self.findings.passed[channel] += 1
            return
        known = self._writer.known(received_ns)
        self._writer.write(
            known, known, head(int(Kind.STATUS), 0, self._writer.index, 0, LAST), (int(status), 0, 0, 0, 0)
        )
        self._status = status


def _status(name: str) -> MarketStatus:
    if name not in STATUSES:
        raise BadFrame(Rule.GARBAGE, name)
    return STATUSES[name]


def _units(digits: int, what: str, step: str) -> Whole:
    """Text as units of the last digit the venue writes; ``step``, tick or lot, must be a whole number of them."""
    if not 0 <= digits <= DIGITS_MAX:
        raise BadConfig(f"a {what} precision of {digits} digits; use 0 to {DIGITS_MAX}")
    if (Fraction(step) * 10**digits).denominator != 1:
        raise BadConfig(f"a {what} step of {step} is finer than the venue's precision of {digits} digits")
    return Whole(f"1e-{digits}", UNITS_MAX)


def _text(number: msgspec.Raw) -> str:
    """A JSON number as plain decimal text, exactly: an exponent moves the point. Raises BadFrame."""
    text = bytes(number).decode()
    mantissa, letter, exponent = text.replace("E", "e").partition("e")
    if not letter:
        return text
    power = exponent.removeprefix("-").removeprefix("+")
    if not (power.isascii() and power.isdigit() and len(power) <= 2 and int(power) <= EXPONENT_MAX):
        raise BadFrame(Rule.NOT_FINITE, text)
    whole, _, part = mantissa.partition(".")
    shift = -int(power) if exponent.startswith("-") else int(power)
    digits, point = whole + part + "0" * max(0, shift - len(part)), len(whole) + shift
    digits, point = "0" * max(0, 1 - point) + digits, max(1, point)
    return f"{digits[:point]}.{digits[point:]}".removesuffix(".")
