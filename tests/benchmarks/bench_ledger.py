"""A long ledger, written, verified, and with one planted error: ``python -m tests.benchmarks.bench_ledger``.

Prints one JSON line: a million entries by default (six a fill), how long they take to write under every constraint and
to verify, the breaks found (0), and where an entry that was altered by its smallest unit, 1e-8 of the quote, is found.
``fill_us``: one fill with all that follows from it, written inside one transaction.
"""

import argparse
import json
import sqlite3
import sys
import time

import numpy as np

from core.instruments import Instrument
from core.records import FILL, RECORD, FeeAsset, Kind, Side
from runner.journal_schema import insert_batch
from runner.ledger import Ledger, LedgerBroken
from runner.schema import OBJECTS

BTC = Instrument(symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001", taker_fee_ppm=1000)
ENTRIES_PER_FILL = 6
CASH = 10**14
BATCH = 1000


def fills(count: int, seed: int) -> np.ndarray:
    """A SESSION record, then ``count`` fills at random prices, buys and sales in turn so that cash lasts."""
    rng = np.random.default_rng(seed)
    records = np.zeros(count + 1, RECORD)
    records["kind"][0] = Kind.SESSION
    view = records[1:].view(FILL)
    view["kind"], view["flags"] = Kind.FILL, FeeAsset.QUOTE
    view["side"] = np.where(np.arange(count) % 2 == 0, Side.BUY, Side.SELL)
    view["order_id"] = view["exec_id"] = np.arange(1, count + 1)
    view["price"] = rng.integers(5_900_000, 6_100_000, count)
    view["qty"] = rng.integers(1, 1000, count)
    view["fee"] = rng.integers(1, 1_000_000, count)
    return records


def empty() -> Ledger:
    made = Ledger((BTC,), "USDT", CASH)
    made.start(bytes(32))
    return made


def write(records: np.ndarray) -> tuple[sqlite3.Connection, Ledger]:
    """A database in memory that holds the ledger of ``records``."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for sql in OBJECTS.values():
        connection.execute(sql)
    ledger = empty()
    for first in range(0, len(records), BATCH):
        part = records[first : first + BATCH]
        connection.execute("BEGIN")
        insert_batch(connection, first, part.tobytes(), bytes(32))
        ledger.post(connection, first, part)
        connection.execute("COMMIT")
    return connection, ledger


def verify(connection: sqlite3.Connection, records: np.ndarray) -> str:
    """The first break; an empty text if there is none."""
    try:
        with empty().checking(connection) as check:
            for first in range(0, len(records), BATCH):
                check(first, records[first : first + BATCH])
    except LedgerBroken as error:
        return str(error)
    return ""


def plant(connection: sqlite3.Connection, entry: int) -> None:
    """Alter ``entry`` by its smallest unit, keeping its own arithmetic right: constraints off."""
    connection.execute("DROP TRIGGER entry_no_update")
    connection.execute("UPDATE entry SET delta = delta + 1, balance_after = balance_after + 1 WHERE id = ?", (entry,))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write and verify a long ledger.")
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    records = fills(-(-options.entries // ENTRIES_PER_FILL), options.seed)
    began = time.process_time()
    connection, ledger = write(records)
    written = time.process_time()
    found = verify(connection, records)
    verified = time.process_time()
    entry = ledger.entry_count * 2 // 3
    plant(connection, entry)
    row = {
        "entries": ledger.entry_count,
        "write_s": round(written - began, 2),
        "fill_us": round(1e6 * (written - began) / (len(records) - 1), 1),
        "verify_s": round(verified - written, 2),
        "breaks": int(bool(found)),
        "planted_in": entry,
        "found": verify(connection, records),
    }
    sys.stdout.write(json.dumps(row) + "\n")
    return 0 if not found and f"entry {entry}:" in row["found"] else 1


if __name__ == "__main__":
    sys.exit(main())
