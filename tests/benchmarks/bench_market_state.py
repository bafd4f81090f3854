"""Speed of the book kernel: ``python -m tests.benchmarks.bench_market_state [--rows 2000000]`` prints one JSON line.

A generated market (``tests.features.test_market_state.market``), or with ``--tape`` a file of ``core.records.RECORD``
with depth. ``batch_per_s``: records a second in one batch; ``book_per_s``: the same tape through ``core.book`` alone,
which is the floor; ``events``: MarketStates made; ``update_us``: one call from Python, median and 99th percentile.
"""

import argparse
import json
import time

import numpy as np

from core import book as books
from core.cast import as_level
from core.jit import entry
from core.records import RECORD, Kind, Side
from features import book
from features.market_state import EXTRA, MARKET_STATE, BookSpec
from tests.features.test_market_state import market

SPEC = BookSpec("binance", "crypto_spot", has_depth=True)
IS_LEVEL, BUY = int(Kind.LEVEL), int(Side.BUY)
BATCH = 65_536


@entry
def rebuild(held: np.ndarray, records: np.ndarray) -> None:
    for row in range(len(records)):
        if records[row]["kind"] == IS_LEVEL:
            level = as_level(records[row])
            books.set_level(held[0], level["side"] == BUY, level["price"], level["qty"])


def batch(records: np.ndarray) -> int:
    """In pieces, as a tape larger than memory is read: the rows of a piece are written to the same memory."""
    state, held = book.new_state([SPEC])
    out, extra, ready = np.zeros(BATCH, MARKET_STATE), np.zeros(BATCH, EXTRA), np.zeros(BATCH, bool)
    return sum(
        book.batch(state, held, records[start : start + BATCH], start, out, extra, ready)
        for start in range(0, len(records), BATCH)
    )


def best_s(call, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats + 1):  # the first one compiles
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def calls_us(records: np.ndarray) -> list[float]:
    state, held = book.new_state([SPEC])
    out, extra, times = np.zeros(1, MARKET_STATE), np.zeros(1, EXTRA), []
    for seq in range(len(records)):
        record = records[seq : seq + 1]
        start = time.perf_counter_ns()
        book.update(state, held, record, seq, out, extra)
        times.append(time.perf_counter_ns() - start)
    return [round(float(value) / 1000, 2) for value in np.percentile(times, (50, 99))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--tape", default="", help="a .npy of records instead of the generated market")
    options = parser.parse_args()
    records = np.load(options.tape).view(RECORD) if options.tape else market(1, options.rows)
    figures = {
        "records": len(records),
        "events": batch(records),
        "batch_per_s": int(len(records) / best_s(lambda: batch(records))),
        "book_per_s": int(len(records) / best_s(lambda: rebuild(books.new_books(1), records))),
        "update_us": calls_us(records[:200_000]),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
