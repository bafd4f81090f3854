"""Replay: parity on what was written, and the first divergence, by number, field and class, on anything else."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput, BadTape, PortcullisError
from core.records import DECISION, FILL, INTENT, PREDICTION, Kind
from models.statement import verify_bundle
from runner.clock import Pacer
from runner.failpoints import Failpoints
from runner.feed import builtin_feed
from runner.home import Home, Run
from runner.invariants import Invariants
from runner.journal import Journal
from runner.paper import play
from runner.plan import header_instruments, header_ledger, make_plan
from runner.reader import open_run, verify
from runner.replay import replay
from runner.verdict import judge
from tests.runner.bundles import make_bundle, make_home

NO_TRUST = Path("nowhere")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of three days of the built-in market."""
    folder = tmp_path_factory.mktemp("played")
    home = Home(make_home(folder / "home"))
    bundle, statement = verify_bundle(make_bundle(folder / "bundle"), home.trust)
    trading = bundle.manifest.trading
    plan = make_plan(bundle, builtin_feed(3, 3, 1.0, trading.execution.feed_latency_ns), trading)
    run = home.run("played")
    play(plan, statement, folder / "bundle", run, Pacer(None), lambda bars, _: bars)
    return run


@pytest.fixture(scope="module")
def header(played: Run) -> dict:
    with open_run(played) as reader:
        return reader.header


@pytest.fixture(scope="module")
def records(played: Run) -> np.ndarray:
    with open_run(played) as reader:
        found = np.concatenate(list(reader.batches()))
    found.flags.writeable = False
    return found


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


def unknown_kind(records: np.ndarray, row: int) -> np.ndarray:
    copy = records.copy()
    copy["kind"][row] = 99
    return copy


PLANTED: list[tuple[str, Kind, int, Callable[[np.ndarray, int], np.ndarray], str, str]] = [
    (
        "an output's value",
        Kind.DECISION,
        1700,
        lambda r, i: changed(r, i, DECISION, "edge_ppm", 1),
        "edge_ppm",
        "value",
    ),
    ("an intent's quantity", Kind.INTENT, 3, lambda r, i: changed(r, i, INTENT, "qty", 1), "qty", "value"),
    (
        "an input's value",
        Kind.PREDICTION,
        1500,
        lambda r, i: changed(r, i, PREDICTION, "edge_ppm", 9),
        "edge_ppm",
        "value",
    ),
    ("a missing output", Kind.DECISION, 1700, drop, "kind", "value"),
    ("a swapped pair", Kind.DECISION, 0, lambda r, i: swap(r, i - 1), "kind", "unexpected"),
    ("an unknown kind", Kind.BAR, 100, unknown_kind, "kind", "schema"),
]


@pytest.mark.parametrize("case", PLANTED, ids=[case[0] for case in PLANTED])
def test_a_planted_divergence_is_named(tmp_path: Path, header: dict, records: np.ndarray, case: tuple) -> None:
    _, kind, nth, plant, field, fault = case
    row = first(records, kind, nth)
    found = judge(forge(tmp_path, header, plant(records, row)), NO_TRUST, model=False, bundle=None)
    assert not found.parity
    assert found.integrity is None  # every hash is in order
    assert found.divergence is not None
    # A changed input shows in the first record made of it, a swapped pair in its first.
    assert abs(int(found.divergence["record"]) - row) <= 1
    assert found.divergence["field"] == field
    assert str(found.divergence["fault"]).startswith(fault)
    assert found.lines()[0] == "REPLAY PARITY: FALSE"


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
    found = replay(other, iter([changed(records, row, DECISION, "edge_ppm", 1)])).difference
    assert found is not None and found.fault.value == "code-version mismatch"
    assert replay(other, iter([records])).difference is None  # other kernels that agree are in order


def test_another_record_version_is_refused(header: dict, records: np.ndarray) -> None:
    with pytest.raises(BadTape, match="record version 0"):
        replay(header | {"record_version": 0}, iter([records]))


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


class TestInvariants:
    """Each law has a session that keeps it (above) and one that breaks it."""

    def broken(self, header: dict, records: np.ndarray) -> str:
        ledger = header_ledger(header)
        ledger.start(b"")
        laws = Invariants(header_instruments(header), ledger)
        for low in range(0, len(records), 500):
            laws.add(records[low : low + 500])
        return "\n".join(laws.broken)

    def test_kept(self, header: dict, records: np.ndarray) -> None:
        assert self.broken(header, records) == ""

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("order_id", 999, "never sent"),
            ("ts_event", 0, "at or before its decision"),
            ("side", 2, "on another side"),
            ("instrument", 9, "on another side or instrument"),
            ("qty", 10**9, "beyond its quantity"),
            ("price", 10**12, "below zero"),
        ],
    )
    def test_broken_by_a_fill(self, header: dict, records: np.ndarray, field: str, value: int, message: str) -> None:
        copy = records.copy()
        row = first(records, Kind.FILL)
        if field == "instrument":
            value = (int(copy["instrument"][row]) + 1) % 3
        copy[row : row + 1].view(FILL)[field] = value
        assert message in self.broken(header, copy)

    def test_kept_by_a_fill_delivered_again(self, header: dict, records: np.ndarray) -> None:
        """Said again at once and at the end: the core, its ledger and the laws take it for one fill."""
        row = first(records, Kind.FILL)
        again = records[row : row + 1].copy()
        again["ts_known"] = records["ts_known"].max()
        copy = np.concatenate([records[: row + 1], records[row : row + 1], records[row + 1 :], again])
        assert self.broken(header, copy) == ""
        ledger, clean = header_ledger(header), header_ledger(header)
        ledger.transactions(0, copy)
        clean.transactions(0, records)
        assert ledger.balances == clean.balances
        replayed, undisturbed = replay(header, iter([copy])), replay(header, iter([records]))
        assert replayed.difference is None
        assert replayed.state.tobytes() == undisturbed.state.tobytes()

    def test_broken_by_time(self, header: dict, records: np.ndarray) -> None:
        copy = records.copy()
        copy["ts_known"][first(records, Kind.BAR, 700)] -= 10**15
        found = self.broken(header, copy)
        assert "known before it happened" in found and "bars go back in time" in found

    def test_broken_by_a_state_that_is_not_the_ledgers(self, header: dict, records: np.ndarray) -> None:
        ledger = header_ledger(header)
        ledger.start(b"")
        laws = Invariants(header_instruments(header), ledger)
        laws.add(records)
        state = replay(header, iter([records])).state
        laws.check_state(state)
        assert laws.broken == []
        state["account"]["cash"] += 1
        laws.check_state(state)
        assert "the core holds" in laws.broken[0]
