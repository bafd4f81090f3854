"""The session on books: its MarketStates, stopping and going on, what it refuses, and what reads its journal."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import stepwise
from core.errors import BadInput, Refused
from core.records import RECORD, Kind
from data import lanes
from features import book
from features.market_state import EXTRA, MARKET_STATE, specs_of
from features.market_stream import BLOCK_ROWS, MarketStates, RowsDigest, as_one
from feeds.tape import Tape
from models.statement import verify_bundle
from pipelines import featurize
from runner.book_session import BookSession
from runner.clock import Pacer
from runner.explain import explain
from runner.failpoints import Failpoints
from runner.feed import Feed, tape_feed
from runner.home import Run
from runner.journal import Journal, Policy
from runner.paper import play
from runner.plan import header_ledger, make_plan
from runner.reader import open_run, verify
from runner.replay import replay as replay_records
from runner.retention import compress
from runner.segments import snapshot_places
from runner.verdict import judge
from runner.window import Window
from tests.runner.book_tapes import MS, Place, builtin_rows, make_place, uneven
from tests.runner.bundles import make_bundle
from training.event_labels import EventLabelParams

POLICY = Policy(snapshot_records=1_000, segment_records=4_000)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return uneven(builtin_rows(rows=3_000))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, rows: np.ndarray) -> Place:
    return make_place(tmp_path_factory.mktemp("books"), [rows])


@pytest.fixture(scope="module")
def finished(place: Place) -> tuple[Run, dict]:
    """A run of several segments, played through ``runner.paper``, and its summary."""
    plan, statement = place.plan()
    run = place.home.run("finished")
    found = play(plan, statement, place.bundle, run, Pacer(None), lambda steps, _: steps, POLICY)
    assert found["fills"] > 5
    return run, found


def run_until(place: Place, name: str, stops: int, **options: object) -> tuple[BookSession, bytes | None]:
    """Play ``name`` on; stop it at its ``stops``-th step. The session, and its records if it came to the end."""
    plan, _ = place.plan()
    run = Run(place.home.folder / "runs" / name)
    run.folder.mkdir(parents=True, exist_ok=True)
    with Journal(run.journal, plan.header, header_ledger(plan.header), Failpoints(), POLICY) as journal:
        session = BookSession(plan, journal, pacer=Pacer(None), failpoints=Failpoints(), **options)
        for number, _ in enumerate(session.play(), 1):
            if number == stops:
                session.stop()
    if session.stopping:
        return session, None
    with open_run(run) as reader:
        verify(reader)
        return session, b"".join(records.tobytes() for records in reader.batches())


def records_of(run: Run) -> bytes:
    with open_run(run) as reader:
        return b"".join(records.tobytes() for records in reader.batches())


@pytest.mark.parametrize("options", [{}, {"by_instant": True}, {"out_records": 40}], ids=["fast", "instants", "torn"])
def test_stopped_again_and_again_it_ends_as_if_it_never_was(
    place: Place, finished: tuple[Run, dict], options: dict, request: pytest.FixtureRequest
) -> None:
    name, stopped = request.node.callspec.id, 0
    while True:
        session, records = run_until(place, name, 100 + 37 * stopped, **options)
        if records is not None:
            break
        stopped += 1
    assert stopped > 2
    assert records == records_of(finished[0])
    assert session.about()["market_state"] == finished[1]["market_state"]


def test_stopped_between_the_two_clocks(tmp_path: Path) -> None:
    """Without a latency we take a row before the exchange does: a snapshot keeps what it has yet to take."""
    place = make_place(tmp_path, [builtin_rows(rows=1_200, feed_latency_ns=0)])
    _, whole = run_until(place, "whole", 0)
    stopped, records = 0, None
    while records is None:
        _, records = run_until(place, "stopped", 41 + stopped, out_records=1)
        stopped += 1
    assert stopped > 10
    assert records == whole


def test_a_wait_is_broken_off(place: Place, finished: tuple[Run, dict]) -> None:
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 400:
            session.stop()

    plan, _ = place.plan()
    run = place.home.run("waiting")
    run.folder.mkdir(parents=True)
    with Journal(run.journal, plan.header, header_ledger(plan.header), Failpoints(), POLICY) as journal:
        session = BookSession(plan, journal, pacer=Pacer(1.0, lambda: 0.0, sleep), failpoints=Failpoints())
        for _ in session.play():
            pass
        assert session.stopping and journal.durable == journal.count
        assert snapshot_places(journal._connection, run.journal)[-1] == journal.count
    assert len(waits) == 400 and waits == sorted(waits)
    _, records = run_until(place, "waiting", 0)
    assert records == records_of(finished[0])


def test_the_journal_replays_and_its_laws_hold(place: Place, finished: tuple[Run, dict]) -> None:
    run, found = finished
    judged = judge(run, place.home.trust, model=True, bundle=None)
    assert judged.parity and judged.records == found["records"]
    with open_run(run) as reader:
        assert len(reader.segments) > 2
        records = np.concatenate(list(reader.batches()))
        assert verify(reader).ledger.head() == found["ledger_head"]
    timer = records[records["kind"] == Kind.TIMER]
    assert len(timer) == found["books"]["TIMER"] > 1_000


def test_a_changed_timer_is_found(place: Place, finished: tuple[Run, dict]) -> None:
    """The break-it check of the replay: a decision at another moment makes other records."""
    with open_run(finished[0]) as reader:
        header, batches = reader.header, [batch.copy() for batch in reader.batches()]
    assert replay_records(header, iter([batch.copy() for batch in batches])).difference is None
    whole = np.concatenate(batches)
    intent = int(np.flatnonzero(whole["kind"] == Kind.INTENT)[20])
    timer = int(np.flatnonzero(whole["kind"][:intent] == Kind.TIMER)[-1])
    whole["ts_known"][timer] += 1
    found = replay_records(header, iter([whole])).difference
    assert found is not None and timer <= found.record <= intent


def test_archived_segments_replay(place: Place, finished: tuple[Run, dict]) -> None:
    plan, statement = place.plan()
    run = place.home.run("archived")
    play(plan, statement, place.bundle, run, Pacer(None), lambda steps, _: steps, POLICY)
    assert len(compress(run, 0)) > 1
    assert judge(run, place.home.trust, model=False, bundle=None).parity


def test_a_fill_is_explained_from_the_touch_to_the_ledger(place: Place, finished: tuple[Run, dict]) -> None:
    with open_run(finished[0]) as reader:
        found = explain(reader, "3", place.home.trust)
    names = [element["element"] for element in found["chain"]]
    assert names[0] in ("level", "trade", "clear") and names[1] == "timer"
    assert names.index("timer") < names.index("check") < names.index("intent") < names.index("fill")
    times = [element["fields"]["ts_known"] for element in found["chain"] if element["element"] != "check"]
    assert times == sorted(times)
    assert found["ledger"]["entries"]


def batch_of(rows: np.ndarray, place: Place) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Research's way: one call of the kernel over all of the tape."""
    tape = Tape.open(place.tape)
    state, held = book.new_state(specs_of(tape.instruments, tape.meta))
    out, extra, ready = np.zeros(len(rows), MARKET_STATE), np.zeros(len(rows), EXTRA), np.zeros(len(rows), bool)
    count = book.batch(state, held, tape.records, 0, out, extra, ready)
    return out[:count], extra[:count], ready[:count]


@given(cuts=st.lists(st.integers(0, 3_000), max_size=8), stop=st.integers(0, 3_000))
def test_a_stream_cut_anywhere_is_the_batch(place: Place, rows: np.ndarray, cuts: list[int], stop: int) -> None:
    """At every record, and through a snapshot at ``stop``."""
    plan, _ = place.plan()
    stream, made = MarketStates(plan.feed.book_specs), []
    for low, high in pairwise(sorted({0, len(rows), stop, *cuts})):
        if low == stop:
            dumped, stream = stream.dump(), MarketStates(plan.feed.book_specs)
            stream.load(dumped)
        made.append([part.copy() for part in stream.add(rows[low:high])])
    whole = batch_of(rows, place)
    for parts, expected in zip(zip(*made, strict=True), whole, strict=True):
        assert np.concatenate(parts).tobytes() == expected.tobytes()
    digests, instrument = [RowsDigest() for _ in stream.digests], rows["instrument"][whole[0]["seq"]]
    for index, digest in enumerate(digests):
        own = whole[2] & (instrument == index)
        digest.add(whole[0][own], whole[1][own])
    assert as_one(stream.digests) == as_one(digests)
    assert sum(digest.rows for digest in digests) > 3 * BLOCK_ROWS


def test_the_session_s_states_are_those_that_featurize_wrote(
    place: Place, finished: tuple[Run, dict], tmp_path: Path
) -> None:
    featurize.featurize_events(Tape.open(place.tape), tmp_path / "features", EventLabelParams())
    document = json.loads((tmp_path / "features/spec.json").read_bytes())
    assert document["market_state"] == finished[1]["market_state"]
    written = sum(int(lane.ready.sum()) for lane in lanes.read(tmp_path / "features/lanes"))
    assert document["market_state"]["rows"] == written > 500


def test_one_changed_lot_changes_the_digest(place: Place, rows: np.ndarray) -> None:
    plan, _ = place.plan()
    changed = rows.copy()
    level = int(np.flatnonzero(rows["kind"] == Kind.LEVEL)[-50])
    changed["b"][level] += 1
    digests = []
    for records in (rows, changed):
        stream = MarketStates(plan.feed.book_specs)
        stream.add(records)
        digests.append(as_one(stream.digests)["sha256"])
    assert digests[0] != digests[1]


def test_a_tape_that_does_not_say_what_it_is_of_has_no_states(tmp_path: Path, rows: np.ndarray) -> None:
    place = make_place(tmp_path, [rows[:500]], meta={})
    plan, statement = place.plan()
    found = play(plan, statement, place.bundle, place.home.run("r"), Pacer(None), lambda steps, _: steps)
    assert "market_state" not in found and found["finished"]


def chunked(feed: Feed, sizes: Iterator[int]) -> Feed:
    """``feed`` as a live one hands it over: pieces of any size, how many rows is not known."""
    rows = np.concatenate(list(feed.chunks()))

    def chunks() -> Iterator[np.ndarray]:
        at = 0
        while at < len(rows):
            size = next(sizes)
            yield rows[at : at + size]
            at += size

    return replace(feed, rows=None, chunks=chunks)


@pytest.mark.parametrize("largest", [1, 700])
def test_the_pieces_of_a_feed_cannot_be_seen(place: Place, finished: tuple[Run, dict], largest: int) -> None:
    draws = np.random.default_rng(largest)
    loaded, statement = verify_bundle(place.bundle, place.home.trust)
    feed = chunked(tape_feed(place.tape), iter(lambda: int(draws.integers(0, largest + 1)), -1))
    plan = make_plan(loaded, feed, loaded.manifest.trading)
    run = place.home.run(f"pieces-{largest}")
    found = play(plan, statement, place.bundle, run, Pacer(None), lambda steps, _: steps, POLICY)
    assert found["market_state"] == finished[1]["market_state"]
    assert records_of(run) == records_of(finished[0])


def test_the_window_holds_only_the_feed_s_latency(rows: np.ndarray) -> None:
    """Rows are let go as they are taken: what is held does not grow with the tape."""
    bound = int((rows["ts_known"] - rows["ts_event"]).max())
    window, at, held = Window(2, bound), stepwise.new_place(), 0
    for low in range(0, len(rows), 50):
        window.receive(rows[low : low + 50], at)
        at["here_row"] = np.searchsorted(window.here["ts_known"], window.until_ns)
        at["there_row"] = np.searchsorted(window.there["ts_event"], window.until_ns)
        at["there_ns"] = window.until_ns - 1
        held = max(held, len(window.here) - int(at["here_row"][0]), len(window.there) - int(at["there_row"][0]))
    inside = np.searchsorted(rows["ts_known"], rows["ts_known"] + bound, "right") - np.arange(len(rows))
    assert 0 < held <= inside.max() + 1 < len(rows)


def test_rows_that_no_session_can_take_are_named() -> None:
    def refused(known: list[int], event: list[int], instrument: int = 0) -> str:
        made = np.zeros(len(known), RECORD)
        made["ts_known"], made["ts_event"], made["instrument"] = known, event, instrument
        window = Window(1, 10 * MS)
        window.receive(np.zeros(1, RECORD), stepwise.new_place())
        with pytest.raises(BadInput) as error:
            window.receive(made, stepwise.new_place())
        return str(error.value)

    assert refused([5, 4], [5, 4]) == "row 2 of the feed is known before the row in front of it: sort by ts_known"
    assert refused([5], [6]).startswith("row 1 of the feed is known before it happened")
    assert refused([MS, 12 * MS], [MS, MS]).startswith("row 2 of the feed is known more than 10000000 ns after")
    assert refused([5], [5], 1).startswith("row 1 of the feed is of an instrument beyond the 1")


def test_bars_do_not_play_under_a_bundle_for_books(place: Place, tmp_path: Path) -> None:
    loaded, _ = verify_bundle(make_bundle(tmp_path / "bars"), place.home.trust)
    with pytest.raises(Refused, match="books, the bundle is for bars of 300000000000 ns"):
        make_plan(loaded, tape_feed(place.tape), loaded.manifest.trading)
