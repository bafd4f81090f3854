"""Segments, snapshots and archives: a run in many pieces is the run in one, from wherever one starts to read it."""

import lzma
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput, BadTape, PortcullisError, Refused
from core.records import RECORD, Kind
from models.statement import verify_bundle
from runner import retention
from runner.clock import Pacer
from runner.failpoints import Failpoints
from runner.feed import builtin_feed
from runner.home import Home, Run
from runner.journal import Journal, Policy
from runner.paper import close_segment, play
from runner.plan import Plan, header_ledger, make_plan, make_stream
from runner.reader import Reader, export, open_run, verify
from runner.replay import Replay, replay
from runner.retention import compress, expire, listing
from runner.segments import snapshot_places
from runner.session import Session
from runner.verdict import judge
from tests.runner.bundles import make_bundle, make_home

POLICY = Policy(snapshot_records=300, segment_records=2_500)
NO_TRUST = Path("nowhere")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("segments")
    make_home(folder / "home")
    make_bundle(folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def plan(place: Path) -> Plan:
    """The market, bundle and configuration of the run ``played``."""
    bundle, _ = verify_bundle(place / "bundle", place / "home" / "trust")
    trading = bundle.manifest.trading
    return make_plan(bundle, builtin_feed(3, 3, 1.0, trading.execution.feed_latency_ns), trading)


@pytest.fixture(scope="module")
def pieces(place: Path, plan: Plan) -> Run:
    """The session of ``played`` in several segments with many snapshots."""
    _, statement = verify_bundle(place / "bundle", place / "home" / "trust")
    run = Home(place / "home").run("pieces")
    play(plan, statement, place / "bundle", run, Pacer(None), lambda bars, _: bars, POLICY)
    return run


@pytest.fixture
def copy(pieces: Run, tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "copy")
    shutil.copytree(pieces.folder, run.folder)
    return run


def everything(reader: Reader) -> np.ndarray:
    return np.concatenate([np.zeros(0, RECORD), *reader.batches()])


def session(plan: Plan, journal: Journal) -> Session:
    execution = plan.trading.execution
    stream = make_stream(plan.bundle, 3, execution.decision_latency_ns, plan.feed.trade_from_ns)
    return Session(plan, stream, journal, pacer=Pacer(None), failpoints=Failpoints())


def open_journal(run: Run, plan: Plan, policy: Policy = POLICY, **changed: object) -> Journal:
    run.folder.mkdir(parents=True, exist_ok=True)
    header = plan.header | changed
    return Journal(run.journal, header, header_ledger(header), Failpoints(), policy)


def play_some(run: Run, plan: Plan, bars: int, *, stop: bool, policy: Policy = POLICY, **changed: object) -> int:
    """Play ``bars`` bars of ``plan`` in ``run`` and stop, or leave as a kill does; how many were played."""
    with open_journal(run, plan, policy, **changed) as journal:
        playing = session(plan, journal)
        count = 0
        for count, _ in enumerate(playing.play(), start=1):
            if count == bars:
                if not stop:
                    journal.commit()
                    break
                playing.stop()
        return count


def test_the_pieces_are_the_whole(pieces: Run, records: np.ndarray, played: Run) -> None:
    with open_run(pieces) as reader, open_run(played) as whole:
        assert len(reader.segments) > 3 and len(whole.segments) == 1
        assert everything(reader).tobytes() == records.tobytes()
        verified, once = verify(reader), verify(whole)
        assert verified.ledger.balances == once.ledger.balances
        for segment in reader.segments:
            assert segment.lineage == whole.header
        assert [item.first for item in reader.segments[1:]] == [item.end for item in reader.segments[:-1]]
        assert all(item.end - item.first >= POLICY.segment_records for item in reader.segments[:-1])
    assert judge(pieces, pieces.folder.parent.parent / "trust", model=True, bundle=None).parity


def test_a_segment_replays_by_itself_from_its_checkpoint(pieces: Run) -> None:
    with open_run(pieces) as reader:
        for segment in reader.segments[1:]:
            start = reader.snapshot(segment.first)
            found = replay(segment.lineage, reader.batches((segment,)), start)
            assert found.difference is None and found.records == segment.end
            place = segment.header["segment"]
            assert place["checkpoint"]["state_hash"] == start.state_hash
            assert place["checkpoint"]["records"] == segment.first


def test_from_any_snapshot_the_state_is_that_from_genesis(pieces: Run, records: np.ndarray) -> None:
    """RUN-17, for 20 snapshots of a seeded choice."""
    with open_run(pieces) as reader:
        genesis = replay(reader.header, iter([records]))
        places = snapshot_places(reader.connection, pieces.journal)
        assert len(places) > 20
        for place in np.random.default_rng(17).choice(places, 20, replace=False).tolist():
            found = replay(reader.header, iter([records[place:]]), reader.snapshot(place))
            assert found.difference is None
            assert (found.records, found.state_hash) == (genesis.records, genesis.state_hash)
            before = Replay(reader.header)
            before.feed(records[:place])
            assert before.state_hash == reader.snapshot(place).state_hash


def test_a_snapshot_that_is_not_the_cores_is_a_difference(pieces: Run, records: np.ndarray) -> None:
    with open_run(pieces) as reader:
        place = snapshot_places(reader.connection, pieces.journal)[3]
        core = Replay(reader.header)
        core.feed(records[:place])
        assert core.check(reader.snapshot(place)) is None
        core.state["account"]["cash"] += 1
        found = core.check(reader.snapshot(place))
        assert found is not None and (found.record, found.kind, found.field) == (place, "SNAPSHOT", "state")


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_it_goes_on_from_the_last_snapshot(
    tmp_path: Path, plan: Plan, pieces: Run, records: np.ndarray, seed: int
) -> None:
    """Bars before the snapshot are not played again, and the head is that of the session nobody disturbed."""
    run, rng, total = Run(tmp_path / "r"), np.random.default_rng(seed), 0
    while total < 2_000:
        bars = int(rng.integers(50, 700))
        play_some(run, plan, bars, stop=False)
        with open_journal(run, plan) as journal:
            snapshot = journal.resume
            assert journal.count == (snapshot.records if snapshot else 0)
            assert journal.durable - journal.count < POLICY.snapshot_records + 64
        total += bars
    with open_journal(run, plan) as journal:
        last = session(plan, journal)
        played = sum(1 for _ in last.play())
        assert 0 < played < plan_bars(records)
        head = journal.head()
    with open_run(run) as reader, open_run(pieces) as undisturbed:
        assert everything(reader).tobytes() == records.tobytes()
        assert head == verify(undisturbed).head == verify(reader).head


def plan_bars(records: np.ndarray) -> int:
    return int((records["kind"] == Kind.BAR).sum())


def test_stopped_it_leaves_a_snapshot_of_its_last_record(tmp_path: Path, plan: Plan) -> None:
    run = Run(tmp_path / "r")
    assert play_some(run, plan, 777, stop=True) == 777
    with open_run(run) as reader:
        assert snapshot_places(reader.connection, run.journal)[-1] == reader.segments[-1].end


def test_a_segment_is_closed_by_command(tmp_path: Path, plan: Plan, records: np.ndarray) -> None:
    run, policy = Run(tmp_path / "r"), Policy()
    play_some(run, plan, 500, stop=True, policy=policy)
    assert close_segment(run) == 0
    with pytest.raises(Refused, match="segment 1 holds no record yet"):
        close_segment(run)
    play_some(run, plan, 10_000, stop=False, policy=policy)
    with open_run(run) as reader:
        assert [item.closed for item in reader.segments] == [True, False]
        assert everything(reader).tobytes() == records.tobytes()
        assert verify(reader).records == len(records)
    assert judge(run, NO_TRUST, model=False, bundle=None).parity


def test_a_killed_run_is_not_closed_before_it_went_on(tmp_path: Path, plan: Plan) -> None:
    run = Run(tmp_path / "r")
    play_some(run, plan, 450, stop=False, policy=Policy())
    with pytest.raises(Refused, match=r"\d+ records lie after the last snapshot.*stop it with Ctrl-C"):
        close_segment(run)


def test_a_finished_run_is_not_closed(copy: Run) -> None:
    with pytest.raises(Refused, match="the run is finished"):
        close_segment(copy)


OTHER = {"kernel_hash": "00" * 32, "version": "9.8.7"}


def test_an_upgrade_closes_the_segment_and_opens_one_of_its_own(
    tmp_path: Path, plan: Plan, records: np.ndarray
) -> None:
    run, policy = Run(tmp_path / "r"), Policy()
    play_some(run, plan, 500, stop=True, policy=policy, **OTHER)
    play_some(run, plan, 10_000, stop=False, policy=policy)
    with open_run(run) as reader:
        assert [item.lineage["version"] for item in reader.segments] == ["9.8.7", plan.header["version"]]
        assert everything(reader).tobytes() == records.tobytes()
        verify(reader)
        second = reader.segments[1]
        assert replay(second.lineage, reader.batches((second,)), reader.snapshot(second.first)).difference is None
    with pytest.raises(Refused, match=r"segment 0 .* was written by portcullis 9.8.7"):
        judge(run, NO_TRUST, model=False, bundle=None)
    assert judge(run, NO_TRUST, model=False, bundle=None, any_code=True).parity


def test_an_upgrade_of_a_killed_run_is_refused_naming_the_program(tmp_path: Path, plan: Plan) -> None:
    run = Run(tmp_path / "r")
    play_some(run, plan, 450, stop=False, policy=Policy(), **OTHER)
    with pytest.raises(Refused, match=r"segment 0 was written by portcullis 9.8.7 \(kernels 0{16}\), which was killed"):
        open_journal(run, plan)


def test_another_layout_of_states_is_refused(tmp_path: Path, plan: Plan) -> None:
    run = Run(tmp_path / "r")
    play_some(run, plan, 100, stop=True, layout_hash="ab")
    with pytest.raises(Refused, match="written under another layout_hash"):
        open_journal(run, plan)


def test_archived_segments_read_verify_and_replay_like_others(copy: Run, records: np.ndarray) -> None:
    before = copy.journal.stat().st_size
    assert compress(copy, keep=1) == [0, 1]
    assert compress(copy, keep=1) == []
    kept = listing(copy)
    assert [item.state for item in kept] == ["archived", "archived", "closed", "open"]
    assert all(3 * item.size_bytes < 64 * item.records for item in kept[:2])
    assert copy.journal.stat().st_size < before
    with open_run(copy) as reader:
        assert verify(reader).records == len(records)  # the seal included
        assert everything(reader).tobytes() == records.tobytes()
        start = reader.segments[1]
        with lzma.open(copy.folder / "segments" / "000001.xz") as file:
            assert file.read() == records[start.first : start.end].tobytes()
    assert judge(copy, NO_TRUST, model=False, bundle=None).parity


STEPS = ("_archive", "_remove_records", "_give_back")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("is_done", [False, True])
def test_an_interrupted_compression_goes_on(
    copy: Run, records: np.ndarray, monkeypatch: pytest.MonkeyPatch, step: str, is_done: bool
) -> None:
    """Stopped before or after the first time of each step: it reads as before, says so, and is finished later."""
    whole = getattr(retention, step)

    def stopped(*given: object) -> None:
        if is_done:
            whole(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention, step, stopped)
        with pytest.raises(KeyboardInterrupt):
            compress(copy, keep=1)
    with open_run(copy) as reader:
        assert everything(reader).tobytes() == records.tobytes()
        with pytest.raises(BadTape, match="or that was interrupted: run the same command"):
            verify(reader)
    compress(copy, keep=1)
    with open_run(copy) as reader:
        assert verify(reader).records == len(records)
        assert everything(reader).tobytes() == records.tobytes()
    assert rows(copy, "SELECT 1 FROM block WHERE first < 1000") == []


def test_an_interrupted_expiry_goes_on(copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    compress(copy, keep=1)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retention, "_give_back", stopped)
        with pytest.raises(KeyboardInterrupt):
            expire(copy, keep=1)
    assert expire(copy, keep=1) == []
    with open_run(copy) as reader:
        verify(reader)


@pytest.mark.parametrize("change", [compress, expire])
def test_a_sealed_file_that_was_altered_is_not_sealed_again(copy: Run, change: Callable[[Run, int], list[int]]) -> None:
    """What its records do not show: here the application id in the file's header."""
    if change is expire:
        compress(copy, keep=1)
    with closing(sqlite3.connect(copy.journal)) as connection:
        connection.execute("PRAGMA application_id = 7")
    for _ in range(2):
        with pytest.raises(BadTape, match="altered outside its records"):
            change(copy, 1)
    with open_run(copy) as reader, pytest.raises(BadTape, match="altered outside its records"):
        verify(reader)


def rows(run: Run, query: str) -> list[tuple]:
    with closing(sqlite3.connect(run.journal)) as connection:
        return connection.execute(query).fetchall()


def test_any_flipped_byte_of_an_archive_is_found(copy: Run) -> None:
    compress(copy, keep=1)
    path, rng = copy.folder / "segments" / "000000.xz", np.random.default_rng(2)
    intact = path.read_bytes()
    for position in rng.integers(0, len(intact), size=40):
        data = bytearray(intact)
        data[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        with pytest.raises(BadTape, match=r"000000.xz: hashes to"), open_run(copy) as reader:
            verify(reader)
    path.unlink()
    with pytest.raises(BadTape, match=r"000000.xz: missing: restore it"), open_run(copy) as reader:
        verify(reader)


HELD = """
import sys
from pathlib import Path
from runner import retention
from runner.home import Run

whole = retention._archive

def waiting(*given):
    print("compressing", flush=True)
    sys.stdin.readline()
    whole(*given)

retention._archive = waiting
print(retention.compress(Run(Path(sys.argv[1])), 1), flush=True)
"""


@pytest.mark.parametrize("is_killed", [False, True])
def test_two_processes_do_not_compress_one_run_at_a_time(copy: Run, records: np.ndarray, is_killed: bool) -> None:
    """The second is refused with the first one's id, and nothing is lost; a lease dies with its process."""
    command = [sys.executable, "-c", HELD, str(copy.folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None and first.stdin is not None
        assert first.stdout.readline() == "compressing\n"
        for what in ("compress", "expire"):
            again = segment_command(copy, what)
            assert again.returncode == Refused.exit_code
            assert f"lock-segments: held by process {first.pid}; one process at a time" in again.stderr
        if is_killed:
            first.kill()
        else:
            first.stdin.write("go\ngo\n")
            first.stdin.flush()
            assert first.stdout.read() == "compressing\n[0, 1]\n"
    assert segment_command(copy, "compress").returncode == 0
    assert [item.state for item in listing(copy)] == ["archived", "archived", "closed", "open"]
    with open_run(copy) as reader:
        assert verify(reader).records == len(records)


def segment_command(run: Run, what: str) -> subprocess.CompletedProcess[str]:
    options = ["--home", run.folder.parent.parent, "--run", run.name, "--keep", 1]
    command = [sys.executable, "-m", "runner.cli", "segment", what, *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_what_expired_is_gone_and_the_rest_stands_by_itself(copy: Run, records: np.ndarray) -> None:
    compress(copy, keep=1)
    assert expire(copy, keep=2) == [0]
    assert expire(copy, keep=0) == [1]  # the last closed one is not archived: it stays
    assert not list((copy.folder / "segments").iterdir())
    with open_run(copy) as reader:
        first = reader.segments[2].first
        assert [item.expired for item in reader.segments] == [True, True, False, False]
        assert everything(reader).tobytes() == records[first:].tobytes()
        assert verify(reader).records == len(records)
        with pytest.raises(BadTape, match="segment 0 has expired"):
            next(reader.batches(reader.segments[:1]))
    assert judge(copy, NO_TRUST, model=False, bundle=None).parity
    with pytest.raises(BadInput, match="its first segment has expired"):
        judge(copy, NO_TRUST, model=True, bundle=None)


def test_a_changed_record_behind_an_expired_segment_is_found(copy: Run) -> None:
    """Ledger and core start from the checkpoint there, and still see what does not follow."""
    compress(copy, keep=1)
    expire(copy, keep=1)
    with closing(sqlite3.connect(copy.journal, isolation_level=None)) as connection:
        sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'block_no_update'").fetchone()[0]
        connection.execute("DROP TRIGGER block_no_update")
        first, data = connection.execute("SELECT first, records FROM block ORDER BY first LIMIT 1").fetchone()
        changed = data[:40] + bytes([data[40] ^ 1]) + data[41:]
        connection.execute("UPDATE block SET records = ? WHERE first = ?", (changed, first))
        connection.execute(sql)
    with pytest.raises(BadTape, match=f"batch of records {first} to"), open_run(copy) as reader:
        verify(reader)


@pytest.mark.parametrize(("table", "column"), [("segment", "header"), ("segment", "first"), ("snapshot", "parts"),
                                               ("snapshot", "link"), ("snapshot", "sha256")])  # fmt: skip
def test_an_altered_checkpoint_is_found(copy: Run, table: str, column: str) -> None:
    """Of the second segment, and of the last snapshot, from which recovery would start."""
    with closing(sqlite3.connect(copy.journal, isolation_level=None)) as connection:
        sql = connection.execute(f"SELECT sql FROM sqlite_master WHERE name = '{table}_no_update'").fetchone()[0]
        connection.execute(f"DROP TRIGGER {table}_no_update")
        key, value = connection.execute(f"SELECT rowid, {column} FROM {table} ORDER BY rowid DESC LIMIT 1").fetchone()
        changed = value + 1 if isinstance(value, int) else value[:-1] + bytes([value[-1] ^ 1])
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (changed, key))
        connection.execute(sql)
        last = connection.execute("SELECT MAX(records) FROM snapshot").fetchone()[0]
    with pytest.raises(PortcullisError) as caught, open_run(copy) as reader:
        reader.snapshot(last)
        verify(reader)
    assert caught.value.exit_code == 31


LAWS = {
    "DELETE FROM block": "append-only until its segment is archived",
    "INSERT INTO archive VALUES (3, 1, zeroblob(32))": "segment is not closed",
    "INSERT INTO archive VALUES (9, 1, zeroblob(32))": "archive without its segment",
    "INSERT INTO expiry VALUES (0)": "expiry without its archive",
    "INSERT INTO segment VALUES (4, 17, x'00', zeroblob(32))": "does not begin where the records end",
    "INSERT INTO segment VALUES (7, 17, x'00', zeroblob(32))": "leaves a hole",
    "INSERT INTO snapshot VALUES (17, zeroblob(32), x'00', zeroblob(32))": "not of the last record",
    "INSERT INTO batch VALUES (17, 1, zeroblob(32))": "does not continue",
    "UPDATE snapshot SET parts = x'00'": "append-only",
    "DELETE FROM snapshot": "append-only",
}


@pytest.mark.parametrize("statement", LAWS)
def test_the_database_keeps_the_laws_too(copy: Run, statement: str) -> None:
    with (
        closing(sqlite3.connect(copy.journal)) as connection,
        pytest.raises(sqlite3.IntegrityError, match=LAWS[statement]),
    ):
        connection.execute(statement)


def test_a_batch_needs_its_records_and_a_segment_its_checkpoint(copy: Run) -> None:
    with closing(sqlite3.connect(copy.journal)) as connection:
        end = connection.execute("SELECT MAX(first + count) FROM batch").fetchone()[0]
        with pytest.raises(sqlite3.IntegrityError, match="batch without its records"):
            connection.execute("INSERT INTO batch VALUES (?, 1, zeroblob(32))", (end,))
        connection.execute("INSERT INTO block VALUES (?, zeroblob(64))", (end,))
        connection.execute("INSERT INTO batch VALUES (?, 1, zeroblob(32))", (end,))
        with pytest.raises(sqlite3.IntegrityError, match="segment without its checkpoint"):
            connection.execute("INSERT INTO segment VALUES (4, ?, x'00', zeroblob(32))", (end + 1,))


def test_export_is_one_array_and_verified(copy: Run, tmp_path: Path, records: np.ndarray) -> None:
    compress(copy, keep=1)
    target = tmp_path / "records.npy"
    with open_run(copy) as reader:
        assert export(reader, target) == len(records)
    mapped = np.load(target, mmap_mode="r")
    assert mapped.dtype == RECORD and mapped.tobytes() == records.tobytes()
    (copy.folder / "segments" / "000001.xz").write_bytes(b"")
    with open_run(copy) as reader, pytest.raises(BadTape):
        export(reader, tmp_path / "other.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["records.npy", "runs"]


def test_a_run_that_ends_where_a_segment_does(tmp_path: Path, plan: Plan, records: np.ndarray) -> None:
    """The last segment is closed by the last bar: the next has a header and no record, and its head is the run's."""
    run = Run(tmp_path / "full")
    policy = Policy(snapshot_records=len(records), segment_records=len(records))
    with open_journal(run, plan, policy) as journal:
        for _ in session(plan, journal).play():
            pass
        head, count = journal.head(), journal.count
    with open_run(run) as reader:
        assert reader.segments[-1].first == reader.segments[-1].end == count
        assert (verify(reader).head, verify(reader).records) == (head, count)
    assert listing(run)[-1].head == head


def test_an_upgrade_at_the_beginning_of_a_segment_is_refused_saying_what_to_do(tmp_path: Path, plan: Plan) -> None:
    run = Run(tmp_path / "r")
    play_some(run, plan, 100, stop=True, policy=Policy(), **OTHER)
    with open_journal(run, plan, Policy(), **OTHER) as journal:
        assert journal.close_segment() == 0
    with pytest.raises(Refused, match=r"segment 1 was begun by portcullis 9\.8\.7 .*holds no record yet.*one bar"):
        open_journal(run, plan)
    play_some(run, plan, 1, stop=True, policy=Policy(), **OTHER)
    play_some(run, plan, 1, stop=True, policy=Policy())
    with open_run(run) as reader:
        assert [item.lineage["version"] for item in reader.segments] == ["9.8.7", "9.8.7", plan.header["version"]]
        verify(reader)
