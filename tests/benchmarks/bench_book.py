"""How fast a book is: ``python -m tests.benchmarks.bench_book`` prints one JSON line per recorded tape.

Each tape's rows are applied to one book in a compiled loop; ``loop_ns_per_row`` is the same loop without the book, so
``book_ns_per_row`` is their difference. Only LEVEL and CLEAR rows reach the book, and rows are counted alike. CPU time
of the one thread, best of several, so that a busy machine disturbs less. ``window_rows`` lie inside the book's window
when they arrive, ``far_rows`` outside.
"""

import json
import time

import numpy as np

from core import book as books
from core.jit import entry
from core.layout import BOOK, BOOK_TICKS
from core.records import RECORD, Kind, Side
from evaluation import peer, peer_tape
from tests.core.recorded import ENGINES

REPEATS = 9
COPIES = 5  # of the tape, one after the other, so that a region lasts milliseconds
LEVEL, CLEAR, BUY = int(Kind.LEVEL), int(Kind.CLEAR), int(Side.BUY)


@entry
def apply(held: np.ndarray, rows: np.ndarray, copies: int) -> int:
    """Apply ``rows`` to the first of ``held`` (1,) BOOK ``copies`` times; the sum of its best bids."""
    book, total = held[0], 0
    for _ in range(copies):
        books.clear(book, True, 0)
        books.clear(book, False, 0)
        for k in range(len(rows)):
            row = rows[k]
            if row["kind"] == LEVEL:
                books.set_level(book, row["side"] == BUY, row["a"], row["b"])
            elif row["kind"] == CLEAR:
                books.clear(book, row["side"] == BUY, row["a"])
            total += book["bid"]
    return total


@entry
def loop(held: np.ndarray, rows: np.ndarray, copies: int) -> int:
    """``apply`` without the book."""
    book, total = held[0], 0
    for _ in range(copies):
        for k in range(len(rows)):
            row = rows[k]
            if row["kind"] == LEVEL:
                book["n_far"] = row["a"] + row["b"] + row["side"]
            total += book["bid"]
    return total


@entry
def count_far(held: np.ndarray, rows: np.ndarray) -> int:
    """How many LEVEL rows lie outside the window when they arrive."""
    book, far = held[0], 0
    for k in range(len(rows)):
        row = rows[k]
        if row["kind"] == LEVEL:
            far += not 1 <= row["a"] - book["floor"] <= BOOK_TICKS
            books.set_level(book, row["side"] == BUY, row["a"], row["b"])
    return far


def ns_per_row(run: object, rows: np.ndarray) -> float:
    """Best CPU time of ``run`` in ns a row."""
    took = []
    for _ in range(REPEATS):
        held = np.zeros(1, BOOK)
        began = time.thread_time_ns()
        run(held, rows, COPIES)  # type: ignore[operator]
        took.append(time.thread_time_ns() - began)
    return min(took) / (COPIES * len(rows))


def measure(name: str) -> dict[str, object]:
    """The figures of one golden tape."""
    path = ENGINES / f"tape_{name}.npz"
    if not path.exists():
        return {"tape": name, "missing": "recorded data is not beside this checkout: ../shared/golden/engines"}
    tick, lot, *_ = peer.MARKETS[name]
    events = peer_tape.read_events(path)
    rows = np.concatenate([np.zeros(0, RECORD), *peer_tape.converted(events, tick, lot, str(path))])
    whole, bare = ns_per_row(apply, rows), ns_per_row(loop, rows)
    return {
        "tape": name,
        "rows": len(rows),
        "level_rows": int((rows["kind"] == LEVEL).sum()),
        "far_rows": int(count_far(np.zeros(1, BOOK), rows)),
        "ns_per_row": round(whole, 2),
        "loop_ns_per_row": round(bare, 2),
        "book_ns_per_row": round(whole - bare, 2),
    }


if __name__ == "__main__":
    for name in ("binance", "lobster"):
        print(json.dumps(measure(name)))
