"""How fast the built-in market of order books is made, and how often who knows its formula is right.

    python -m tests.benchmarks.bench_book_market [--days 2]

Records a second of processor time on one core, the best of three runs after one that loads the kernels. Then by
strength: the share of the mid's changes by the flow whose direction the oracle has, and the z-score of signed flow
against them. No model can expect to be right about the next change more often than the oracle.
"""

import argparse
import math
import time

import numpy as np

from core import book as books
from core.cast import as_clear, as_level
from core.jit import entry
from core.records import Kind, MarketFlag, Side
from feeds import book_kernel, book_market
from feeds.book_market import BUILTIN_BOOK

IS_LEVEL, IS_CLEAR, BUY = int(Kind.LEVEL), int(Kind.CLEAR), int(Side.BUY)


@entry
def mids_of(records: np.ndarray, held: np.ndarray, mids: np.ndarray) -> None:
    """bid + ask after each record of one instrument, 0 where there is no book."""
    for row in range(len(records)):
        if records[row]["kind"] == IS_LEVEL:
            level = as_level(records[row])
            books.set_level(held[0], level["side"] == BUY, level["price"], level["qty"])
        elif records[row]["kind"] == IS_CLEAR:
            clear = as_clear(records[row])
            books.clear(held[0], clear["side"] == BUY, clear["price"])
        if held[0]["bid"] > 0 and held[0]["ask"] > 0:
            mids[row] = held[0]["bid"] + held[0]["ask"]


def seconds(days: int) -> tuple[float, int]:
    start, rows = time.process_time(), 0
    for records in book_market.market(BUILTIN_BOOK, days=days, seed=7):
        rows += len(records)
    return time.process_time() - start, rows


def oracle(days: int, strength: float) -> tuple[float, float]:
    """Accuracy about the next change's direction, and the z-score of flow x change, over all instruments."""
    records = np.concatenate(list(book_market.market(BUILTIN_BOOK, days=days, seed=7, strength=strength)))
    flow = book_market.foresight(BUILTIN_BOOK, records, strength=1.0)  # rho is 1: the lean is the flow
    hits, products = [], []
    for index in range(len(BUILTIN_BOOK.listings)):
        mine = records["instrument"] == index
        mids = np.zeros(int(mine.sum()), np.int64)
        mids_of(records[mine], books.new_books(1), mids)
        whole = np.flatnonzero((records["flags"][mine] & MarketFlag.LAST != 0) & (mids > 0))
        moved = np.diff(mids[whole])
        used = (moved != 0) & (np.abs(moved) <= 2 * book_kernel.MOVE_TICKS_MAX)
        known = flow[mine][whole[:-1]][used]
        hits.append((known > 0) == (moved[used] > 0))
        products.append(known * moved[used])
    product = np.concatenate(products)
    return float(np.concatenate(hits).mean()), float(product.sum() / math.sqrt((product * product).sum()))


def main() -> None:
    """Print the rate and, by strength, what the oracle reaches."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=int, default=2)
    days = parser.parse_args().days
    seconds(1)
    best, rows = min(seconds(days) for _ in range(3))
    print(f"{rows:,} records of {days} days: {rows / best / 1e6:.2f} million a second")
    for strength in (1.0, 0.5, 0.0):
        accuracy, z = oracle(days, strength)
        print(f"strength {strength}: the oracle is right about {accuracy:.2%} of changes, z of signed flow {z:.1f}")


if __name__ == "__main__":
    main()
