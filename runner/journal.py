"""The journal: every record of a session in the order the core consumed and produced them, durable and hashed.

One SQLite file per run (tables in ``runner.journal_schema``, read through ``runner.segments``). Records are buffered
and written in batches; a commit is one transaction with the ledger entries its fills cause. Before an intent goes to a
venue it is committed together with every record before it.

A snapshot of the session goes into such a transaction now and then. After an interruption the session goes on from the
last one, and each record appended is compared with the one already stored until the stored ones are used up: recovery
is the run itself, checked. A segment is closed at a snapshot, which is the checkpoint the next one begins with: when
it has grown to its size, by command, or when another program takes the run over.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadTape, BrokenInvariant, Refused
from core.records import RECORD, RECORD_BYTES
from runner import ledger_state
from runner.chain import BLOCK_RECORDS
from runner.compare import first_difference
from runner.database import check_schema, connect, create, is_new, sqlite_errors, transaction
from runner.failpoints import Failpoints
from runner.journal_schema import insert_batch
from runner.ledger import Ledger
from runner.segments import (
    Segment,
    begin_segment,
    read_segments,
    read_snapshot,
    resumed_chain,
    snapshot_places,
    verified_batches,
)
from runner.snapshot import LEDGER, Snapshot

NAME: Final = "journal.db"
BOOK_SNAPSHOT_RECORDS: Final = 1 << 19  # of a session on books: played again in about a second
CODE: Final = ("kernel_hash", "version")  # lineage that may change within a run, in a new segment
_RESTORE: Final = "the journal cannot be read; restore the run's folder"


@dataclass(frozen=True, slots=True)
class Policy:
    """After how many records there is a snapshot, and a new segment (64 bytes a record: 1 GiB)."""

    snapshot_records: int = 16 * BLOCK_RECORDS
    segment_records: int = 1 << 24


class StoredRecords:
    """What a resumed session has yet to make again: the records after its snapshot, taken in their order."""

    def __init__(self, connection: sqlite3.Connection, path: Path, first: int, end: int) -> None:
        """Those from number ``first`` on, where a batch begins, up to ``end``."""
        self._connection, self._path = connection, path
        self._next = self._read = first  # the next to be made again; the first not read from the database yet
        self._end = end
        self._expected, self._at = b"", 0  # records ``_next`` to ``_read`` - 1, from byte ``_at`` on

    @property
    def left(self) -> int:
        """How many were not made again yet."""
        return self._end - self._next

    def compare(self, data: bytes) -> bytes:
        """Compare the records in ``data`` with those stored; return what lies beyond their end.

        Raises BadTape naming the first record and field that differ.
        """
        while len(self._expected) - self._at < len(data) and self._read < self._end:
            self._read_batch()
        size = min(len(data), len(self._expected) - self._at)
        stored = self._expected[self._at : self._at + size]
        if data[:size] != stored:
            expected, actual = np.frombuffer(stored, RECORD), np.frombuffer(data[:size], RECORD)
            difference = first_difference(expected, actual, self._next)
            raise BadTape(
                f"{self._path}: cannot be continued: {difference}. The journal is sound, so this program, its "
                "libraries or this machine compute another value: continue where it was written, or start a new run"
            )
        self._at += size
        self._next += size // RECORD_BYTES
        return data[size:]

    def _read_batch(self) -> None:
        with sqlite_errors(self._path, _RESTORE):
            row = self._connection.execute(
                "SELECT count, records FROM batch JOIN block USING (first) WHERE first = ?", (self._read,)
            )
            count, records = row.fetchone()
        self._read += count
        self._expected, self._at = self._expected[self._at :] + records, 0


class Journal:
    """The writer of one run. Use it as a context manager; the caller holds the run's lease."""

    def __init__(
        self,
        path: Path,
        header: dict[str, Any],
        ledger: Ledger,
        failpoints: Failpoints,
        policy: Policy | None = None,
    ) -> None:
        """Create the journal at ``path`` or open the one that is there; ``header`` is the session's lineage.

        ``resume`` is then the snapshot to go on from: the next record appended is number ``resume.records``. Raises
        Refused if the journal has another header, BadTape or LedgerBroken if anything in it was altered.
        """
        self.path = path
        self.ledger = ledger
        self.resume: Snapshot | None = None
        self._checkpoint: Snapshot | None = None  # the last snapshot
        self._header = header
        self._failpoints, self._policy = failpoints, policy or Policy()
        self._connection = connect(path, write=True)
        self._pending: list[bytes] = []
        try:
            with sqlite_errors(path, "the journal cannot be created or read"):
                if is_new(self._connection):
                    self._create()
                else:
                    self._resume()
        except BaseException:
            self._connection.close()
            raise

    def _create(self) -> None:
        with transaction(self._connection):
            create(self._connection)
            self._chain = begin_segment(self._connection, self._header, {"number": 0, "first": 0})
        self._number = self._first = self._snapshot = self.count = self.durable = 0
        self._stored = StoredRecords(self._connection, self.path, 0, 0)
        self.ledger.start(self._chain.link)

    def _resume(self) -> None:
        """Take up both chains where they end. What lies before the last snapshot is not read again here."""
        places = snapshot_places(self._connection, self.path)
        check_schema(self._connection, self.path, whole=not places)
        segments = read_segments(self._connection, self.path)
        last = segments[-1]
        changed = changed_code(self.path, last.lineage, self._header)
        self.resume = self._checkpoint = read_snapshot(self._connection, self.path, places[-1]) if places else None
        self.ledger.start(segments[0].start)
        if self.resume is not None:
            ledger_state.load(self.ledger, self.resume.parts[LEDGER], self._connection)
        self._chain = resumed_chain(self._connection, self.path, last, self.resume)
        with (
            self.ledger.checking(self._connection) as check,
            closing(verified_batches(self._connection, self.path, last, self.resume)) as batches,
        ):
            for batch in batches:
                self._chain.update(batch.records.tobytes())
                check(batch.first, batch.records)
        self._number, self._first, self.durable = last.number, last.first, last.end
        self._snapshot = self.count = self.resume.records if self.resume else 0
        self._stored = StoredRecords(self._connection, self.path, self.count, self.durable)
        if changed:
            self._take_over(last, changed)

    def _take_over(self, last: Segment, changed: list[str]) -> None:
        """Another program goes on with the run: in a segment of its own, from the checkpoint its predecessor left."""
        if self.resume is None or self.resume.records != self.durable:
            raise Refused(
                f"{self.path}: {last} was written by {written_by(last.lineage)}, which was killed or is still running: "
                f"{self.durable - self._snapshot} records lie after its last snapshot, and only it can play them "
                "again. Continue the run with it and stop it, then upgrade"
            )
        if last.end == last.first:
            raise Refused(
                f"{self.path}: {last} was begun by {written_by(last.lineage)} and holds no record yet, and a segment's "
                "header cannot be taken back. Play one bar with that program and stop it with Ctrl-C, then upgrade"
            )
        self._commit(None, close=True)

    def append(self, *parts: np.ndarray) -> None:
        """Append ``parts``, arrays of any record dtype, as one: a commit never divides them. Buffered.

        Raises BadTape naming record and field if the journal already holds a different record at that place.
        """
        data = b"".join([part.tobytes() for part in parts])
        self.count += len(data) // RECORD_BYTES
        if self._stored.left:
            data = self._stored.compare(data)
        if data:
            self._pending.append(data)
            if self.pending >= BLOCK_RECORDS:
                self.commit()

    @property
    def pending(self) -> int:
        """Records buffered and not yet durable."""
        return max(0, self.count - self.durable)

    def commit(self) -> None:
        """Make every appended record durable, with the ledger entries of its fills. Raises BadTape if it cannot be:

        then nothing of the batch is on disk and this journal accepts nothing more.
        """
        if self._pending:
            self._commit(None, close=False)

    @property
    def snapshot_due(self) -> bool:
        """Whether enough was appended since the last snapshot, and nothing stored is left to compare with."""
        return self.count >= self.durable and self.count - self._snapshot >= self._policy.snapshot_records

    def snapshot(self, parts: dict[str, bytes], *, close: bool = False) -> None:
        """Commit, with ``parts`` (``runner.snapshot``) as what the session is after the last record appended.

        ``close``, or a segment of the size at which that is due: the segment is closed with it and the next one
        begins. Does nothing while stored records are being compared, or if there is a snapshot of that record.
        """
        if self.count < self.durable or self.count == self._first or (self.count == self._snapshot and not close):
            return
        full = self.count - self._first >= self._policy.segment_records
        self._commit(None if self.count == self._snapshot else parts, close=close or full)

    def close_segment(self) -> int:
        """Close the segment at its last record and begin the next; the number of the one closed.

        Raises Refused unless a snapshot of that record is there.
        """
        if self.durable == self._first:
            raise Refused(f"{self.path}: segment {self._number} holds no record yet: nothing to close")
        if self.durable != self._snapshot:
            raise Refused(
                f"{self.path}: {self.durable - self._snapshot} records lie after the last snapshot, as after a kill: "
                "continue the run and stop it with Ctrl-C, then close the segment"
            )
        self._commit(None, close=True)
        return self._number - 1

    def _commit(self, parts: dict[str, bytes] | None, *, close: bool) -> None:
        data = b"".join(self._pending)
        count = len(data) // RECORD_BYTES
        self._chain.update(data)
        end = self.durable + count
        self._failpoints.hit("before-commit")
        execute = self._connection.execute
        remedy = (
            f"trading stopped: {self.durable} records are durable, the {count} after them are not. "
            "Make room or repair the disk, then run the same command again"
        )
        with sqlite_errors(self.path, remedy), transaction(self._connection):
            if data:
                insert_batch(self._connection, self.durable, data, self._chain.head())
                self._failpoints.hit("inside-commit")
                self.ledger.post(self._connection, self.durable, np.frombuffer(data, RECORD))
            if parts is not None:
                self._checkpoint = Snapshot(end, self._chain.link, parts | {LEDGER: ledger_state.dump(self.ledger)})
                row = (end, self._chain.link, self._checkpoint.pack(), self._checkpoint.sha256())
                execute("INSERT INTO snapshot VALUES (?, ?, ?, ?)", row)
                self._failpoints.hit("inside-snapshot")
            begun = begin_segment(self._connection, self._header, self._next_place(end)) if close else None
        self._pending.clear()
        self.durable = end
        self._snapshot = end if parts is not None else self._snapshot
        if begun is not None:
            self._chain, self._number, self._first = begun, self._number + 1, end
        self._failpoints.hit("after-commit")

    def _next_place(self, first: int) -> dict[str, Any]:
        """The place of the segment after the open one, which ends at the checkpoint just taken."""
        checkpoint = self._checkpoint
        if checkpoint is None or checkpoint.records != first:
            raise BrokenInvariant(f"{self.path}: segment {self._number} is closed at record {first} without a snapshot")
        return {
            "number": self._number + 1,
            "first": first,
            "previous_head": self.head(),
            "checkpoint": {
                "records": checkpoint.records,
                "sha256": checkpoint.sha256().hex(),
                "state_hash": checkpoint.state_hash,
                "ledger_head": self.ledger.head(),
            },
        }

    def head(self) -> str:
        """The head of the last segment over every durable record, 64 hexadecimal digits."""
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


def changed_code(path: Path, stored: dict[str, Any], header: dict[str, Any]) -> list[str]:
    """The code's keys in which ``header`` differs from the lineage ``stored`` at ``path``. Raises Refused if any other
    key does: those a run keeps.
    """
    changed = differing_keys(stored, header)
    if other := [key for key in changed if key not in CODE]:
        raise Refused(
            f"{path}: written under another {', '.join(other)}; start a new run with --run, or restore what "
            "this one was started with"
        )
    return changed


def differing_keys(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The keys under which two lineages differ."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def written_by(lineage: dict[str, Any]) -> str:
    """The program of a lineage, for people."""
    return f"portcullis {lineage.get('version', '?')} (kernels {str(lineage.get('kernel_hash', '?'))[:16]})"
