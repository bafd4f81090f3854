"""Frames as a venue always writes them, read from raw bytes by a compiled kernel: numbers, ticks, lots and levels.

A template is a frame's text with a sign in place of each value: ``#`` a whole number, ``$`` a price, ``%`` a quantity,
``?`` true or false; the digit behind it is the place of its value, and levels have none. ``*`` is a name of small
letters, digits and ``_``, or nothing. ``<["$","%"]>`` are levels, any number of them with commas between: the bids
where it stands first, then the asks.

A frame matches only if it is the template byte for byte, every price is a whole number of ticks above 0 and every
quantity a whole number of lots, and the levels of each side rise or fall strictly and do not cross. All else is left to
the dialect's own decoder, which alone judges frames: so there is nothing to report here and nothing to decide.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np

from core.jit import kernel
from core.layout import PRICE_TICKS_MAX
from feeds.dialects import LOTS_MAX, TIME_MAX_NS

NONE: Final = -1
PLACES: Final = 8  # values of a template
LEVELS_MAX: Final = 4096  # of one frame
DIGITS_MAX: Final = 18  # of a decimal in its smallest units: they fit 64 bits
CHARS_MAX: Final = 24  # of a decimal
WHOLE_MAX: Final = TIME_MAX_NS  # a count or a time
GRID: Final = np.dtype([("places", "<i8"), ("units", "<i8"), ("most", "<i8")])  # units of the last place in a step
GRIDS: Final = np.dtype([("price", GRID), ("qty", GRID)])

SIGNS: Final = "$%#?*<>"  # in a template; for the kernel they are bytes from 128 on, which no template has otherwise
_PRICE, _QTY, _NUMBER, _FLAG, _NAME, _BEGIN, _AGAIN = range(128, 128 + len(SIGNS))
_END, _ZERO, _NINE, _POINT, _COMMA, _CLOSE, _A, _Z, _LINE = b"\n09.,]az_"
_TRUE, _FALSE = (int.from_bytes(word, "big") for word in (b"true", b"false"))


def compile_templates(templates: Sequence[str]) -> bytes:
    """``templates`` as ``match`` takes them."""
    signs = str.maketrans(SIGNS, "".join(map(chr, range(_PRICE, _AGAIN + 1))))
    return "".join(f"{template}\n" for template in templates).translate(signs).encode("latin-1")


def grids(tick: str, lot: str) -> np.ndarray:
    """(1,) GRIDS of an instrument."""
    made = np.zeros(1, GRIDS)
    made[0] = (_grid(tick, PRICE_TICKS_MAX), _grid(lot, LOTS_MAX))
    return made


def _grid(step: str, most: int) -> tuple[int, int, int]:
    """GRID of ``step``; most -1, so that nothing matches: it is no short decimal."""
    grid, places = Fraction(step), 0
    while (grid * 10**places).denominator > 1 and places < DIGITS_MAX:
        places += 1
    units = grid * 10**places
    is_short = units.denominator == 1 and units <= 10**DIGITS_MAX
    return (places, int(units), most) if is_short else (0, 1, -1)


@kernel
def after(templates: bytes, begin: int) -> int:
    """Where the template after the one at ``begin`` begins."""
    while templates[begin] != _END:
        begin += 1
    return begin + 1


@kernel
def match(
    text: bytes,
    at: int,
    end: int,
    templates: bytes,
    begin: int,
    grids: Any,
    heads: Any,
    values: np.ndarray,
    rows: np.ndarray,
    first: int,
) -> int:
    """How many levels the frame text[at:end] has if it is the template that begins at ``begin``, else NONE.

    Its values are written to ``values`` (PLACES,), those without a place in it are 0, and its levels to columns 2, 3
    and 4 of ``rows`` (n, 8) from row ``first`` on, where there must be room for LEVELS_MAX: ``heads["bid"]`` or
    ``heads["ask"]``, ticks and lots.
    """
    t, value, again, count, n_bids = begin, 0, 0, 0, 0  # again: where the template of a level begins; 0: outside
    for k in range(PLACES):
        values[k] = 0
    while templates[t] != _END:
        sign = int(templates[t])
        t += 1
        if sign < _PRICE:
            if at >= end or text[at] != sign:
                return NONE
            at += 1
        elif sign <= _FLAG:
            if sign == _PRICE:
                value, at = _steps(text, at, end, grids["price"])
            elif sign == _QTY:
                value, at = _steps(text, at, end, grids["qty"])
            elif sign == _NUMBER:
                value, at = whole(text, at, end)
            else:
                value, at = _flag(text, at, end)
            if value < 0 or (value == 0 and sign == _PRICE):
                return NONE
            if again == 0:
                values[templates[t] - _ZERO] = value
                t += 1
            else:
                rows[first + count, 3 + sign - _PRICE] = value
                count += sign - _PRICE
        elif sign == _NAME:
            while at < end and (_A <= text[at] <= _Z or _ZERO <= text[at] <= _NINE or text[at] == _LINE):
                at += 1
        elif sign == _BEGIN:
            n_bids, again = count, t
            if at < end and text[at] == _CLOSE:  # no levels
                while templates[t] != _AGAIN:
                    t += 1
            elif count == LEVELS_MAX:
                return NONE
        elif at < end and text[at] == _COMMA and count < LEVELS_MAX:
            at, t = at + 1, again
        else:
            again = 0
    if at < end or not _are_sides(rows, first, first + n_bids, first + count):
        return NONE
    for row in range(first, first + count):
        rows[row, 2] = heads["bid"] if row < first + n_bids else heads["ask"]
    return count


@kernel
def _are_sides(rows: np.ndarray, bids: int, asks: int, end: int) -> bool:
    """Whether the prices of each side rise or fall strictly and what is set does not cross; they begin at ``asks``."""
    bid, ask, trend = 0, 0, 0
    for k in range(bids, end):
        price = rows[k, 3]
        if k in (bids, asks):
            trend = 0
        else:
            step = 1 if price > rows[k - 1, 3] else -1
            if price == rows[k - 1, 3] or step == -trend:
                return False
            trend = step
        if rows[k, 4] > 0 and k < asks:
            bid = max(bid, price)
        elif rows[k, 4] > 0:
            ask = price if ask == 0 else min(ask, price)
    return ask == 0 or bid < ask


@kernel
def _steps(text: bytes, at: int, end: int, grid: Any) -> tuple[int, int]:
    """The decimal at ``at`` in steps of ``grid``, NONE if it is not a whole number of them; and where it ends."""
    start, value, point, kept, places = at, 0, NONE, 0, grid["places"]
    while at < end and at - start < CHARS_MAX:
        if _ZERO <= text[at] <= _NINE:
            if point == NONE or at - point <= places:
                value = 10 * value + int(text[at]) - _ZERO
                kept += 1
            elif text[at] != _ZERO:
                return NONE, at
        elif text[at] == _POINT and point == NONE:
            point = at
        else:
            break
        at += 1
    n_whole = (at if point == NONE else point) - start
    if n_whole == 0 or n_whole + places > DIGITS_MAX:
        return NONE, at
    for _ in range(n_whole + places - kept):
        value *= 10
    steps = value // grid["units"]
    return (steps, at) if steps * grid["units"] == value and steps <= grid["most"] else (NONE, at)


@kernel
def whole(text: bytes, at: int, end: int) -> tuple[int, int]:
    """The whole number at ``at``, NONE if there is none up to WHOLE_MAX as JSON writes it; and where it ends."""
    start, value = at, 0
    while at < end and _ZERO <= text[at] <= _NINE:
        value = 10 * value + int(text[at]) - _ZERO
        at += 1
        if value > WHOLE_MAX:
            return NONE, at
    return (NONE, at) if at == start or (text[start] == _ZERO and at - start > 1) else (value, at)


@kernel
def _flag(text: bytes, at: int, end: int) -> tuple[int, int]:
    """1 for true, 0 for false, NONE for neither; and where it ends."""
    start, word = at, 0
    while at < end and at - start < 5 and _A <= text[at] <= _Z:
        word = 256 * word + int(text[at])
        at += 1
    return 1 if word == _TRUE else 0 if word == _FALSE else NONE, at
