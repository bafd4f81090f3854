"""The log: every line fits the schema and says why; no line holds a secret, whatever tries to put one there."""

import io
import json
import logging
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from core.errors import BadInput
from core.records import FILL, INTENT, RECORD, Action, Kind
from runner.home import Run
from runner.ops.events import Cycle, Filled, Problem, Refusal, Signal, parse_line
from runner.ops.log import Log
from runner.ops.narrate import APPROVED, Narrator
from runner.ops.redact import Redaction
from runner.secrets import Secret
from tests.runner import watched

CANARIES = ("canary-9f8e7d6c5b", "tgram://123456789:AAH-canary_token_0123456789abcde/424242/", "p@ss/w:rd?&x")
HEADER_FIELDS = {"event", "ts", "level", "mode", "run"}


def test_every_line_of_a_session_fits_the_schema(logged: watched.Session) -> None:
    """OBS-01, OBS-02: all lines parse; those of signals have the seeds' fields; mode and run are on each."""
    events = [parse_line(line) for line in logged.lines]
    assert {event.mode for event in events} == {"paper"} and {event.run for event in events} == {logged.run.name}
    names = Counter(json.loads(line)["event"] for line in logged.lines)
    assert names["session_started"] == names["session_ended"] == 1 and names["fill"] > 20
    signal = next(json.loads(line) for line in logged.lines if json.loads(line)["event"] == "signal")
    assert {"pair", "tier", "conf", "entry", "tp", "sl", "rr", "lat_ms", "spread_bps", "slip_bps", "mode"} <= set(
        signal
    )
    assert {"reason_code", "edge_ticks", "cost_to_take", "context_mult", "inventory", "latency_ms"} <= set(signal)
    with pytest.raises(BadInput, match="does not fit"):
        parse_line(json.dumps(signal | {"surprise": 1}))
    with pytest.raises(BadInput, match="does not fit"):
        parse_line(json.dumps({key: value for key, value in signal.items() if key != "mode"}))


def test_every_cycle_has_its_record(logged: watched.Session, records: np.ndarray) -> None:
    """One line per moment of decision, its counts those of the journal; a cycle without orders has a reason."""
    decisions = records[records["kind"] == Kind.DECISION]
    intents = records[records["kind"] == Kind.INTENT].view(INTENT)
    cycles = [event for event in map(parse_line, logged.lines) if isinstance(event, Cycle)]
    assert [cycle.market_ns for cycle in cycles] == np.unique(decisions["a"]).tolist()
    assert sum(sum(cycle.reasons.values()) for cycle in cycles) == len(decisions)
    orders = int(((intents["flags"] & 0xFF) != Action.CANCEL).sum())
    assert sum(cycle.risk_decisions.get(APPROVED, 0) for cycle in cycles) == orders > 0
    for cycle in cycles:
        assert (cycle.no_trade_reason is None) == (APPROVED in cycle.risk_decisions)
        assert cycle.universe <= 3 and cycle.candidates <= cycle.universe
        if not cycle.universe:
            assert cycle.no_trade_reason == "WARMUP"
    assert {cycle.universe for cycle in cycles} == {0, 1, 2, 3} or {0, 3} <= {cycle.universe for cycle in cycles}


def test_signals_and_fills_are_the_journals(logged: watched.Session, records: np.ndarray) -> None:
    events = [parse_line(line) for line in logged.lines]
    signals = {event.order_id: event for event in events if isinstance(event, Signal)}
    fills = [event for event in events if isinstance(event, Filled)]
    journaled = records[records["kind"] == Kind.FILL].view(FILL)
    assert [fill.record for fill in fills] == np.flatnonzero(records["kind"] == Kind.FILL).tolist()
    assert [fill.exec_id for fill in fills] == journaled["exec_id"].tolist()
    for fill in fills:
        entry, sign = signals[fill.order_id].entry, 1 if fill.side == "BUY" else -1
        assert fill.slip_bps == pytest.approx(sign * (fill.price / entry - 1) * 1e4)
        assert fill.lat_ms is not None and fill.lat_ms > 0
    held: Counter[str] = Counter()
    for event in events:  # inventory is what was held before the order
        if isinstance(event, Signal):
            assert event.inventory == pytest.approx(held[event.pair], abs=1e-9)
        elif isinstance(event, Filled):
            held[event.pair] += event.quantity if event.side == "BUY" else -event.quantity


def test_pieces_make_no_difference(played: Run, header: dict, records: np.ndarray) -> None:
    """The same story in whatever pieces the records come."""

    def told(size: int) -> list:
        narrator = Narrator(header, "x", [0, 0, 0])
        pieces = range(0, len(records), size)
        return [event for at in pieces for event in narrator.tell(at, records[at : at + size])] + list(narrator.end())

    assert told(len(records)) == told(7) == told(1)


def test_tp_sl_and_refusals(header: dict) -> None:
    """What no session of the fixture has: exits by price, and a rule that refuses."""
    trading = json.loads(json.dumps(header["trading"]))
    trading["strategy"] |= {"stop_loss_ticks": 500, "reward_risk_ppm": 2_000_000}
    narrator = Narrator(header | {"trading": trading}, "x", [0, 0, 0])
    prediction, tick, intent = watched.signal_records(price=100_000)
    signal = next(iter(narrator.tell(0, np.concatenate([prediction, tick, intent]))))
    assert isinstance(signal, Signal)
    tick_size = float(header["instruments"][0]["tick"])
    assert (signal.entry, signal.sl, signal.tp) == pytest.approx(
        (100_000 * tick_size, 99_500 * tick_size, 101_000 * tick_size)
    )
    assert signal.rr == pytest.approx(2.0) and signal.conf == 0.8 and signal.tier == "HIGH"
    refusal = next(iter(narrator.tell(3, watched.refused("KILL_SWITCH", value=2, limit=1))))
    assert isinstance(refusal, Refusal)
    assert (refusal.reason_code, refusal.value, refusal.limit, refusal.record) == ("KILL_SWITCH", 2, 1, 4)


@pytest.fixture
def canary_log() -> tuple[Log, io.BytesIO]:
    file = io.BytesIO()
    return Log(file, Redaction(lambda: CANARIES), "paper", "r"), file


def test_no_canary_is_ever_written(canary_log: tuple[Log, io.BytesIO]) -> None:
    """SEC-02: as a value, inside text, in a URL, coded for a URL, in exceptions, from libraries, as a key."""
    log, file = canary_log
    for canary in CANARIES:
        log.problem("text", f"before {canary} after")
        log.problem("url", f"GET https://api.example/x?a=1&key={quote(canary, safe='')}&b=2")
        log.problem(canary, "as a name")
        try:
            try:
                raise ValueError(f"inner {canary}")
            except ValueError as error:
                raise RuntimeError({"nested": [canary]}) from error
        except RuntimeError as error:
            log.problem("exception", str(error), error)
            log.failed(error)
        log.adopt("some.library")
        logging.getLogger("some.library").warning("sent to %s", canary)
        try:
            raise OSError(f"cannot reach {canary}")
        except OSError:
            logging.getLogger("some.library").exception("failed")
        logging.getLogger("some.library").handlers.clear()
    written = file.getvalue().decode()
    assert written.count("\n") == 21
    for canary in (*CANARIES, "AAH-canary_token_0123456789abcde", quote(CANARIES[2], safe="")):
        assert canary not in written and json.dumps(canary)[1:-1] not in written
    assert "before *** after" in written and "&b=2" in written
    for line in written.splitlines():
        assert set(json.loads(line)) >= HEADER_FIELDS
        parse_line(line)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:hunter22@host/x", "https://***@host/x"),
        ("POST https://api.telegram.org/bot123456789:AAF-abcdefghijklmnopqrstuv/sendMessage", "/***/sendMessage"),
        ("https://hooks.slack.com/services/T00/B00/XXXX ok", "https://hooks.slack.com/services/*** ok"),
        ("Authorization: Bearer abc.def-123456", "Authorization: "),
        ("api_key=abcdef&symbol=BTC", "api_key=***&symbol=BTC"),
        ('{"apiKey": "abcdef", "n": 1}', '"apiKey": ***, "n": 1'),
        ("xoxb-12-abcdef", "***"),
        ("-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----", "***"),
    ],
)
def test_what_is_secret_by_its_form_is_taken_out(text: str, shown: str) -> None:
    clean = Redaction(tuple).text(text)
    assert shown in clean
    for part in ("hunter22", "AAF-abc", "T00/B00", "abc.def-123456", "abcdef", "MIIB"):
        assert part not in clean


def test_fields_named_like_secrets_are_hidden_and_others_are_not() -> None:
    redaction = Redaction(tuple)
    event = {
        "api_key": "a",
        "Password": "b",
        "x": {"authToken": 1, "note": "c"},
        "record": 7,
        "order_id": 1,
        "none": None,
    }
    assert redaction(None, "info", event) == {
        "api_key": "***", "Password": "***", "x": {"authToken": "***", "note": "c"}, "record": 7, "order_id": 1,
        "none": None,
    }  # fmt: skip


def test_a_log_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    log = Log.open(tmp_path / "new" / "log.jsonl", Redaction(tuple), "paper", "r")
    assert (tmp_path / "new" / "log.jsonl").stat().st_mode & 0o777 == 0o600
    log.problem("a", "b")
    log.close()
    log.problem("a", "b")
    assert log.lost == 1
    with open("/dev/full", "wb", buffering=0) as full:
        broken = Log(full, Redaction(tuple), "paper", "r")
        broken.emit(Problem(mode="paper", run="r", what="a", detail="b"))
        assert broken.lost == 1


def test_a_line_that_a_crash_cut_off_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for end in ("", '{"cut": "o', "\n"):
        with open(path, "a") as file:
            file.write(end)
        with Log.open(path, Redaction(tuple), "paper", "r") as log:
            log.problem("a", "b")
    lines = path.read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines if line and line != '{"cut": "o'] == ["problem"] * 3


def test_a_part_of_a_url_is_a_secret_too() -> None:
    """Libraries tell of hosts and paths alone: what they are parts of is known."""
    clean = Redaction(lambda: ["slack://botname/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXr"]).text(
        "gave up on TIiajkdnlazkcOXr"
    )
    assert clean == "gave up on ***"


def test_a_secret_object_in_a_line_is_hidden(canary_log: tuple[Log, io.BytesIO]) -> None:
    log, file = canary_log
    log.problem("x", f"{Secret('not-among-the-known')}")
    assert b"not-among-the-known" not in file.getvalue()


def test_records_dtype_of_helpers() -> None:
    assert all(part.dtype == RECORD for part in watched.signal_records(price=1))
