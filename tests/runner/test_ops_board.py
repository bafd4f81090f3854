"""`runner status`: what a run stands at, read while it is written, and how that looks."""

import io
import json
import re
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from rich.console import Console

from core.errors import BadTape
from models.statement import verify_bundle
from runner.clock import Pacer
from runner.failpoints import Failpoints
from runner.feed import builtin_feed
from runner.home import Home, Run
from runner.journal import Journal, Policy
from runner.ops.alerts import Alerts
from runner.ops.board import Follower, extras, last_alerts
from runner.ops.board_view import WIDTH, board, follow_board
from runner.ops.conditions import alert
from runner.ops.log import Log
from runner.ops.redact import Redaction
from runner.paper import describe
from runner.plan import header_ledger, make_plan, make_stream
from runner.session import Session
from tests.runner import watched
from tests.runner.bundles import make_bundle, make_home

ROOT = Path(__file__).parents[2]


def rendered(found: dict, *, verified: bool = False, colours: bool = False, width: int = WIDTH) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=colours, color_system="standard" if colours else None).print(
        board(found, verified=verified)
    )
    return file.getvalue()


def test_following_and_verifying_agree(logged: watched.Session) -> None:
    """Of a finished run, what is followed is what is verified, whole: account, counts, positions, decisions."""
    followed, verified = Follower(logged.run).refresh(), describe(logged.run)
    for key in verified.keys() - {"head", "ledger_head"}:
        assert followed[key] == verified[key], key
    assert followed["finished"] and followed["alerts"] == []


def test_a_run_is_followed_while_it_is_written(tmp_path: Path) -> None:
    """After each commit the follower has exactly the session's state; it never holds the writer up."""
    home = Home(make_home(tmp_path / "home"))
    bundle, _ = verify_bundle(make_bundle(tmp_path / "bundle"), home.trust)
    trading = bundle.manifest.trading
    plan = make_plan(bundle, builtin_feed(3, 3, 1.0, trading.execution.feed_latency_ns), trading)
    run = home.run("live")
    run.folder.mkdir(parents=True)
    stream = make_stream(bundle, 3, trading.execution.decision_latency_ns, 0)
    assert stream is not None
    seen, follower, latecomer = [], Follower(run), None
    with Journal(run.journal, plan.header, header_ledger(plan.header), Failpoints(), Policy(snapshot_records=900)) as j:
        session = Session(plan, stream, j, pacer=Pacer(None), failpoints=Failpoints())
        for number, _ in enumerate(session.play()):
            if number % 260 == 259:
                j.commit()
                found = follower.refresh()
                seen.append(found["fills"])
                assert found["records"] == j.durable == j.count and not found["finished"]
                account = session.state["account"][0]
                unit = float(plan.header["instruments"][0]["quote_unit"])
                assert float(found["equity"]) == pytest.approx(int(account["equity"]) * unit)
                assert float(found["cash"]) == pytest.approx(int(account["cash"]) * unit)
                assert found["bars"] == number + 1
                if number > 1300:
                    latecomer = latecomer or Follower(run)
                    assert latecomer.refresh() == found
    assert seen == sorted(seen) and seen[-1] > 30
    assert {"bars", "equity"} <= follower.refresh().keys()


def test_an_altered_journal_is_not_followed(logged: watched.Session, tmp_path: Path) -> None:
    run = Run(tmp_path / "altered")
    shutil.copytree(logged.run.folder, run.folder)
    connection = sqlite3.connect(run.journal)
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'block'"):
        connection.execute(f"DROP TRIGGER {name}")
    first, data = connection.execute("SELECT first, records FROM block ORDER BY first LIMIT 1 OFFSET 3").fetchone()
    at = next(k for k in range(0, len(data), 64) if data[k + 16] == 32)  # a DECISION
    connection.execute(
        "UPDATE block SET records = ? WHERE first = ?",
        (data[: at + 40] + bytes([data[at + 40] ^ 1]) + data[at + 41 :], first),
    )
    connection.commit()
    connection.close()
    with pytest.raises(BadTape, match="does not replay"):
        Follower(run).refresh()


def test_what_the_board_shows(logged: watched.Session) -> None:
    """All there is to see, within 100 columns, in the words of the data."""
    found = describe(logged.run) | extras(logged.run)
    text = rendered(found, verified=True)
    for part in ("NORMAL", "paper", "watched", "finished", "PASS", "key dev", "equity", "drawdown", "last decisions",
                 found["bundle_id"][:16], found["head"][:16], f"{found['records']:,} records"):  # fmt: skip
        assert part in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "…" not in text, "nothing is cut off"


def test_trouble_is_on_top_and_red(logged: watched.Session, tmp_path: Path) -> None:
    found = describe(logged.run) | extras(logged.run)
    with Log.open(tmp_path / "log.jsonl", Redaction(tuple), "paper", "r") as log:
        alerts = Alerts(log, [])
        alerts(alert("drawdown", "DRAWDOWN_HALT", "NORMAL -> HALT"))
        alerts(alert("kill_switch_signal", "KILL_SWITCH", "BTC-USDT BUY"))
        log.problem("watch", "slow")
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"event": "of another program"}\nnot json\n')
    told = last_alerts(tmp_path / "log.jsonl")
    assert [row["severity"] for row in told] == ["warn", "page", "problem"]
    found |= {
        "risk_state": "HALT", "day_stopped": True, "total_stopped": True, "parity": False, "changed": ["risk.x"],
        "finished": False, "writer": 4711, "alerts": told,
        "positions": [{"symbol": "A", "quantity": "1", "price": "2", "value": "2", "unrealised": "-0.5"}],
        "open_orders": [{"order_id": 1, "symbol": "A", "side": "SELL", "state": "NEW", "quantity": "1", "filled": "0"}],
    }  # fmt: skip
    text, coloured = rendered(found), rendered(found, colours=True)
    for part in ("HALT", "stopped for the day", "stopped for the account", "risk.x", "running, process 4711", "SELL",
                 "kill_switch_signal", "-0.50", "not verified"):  # fmt: skip
        assert part in text
    assert text.splitlines()[1].lstrip("│ ").startswith("HALT")
    assert "\x1b[1;37;41m HALT" in coloured and max(map(len, text.splitlines())) <= WIDTH


def test_following_a_finished_run_ends(logged: watched.Session, capsys: pytest.CaptureFixture[str]) -> None:
    follow_board(logged.run, 0.1, as_data=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["finished"] is True
    follow_board(logged.run, 0.1, as_data=False)
    assert "not verified" in capsys.readouterr().out


def plain(text: str) -> list[str]:
    """Lines without ids, times and figures: how it looks, and in which words."""
    return [re.sub(r"[0-9a-f]{16}", "ID", line.rstrip()) for line in text.splitlines()]


def test_the_capture_in_the_docs_is_what_a_run_shows(logged: watched.Session) -> None:
    """docs/operating.md shows this very run; to renew it, paste what this test prints."""
    text = rendered(describe(logged.run) | extras(logged.run), verified=True)
    sys.stdout.write(text)
    docs = (ROOT / "docs" / "operating.md").read_text()
    shown = docs.split("<!-- status -->\n```text\n")[1].split("```")[0]
    assert [re.sub(r"\d", "0", line) for line in plain(shown)] == [re.sub(r"\d", "0", line) for line in plain(text)]
