"""Frames as a venue always writes them, read by one compiled kernel: numbers, ticks, lots and levels from raw bytes.

A template is a frame's text with a sign in place of each value: ``#`` a whole number, ``$`` a price, ``%`` a quantity,
``?`` true or false; the digit behind it is the place of its value, and levels have none. ``*`` is a name of small
letters, digits and ``_``, or nothing. ``<["$","%"]>`` are levels, any number of them with commas between: the bids
where it stands first, then the asks.

A frame is read here only if it is its template byte for byte, every price is a whole number of ticks above 0 and every
quantity a whole number of lots, and the levels of each side rise or fall strictly and do not cross. All else is left to
the dialect's own decoder, which alone judges frames: so there is nothing to report here and nothing to decide.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any, Final

import numpy as np
from numba.core import types

from core.jit import compiled, kernel
from core.layout import PRICE_TICKS_MAX
from core.records import Kind, MarketFlag, Side
from feeds.dialects import LOTS_MAX, head

NONE: Final = -1
PLACES: Final = 8  # values of a template; the last one is the number of levels
COUNT: Final = PLACES - 1
LEVELS_MAX: Final = 4096  # of one frame
DIGITS_MAX: Final = 18  # of a number in its smallest units: they fit 64 bits
CHARS_MAX: Final = 24  # of a number
LAST: Final = int(MarketFlag.LAST) << 48

_SIGNS: Final = "$%#?*<>"  # in a template; for the kernel they are bytes from 128 on, which no template has otherwise
_PRICE, _QTY, _NUMBER, _FLAG, _NAME, _BEGIN, _AGAIN = range(128, 128 + len(_SIGNS))
_END, _ZERO, _NINE, _POINT, _COMMA, _CLOSE, _A, _Z, _LINE = b"\n09.,]az_"
_TRUE, _FALSE = (int.from_bytes(word, "big") for word in (b"true", b"false"))
_BYTES: Final = types.Bytes(types.uint8, 1, "C", readonly=True)
_INTS: Final = types.Array(types.int64, 1, "C")
_ROWS: Final = types.Array(types.int64, 2, "C")


class Reader:
    """Reads those frames that are one of ``templates``, in steps of ``tick`` and ``lot``."""

    def __init__(self, templates: Sequence[str], tick: str, lot: str, index: int):
        self.values, self._rows = np.zeros(PLACES, np.int64), np.zeros((LEVELS_MAX, 8), np.int64)
        heads = [head(int(Kind.LEVEL), int(side), index) for side in (Side.BUY, Side.SELL)]
        terms = np.array([_grid(tick, PRICE_TICKS_MAX), _grid(lot, LOTS_MAX), (*heads, 0)], np.int64)
        signs = str.maketrans(_SIGNS, "".join(map(chr, range(_PRICE, _AGAIN + 1))))
        text = "".join(f"{template}\n" for template in templates).translate(signs).encode("latin-1")
        read: Any = compiled(_read, *ENTRIES[_read])
        # which template the frame is, whose values are then in ``values``; NONE: it is none
        self.read: Callable[[bytes], int] = partial(read, text, terms, self.values, self._rows)

    def levels(self, update: int) -> np.ndarray:
        """The levels of the frame read last as LEVEL records without times, (n, 8) int64, of ``update``."""
        levels = self._rows[: self.values[COUNT]].copy()
        levels[:, 5] = update
        return levels


def _grid(step: str, most: int) -> tuple[int, int, int]:
    """Decimal places of ``step``, units of the last one in a step, and ``most``; most -1: it is no short decimal."""
    grid, places = Fraction(step), 0
    while (grid * 10**places).denominator > 1 and places < DIGITS_MAX:
        places += 1
    units = grid * 10**places
    is_short = units.denominator == 1 and 0 < units <= 10**DIGITS_MAX
    return (places, int(units), most) if is_short else (0, 1, -1)


def _read(templates: bytes, terms: np.ndarray, values: np.ndarray, rows: np.ndarray, frame: bytes) -> int:
    """``Reader.read``."""
    which, begin = 0, 0
    while begin < len(templates):
        if _is(templates, begin, terms, values, rows, frame):
            return which
        while templates[begin] != _END:
            begin += 1
        begin += 1
        which += 1
    return NONE


@kernel
def _is(
    templates: bytes, begin: int, terms: np.ndarray, values: np.ndarray, rows: np.ndarray, frame: bytes
) -> bool:
    """Whether the frame is the template that begins at ``begin``; then its values and levels are written."""
    t, at, value = begin, 0, 0
    again, count, n_bids = 0, 0, 0  # again: where the template of one level begins; 0: outside of levels
    for k in range(PLACES):
        values[k] = 0
    while templates[t] != _END:
        sign = int(templates[t])
        t += 1
        if sign < _PRICE:
            if at >= len(frame) or frame[at] != sign:
                return False
            at += 1
        elif sign <= _FLAG:
            if sign == _NUMBER:
                value, at = _whole(frame, at)
            elif sign == _FLAG:
                value, at = _flag(frame, at)
            else:
                k = sign - _PRICE
                value, at = _steps(frame, at, terms[k, 0], terms[k, 1], terms[k, 2])
            if value < 0 or (value == 0 and sign == _PRICE):
                return False
            if again == 0:
                values[templates[t] - _ZERO] = value
                t += 1
            else:
                rows[count, 3 + sign - _PRICE] = value
                count += sign - _PRICE
        elif sign == _NAME:
            while at < len(frame) and (_A <= frame[at] <= _Z or _ZERO <= frame[at] <= _NINE or frame[at] == _LINE):
                at += 1
        elif sign == _BEGIN:
            n_bids, again = count, t
            if at < len(frame) and frame[at] == _CLOSE:  # no levels
                while templates[t] != _AGAIN:
                    t += 1
            elif count == LEVELS_MAX:
                return False
        elif at < len(frame) and frame[at] == _COMMA and count < LEVELS_MAX:
            at, t = at + 1, again
        else:
            again = 0
    values[COUNT] = count
    return at == len(frame) and _are_sides(rows, n_bids, count, terms[2, 0], terms[2, 1])


@kernel
def _are_sides(rows: np.ndarray, n_bids: int, count: int, bid_head: int, ask_head: int) -> bool:
    """Whether the prices of each side rise or fall strictly and what is set does not cross; the rows get their heads."""
    bid, ask, trend = 0, 0, 0
    for k in range(count):
        price = rows[k, 3]
        if k == 0 or k == n_bids:
            trend = 0
        else:
            step = 1 if price > rows[k - 1, 3] else -1
            if price == rows[k - 1, 3] or step == -trend:
                return False
            trend = step
        rows[k, 2] = bid_head if k < n_bids else ask_head
        if rows[k, 4] > 0 and k < n_bids:
            bid = max(bid, price)
        elif rows[k, 4] > 0:
            ask = price if ask == 0 else min(ask, price)
    if count > 0:
        rows[count - 1, 2] |= LAST
    return ask == 0 or bid < ask


@kernel
def _steps(frame: bytes, at: int, places: int, units: int, most: int) -> tuple[int, int]:
    """The decimal at ``at`` in steps of a grid, NONE if it is not a whole number of them; and where it ends."""
    start, value, point, kept = at, 0, NONE, 0
    while at < len(frame) and at - start < CHARS_MAX:
        if _ZERO <= frame[at] <= _NINE:
            if point == NONE or at - point <= places:
                value = 10 * value + int(frame[at]) - _ZERO
                kept += 1
            elif frame[at] != _ZERO:
                return NONE, at
        elif frame[at] == _POINT and point == NONE and at > start:
            point = at
        else:
            break
        at += 1
    whole = (at if point == NONE else point) - start
    if whole == 0 or whole + places > DIGITS_MAX:
        return NONE, at
    for _ in range(whole + places - kept):
        value *= 10
    steps = value // units
    return (steps, at) if steps * units == value and steps <= most else (NONE, at)


@kernel
def _whole(frame: bytes, at: int) -> tuple[int, int]:
    """The whole number at ``at``, NONE if there is none as JSON writes it; and where it ends."""
    start, value = at, 0
    while at < len(frame) and at - start < DIGITS_MAX and _ZERO <= frame[at] <= _NINE:
        value = 10 * value + int(frame[at]) - _ZERO
        at += 1
    return (NONE, at) if at == start or (frame[start] == _ZERO and at - start > 1) else (value, at)


@kernel
def _flag(frame: bytes, at: int) -> tuple[int, int]:
    """1 for true, 0 for false, NONE for neither; and where it ends."""
    start, word = at, 0
    while at < len(frame) and at - start < 5 and _A <= frame[at] <= _Z:
        word = 256 * word + int(frame[at])
        at += 1
    return 1 if word == _TRUE else 0 if word == _FALSE else NONE, at


ENTRIES: Final = {_read: (_BYTES, _ROWS, _INTS, _ROWS, _BYTES)}
