"""Replay: parity on what was written, and the first divergence, by number, field and class, on anything else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput, BadTape, PortcullisError, Refused
from core.records import CHECK, DECISION, INTENT, PREDICTION, Kind
from runner.compare import Fault
from runner.failpoints import Failpoints
from runner.home import Home, Run
from runner.journal import Journal
from runner.plan import header_ledger
from runner.reader import open_run, verify
from runner.replay import replay
from runner.verdict import judge

NO_TRUST = Path("nowhere")


def forge(folder: Path, header: dict, records: np.ndarray) -> Run:
    """A run with ``records`` whose hashes and ledger are all in order: only a replay can tell."""
    run = Home(folder).run("forged")
    run.folder.mkdir(parents=True)
    with Journal(run.journal, header, header_ledger(header), Failpoints()) as journal:
        journal.append(records)
        journal.finish()
    return run


def first(records: np.ndarray, kind: Kind, nth: int = 0) -> int:
    return int(np.flatnonzero(records["kind"] == kind)[nth])


def test_what_was_written_replays(played: Run, records: np.ndarray) -> None:
    found = judge(played, played.folder.parent.parent / "trust", model=True, bundle=None)
    assert found.parity
    assert found.records == len(records)
    assert found.lines()[0] == "REPLAY PARITY: TRUE"
    assert {Kind.FILL, Kind.INTENT, Kind.DECISION, Kind.ORDER} <= set(records["kind"])


def test_replay_does_not_depend_on_batches(header: dict, records: np.ndarray) -> None:
    whole = replay(header, iter([records]))
    ones = replay(header, (records[row : row + 1] for row in range(len(records))))
    assert whole.difference is None and ones.difference is None
    assert whole.state.tobytes() == ones.state.tobytes()
    assert whole.drawdown_max_ppm == ones.drawdown_max_ppm > 0


def changed(records: np.ndarray, row: int, dtype: np.dtype, field: str, by: int) -> np.ndarray:
    copy = records.copy()
    copy[row : row + 1].view(dtype)[field] += by
    return copy


def drop(records: np.ndarray, row: int) -> np.ndarray:
    return np.delete(records, row)


def swap(records: np.ndarray, row: int) -> np.ndarray:
    copy = records.copy()
    copy[[row, row + 1]] = copy[[row + 1, row]]
    return copy


def twice(records: np.ndarray, row: int) -> np.ndarray:
    return np.insert(records, row + 1, records[row])


def put(field: str, value: int) -> Callable[[np.ndarray, int], np.ndarray]:
    def plant(records: np.ndarray, row: int) -> np.ndarray:
        copy = records.copy()
        copy[field][row] = value
        return copy

    return plant


def add(dtype: np.dtype, field: str) -> Callable[[np.ndarray, int], np.ndarray]:
    return lambda records, row: changed(records, row, dtype, field, 9)


# kind and number of the record, what is done to it, class, field, how far behind it the first difference shows
PLANTED: dict[str, tuple[Kind, int, Callable[[np.ndarray, int], np.ndarray], Fault, str, int]] = {
    "an output's value": (Kind.DECISION, 1700, add(DECISION, "edge"), Fault.VALUE, "edge", 0),
    "an intent's quantity": (Kind.INTENT, 3, add(INTENT, "qty"), Fault.VALUE, "qty", 0),
    "a check's limit": (Kind.CHECK, 30, add(CHECK, "limit"), Fault.VALUE, "limit", 0),
    "an input's value": (Kind.PREDICTION, 1500, add(PREDICTION, "edge_ppm"), Fault.VALUE, "edge", 1),
    "a missing output": (Kind.DECISION, 1700, drop, Fault.MISSING, "kind", 0),
    "a missing check": (Kind.CHECK, 30, drop, Fault.MISSING, "reason", 0),
    "a missing intent": (Kind.INTENT, 3, drop, Fault.MISSING, "kind", 0),
    "a missing input": (Kind.PREDICTION, 1500, drop, Fault.MISSING, "kind", 0),
    "an output too many": (Kind.DECISION, 1700, twice, Fault.UNEXPECTED, "kind", 1),
    "an intent too many": (Kind.INTENT, 3, twice, Fault.UNEXPECTED, "kind", 1),
    "an input too many": (Kind.PREDICTION, 1500, twice, Fault.UNEXPECTED, "kind", 1),
    "a bar too many": (Kind.BAR, 1500, twice, Fault.UNEXPECTED, "record", 1),
    "an output before its input": (Kind.PREDICTION, 1500, swap, Fault.REORDERED, "kind", 0),
    "an output after the next input": (Kind.DECISION, 1500, swap, Fault.REORDERED, "kind", 0),
    "swapped checks": (Kind.CHECK, 30, swap, Fault.REORDERED, "reason", 0),
    "an unknown input": (Kind.BAR, 100, put("kind", 29), Fault.SCHEMA, "kind", 0),
    "an unknown output": (Kind.DECISION, 100, put("kind", 99), Fault.SCHEMA, "kind", 0),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_named_with_its_class(header: dict, records: np.ndarray, name: str) -> None:
    kind, nth, plant, fault, field, later = PLANTED[name]
    row = first(records, kind, nth)
    found = replay(header, iter([plant(records, row)])).difference
    assert found is not None
    assert (found.record, found.fault, found.field) == (row + later, fault, field)
    assert found.expected != found.actual
    small = (plant(records, row)[low : low + 7] for low in range(0, len(records) + 1, 7))
    assert replay(header, small).difference == found  # however it is cut


@pytest.mark.parametrize("plant", [add(DECISION, "edge"), drop, twice, swap], ids=["value", "drop", "twice", "swap"])
def test_the_class_is_right_wherever_the_fault_lies(
    header: dict, records: np.ndarray, plant: Callable[[np.ndarray, int], np.ndarray]
) -> None:
    """On outputs, which the core makes itself: every one of a seeded choice, 100 of 100."""
    classes = {"swap": Fault.REORDERED, "drop": Fault.MISSING, "twice": Fault.UNEXPECTED}
    expected = classes.get(plant.__name__, Fault.VALUE)
    rows = np.flatnonzero(records["kind"] == Kind.DECISION)[1:-1]
    for row in np.random.default_rng(9).choice(rows, 25, replace=False).tolist():
        found = replay(header, iter([plant(records, row)])).difference
        assert found is not None and found.fault is expected, (row, str(found))


def test_a_difference_is_reported_with_everything(tmp_path: Path, header: dict, records: np.ndarray) -> None:
    """Hashes and ledger in order, so only the replay can tell: exit code, number, kind, field and both values."""
    row = first(records, Kind.DECISION, 1700)
    run = forge(tmp_path, header, changed(records, row, DECISION, "edge", 1))
    found = judge(run, NO_TRUST, model=False, bundle=None)
    assert not found.parity and found.integrity is None and found.divergence is not None
    right = int(records[row : row + 1].view(DECISION)["edge"][0])
    assert found.lines()[:2] == [
        "REPLAY PARITY: FALSE",
        f"first divergence: record {row} (DECISION), field edge: expected {right}, actual {right + 1} [value mismatch]",
    ]


def test_a_missing_last_output_is_a_missing_event(header: dict, records: np.ndarray) -> None:
    end = first(records, Kind.DECISION, 1700)
    found = replay(header, iter([records[:end]])).difference
    assert found is not None
    assert (found.record, found.kind, found.fault.value) == (end, "DECISION", "missing event")


def test_another_session_record_is_named(header: dict, records: np.ndarray) -> None:
    other = header | {"run_id": "ff" * 32}
    found = replay(other, iter([records])).difference
    assert found is not None
    assert (found.record, found.kind) == (0, "SESSION")


def test_a_divergence_under_other_kernels_is_blamed_on_them(header: dict, records: np.ndarray) -> None:
    row = first(records, Kind.DECISION, 1700)
    other = header | {"kernel_hash": "00" * 32}
    found = replay(other, iter([changed(records, row, DECISION, "edge", 1)])).difference
    assert found is not None and found.fault is Fault.CODE
    assert replay(other, iter([records])).difference is None  # other kernels that agree are in order


def test_a_segment_of_other_kernels_is_refused_by_name(tmp_path: Path, header: dict, records: np.ndarray) -> None:
    run = forge(tmp_path, header | {"kernel_hash": "00" * 32, "version": "9.8.7"}, records)
    with pytest.raises(Refused, match=r"segment 0 \(records 0 to \d+\) was written by portcullis 9.8.7"):
        judge(run, NO_TRUST, model=False, bundle=None)
    assert judge(run, NO_TRUST, model=False, bundle=None, any_code=True).parity


def test_another_record_version_is_a_schema_mismatch(header: dict, records: np.ndarray) -> None:
    found = replay(header | {"record_version": 0}, iter([records])).difference
    assert found is not None
    assert (found.record, found.field, found.fault) == (0, "record_version", Fault.SCHEMA)


def test_a_fill_the_core_cannot_take_is_a_divergence(tmp_path: Path, header: dict, records: np.ndarray) -> None:
    copy = records.copy()
    copy["instrument"][first(records, Kind.FILL)] = 7
    found = replay(header, iter([copy])).difference
    assert found is not None and found.kind == "FILL"


def test_flipped_bytes_and_broken_hashes_say_so(tmp_path: Path, records: np.ndarray, played: Run) -> None:
    copy = Run(tmp_path / "home" / "runs" / "copy")
    shutil.copytree(played.folder, copy.folder)
    data = bytearray(copy.journal.read_bytes())
    stored = (data.find(record.tobytes()) for record in records[len(records) // 2 :])  # -1: a page ends within it
    data[next(at for at in stored if at > 0)] ^= 1
    copy.journal.write_bytes(bytes(data))
    found = judge(copy, NO_TRUST, model=False, bundle=None)
    assert not found.parity and found.integrity is not None
    assert "hash mismatch" in "\n".join(found.lines())


def test_a_changed_prediction_is_found_by_the_model(
    tmp_path: Path, header: dict, records: np.ndarray, played: Run
) -> None:
    """One that the core never used (warm-up): the decisions replay, the model does not agree."""
    row = first(records, Kind.PREDICTION, 5)
    run = forge(tmp_path, header, changed(records, row, PREDICTION, "sigma_ppm", 1))
    trust, folder = played.folder.parent.parent / "trust", played.folder.parents[2] / "bundle"
    assert judge(run, trust, model=False, bundle=None).parity
    found = judge(run, trust, model=True, bundle=folder)
    assert found.divergence is not None
    assert (found.divergence["record"], found.divergence["field"]) == (row, "sigma_ppm")
    with pytest.raises(BadInput, match="does not say where the bundle lay"):
        judge(run, trust, model=True, bundle=None)


def test_any_flipped_byte_of_a_sealed_run_is_found(tmp_path: Path, played: Run) -> None:
    copy = Run(tmp_path / "copy")
    shutil.copytree(played.folder, copy.folder)
    rng = np.random.default_rng(5)
    for path in (copy.journal, copy.seal):
        intact = path.read_bytes()
        for position in rng.integers(0, len(intact) - 1, size=120):
            data = bytearray(intact)
            data[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(data))
            with pytest.raises(PortcullisError) as caught, open_run(copy) as reader:
                verify(reader)
            assert caught.value.exit_code in (31, 51), (path.name, position, caught.value)
        path.write_bytes(intact)
    with open_run(copy) as reader:
        verify(reader)


def test_a_lost_tail_is_found_by_the_seal(tmp_path: Path, header: dict, records: np.ndarray, played: Run) -> None:
    run = forge(tmp_path, header, records[: first(records, Kind.BAR, 900)])
    shutil.copy(played.seal, run.seal)
    with pytest.raises(BadTape, match=r"records \d+ sealed, the journal has \d+"), open_run(run) as reader:
        verify(reader)
