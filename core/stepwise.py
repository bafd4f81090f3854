"""The engine on books as the runner drives it: rows as they are received, and nothing sent before it is journaled.

The order of events is that of ``core.ticks``; ``tests/parity`` holds the two to equal bytes. Three things differ:

- Rows lie in two queues: ``here`` by ``ts_known``, as we see them, and ``there`` by ``ts_event``, as the simulated
  exchange does. More may be on their way, so only events before ``until_ns`` are taken: every row that belongs before
  that time, on either clock, must be in the queues. NEVER: there are no more rows.
- ``out`` gets what a journal holds, in its order (``core.replay``): each row, TIMER and report right before what the
  core made of it.
- An INTENT stays where it is. ``advance`` stops at the end of its instant, and goes on after ``send``.

Arrays: ``config`` (1,) CONFIG, ``place`` (1,) PLACE; the others as in ``core.ticks``. A live account has an exchange of
its own: then ``there`` is empty, and its reports are what ``exchange`` holds as responses.
"""

from typing import Any, Final

import numpy as np
from numba.core import types

from core import engine, exchange, inputs, step
from core.cast import as_fill, as_intent, as_order
from core.jit import compiled, inlined, rare, readable, writable
from core.layout import BOOK, CONFIG, EXCHANGE, OUTBOX, REQUEST_SLOTS, RESPONSE_SLOTS, STATE, zeros
from core.outbox import flush
from core.records import RECORD, Kind
from core.strategies.compiled import HANDLE, Compiled
from core.ticks import seen_there

NEVER: Final = exchange.NEVER
ONE: Final = np.uint64(1)
IS_FILL: Final = int(Kind.FILL)
IS_INTENT: Final = int(Kind.INTENT)
IS_TIMER: Final = int(Kind.TIMER)
OUT_PER_INPUT: Final = engine.OUT_PER_INPUT

PLACE: Final = np.dtype(
    [
        (name, "<i8")
        for name in (
            "here_row",  # rows of ``here`` that were taken
            "there_row",
            "here_ns",  # ts_known of the last row taken, its instant whole
            "there_ns",  # ts_event of the last row the exchange took
            "timer_ns",  # when the next decision is due; NEVER before the first event
            "decisions",
            "intents",  # made and not sent
            "fills",  # reported by the last call
            "torn",  # 1: ``out`` was full within an instant, whose other rows come next
            "ended",
        )
    ]
)


def new_place() -> np.ndarray:
    """Before the first row, shape (1,), dtype PLACE."""
    place = np.zeros(1, PLACE)
    place["timer_ns"], place["here_ns"], place["there_ns"] = NEVER, -NEVER, -NEVER
    return place


def new_exchange() -> np.ndarray:
    """An exchange without orders and messages, shape (1,), dtype EXCHANGE."""
    venue = zeros(1, EXCHANGE)
    venue["request_ns"] = venue["response_ns"] = NEVER
    return venue


def advance(
    config: np.ndarray,
    state: np.ndarray,
    venue: np.ndarray,
    books_here: np.ndarray,
    books_there: np.ndarray,
    here: np.ndarray,
    there: np.ndarray,
    until_ns: int,
    place: np.ndarray,
    out: np.ndarray,
    strategy: Compiled,
) -> int:
    """Go on until ``until_ns``, the end of an instant with intents, or a full ``out``; the records in ``out``.

    Call it again until it puts nothing out and ``place`` has no intents. Raises BadInput for rows that are no market
    data.
    """
    made: int = compiled(_advance, *ENTRIES[_advance])(
        config,
        state,
        venue,
        books_here,
        books_there,
        here,
        there,
        until_ns,
        place,
        engine.outbox(),
        out,
        strategy.handle,
    )
    return made


def send(config: np.ndarray, venue: np.ndarray, intents: np.ndarray, place: np.ndarray) -> None:
    """Put ``intents``, dtype RECORD, on their way to the simulated exchange: all those that ``advance`` stopped at.

    Raises BrokenInvariant unless risk approved exactly these.
    """
    compiled(_send, *ENTRIES[_send])(config, venue, intents)
    place["intents"] = 0


def _advance(
    config: np.ndarray,
    state: np.ndarray,
    venue: np.ndarray,
    books_here: np.ndarray,
    books_there: np.ndarray,
    here: np.ndarray,
    there: np.ndarray,
    until: int,
    place: np.ndarray,
    outbox: np.ndarray,
    out: np.ndarray,
    handles: Any,
) -> int:
    config_row, state_row, venue_row, at, handle = config[0], state[0], venue[0], place[0], handles[0]
    box = outbox[0]
    box["count"], at["fills"] = 0, 0  # the box: whatever an earlier call left when it raised
    n_here, n_there, n_out, room = np.uint64(len(here)), np.uint64(len(there)), 0, len(out) - OUT_PER_INPUT
    i, j, timer = np.uint64(at["here_row"]), np.uint64(at["there_row"]), at["timer_ns"]
    wakes, interval = config_row["decide_on_event"] == 1, config_row["decision_interval_ns"]
    data_here = here[i]["ts_known"] if i < n_here else NEVER
    data_there = there[j]["ts_event"] if j < n_there else NEVER
    while n_out <= room and (at["intents"] == 0 or at["torn"] == 1):
        now = min(min(data_there, venue_row["request_ns"]), min(data_here, venue_row["response_ns"]))
        if now == NEVER and until == NEVER:
            at["ended"] = 1
            break
        if timer == NEVER and now < until:
            timer = now + interval
        if timer < min(now, until):
            at["decisions"] += 1
            for index in range(len(books_here)):
                inputs.see_depth(state_row, books_here[index], index)
            _note_timer(out[n_out], timer)
            step.on_timer(config_row, state_row, box, timer, handle)
            n_out = _put(at, box, out, n_out + 1)
            timer += interval
        elif now >= until:
            break
        elif data_here == now:
            while data_here == now and n_out <= room:
                record = here[i]
                out[n_out] = record
                n_out += 1
                inputs.market_input(config_row, state_row, books_here[record["instrument"]], record, box, handle)
                i += ONE
                data_here = here[i]["ts_known"] if i < n_here else NEVER
                if box["count"] > 0:
                    n_out = _put(at, box, out, n_out)
            at["torn"] = int(data_here == now)
            if data_here != now:
                at["here_ns"] = now
                venue_row["feed_ns"] = now - here[i - ONE]["ts_event"]
                timer = now if wakes else timer
        elif venue_row["response_ns"] == now:
            n_out = _hear(config_row, state_row, venue_row, at, box, out, n_out)
            timer = now if wakes else timer
        elif data_there == now:
            at["there_ns"] = now
            while data_there == now:
                record = there[j]
                seen_there(config_row, venue_row, books_there[record["instrument"]], record)
                j += ONE
                data_there = there[j]["ts_event"] if j < n_there else NEVER
        else:
            request = venue_row["requests"][venue_row["request_head"] & (REQUEST_SLOTS - 1)]
            exchange.take_request(config_row, venue_row, books_there[request["instrument"]], request)
    at["here_row"], at["there_row"], at["timer_ns"] = i, j, timer
    return n_out


@inlined
def _note_timer(record: np.void, at_ns: int) -> None:
    """The TIMER that a decision was made on."""
    record["ts_event"] = at_ns
    record["ts_known"] = at_ns
    record["kind"] = IS_TIMER
    record["side"] = 0
    record["instrument"] = 0
    record["reason"] = 0
    record["flags"] = 0
    record["a"] = 0
    record["b"] = 0
    record["c"] = 0
    record["d"] = 0
    record["e"] = 0


@rare
def _hear(
    config: np.void, state: np.void, venue: np.void, at: np.void, box: np.void, out: np.ndarray, n_out: int
) -> int:
    """The first report has arrived: record it and give it to the core."""
    response = venue["responses"][venue["response_head"] & (RESPONSE_SLOTS - 1)]
    out[n_out] = response
    if response["kind"] == IS_FILL:
        at["fills"] += 1
        step.on_fill(config, state, box, as_fill(response))
    else:
        step.on_order(config, state, box, as_order(response))
    exchange.drop_response(venue)
    return _put(at, box, out, n_out + 1)


@rare
def _put(at: np.void, box: np.void, out: np.ndarray, n_out: int) -> int:
    """Move the core's records to ``out`` and count its intents."""
    for k in range(box["count"]):
        at["intents"] += int(box["records"][k]["kind"] == IS_INTENT)
    return flush(box, out, n_out)


def _send(config: np.ndarray, venue: np.ndarray, intents: np.ndarray) -> None:
    for k in range(len(intents)):
        exchange.send(config[0], venue[0], as_intent(intents[k]))


ENTRIES: Final = {
    _advance: (
        readable(CONFIG),
        writable(STATE),
        writable(EXCHANGE),
        writable(BOOK),
        writable(BOOK),
        readable(RECORD),
        readable(RECORD),
        types.int64,
        writable(PLACE),
        writable(OUTBOX),
        writable(RECORD),
        HANDLE,
    ),
    _send: (readable(CONFIG), writable(EXCHANGE), readable(RECORD)),
}
