"""What the dialects of frames have in common: one instrument, one book, its trades, and recordings of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import numpy as np

from core.records import Kind
from feeds.dialects import TIME_MAX_NS, BadFrame, Findings, Rule, Writer, head
from feeds.dialects.sequence import LAST, Sequence

CHUNK_ROWS: Final = 65_536
LINES: Final = 256  # taken together
BREAK: Final = b"break"  # in place of a message: the connection was lost; no venue's message is this


class Follower(ABC):
    """Follows one instrument: frames in, records out, in the order they became known.

    ``index`` is the instrument's in the session. ``clock_offset_ns`` is added to every time of receipt. Nothing a venue
    may send raises: see ``findings``, whose rows are the numbers of frames from 0 as they were handed over.
    """

    def __init__(self, index: int, clock_offset_ns: int):
        self._writer = Writer(index, clock_offset_ns)
        self._sequence = Sequence(self._writer)
        self._trades = Trades(self._writer)
        self._before = b""  # the last line of a recording

    @property
    def findings(self) -> Findings:
        """What could not be used, or not as it was."""
        return self._writer.findings

    @property
    def offsets(self) -> dict[int, list[int]]:
        """By UTC day: messages that tell a time, and the sum of receipt - event in ns, below 0 for a slow recorder."""
        return self._writer.offsets

    @property
    def book_id(self) -> int:
        """The update the book is at; -1 while there is no valid book."""
        return self._sequence.at

    @property
    def waiting(self) -> int:
        """How many updates wait for a snapshot."""
        return self._sequence.waiting

    @property
    def pending(self) -> int:
        """How many records ``take`` would give."""
        return self._writer.pending

    def take(self) -> np.ndarray:
        """The records made since the last call, (n,) RECORD."""
        return self._writer.take()

    @abstractmethod
    def on_frame(self, received_ns: int, frame: bytes) -> None:
        """One WebSocket message."""

    def on_recorded(self, received_ns: int, message: bytes) -> None:
        """One message of a recording."""
        self.on_frame(received_ns, message)

    def on_break(self, received_ns: int) -> None:
        """The connection was lost: what we missed is unknown, so the book is invalid until the next snapshot."""
        self._sequence.invalidate(self._writer.latest(received_ns))

    def on_line(self, line: bytes) -> None:
        """One line of a recording, or of the live feed that writes it: time of receipt in ns, a space, the message.

        ``BREAK`` instead of a message: from here on frames come over another connection. A line that is there twice in
        a row is left out; where a time of receipt goes back, as in a file that is there twice, that is noted.
        """
        stamp, _, message = line.strip().partition(b" ")
        if not (stamp.isdigit() and len(stamp) <= 19 and message):
            self.on_garbage(line)
        elif line == self._before:
            self.on_repeated(stamp)
        elif message == BREAK:
            self._writer.next_frame()
            self.on_break(int(stamp))
        else:
            self.on_recorded(int(stamp), message)
            self._note_receipt(int(stamp))
        self._before = line

    def on_lines(self, lines: list[bytes]) -> None:
        """Lines of a recording, in order."""
        for line in lines:
            self.on_line(line)

    def on_end(self) -> None:
        """A recording has ended: updates that still wait for a snapshot are findings."""
        self._sequence.end()

    def on_garbage(self, line: bytes) -> None:
        """A line of a recording that is none."""
        self._writer.next_frame()
        self._writer.refuse(Rule.GARBAGE, line)

    def on_repeated(self, line: bytes) -> None:
        """A line of a recording that is the one before it, to the ns: two messages are not received at once."""
        self._writer.next_frame()
        self._writer.refuse(Rule.DUPLICATE, line)

    def _note_receipt(self, received_ns: int) -> None:
        """Of the last frame, which is used: a recorder's times of receipt ascend. What is no time has been refused."""
        if not 0 < received_ns <= TIME_MAX_NS:
            return
        before_ns = self._writer.received_ns
        if received_ns < before_ns:
            value = f"received at {received_ns}, {before_ns - received_ns} ns before the last one"
            self._writer.findings.add(self._writer.row, Rule.BACKWARD, value)
        self._writer.received_ns = received_ns


class Trade(NamedTuple):
    """What a venue says of one trade."""

    trade_id: int
    ts_event: int  # 0: unknown
    side: int  # of the initiator
    price: int  # ticks
    qty: int  # lots


class Trades:
    """One instrument's trades by their ids, which count up by one. Everything is written to ``writer``."""

    def __init__(self, writer: Writer):
        self._writer, self.at = writer, -1  # at: the last trade's id

    def write(self, received_ns: int, trades: list[Trade]) -> None:
        """The trades of one message, in any order. Raises BadFrame for an id that was seen, without using any."""
        at = self.at
        for trade in (ordered := sorted(trades)):
            if trade.price == 0 or trade.qty == 0:
                raise BadFrame(Rule.NOT_POSITIVE, f"trade {trade.trade_id}: {trade.qty} lots at {trade.price} ticks")
            if trade.trade_id <= at:
                raise BadFrame(Rule.DUPLICATE if trade.trade_id == at else Rule.BACKWARD, trade.trade_id)
            at = trade.trade_id
        known = self._writer.known(received_ns, max(trade.ts_event for trade in trades))
        for trade in ordered:
            if 0 <= self.at < trade.trade_id - 1:
                self._writer.findings.add(self._writer.row, Rule.GAP, f"trades {self.at + 1} to {trade.trade_id - 1}")
            self.at = trade.trade_id
            kind = head(int(Kind.TRADE), trade.side, self._writer.index, 0, LAST if trade is ordered[-1] else 0)
            body = (trade.price, trade.qty, trade.trade_id, 0, 0)
            self._writer.write(trade.ts_event or known, known, kind, body)


def recorded(lines: Iterable[bytes], follower: Follower) -> Iterator[np.ndarray]:
    """A recording, line by line as ``Follower.on_line`` takes them, as (n,) RECORD arrays in order."""
    rest = iter(lines)
    while some := list(islice(rest, LINES)):
        follower.on_lines(some)
        if follower.pending >= CHUNK_ROWS:
            yield follower.take()
    follower.on_end()
    yield follower.take()
