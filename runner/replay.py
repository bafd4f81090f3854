"""Replay: run the core again over what the journal holds, and find the first record that comes out different.

No model, no venue, no market: the journal has every bar, prediction, command and everything the venue said, in the
order the core consumed them. Feeding them to ``engine.on_core_record`` must give the same decisions, intents and risk
records, byte for byte, in their places: what a bar's ORDER and FILL records and the bar itself cause comes after that
bar. ``replay_model`` repeats the model apart: bars to predictions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core import engine
from core.errors import BadInput, BadTape, BrokenInvariant
from core.records import BAR, RECORD, RECORD_VERSION, Kind
from models.stream import Stream
from runner.compare import Difference, Fault, first_difference, kind_name
from runner.plan import KERNEL_HASH, header_core, session_record

_OUTPUTS: Final = (Kind.DECISION, Kind.INTENT, Kind.RISK)
_REPORTS: Final = (Kind.ORDER, Kind.FILL)
_INPUTS: Final = (Kind.BAR, Kind.PREDICTION, Kind.ORDER, Kind.FILL, Kind.COMMAND)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The end of a replay: how far it came, the core's state there, and where it parted if it did."""

    records: int
    state: np.ndarray  # shape (1,), dtype STATE
    drawdown_max_ppm: int
    difference: Difference | None


class Replay:
    """A core that is fed a journal record by record."""

    def __init__(self, header: dict[str, Any]) -> None:
        self._header = header
        self._config, self._strategy = header_core(header)
        self.state = engine.new_state(self._config)
        self.records = 0
        self.drawdown_max_ppm = 0
        self._drawdown = self.state["risk"]["drawdown_ppm"]  # a view: it follows the state
        self._out = np.zeros(engine.OUT_PER_INPUT, RECORD)
        self._due = np.zeros(0, RECORD)  # outputs the journal must hold next
        self._reporting = False  # after an ORDER or FILL: the input it came with is still to come, then the outputs

    def feed(self, records: np.ndarray) -> Difference | None:
        """Take the next ``records``, dtype RECORD; the first difference, None if there is none."""
        again, fault = records.copy(), None
        for row in range(len(records)):
            if len(self._due) and not self._reporting:
                again[row], self._due = self._due[0], self._due[1:]
            elif (fault := self._take(records[row : row + 1], self.records + row)) is not None:
                break
        difference = first_difference(again, records, self.records) or fault
        self.records += len(records)
        return difference

    def _take(self, record: np.ndarray, at: int) -> Difference | None:
        """Feed one input, record number ``at``; what is wrong with it."""
        kind, name = int(record["kind"][0]), kind_name(record[0])
        if kind == Kind.SESSION:
            return first_difference(session_record(self._header), record, at)
        if kind in _OUTPUTS:
            return Difference(at, name, "kind", "an input", name, Fault.UNEXPECTED)
        if kind not in _INPUTS:
            return Difference(at, name, "kind", "a kind of this version", name, Fault.SCHEMA)
        try:
            count = engine.on_core_record(self._config, self.state, record, self._out, self._strategy)
        except (BadInput, BrokenInvariant) as error:
            return Difference(at, name, "record", "one the core accepts", str(error), Fault.VALUE)
        made = self._out[:count].copy()
        self._due = np.concatenate([self._due, made]) if len(self._due) else made
        self._reporting = kind in _REPORTS
        self.drawdown_max_ppm = max(self.drawdown_max_ppm, int(self._drawdown[0]))
        return None

    def end(self) -> Difference | None:
        """The difference at the end: outputs still due are records that the journal lacks."""
        if not len(self._due):
            return None
        return first_difference(self._due, self._due[:0], self.records)


def replay(header: dict[str, Any], batches: Iterator[np.ndarray]) -> Replayed:
    """Replay the journal with ``header`` and the records in ``batches``."""
    if header["record_version"] != RECORD_VERSION:
        raise BadTape(f"journal of record version {header['record_version']}, this program reads {RECORD_VERSION}")
    run = Replay(header)
    for records in batches:
        if (found := run.feed(records)) is not None:
            return Replayed(found.record, run.state, run.drawdown_max_ppm, _classified(found, header))
    end = run.end()
    return Replayed(run.records, run.state, run.drawdown_max_ppm, _classified(end, header) if end else None)


def _classified(found: Difference, header: dict[str, Any]) -> Difference:
    """``found``, blamed on the code if the journal was written by other kernels than these."""
    if header["kernel_hash"] == KERNEL_HASH:
        return found
    return Difference(found.record, found.kind, found.field, found.expected, found.actual, Fault.CODE)


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
