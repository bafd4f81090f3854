"""Replay, the compiled part: feed a journal's inputs to the core again and hold what comes out against the journal.

The order of a journal's records is a contract. An output (kind 32 and up) belongs to the inputs before it, and comes
right after them. Only what the venue said may be followed by another input: a bar's ORDER and FILL records precede
the bar that brought them, and what the core made of all of them follows the bar. So after an input its outputs must
come next, to the last one, unless it was an ORDER or a FILL; those may also wait for the next input that is neither.
"""

from typing import Any, Final

import numpy as np

from core import inputs
from core.errors import BadInput
from core.jit import compiled, kernel, readable, writable
from core.layout import BOOK, CONFIG, OUTBOX, OUTBOX_SLOTS, STATE
from core.outbox import flush
from core.records import RECORD, Kind
from core.strategies.compiled import HANDLE, Compiled

PLACE: Final = np.dtype(
    [
        ("row", "<i8"),  # of the batch: where it stopped
        ("head", "<i8"),  # outputs of ``due`` that the journal held
        ("count", "<i8"),  # outputs in ``due``
        ("reported", "<i8"),  # 1: the last input was an ORDER or FILL, its outputs may still wait
        ("fault", "<i8"),  # why it stopped
    ]
)
# PLACE.fault
NONE: Final = 0
INPUT_EARLY: Final = 1  # an input, where an output is still due
OUTPUT_UNDUE: Final = 2  # an output, where none is due
OUTPUT_DIFFERS: Final = 3
DUE_RECORDS: Final = 16 * OUTBOX_SLOTS  # outputs that may wait: more than the reports of one bar can cause

FIRST_OUTPUT: Final = int(Kind.DECISION)
IS_ORDER: Final = int(Kind.ORDER)
IS_FILL: Final = int(Kind.FILL)


def new_place() -> np.ndarray:
    """The place before the first record, shape (1,), dtype PLACE."""
    return np.zeros(1, PLACE)


def new_due() -> np.ndarray:
    """Room for the outputs that the journal must hold next, dtype RECORD."""
    return np.zeros(DUE_RECORDS, RECORD)


def advance(
    config: np.ndarray,
    state: np.ndarray,
    books: np.ndarray,
    records: np.ndarray,
    place: np.ndarray,
    due: np.ndarray,
    strategy: Compiled,
) -> int:
    """Replay the next ``records`` of a journal; the row where it parted from the core, ``len(records)`` if nowhere.

    ``place`` and ``due`` are carried from batch to batch. Raises BadInput or BrokenInvariant for an input that the
    core does not take: ``place["row"]`` is then its row.
    """
    row: int = compiled(_advance, *ENTRIES[_advance])(config, state, books, records, place, due, strategy.handle)
    return row


def _advance(
    config: np.ndarray,
    state: np.ndarray,
    books: np.ndarray,
    records: np.ndarray,
    place: np.ndarray,
    due: np.ndarray,
    handles: Any,
) -> int:
    outbox = np.zeros(1, OUTBOX)
    config_row, state_row, at, box, handle = config[0], state[0], place[0], outbox[0], handles[0]
    head, count, reported, fault = at["head"], at["count"], at["reported"], NONE
    row = 0
    while row < len(records):
        record = records[row]
        kind = record["kind"]
        if kind >= FIRST_OUTPUT:
            if head == count:
                fault = OUTPUT_UNDUE
                break
            if not same(record, due[head]):
                fault = OUTPUT_DIFFERS
                break
            head += 1
            reported = 0
        else:
            if head < count and reported == 0:
                fault = INPUT_EARLY
                break
            if head == count:
                head, count = 0, 0
            at["row"], at["head"], at["count"], at["reported"] = row, head, count, reported
            if count + OUTBOX_SLOTS > len(due):
                raise BadInput("more reports without their input than a session can make")
            if inputs.is_of_book(kind):
                inputs.check_book(record, len(books))
                inputs.market_input(config_row, state_row, books[record["instrument"]], record, box, handle)
            else:
                if inputs.sees_depth(kind):
                    for index in range(len(books)):
                        inputs.see_depth(state_row, books[index], index)
                inputs.core_input(config_row, state_row, record, box, handle)
            if box["count"] > 0:
                count = flush(box, due, count)
            reported = 1 if kind in (IS_ORDER, IS_FILL) else 0
        row += 1
    at["row"], at["head"], at["count"], at["reported"], at["fault"] = row, head, count, reported, fault
    return row


@kernel
def same(a: np.void, b: np.void) -> bool:
    """Whether two records of dtype RECORD are equal, byte for byte."""
    return (
        a["ts_event"] == b["ts_event"]
        and a["ts_known"] == b["ts_known"]
        and a["kind"] == b["kind"]
        and a["side"] == b["side"]
        and a["instrument"] == b["instrument"]
        and a["reason"] == b["reason"]
        and a["flags"] == b["flags"]
        and a["a"] == b["a"]
        and a["b"] == b["b"]
        and a["c"] == b["c"]
        and a["d"] == b["d"]
        and a["e"] == b["e"]
    )


ENTRIES: Final = {
    _advance: (
        readable(CONFIG),
        writable(STATE),
        writable(BOOK),
        readable(RECORD),
        writable(PLACE),
        writable(RECORD),
        HANDLE,
    )
}
