"""The ledger: double entry per asset, derived from the journal's fills, in whole units of each asset.

Accounts: ``holdings`` (what we own), ``venue`` (the counterparty), ``fees`` (what it charged), ``equity`` (what was
paid in). Every transaction sums to zero in every asset. A buy of q lots at p ticks::

    quote   holdings -cost    venue +cost         cost = ceil(p q value_num / value_den)
    base    holdings +units   venue -units        units = q lot_units
    fee     holdings -fee     fees  +fee          in the asset the fill names

and a sale the other way round with its proceeds rounded down. The arithmetic is Python's unbounded integers, written
apart from the compiled core's on purpose: the two must agree to the unit. Transactions are hash-chained from the
journal's header on. The ledger is a projection: ``check`` rebuilds it from the journal and compares each row.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.canonical import canonical_json
from core.errors import PortcullisError
from core.instruments import Instrument
from core.records import FILL, FeeAsset, Kind, Side

_CAUSES: Final = (Kind.SESSION, Kind.FILL)


class LedgerBroken(PortcullisError):
    """The stored ledger is not the one the journal gives."""

    exit_code = 51


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: ``delta`` units of ``asset`` on ``account``."""

    id: int
    txn: int
    account: str
    asset: str
    delta: int
    balance_before: int
    balance_after: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """The entries one journal record causes, and the hash chain after them."""

    id: int
    seq: int  # the record's sequence number
    cause: str
    entries: tuple[Entry, ...]
    sha256: bytes


def fill_deltas(fill: np.ndarray, instrument: Instrument) -> list[tuple[str, str, int]]:
    """(account, asset, delta in units) for one FILL record, shape (), of ``instrument``."""
    grid = instrument.record()
    qty, num, den = int(fill["qty"]), int(grid["value_num"]), int(grid["value_den"])
    units, fee = qty * int(grid["lot_units"]), int(fill["fee"])
    value = int(fill["price"]) * qty * num
    base, quote = instrument.base, instrument.quote
    if fill["side"] == Side.BUY:
        paid, received = (quote, -(-value // den)), (base, units)
    else:
        paid, received = (base, units), (quote, value // den)
    fee_asset = base if fill["flags"] == FeeAsset.BASE else quote
    return [
        ("holdings", paid[0], -paid[1]),
        ("venue", paid[0], paid[1]),
        ("holdings", received[0], received[1]),
        ("venue", received[0], -received[1]),
        ("holdings", fee_asset, -fee),
        ("fees", fee_asset, fee),
    ]


class Ledger:
    """Balances after the last transaction; makes, writes and checks the next ones."""

    def __init__(self, instruments: Sequence[Instrument], quote: str, cash: int) -> None:
        """``cash`` is the opening balance in units of ``quote``."""
        self._instruments = tuple(instruments)
        self._executions: set[tuple[int, int]] = set()  # (order id, execution id) of every fill booked
        self._opening = [("holdings", quote, cash), ("equity", quote, -cash)]
        self.balances: dict[tuple[str, str], int] = {}
        self.entry_count = 0
        self.transaction_count = 0
        self._hash = b""

    def start(self, start: bytes) -> None:
        """Begin the chain at the journal header's SHA-256."""
        self._hash = start

    def head(self) -> str:
        """The chain's head, 64 hexadecimal digits."""
        return self._hash.hex()

    def is_booked(self, fill: np.void) -> bool:
        """Whether this very execution was booked before: a fill that is delivered again moves nothing."""
        return (int(fill["order_id"]), int(fill["exec_id"])) in self._executions

    def transactions(self, first: int, records: np.ndarray) -> list[Transaction]:
        """Book the ``records`` that start at sequence number ``first``; the transactions they cause."""
        made = []
        for row in np.flatnonzero(np.isin(records["kind"], _CAUSES)):
            record = records[row]
            if record["kind"] == Kind.SESSION:
                deltas = self._opening
            else:
                fill = records[row : row + 1].view(FILL)[0]
                if self.is_booked(fill):
                    continue
                self._executions.add((int(fill["order_id"]), int(fill["exec_id"])))
                deltas = fill_deltas(fill, self._instruments[int(fill["instrument"])])
            made.append(self._book(first + int(row), Kind(record["kind"]).name, deltas))
        return made

    def _book(self, seq: int, cause: str, deltas: list[tuple[str, str, int]]) -> Transaction:
        self.transaction_count += 1
        entries = []
        for account, asset, delta in deltas:
            if delta == 0:
                continue
            self.entry_count += 1
            before = self.balances.get((account, asset), 0)
            self.balances[account, asset] = before + delta
            entries.append(
                Entry(self.entry_count, self.transaction_count, account, asset, delta, before, before + delta)
            )
        body = [self.transaction_count, seq, cause, [[e.account, e.asset, e.delta, e.balance_after] for e in entries]]
        self._hash = hashlib.sha256(self._hash + canonical_json(body)).digest()
        return Transaction(self.transaction_count, seq, cause, tuple(entries), self._hash)

    def post(self, connection: sqlite3.Connection, first: int, records: np.ndarray) -> None:
        """Write what ``records`` cause, inside the caller's transaction. Raises sqlite3.Error if a law is broken."""
        for item in self.transactions(first, records):
            connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?)", [_row(e) for e in item.entries])
            connection.execute("INSERT INTO txn VALUES (?, ?, ?, ?, ?)", _sealing_row(item))

    def check(self, connection: sqlite3.Connection, first: int, records: np.ndarray) -> None:
        """Book ``records`` and compare with the rows stored. Raises LedgerBroken naming the first row that differs."""
        for item in self.transactions(first, records):
            stored = connection.execute("SELECT * FROM entry WHERE txn = ? ORDER BY id", (item.id,)).fetchall()
            expected = [_row(entry) for entry in item.entries]
            for have, want in zip(stored, expected, strict=False):
                _compare("entry", want[0], have, want)
            if len(stored) != len(expected):
                raise LedgerBroken(
                    f"ledger: transaction {item.id} (journal record {item.seq}): {len(stored)} entries stored, the "
                    f"journal gives {len(expected)}"
                )
            have = connection.execute("SELECT * FROM txn WHERE id = ?", (item.id,)).fetchone()
            _compare("txn", item.id, have, _sealing_row(item))

    def check_end(self, connection: sqlite3.Connection) -> None:
        """Raise LedgerBroken if more rows are stored than the records booked so far cause."""
        for table, count in (("entry", self.entry_count), ("txn", self.transaction_count)):
            stored = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
            if stored != count:
                raise LedgerBroken(f"ledger: {stored} rows of {table} stored, the journal gives {count}")


def _row(entry: Entry) -> tuple[Any, ...]:
    return (
        entry.id, entry.txn, entry.account, entry.asset, entry.delta, entry.balance_before, entry.balance_after,
    )  # fmt: skip


def _sealing_row(item: Transaction) -> tuple[Any, ...]:
    return (item.id, item.seq, item.cause, len(item.entries), item.sha256)


_COLUMNS: Final = {
    "entry": ("id", "txn", "account", "asset", "delta", "balance_before", "balance_after"),
    "txn": ("id", "seq", "cause", "entries", "sha256"),
}


def _compare(table: str, row: int, have: tuple[Any, ...] | None, want: tuple[Any, ...]) -> None:
    if have is None:
        raise LedgerBroken(f"ledger: {table} {row} is missing")
    for column, stored, given in zip(_COLUMNS[table], have, want, strict=True):
        if stored != given:
            shown = (stored.hex()[:16], given.hex()[:16]) if isinstance(given, bytes) else (stored, given)
            raise LedgerBroken(f"ledger: {table} {row}: {column} is {shown[0]}, the journal gives {shown[1]}")
