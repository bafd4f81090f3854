"""Reading a run that was written: its header, its records, and the proof that nothing in it was altered."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import BadTape
from core.records import RECORD
from runner.home import Run
from runner.journal import check_schema, connect, read_header, sqlite_errors, stored_batches, verified_batches
from runner.ledger import Ledger, LedgerBroken
from runner.plan import header_ledger
from runner.seal import Seal, file_sha256, read_seal


@dataclass(frozen=True, slots=True)
class Reader:
    """An open run, read-only."""

    run: Run
    connection: sqlite3.Connection
    header: dict[str, Any]
    start: bytes  # SHA-256 of the header: where both chains begin
    seal: Seal | None  # None while the run is not finished

    def batches(self) -> Iterator[np.ndarray]:
        """The records batch by batch, dtype RECORD, unchecked."""
        for _, data, _ in stored_batches(self.connection, self.run.journal):
            yield np.frombuffer(data, RECORD)

    def entries(self, last: int) -> list[dict[str, Any]]:
        """The ledger's last entries, oldest first."""
        rows = self.connection.execute(
            "SELECT txn, seq, account, asset, delta, balance_after FROM entry JOIN txn ON txn.id = entry.txn "
            "ORDER BY entry.id DESC LIMIT ?",
            (last,),
        )
        names = ("transaction", "journal_record", "account", "asset", "delta", "balance")
        return [dict(zip(names, row, strict=True)) for row in reversed(rows.fetchall())]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verified run holds."""

    records: int
    head: str
    ledger: Ledger


@contextmanager
def open_run(run: Run) -> Iterator[Reader]:
    """Open ``run`` for reading. Raises BadTape if it has no journal or its header is altered."""
    connection = connect(run.journal, write=False)
    try:
        header, start = read_header(connection, run.journal)
        yield Reader(run, connection, header, start, read_seal(run.seal))
    finally:
        connection.close()


def verify(reader: Reader) -> Verified:
    """Hash every byte of the journal, rebuild the ledger from it and compare both with what is stored and sealed.

    Raises BadTape for the journal, LedgerBroken for the ledger, each naming the first place that differs.
    """
    path = reader.run.journal
    check_schema(reader.connection, path)
    ledger, count, head = header_ledger(reader.header), 0, ""
    ledger.start(reader.start)
    with sqlite_errors(path, "the database itself is damaged"):
        for batch in verified_batches(reader.connection, path, reader.start):
            ledger.check(reader.connection, batch.first, batch.records)
            count, head = batch.first + len(batch.records), batch.head.hex()
        ledger.check_end(reader.connection)
    if reader.seal is not None:
        _check_seal(reader, reader.seal, count, head, ledger)
    return Verified(count, head, ledger)


def _check_seal(reader: Reader, seal: Seal, count: int, head: str, ledger: Ledger) -> None:
    for what, sealed, found in (
        ("run_id", seal.run_id, reader.header["run_id"]),
        ("records", seal.records, count),
        ("head", seal.head, head),
    ):
        if sealed != found:
            raise BadTape(
                f"{reader.run.seal}: {what} {sealed} sealed, the journal has {found}: records lost or altered"
            )
    if seal.ledger_head != ledger.head():
        raise LedgerBroken(
            f"{reader.run.seal}: ledger head {seal.ledger_head} sealed, the journal gives {ledger.head()}"
        )
    if (found := file_sha256(reader.run.journal)) != seal.file_sha256:
        raise BadTape(
            f"{reader.run.journal}: the file hashes to {found[:16]}, {seal.file_sha256[:16]} sealed: altered outside "
            "its records"
        )
