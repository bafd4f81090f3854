"""What an instrument is valued at, from its market data alone: the mid of its book, as ``core.step`` values it.

For those that account for a session without deciding in it. A book may be torn between the records of one message, so
its touch counts at a record flagged LAST.
"""

from typing import Final

import numpy as np

from core import book as books
from core.cast import as_clear, as_level
from core.errors import BadInput
from core.jit import compiled, readable, writable
from core.layout import BOOK
from core.records import RECORD, Kind, MarketFlag, Side
from core.units import as_int

IS_LEVEL: Final = int(Kind.LEVEL)
IS_TRADE: Final = int(Kind.TRADE)
IS_CLEAR: Final = int(Kind.CLEAR)
BUY: Final = int(Side.BUY)
LAST: Final = int(MarketFlag.LAST)
BOOK_KINDS: Final = (Kind.LEVEL, Kind.TRADE, Kind.CLEAR)


def follow(books_here: np.ndarray, records: np.ndarray, touches: np.ndarray, marks2: np.ndarray) -> None:
    """Take ``records`` (n,) RECORD of any kind; those of books move the books, and with them touches and marks.

    ``books_here``: (instruments,) BOOK; ``touches``: (instruments, 2) int64, best bid and ask in ticks, 0: none;
    ``marks2``: (instruments,) int64, twice the price in ticks, which stays while a side is empty. Raises BadInput for
    an instrument without a book, and as ``core.book``.
    """
    compiled(_follow, *ENTRIES[_follow])(books_here, records, touches.reshape(-1), marks2)


def _follow(books_here: np.ndarray, records: np.ndarray, touches: np.ndarray, marks2: np.ndarray) -> None:
    for row in range(len(records)):
        kind = records[row]["kind"]
        if kind != IS_LEVEL and kind != IS_TRADE and kind != IS_CLEAR:
            continue
        index = as_int(records[row]["instrument"])
        if index >= len(books_here):
            raise BadInput("a book record's instrument index is not one of this account's books")
        book = books_here[index]
        if kind == IS_LEVEL:
            level = as_level(records[row])
            books.set_level(book, level["side"] == BUY, level["price"], level["qty"])
        elif kind == IS_CLEAR:
            clear = as_clear(records[row])
            books.clear(book, clear["side"] == BUY, clear["price"])
        if records[row]["flags"] & LAST == 0:
            continue
        bid, ask = book["bid"], book["ask"]
        if bid == touches[2 * index] and ask == touches[2 * index + 1]:
            continue
        touches[2 * index], touches[2 * index + 1] = bid, ask
        if bid > 0 and ask > 0:
            marks2[index] = bid + ask


_INTS: Final = np.dtype("<i8")
ENTRIES: Final = {_follow: (writable(BOOK), readable(RECORD), writable(_INTS), writable(_INTS))}
