"""A book's updates in their order: what continues it, what it holds already, and where something is missing.

Venue-neutral: an update goes from the id it follows to its own. One that ends at or before the book's id is dropped;
one that begins after it leaves a gap, and then the book is invalid: both sides are cleared with reason BOOK_INVALID,
and updates wait until a snapshot starts a new book. One that overlaps the book's id is used, since its sizes are
absolute: levels it repeats end up at what they were at its own id. One that ends between the ids of the last one used
contradicts it: that leaves a gap as well.
"""

from collections import deque
from typing import Final, NamedTuple

import numpy as np

from core.records import Kind, MarketFlag, Reason, Side
from feeds.dialects import BadFrame, Rule, Writer, head

WAITING_MAX: Final = 10_000  # updates kept while there is no valid book
LAST: Final = int(MarketFlag.LAST)
SNAPSHOT: Final = int(MarketFlag.SNAPSHOT)
INVALID: Final = int(Reason.BOOK_INVALID)


class Update(NamedTuple):
    """A frame's levels, or a snapshot's."""

    row: int
    received_ns: int
    ts_event: int  # 0: unknown
    before: int  # the id it follows; of a snapshot without meaning
    update: int
    levels: np.ndarray  # (n, 8) int64: LEVEL records without times, the last one flagged LAST


class Sequence:
    """One book's place in its venue's count of updates. Everything is written to ``writer``."""

    def __init__(self, writer: Writer):
        self._writer = writer
        self._waiting: deque[Update] = deque()
        self.at = -1  # the update the book is at; -1: there is no valid book
        self.origin = -1  # the id that the last update used, or the snapshot, brought the book on from
        self.at_snapshot = False  # no update has been used since the snapshot

    @property
    def has_book(self) -> bool:
        """Whether the records so far make a book without gaps."""
        return self.at >= 0

    @property
    def waiting(self) -> int:
        """How many updates wait for a snapshot."""
        return len(self._waiting)

    def follow(self, update: Update) -> None:
        """Use ``update`` if it continues the book. Raises BadFrame for one that the book holds already."""
        if not self.has_book:
            self._wait(update)
        elif update.before > self.at or self.origin < update.update < self.at:
            self._found(update, Rule.GAP)
            self.invalidate(self._writer.known(update.received_ns, update.ts_event))
            self._wait(update)
        elif update.update <= self.at:
            again = Rule.DUPLICATE if update.update == self.at else Rule.BACKWARD
            raise BadFrame(
                Rule.STALE if self.at_snapshot else again, f"update {update.update}, the book is at {self.at}"
            )
        else:
            if update.before < self.at and not self.at_snapshot:
                self._found(update, Rule.OVERLAP)
            known = self._writer.known(update.received_ns, update.ts_event)
            self._writer.write_levels(update.ts_event or known, known, update.levels)
            self.origin, self.at, self.at_snapshot = self.at, update.update, False

    def begin(self, snapshot: Update) -> None:
        """The book is now ``snapshot``; updates that waited continue it. Raises BadFrame if the book is newer."""
        if snapshot.update < self.at:
            raise BadFrame(Rule.SNAPSHOT_OLD, f"{snapshot.update}, the book is at {self.at}")
        known = self._writer.known(snapshot.received_ns, snapshot.ts_event)
        event = snapshot.ts_event or known
        self._clear(event, known, snapshot.update, 0, SNAPSHOT if len(snapshot.levels) else SNAPSHOT | LAST)
        self._writer.write_levels(event, known, snapshot.levels)
        self.origin = self.at = snapshot.update
        self.at_snapshot = True
        waiting, self._waiting = self._waiting, deque()
        for update in waiting:
            try:
                self.follow(update)
            except BadFrame as bad:
                self._writer.findings.add(update.row, bad.rule, bad.value)

    def invalidate(self, known: int) -> None:
        """There is no book from here on."""
        if self.has_book:
            self._clear(known, known, self.at, INVALID, LAST)
            self._writer.keep()
        self.at = -1

    def end(self) -> None:
        """Nothing follows: the updates that wait were of no use."""
        for update in self._waiting:
            self._found(update, Rule.NO_SNAPSHOT)
        self._waiting.clear()

    def _wait(self, update: Update) -> None:
        """Keep ``update``. Where ids go back, those above it are of another count or damaged: they wait no longer."""
        while self._waiting and self._waiting[-1].update > update.update:
            self._found(self._waiting.pop(), Rule.BACKWARD)
        if len(self._waiting) == WAITING_MAX:
            self._found(self._waiting.popleft(), Rule.NO_SNAPSHOT)
        self._waiting.append(update)

    def _found(self, update: Update, rule: Rule) -> None:
        value = f"from {update.before} to {update.update}, the book is at {self.at}"
        self._writer.findings.add(update.row, rule, value)

    def _clear(self, ts_event: int, known: int, update: int, reason: int, flags: int) -> None:
        for side, bits in ((Side.BUY, flags & ~LAST), (Side.SELL, flags)):
            kind = head(int(Kind.CLEAR), int(side), self._writer.index, reason, bits)
            self._writer.write(ts_event, known, kind, (0, 0, update, 0, 0))
