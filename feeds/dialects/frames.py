"""What the dialects of frames have in common: one instrument, one book, its trades, and recordings of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from core.records import Kind
from feeds.dialects import BadFrame, Findings, Rule, Writer, head
from feeds.dialects.sequence import LAST, Sequence

CHUNK_ROWS: Final = 65_536
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

    @property
    def findings(self) -> Findings:
        """What could not be used, or not as it was."""
        return self._writer.findings

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

        ``BREAK`` instead of a message: from here on frames come over another connection.
        """
        stamp, _, message = line.strip().partition(b" ")
        if not (stamp.isdigit() and len(stamp) <= 19 and message):
            self.on_garbage(line)
        elif message == BREAK:
            self._writer.next_frame()
            self.on_break(int(stamp))
        else:
            self.on_recorded(int(stamp), message)

    def on_garbage(self, line: bytes) -> None:
        """A line of a recording that is none."""
        self._writer.next_frame()
        self._writer.refuse(Rule.GARBAGE, line)


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
        self._writer, self._at = writer, -1

    def write(self, received_ns: int, trades: list[Trade]) -> None:
        """The trades of one message, in any order. Raises BadFrame for an id that was seen, without using any."""
        at = self._at
        for trade in (ordered := sorted(trades)):
            if trade.price == 0 or trade.qty == 0:
                raise BadFrame(Rule.NOT_POSITIVE, f"trade {trade.trade_id}: {trade.qty} lots at {trade.price} ticks")
            if trade.trade_id <= at:
                raise BadFrame(Rule.DUPLICATE if trade.trade_id == at else Rule.BACKWARD, trade.trade_id)
            at = trade.trade_id
        known = self._writer.known(received_ns, max(trade.ts_event for trade in trades))
        for trade in ordered:
            if 0 <= self._at < trade.trade_id - 1:
                self._writer.findings.add(self._writer.row, Rule.GAP, f"trades {self._at + 1} to {trade.trade_id - 1}")
            self._at = trade.trade_id
            kind = head(int(Kind.TRADE), trade.side, self._writer.index, 0, LAST if trade is ordered[-1] else 0)
            body = (trade.price, trade.qty, trade.trade_id, 0, 0)
            self._writer.write(trade.ts_event or known, known, kind, body)


def recorded(lines: Iterable[bytes], follower: Follower) -> Iterator[np.ndarray]:
    """A recording, line by line, as (n,) RECORD arrays in order."""
    for line in lines:
        follower.on_line(line)
        if follower.pending >= CHUNK_ROWS:
            yield follower.take()
    yield follower.take()
