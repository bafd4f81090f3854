"""The journal: every record of a session in the order the core consumed and produced them, durable and hashed.

One SQLite file per run (tables in ``runner.schema``). Records are buffered and written in batches; a commit is one
transaction with the ledger entries its fills cause. Before an intent goes to a venue it is committed together with
every record before it. After an interruption the session is computed again from its inputs, and each record appended
is compared with the one already stored until the stored ones are used up: recovery is the run itself, checked.
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from core.canonical import canonical_json
from core.errors import BadTape, Refused
from core.records import RECORD, RECORD_BYTES
from runner.chain import BLOCK_RECORDS, Chain
from runner.compare import first_difference
from runner.failpoints import Failpoints
from runner.ledger import Ledger
from runner.schema import FORMAT, OBJECTS

NAME: Final = "journal.db"
_BUSY_TIMEOUT_MS: Final = 5_000
_DAMAGED: Final = "the database itself is damaged; restore the run's folder"


@contextmanager
def sqlite_errors(path: Path, remedy: str) -> Iterator[None]:
    """SQLite's errors inside the block become BadTape naming ``path`` and ``remedy``.

    A damaged file can make its message or a text column undecodable: that is the same fault.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise BadTape(f"{path}: {' '.join(str(error).split())}; {remedy}") from error


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection to a run's database, in autocommit mode. Raises BadTape if it cannot be opened."""
    if not write and not path.exists():
        raise BadTape(f"{path}: no journal there; `runner paper` writes one")
    with sqlite_errors(path, "it cannot be opened as a journal; restore the run's folder"):
        mode = "rwc" if write else "ro"
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA trusted_schema = OFF")
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        return connection


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise BadTape unless ``connection`` holds exactly our tables, triggers and indexes, and a sound file."""
    with sqlite_errors(path, _DAMAGED):
        found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        damage = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if version != FORMAT:
        raise BadTape(f"{path}: journal format {version}, this program reads {FORMAT}")
    for name in sorted(OBJECTS.keys() | found.keys()):
        if OBJECTS.get(name) != found.get(name):
            raise BadTape(f"{path}: {name}: its definition was altered, added or removed")
    if damage != "ok":
        raise BadTape(f"{path}: {' '.join(damage.split())}: {_DAMAGED}")


def read_header(connection: sqlite3.Connection, path: Path) -> tuple[dict[str, Any], bytes]:
    """The segment's header and its SHA-256. Raises BadTape if it is missing or altered."""
    with sqlite_errors(path, "it is not a journal; restore the run's folder"):
        rows = connection.execute("SELECT header, sha256 FROM segment").fetchall()
    if len(rows) != 1:
        raise BadTape(f"{path}: {len(rows)} segment headers, 1 expected")
    header, stated = rows[0]
    if (found := hashlib.sha256(header).digest()) != stated:
        raise BadTape(f"{path}: segment: header hashes to {found.hex()[:16]}, {stated.hex()[:16]} stored: altered")
    return msgspec.json.decode(header), stated


def stored_batches(connection: sqlite3.Connection, path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """(sequence number of the first record, records, head after them) of each batch, unchecked."""
    with sqlite_errors(path, "the journal cannot be read; restore the run's folder"):
        for first, count, records, head in connection.execute(
            "SELECT first, count, records, head FROM batch ORDER BY first"
        ):
            if len(records) != count * RECORD_BYTES:
                raise BadTape(f"{path}: batch at record {first}: {len(records)} bytes for {count} records: altered")
            yield first, records, head


@dataclass(frozen=True, slots=True)
class Batch:
    """Records written by one commit: from sequence number ``first`` on, ``head`` after them."""

    first: int
    records: np.ndarray  # dtype RECORD
    head: bytes


def verified_batches(connection: sqlite3.Connection, path: Path, start: bytes) -> Iterator[Batch]:
    """The batches in order, every byte hashed.

    ``start`` is the header's SHA-256. Raises BadTape naming the first batch that does not continue the chain.
    """
    chain, count = Chain(start), 0
    for first, data, stated in stored_batches(connection, path):
        if first != count:
            raise BadTape(f"{path}: batch at record {first}: record {count} expected: rows are missing or altered")
        chain.update(data)
        if (found := chain.head()) != stated:
            raise BadTape(
                f"{path}: batch of records {first} to {first + len(data) // RECORD_BYTES - 1}: head is "
                f"{found.hex()[:16]}, {stated.hex()[:16]} stored: altered"
            )
        count += len(data) // RECORD_BYTES
        yield Batch(first, np.frombuffer(data, RECORD), stated)


class Journal:
    """The writer of one run. Use it as a context manager; the caller holds the run's lease."""

    def __init__(self, path: Path, header: dict[str, Any], ledger: Ledger, failpoints: Failpoints) -> None:
        """Create the journal at ``path`` or open the one that is there.

        Raises Refused if that one has another header, BadTape or LedgerBroken if anything in it was altered.
        """
        self.path = path
        self.ledger = ledger
        self._failpoints = failpoints
        self._connection = connect(path, write=True)
        self._pending: list[bytes] = []
        self.count = 0  # records appended by this process, the stored ones included
        packed = canonical_json(header)
        start = hashlib.sha256(packed).digest()
        self._chain = Chain(start)
        self.ledger.start(start)
        self._read = 0  # stored records taken for comparison
        self._expected = b""
        try:
            with sqlite_errors(path, "the journal cannot be created or read"):
                fresh = not self._connection.execute("SELECT 1 FROM sqlite_master").fetchone()
                self.durable = self._create(packed, start) if fresh else self._resume(header)
        except BaseException:
            self._connection.close()
            raise

    def _create(self, header: bytes, start: bytes) -> int:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for sql in OBJECTS.values():
            execute(sql)
        execute("INSERT INTO segment VALUES (0, ?, ?)", (header, start))
        execute(f"PRAGMA user_version = {FORMAT}")
        execute("COMMIT")
        return 0

    def _resume(self, header: dict[str, Any]) -> int:
        """Verify everything stored and take up both chains where they end; how many records are stored."""
        check_schema(self._connection, self.path)
        stored, start = read_header(self._connection, self.path)
        changed = sorted(key for key in stored.keys() | header.keys() if stored.get(key) != header.get(key))
        if changed:
            raise Refused(
                f"{self.path}: written under another {', '.join(changed)}; start a new run with --run, or restore what "
                "this one was started with"
            )
        count = 0
        for batch in verified_batches(self._connection, self.path, start):
            self._chain.update(batch.records.tobytes())
            self.ledger.check(self._connection, batch.first, batch.records)
            count = batch.first + len(batch.records)
        self.ledger.check_end(self._connection)
        return count

    def append(self, *parts: np.ndarray) -> None:
        """Append ``parts``, arrays of any record dtype, as one: a commit never divides them. Buffered.

        Raises BadTape naming record and field if the journal already holds a different record at that place.
        """
        data = b"".join([part.tobytes() for part in parts])
        self.count += len(data) // RECORD_BYTES
        if self.count - len(data) // RECORD_BYTES < self.durable:
            data = self._compare(data)
        if data:
            self._pending.append(data)
            if self.pending >= BLOCK_RECORDS:
                self.commit()

    @property
    def pending(self) -> int:
        """Records buffered and not yet durable."""
        return max(0, self.count - self.durable)

    def _compare(self, data: bytes) -> bytes:
        """Compare ``data`` with the stored stream; return what lies beyond its end."""
        while len(self._expected) < len(data) and self._read < self.durable:
            with sqlite_errors(self.path, "the journal cannot be read; restore the run's folder"):
                row = self._connection.execute("SELECT count, records FROM batch WHERE first = ?", (self._read,))
                count, records = row.fetchone()
            self._read += count
            self._expected += records
        size = min(len(data), len(self._expected))
        if data[:size] != self._expected[:size]:
            first = self.count - len(data) // RECORD_BYTES
            expected, actual = (np.frombuffer(item[:size], RECORD) for item in (self._expected, data))
            difference = first_difference(expected, actual, first)
            raise BadTape(
                f"{self.path}: cannot be continued: {difference}. The journal is sound, so this program, its libraries "
                "or this machine compute another value: continue where it was written, or start a new run"
            )
        self._expected = self._expected[size:]
        return data[size:]

    def commit(self) -> None:
        """Make every appended record durable, with the ledger entries of its fills. Raises BadTape if it cannot be:

        then nothing of the batch is on disk and this journal accepts nothing more.
        """
        if not self._pending:
            return
        data = b"".join(self._pending)
        self._chain.update(data)
        self._failpoints.hit("before-commit")
        execute = self._connection.execute
        remedy = (
            f"trading stopped: {self.durable} records are durable, the {len(data) // RECORD_BYTES} after them are not. "
            "Make room or repair the disk, then run the same command again"
        )
        with sqlite_errors(self.path, remedy), self._transaction():
            row = (self.durable, len(data) // RECORD_BYTES, data, self._chain.head())
            execute("INSERT INTO batch VALUES (?, ?, ?, ?)", row)
            self._failpoints.hit("inside-commit")
            self.ledger.post(self._connection, self.durable, np.frombuffer(data, RECORD))
        self._pending.clear()
        self.durable += len(data) // RECORD_BYTES
        self._failpoints.hit("after-commit")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # Closing without a commit rolls back; a ROLLBACK could itself fail on a full disk.
            self._connection.close()
            raise

    def head(self) -> str:
        """The head over every durable record, 64 hexadecimal digits."""
        return self._chain.head().hex()

    def finish(self) -> None:
        """Commit and turn the file into one plain, complete database without a write-ahead log.

        Raises BadTape if the journal holds more records than the session made.
        """
        if self.count < self.durable:
            raise BadTape(
                f"{self.path}: holds {self.durable} records, the session made {self.count}: not this session's"
            )
        self.commit()
        with sqlite_errors(self.path, "the journal cannot be closed; end other readers and run the same command again"):
            self._connection.execute("PRAGMA journal_mode = DELETE")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
