"""Rolling mean, sample standard deviation, minimum, maximum and sum over several windows: one compiled implementation.

State is one record of dtype STATE per instrument and carries its own windows, so a state array is all there is to
copy, compare or restore. Shapes: ``state`` (1,), ``x`` and ``v`` (rows,) float64, ``out`` (rows, n_columns) float64 in
any memory order; in order "F" each column is contiguous. ``columns(windows)`` names the columns. Each is NaN until its
window is full.

Method (van Herk, "A fast algorithm for local minimum and maximum filters", 1992, here for sums too): rows are cut into
blocks as long as the window. A window ends in one block and began in the one before, so it is a tail of the earlier
block, folded from its end once per block, and a head of the current one, folded as rows come. Nothing is ever
subtracted from a sum, so nothing drifts, and a row costs two folding steps on average whatever the window: a whole
block is folded in the row behind it.

Deviations are from the first value of the current block. It lies inside every window that ends in the block, so its
square distance from the window's mean is at most the window's own sum of squares: whatever the offset of the values,
the relative error of a variance is in the order of window^2 * 2^-53 at worst, and a constant window has exactly 0.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numba.core import types

from core.errors import BadConfig, BadInput
from core.jit import compiled, kernel, readable, writable
from core.layout import zeros

WINDOWS_MAX: Final = 16
ROWS_MAX: Final = 8_192  # of all windows together
MAGNITUDE_MAX: Final = 1e100  # of a value: sums of its squares stay finite
STATISTICS: Final = ("mean", "std", "min", "max", "sum")  # the last of ``v``, the others of ``x``
_PER_WINDOW: Final = len(STATISTICS)
_CHUNK: Final = 4_096  # rows that every window takes before the next ones: they are still in the cache
_ONE: Final = np.uint64(1)

PART: Final = np.dtype(  # some rows, folded
    [
        ("deviation", "<f8"),  # sum of x - origin
        ("square", "<f8"),  # sum of its squares
        ("low", "<f8"),
        ("high", "<f8"),
        ("v", "<f8"),  # sum of v
    ]
)
WINDOW: Final = np.dtype(
    [
        ("rows", "<u8"),  # length
        ("first", "<u8"),  # its first tail
        ("at", "<u8"),  # rows of the current block so far
        ("origin", "<f8"),  # first x of the current block
        ("head", PART),  # the current block so far
    ]
)
STATE: Final = np.dtype(
    [
        ("n_windows", "<u8"),
        ("windows", WINDOW, (WINDOWS_MAX,)),
        # Of each window, one for every row of a block and an empty one behind. Tail k: the earlier block from row k on.
        # Where the current block has been already it holds that row alone: x in ``low``, v in ``v``.
        ("tails", PART, (ROWS_MAX + WINDOWS_MAX,)),
    ]
)


def columns(windows: Sequence[int]) -> list[str]:
    """The names of the columns of ``out``, such as ``mean10``."""
    return [f"{statistic}{window}" for window in windows for statistic in STATISTICS]


def new_state(windows: Sequence[int]) -> np.ndarray:
    """The state before the first row, shape (1,), dtype STATE. Raises BadConfig for windows it has no room for."""
    if not 1 <= len(windows) <= WINDOWS_MAX:
        raise BadConfig(f"{len(windows)} rolling windows; a state has room for 1 to {WINDOWS_MAX}: use several states")
    if min(windows) < 2:
        raise BadConfig(f"a rolling window of {min(windows)} rows has no standard deviation: take at least 2")
    if sum(windows) > ROWS_MAX:
        raise BadConfig(
            f"rolling windows of {sum(windows)} rows together; a state holds {ROWS_MAX}: use several states"
        )
    state = zeros(1, STATE)
    state[0]["n_windows"] = len(windows)
    first = 0
    for window, rows in zip(state[0]["windows"], windows, strict=False):
        window["rows"], window["first"] = rows, first
        state[0]["tails"][first : first + rows] = math.nan  # no rows yet; and so is all that is made of them
        state[0]["tails"][first + rows] = (0.0, 0.0, math.inf, -math.inf, 0.0)
        first += rows + 1
    return state


def update(state: np.ndarray, x: float, v: float, out: np.ndarray) -> None:
    """``batch`` of one row: takes it and writes its columns to ``out`` of shape (1, n_columns). Raises as that does."""
    batch(state, np.array([x], np.float64), np.array([v], np.float64), out)


def batch(state: np.ndarray, x: np.ndarray, v: np.ndarray, out: np.ndarray) -> None:
    """Take the rows of ``x`` and ``v`` and write theirs of ``out``; the same bits however rows are cut into calls.

    Raises BadInput, with state and ``out`` untouched, for arrays that do not fit each other and for a value that is no
    number or beyond MAGNITUDE_MAX.
    """
    for name, values in (("x", x), ("v", v)):
        if values.dtype != np.float64 or not values.flags.c_contiguous:
            raise BadInput(f"rolling: {name} is {values.dtype}, or has gaps; it must be contiguous float64: copy it")
    n_columns = int(state[0]["n_windows"]) * _PER_WINDOW
    if len(x) != len(v) or out.shape != (len(x), n_columns):
        raise BadInput(f"rolling: {len(x)} x, {len(v)} v, out of shape {out.shape}; it needs ({len(x)}, {n_columns})")
    refused = compiled(_batch, *ENTRIES[_batch])(state, x, v, out)
    if refused >= 0:
        name, value = ("x", x[refused]) if not abs(x[refused]) <= MAGNITUDE_MAX else ("v", v[refused])
        raise BadInput(
            f"rolling: {name} of row {refused} is {value}; needed is a number of at most {MAGNITUDE_MAX:g}: "
            "drop the row or fill it before"
        )


def _batch(state: np.ndarray, x: np.ndarray, v: np.ndarray, out: np.ndarray) -> int:
    """``batch``; returns the row it refuses, or -1."""
    refused = _first_refused(x, v)
    if refused >= 0:
        return refused
    own = state[0]
    for start in range(0, len(x), _CHUNK):
        stop = min(start + _CHUNK, len(x))
        for index in range(own["n_windows"]):
            column = np.uint64(index) * np.uint64(_PER_WINDOW)
            _take(own, own["windows"][index], x, v, out, column, np.uint64(start), np.uint64(stop))
    return -1


@kernel
def _first_refused(x: np.ndarray, v: np.ndarray) -> int:
    for row in range(len(x)):
        if not (abs(x[row]) <= MAGNITUDE_MAX and abs(v[row]) <= MAGNITUDE_MAX):
            return row
    return -1


@kernel
def _take(
    own: np.void,
    window: np.void,
    x: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    column: np.uint64,
    row: np.uint64,
    end: np.uint64,
) -> None:
    """One window's columns, from ``column`` on, of the rows from ``row`` to ``end``."""
    while row < end:
        if window["at"] == window["rows"] or window["at"] == 0:
            _begin_block(own, window, x[row])
        until = min(end, row + window["rows"] - window["at"])
        _take_head(own, window, x, v, out, column, row, until)
        row = until


@kernel
def _begin_block(own: np.void, window: np.void, origin: float) -> None:
    """Fold the block that is whole, if there is one, from its end, with deviations from ``origin``."""
    deviation, square, low, high, volume = 0.0, 0.0, math.inf, -math.inf, 0.0
    first = window["first"]
    at = first + window["rows"]
    while at > first:
        at -= _ONE
        tail = own["tails"][at]
        x = tail["low"]
        d = x - origin
        deviation += d
        square += d * d
        low = low if low < x else x  # so that NaN, no row, is kept
        high = high if high > x else x
        volume += tail["v"]
        tail["deviation"], tail["square"], tail["low"], tail["high"], tail["v"] = deviation, square, low, high, volume
    head = window["head"]
    head["deviation"], head["square"], head["low"], head["high"], head["v"] = 0.0, 0.0, math.inf, -math.inf, 0.0
    window["at"], window["origin"] = 0, origin


@kernel
def _take_head(
    own: np.void,
    window: np.void,
    x: np.ndarray,
    v: np.ndarray,
    out: np.ndarray,
    column: np.uint64,
    row: np.uint64,
    until: np.uint64,
) -> None:
    """Rows of one block join its head; with the tail behind each of them that makes its window."""
    head, origin, rows = window["head"], window["origin"], float(window["rows"])
    per_freedom = 1.0 / (rows - 1.0)
    deviation, square, low, high, volume = head["deviation"], head["square"], head["low"], head["high"], head["v"]
    at = window["first"] + window["at"]
    window["at"] += until - row
    while row < until:
        d = x[row] - origin
        deviation += d
        square += d * d
        low = min(low, x[row])
        high = max(high, x[row])
        volume += v[row]
        tail = own["tails"][at + _ONE]
        whole = tail["deviation"] + deviation
        mean = whole / rows
        spread = tail["square"] + square - whole * mean  # not below 0: its error is smaller, see above
        out[row, column] = origin + mean
        out[row, column + np.uint64(1)] = math.sqrt(spread * per_freedom)
        out[row, column + np.uint64(2)] = low if low < tail["low"] else tail["low"]
        out[row, column + np.uint64(3)] = high if high > tail["high"] else tail["high"]
        out[row, column + np.uint64(4)] = tail["v"] + volume
        own["tails"][at]["low"], own["tails"][at]["v"] = x[row], v[row]
        at += _ONE
        row += _ONE
    head["deviation"], head["square"], head["low"], head["high"], head["v"] = deviation, square, low, high, volume


_VALUES: Final = readable(np.dtype("<f8"))
ENTRIES: Final = {_batch: (writable(STATE), _VALUES, _VALUES, types.Array(types.float64, 2, "A"))}
