"""Killed with SIGKILL at every named point and started again, a session ends as an undisturbed one does.

Real processes of the real command line; the only thing that differs from an operator's is the armed failpoint.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from core.errors import PortcullisError
from feeds.market import BUILTIN
from feeds.synthetic import market
from feeds.tape import write_tape
from runner.failpoints import NAMES
from runner.home import Home
from runner.reader import open_run, verify
from tests.runner.bundles import MINUTE_NS, make_bundle, make_home

ROOT = Path(__file__).resolve().parents[2]
SAME = ("head", "ledger_head", "records", "equity", "holdings", "positions", "risk_state", "drawdown_max_ppm", "fills")


class Place:
    """A home, a bundle and a tape of three days, and the command that plays them."""

    def __init__(self, folder: Path) -> None:
        self.home, self.bundle = Home(make_home(folder / "home")), make_bundle(folder / "bundle")
        self.tape = folder / "market.tape"
        days = market(BUILTIN, days=3, seed=3, strength=1.0)
        write_tape(self.tape, days, instruments=BUILTIN.instruments(), interval_ns=5 * MINUTE_NS)

    def paper(self, run: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "runner.cli", "paper", "--home", str(self.home.folder), "--run", run, "--json"]
        command += ["--bundle", str(self.bundle), "--tape", str(self.tape)]
        command += ["--snapshot-records", "700", "--segment-records", "2000"]
        environment = {**os.environ, "PORTCULLIS_FAILPOINT": failpoint}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)

    def journal(self, run: str) -> bytes:
        """Every record of ``run``, verified with its ledger; nothing if it has not begun."""
        if not self.home.run(run).journal.exists():
            return b""
        with open_run(self.home.run(run)) as reader:
            verify(reader)
            return b"".join(records.tobytes() for records in reader.batches())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("crash"))


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> dict:
    done = place.paper("whole")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fills"] > 30
    return found


# Counts are from the last snapshot on: a restarted process passes the points after it again.
DEATHS = [
    ["before-commit:1", "inside-commit:1", "after-commit:1", "inside-snapshot:1", "before-send:3", "after-fill:8"],
    ["after-fill:3", "before-send:4", "inside-snapshot:3", "inside-commit:3", "before-commit:2", "after-fill:20"],
]


@pytest.mark.parametrize("deaths", DEATHS, ids=["forwards", "backwards"])
def test_a_killed_session_ends_like_an_undisturbed_one(
    place: Place, undisturbed: dict, deaths: list[str], request: pytest.FixtureRequest
) -> None:
    run, whole = request.node.callspec.id, place.journal("whole")
    durable = 0
    for failpoint in deaths:
        done = place.paper(run, failpoint)
        assert done.returncode == -signal.SIGKILL, (failpoint, done.stderr)
        held = place.journal(run)  # whole and sound, with a ledger to match
        assert whole.startswith(held)
        assert len(held) >= durable
        durable = len(held)
    assert 0 < durable < len(whole)
    done = place.paper(run)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {key: found[key] for key in SAME} == {key: undisturbed[key] for key in SAME}
    assert place.journal(run) == whole


def test_every_failpoint_is_used() -> None:
    assert {item.split(":")[0] for deaths in DEATHS for item in deaths} == set(NAMES)


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_killed_run_whose_journal_is_altered_is_refused(place: Place, undisturbed: dict, where: str) -> None:
    """The break-it check of the comparison above: recovery that ignored the journal would pass it.

    ``where``: before the last snapshot it is found when the run is verified at its end, after it at once.
    """
    name = f"altered-{where}"
    run = place.home.run(name)
    assert place.paper(name, "after-fill:8").returncode == -signal.SIGKILL
    held = len(place.journal(name)) // 64
    connection = sqlite3.connect(run.journal, isolation_level=None)
    snapshot = connection.execute("SELECT max(records) FROM snapshot").fetchone()[0]
    row = snapshot // 2 if where == "before" else (snapshot + held) // 2
    assert 0 < snapshot < row < held or where == "before"
    sql = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'block_no_update'").fetchone()[0]
    connection.execute("DROP TRIGGER block_no_update")
    first, records = connection.execute(
        "SELECT first, records FROM block WHERE first <= ? ORDER BY first DESC LIMIT 1", (row,)
    ).fetchone()
    changed = np.frombuffer(records, np.uint8).copy()
    changed[(row - first) * 64 + 30] ^= 1
    connection.execute("UPDATE block SET records = ? WHERE first = ?", (changed.tobytes(), first))
    connection.execute(sql)
    connection.close()
    with pytest.raises(PortcullisError):
        place.journal(name)
    done = place.paper(name)
    assert done.returncode == 31
    assert f"batch of records {first} to" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    with pytest.raises(PortcullisError):
        place.journal(name)
