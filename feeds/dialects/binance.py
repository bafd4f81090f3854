"""Binance's market streams, spot and USD-margined futures: raw frames in, LEVEL, TRADE, CLEAR and TOP records out.

One ``Normaliser`` follows one instrument. A frame is a combined stream's ``{"stream": ..., "data": ...}`` or a bare
event that names itself; a snapshot is the REST answer. Depth updates go through ``feeds.dialects.sequence``: spot
updates begin at ``U`` and so follow ``U`` - 1, futures updates name the one before as ``pu``; both end at ``u``. With
that the venue's own rules for a local book hold: what ends at or before the snapshot is dropped, the first one used
begins at or before it, and each follows the last. A depth frame that cannot be used leaves the book invalid as well.

Frames as the venue writes them today, each going on where the last one ended, are taken by compiled code
(``feeds.dialects.binance_kernel``), of the same records. All others come here, where alone they are judged.

Records are in the order they became known: ``ts_known`` never decreases, and is never before ``ts_event``.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import msgspec
import numpy as np

from core.instruments import Instrument
from core.records import Kind, Side
from feeds.dialects import TIME_MAX_NS, UNREADABLE, BadFrame, Count, Rule, head, lot_grid, price_grid
from feeds.dialects.binance_kernel import MICROSECONDS_FROM, MS_NS, US_NS, Plain
from feeds.dialects.frames import Follower, Trade
from feeds.dialects.levels import check_order, check_sides, check_spread, level_rows
from feeds.dialects.sequence import LAST, SNAPSHOT, Update

BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
TOP: Final = int(Kind.TOP)
KNOWN_ALREADY: Final = (Rule.FOREIGN, Rule.STALE, Rule.DUPLICATE, Rule.BACKWARD)  # refused, and nothing is missing

Pairs = list[tuple[str, str]]


class Market(StrEnum):
    """Which of the venue's markets: their updates count differently."""

    SPOT = "spot"
    FUTURES = "futures"


class _Frame(msgspec.Struct, gc=False):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw()
    event: str = msgspec.field(name="e", default="")


class _Depth(msgspec.Struct, gc=False):
    symbol: str = msgspec.field(name="s")
    event_time: Count = msgspec.field(name="E")
    first: Count = msgspec.field(name="U")
    last: Count = msgspec.field(name="u")
    bids: Pairs = msgspec.field(name="b")
    asks: Pairs = msgspec.field(name="a")
    before: Count = msgspec.field(name="pu", default=-1)
    time: Count = msgspec.field(name="T", default=0)


class TradeRow(msgspec.Struct, gc=False):
    """A trade as the venue tells it."""

    symbol: str = msgspec.field(name="s")
    time: Count = msgspec.field(name="T")
    trade_id: Count = msgspec.field(name="t")
    price: str = msgspec.field(name="p")
    qty: str = msgspec.field(name="q")
    buyer_is_maker: bool = msgspec.field(name="m")
    what: str = msgspec.field(name="X", default="MARKET")


class TopRow(msgspec.Struct, gc=False):
    """The best prices as the venue tells them."""

    symbol: str = msgspec.field(name="s")
    update: Count = msgspec.field(name="u")
    bid: str = msgspec.field(name="b")
    bid_qty: str = msgspec.field(name="B")
    ask: str = msgspec.field(name="a")
    ask_qty: str = msgspec.field(name="A")
    time: Count = msgspec.field(name="T", default=0)


class _Snapshot(msgspec.Struct, gc=False):
    update: Count = msgspec.field(name="lastUpdateId")
    bids: Pairs
    asks: Pairs
    time: Count = msgspec.field(name="T", default=0)


_FRAME: Final = msgspec.json.Decoder(_Frame)
_DEPTH: Final = msgspec.json.Decoder(_Depth)
_TRADE: Final = msgspec.json.Decoder(TradeRow)
_TOP: Final = msgspec.json.Decoder(TopRow)
_SNAPSHOT: Final = msgspec.json.Decoder(_Snapshot)


class Normaliser(Follower):
    """One instrument's frames as records, in the order they became known.

    ``symbol`` is the venue's name of the instrument, else made from the instrument's (BTC/USDT:USDT is BTCUSDT there).
    Without ``tops``, bookTicker frames are passed over. The rest is every ``Follower``'s.
    """

    def __init__(
        self,
        instrument: Instrument,
        market: Market,
        *,
        symbol: str = "",
        index: int = 0,
        clock_offset_ns: int = 0,
        tops: bool = False,
    ):
        super().__init__(index, clock_offset_ns)
        self._name = symbol or instrument.symbol.partition(":")[0].replace("/", "")
        self._ticks, self._lots = price_grid(instrument.tick), lot_grid(instrument.lot)
        self._market = market
        parts = self._writer, self._sequence, self._trades
        self._plain = Plain(instrument, self._name, *parts, is_spot=market is Market.SPOT, has_tops=tops)
        self._handlers: dict[str, Callable[[int, Any], None]] = {
            "depth": self._on_depth,
            "depthUpdate": self._on_depth,
            "trade": self._on_trade,
            "bookTicker": self._on_top if tops else self._pass_over,
        }

    def on_frame(self, received_ns: int, frame: bytes) -> None:
        """One WebSocket message. Answers to requests are passed over."""
        if not self._plain.frame(received_ns, frame):
            self._judge(received_ns, frame)

    def _judge(self, received_ns: int, frame: bytes) -> None:
        """One message, plain or not."""
        self._writer.next_frame()
        kind = ""
        try:
            outer = _FRAME.decode(frame)
            kind = outer.stream.split("@", 2)[1] if "@" in outer.stream else outer.event
            handler = self._handlers.get(kind)
            if handler is not None:
                handler(received_ns, outer.data if outer.stream else frame)
            elif _is_answer(frame):
                self.findings.passed["answer"] += 1
            else:
                raise BadFrame(Rule.FOREIGN, outer.stream or frame)
        except BadFrame as bad:
            self._refuse(received_ns, bad.rule, bad.value, kind)
        except UNREADABLE as error:
            self._refuse(received_ns, Rule.GARBAGE, error, kind)
        if self._lots.rounded:
            self._writer.note_rounded(self._lots)

    def on_snapshot(self, received_ns: int, body: bytes) -> None:
        """The REST depth answer: the book begins anew at its id, and updates that waited for it are used."""
        self._writer.next_frame()
        try:
            read = _SNAPSHOT.decode(body)
            levels = self._levels(read.bids, read.asks, read.update, SNAPSHOT)
            bids, asks = np.split(levels[:, 3], [len(read.bids)])
            check_order(bids.tolist(), asks.tolist())
            self._sequence.begin(Update(self._writer.row, received_ns, event_ns(read.time), 0, read.update, levels))
        except BadFrame as bad:
            self._writer.refuse(bad.rule, bad.value)
        except UNREADABLE as error:
            self._writer.refuse(Rule.GARBAGE, error)
        self._writer.note_rounded(self._lots)

    def on_recorded(self, received_ns: int, message: bytes) -> None:
        """One message of a recording: one without ``stream`` that has a ``lastUpdateId`` is the REST snapshot.

        No compiled code is asked: ``on_lines`` has done that, and it is what the compiled code is held against.
        """
        if message.startswith(b'{"lastUpdateId"'):
            self.on_snapshot(received_ns, message)
        else:
            self._judge(received_ns, message)

    def on_lines(self, lines: list[bytes]) -> None:
        """Lines of a recording: runs of plain ones in one call each."""
        text, ends = b"".join(lines), np.cumsum([len(line) for line in lines], dtype=np.int64)
        repeated = [
            k for k, (before, line) in enumerate(zip([self._before, *lines], lines, strict=False)) if before == line
        ]
        line = 0
        for stop in (*repeated, len(lines)):
            while (line := self._plain.lines(text, ends[:stop], line)) < stop:
                self._on_line_of(lines, line)
                line += 1
            if stop < len(lines):
                self._on_line_of(lines, stop)
                line = stop + 1
        self._before = lines[-1]

    def _on_line_of(self, lines: list[bytes], line: int) -> None:
        if line > 0:
            self._before = lines[line - 1]
        self.on_line(lines[line])

    def _refuse(self, received_ns: int, rule: Rule, value: object, kind: str) -> None:
        self._writer.refuse(rule, value)
        if kind.startswith("depth") and rule not in KNOWN_ALREADY:
            self.on_break(received_ns)  # an update is missing now

    def _levels(self, bids: Pairs, asks: Pairs, update: int, flags: int) -> np.ndarray:
        """Both sides as LEVEL records without times, (n, 8) int64; the last completes the book. Raises BadFrame."""
        ticks, lots_of = self._ticks, self._lots
        bid_prices, ask_prices = [ticks[price] for price, _ in bids], [ticks[price] for price, _ in asks]
        lots = [lots_of[qty] for _, qty in bids] + [lots_of[qty] for _, qty in asks]
        check_sides(bid_prices, ask_prices, lots)
        return level_rows(self._writer.index, bid_prices + ask_prices, lots, len(bids), update, flags)

    def _pass_over(self, received_ns: int, data: Any) -> None:
        """A stream that nobody asked for."""
        self.findings.passed["bookTicker"] += 1

    def _own(self, symbol: str) -> None:
        if symbol != self._name:
            raise BadFrame(Rule.FOREIGN, symbol)

    def _on_depth(self, received_ns: int, data: Any) -> None:
        depth = _DEPTH.decode(data)
        self._own(depth.symbol)
        before = depth.first - 1 if self._market is Market.SPOT else depth.before
        if not 0 <= before < depth.first <= depth.last:
            raise BadFrame(Rule.GARBAGE, f"U {depth.first}, u {depth.last}, pu {depth.before}")
        ts_event = event_ns(depth.time or depth.event_time)
        levels = self._levels(depth.bids, depth.asks, depth.last, 0)
        self._sequence.follow(Update(self._writer.row, received_ns, ts_event, before, depth.last, levels))

    def _on_trade(self, received_ns: int, data: Any) -> None:
        self._use_trade(received_ns, _TRADE.decode(data))

    def _use_trade(self, received_ns: int, trade: TradeRow) -> None:
        self._own(trade.symbol)
        if trade.what != "MARKET":
            raise BadFrame(Rule.NOT_A_TRADE, trade.what)
        price, qty = self._ticks[trade.price], self._lots[trade.qty]
        side = SELL if trade.buyer_is_maker else BUY
        self._trades.write(received_ns, [Trade(trade.trade_id, event_ns(trade.time), side, price, qty)])

    def _on_top(self, received_ns: int, data: Any) -> None:
        self._use_top(received_ns, _TOP.decode(data))

    def _use_top(self, received_ns: int, top: TopRow) -> None:
        self._own(top.symbol)
        bid, ask = self._ticks[top.bid], self._ticks[top.ask]
        bid_qty, ask_qty = self._lots[top.bid_qty], self._lots[top.ask_qty]
        if (bid == 0 and bid_qty > 0) or (ask == 0 and ask_qty > 0):
            raise BadFrame(Rule.NOT_POSITIVE, f"{top.bid_qty} at {top.bid}, {top.ask_qty} at {top.ask}")
        check_spread(bid, ask)
        if top.update <= self._plain.top_id:
            raise BadFrame(Rule.DUPLICATE if top.update == self._plain.top_id else Rule.BACKWARD, top.update)
        event = event_ns(top.time)
        known = self._writer.known(received_ns, event)
        self._plain.top_id = top.update
        kind = head(TOP, 0, self._writer.index, 0, LAST)
        self._writer.write(event or known, known, kind, (bid, bid_qty, ask, ask_qty, top.update))


def _is_answer(frame: bytes) -> bool:
    """The venue's answer to a request, as to a subscription."""
    answer: Any = msgspec.json.decode(frame)
    return isinstance(answer, dict) and "result" in answer and "id" in answer


def event_ns(stamp: int) -> int:
    """The venue's ms (or us) as ns; 0 stays 0: unknown. Raises BadFrame."""
    ns = stamp * US_NS if stamp >= MICROSECONDS_FROM else stamp * MS_NS
    if not 0 <= ns <= TIME_MAX_NS:
        raise BadFrame(Rule.BAD_TIME, stamp)
    return ns
