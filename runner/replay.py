"""Replay: run the core again over what the journal holds, and find the first record that comes out different.

No model, no venue, no market: the journal has every bar, prediction, command and everything the venue said, in the
order the core consumed them. Feeding them to the core again must give the same decisions, intents and risk records,
byte for byte, in their places; ``core.replay`` says what those places are and does it, compiled. It may start from the
first record or from any snapshot. ``replay_model`` repeats the model apart: bars to predictions.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from core import book, engine
from core import replay as compiled
from core.errors import BadInput, BrokenInvariant
from core.layout import BOOK, STATE
from core.records import BAR, RECORD, RECORD_VERSION, Kind
from models.stream import Stream
from runner import snapshot as snapshots
from runner.compare import Difference, Fault, first_difference
from runner.diagnosis import LOOK_AHEAD, LOOK_BACK, Parting, classify
from runner.plan import KERNEL_HASH, header_core, session_record
from runner.snapshot import Snapshot, state_hash

_BOOK_KINDS: Final = (Kind.LEVEL, Kind.TRADE, Kind.CLEAR)
_Core = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # state, books, place, outputs due


@dataclass(frozen=True, slots=True)
class Replayed:
    """The end of a replay: how far it came, the core's state there, and where it parted if it did."""

    records: int
    state: np.ndarray  # shape (1,), dtype STATE
    drawdown_max_ppm: int
    state_hash: str
    difference: Difference | None


class Replay:
    """A core that is fed a journal, batch by batch of any size."""

    def __init__(self, header: dict[str, Any], start: Snapshot | None = None) -> None:
        """From the first record, or from ``start``. Raises BadTape if that is the state of another program."""
        self._header = header
        self._config, self._strategy = header_core(header)
        self._place, self._due = compiled.new_place(), compiled.new_due()
        self.records = start.records if start else 0
        self.state = start.array(snapshots.STATE, STATE) if start else engine.new_state(self._config)
        self.books = engine.NO_BOOKS
        if header.get("interval_ns") == 0:
            self.books = book.new_books(int(self._config[0]["n_instruments"]))
        if start and snapshots.BOOKS in start.parts:
            self.books = start.array(snapshots.BOOKS, BOOK, None)
        self._past: list[tuple[_Core, list[np.ndarray]]] = []  # at most two places, each with what came after it

    def feed(self, records: np.ndarray, following: Iterable[np.ndarray] = ()) -> Difference | None:
        """Take the next ``records``, dtype RECORD; the first difference, None if there is none.

        ``following``: the batches after them, asked for only to tell what kind of fault a difference is.
        """
        skip = 0
        if self.records == 0 and len(records):
            if (found := first_difference(session_record(self._header), records[:1], 0)) is not None:
                return found
            skip = 1
        self._meet_books(records)
        self._remember(records[skip:])
        row, error = self._advance(records[skip:])
        at = self.records + skip + row
        if row == len(records) - skip:
            self.records += len(records)
            return None
        return self._parted(len(records) - skip, row, at, error, following)

    def _meet_books(self, records: np.ndarray) -> None:
        """Books are kept from the first record on that is about one."""
        if not len(self.books) and np.isin(records["kind"], _BOOK_KINDS).any():
            self.books = book.new_books(int(self._config[0]["n_instruments"]))

    def _advance(self, records: np.ndarray) -> tuple[int, str]:
        """(rows taken, what the core said if it refused the next one)."""
        try:
            return (
                compiled.advance(self._config, self.state, self.books, records, self._place, self._due, self._strategy),
                "",
            )
        except (BadInput, BrokenInvariant) as error:
            return int(self._place[0]["row"]), str(error)

    def _remember(self, records: np.ndarray) -> None:
        """Keep the core as it was ``LOOK_BACK`` records ago or earlier, and every record since, ``records`` included.

        So the kind of a fault does not depend on where the journal is cut into batches.
        """
        if not self._past or sum(map(len, self._past[-1][1])) >= LOOK_BACK:
            self._past = [*self._past[-1:], (self._copy(), [])]
        self._past[-1][1].append(records)

    def _copy(self) -> _Core:
        due = self._due[: int(self._place[0]["count"])].copy()
        return self.state.copy(), self.books.copy(), self._place.copy(), due

    def _restore(self, saved: _Core) -> None:
        state, books, self._place, due = (item.copy() for item in saved)
        self.state, self.books = state, books
        self._due[: len(due)] = due

    def _parted(self, size: int, row: int, at: int, error: str, following: Iterable[np.ndarray]) -> Difference:
        """What is wrong at ``row`` of the last ``size`` records, record number ``at`` of the run."""
        place = self._place[0]
        due = self._due[int(place["head"]) : int(place["count"])].copy()
        ahead = [batch for _, batches in self._past for batch in batches]
        row += sum(map(len, ahead)) - size
        for batch in following:
            if sum(map(len, ahead)) >= row + LOOK_AHEAD:
                break
            ahead.append(batch[:LOOK_AHEAD])
        stream = np.concatenate(ahead)[: row + LOOK_AHEAD]
        self.records = at
        parted, first = self._copy(), max(0, row - LOOK_BACK)
        self._restore(self._past[0][0])
        self._meet_books(stream)
        self._advance(stream[:first])
        before = self._copy()

        def reach(changed: np.ndarray) -> int:
            self._restore(before)
            return self._advance(changed)[0]

        found = classify(Parting(stream[first:], row - first, at, due, error), reach)
        self._restore(parted)
        return found

    @property
    def drawdown_max_ppm(self) -> int:
        """The largest drawdown so far."""
        return int(self.state["risk"]["drawdown_max_ppm"][0])

    @property
    def state_hash(self) -> str:
        """SHA-256 of the core's state and books."""
        return state_hash(self.state.tobytes(), self.books.tobytes())

    def check(self, snapshot: Snapshot) -> Difference | None:
        """The difference between this core and ``snapshot``, taken after the same records."""
        if (found := self.state_hash) == snapshot.state_hash:
            return None
        return Difference(self.records, "SNAPSHOT", "state", found, snapshot.state_hash, Fault.VALUE)

    def end(self) -> Difference | None:
        """The difference at the end: outputs still due are records that the journal lacks."""
        place = self._place[0]
        due = self._due[int(place["head"]) : int(place["count"])]
        return first_difference(due, due[:0], self.records) if len(due) else None


def replay(header: dict[str, Any], batches: Iterator[np.ndarray], start: Snapshot | None = None) -> Replayed:
    """Replay the journal with ``header`` and the records in ``batches``, from ``start`` on if it is given."""
    run = Replay(header, start)
    found = version_difference(header, run.records)
    while found is None and (records := next(batches, None)) is not None:
        found = run.feed(records, batches)
    found = found or run.end()
    return finished(run, header, found)


def version_difference(header: dict[str, Any], at: int) -> Difference | None:
    """The schema mismatch of a journal in another version of the records."""
    stated = header["record_version"]
    if stated == RECORD_VERSION:
        return None
    return Difference(at, "SESSION", "record_version", str(RECORD_VERSION), str(stated), Fault.SCHEMA)


def finished(run: Replay, header: dict[str, Any], found: Difference | None) -> Replayed:
    """The result of ``run``; a difference is blamed on the code if other kernels than these wrote the journal."""
    if found is not None and header["kernel_hash"] != KERNEL_HASH:
        found = replace(found, fault=Fault.CODE)
    return Replayed(run.records, run.state, run.drawdown_max_ppm, run.state_hash, found)


def replay_model(stream: Stream, batches: Iterator[np.ndarray]) -> Difference | None:
    """Run kernel and model over the journal's bars and compare the predictions it holds; None if all are equal.

    The very last bar may lack its prediction: the process may have died before it was made.
    """
    count, due = 0, np.zeros(0, RECORD)
    for records in batches:
        for row in np.flatnonzero(np.isin(records["kind"], (Kind.BAR, Kind.PREDICTION))):
            record, at = records[row : row + 1], count + int(row)
            if record["kind"][0] == Kind.PREDICTION:
                found, due = first_difference(due, record, at), due[:0]
            else:
                found, due = first_difference(due, due[:0], at), stream.on_bar(record.view(BAR)).view(RECORD)
            if found is not None:
                return found
        count += len(records)
    return None
