"""What kind of fault a divergence is (requirements RUN-19), found by repairing it.

At the first record that the core would not have written, several single faults are possible: a value was changed, a
record is missing, one too many, or out of its place. Each is undone in turn and the replay tried again from before the
fault: the repair after which the core and the journal agree for longest names the class. Where two repairs do equally
well, a repetition of an earlier record is one too many, and otherwise the record is held to be there and the one
before it missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.records import DECISION, Kind
from runner.compare import Difference, Fault, kind_name, record_difference

LOOK_BACK: Final = 512  # records before the fault that a repair may touch and is tried on
LOOK_AHEAD: Final = 512  # records after the fault that a repair is tried on
_MOVED_MAX: Final = 8  # places a record may have been moved
FIRST_OUTPUT: Final = int(Kind.DECISION)

Reach = Callable[[np.ndarray], int]  # how many records of a stream the core agrees with


@dataclass(frozen=True, slots=True)
class Parting:
    """Where a replay stopped: at ``row`` of ``stream``, number ``at`` of the run."""

    stream: np.ndarray  # dtype RECORD: from a place at which the core agreed, to some records after the fault
    row: int
    at: int
    due: np.ndarray  # dtype RECORD: the outputs that had to come next
    error: str  # what the core said of an input that it refused; empty if it was not that


def classify(parting: Parting, reach: Reach) -> Difference:
    """Name the first difference and its class."""
    record = parting.stream[parting.row]
    if int(record["kind"]) not in set(Kind):
        name = kind_name(record)
        return Difference(parting.at, name, "kind", "a kind of this version", name, Fault.SCHEMA)
    fault = _best(parting, reach)
    return _described(parting, fault)


def _best(parting: Parting, reach: Reach) -> Fault:
    """The fault whose repair leads furthest."""
    stream, row, due = parting.stream, parting.row, parting.due
    is_output = stream["kind"][row] >= FIRST_OUTPUT
    tried: list[tuple[int, int, Fault]] = []  # (records after the fault that agree then, preference, fault)

    def attempt(fault: Fault, preference: int, changed: np.ndarray, repaired: int) -> None:
        """``changed`` is the stream with the fault undone in its first ``repaired`` records."""
        agreed, shift = reach(changed), len(changed) - len(stream)
        if agreed >= repaired:
            tried.append((agreed - shift - row - 1, preference, fault))

    if len(due) and is_output:
        attempt(Fault.VALUE, 4, np.concatenate([stream[:row], due[:1], stream[row + 1 :]]), row + 1)
    for other in range(max(0, row - _MOVED_MAX), min(row + 1 + _MOVED_MAX, len(stream))):
        if other != row:
            for source, target in ((other, row), (row, other)):
                attempt(Fault.REORDERED, 3, _moved(stream, source, target), max(row, other) + 1)
    for size in {1, len(due)} if len(due) else ():
        attempt(Fault.MISSING, 2, np.concatenate([stream[:row], due[:size], stream[row:]]), row + size + 1)
    for other in (row, row - 1):
        if other >= 0:
            attempt(Fault.UNEXPECTED, 5 if _repeats(stream, other) else 0, np.delete(stream, other), row)
    furthest, _, fault = max(tried, key=lambda item: item[:2], default=(-1, 0, Fault.VALUE))
    if furthest < 0 or (parting.error and fault is Fault.UNEXPECTED and not _repeats(stream, row)):
        return Fault.VALUE
    if fault is Fault.UNEXPECTED and is_output and not len(due) and _lacks_its_input(stream, row):
        return Fault.MISSING
    return fault


def _moved(stream: np.ndarray, source: int, target: int) -> np.ndarray:
    """``stream`` with the record at ``source`` taken out and put in at ``target``."""
    order = np.arange(len(stream))
    order = np.insert(np.delete(order, source), target, source)
    return stream[order]


def _repeats(stream: np.ndarray, row: int) -> bool:
    """Whether the record at ``row`` is in the stream before, byte for byte."""
    record = stream[row : row + 1]
    same = np.flatnonzero((stream["ts_known"][:row] == record["ts_known"]) & (stream["kind"][:row] == record["kind"]))
    return any(stream[index].tobytes() == record.tobytes() for index in same)


def _lacks_its_input(stream: np.ndarray, row: int) -> bool:
    """Whether an output that nothing before it caused is later than every input, or decides on something new."""
    record, before = stream[row], stream[:row]
    inputs = before[before["kind"] < FIRST_OUTPUT]
    if len(inputs) and record["ts_known"] > inputs["ts_known"].max():
        return True
    if record["kind"] != Kind.DECISION:
        return False
    decided = before[before["kind"] == Kind.DECISION].view(DECISION)
    key = stream[row : row + 1].view(DECISION)
    return not bool(((decided["bar_ts"] == key["bar_ts"]) & (decided["instrument"] == key["instrument"])).any())


def _described(parting: Parting, fault: Fault) -> Difference:
    record, due, at = parting.stream[parting.row], parting.due, parting.at
    name = kind_name(record)
    if parting.error:
        return Difference(at, name, "record", "one the core accepts", parting.error, fault)
    if not len(due):
        expected = "the input it was made from" if fault is Fault.MISSING else "an input"
        return Difference(at, name, "kind", expected, name, fault)
    return record_difference(due[0], record, at, fault)
