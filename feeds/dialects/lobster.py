"""LOBSTER's order-book files: a message file and the book after each message, as LEVEL, TRADE, CLEAR, STATUS records.

Line k of the orderbook file is the book's first levels after line k of the message file: ask price, ask size, bid
price, bid size, level by level; prices in 1e-4 of the currency, sizes in shares, unoccupied places +-9999999999 and 0.
Messages: seconds after midnight, type, order id, size, price, direction of the resting order. Types: 1 new, 2 partly
cancelled, 3 deleted, 4 executed, 5 a hidden order executed, 6 auction trade, 7 trading status.

The records make a book that on the places of the file is the file's. Beyond its last place the file says nothing, and
so the book keeps what it showed before, until it can see again: an order that waits there does not lose those in front
of it. Each message is also held against the two rows around it: on the levels both show it must be the whole
difference, otherwise it is a finding (``DISAGREES``; the row is used). A pair of lines of which either cannot be used
is left out whole, and the next good row puts the book right.

A hidden order may execute between two ticks: such a trade is left out (``OFF_GRID``), its row is used.

The files have one clock: ``ts_known`` is the event's time plus a latency that the caller states.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice
from typing import Any, Final

import numpy as np

from core import book as books
from core.errors import BadConfig, BadInput
from core.instruments import Instrument
from core.jit import entry, kernel
from core.layout import PRICE_TICKS_MAX
from core.records import RECORD, Kind, MarketFlag, MarketStatus, Side
from feeds.dialects import LOTS_MAX, Findings, Rule

UNITS: Final = 10_000  # of a price in the files
UNOCCUPIED: Final = 9_999_999_999
COLUMNS: Final = 6
DAY_S: Final = 86_400
NEVER: Final = 2**62  # worse than any price
CHUNK_RECORDS: Final = 2**17  # most records that are made at a time
NEW, CANCELLED, DELETED, EXECUTED, HIDDEN, AUCTION, HALT = range(1, 8)

LEVEL: Final = int(Kind.LEVEL)
TRADE: Final = int(Kind.TRADE)
CLEAR: Final = int(Kind.CLEAR)
STATUS: Final = int(Kind.STATUS)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
LAST: Final = int(MarketFlag.LAST)
SNAPSHOT: Final = int(MarketFlag.SNAPSHOT)
HALTED: Final = int(MarketStatus.HALT)
QUOTING: Final = int(MarketStatus.AUCTION)
TRADING: Final = int(MarketStatus.TRADING)

MESSAGE: Final = np.dtype(
    [
        ("ns", "<i8"),  # after midnight
        ("type", "<i8"),
        ("id", "<i8"),
        ("lots", "<i8"),
        ("price", "<i8"),  # ticks; of a HALT as it is in the file: -1, 0 or 1
        ("side", "<i8"),  # of the resting order
    ]
)
LADDER: Final = np.dtype([("ask", "<i8"), ("ask_lots", "<i8"), ("bid", "<i8"), ("bid_lots", "<i8")])  # one place


def records(
    messages: Iterable[bytes],
    rows: Iterable[bytes],
    instrument: Instrument,
    findings: Findings,
    *,
    midnight_ns: int,
    latency_ns: int = 0,
    index: int = 0,
    hidden: bool = True,
) -> Iterator[np.ndarray]:
    """The lines of one day's two files as (n,) RECORD arrays in order; lines are read as they are needed.

    ``midnight_ns``: when the exchange's day began, UTC. ``hidden``: with the executions of hidden orders. ``findings``
    gets what could not be used, by line from 0. Raises BadConfig for a tick or lot that is no whole number of the
    files' units, and BadInput for an orderbook file whose first line is not one of whole levels.
    """
    terms = _whole(instrument.tick, UNITS), _whole(instrument.lot, 1)
    times, book = np.array([midnight_ns, latency_ns]), books.new_books(1)
    message_lines, row_lines = iter(messages), iter(rows)
    head = list(islice(row_lines, 1))  # none in an empty file
    places, rest = divmod(head[0].count(b",") + 1 if head else 0, 4)
    if head and (rest or places == 0):
        raise BadInput(f"the first line of the orderbook file has {4 * places + rest} columns, not four for each level")
    row_lines = chain(head, row_lines)
    size, first = max(1, CHUNK_RECORDS // (4 * places + 3)), 0
    ladders, good = (
        np.zeros((1, max(places, 1)), LADDER),
        np.zeros(1, np.bool_),
    )  # the last row so far, and if it is good
    adjacent, clock_ns = False, 0
    out = np.zeros((4 * places + 3) * size, RECORD)
    while True:
        said, shown = list(islice(message_lines, size)), list(islice(row_lines, size))
        count = min(len(said), len(shown))
        if count:
            pairs = _Pairs(said, shown, count, first, findings)
            message, ladder = _checked(pairs, places, terms, clock_ns)
            ladders, good = np.concatenate([ladders, ladder]), np.concatenate([good, pairs.good])
            if not hidden:
                message["lots"][message["type"] == HIDDEN] = 0
            disagrees = np.zeros(count, np.bool_)
            made = _convert(message, ladders, good, adjacent, times, index, disagrees, book, out)
            pairs.note(Rule.DISAGREES, disagrees)
            yield out[:made].copy()
            last, adjacent = int(np.flatnonzero(good)[-1]) if good.any() else 0, bool(good[-1])
            clock_ns = max(clock_ns, int(message["ns"][pairs.good].max(initial=0)))
            ladders, good = ladders[last : last + 1], good[last : last + 1]
        first += count
        if len(said) != len(shown):
            findings.add(first, Rule.UNEQUAL_LENGTH, "only one of the two files has this line")
        if len(said) != len(shown) or count < size:
            return


def _whole(step: str, units: int) -> int:
    whole = Fraction(step) * units
    if whole.denominator != 1 or whole < 1:
        raise BadConfig(f"a grid of {step}: LOBSTER files count prices in 1e-4 and sizes in whole shares")
    return whole.numerator


class _Pairs:
    """Pairs of lines, which of them can be used, and why not the others."""

    def __init__(self, said: list[bytes], shown: list[bytes], count: int, first: int, findings: Findings):
        self.said, self.shown, self._first, self._findings = said[:count], shown[:count], first, findings
        self.good = np.ones(count, np.bool_)

    def refuse(self, rule: Rule, broken: np.ndarray) -> None:
        """The pairs at which ``broken`` (n,) is true; the first rule counts."""
        for row in np.flatnonzero(self.good & broken):
            lines = b" | ".join((self.said[row].strip(), self.shown[row].strip()))
            self._findings.add(self._first + int(row), rule, lines.decode(errors="replace"))
        self.good &= ~broken

    def note(self, rule: Rule, broken: np.ndarray) -> None:
        """As ``refuse``, but they are used."""
        for row in np.flatnonzero(self.good & broken):
            self._findings.add(self._first + int(row), rule, self.said[row].strip().decode(errors="replace"))


def _checked(pairs: _Pairs, places: int, terms: tuple[int, int], clock_ns: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) MESSAGE and (n, places) LADDER; ``pairs`` learns which of them can be used."""
    message, well = _numbers(pairs.said, COLUMNS)
    book, book_well = _numbers(pairs.shown, 4 * places)
    pairs.refuse(Rule.GARBAGE, ~(well & book_well))
    pairs.refuse(Rule.NOT_FINITE, ~(np.isfinite(message).all(1) & np.isfinite(book).all(1)))
    message[~pairs.good], book[~pairs.good] = 0, 0
    kind, prices, lots = message[:, 1], book[:, 0::2], book[:, 1::2]
    is_halt, empty = kind == HALT, (np.abs(prices) == UNOCCUPIED) & (lots == 0)
    order = message[:, 3:5]  # its size and price
    whole = (message[:, 1:] == np.rint(message[:, 1:])).all(1) & (book == np.rint(book)).all(1)
    pairs.refuse(Rule.GARBAGE, ~whole | ~np.isin(kind, range(NEW, HALT + 1)))
    pairs.refuse(Rule.GARBAGE, np.where(is_halt, ~np.isin(message[:, 4], (-1, 0, 1)), np.abs(message[:, 5]) != 1))
    pairs.refuse(Rule.NEGATIVE, (lots < 0).any(1) | (~empty & (prices < 0)).any(1) | (~is_halt & (order < 0).any(1)))
    absent = (~empty & ((lots == 0) | (prices == 0))).any(1)
    pairs.refuse(Rule.NOT_POSITIVE, absent | (~is_halt & (order == 0).any(1)))
    step, lot = terms
    between = ~is_halt & (order[:, 1] % step != 0)
    pairs.refuse(Rule.OFF_GRID, (~empty & (prices % step != 0)).any(1) | (between & (kind != HIDDEN)))
    most = np.array([lot * float(LOTS_MAX), step * float(PRICE_TICKS_MAX)])
    large = (lots > most[0]).any(1) | (~empty & (prices > most[1])).any(1) | (order > most).any(1)
    pairs.refuse(Rule.TOO_LARGE, large | (np.abs(message[:, 2]) > 2**53))
    _refuse_books(pairs, np.where(empty, np.nan, prices))
    pairs.refuse(Rule.BAD_TIME, ~((message[:, 0] >= 0) & (message[:, 0] < DAY_S)))
    ns = np.rint(np.where(pairs.good, message[:, 0], 0) * 1e9).astype(np.int64)
    before = np.maximum.accumulate(np.concatenate([[clock_ns], np.where(pairs.good, ns, 0)]))[:-1]
    pairs.refuse(Rule.BACKWARD, ns < before)
    pairs.note(Rule.OFF_GRID, between)
    message[between, 3] = 0
    message[~pairs.good], lots[~pairs.good], prices[~pairs.good] = 0, 0, 0  # whatever stands there, no cast sees it
    pairs.note(Rule.NOT_A_TRADE, kind == AUCTION)
    pairs.note(Rule.PART_LOT, (lots % lot != 0).any(1) | (~is_halt & (order[:, 0] % lot != 0)))
    return _in_steps(message, ns, np.where(empty[:, :, None], 0, np.stack([prices // step, lots // lot], 2)), step, lot)


def _numbers(lines: list[bytes], columns: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, columns) float64 and which lines are numbers, (n,) bool. Whole numbers to 2**53 are exact."""
    try:
        numbers = np.loadtxt(lines, float, delimiter=",", ndmin=2, comments=None)
        if numbers.shape == (len(lines), columns):
            return numbers, np.ones(len(lines), np.bool_)
    except ValueError:
        pass
    numbers, well = np.zeros((len(lines), columns)), np.zeros(len(lines), np.bool_)
    for row, line in enumerate(lines):  # some line is none: find out which
        cells = line.strip().split(b",")
        if len(cells) == columns and b"_" not in line:
            try:
                numbers[row], well[row] = [float(cell) for cell in cells], True
            except ValueError:
                continue
    return numbers, well


def _refuse_books(pairs: _Pairs, prices: np.ndarray) -> None:
    """Levels must get worse from place to place and the sides be apart; ``prices`` (n, 2 places), NaN: unoccupied."""
    asks, bids = prices[:, 0::2], prices[:, 1::2]
    pairs.refuse(Rule.CROSSED, bids[:, 0] > asks[:, 0])
    pairs.refuse(Rule.LOCKED, bids[:, 0] == asks[:, 0])
    for side in (asks, -bids):
        gap = np.isnan(side[:, :-1]) & ~np.isnan(side[:, 1:])
        pairs.refuse(Rule.UNORDERED, (gap | (side[:, 1:] <= side[:, :-1])).any(1))


def _in_steps(message: np.ndarray, ns: np.ndarray, book: np.ndarray, step: int, lot: int) -> tuple[Any, Any]:
    """``message`` (n, 6) and ``book`` (n, 2 places, price and lots) as MESSAGE and LADDER."""
    made, ladder = np.zeros(len(message), MESSAGE), np.zeros((len(book), book.shape[1] // 2), LADDER)
    is_halt = message[:, 1] == HALT
    made["ns"], made["type"], made["id"] = ns, message[:, 1], message[:, 2]
    made["lots"] = message[:, 3] // lot
    made["price"] = np.where(is_halt, message[:, 4], message[:, 4] // step)
    made["side"] = np.where(message[:, 5] == 1, BUY, SELL)
    ladder["ask"], ladder["ask_lots"] = book[:, 0::2, 0], book[:, 0::2, 1]
    ladder["bid"], ladder["bid_lots"] = book[:, 1::2, 0], book[:, 1::2, 1]
    return made, ladder


@entry
def _convert(
    messages: np.ndarray,
    ladders: np.ndarray,
    good: np.ndarray,
    adjacent: bool,
    times: np.ndarray,
    index: int,
    disagrees: np.ndarray,
    book: np.ndarray,
    out: np.ndarray,
) -> int:
    """The good rows as records in ``out``; returns how many. ``book`` (1,) BOOK: what the records make so far.

    ``messages`` (n,) belong to ``ladders`` (1 + n, places) from the second on; the first is the last good row before
    them, if good[0], and the one directly before them if ``adjacent``. ``times``: midnight and latency in ns.
    ``disagrees`` (n,) is set where a message is not the difference of the rows around it.
    """
    n, before = 0, 0 if good[0] else -1
    for k in range(1, len(ladders)):
        if not good[k]:
            adjacent = False
            continue
        start, message = n, messages[k - 1]
        n = _put_message(message, out, n)
        if before < 0:
            n = _put_clear(out, n)
        elif adjacent:
            agrees = _agrees(ladders, before, k, False, message) and _agrees(ladders, before, k, True, message)
            disagrees[k - 1] = not agrees
        n = _put_side(ladders, k, False, book[0], out, n)
        n = _put_side(ladders, k, True, book[0], out, n)
        for j in range(start, n):
            out[j]["ts_event"] = times[0] + message["ns"]
            out[j]["ts_known"] = times[0] + message["ns"] + times[1]
            out[j]["instrument"] = index
            out[j]["reason"] = 0
            out[j]["flags"] = SNAPSHOT if before < 0 and out[j]["kind"] != TRADE else 0
        if n > start:
            out[n - 1]["flags"] |= LAST
        before, adjacent = k, True
    return n


@kernel
def _put(out: np.ndarray, n: int, kind: int, side: int, a: int, b: int, c: int) -> int:
    row = out[n]
    row["kind"] = kind
    row["side"] = side
    row["a"] = a
    row["b"] = b
    row["c"] = c
    row["d"] = 0
    row["e"] = 0
    return n + 1


@kernel
def _put_message(message: np.void, out: np.ndarray, n: int) -> int:
    """What a message says beside the book: an execution, or what the market lets orders do."""
    if (message["type"] == EXECUTED or message["type"] == HIDDEN) and message["lots"] > 0:
        side = SELL if message["side"] == BUY else BUY  # of the initiator
        return _put(out, n, TRADE, side, message["price"], message["lots"], message["id"])
    if message["type"] == HALT:
        status = HALTED if message["price"] < 0 else QUOTING if message["price"] == 0 else TRADING
        return _put(out, n, STATUS, 0, status, 0, 0)
    return n


@kernel
def _put_clear(out: np.ndarray, n: int) -> int:
    return _put(out, _put(out, n, CLEAR, BUY, 0, 0, 0), CLEAR, SELL, 0, 0, 0)


@kernel
def _rank(ladders: np.ndarray, row: int, place: int, is_bid: bool) -> int:
    """The price at a place, negative for bids so that the lowest is the best; NEVER where there is none."""
    if place >= ladders.shape[1]:
        return NEVER
    price = ladders[row, place]["bid"] if is_bid else ladders[row, place]["ask"]
    return NEVER if price == 0 else -price if is_bid else price


@kernel
def _lots(ladders: np.ndarray, row: int, place: int, is_bid: bool) -> int:
    return ladders[row, place]["bid_lots"] if is_bid else ladders[row, place]["ask_lots"]


@kernel
def _agrees(ladders: np.ndarray, before: int, after: int, is_bid: bool, message: np.void) -> bool:
    """Whether, on the levels of one side that both rows show, the message's is the only one to change, by its size."""
    last, change = ladders.shape[1] - 1, 0
    if message["type"] >= NEW and message["type"] <= EXECUTED and (message["side"] == BUY) == is_bid:
        change = message["lots"] if message["type"] == NEW else -message["lots"]
    own = -message["price"] if is_bid else message["price"]
    shared = min(_rank(ladders, before, last, is_bid), _rank(ladders, after, last, is_bid))
    missing, i, j = change != 0 and own <= shared, 0, 0
    while True:
        old, new = _rank(ladders, before, i, is_bid), _rank(ladders, after, j, is_bid)
        rank, was, now = min(old, new), 0, 0
        if rank == NEVER or rank > shared:
            return not missing
        if old == rank:
            was = _lots(ladders, before, i, is_bid)
            i += 1
        if new == rank:
            now = _lots(ladders, after, j, is_bid)
            j += 1
        if was != now:
            if rank != own or now - was != change:
                return False
            missing = False


@kernel
def _put_side(ladders: np.ndarray, row: int, is_bid: bool, book: np.void, out: np.ndarray, n: int) -> int:
    """The LEVELs that make one side of ``book`` show what ``row`` shows; beyond its last place it stays as it is."""
    place, price = 0, book["bid"] if is_bid else book["ask"]
    while place < ladders.shape[1]:
        old = NEVER if price == 0 else -price if is_bid else price
        new = _rank(ladders, row, place, is_bid)
        rank, was, now = min(old, new), 0, 0
        if rank == NEVER:
            break
        if old == rank:
            was = books.qty_at(book, is_bid, price)
            price = books.next_price(book, is_bid, price)
        if new == rank:
            now = _lots(ladders, row, place, is_bid)
            place += 1
        if was != now:
            books.set_level(book, is_bid, abs(rank), now)
            n = _put(out, n, LEVEL, BUY if is_bid else SELL, abs(rank), now, 0)
    return n
