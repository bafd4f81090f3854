"""Alerts: each condition is told once, to every sink, through outages; two cannot be muted; no token is logged."""

import io
import json
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadConfig
from core.records import Kind, OrderState, Reason
from runner.ops import alerts as module
from runner.ops.alerts import Alerts
from runner.ops.command import alert_test
from runner.ops.conditions import ALERTS, UNMUTABLE, Conditions, alert
from runner.ops.events import Cycle, Event, Failed, parse_line
from runner.ops.log import Log
from runner.ops.narrate import Narrator
from runner.ops.redact import Redaction
from runner.ops.settings import Ops, load_ops
from runner.secrets import FILE_NAME, Secret
from tests.runner import watched

CANARY = "canary-path-5e2d9b"


class Written:
    """A log in memory."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        self.known: list[str] = []
        self.log = Log(self.file, Redaction(lambda: self.known), "paper", "the-run")

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.file.getvalue().splitlines()]

    def outcomes(self) -> list[str]:
        return [line["outcome"] for line in self.lines if line["event"] == "alert_delivery"]


@pytest.fixture
def written() -> Written:
    return Written()


def until(condition, seconds: float = 20.0) -> None:
    """Wait until ``condition`` holds."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.01)


def cycle(universe: int, reason: str = "MARKET_HALTED") -> Cycle:
    return Cycle(
        mode="paper", run="r", market_ns=1, universe=universe, candidates=0, proposals=0, risk_decisions={},
        no_trade_reason=reason, reasons={reason: 3},
    )  # fmt: skip


def failed(error: str, detail: str) -> Failed:
    return Failed(mode="paper", run="r", error=error, detail=detail)


ORDER_REJECTED = watched.record(Kind.ORDER, (1, OrderState.REJECTED, 0, 5, 0), reason=Reason.VENUE_REJECT)
CASES: dict[str, tuple[np.ndarray | list[Event], str, str]] = {
    "drawdown": (watched.risk("DRAWDOWN_HALT", 2), "drawdown", "DRAWDOWN_HALT"),
    "kill switch": (watched.risk("OPERATOR_HALT", 2), "kill_switch", "OPERATOR_HALT"),
    "daily stop": (watched.risk("DAILY_STOP", 0), "daily_stop", "DAILY_STOP"),
    "weekly stop": (watched.risk("WEEKLY_STOP", 0), "daily_stop", "WEEKLY_STOP"),
    "daily loss": (watched.risk("DAILY_FLATTEN", 3), "guardrail_breach", "DAILY_FLATTEN"),
    "total loss": (watched.risk("TOTAL_LOSS_FLATTEN", 3), "guardrail_breach", "TOTAL_LOSS_FLATTEN"),
    "entry beyond the daily loss": (watched.refused("DAILY_STOP", 1, 0), "guardrail_breach", "DAILY_STOP"),
    "entry beyond the total loss": (watched.refused("TOTAL_LOSS", 1, 0), "guardrail_breach", "TOTAL_LOSS"),
    "signal against the kill switch": (watched.refused("KILL_SWITCH", 2, 1), "kill_switch_signal", "KILL_SWITCH"),
    "position mismatch": (watched.risk("FACT_BEYOND_LIMIT", 2), "reconcile_mismatch", "FACT_BEYOND_LIMIT"),
    "api failures": (watched.risk("CIRCUIT_OPEN", 0), "api_failures", "CIRCUIT_OPEN"),
    "book": (watched.risk("BOOK_INVALID", 0), "market_data", "BOOK_INVALID"),
    "execution failure": (ORDER_REJECTED, "execution_failure", "VENUE_REJECT"),
    "hash mismatch": ([failed("BadTape", "head a sealed, the journal has b: altered")], "hash_mismatch", "BadTape"),
    "broken ledger": ([failed("LedgerBroken", "entry 4 differs")], "reconcile_mismatch", "LedgerBroken"),
    "full disk": ([failed("BadTape", "database or disk is full")], "journal_lost", "BadTape"),
    "fault": ([failed("BrokenInvariant", "x")], "session_failed", "BrokenInvariant"),
    "empty universe": ([cycle(0)] * 7, "empty_universe", "MARKET_HALTED"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_condition_is_told_once(case: str, header: dict, written: Written) -> None:
    """OBS-08: injected once or twice, exactly one alert, with severity, reason and run."""
    source, name, reason = CASES[case]
    conditions, alerts = Conditions(3), Alerts(written.log, [])
    narrator = Narrator(header, "the-run", [0, 0, 0])
    events = source if isinstance(source, list) else [*narrator.tell(0, source), *narrator.tell(9, source)]
    for event in events:
        for raised in conditions.on(event):
            alerts(raised)
    (line,) = written.lines
    assert (line["event"], line["alert"], line["reason_code"], line["run"]) == ("alert", name, reason, "the-run")
    assert line["severity"] == ALERTS[name][0] and line["muted"] is False


def test_a_streak_must_be_one() -> None:
    conditions = Conditions(3)
    universes = [0, 0, 2, 0, 0, 1, 0, 0, 0, 0]
    assert [len(list(conditions.on(cycle(n)))) for n in universes] == [0] * 8 + [1, 0]
    assert not [a for _ in range(50) for a in conditions.on(cycle(0, "WARMUP"))]


def test_two_alerts_page_and_cannot_be_muted(written: Written) -> None:
    """OBS-11: with every other alert muted, the two arrive, and nothing else does."""
    others = [name for name in ALERTS if name not in UNMUTABLE]
    assert all(ALERTS[name][0] == "page" for name in UNMUTABLE) and len(UNMUTABLE) == 2
    with watched.receiver() as sink:
        with Alerts(written.log, [("HOOK", Secret(sink.url))], mute=others) as alerts:
            for name in ALERTS:
                assert alerts(alert(name, "X", "told"))
        assert sorted(item["title"].split()[-1] for item in sink.got) == sorted(UNMUTABLE)
        assert all(item["title"].startswith("[paper] the-run PAGE") for item in sink.got)
    assert Counter(line.get("muted") for line in written.lines)[True] == len(others)
    for name in UNMUTABLE:
        with pytest.raises(BadConfig, match="cannot be muted"):
            Ops(mute=(name,)).checked()
    with pytest.raises(BadConfig, match="no such alert"):
        Ops(mute=("nothing",)).checked()


def test_repeats_wait_for_their_time(written: Written) -> None:
    now = [0.0]
    alerts = Alerts(written.log, [], repeat_s=60, now=lambda: now[0])
    told = []
    for now[0], reason in ((0, "A"), (59, "A"), (59, "B"), (60, "A"), (61, "A")):
        told.append(alerts(alert("drawdown", reason, "x")))
    assert told == [True, False, True, True, False]
    assert alerts.raised == {("drawdown", "warn"): 3}


def test_an_outage_is_outlived_and_logged_without_the_address(written: Written) -> None:
    """OBS-12: the sink is down, the alert is tried again until it is up; nothing of its URL is logged."""
    with watched.receiver() as sink:
        written.known.append(sink.url)
        sink.down = True
        started = time.monotonic()
        alerts = Alerts(written.log, [("HOOK", Secret(sink.url))], backoff_s=0.05)
        alerts(alert("reconcile_mismatch", "X", "told"))
        assert time.monotonic() - started < 1, "raising an alert waits for nobody"
        until(lambda: sink.tries >= 3)
        sink.down = False
        until(lambda: sink.got)
        alerts.close()
        assert [item["message"] for item in sink.got] == [f"X: {ALERTS['reconcile_mismatch'][1]}: told"]
    assert written.outcomes()[-1] == "sent" and written.outcomes().count("retry") >= 3
    assert CANARY not in written.file.getvalue().decode()
    assert [parse_line(line) for line in written.file.getvalue().splitlines()]


def test_one_dead_sink_holds_nobody_up(written: Written) -> None:
    dead = Secret(f"json://127.0.0.1:{watched.free_port()}/{CANARY}")
    written.known.append(dead.reveal())
    with watched.receiver() as one, watched.receiver() as two:
        sinks = [("DEAD", dead), ("ONE", Secret(one.url)), ("TWO", Secret(two.url))]
        alerts = Alerts(written.log, sinks, backoff_s=0.05)
        alerts(alert("drawdown", "X", "told"))
        until(lambda: one.got and two.got)
        alerts.close(timeout_s=0.3)
    last = {line["sink"]: line["outcome"] for line in written.lines if line["event"] == "alert_delivery"}
    assert last == {"DEAD": "given_up", "ONE": "sent", "TWO": "sent"}
    assert CANARY not in written.file.getvalue().decode()


def test_what_is_queued_at_the_end_is_delivered(written: Written) -> None:
    with watched.receiver() as sink:
        with Alerts(written.log, [("HOOK", Secret(sink.url))]) as alerts:
            for k in range(20):
                alerts(alert("drawdown", f"R{k}", "x"))
        assert [item["message"].split(":")[0] for item in sink.got] == [f"R{k}" for k in range(20)]


def test_a_full_queue_drops_the_oldest_that_is_no_page(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_MAX", 3)
    gate, sent = threading.Event(), []

    def send(raised, title: str, body: str) -> bool:
        gate.wait(10)
        sent.append(raised.reason_code)
        return True

    sink = module.Sink("X", send, written.log, "p", 60, 0.01)
    sink.put(alert("drawdown", "in hand", "x"))
    until(lambda: not sink._queue)
    for name, reason in (("kill_switch_signal", "page"), ("drawdown", "1"), ("drawdown", "2"), ("drawdown", "3")):
        sink.put(alert(name, reason, "x"))
    gate.set()
    sink.close(10)
    assert sent == ["in hand", "page", "2", "3"]
    assert written.outcomes().count("dropped") == 1


def test_a_fault_of_a_library_is_a_failed_attempt(written: Written) -> None:
    def send(raised, title: str, body: str) -> bool:
        raise RuntimeError("unforeseen")

    sink = module.Sink("X", send, written.log, "p", give_up_s=0.0, backoff_s=0.01)
    sink.put(alert("drawdown", "X", "x"))
    until(lambda: written.outcomes() == ["given_up"])
    sink.close(1)
    assert written.lines[0]["detail"] == "RuntimeError: unforeseen"


def test_an_unknown_url_is_refused_without_being_shown(written: Written) -> None:
    with pytest.raises(BadConfig, match="secret HOOK: not the URL") as bad:
        Alerts(written.log, [("HOOK", Secret(f"nothing-known://{CANARY}"))])
    assert CANARY not in str(bad.value)


def test_the_smoke_test_reaches_every_sink(tmp_path: Path) -> None:
    with watched.receiver() as one, watched.receiver() as two:
        secrets = tmp_path / FILE_NAME
        secrets.write_text(f"ONE={one.url}\nTWO={two.url}\n")
        secrets.chmod(0o600)
        config = tmp_path / "runner.yaml"
        config.write_text("ops:\n  sinks: [ONE, TWO]\n")
        rows = alert_test(tmp_path, config, "reconcile_mismatch", 30)
        assert [(row["sink"], row["outcome"]) for row in rows] == [("ONE", "sent"), ("TWO", "sent")]
        assert len(one.got) == len(two.got) == 1 and one.got[0]["title"].startswith("[dryrun] alert-test WARN")
        two.down = True
        rows = alert_test(tmp_path, config, "drawdown", 0.2)
        assert [row["outcome"] for row in rows] == ["sent", "given_up"]
    assert CANARY not in (tmp_path / "alert-test.jsonl").read_text() + str(rows)
    with pytest.raises(BadConfig, match="there is none of that name"):
        alert_test(tmp_path, config, "nothing", 1)
    with pytest.raises(BadConfig, match=r"ops.sinks: no sink"):
        alert_test(tmp_path, None, "drawdown", 1)


def test_settings_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "runner.yaml"
    for text, message in (
        ("ops:\n  htpp: x\n", "htpp"),
        ("ops:\n  http: 0.0.0.0:1\n", "http_public"),
        ("ops:\n  stale_ms: 1\n", "ops.stale_ms is 1"),
        ("ops:\n  mute: [kill_switch_signal]\n", "cannot be muted"),
    ):
        path.write_text(text)
        with pytest.raises(BadConfig, match=message):
            load_ops(path)
    path.write_text("risk:\n  daily_stop_ppm: 10000\n")
    assert load_ops(path) == load_ops(None) == Ops()
