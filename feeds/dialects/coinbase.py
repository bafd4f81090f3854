"""Coinbase's Advanced Trade market channels: raw frames in, LEVEL, TRADE and CLEAR records out.

One ``Normaliser`` follows one instrument. ``sequence_num`` counts every message of a connection from 0 by one, whatever
its channel and product: so all frames of a connection are handed over, in order. A hole means that something was
missed, perhaps of the book: it is invalid until the next snapshot of channel ``level2``, which a subscription brings.
The same holds where the count goes back, as on another connection, and after a frame that may have been about the book
and could not be used. The last message once more changes nothing.

The venue names the resting side of a trade; a record names the initiator's. Trades of before the subscription
(``snapshot``) are passed over. Records are in the order they became known: ``ts_known`` never decreases, and is never
before ``ts_event``.
"""

from collections.abc import Callable, Collection
from typing import Annotated, Final, Literal

import msgspec

from core.instruments import Instrument
from core.records import Side
from feeds.dialects import UNREADABLE, BadFrame, Count, Rule, lot_grid, price_grid, utc_ns
from feeds.dialects.frames import Follower, Trade
from feeds.dialects.levels import check_sides, level_rows
from feeds.dialects.sequence import SNAPSHOT, Update

PASSED: Final = ("heartbeats", "subscriptions", "ticker", "ticker_batch", "candles", "status")
MAKER_BUYS: Final = {"BUY": int(Side.SELL), "SELL": int(Side.BUY)}  # the resting order's side: the initiator's


class _Frame(msgspec.Struct, gc=False):
    channel: str = ""
    number: Count | None = msgspec.field(name="sequence_num", default=None)
    timestamp: str = ""
    events: msgspec.Raw = msgspec.Raw(b"[]")
    type: str = ""
    message: str = ""


class _Level(msgspec.Struct, gc=False):
    side: Literal["bid", "offer"]
    price: str = msgspec.field(name="price_level")
    qty: str = msgspec.field(name="new_quantity")


class _Book(msgspec.Struct, gc=False):
    type: Literal["snapshot", "update"]
    product: str = msgspec.field(name="product_id")
    levels: list[_Level] = msgspec.field(name="updates")


class _Trade(msgspec.Struct, gc=False):
    trade_id: str
    product: str = msgspec.field(name="product_id")
    price: str
    size: str
    side: Literal["BUY", "SELL"]
    time: str


class _Trades(msgspec.Struct, gc=False):
    type: Literal["snapshot", "update"]
    trades: list[_Trade]


_FRAME: Final = msgspec.json.Decoder(_Frame)
_BOOKS: Final = msgspec.json.Decoder(Annotated[list[_Book], msgspec.Meta(min_length=1)])
_TRADES: Final = msgspec.json.Decoder(Annotated[list[_Trades], msgspec.Meta(min_length=1)])


class Normaliser(Follower):
    """One instrument's frames as records, in the order they became known.

    ``symbol`` is the venue's name of the product, else made from the instrument's (BTC/USD is BTC-USD there). Products
    that share the connection are ``others`` and passed over; any further one may be this one damaged.
    """

    def __init__(
        self,
        instrument: Instrument,
        *,
        symbol: str = "",
        others: Collection[str] = (),
        index: int = 0,
        clock_offset_ns: int = 0,
    ):
        super().__init__(index, clock_offset_ns)
        self._name, self._others = symbol or instrument.symbol.replace("/", "-"), frozenset(others)
        self._ticks, self._lots = price_grid(instrument.tick), lot_grid(instrument.lot)
        self._number = -1  # of the connection's last message; -1: none yet
        self._handlers: dict[str, Callable[[int, _Frame], None]] = {
            "l2_data": self._on_books,
            "market_trades": self._on_trades,
        }

    def on_frame(self, received_ns: int, frame: bytes) -> None:
        """One WebSocket message."""
        self._writer.next_frame()
        channel = ""
        try:
            outer = _FRAME.decode(frame)
            if outer.type == "error" and not outer.channel:
                raise BadFrame(Rule.VENUE_ERROR, outer.message)
            channel = outer.channel
            self._continue(received_ns, outer.number)
            handler = self._handlers.get(channel)
            if handler is not None:
                handler(received_ns, outer)
            elif channel in PASSED:
                self.findings.passed[channel] += 1
            else:
                raise BadFrame(Rule.FOREIGN, channel or frame)
        except BadFrame as bad:
            self._refuse(received_ns, bad.rule, bad.value, channel)
        except UNREADABLE as error:
            self._refuse(received_ns, Rule.GARBAGE, error, channel)
        self._writer.note_rounded(self._lots)

    def on_break(self, received_ns: int) -> None:
        """The connection was lost: the next one counts from 0, and the book is invalid until its snapshot."""
        super().on_break(received_ns)
        self._number = -1

    def _refuse(self, received_ns: int, rule: Rule, value: object, channel: str) -> None:
        self._writer.refuse(rule, value)
        if channel not in ("market_trades", *PASSED) and rule not in (Rule.DUPLICATE, Rule.VENUE_ERROR):
            self._sequence.invalidate(self._writer.latest(received_ns))  # it was, or may have been, about the book

    def _continue(self, received_ns: int, number: int | None) -> None:
        """Take the connection's count to ``number``; if it is not the next one, there is no book. Raises BadFrame."""
        if number is None:
            raise BadFrame(Rule.GARBAGE, "no sequence_num")
        last, self._number = self._number, number
        if number == last:
            raise BadFrame(Rule.DUPLICATE, f"message {number}")
        if 0 <= last != number - 1:
            self.findings.add(
                self._writer.row, Rule.GAP if number > last else Rule.BACKWARD, f"message {number} after {last}"
            )
            self._sequence.invalidate(self._writer.latest(received_ns))

    def _is_own(self, product: str) -> bool:
        """False for a product that shares the connection. Raises BadFrame for any other."""
        if product in self._others:
            self.findings.passed[product] += 1
        elif product != self._name:
            raise BadFrame(Rule.FOREIGN, product)
        return product == self._name

    def _on_books(self, received_ns: int, outer: _Frame) -> None:
        own = [book for book in _BOOKS.decode(outer.events) if self._is_own(book.product)]
        types, levels = {book.type for book in own}, [level for book in own for level in book.levels]
        if len(types) > 1:
            raise BadFrame(Rule.GARBAGE, "a snapshot and an update of one book in one message")
        if own:
            self._use(received_ns, utc_ns(outer.timestamp), levels, is_snapshot="snapshot" in types)

    def _use(self, received_ns: int, ts_event: int, levels: list[_Level], *, is_snapshot: bool) -> None:
        if not is_snapshot and not self._sequence.has_book:
            raise BadFrame(Rule.NO_SNAPSHOT, f"an update of {len(levels)} levels")
        sides: dict[str, dict[int, int]] = {"bid": {}, "offer": {}}
        for level in levels:  # one price may change more than once in a message: the last counts
            sides[level.side][self._ticks[level.price]] = self._lots[level.qty]
        bids, asks = sides.values()
        prices, lots = [*bids, *asks], [*bids.values(), *asks.values()]
        if is_snapshot and len(prices) < len(levels):
            raise BadFrame(Rule.DUPLICATE_LEVEL, f"{len(levels) - len(prices)} prices twice in a snapshot")
        check_sides(list(bids), list(asks), lots)
        flags = SNAPSHOT if is_snapshot else 0
        rows = level_rows(self._writer.index, prices, lots, len(bids), self._number, flags)
        update = Update(self._writer.row, received_ns, ts_event, self._sequence.at, self._number, rows)
        if is_snapshot:
            self._sequence.begin(update)
        else:
            self._sequence.follow(update)

    def _on_trades(self, received_ns: int, outer: _Frame) -> None:
        events = _TRADES.decode(outer.events)
        said = [trade for event in events if event.type == "update" for trade in event.trades]
        own = [self._trade(trade) for trade in said if self._is_own(trade.product)]
        if own:
            self._trades.write(received_ns, own)
        else:
            self.findings.passed["market_trades"] += 1

    def _trade(self, trade: _Trade) -> Trade:
        price, qty = self._ticks[trade.price], self._lots[trade.size]
        if not (trade.trade_id.isascii() and trade.trade_id.isdigit() and len(trade.trade_id) <= 18):
            raise BadFrame(Rule.GARBAGE, f"trade_id {trade.trade_id}")
        return Trade(int(trade.trade_id), utc_ns(trade.time), MAKER_BUYS[trade.side], price, qty)
