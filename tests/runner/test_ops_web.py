"""Health over HTTP: 200 and 503 by feed, journal, risk state and watcher, also while the session's thread is busy."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.engine import new_state
from core.errors import BadConfig, BadInput
from core.records import RiskState
from runner.ops.health import Health
from runner.ops.metrics import Metrics
from runner.ops.settings import parse_address
from runner.ops.web import Web
from runner.plan import header_core
from tests.runner.watched import free_port

LABELS = {"mode": "paper", "run": "r"}


class Place:
    """A server over a health whose clock the test holds."""

    def __init__(self, folder: Path, header: dict) -> None:
        self.now_s = 100.0
        self.journal = folder / "journal.db"
        self.journal.write_bytes(b"x")
        self.health = Health(self.journal, 5.0, now=lambda: self.now_s)
        self.state = new_state(header_core(header)[0])
        self.health.state = lambda: self.state
        self.web = Web(("127.0.0.1", 0), self.health, Metrics(header, "r").registry, LABELS)

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.web.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def check(self, name: str) -> str:
        return json.loads(self.get("/healthz")[1])["checks"][name]


@pytest.fixture
def place(tmp_path: Path, header: dict) -> Iterator[Place]:
    made = Place(tmp_path, header)
    yield made
    made.web.close()


def test_ready_once_the_session_has_begun(place: Place) -> None:
    place.now_s += 100  # nothing has come yet: starting is not stale
    assert place.get("/healthz")[0] == 200 and place.get("/readyz")[0] == 503
    place.health.seen()
    assert place.get("/healthz")[0] == 200 and place.get("/readyz")[0] == 200
    body = json.loads(place.get("/healthz")[1])
    assert body == {"status": "ok", **LABELS, "checks": {"feed": "ok", "journal": "ok", "risk": "ok"}}


def test_both_paths_say_the_same(place: Place) -> None:
    assert place.get("/health") == place.get("/healthz")
    place.health.seen()
    for late_s in (0, 10):
        place.now_s += late_s
        assert place.get("/health") == place.get("/healthz")


def test_a_stale_feed(place: Place) -> None:
    place.health.seen()
    place.now_s += 5.0
    assert place.get("/healthz")[0] == 200
    place.now_s += 0.1
    assert place.get("/healthz")[0] == 503 == place.get("/readyz")[0]
    assert place.check("feed") == "no record for 5.1 s, 5.0 s at most"
    place.health.seen()
    assert place.get("/healthz")[0] == 200


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_lost_journal(place: Place, how: str) -> None:
    place.health.seen()
    assert place.get("/healthz")[0] == 200
    if how == "removed":
        place.journal.unlink()
    else:
        other = place.journal.with_name("other")
        other.write_bytes(b"y")
        other.replace(place.journal)
    assert place.get("/healthz")[0] == 503
    assert ("gone" if how == "removed" else "another file") in place.check("journal")


@pytest.mark.parametrize("risk", [RiskState.HALT, RiskState.FLATTEN])
def test_a_kill(place: Place, risk: RiskState) -> None:
    place.health.seen()
    place.state["risk"]["state"] = RiskState.CAUTION
    assert place.get("/healthz")[0] == 200
    place.state["risk"]["state"] = risk
    assert place.get("/healthz")[0] == 503 and risk.name in place.check("risk")


def test_what_is_lost_and_what_a_feed_says_of_itself(place: Place) -> None:
    place.health.seen()
    place.health.feed = lambda: "degraded: 5 errors in a row"
    assert place.get("/healthz")[0] == 503 and place.check("feed").startswith("degraded")
    place.health.feed = lambda: "ok"
    place.health.lost("watch", "ValueError: x")
    assert place.get("/healthz")[0] == 503 and place.check("watch") == "ValueError: x"


def test_it_answers_while_the_session_computes(place: Place) -> None:
    """The main thread never yields in Python's sense; the server's own thread gets its turns all the same."""
    import threading

    answers: list[int] = []
    asking = threading.Thread(target=lambda: answers.extend(place.get(path)[0] for path in ("/healthz", "/metrics")))
    asking.start()
    deadline, n = time.monotonic() + 30, 0
    while asking.is_alive() and time.monotonic() < deadline:
        n += sum(k * k for k in range(2_000))
    asking.join(1)
    assert answers == [200, 200]


def test_metrics_are_served(place: Place) -> None:
    status, text = place.get("/metrics")
    assert status == 200 and "# TYPE event_lag_ms gauge" in text
    assert place.get("/else")[0] == 404


@pytest.mark.parametrize("text", ["0.0.0.0:9464", "192.168.1.4:9464", "[::]:9464", "example.org:80", "runner:80"])
def test_other_machines_only_when_asked_for(text: str) -> None:
    with pytest.raises(BadConfig, match="http_public"):
        parse_address(text, public=False)
    assert parse_address(text, public=True)[1] in (80, 9464)


@pytest.mark.parametrize("text", ["", "9464", "localhost", "localhost:", ":9464", "localhost:x", "localhost:65536"])
def test_no_address(text: str) -> None:
    with pytest.raises(BadConfig, match="HOST:PORT expected"):
        parse_address(text, public=True)


def test_local_addresses() -> None:
    assert parse_address("127.0.0.1:9464", public=False) == ("127.0.0.1", 9464)
    assert parse_address("[::1]:1", public=False) == ("::1", 1)
    assert parse_address("localhost:0", public=False) == ("localhost", 0)


def test_a_port_that_is_taken_is_named(place: Place, header: dict) -> None:
    with pytest.raises(BadInput, match=f"127.0.0.1:{place.web.port}: .*use another port"):
        Web(("127.0.0.1", place.web.port), place.health, Metrics(header, "r").registry, LABELS)


def test_nothing_listens_after_the_end(tmp_path: Path, header: dict) -> None:
    made = Place(tmp_path, header)
    made.web.close()
    with pytest.raises(urllib.error.URLError):
        made.get("/healthz")
    assert free_port() > 0
