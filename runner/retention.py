"""What is kept of a journal, and for how long: closed segments are compressed, and old archives expire.

The records of a closed segment move out of the database into ``<run>/segments/<number>.xz``, a plain .xz file (``xz
-dc`` gives the raw records): LZMA after a delta over 64 bytes, the length of a record. On a busy run that is a fifth
of the size; zstd would be as small and faster, but is not in Python 3.11's library. The database keeps each batch's
place and head, every snapshot and the whole ledger, so an archived segment is verified and replayed like any other.

An expired segment's records are gone for good. What remains of it is its header, its heads, its snapshots and its
ledger rows; later segments verify and replay from their own checkpoints.

Each step can be interrupted: an archive is written whole, read back and compared before it is named in the database,
and only then do records leave it, a batch at a time, so a session that is writing meanwhile waits a moment at most.
The same command again finishes what was interrupted; the seal of a finished run says that there is something to finish.
"""

import hashlib
import lzma
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import BadTape
from core.records import RECORD_BYTES
from models.atomic import partial_name, rename
from runner.chain import Chain
from runner.database import connect, sqlite_errors
from runner.home import Run
from runner.lease import RETENTION, lease
from runner.seal import file_sha256, read_seal, reseal, unseal
from runner.segments import Segment, archive_path, read_segments, verified_batches

FILTERS: Final = [
    {"id": lzma.FILTER_DELTA, "dist": RECORD_BYTES},
    {"id": lzma.FILTER_LZMA2, "preset": 1},
]
_RESTORE: Final = "restore the run's folder"


@dataclass(frozen=True, slots=True)
class Kept:
    """One segment as it is kept now."""

    segment: int
    first: int
    records: int
    state: str  # open, closed, archived, expired
    size_bytes: int  # of its records, where they are
    head: str
    program: str


def listing(run: Run) -> list[Kept]:
    """Every segment of ``run``, oldest first."""
    with closing(connect(run.journal, write=False)) as connection:
        return [_kept(connection, run.journal, segment) for segment in read_segments(connection, run.journal)]


def _kept(connection: sqlite3.Connection, path: Path, segment: Segment) -> Kept:
    records = segment.end - segment.first
    state, size = ("closed" if segment.closed else "open"), records * RECORD_BYTES
    if segment.archive is not None:
        state, size = "archived", segment.archive.size_bytes
    if segment.expired:
        state, size = "expired", 0
    with sqlite_errors(path, _RESTORE):
        row = connection.execute(
            "SELECT head FROM batch WHERE first >= ? AND first < ? ORDER BY first DESC LIMIT 1",
            (segment.first, segment.end),
        ).fetchone()
    head = row[0] if row else Chain(segment.start).head()
    lineage = segment.lineage
    program = f"{lineage.get('version', '?')}, kernels {str(lineage.get('kernel_hash', '?'))[:16]}"
    return Kept(segment.number, segment.first, records, state, size, head.hex(), program)


def compress(run: Run, keep: int) -> list[int]:
    """Archive every closed segment of ``run`` but the last ``keep``; the numbers of those archived now.

    Raises BadTape if a segment is not what was written: then it is left as it is. Raises Refused while another process
    compresses or expires segments of ``run``; one that writes the run is not in the way.
    """
    with lease(run.folder, RETENTION):
        return _compress(run, keep)


def _compress(run: Run, keep: int) -> list[int]:
    with closing(connect(run.journal, write=False)) as connection:
        old = _old(read_segments(connection, run.journal), keep)
        due = [item for item in old if item.archive is None or _places(connection, run.journal, item)]
    if not due and not _is_interrupted(run):
        return []  # opening it to write would change the file of a finished run
    with _changing(run) as connection:
        for segment in due:
            if segment.archive is None:
                _archive(connection, run.journal, segment)
            _remove_records(connection, run.journal, segment)
    return [segment.number for segment in due if segment.archive is None]


def expire(run: Run, keep: int) -> list[int]:
    """Give up the records of every archived segment of ``run`` but the last ``keep`` closed ones; their numbers.

    Raises Refused while another process compresses or expires segments of ``run``.
    """
    with lease(run.folder, RETENTION):
        return _expire(run, keep)


def _expire(run: Run, keep: int) -> list[int]:
    with closing(connect(run.journal, write=False)) as connection:
        due = []
        for segment in _old(read_segments(connection, run.journal), keep):
            if segment.archive is None:
                break  # the oldest that is kept: none after it may go before it
            if segment.expired:
                segment.archive.path.unlink(missing_ok=True)
            else:
                due.append(segment)
    if not due and not _is_interrupted(run):
        return []
    with _changing(run) as connection, sqlite_errors(run.journal, _RESTORE):
        for segment in due:
            connection.execute("INSERT INTO expiry VALUES (?)", (segment.number,))
            archive_path(run.journal, segment.number).unlink(missing_ok=True)
    return [segment.number for segment in due]


def _old(segments: list[Segment], keep: int) -> list[Segment]:
    closed = [segment for segment in segments if segment.closed]
    return closed[: max(0, len(closed) - keep)]


def _archive(connection: sqlite3.Connection, path: Path, segment: Segment) -> None:
    """Write, read back and name the archive of ``segment``, whose records are verified on the way."""
    target = archive_path(path, segment.number)
    target.parent.mkdir(exist_ok=True)
    partial, digest = partial_name(target), hashlib.sha256()
    try:
        with open(partial, "wb") as file:
            with (
                lzma.LZMAFile(file, "wb", format=lzma.FORMAT_XZ, filters=FILTERS) as packed,
                closing(verified_batches(connection, path, segment)) as batches,
            ):
                for batch in batches:
                    data = batch.records.tobytes()
                    digest.update(data)
                    packed.write(data)
            file.flush()
            os.fsync(file.fileno())
        with lzma.open(partial) as again:
            if hashlib.file_digest(again, "sha256").digest() != digest.digest():
                raise BadTape(f"{target}: was not written as it should be: check the disk")
        size, sha256 = partial.stat().st_size, bytes.fromhex(file_sha256(partial))
        rename(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    with sqlite_errors(path, _RESTORE):
        connection.execute("INSERT INTO archive VALUES (?, ?, ?)", (segment.number, size, sha256))


def _places(connection: sqlite3.Connection, path: Path, segment: Segment) -> list[tuple[int]]:
    """Where the records of ``segment`` lie in the database."""
    with sqlite_errors(path, _RESTORE):
        query = "SELECT first FROM block WHERE first >= ? AND first < ?"
        return connection.execute(query, (segment.first, segment.end)).fetchall()


def _remove_records(connection: sqlite3.Connection, path: Path, segment: Segment) -> None:
    places = _places(connection, path, segment)
    with sqlite_errors(path, _RESTORE):
        for place in places:
            connection.execute("DELETE FROM block WHERE first = ?", place)


@contextmanager
def _changing(run: Run) -> Iterator[sqlite3.Connection]:
    """The journal, to be written. A finished run gives the room back and is sealed again; a running one uses it.

    Raises BadTape if the file is not the one that was sealed: it would pass for sound afterwards.
    """
    if (seal := read_seal(run.seal)) is not None:
        unseal(run.seal, seal, run.journal)
    with closing(connect(run.journal, write=True)) as connection:
        yield connection
    if (seal := read_seal(run.seal)) is not None:  # it may have been finished meanwhile
        _give_back(run.journal)
        reseal(run.seal, seal, run.journal)


def _is_interrupted(run: Run) -> bool:
    seal = read_seal(run.seal)
    return seal is not None and seal.is_changing


def _give_back(journal: Path) -> None:
    """Make the file as small as what is in it, without a write-ahead log."""
    with closing(connect(journal, write=True)) as connection, sqlite_errors(journal, _RESTORE):
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode = DELETE")
