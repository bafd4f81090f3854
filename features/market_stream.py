"""MarketStates of a stream: the kernel over records as they come, and a digest of the rows it made.

A session on books runs it over what it trades on; research digests the lanes it makes with the same kernel
(``data.lanes``). So the two can be compared: equal digests, equal rows, however the stream was cut into pieces.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from core.errors import BadInput
from core.layout import BOOK
from features import book
from features.market_state import EXTRA, MARKET_STATE, BookSpec

ROW: Final = np.dtype([("state", MARKET_STATE), ("extra", EXTRA)])
BLOCK_ROWS: Final = 256
_BLOCK_BYTES: Final = BLOCK_ROWS * ROW.itemsize
_LINK_BYTES: Final = 32

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]  # (n,) MARKET_STATE, (n,) EXTRA, (n,) bool: ready


class RowsDigest:
    """SHA-256 over the ready rows, in blocks: ``d_n = sha256(d_n-1 || block_n)``, ``d_0`` being 32 zero bytes.

    A block is ``BLOCK_ROWS`` rows of dtype ROW; the digest is the last one's, taken over the open block. A plain
    SHA-256 could not be kept in a snapshot.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._link, self._open = bytes(_LINK_BYTES), bytearray()

    def add(self, states: np.ndarray, extra: np.ndarray) -> None:
        """The next ready rows, (n,) MARKET_STATE and (n,) EXTRA."""
        made = np.empty(len(states), ROW)
        made["state"], made["extra"] = states, extra
        self.rows += len(made)
        self._open += made.tobytes()
        whole = len(self._open) - len(self._open) % _BLOCK_BYTES
        for at in range(0, whole, _BLOCK_BYTES):
            self._link = hashlib.sha256(self._link + self._open[at : at + _BLOCK_BYTES]).digest()
        del self._open[:whole]

    def sha256(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(self._link + self._open).hexdigest()

    def dump(self) -> bytes:
        return self._link + self._open

    def load(self, rows: int, data: bytes) -> None:
        """Take up what ``dump`` gave after ``rows`` rows."""
        self.rows, self._link, self._open = rows, data[:_LINK_BYTES], bytearray(data[_LINK_BYTES:])


def as_one(digests: Sequence[RowsDigest]) -> dict[str, Any]:
    """The rows of all instruments, and one SHA-256 over their digests in order."""
    digest = hashlib.sha256("".join(one.sha256() for one in digests).encode()).hexdigest()
    return {"rows": sum(one.rows for one in digests), "sha256": digest}


class MarketStates:
    """The kernel's state and books of one stream, from its first record on."""

    def __init__(self, specs: Sequence[BookSpec]) -> None:
        """``specs``: one for each instrument."""
        self._state, self._books = book.new_state(specs)
        self._records = 0
        self._out = self._room(0)
        self.digests = [RowsDigest() for _ in specs]  # of each instrument's ready rows

    def add(self, records: np.ndarray) -> Rows:
        """The rows that ``records``, dtype RECORD, complete; to be used before the next call.

        ``seq`` counts the stream's records from 0 on. Raises BadInput as ``features.book.batch``.
        """
        if len(records) > len(self._out[0]):
            self._out = self._room(len(records))
        records = records.view()
        records.flags.writeable = False  # one compiled signature, whatever memory the records lie in
        count = book.batch(self._state, self._books, records, self._records, *self._out)
        states, extra, ready = (array[:count] for array in self._out)
        instrument = records["instrument"][states["seq"] - self._records]
        self._records += len(records)
        for index, digest in enumerate(self.digests):
            own = ready & (instrument == index)
            digest.add(states[own], extra[own])
        return states, extra, ready

    @staticmethod
    def _room(rows: int) -> Rows:
        return np.zeros(rows, MARKET_STATE), np.zeros(rows, EXTRA), np.zeros(rows, bool)

    def dump(self) -> bytes:
        """All there is: a stream that loads it goes on as this one does."""
        digests = [digest.dump() for digest in self.digests]
        counts = [(digest.rows, len(data)) for digest, data in zip(self.digests, digests, strict=True)]
        words = np.array([self._records, *np.ravel(counts)], np.int64)
        return b"".join([words.tobytes(), self._state.tobytes(), self._books.tobytes(), *digests])

    def load(self, data: bytes) -> None:
        """Take up what ``dump`` gave. Raises BadInput if it is not of as many instruments and this kernel."""
        words = np.frombuffer(data[: self._words_bytes], np.int64)
        books_at = self._words_bytes + self._state.nbytes
        at = books_at + self._books.nbytes
        if len(words) != 1 + 2 * len(self.digests) or len(data) != at + int(words[2::2].sum()):
            raise BadInput(
                f"MarketStates of {len(data)} bytes are not those of {len(self._state)} instruments: go on with the "
                "program that wrote them"
            )
        self._records = int(words[0])
        self._state[:] = np.frombuffer(data[self._words_bytes : books_at], self._state.dtype)
        self._books[:] = np.frombuffer(data[books_at:at], BOOK)
        for digest, rows, size in zip(self.digests, words[1::2].tolist(), words[2::2].tolist(), strict=True):
            digest.load(rows, data[at : at + size])
            at += size

    @property
    def _words_bytes(self) -> int:
        return 8 * (1 + 2 * len(self.digests))
