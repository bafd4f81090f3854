"""The engine on books: two clocks, one tape.

The exchange sees a record at its ``ts_event``, we see it at ``ts_known``; orders and reports travel between the two.
At equal times: our data, our reports, the exchange's data, the exchange's requests; a decision comes after all of
them. Nothing depends on how a run is cut into pieces.

A tape is sorted by ``ts_known``. If its ``ts_event`` are not ascending as well, ``exchange_order`` gives the order in
which the exchange sees the rows. Arrays: ``config`` (1,) CONFIG, ``tape`` (n,) RECORD.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba.core import types

from core import book as books
from core import engine, exchange, inputs, step
from core.cast import as_fill, as_intent, as_level, as_order, as_status, as_trade
from core.errors import BadInput, require
from core.jit import compiled, inlined, rare, readable, writable
from core.layout import BOOK, CONFIG, CURSOR, EXCHANGE, OUTBOX, REQUEST_SLOTS, RESPONSE_SLOTS, STATE, zeros
from core.outbox import flush
from core.prefetch import ROWS_AHEAD, prefetch_row
from core.records import RECORD, Kind, MarketFlag
from core.strategies.compiled import HANDLE, Compiled
from core.units import as_int

NEVER: Final = exchange.NEVER
IS_LEVEL: Final = int(Kind.LEVEL)
IS_TRADE: Final = int(Kind.TRADE)
IS_CLEAR: Final = int(Kind.CLEAR)
IS_STATUS: Final = int(Kind.STATUS)
IS_FILL: Final = int(Kind.FILL)
LAST: Final = int(MarketFlag.LAST)
IS_INTENT: Final = int(Kind.INTENT)
OUT_PER_INPUT: Final = engine.OUT_PER_INPUT
ONE: Final = np.uint64(1)
AHEAD: Final = np.uint64(ROWS_AHEAD)
_OUT_START: Final = 16 * OUT_PER_INPUT


def exchange_order(tape: np.ndarray) -> np.ndarray:
    """The rows of ``tape`` in the order of ``ts_event``, uint64; empty if that is the order they are in."""
    times = tape["ts_event"]
    if len(times) < 2 or bool((times[1:] >= times[:-1]).all()):
        return np.zeros(0, np.uint64)
    return np.argsort(times, kind="stable").astype(np.uint64)


@dataclass(slots=True)
class Run:
    """A session on one tape: its state, and everything it put out so far.

    Raises BadInput for a tape that is not sorted by ``ts_known`` or holds kinds that are not market data.
    """

    config: np.ndarray  # (1,) CONFIG
    tape: np.ndarray  # (n,) RECORD
    strategy: Compiled
    state: np.ndarray  # (1,) STATE
    exchange: np.ndarray  # (1,) EXCHANGE
    books: np.ndarray  # (instruments,) BOOK, as we know them
    exchange_books: np.ndarray  # (instruments,) BOOK, as the exchange knows them
    cursor: np.ndarray  # (1,) CURSOR
    order: np.ndarray  # (n,) or (0,) uint64
    parts: list[np.ndarray]
    buffer: np.ndarray

    def advance(self, rows: int) -> None:
        """Go on until ``rows`` rows of the tape are known to us; beyond its length: to the end of all messages."""
        while not self.cursor[0]["ended"] and self.cursor[0]["local_row"] < rows:
            made = compiled(_run, *ENTRIES[_run])(
                self.config,
                self.state,
                self.exchange,
                self.books,
                self.exchange_books,
                self.tape,
                self.order,
                min(rows, len(self.tape)) if rows <= len(self.tape) else len(self.tape) + 1,
                self.cursor,
                engine.outbox(),
                self.buffer,
                self.strategy.handle,
            )
            if made:
                self.parts.append(self.buffer[:made].copy())

    @property
    def out(self) -> np.ndarray:
        """Every ORDER, FILL, CHECK, DECISION, INTENT and RISK record so far, in order, dtype RECORD."""
        return np.concatenate([np.zeros(0, RECORD), *self.parts])

    @property
    def decisions(self) -> int:
        """How often a TIMER was due."""
        return int(self.cursor[0]["decisions"])


def start(config: np.ndarray, tape: np.ndarray, strategy: Compiled) -> Run:
    """A flat account before the first row of ``tape``."""
    tape = tape.view(RECORD)
    if len(tape) and bool((tape["ts_known"][1:] < tape["ts_known"][:-1]).any()):
        row = int(np.flatnonzero(tape["ts_known"][1:] < tape["ts_known"][:-1])[0]) + 1
        raise BadInput(f"row {row} of the tape is known before the row in front of it: sort by ts_known")
    n = int(config[0]["n_instruments"])
    if len(tape) and int(tape["instrument"].max()) >= n:
        raise BadInput(f"the tape names instrument {tape['instrument'].max()}, the account has 0 to {n - 1}")
    order, cursor, venue = exchange_order(tape), zeros(1, CURSOR), zeros(1, EXCHANGE)
    venue[0]["request_ns"] = venue[0]["response_ns"] = NEVER
    if len(tape):
        first = int(tape["ts_event"][order[0] if len(order) else 0])
        cursor[0]["timer_ns"] = min(first, int(tape["ts_known"][0])) + config[0]["decision_interval_ns"]
    return Run(
        config=config,
        tape=tape,
        strategy=strategy,
        state=engine.new_state(config),
        exchange=venue,
        books=books.new_books(n),
        exchange_books=books.new_books(n),
        cursor=cursor,
        order=order,
        parts=[],
        buffer=zeros(_OUT_START, RECORD),
    )


def session(config: np.ndarray, tape: np.ndarray, strategy: Compiled) -> Run:
    """A whole session on ``tape`` from a flat account, to the last message. ``strategy``: ``core.strategies.of``."""
    run = start(config, tape, strategy)
    run.advance(len(tape) + 1)
    require(bool(run.cursor[0]["ended"]), "the session stopped before the end of its tape")
    return run


def _run(
    config: np.ndarray,
    state: np.ndarray,
    venue: np.ndarray,
    books_here: np.ndarray,
    books_there: np.ndarray,
    tape: np.ndarray,
    order: np.ndarray,
    until: int,
    cursor: np.ndarray,
    outbox: np.ndarray,
    out: np.ndarray,
    handles: Any,
) -> int:
    """Go on from ``cursor`` until ``until`` rows are known or ``out`` is nearly full; returns the records in it."""
    config_row, state_row, venue_row, at = config[0], state[0], venue[0], cursor[0]
    handle = handles[0]
    box = outbox[0]
    box["count"] = 0  # whatever an earlier call left when it raised
    n, permuted, n_out, room = np.uint64(len(tape)), len(order) > 0, 0, len(out) - OUT_PER_INPUT
    # Rows are counted without a sign: where one could be negative, every look into the tape would ask for it.
    there, here, end = np.uint64(at["exchange_row"]), np.uint64(at["local_row"]), np.uint64(until)
    timer, wakes, interval = at["timer_ns"], config_row["decide_on_event"] == 1, config_row["decision_interval_ns"]
    data_there = tape[order[there] if permuted else there]["ts_event"] if there < n else NEVER
    data_here = tape[here]["ts_known"] if here < n else NEVER
    while n_out <= room and here < end:
        now = min(min(data_there, venue_row["request_ns"]), min(data_here, venue_row["response_ns"]))
        if timer < now and now < NEVER:
            at["decisions"] += 1
            for index in range(len(books_here)):
                inputs.see_depth(state_row, books_here[index], index)
            step.on_timer(config_row, state_row, box, timer, handle)
            if box["count"] > 0:
                n_out = _deliver(config_row, venue_row, box, out, n_out)
            timer += interval
        elif data_here == now:
            if now == NEVER:
                at["ended"] = 1
                break
            while data_here == now:
                record = tape[here]
                inputs.market_input(config_row, state_row, books_here[record["instrument"]], record, box, handle)
                here += ONE
                data_here = tape[here]["ts_known"] if here < n else NEVER
            venue_row["feed_ns"] = now - tape[here - ONE]["ts_event"]
            if box["count"] > 0:
                n_out = _deliver(config_row, venue_row, box, out, n_out)
            timer = now if wakes else timer
        elif venue_row["response_ns"] == now:
            n_out = _hear(config_row, state_row, venue_row, box, out, n_out)
            timer = now if wakes else timer
        elif data_there == now:
            while data_there == now:
                record = tape[order[there] if permuted else there]
                ahead = min(there + AHEAD, n - ONE)
                prefetch_row(tape[order[ahead] if permuted else ahead])
                seen_there(config_row, venue_row, books_there[record["instrument"]], record)
                there += ONE
                data_there = tape[order[there] if permuted else there]["ts_event"] if there < n else NEVER
        else:
            request = venue_row["requests"][venue_row["request_head"] & (REQUEST_SLOTS - 1)]
            exchange.take_request(config_row, venue_row, books_there[request["instrument"]], request)
    at["exchange_row"], at["local_row"], at["timer_ns"] = there, here, timer
    return n_out


@inlined
def seen_there(config: np.void, venue: np.void, book: np.void, record: np.void) -> None:
    """The exchange sees a row."""
    if record["kind"] == IS_LEVEL:
        exchange.on_level(config, venue, book, as_level(record))
    else:
        _seen_there_seldom(config, venue, book, record)


@rare
def _seen_there_seldom(config: np.void, venue: np.void, book: np.void, record: np.void) -> None:
    """The exchange sees a row that is no LEVEL."""
    kind, index = record["kind"], as_int(record["instrument"])
    if kind == IS_TRADE:
        exchange.on_trade(config, venue, as_trade(record))
        if record["flags"] & LAST != 0 and venue["matching"][index]["stops"] > 0:
            exchange.on_whole(config, venue, book, index, record["ts_event"])
    elif kind == IS_CLEAR:
        books.clear(book, record["side"] == 1, record["a"])
        if record["flags"] & LAST != 0:
            exchange.on_whole(config, venue, book, index, record["ts_event"])
    elif kind == IS_STATUS:
        exchange.on_status(config, venue, book, as_status(record))


@rare
def _hear(config: np.void, state: np.void, venue: np.void, box: np.void, out: np.ndarray, n_out: int) -> int:
    """The first report has arrived: record it, give it to the core, and send what that leads to."""
    response = venue["responses"][venue["response_head"] & (RESPONSE_SLOTS - 1)]
    out[n_out] = response
    if response["kind"] == IS_FILL:
        step.on_fill(config, state, box, as_fill(response))
    else:
        step.on_order(config, state, box, as_order(response))
    exchange.drop_response(venue)
    return _deliver(config, venue, box, out, n_out + 1)


@rare
def _deliver(config: np.void, venue: np.void, box: np.void, out: np.ndarray, n_out: int) -> int:
    """Move the core's records to ``out`` and put its intents on their way."""
    for k in range(box["count"]):
        if box["records"][k]["kind"] == IS_INTENT:
            exchange.send(config, venue, as_intent(box["records"][k]))
    return flush(box, out, n_out)


ENTRIES: Final = {
    _run: (
        readable(CONFIG),
        writable(STATE),
        writable(EXCHANGE),
        writable(BOOK),
        writable(BOOK),
        readable(RECORD),
        readable(np.dtype("<u8")),
        types.int64,
        writable(CURSOR),
        writable(OUTBOX),
        writable(RECORD),
        HANDLE,
    )
}
