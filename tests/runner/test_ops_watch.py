"""Watching changes nothing: the journal's bytes are the same, and no fault of the watcher stops a session."""

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput, BadTape
from runner.clock import Latency
from runner.home import Run
from runner.journal import Journal
from runner.ops import watch as module
from runner.ops.alerts import Alerts
from runner.ops.conditions import Conditions
from runner.ops.events import Cycle, parse_line
from runner.ops.health import Health
from runner.ops.log import Log
from runner.ops.metrics import Metrics
from runner.ops.narrate import Narrator
from runner.ops.redact import Redaction
from runner.ops.settings import Ops
from runner.ops.watch import Watch
from runner.seal import read_seal
from tests.runner import watched


def test_the_journal_has_the_same_bytes(played: Run, logged: watched.Session) -> None:
    """Head, ledger head and record count of the same session, watched and not."""
    one, other = read_seal(played.seal), read_seal(logged.run.seal)
    assert one is not None and other is not None
    assert (one.head, one.ledger_head, one.records) == (other.head, other.ledger_head, other.records)
    assert one.file_sha256 == other.file_sha256
    assert not (played.folder / "log.jsonl").exists()


class Parts:
    """A watcher with all it feeds."""

    def __init__(self, folder: Path, header: dict, **how: bool) -> None:
        self.path = folder / "log.jsonl"
        self.log = Log.open(self.path, Redaction(tuple), "paper", "r")
        self.metrics = Metrics(header, "r")
        self.health = Health(folder / "journal.db", 5.0)
        narrator = Narrator(header, "r", [0, 0, 0])
        self.watch = Watch(narrator, Conditions(3), self.log, self.metrics, self.health, Alerts(self.log, []), **how)

    @property
    def events(self) -> list:
        return [parse_line(line) for line in self.path.read_text().splitlines()]


def pieces(records: np.ndarray, size: int = 37) -> Iterator[tuple[int, bytes]]:
    for at in range(0, len(records), size):
        yield at, records[at : at + size].tobytes()


@pytest.mark.parametrize("threaded", [True, False])
def test_both_ways_tell_the_same(
    threaded: bool, tmp_path: Path, header: dict, records: np.ndarray, logged: watched.Session
) -> None:
    parts = Parts(tmp_path, header, threaded=threaded, lossless=True)
    for first, data in pieces(records):
        parts.watch.appended(first, data)
        parts.watch.turn()
    parts.watch.committed(1_000)
    parts.watch.close()
    told = [json.loads(line) for line in parts.path.read_text().splitlines()]
    want = [json.loads(line) for line in logged.lines]
    strip = ("ts", "run")
    assert [{k: v for k, v in line.items() if k not in strip} for line in told] == [
        {k: v for k, v in line.items() if k not in strip} for line in want if not line["event"].startswith("session")
    ]
    assert parts.health.started and parts.watch.dropped == 0


def test_a_recorded_market_waits_and_a_live_one_drops(
    tmp_path: Path, header: dict, records: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX", 4)
    gate = threading.Event()
    tell = Narrator.tell
    monkeypatch.setattr(Narrator, "tell", lambda *a: (gate.wait(10), tell(*a))[1])
    for lossless in (True, False):
        gate.clear()
        folder = tmp_path / str(lossless)
        folder.mkdir()
        parts = Parts(folder, header, threaded=True, lossless=lossless)
        threading.Timer(0.3, gate.set).start()
        started = time.monotonic()
        for first, data in pieces(records[:2000]):
            parts.watch.appended(first, data)
        waited = time.monotonic() - started
        assert parts.metrics.live.queues["watch"]() <= 4
        parts.watch.close()
        if lossless:
            assert parts.watch.dropped == 0 and waited > 0.2
        else:
            assert parts.watch.dropped > 1000 and waited < 0.2
            assert [event.detail for event in parts.events if event.__class__.__name__ == "Problem"]


def test_a_fault_of_the_watcher_stops_nobody(
    tmp_path: Path, header: dict, records: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("unforeseen")

    monkeypatch.setattr(Narrator, "tell", broken)
    session = watched.play_watched(tmp_path, Ops())
    assert read_seal(session.run.seal) is not None
    problems = [json.loads(line) for line in session.lines if '"problem"' in line]
    assert len(problems) == 1 and "ZeroDivisionError" in problems[0]["exception"]


def test_a_lone_cycle_is_told_when_nothing_follows(tmp_path: Path, header: dict, records: np.ndarray) -> None:
    parts = Parts(tmp_path, header, threaded=True, lossless=False)
    parts.watch.appended(0, records[:10].tobytes())
    ends = time.monotonic() + 20
    while not [event for event in parts.events if isinstance(event, Cycle)]:
        assert time.monotonic() < ends
        time.sleep(0.05)
    parts.watch.close()


def test_a_session_that_fails_is_told_and_alerted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full in the middle: the log says so, the operator is paged, no secret shows."""

    def full(self: Journal) -> None:
        raise BadTape("journal.db: database or disk is full; trading stopped")

    with watched.receiver() as sink:
        monkeypatch.setattr(Journal, "commit", full)
        with pytest.raises(BadTape):
            watched.play_watched(tmp_path, Ops(sinks=("HOOK",)), HOOK=sink.url)
        assert [item["title"] for item in sink.got] == ["[paper] watched PAGE journal_lost"]
    text = (tmp_path / "home/runs/watched/log.jsonl").read_text()
    names = [json.loads(line)["event"] for line in text.splitlines()]
    assert names[-3:] == ["session_failed", "alert", "alert_delivery"] and "session_ended" not in names
    assert "disk is full" in text
    for path in (tmp_path / "home").rglob("*"):
        assert path.is_dir() or b"canary" not in path.read_bytes(), path


def test_a_missing_secret_stops_before_anything_begins(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="secret HOOK: not found"):
        watched.play_watched(tmp_path, Ops(sinks=("HOOK",)))
    assert not (tmp_path / "home/runs/watched/journal.db").exists()


def test_health_and_metrics_are_served_while_paper_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked at the last record of a real session: ready, and its own numbers."""
    port, answers = watched.free_port(), {}
    ended = Log.emit

    def ask(self: Log, event: object) -> None:
        if type(event).__name__ == "Ended":
            for path in ("readyz", "metrics"):
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
                    answers[path] = answer.read().decode()
        ended(self, event)

    monkeypatch.setattr(Log, "emit", ask)
    session = watched.play_watched(tmp_path, Ops(http=f"127.0.0.1:{port}"))
    assert json.loads(answers["readyz"])["status"] == "ok"
    fills = sum('"fill"' in line for line in session.lines)
    told = dict(line.rsplit(" ", 1) for line in answers["metrics"].splitlines() if line.startswith("portcullis_fills"))
    assert sum(float(value) for value in told.values()) == fills > 20
    p99 = next(line for line in answers["metrics"].splitlines() if line.startswith("p99_infer_ms{"))
    assert float(p99.split()[-1]) > 0
    assert Latency().bins()[1].tolist() == []


def test_an_address_that_is_taken_begins_nothing(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInput, match="use another port"):
            watched.play_watched(tmp_path, Ops(http=f"127.0.0.1:{taken.getsockname()[1]}"))
    assert not (tmp_path / "home/runs/watched/journal.db").exists()
