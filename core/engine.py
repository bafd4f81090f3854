"""The engine: entry points that feed records to the core and to the simulated venue.

``run`` is ``on_record`` in a loop, ``on_record`` is the venue plus ``on_core_record``; chunking changes nothing. For
one input, the venue's ORDER and FILL records come first in ``out`` (the core has taken them before the input), then
everything the core made of the input. So a journal is: those ORDER and FILL records, the input, the rest; and fed back
record by record to ``on_core_record`` it reproduces every output and every byte of the state.

Arrays: ``config`` (1,) CONFIG, ``state`` (1,) STATE, ``venue`` (1,) VENUE, ``record`` (1,) of any record dtype,
``out`` RECORD, ``marks`` MARK, ``bars`` BAR or RECORD, ``predictions`` PREDICTION or RECORD, ``rows`` int64.
"""

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba.core import types

from core import inputs, risk, simulator, step
from core.cast import as_bar, as_command, as_prediction
from core.errors import BadInput, require
from core.jit import compiled, kernel, rare, readable, writable
from core.layout import BOOK, CONFIG, OUTBOX, OUTBOX_SLOTS, STATE, VENUE, zeros
from core.outbox import flush
from core.prefetch import ROWS_AHEAD, prefetch_row
from core.records import BAR, FILL, INTENT, MARK, ORDER, PREDICTION, RECORD, Kind
from core.strategies.compiled import HANDLE, Compiled

IS_BAR: Final = int(Kind.BAR)
IS_PREDICTION: Final = int(Kind.PREDICTION)
IS_FILL: Final = int(Kind.FILL)
IS_COMMAND: Final = int(Kind.COMMAND)
IS_INTENT: Final = int(Kind.INTENT)
IS_MARK: Final = int(Kind.MARK)
NO_BOOKS: Final = np.zeros(0, BOOK)
OUT_PER_INPUT: Final = 2 * OUTBOX_SLOTS  # the most records one input can put into ``out``


@dataclass(frozen=True, slots=True)
class Session:
    """A finished session: everything but the inputs, in order; one mark per bar; the end states."""

    out: np.ndarray  # (n,) RECORD
    marks: np.ndarray  # (bars,) MARK
    state: np.ndarray  # (1,) STATE
    venue: np.ndarray  # (1,) VENUE


def new_state(config: np.ndarray) -> np.ndarray:
    """A flat account with its initial cash, shape (1,), dtype STATE."""
    state = zeros(1, STATE)
    account = state[0]["account"]
    account["cash"] = account["equity"] = config[0]["initial_cash"]
    account["next_order_id"] = 1
    for position, market in zip(state[0]["positions"], config[0]["markets"], strict=True):
        position["proposal"]["cost"] = market["params"]["cost_ppm"]  # what a strategy that states none reckons with
    risk.start(state[0])
    return state


def new_venue(config: np.ndarray) -> np.ndarray:
    """A simulated venue without orders, shape (1,), dtype VENUE."""
    return zeros(1, VENUE)


def on_record(
    config: np.ndarray, state: np.ndarray, venue: np.ndarray, record: np.ndarray, out: np.ndarray, strategy: Compiled
) -> int:
    """Feed one BAR, PREDICTION or COMMAND; returns how many records were put into ``out``.

    ``out`` must hold ``OUT_PER_INPUT`` records. Raises BadInput for a record that cannot be used.
    """
    if len(out) < OUT_PER_INPUT:
        raise BadInput(f"out holds {len(out)} records, one input may make {OUT_PER_INPUT}: give a larger array")
    count: int = compiled(_on_record, *ENTRIES[_on_record])(
        config, state, venue, record.view(RECORD), outbox(), out, strategy.handle
    )
    return count


def on_core_record(
    config: np.ndarray,
    state: np.ndarray,
    record: np.ndarray,
    out: np.ndarray,
    strategy: Compiled,
    books: np.ndarray = NO_BOOKS,
) -> int:
    """Feed one input of any kind to the core alone (live and replay); returns how many records were put into ``out``.

    ``books``: (instruments,) BOOK, for an account that trades books. ``out`` must hold ``OUT_PER_INPUT`` records.
    Raises BadInput for a record that cannot be used.
    """
    if len(out) < OUT_PER_INPUT:
        raise BadInput(f"out holds {len(out)} records, one input may make {OUT_PER_INPUT}: give a larger array")
    count: int = compiled(_on_core_record, *ENTRIES[_on_core_record])(
        config, state, books, record.view(RECORD), outbox(), out, strategy.handle
    )
    return count


@functools.cache
def outbox() -> np.ndarray:
    """One outbox for all calls: each leaves it empty, and 64 KiB need not be cleared for every record."""
    return zeros(1, OUTBOX)


def run(
    config: np.ndarray,
    state: np.ndarray,
    venue: np.ndarray,
    bars: np.ndarray,
    predictions: np.ndarray,
    rows: np.ndarray,
    start: int,
    out: np.ndarray,
    marks: np.ndarray,
    strategy: Compiled,
) -> tuple[int, int, int, int]:
    """Run rows from ``start``; ``predictions[j]`` arrives after row ``rows[j]`` (ascending).

    Returns (rows done, predictions done, records in ``out``, marks): the first two count from the arrays' beginning,
    so the first is the next ``start``. Stops before a row whose records might not fit; call again with room. An empty
    ``marks`` wants none: writing one a bar costs as much as the bar.
    """
    done: tuple[int, int, int, int] = compiled(_run, *ENTRIES[_run])(
        config,
        state,
        venue,
        bars.view(BAR),
        predictions.view(PREDICTION),
        rows,
        start,
        outbox(),
        out,
        marks,
        strategy.handle,
    )
    return done


def session(
    config: np.ndarray, bars: np.ndarray, predictions: np.ndarray, rows: np.ndarray, strategy: Compiled
) -> Session:
    """A whole session from a flat account. ``strategy``: ``core.strategies.of`` or ``get``.

    Raises BadInput if ``rows`` is not ascending or names rows that do not exist.
    """
    rows = np.ascontiguousarray(rows, np.int64)
    if len(rows) != len(predictions) or (len(rows) and not 0 <= rows[0] <= rows[-1] < len(bars)):
        raise BadInput(f"{len(predictions)} predictions, {len(rows)} rows for {len(bars)} bars: one valid row each")
    if np.any(np.diff(rows) < 0):
        raise BadInput("rows is not ascending: sort the predictions by the row after which they arrive")
    state, venue = new_state(config), new_venue(config)
    out = zeros(len(predictions) + 16 * OUT_PER_INPUT, RECORD)
    marks = zeros(len(bars), MARK)
    start = n_out = 0
    while start < len(bars):
        before = start
        start, _, made, _ = run(
            config, state, venue, bars, predictions, rows, start, out[n_out:], marks[start:], strategy
        )
        n_out += made
        if start == before or len(out) - n_out < 2 * OUT_PER_INPUT:
            out = np.concatenate([out, np.zeros(max(len(out), 16 * OUT_PER_INPUT), RECORD)])
    require(start == len(bars), f"the session stopped at row {start} of {len(bars)}")
    return Session(out=out[:n_out].copy(), marks=marks, state=state, venue=venue)


def _run(
    config: np.ndarray,
    state: np.ndarray,
    venue: np.ndarray,
    bars: np.ndarray,
    predictions: np.ndarray,
    rows: np.ndarray,
    start: int,
    outbox: np.ndarray,
    out: np.ndarray,
    marks: np.ndarray,
    handles: Any,
) -> tuple[int, int, int, int]:
    config_row, state_row, venue_row, handle = config[0], state[0], venue[0], handles[0]
    box = outbox[0]
    box["count"] = 0  # whatever an earlier call left when it raised
    orders, fills, intents = out.view(ORDER), out.view(FILL), out.view(INTENT)
    row, n_out, n_marks, n_rows, n_bars = start, 0, 0, len(rows), len(bars)
    marked = len(marks) > 0
    stop = min(len(bars), start + len(marks)) if marked else len(bars)
    arrived = int(np.searchsorted(rows, start))
    while row < stop:
        last = arrived
        while last < n_rows and rows[last] == row:
            last += 1
        if len(out) - n_out < OUT_PER_INPUT * (1 + last - arrived):
            break
        bar = bars[row]
        prefetch_row(bars[min(row + ROWS_AHEAD, n_bars - 1)])
        step.check_bar(config_row, state_row, bar)
        simulator.on_bar(config_row, venue_row, box, bar)
        if box["count"] > 0:
            n_out = _report(config_row, state_row, box, out, orders, fills, n_out)
        step.on_bar(config_row, state_row, box, bar, handle)
        if box["count"] > 0:
            n_out = _deliver(config_row, venue_row, box, out, intents, n_out)
        while arrived < last:
            step.on_prediction(config_row, state_row, box, predictions[arrived], handle)
            n_out = _deliver(config_row, venue_row, box, out, intents, n_out)
            arrived += 1
        if marked:
            _mark(state_row, bar, marks[n_marks])
            n_marks += 1
        row += 1
    return row, arrived, n_out, n_marks


def _on_record(
    config: np.ndarray,
    state: np.ndarray,
    venue: np.ndarray,
    record: np.ndarray,
    outbox: np.ndarray,
    out: np.ndarray,
    handles: Any,
) -> int:
    config_row, state_row, venue_row, handle = config[0], state[0], venue[0], handles[0]
    box = outbox[0]
    box["count"] = 0  # whatever an earlier call left when it raised
    orders, fills, intents = out.view(ORDER), out.view(FILL), out.view(INTENT)
    kind, n_out = record[0]["kind"], 0
    if kind == IS_BAR:
        bar = as_bar(record[0])
        step.check_bar(config_row, state_row, bar)
        simulator.on_bar(config_row, venue_row, box, bar)
        n_out = _report(config_row, state_row, box, out, orders, fills, n_out)
        step.on_bar(config_row, state_row, box, bar, handle)
    elif kind == IS_PREDICTION:
        step.on_prediction(config_row, state_row, box, as_prediction(record[0]), handle)
    elif kind == IS_COMMAND:
        step.on_command(config_row, state_row, box, as_command(record[0]))
    else:
        raise BadInput("on_record takes BAR, PREDICTION and COMMAND records: orders and fills are the venue's to make")
    return _deliver(config_row, venue_row, box, out, intents, n_out)


def _on_core_record(
    config: np.ndarray,
    state: np.ndarray,
    books: np.ndarray,
    record: np.ndarray,
    outbox: np.ndarray,
    out: np.ndarray,
    handles: Any,
) -> int:
    box = outbox[0]
    box["count"] = 0  # whatever an earlier call left when it raised
    config_row, state_row, handle, kind = config[0], state[0], handles[0], record[0]["kind"]
    if inputs.is_of_book(kind):
        inputs.check_book(record[0], len(books))
        inputs.market_input(config_row, state_row, books[record[0]["instrument"]], record[0], box, handle)
    else:
        if inputs.sees_depth(kind):
            for index in range(len(books)):
                inputs.see_depth(state_row, books[index], index)
        inputs.core_input(config_row, state_row, record[0], box, handle)
    return flush(box, out, 0)


@rare
def _report(
    config: np.void,
    state: np.void,
    box: np.void,
    out: np.ndarray,
    orders: np.ndarray,
    fills: np.ndarray,
    n_out: int,
) -> int:
    """Move the venue's records to ``out`` and feed them to the core; ``orders``, ``fills`` are views of ``out``."""
    first, n_out = n_out, flush(box, out, n_out)
    for k in range(first, n_out):
        if out[k]["kind"] == IS_FILL:
            step.on_fill(config, state, box, fills[k])
        else:
            step.on_order(config, state, box, orders[k])
    return n_out


@rare
def _deliver(config: np.void, venue: np.void, box: np.void, out: np.ndarray, intents: np.ndarray, n_out: int) -> int:
    """Move the core's records to ``out`` and its intents on to the venue."""
    first, n_out = n_out, flush(box, out, n_out)
    for k in range(first, n_out):
        if out[k]["kind"] == IS_INTENT:
            simulator.submit(config, venue, intents[k])
    return n_out


@kernel
def _mark(state: np.void, bar: np.void, mark: np.void) -> None:
    """The account after a bar and the predictions that followed it."""
    account = state["account"]
    mark["ts_event"] = bar["ts_event"]
    mark["ts_known"] = bar["ts_known"]
    mark["kind"] = IS_MARK
    mark["side"] = 0
    mark["instrument"] = bar["instrument"]
    mark["reason"] = 0
    mark["flags"] = 0
    mark["equity"] = account["equity"]
    mark["cash"] = account["cash"]
    mark["exposure"] = account["exposure"]
    mark["peak_equity"] = state["risk"]["peak_equity"]
    mark["state"] = state["risk"]["state"]


ENTRIES: Final = {
    _run: (
        readable(CONFIG),
        writable(STATE),
        writable(VENUE),
        readable(BAR),
        readable(PREDICTION),
        readable(np.dtype("<i8")),
        types.int64,
        writable(OUTBOX),
        writable(RECORD),
        writable(MARK),
        HANDLE,
    ),
    _on_record: (
        readable(CONFIG),
        writable(STATE),
        writable(VENUE),
        readable(RECORD),
        writable(OUTBOX),
        writable(RECORD),
        HANDLE,
    ),
    _on_core_record: (
        readable(CONFIG),
        writable(STATE),
        writable(BOOK),
        readable(RECORD),
        writable(OUTBOX),
        writable(RECORD),
        HANDLE,
    ),
}
