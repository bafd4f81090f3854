"""Where two record streams part: the record number, its kind, the field, both values, and what kind of fault it is."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from core.records import RECORD_BYTES, TYPED, Kind


class Fault(Enum):
    """Classes of a replay mismatch (requirements RUN-19)."""

    MISSING = "missing event"  # the core produced a record that the journal lacks
    UNEXPECTED = "unexpected event"  # the journal holds a record that the core did not produce
    REORDERED = "reordered events"
    VALUE = "value mismatch"
    SCHEMA = "schema mismatch"  # a kind this program does not know, or another record version
    HASH = "hash mismatch"  # the stored bytes do not give the stored head
    CODE = "code-version mismatch"  # differs, and was written by other kernels


@dataclass(frozen=True, slots=True)
class Difference:
    """The first record at which a stream differs from what it should be."""

    record: int
    kind: str
    field: str
    expected: str
    actual: str
    fault: Fault

    def __str__(self) -> str:
        return (
            f"record {self.record} ({self.kind}) {self.field}: expected {self.expected}, actual {self.actual} "
            f"[{self.fault.value}]"
        )


def kind_name(record: np.ndarray) -> str:
    """The name of a record's kind, or its number if this program does not know it."""
    number = int(record["kind"])
    return Kind(number).name if number in set(Kind) else f"kind {number}"


def first_difference(expected: np.ndarray, actual: np.ndarray, first: int) -> Difference | None:
    """Compare two streams of dtype RECORD that start at sequence number ``first``; None if they are equal."""
    size = min(len(expected), len(actual))
    unequal = np.flatnonzero((_bytes(expected[:size]) != _bytes(actual[:size])).any(axis=1))
    if len(unequal):
        row = int(unequal[0])
        swapped = sorted(item.tobytes() for item in expected) == sorted(item.tobytes() for item in actual)
        return record_difference(expected[row], actual[row], first + row, Fault.REORDERED if swapped else Fault.VALUE)
    if len(expected) > size:
        kind = kind_name(expected[size])
        return Difference(first + size, kind, "kind", kind, "nothing", Fault.MISSING)
    if len(actual) > size:
        kind = kind_name(actual[size])
        return Difference(first + size, kind, "kind", "nothing", kind, Fault.UNEXPECTED)
    return None


def _bytes(records: np.ndarray) -> np.ndarray:
    return np.frombuffer(records.tobytes(), np.uint8).reshape(len(records), RECORD_BYTES)


def record_difference(expected: np.ndarray, actual: np.ndarray, number: int, fault: Fault) -> Difference:
    """The first field, kind before all others, in which record ``number`` is not the ``expected`` one."""
    kind = kind_name(expected)
    if expected["kind"] != actual["kind"]:
        return Difference(number, kind, "kind", kind, kind_name(actual), fault)
    dtype = TYPED[Kind(int(expected["kind"]))]
    want, have = (np.frombuffer(item.tobytes(), dtype)[0] for item in (expected, actual))
    field = next(name for name in dtype.names or () if want[name] != have[name])
    return Difference(number, kind, field, str(want[field]), str(have[field]), fault)
