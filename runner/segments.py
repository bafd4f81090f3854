"""A journal's segments: how one begins, where its records lie, and the proof that they are what was written.

A journal is one database with a chain of segments in it. Each begins with a header: the lineage of the program that
wrote it and, from the second on, the head of the segment before and the checkpoint, the state it began with. A
segment can therefore be replayed and verified without those before it. The database keeps the open segment; the
records of a closed one may move to an archive beside it (``runner.retention``) and, at last, expire.

One file holds them all because a batch and the ledger rows it causes are one transaction, and SQLite has none over
two files; and because the ledger, unlike the records, is kept for ever.
"""

import hashlib
import lzma
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from core.canonical import canonical_json
from core.errors import BadTape
from core.records import RECORD, RECORD_BYTES
from runner.chain import BLOCK_RECORDS, Chain
from runner.database import sqlite_errors
from runner.snapshot import Snapshot, unpack

PLACE: Final = "segment"  # the key of a stored header that is not lineage
_RESTORE: Final = "the journal cannot be read; restore the run's folder"
_JOINED_RECORDS: Final = 64 * BLOCK_RECORDS  # small batches are handed on together, up to about this many records


@dataclass(frozen=True, slots=True)
class Archive:
    """Where the records of a closed segment went."""

    path: Path
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment: records ``first`` to ``end`` - 1 of the run."""

    number: int
    first: int
    end: int
    header: dict[str, Any]  # as stored: lineage and place
    start: bytes  # SHA-256 of the header: where its chain begins
    archive: Archive | None  # None: its records are in the database
    expired: bool  # its records are nowhere any more
    closed: bool

    @property
    def lineage(self) -> dict[str, Any]:
        """What it was written by and for."""
        return {key: value for key, value in self.header.items() if key != PLACE}

    def __str__(self) -> str:
        return f"segment {self.number}"


@dataclass(frozen=True, slots=True)
class Batch:
    """Records written by one commit: from sequence number ``first`` on, ``head`` after them."""

    first: int
    records: np.ndarray  # dtype RECORD
    head: bytes


def archive_path(journal: Path, number: int) -> Path:
    """Where the archive of a segment lies."""
    return journal.parent / "segments" / f"{number:06}.xz"


def begin_segment(connection: sqlite3.Connection, lineage: dict[str, Any], place: dict[str, Any]) -> Chain:
    """Insert a segment's header, inside the caller's transaction; its chain.

    ``place`` is what ``read_segments`` will hold against its neighbours: its number and first record and, from the
    second segment on, the head before it and the checkpoint it begins with.
    """
    header = canonical_json(lineage | {PLACE: place})
    start = hashlib.sha256(header).digest()
    connection.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", (place["number"], place["first"], header, start))
    return Chain(start)


def read_segments(connection: sqlite3.Connection, path: Path) -> list[Segment]:
    """Every segment, oldest first. Raises BadTape if a header is missing, altered or does not fit its neighbours."""
    with sqlite_errors(path, "it is not a journal; restore the run's folder"):
        rows = connection.execute("SELECT id, first, header, sha256 FROM segment ORDER BY id").fetchall()
        archives = {row[0]: row[1:] for row in connection.execute("SELECT segment, bytes, sha256 FROM archive")}
        expired = {row[0] for row in connection.execute("SELECT segment FROM expiry")}
        last = connection.execute("SELECT first + count, head FROM batch ORDER BY first DESC LIMIT 1").fetchone()
    if not rows:
        raise BadTape(f"{path}: no segment header: it is not a journal; restore the run's folder")
    ends = [row[1] for row in rows[1:]] + [last[0] if last else 0]
    found = []
    for number, ((stored_number, first, header, stated), end) in enumerate(zip(rows, ends, strict=True)):
        if (digest := hashlib.sha256(header).digest()) != stated:
            raise BadTape(
                f"{path}: segment {number}: header hashes to {digest.hex()[:16]}, {stated.hex()[:16]} stored: altered"
            )
        decoded = msgspec.json.decode(header)
        _check_place(connection, path, decoded, number, stored_number, first)
        archive = Archive(archive_path(path, number), *archives[number]) if number in archives else None
        closed = number + 1 < len(rows)
        found.append(Segment(number, first, end, decoded, stated, archive, number in expired, closed))
    return found


def _check_place(
    connection: sqlite3.Connection, path: Path, header: dict[str, Any], number: int, stored: int, first: int
) -> None:
    """A header states its own place, the head before it and the checkpoint it begins with."""
    place = header.get(PLACE) or {}
    if (place.get("number"), place.get("first")) != (number, first) or stored != number:
        raise BadTape(f"{path}: segment {number}: it is not where its header says: altered or removed")
    if number == 0:
        return
    with sqlite_errors(path, _RESTORE):
        before = connection.execute("SELECT head FROM batch WHERE first + count = ?1 AND first < ?1 "
                                    "ORDER BY first DESC LIMIT 1", (first,)).fetchone()  # fmt: skip
        checkpoint = connection.execute("SELECT sha256 FROM snapshot WHERE records = ?", (first,)).fetchone()
    if before is None or before[0].hex() != place["previous_head"]:
        raise BadTape(f"{path}: segment {number}: the head before it is not the one its header names: altered")
    if checkpoint is None or checkpoint[0].hex() != place["checkpoint"]["sha256"]:
        raise BadTape(f"{path}: segment {number}: the checkpoint is not the one its header names: altered")


def read_snapshot(connection: sqlite3.Connection, path: Path, records: int) -> Snapshot:
    """The snapshot after ``records`` records, every byte hashed. Raises BadTape if there is none or it is altered."""
    with sqlite_errors(path, _RESTORE):
        row = connection.execute(
            "SELECT records, link, parts, sha256 FROM snapshot WHERE records = ?", (records,)
        ).fetchone()
    if row is None:
        raise BadTape(f"{path}: no snapshot after {records} records: altered or removed")
    return unpack(*row, where=str(path))


def snapshot_places(connection: sqlite3.Connection, path: Path) -> list[int]:
    """The numbers of records after which there is a snapshot, ascending."""
    with sqlite_errors(path, _RESTORE):
        return [row[0] for row in connection.execute("SELECT records FROM snapshot ORDER BY records")]


def stored_batches(
    connection: sqlite3.Connection, path: Path, segment: Segment, first: int | None = None
) -> Generator[tuple[int, bytes, bytes], None, None]:
    """(number of the first record, records, head after them) of each batch of ``segment``, unchecked.

    ``first``: begin with the batch that holds this record. Raises BadTape if the records are not there any more.
    """
    if segment.expired:
        raise BadTape(f"{path}: {segment} has expired: its records were given up by `runner segment expire`")
    place = segment.first if first is None else first
    with sqlite_errors(path, _RESTORE):
        begin = connection.execute(
            "SELECT MAX(first) FROM batch WHERE first BETWEEN ? AND ?", (segment.first, place)
        ).fetchone()[0]
        if begin is None:
            begin = segment.first
        bounds = (begin, segment.end)
        if segment.archive is not None:
            yield from _archived(connection, path, segment.archive, segment.first, bounds)
            return
        rows = connection.execute(
            "SELECT first, count, records, head FROM batch JOIN block USING (first) "
            "WHERE first >= ? AND first < ? ORDER BY first",
            bounds,
        )
        with closing(rows):  # an open cursor would keep the database locked
            for number, count, records, head in rows:
                if len(records) != count * RECORD_BYTES:
                    raise BadTape(
                        f"{path}: {segment}: batch at record {number}: {len(records)} bytes for {count} records: "
                        "altered"
                    )
                yield number, records, head


def _archived(
    connection: sqlite3.Connection, path: Path, archive: Archive, first: int, bounds: tuple[int, int]
) -> Generator[tuple[int, bytes, bytes], None, None]:
    if not archive.path.exists():
        raise BadTape(f"{archive.path}: missing: restore it, or let go of it with `runner segment expire`")
    rows = connection.execute(
        "SELECT first, count, head FROM batch WHERE first >= ? AND first < ? ORDER BY first", bounds
    )
    try:
        with closing(rows), lzma.open(archive.path) as file:
            file.seek((bounds[0] - first) * RECORD_BYTES)
            for number, count, head in rows:
                data = file.read(count * RECORD_BYTES)
                if len(data) != count * RECORD_BYTES:
                    raise BadTape(f"{archive.path}: ends before record {number + count}: altered")
                yield number, data, head
    except (lzma.LZMAError, EOFError) as error:
        raise BadTape(f"{archive.path}: {error}: altered; restore it") from None


def verified_batches(
    connection: sqlite3.Connection, path: Path, segment: Segment, after: Snapshot | None = None
) -> Generator[Batch, None, None]:
    """The batches of ``segment`` in order, every byte hashed; those after a snapshot if one is given.

    Raises BadTape naming the first batch that does not continue the chain.
    """
    if segment.archive is not None:
        _check_archive(segment, segment.archive)
    chain, count = resumed_chain(connection, path, segment, after), after.records if after else segment.first
    with closing(stored_batches(connection, path, segment, count)) as batches:
        for first, data, stated in batches:
            if first != count:
                if first < count and after is not None:
                    continue  # a snapshot is of the end of a batch: only when there is none after it
                raise BadTape(
                    f"{path}: {segment}: batch at record {first}: record {count} expected: rows are missing or altered"
                )
            chain.update(data)
            if (found := chain.head()) != stated:
                raise BadTape(
                    f"{path}: {segment}: batch of records {first} to {first + len(data) // RECORD_BYTES - 1}: head is "
                    f"{found.hex()[:16]}, {stated.hex()[:16]} stored: altered"
                )
            count += len(data) // RECORD_BYTES
            yield Batch(first, np.frombuffer(data, RECORD), stated)
    if count != segment.end:
        raise BadTape(f"{path}: {segment} ends at record {count}, {segment.end} expected: rows are missing or altered")


def resumed_chain(connection: sqlite3.Connection, path: Path, segment: Segment, after: Snapshot | None) -> Chain:
    """The chain of ``segment`` after the records of a snapshot: only its open block is hashed again.

    Raises BadTape if what that gives is not the head stored there.
    """
    if after is None or after.records == segment.first:
        return Chain(segment.start)
    chain = Chain(after.link)
    open_first = after.records - (after.records - segment.first) % BLOCK_RECORDS
    stated = None
    with closing(stored_batches(connection, path, segment, open_first)) as batches:
        for first, data, head in batches:
            if first >= after.records:
                break
            chain.update(data[max(0, open_first - first) * RECORD_BYTES :])
            stated = head
    if stated is not None and chain.head() != stated:
        raise BadTape(
            f"{path}: snapshot after {after.records} records: head is {chain.head().hex()[:16]}, "
            f"{stated.hex()[:16]} stored: altered"
        )
    return chain


def _check_archive(segment: Segment, archive: Archive) -> None:
    if archive.path.exists():
        with open(archive.path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        if found != archive.sha256:
            raise BadTape(
                f"{archive.path}: hashes to {found.hex()[:16]}, {archive.sha256.hex()[:16]} recorded: altered, with "
                f"records {segment.first} to {segment.end - 1}; restore it"
            )


def joined(batches: Iterator[tuple[int, bytes, bytes]], cuts: list[int]) -> Iterator[np.ndarray]:
    """The records of ``batches`` in larger pieces, dtype RECORD, unchecked; a piece ends at each of ``cuts``."""
    parts: list[bytes] = []
    size, ends = 0, set(cuts)
    for first, data, _ in batches:
        parts.append(data)
        size += len(data) // RECORD_BYTES
        if size >= _JOINED_RECORDS or first + len(data) // RECORD_BYTES in ends:
            yield np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), RECORD)
            parts, size = [], 0
    if parts:
        yield np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), RECORD)
