"""Binance's bulk files (data.binance.vision): rows of CSV in, the records of ``feeds.dialects.binance`` out.

A ``Table`` reads the rows of one kind of file of one instrument. Trades and quotes are judged as those of the streams
are. Depth is the futures' T_DEPTH: rows of one message lie together, ``snap`` begins a book, ``set`` continues it.

The files have one clock: what happened is known a latency later that the caller states. Their times are ms or us, of
which each file has one. A row with the other one, or one that goes back in time, is left out.
"""

from enum import StrEnum
from typing import Final

from core.instruments import Instrument
from feeds.dialects import BadFrame, Rule
from feeds.dialects.binance import Market, Normaliser, Pairs, TopRow, TradeRow, event_ns
from feeds.dialects.sequence import SNAPSHOT, Update

UNITS: Final = {"ms": (10**11, 10**14, 1_000_000), "us": (10**14, 10**17, 1_000)}  # least, end, ns: from 1973 to 5138
_DIGITS_MAX: Final = 19
_TRUTH: Final = {"true": True, "false": False}
_SET: Final = "set"


class Kind(StrEnum):
    """What a file tells, as its name says it."""

    AGG_TRADES = "aggTrades"
    TRADES = "trades"
    BOOK_TICKER = "bookTicker"
    DEPTH = "depth"


HEADERS: Final = {  # spot's trades add is_best_match
    Kind.AGG_TRADES: "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
    Kind.TRADES: "id,price,qty,quote_qty,time,is_buyer_maker",
    Kind.BOOK_TICKER: "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
    Kind.DEPTH: "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu",
}
BEST_MATCH: Final = ",is_best_match"
CLOCK: Final = {kind: HEADERS[kind].split(",").index(name) for kind, name in (
    (Kind.AGG_TRADES, "transact_time"), (Kind.TRADES, "time"), (Kind.BOOK_TICKER, "event_time"),
    (Kind.DEPTH, "timestamp"),
)}  # fmt: skip  # the column whose time orders the rows


def unit_of(stamp: int) -> str:
    """The unit of a time since the epoch, by its size: a name of UNITS, or "" for neither."""
    return next((unit for unit, (least, end, _) in UNITS.items() if least <= stamp < end), "")


def whole(text: str) -> int:
    """A count or an id. Raises BadFrame for anything but digits."""
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX):
        raise BadFrame(Rule.GARBAGE, text)
    return int(text)


class Table(Normaliser):
    """Rows of one kind as records. Call ``on_row`` for each, and ``end`` after the last of all."""

    def __init__(
        self, kind: Kind, instrument: Instrument, market: Market, *, symbol: str, latency_ns: int, index: int = 0
    ):
        super().__init__(instrument, market, symbol=symbol, index=index, tops=True)
        self._kind, self._latency_ns = kind, latency_ns
        self._columns = HEADERS[kind].count(",") + 1
        self._best = kind in (Kind.AGG_TRADES, Kind.TRADES)
        self._file, self.unit, self._latest = -1, "", 0
        self._message: list[tuple[int, list[str]]] = []  # rows of depth that belong together
        self._message_key: list[str] = []
        self._told: set[tuple[str, ...]] = set()  # side, price and quantity of its rows
        self._is_spoilt = self._spoils_next = False

    def on_row(self, file: int, row: int, line: bytes) -> None:
        """One line of the ``file``-th file; findings name ``row``."""
        self._writer.at(row)
        try:
            cells = self._cells(line)
            stamp = self._stamp(file, cells)
            if self._kind is Kind.DEPTH:
                self._on_depth_row(row, cells)
            elif self._kind is Kind.BOOK_TICKER:
                self._use_top(self._received(stamp), self._top_row(cells))
            else:
                self._use_trade(self._received(stamp), self._trade_row(cells, stamp))
        except BadFrame as bad:
            self._writer.refuse(bad.rule, bad.value)
            self._is_spoilt |= bad.rule is not Rule.FOREIGN
            self._spoils_next |= bad.rule is Rule.GARBAGE  # whose message it is of is unknown
        self._writer.note_rounded(self._lots)

    def end(self) -> None:
        """No row follows."""
        if self._message:
            self._use_message()
        self.on_end()

    def _cells(self, line: bytes) -> list[str]:
        try:
            cells = line.decode("ascii").split(",")
        except UnicodeDecodeError:
            raise BadFrame(Rule.GARBAGE, line) from None
        if len(cells) != self._columns and not (self._best and len(cells) == self._columns + 1):
            raise BadFrame(Rule.GARBAGE, f"{len(cells)} columns, {self._columns} expected: {line.decode('ascii')}")
        if len(cells) > self._columns and cells[-1].lower() not in _TRUTH:
            raise BadFrame(Rule.GARBAGE, f"is_best_match is {cells[-1]!r}")
        return cells

    def _stamp(self, file: int, cells: list[str]) -> int:
        """The row's time as the file gives it. Raises BadFrame for one in another unit, or before the last."""
        stamp = whole(cells[CLOCK[self._kind]])
        unit = unit_of(stamp)
        if not unit:
            raise BadFrame(Rule.BAD_TIME, f"{stamp} is neither ms nor us since 1970")
        if file != self._file:
            if self.unit and unit != self.unit:
                self._writer.findings.add(self._writer.row, Rule.TIME_UNIT, f"times in {unit}, before in {self.unit}")
            self._file, self.unit = file, unit
        elif unit != self.unit:
            raise BadFrame(Rule.BAD_TIME, f"{stamp} is in {unit}, the file began in {self.unit}")
        if (ns := event_ns(stamp)) < self._latest:
            raise BadFrame(Rule.BACKWARD, f"{stamp}, {self._latest - ns} ns before the latest")
        self._latest = ns
        return stamp

    def _received(self, stamp: int) -> int:
        return event_ns(stamp) + self._latency_ns

    def _trade_row(self, cells: list[str], stamp: int) -> TradeRow:
        said = cells[self._columns - 1].lower()
        if said not in _TRUTH:
            raise BadFrame(Rule.GARBAGE, f"is_buyer_maker is {said!r}")
        return TradeRow(self._name, stamp, whole(cells[0]), cells[1], cells[2], _TRUTH[said])

    def _top_row(self, cells: list[str]) -> TopRow:
        time = whole(cells[5])
        if unit_of(time) != self.unit:
            raise BadFrame(Rule.BAD_TIME, f"transaction_time {time} is not in {self.unit} as event_time is")
        return TopRow(self._name, whole(cells[0]), cells[1], cells[2], cells[3], cells[4], time)

    def _on_depth_row(self, row: int, cells: list[str]) -> None:
        """Keep the row until its message is whole; one that cannot be used spoils the message."""
        if (key := cells[1:4] + cells[5:6] + cells[8:]) != self._message_key:
            if self._message:
                self._use_message()
            self._message_key, self._is_spoilt = key, self._spoils_next
            self._told.clear()
            self._writer.at(row)
        self._spoils_next = False
        self._own(cells[0].upper())
        if cells[4] not in ("b", "a") or cells[5] not in (_SET, "snap"):
            raise BadFrame(Rule.GARBAGE, f"side {cells[4]!r}, update_type {cells[5]!r}")
        if self._ticks[cells[6]] == 0:
            raise BadFrame(Rule.NOT_POSITIVE, "a level at a price of 0")
        _ = self._lots[cells[7]]  # raises
        if (told := (cells[4], cells[6], cells[7])) in self._told:
            self._writer.findings.add(row, Rule.DUPLICATE, ",".join(told))  # says nothing new: the message is used
            return
        self._told.add(told)
        self._message.append((row, cells))

    def _use_message(self) -> None:
        """The rows that lie together as one update of the book, or as a book."""
        rows, self._message = self._message, []
        row, cells = rows[0]
        self._writer.at(row)
        received_ns, is_update = self._received(int(cells[1])), cells[5] == _SET
        try:
            if self._is_spoilt:
                raise BadFrame(Rule.GARBAGE, "rows of this message cannot be used, so none is")
            self._follow(row, cells, rows, received_ns, is_update)
        except BadFrame as bad:
            self._refuse(received_ns, bad.rule, bad.value, "depth" if is_update else "")

    def _follow(
        self, row: int, cells: list[str], rows: list[tuple[int, list[str]]], received_ns: int, is_update: bool
    ) -> None:
        first, last = whole(cells[2]), whole(cells[3])
        before = first - 1 if cells[8] == "-1" else whole(cells[8])
        if not before < first <= last:
            raise BadFrame(Rule.GARBAGE, f"first {first}, last {last}, pu {before}")
        bids, asks = (_side(rows, side) for side in "ba")
        levels = self._levels(bids, asks, last, 0 if is_update else SNAPSHOT)
        update = Update(row, received_ns, event_ns(int(cells[1])), before, last, levels)
        if is_update:
            self._sequence.follow(update)
        else:
            self._sequence.begin(update)


def _side(rows: list[tuple[int, list[str]]], side: str) -> Pairs:
    return [(cells[6], cells[7]) for _, cells in rows if cells[4] == side]


def is_header(kind: Kind, line: bytes) -> bool:
    """Whether a first line is no row but names columns: it has no digits where a row has its time."""
    cells = line.split(b",")
    return not (len(cells) > CLOCK[kind] and cells[CLOCK[kind]].isdigit())


def knows_header(kind: Kind, line: bytes) -> bool:
    """Whether a first line names the columns that ``kind`` has, in their order."""
    return line.decode("ascii", "replace").lower() in (HEADERS[kind], HEADERS[kind] + BEST_MATCH)
