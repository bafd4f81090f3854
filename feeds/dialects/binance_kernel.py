"""The plain case of a Binance connection, compiled: frames as the venue writes them that go on where the last ended.

``Plain`` takes such frames, many in one call or one by one, and writes their records; every other frame it leaves
untouched to ``feeds.dialects.binance``, which alone judges and reports. What it takes, that module would have made the
same records of: an update directly after the book's, a trade directly after the last, a newer top, at a time that needs
no word, or the same one as often before (``CLOCK_BEHIND``, once there are examples enough).
"""

from struct import Struct
from typing import Any, Final

import numpy as np
from numba.core import types

from core.instruments import Instrument
from core.jit import compiled, kernel, writable
from core.records import DAY_NS, Kind, Side
from feeds.dialects import AHEAD_MAX_NS, EXAMPLES_MAX, TIME_MAX_NS, Rule, Writer, head
from feeds.dialects.frames import Trades
from feeds.dialects.sequence import LAST, Sequence
from feeds.dialects.templates import GRIDS, LEVELS_MAX, NONE, PLACES, after, compile_templates, grids, match, whole

MS_NS: Final = 1_000_000
US_NS: Final = 1_000
MICROSECONDS_FROM: Final = 10**14  # as ms this is the year 5138, as us 1973
OFFSET_MAX_NS: Final = 10**15  # between receipt and event, so that no call's sum overflows
ROWS_MAX: Final = 4 * LEVELS_MAX  # records of one call

_LEVELS: Final = '"b":[<["$","%"]>],"a":[<["$","%"]>]'
# As the spot market and the futures market write them, by stream; equal places have equal meaning.
TEMPLATES: Final = {
    "bookTicker": (
        '{"u":#0,"s":"SYMBOL","b":"$2","B":"%3","a":"$4","A":"%5"}',
        '{"e":"bookTicker","u":#0,"s":"SYMBOL","b":"$2","B":"%3","a":"$4","A":"%5","T":#1,"E":#7}',
    ),
    "trade": (
        '{"e":"trade","E":#7,"s":"SYMBOL","t":#0,"p":"$2","q":"%3","T":#1,"m":?4,"M":?7}',
        '{"e":"trade","E":#7,"T":#1,"s":"SYMBOL","t":#0,"p":"$2","q":"%3","X":"MARKET","m":?4}',
    ),
    "depth": (
        '{"e":"depthUpdate","E":#7,"s":"SYMBOL","U":#2,"u":#0,' + _LEVELS + "}",
        '{"e":"depthUpdate","E":#7,"T":#1,"s":"SYMBOL","U":#2,"u":#0,"pu":#3,' + _LEVELS + "}",
    ),
}
STREAMS: Final = ("bookTicker", "trade", "depth", "depth@*")
_TOP, _TRADE = 0, 1  # places in STREAMS; all others are of the book
_ID, _TIME, _EVENT_TIME = 0, 1, 7  # places of values
_PRICE, _QTY, _MAKER = 2, 3, 4  # of a trade
_BID, _ASK = 2, 4  # of a top, each with its quantity behind it
_FIRST, _BEFORE = 2, 3  # of an update
_NEWLINE, _SPACE = b"\n "
_TOPS: Final = b"@bookTicker"
STREAM_BYTES: Final = 48  # of a frame, in which its stream is named

_OF_TERMS: Final = ("bid", "ask", "buy", "sell", "top", "is_spot", "has_tops", "offset_ns")  # first the records' heads
_OF_PLACE: Final = (
    "row", "known_ns", "received_ns", "trade_id", "update", "origin", "at_snapshot", "top_id", "behind",
    "day", "told", "offset_ns", "passed", "n",
)  # fmt: skip  # the last five of one call, which tells times of one UTC day only
TERMS: Final = np.dtype([("grids", GRIDS), *((name, "<i8") for name in _OF_TERMS)])
PLACE: Final = np.dtype([(name, "<i8") for name in _OF_PLACE])  # where the connection is; n: records of this call
_WORDS: Final = Struct(f"<{len(_OF_PLACE)}q")  # the same, six times as fast to write as through NumPy


class Plain:
    """Takes the plain frames of one instrument's connection; where that is, writer, sequence and trades say."""

    def __init__(
        self,
        instrument: Instrument,
        symbol: str,
        writer: Writer,
        sequence: Sequence,
        trades: Trades,
        *,
        is_spot: bool,
        has_tops: bool,
    ):
        self._writer, self._sequence, self._trades = writer, sequence, trades
        self.top_id, self._passes_tops = -1, not has_tops  # the former: of the last top used
        terms, place = np.zeros(1, TERMS), np.zeros(1, PLACE)
        self._rows = np.zeros((ROWS_MAX, 8), np.int64)
        templates = b""  # nothing is plain
        if symbol.isascii() and symbol.replace("_", "").isalnum() and abs(writer.offset_ns) <= TIME_MAX_NS:
            rest = is_spot, has_tops, writer.offset_ns
            terms[0] = (grids(instrument.tick, instrument.lot)[0], *_heads(writer.index), *rest)
            templates = compile_templates([_frame(stream, symbol, is_spot) for stream in STREAMS])
        self._place = place.view(np.uint8).data
        self._rest = place, terms, templates, np.zeros(PLACES, np.int64), self._rows
        self._one, self._many = (compiled(function, *signature) for function, signature in ENTRIES.items())

    def frame(self, received_ns: int, frame: bytes) -> bool:
        """Take one frame; False: it is not plain, and nothing has happened."""
        if not 0 < received_ns <= TIME_MAX_NS or (self._passes_tops and frame.find(_TOPS, 0, STREAM_BYTES) > 0):
            return False  # a top that nobody wants is passed over in less time than a call takes
        self._load()
        is_taken: bool = self._one(frame, received_ns, *self._rest)
        if is_taken:
            self._store()
        return is_taken

    def lines(self, text: bytes, ends: np.ndarray, line: int) -> int:
        """Take lines of a recording from ``line`` on; ``ends``: of all lines in ``text``. The first one not taken."""
        is_full = True
        while is_full:
            self._load()
            line = self._many(text, ends, line, *self._rest)
            is_full = self._store() > ROWS_MAX - LEVELS_MAX
        return line

    def _load(self) -> None:
        writer, sequence = self._writer, self._sequence
        writing = writer.row, writer.known_ns, writer.received_ns, self._trades.at
        book = sequence.at, sequence.origin, sequence.at_snapshot
        behind = writer.findings.counts[Rule.CLOCK_BEHIND]
        _WORDS.pack_into(self._place, 0, *writing, *book, self.top_id, behind, 0, 0, 0, 0, 0)

    def _store(self) -> int:
        """Go on from where the kernel came to; how many records it wrote."""
        writer, sequence = self._writer, self._sequence
        *writing, update, origin, at_snapshot, self.top_id, behind, day, told, offset_ns, passed, n = _WORDS.unpack(
            self._place
        )
        writer.row, writer.known_ns, writer.received_ns, self._trades.at = writing
        sequence.at, sequence.origin, sequence.at_snapshot = update, origin, bool(at_snapshot)
        if told:
            writer.tell_offset(day, told, offset_ns)
        if behind > EXAMPLES_MAX:
            writer.findings.counts[Rule.CLOCK_BEHIND] = behind
        if passed:
            writer.findings.passed["bookTicker"] += passed
        writer.write_rows(self._rows[:n])
        made: int = n
        return made


def _frame(stream: str, symbol: str, is_spot: bool) -> str:
    event = TEMPLATES[stream.partition("@")[0]][0 if is_spot else 1]
    return f'{{"stream":"*@{stream}","data":{event}}}'.replace("SYMBOL", symbol)


def _heads(index: int) -> tuple[int, ...]:
    """Of both sides' levels and trades, and of tops."""
    kinds = ((Kind.LEVEL, Side.BUY), (Kind.LEVEL, Side.SELL), (Kind.TRADE, Side.BUY), (Kind.TRADE, Side.SELL))
    sided = (head(int(kind), int(side), index, 0, LAST * (kind is Kind.TRADE)) for kind, side in kinds)
    return *sided, head(int(Kind.TOP), 0, index, 0, LAST)


def _take_one(
    frame: bytes,
    received_ns: int,
    place: np.ndarray,
    terms: np.ndarray,
    templates: bytes,
    values: np.ndarray,
    rows: np.ndarray,
) -> bool:
    """``Plain.frame``."""
    return _take(frame, 0, len(frame), received_ns, place[0], terms[0], templates, values, rows)


def _take_many(
    text: bytes,
    ends: np.ndarray,
    line: int,
    place: np.ndarray,
    terms: np.ndarray,
    templates: bytes,
    values: np.ndarray,
    rows: np.ndarray,
) -> int:
    """``Plain.lines``, as long as ``rows`` have room for any frame."""
    while line < len(ends) and place[0]["n"] <= ROWS_MAX - LEVELS_MAX:
        at, end = ends[line - 1] if line > 0 else 0, ends[line]
        if end > at and text[end - 1] == _NEWLINE:
            end -= 1
        received_ns, at = whole(text, at, end)
        if received_ns <= 0 or at >= end or text[at] != _SPACE:
            break
        if received_ns < place[0]["received_ns"]:
            break
        if not _take(text, at + 1, end, received_ns, place[0], terms[0], templates, values, rows):
            break
        place[0]["received_ns"] = received_ns
        line += 1
    return line


@kernel
def _take(
    text: bytes,
    at: int,
    end: int,
    received_ns: int,
    place: Any,
    terms: Any,
    templates: bytes,
    values: np.ndarray,
    rows: np.ndarray,
) -> bool:
    """Write the records of the frame text[at:end], if it is plain."""
    begin, stream = 0, 0
    while begin < len(templates) and (stream <= _TRADE or place["update"] >= 0):  # an update needs a book
        n_levels = match(text, at, end, templates, begin, terms["grids"], terms, values, rows, place["n"])
        if n_levels != NONE:
            return _use(stream, n_levels, received_ns, place, terms, values, rows)
        begin = after(templates, begin)
        stream += 1
    return False


@kernel
def _use(
    stream: int, n_levels: int, received_ns: int, place: Any, terms: Any, values: np.ndarray, rows: np.ndarray
) -> bool:
    """Write the records of a frame that was read, if it goes on from where the connection is."""
    if stream == _TOP and terms["has_tops"] == 0:
        place["passed"] += 1
        place["row"] += 1
        return True
    event_ns = time_ns(values[_TIME])
    if stream == _TOP:
        goes_on = values[_ID] > place["top_id"] and values[_BID] < values[_ASK]
    elif stream == _TRADE:
        goes_on = values[_QTY] > 0 and (place["trade_id"] < 0 or values[_ID] == place["trade_id"] + 1)
    else:
        before = values[_FIRST] - 1 if terms["is_spot"] else values[_BEFORE]
        goes_on = place["update"] == before and 0 <= before < values[_FIRST] <= values[_ID]
        event_ns = time_ns(values[_TIME] if values[_TIME] > 0 else values[_EVENT_TIME])
    if not goes_on or event_ns == NONE or not _becomes_known(received_ns, event_ns, place, terms):
        return False
    first, n = place["n"], n_levels if stream > _TRADE else 1
    for row in range(first, first + n):
        rows[row, 0] = event_ns if event_ns > 0 else place["known_ns"]
        rows[row, 1] = place["known_ns"]
    if stream == _TOP:
        place["top_id"] = values[_ID]
        rows[first, 2], rows[first, 7] = terms["top"], values[_ID]
        for k in range(4):
            rows[first, 3 + k] = values[_BID + k]
    elif stream == _TRADE:
        place["trade_id"] = values[_ID]
        rows[first, 2] = terms["sell"] if values[_MAKER] else terms["buy"]
        rows[first, 3], rows[first, 4], rows[first, 5] = values[_PRICE], values[_QTY], values[_ID]
        rows[first, 6] = rows[first, 7] = 0
    else:
        place["origin"], place["update"], place["at_snapshot"] = place["update"], values[_ID], 0
        for row in range(first, first + n):
            rows[row, 5], rows[row, 6], rows[row, 7] = values[_ID], 0, 0
        if n > 0:
            rows[first + n - 1, 2] |= LAST << 48
    place["n"] += n
    place["row"] += 1
    return True


@kernel
def _becomes_known(received_ns: int, event_ns: int, place: Any, terms: Any) -> bool:
    """``Writer.known``; False, and nothing has happened, for a time that it would report in words."""
    known_ns = received_ns + terms["offset_ns"]
    is_behind = known_ns < event_ns
    if not 0 < known_ns <= TIME_MAX_NS or event_ns > known_ns + AHEAD_MAX_NS:
        return False
    if is_behind and place["behind"] < EXAMPLES_MAX:
        return False
    if event_ns > 0:
        day = event_ns // DAY_NS
        if known_ns - event_ns > OFFSET_MAX_NS or (place["told"] > 0 and place["day"] != day):
            return False
        place["day"], place["told"] = day, place["told"] + 1
        place["offset_ns"] += known_ns - event_ns
    place["behind"] += is_behind
    place["known_ns"] = max(known_ns, event_ns, place["known_ns"])
    return True


@kernel
def time_ns(stamp: int) -> int:
    """The venue's ms (or us) as ns; 0 stays 0: unknown. NONE: it is no time of a market."""
    ns_each = US_NS if stamp >= MICROSECONDS_FROM else MS_NS
    return stamp * ns_each if 0 <= stamp <= TIME_MAX_NS // ns_each else NONE


_BYTES: Final = types.Bytes(types.uint8, 1, "C", readonly=True)
_INTS: Final = types.Array(types.int64, 1, "C")
_REST: Final = (writable(PLACE), writable(TERMS), _BYTES, _INTS, types.Array(types.int64, 2, "C"))
ENTRIES: Final = {_take_one: (_BYTES, types.int64, *_REST), _take_many: (_BYTES, _INTS, types.int64, *_REST)}
