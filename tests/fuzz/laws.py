"""What must hold of a dialect's records and findings, whatever it is handed."""

from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from core.layout import PRICE_TICKS_MAX
from core.records import RECORD, Kind, MarketFlag, MarketStatus, Reason, Side
from feeds.dialects import AHEAD_MAX_NS, LOTS_MAX, TIME_MAX_NS, Rule
from tests.fuzz.venues import Book, Frame, Venue

LEVEL, TRADE, CLEAR, TOP, STATUS = (int(kind) for kind in (Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.TOP, Kind.STATUS))
BUY, SELL = int(Side.BUY), int(Side.SELL)
LAST, SNAPSHOT = int(MarketFlag.LAST), int(MarketFlag.SNAPSHOT)
INVALID = int(Reason.BOOK_INVALID)
UNUSABLE = (Rule.OFF_GRID, Rule.NEGATIVE, Rule.NOT_FINITE, Rule.TOO_LARGE, Rule.CROSSED, Rule.LOCKED, Rule.CHECKSUM)


class How(Enum):
    """How a message is handed over."""

    NEW = 1  # as it was sent, the venue's latest
    AGAIN = 2  # as it was sent, perhaps long ago
    DAMAGED = 3
    DAMAGED_LINE = 4  # a whole line of a recording


class State(NamedTuple):
    """What a message may change beside records."""

    found: int
    passed: int
    waiting: int
    book_id: int
    unusable: int


class Broken(AssertionError):
    """A law does not hold."""


def require(holds: bool, law: str, *values: Any) -> None:
    """Raise Broken unless the law holds."""
    if not holds:
        raise Broken(" ".join([law, *map(str, values)]))


class Records:
    """The records so far: their laws, and the book they make."""

    def __init__(self) -> None:
        self.known_ns, self.book, self.is_valid = 0, Book(), False

    def take(self, records: np.ndarray) -> None:
        """Hold the next ones against the laws and use them. Raises Broken."""
        require(records.dtype == RECORD, "records have the type RECORD")
        rows = records.tolist()
        for row in rows:
            self._one(row)
        require(not rows or bool(rows[-1][6] & LAST), "a message is whole", rows[-1:])

    def _one(self, row: tuple[int, ...]) -> None:
        ts_event, ts_known, kind, side, instrument, reason, flags, a, b, c, d, _ = row
        require(0 < ts_event <= ts_known <= TIME_MAX_NS, "nothing is known before it happened", row)
        require(ts_known >= self.known_ns, "records are in the order they became known", row)
        require(instrument == 0 and flags & ~(LAST | SNAPSHOT) == 0, "no bits without a meaning", row)
        require(reason == 0 or (kind == CLEAR and reason == INVALID), "only a book that ends has a reason", row)
        self.known_ns = ts_known
        if kind == LEVEL:
            require(side in (BUY, SELL) and 0 < a <= PRICE_TICKS_MAX and 0 <= b <= LOTS_MAX, "a level in range", row)
            require(self.is_valid, "levels belong to a book", row)
            self.book[side, a] = b
        elif kind == TRADE:
            require(side in (BUY, SELL) and 0 < a <= PRICE_TICKS_MAX and 0 < b <= LOTS_MAX, "a trade in range", row)
        elif kind == CLEAR:
            require(side in (BUY, SELL) and a == b == 0, "a side is cleared whole", row)
            self.book = {key: lots for key, lots in self.book.items() if key[0] != side}
            self.is_valid = reason != INVALID
        elif kind == TOP:
            in_range = max(a, c) <= PRICE_TICKS_MAX and max(b, d) <= LOTS_MAX and min(a, b, c, d) >= 0
            require(side == 0 and in_range and (a < c or c == 0), "a top in range", row)
        else:
            require(kind == STATUS and side == 0 and a in MarketStatus.__members__.values(), "a known kind", row)

    @property
    def levels(self) -> Book:
        """The levels there are."""
        return {key: lots for key, lots in self.book.items() if lots}


class Judge:
    """One dialect, what it is handed, and whether its book may be trusted.

    A message that is damaged into another valid one cannot be told from it: after one that got into the book without
    a word, the book is ``spoilt`` until snapshots have replaced it. In all other cases a valid book is the true one
    after each undamaged message about it. Two dialects are handed each message, one as of a live connection, one as of
    a recording, which no compiled code takes: they make the same records and findings.
    """

    def __init__(self, venue: Venue):
        self.venue, self.follower, self.records = venue, venue.follower(), Records()
        self.slow = venue.follower()
        self.spoilt, self.latest_ns, self.compared = 0, 0, 0

    def hand(self, received_ns: int, message: bytes, frame: Frame, how: How) -> None:
        """Hand over ``message``, which is or was ``frame``. Raises Broken."""
        before = self._state()
        if how is How.DAMAGED_LINE:
            self.follower.on_lines([message])
            made = self.follower.take()
            self.slow.on_line(message)
        else:
            hand = self.follower.on_recorded if message.startswith(b'{"lastUpdateId"') else self.follower.on_frame
            hand(received_ns, message)
            made = self.follower.take()
            self.slow.on_recorded(received_ns, message)
        require(made.tobytes() == self.slow.take().tobytes(), "the compiled path makes the same records")
        require(self.follower.findings == self.slow.findings, "the compiled path finds the same")
        after = self._state()
        if 0 < received_ns <= TIME_MAX_NS:
            self.latest_ns = max(self.latest_ns, received_ns)
        self.records.take(made)
        require(self.records.known_ns <= self.latest_ns + AHEAD_MAX_NS, "no damaged time moves the clock")
        require(self.records.is_valid == (self.follower.book_id >= 0), "records and dialect agree on the book")
        require(self.records.is_valid or not self.records.levels, "an invalid book is empty")
        require(len(made) > 0 or after != before, "nothing is passed over in silence")
        if how is How.DAMAGED and frame.is_book and not frame.is_snapshot and after.unusable > before.unusable:
            require(not self.records.is_valid, "after an unusable update there is no book")
        began = bool(((made["kind"] == CLEAR) & (made["flags"] & SNAPSHOT > 0)).any())
        if how in (How.DAMAGED, How.DAMAGED_LINE):
            is_quiet = after.found == before.found and len(made) == 0
            if began or is_quiet or (made["kind"] == LEVEL).any():
                self.spoilt = max(self.spoilt, 1)
            if after.waiting > before.waiting:
                self.spoilt = 2  # it waits for the next snapshot
        elif how is How.NEW and frame.is_book:
            self.spoilt -= bool(frame.is_snapshot and began and self.spoilt)
            self._compare()

    def lose(self) -> None:
        """The connection is lost. Raises Broken."""
        for follower in (self.follower, self.slow):
            follower.on_break(self.latest_ns)
        self.slow.take()
        self.records.take(self.follower.take())
        require(not self.records.is_valid and self.follower.book_id < 0, "after a break there is no book")

    def _compare(self) -> None:
        if self.records.is_valid and (self.venue.proves_itself or not self.spoilt):
            self.compared += 1
            mine, true = self.records.levels, self.venue.book
            require(mine == true, "a valid book is the venue's", sorted(mine.items() ^ true.items()))

    def _state(self) -> State:
        findings, follower = self.follower.findings, self.follower
        unusable = sum(findings.counts[rule] for rule in UNUSABLE)
        return State(findings.counts.total(), findings.passed.total(), follower.waiting, follower.book_id, unusable)
