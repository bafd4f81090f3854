"""Reading a run that was written: its header, its records, and the proof that nothing in it was altered."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import BadTape, Refused
from core.records import RECORD
from models.atomic import partial_name, rename
from runner import ledger_state
from runner.chain import Chain
from runner.database import DAMAGED, check_schema, connect, sqlite_errors
from runner.home import Run
from runner.journal import written_by
from runner.ledger import Ledger, LedgerBroken
from runner.plan import KERNEL_HASH, header_ledger
from runner.replay import Replay, Replayed, finished, version_difference
from runner.seal import Seal, check_file, read_seal
from runner.segments import (
    Segment,
    joined,
    read_segments,
    read_snapshot,
    snapshot_places,
    stored_batches,
    verified_batches,
)
from runner.snapshot import LEDGER, Snapshot


@dataclass(frozen=True, slots=True)
class Reader:
    """An open run, read-only."""

    run: Run
    connection: sqlite3.Connection
    segments: tuple[Segment, ...]
    seal: Seal | None  # None while the run is not finished

    @property
    def header(self) -> dict[str, Any]:
        """The lineage of the last segment; all have one run, market and configuration."""
        return self.segments[-1].lineage

    @property
    def kept(self) -> tuple[Segment, ...]:
        """The segments whose records are still there."""
        return tuple(segment for segment in self.segments if not segment.expired)

    @property
    def first(self) -> int:
        """The number of the first record that is still there."""
        return self.kept[0].first

    def batches(self, segments: tuple[Segment, ...] | None = None) -> Iterator[np.ndarray]:
        """The records of ``segments`` (all that are kept) in pieces, dtype RECORD, unchecked.

        A piece ends wherever there is a snapshot.
        """
        cuts = snapshot_places(self.connection, self.run.journal)
        for segment in segments or self.kept:
            yield from joined(stored_batches(self.connection, self.run.journal, segment), cuts)

    def snapshot(self, records: int) -> Snapshot:
        """The snapshot after ``records`` records. Raises BadTape if there is none or it is altered."""
        return read_snapshot(self.connection, self.run.journal, records)

    def entries(self, last: int) -> list[dict[str, Any]]:
        """The ledger's last entries, oldest first."""
        with sqlite_errors(self.run.journal, DAMAGED):
            rows = self.connection.execute(
                "SELECT txn, seq, account, asset, delta, balance_after FROM entry JOIN txn ON txn.id = entry.txn "
                "ORDER BY entry.id DESC LIMIT ?",
                (last,),
            ).fetchall()
        names = ("transaction", "journal_record", "account", "asset", "delta", "balance")
        return [dict(zip(names, row, strict=True)) for row in reversed(rows)]


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
        segments = tuple(read_segments(connection, run.journal))
        yield Reader(run, connection, segments, read_seal(run.seal))
    finally:
        connection.close()


def verify(reader: Reader) -> Verified:
    """Hash every byte of the journal, rebuild the ledger from it and compare both with what is stored and sealed.

    Where old segments have expired, the ledger is rebuilt from the checkpoint of the first that is kept. Raises
    BadTape for the journal, LedgerBroken for the ledger, each naming the first place that differs.
    """
    path = reader.run.journal
    check_schema(reader.connection, path)
    ledger, count, head = header_ledger(reader.header), reader.first, ""
    ledger.start(reader.segments[0].start)
    if reader.first:
        ledger_state.load(ledger, reader.snapshot(reader.first).parts[LEDGER], reader.connection)
    with sqlite_errors(path, DAMAGED), ledger.checking(reader.connection) as check:
        for segment in reader.kept:
            head = Chain(segment.start).head().hex()  # the last one may have no record yet
            with closing(verified_batches(reader.connection, path, segment)) as batches:
                for batch in batches:
                    check(batch.first, batch.records)
                    count, head = batch.first + len(batch.records), batch.head.hex()
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
    check_file(seal, reader.run.journal)


def replay_run(
    reader: Reader, *, any_code: bool = False, watch: Callable[[np.ndarray], None] | None = None
) -> Replayed:
    """Replay every segment that is kept, each from its checkpoint, and compare each snapshot on the way.

    ``watch`` sees every record, in order. Raises Refused for a segment that another program wrote, unless ``any_code``.
    """
    places = set(snapshot_places(reader.connection, reader.run.journal))
    result: Replayed | None = None
    for segment in reader.kept:
        if not any_code:
            refuse_other_code(reader, segment)
        start = reader.snapshot(segment.first) if segment.first else None
        result = _replay_segment(reader, segment, start, places, watch)
        if result.difference is not None:
            break
    if result is None:
        raise BadTape(f"{reader.run.journal}: every segment has expired: nothing is left to replay")
    return result


def _replay_segment(
    reader: Reader,
    segment: Segment,
    start: Snapshot | None,
    places: set[int],
    watch: Callable[[np.ndarray], None] | None,
) -> Replayed:
    again, batches = Replay(segment.lineage, start), reader.batches((segment,))
    found = version_difference(segment.lineage, again.records)
    while found is None and (records := next(batches, None)) is not None:
        if watch is not None:
            watch(records)
        found = again.feed(records, batches)
        if found is None and again.records in places:
            found = again.check(reader.snapshot(again.records))
    return finished(again, segment.lineage, found or again.end())


def refuse_other_code(reader: Reader, segment: Segment) -> None:
    """Raise Refused unless ``segment`` was written by kernels equal to this program's."""
    if segment.lineage.get("kernel_hash") != KERNEL_HASH:
        raise Refused(
            f"{reader.run.journal}: {segment} (records {segment.first} to {segment.end - 1}) was written by "
            f"{written_by(segment.lineage)}, this program has kernels {KERNEL_HASH[:16]}: replay it with that "
            "program, or with --any-code to see whether and where they differ"
        )


def load(folder: Path | str) -> np.ndarray:
    """Every record that the run in ``folder`` keeps, archived or not, as one array of dtype RECORD, unchecked."""
    with open_run(Run(Path(folder))) as reader:
        return np.concatenate([np.zeros(0, RECORD), *reader.batches()])


def export(reader: Reader, to: Path) -> int:
    """Write every record that is kept to ``to``, a .npy file of dtype RECORD, verified; how many.

    Raises BadTape if the journal is altered: then there is no file.
    """
    partial = partial_name(to)
    count = reader.segments[-1].end - reader.first
    try:
        with open(partial, "wb") as file:
            form = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False, "shape": (count,)}
            np.lib.format.write_array_header_1_0(file, form)
            for segment in reader.kept:
                with closing(verified_batches(reader.connection, reader.run.journal, segment)) as batches:
                    for batch in batches:
                        file.write(batch.records.tobytes())
            file.flush()
            os.fsync(file.fileno())
        rename(partial, to)
    finally:
        partial.unlink(missing_ok=True)
    return count
