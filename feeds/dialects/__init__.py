"""Venue dialects: raw bytes of one venue in, records out, the same code for recordings, ingestion and live frames.

A dialect does no I/O and knows no clock: it is handed lines or frames and the times they were received. What it cannot
use is never passed over in silence: each such frame is counted under a ``Rule`` and, up to a limit, named with its row
and what was wrong with it. One frame is used whole or not at all.
"""

import re
import struct
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Final

import msgspec
import numpy as np

from core.errors import BadConfig
from core.layout import PRICE_TICKS_MAX
from core.records import DAY_NS, HOUR_NS, RECORD, RECORD_BYTES

LOTS_MAX: Final = 2**42  # lots of one level or trade: what the queue models can count in their fractions
TIME_MAX_NS: Final = 2**61
AHEAD_MAX_NS: Final = HOUR_NS  # no clock is that wrong: a time further ahead of its receipt is damaged
WORDS: Final = struct.Struct("<8q")  # a record as words: two times, its head, its body
DIGITS_MAX: Final = 40  # of a number in a frame
EXAMPLES_MAX: Final = 20  # findings kept per rule; all are counted
VALUE_CHARS_MAX: Final = 120
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what a decoder raises for any bytes
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]  # an id or a time
_UTC: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()


class Rule(StrEnum):
    """Why a frame, or something in it, was not taken as it is."""

    __hash__ = str.__hash__  # an Enum's own is Python, called for every frame
    GARBAGE = "garbage"  # not the venue's format
    FOREIGN = "foreign"  # another symbol's, or a stream this dialect has no records for
    VENUE_ERROR = "venue_error"  # the venue refuses a request or says that something is wrong
    NOT_FINITE = "not_finite"  # a price or quantity that is not a plain decimal number
    NEGATIVE = "negative"
    NOT_POSITIVE = "not_positive"  # 0 where only more than 0 has a meaning
    OFF_GRID = "off_grid"  # a price that is not a whole number of ticks
    PART_LOT = "part_lot"  # a quantity that is not a whole number of lots: used, rounded down
    TOO_LARGE = "too_large"
    BAD_TIME = "bad_time"
    TIME_UNIT = "time_unit"  # a file whose times are in another unit than those of the file before: used
    CROSSED = "crossed"  # best bid above best ask
    LOCKED = "locked"  # best bid at best ask
    DUPLICATE_LEVEL = "duplicate_level"  # a price twice on one side of one message
    UNORDERED = "unordered"  # levels that do not get worse from row to row
    STALE = "stale"  # an update that a snapshot holds already: expected after each
    DUPLICATE = "duplicate"  # an id that was seen before
    BACKWARD = "backward"  # an id or a time below one seen before
    OVERLAP = "overlap"  # an update that begins before the end of the last and goes on: used, its sizes are absolute
    GAP = "gap"  # updates or trades are missing; a book is invalid until the next snapshot
    SNAPSHOT_OLD = "snapshot_old"  # a snapshot older than the book: not used
    NO_SNAPSHOT = "no_snapshot"  # there is no book, and no snapshot came for an update that waited
    CHECKSUM = "checksum"  # the book is not the venue's by the venue's own checksum: invalid until the next snapshot
    CLOCK_BEHIND = "clock_behind"  # received before it happened: taken as known when it happened
    NOT_A_TRADE = "not_a_trade"  # insurance fund, liquidation transfer and the like
    DISAGREES = "disagrees"  # two files of one recording tell different books, or venue and caller different precisions
    CUT = "cut"  # a file ends before its compressed stream does: used to its last whole line
    UNEQUAL_LENGTH = "unequal_length"  # two files of one recording have different numbers of rows


class BadFrame(Exception):
    """Something in a frame breaks ``rule``. Never leaves this package."""

    def __init__(self, rule: Rule, value: object):
        super().__init__(rule, value)
        self.rule, self.value = rule, value


@dataclass(frozen=True, slots=True)
class Finding:
    """``rule`` was broken in ``row`` (from 0, of whatever was handed over); ``value`` shows how."""

    row: int
    rule: Rule
    value: str


@dataclass(slots=True)
class Findings:
    """All broken rules, counted, and the first of each named; and what was passed over, by the venue's name of it."""

    counts: Counter[Rule] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)  # known, and no record's matter
    examples: list[Finding] = field(default_factory=list)

    def add(self, row: int, rule: Rule, value: object, times: int = 1) -> None:
        """Count ``rule`` and keep ``value`` if it is among the first."""
        if self.counts[rule] < EXAMPLES_MAX:
            self.examples.append(Finding(row, rule, str(value)[:VALUE_CHARS_MAX]))
        self.counts[rule] += times


class Whole(dict[str, int]):
    """Decimal text -> whole steps of a grid, exactly; looked up once, then remembered.

    Raises BadFrame for text that is no plain decimal (signs, exponents and NaN are none), that is negative, off the
    grid or above ``most``. With ``rounds`` a rest below one step is cut off, and its text kept in ``rounded`` for
    whoever reports it: venues hold remainders of orders from the time of a finer grid.
    """

    __slots__ = ("_most", "_rounds", "_step", "_times", "rounded")
    REMEMBERED_MAX: Final = 1 << 20

    def __init__(self, step: str, most: int, *, rounds: bool = False):
        super().__init__()
        self._rounds, self.rounded = rounds, list[str]()
        grid = Fraction(step)
        if grid <= 0:
            raise BadConfig(f"a grid of {step}; a tick or lot is above 0")
        self._times, self._most = grid.denominator, most
        self._step = tuple(grid.numerator * 10**places for places in range(DIGITS_MAX + 1))  # by decimal places

    def __missing__(self, text: str) -> int:
        whole, _, part = text.partition(".")
        digits = whole + part
        if not (digits.isascii() and digits.isdigit() and whole) or len(digits) > DIGITS_MAX:
            is_negative = text.startswith("-") and digits[1:].isdigit()
            raise BadFrame(Rule.NEGATIVE if is_negative else Rule.NOT_FINITE, text)
        steps, rest = divmod(int(digits) * self._times, self._step[len(part)])
        if steps > self._most:
            raise BadFrame(Rule.TOO_LARGE, text)
        if rest and self._rounds:
            self.rounded.append(text)
            return steps
        if rest:
            raise BadFrame(Rule.OFF_GRID, text)
        if len(self) >= self.REMEMBERED_MAX:
            self.clear()
        self[text] = steps
        return steps


def utc_ns(text: str) -> int:
    """A time in UTC as RFC 3339 writes it, as ns since the epoch; no text: 0, unknown. Raises BadFrame."""
    if not text:
        return 0
    match = _UTC.fullmatch(text)
    if match is None:
        raise BadFrame(Rule.BAD_TIME, text)
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError as error:
        raise BadFrame(Rule.BAD_TIME, text) from error
    ns = days * DAY_NS + ((hour * 60 + minute) * 60 + second) * 10**9 + int((match[7] or "").ljust(9, "0"))
    if hour > 23 or minute > 59 or second > 59 or not 0 < ns <= TIME_MAX_NS:
        raise BadFrame(Rule.BAD_TIME, text)
    return ns


def price_grid(tick: str) -> Whole:
    """Prices as ticks, 0 to PRICE_TICKS_MAX."""
    return Whole(tick, PRICE_TICKS_MAX)


def lot_grid(lot: str) -> Whole:
    """Quantities as lots, 0 to LOTS_MAX, rounded down."""
    return Whole(lot, LOTS_MAX, rounds=True)


def head(kind: int, side: int, instrument: int, reason: int = 0, flags: int = 0) -> int:
    """The third word of a RECORD: its kind, side, instrument, reason and flags."""
    return kind | side << 8 | instrument << 16 | reason << 32 | flags << 48


class Writer:
    """The records one dialect makes of one instrument's frames, and what it found wrong.

    Frames are numbered from 0 in the order they are handed over, whatever they are. ``clock_offset_ns`` is added to
    every time of receipt: a recorder's clock may have been behind the venue's.
    """

    def __init__(self, index: int, clock_offset_ns: int):
        self.findings, self.row, self.index = Findings(), -1, index
        self.offset_ns, self.known_ns = clock_offset_ns, 0  # the latter: of the last record
        self.received_ns = 0  # of the last line of a recording that had a time
        self.offsets: dict[int, list[int]] = {}  # by UTC day: messages, sum of receipt - event in ns
        self._start, self._words = 0, bytearray()

    @property
    def pending(self) -> int:
        """How many records ``take`` would give."""
        return len(self._words) // RECORD_BYTES

    def take(self) -> np.ndarray:
        """The records since the last call, (n,) RECORD."""
        words, self._words = self._words, bytearray()
        return np.frombuffer(words, RECORD)

    def next_frame(self) -> None:
        """What follows belongs to the next frame."""
        self.row, self._start = self.row + 1, len(self._words)

    def at(self, row: int) -> None:
        """What follows belongs to ``row``."""
        self.row, self._start = row, len(self._words)

    def keep(self) -> None:
        """What is written of this frame stays, even if the rest of it is refused."""
        self._start = len(self._words)

    def refuse(self, rule: Rule, value: object) -> None:
        """Nothing of this frame becomes a record."""
        del self._words[self._start :]
        self.findings.add(self.row, rule, value)

    def note_rounded(self, grid: Whole) -> None:
        """Report the quantities of this frame that ``grid`` rounded down."""
        for text in grid.rounded:
            self.findings.add(self.row, Rule.PART_LOT, text)
        grid.rounded.clear()

    def known(self, received_ns: int, ts_event: int = 0) -> int:
        """When this became known: not before it happened, and not before what was known already. Raises BadFrame."""
        known = received_ns + self.offset_ns
        if not 0 < known <= TIME_MAX_NS:
            raise BadFrame(Rule.BAD_TIME, received_ns)
        if ts_event > known + AHEAD_MAX_NS:
            raise BadFrame(Rule.BAD_TIME, f"{ts_event}, received at {known}")
        if ts_event:
            self.tell_offset(ts_event // DAY_NS, 1, known - ts_event)
        if known < ts_event:
            self.findings.add(self.row, Rule.CLOCK_BEHIND, f"{ts_event - known} ns")
        self.known_ns = max(known, ts_event, self.known_ns)
        return self.known_ns

    def tell_offset(self, day: int, messages: int, offset_ns: int) -> None:
        """So many messages of a UTC day were received so long after they happened, in sum."""
        told = self.offsets.setdefault(day, [0, 0])
        told[0] += messages
        told[1] += offset_ns

    def latest(self, received_ns: int) -> int:
        """``known`` for a time of receipt that may make no sense: then what was known last."""
        known = received_ns + self.offset_ns
        if 0 < known <= TIME_MAX_NS:
            self.known_ns = max(self.known_ns, known)
        return self.known_ns

    def write(self, ts_event: int, known: int, kind: int, body: tuple[int, int, int, int, int]) -> None:
        """One record; ``kind``: its ``head``."""
        self._words += WORDS.pack(ts_event, known, kind, *body)

    def write_levels(self, ts_event: int, known: int, levels: np.ndarray) -> None:
        """``levels`` (n, 8) int64: whole records but for their times, which are set."""
        levels[:, 0], levels[:, 1] = ts_event, known
        self.write_rows(levels)

    def write_rows(self, rows: np.ndarray) -> None:
        """``rows`` (n, 8) int64: whole records."""
        self._words += rows.tobytes()
