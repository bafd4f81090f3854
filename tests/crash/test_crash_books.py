"""A session on books, killed at every named point, ends as an undisturbed one does: byte for byte.

Real processes of the real command line. The feed's latencies are uneven, so that a snapshot also has rows that one of
the two clocks has passed and the other has not.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.failpoints import NAMES
from runner.home import Run
from runner.reader import open_run, verify
from tests.runner.book_tapes import Place, builtin_rows, make_place, uneven

ROOT = Path(__file__).resolve().parents[2]
SAME = (
    "head", "ledger_head", "records", "equity", "holdings", "positions", "risk_state", "drawdown_max_ppm", "fills",
    "books", "market_state",
)  # fmt: skip
DEATHS = [
    ["before-commit:2", "inside-commit:3", "after-commit:9", "inside-snapshot:1", "before-send:40", "after-fill:2"],
    ["after-fill:9", "before-send:4", "inside-snapshot:2", "inside-commit:60", "before-commit:70", "after-commit:50"],
]


def command(place: Place, run: str) -> list[str]:
    made = [sys.executable, "-m", "runner.cli", "paper", "--home", str(place.home.folder), "--run", run, "--json"]
    made += ["--bundle", str(place.bundle), "--tape", str(place.tape)]
    return [*made, "--snapshot-records", "4000", "--segment-records", "12000"]


def paper(place: Place, run: str, failpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PORTCULLIS_FAILPOINT": failpoint}
    made = command(place, run)
    return subprocess.run(made, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def journal(run: Run) -> bytes:
    """Every record of ``run``, verified with its ledger; nothing if it has not begun."""
    if not run.journal.exists():
        return b""
    with open_run(run) as reader:
        verify(reader)
        return b"".join(records.tobytes() for records in reader.batches())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("crash"), [uneven(builtin_rows(rows=5_000))])


@pytest.fixture(scope="module")
def undisturbed(place: Place) -> dict:
    done = paper(place, "whole")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fills"] > 10 and found["market_state"]["rows"] > 1_000
    return found


@pytest.mark.parametrize("deaths", DEATHS, ids=["forwards", "backwards"])
def test_a_killed_session_ends_like_an_undisturbed_one(
    place: Place, undisturbed: dict, deaths: list[str], request: pytest.FixtureRequest
) -> None:
    run, whole = place.home.run(request.node.callspec.id), journal(place.home.run("whole"))
    durable = 0
    for failpoint in deaths:
        done = paper(place, run.name, failpoint)
        assert done.returncode == -signal.SIGKILL, (failpoint, done.stderr)
        held = journal(run)  # whole and sound, with a ledger to match
        assert whole.startswith(held)
        assert len(held) >= durable
        durable = len(held)
    assert 0 < durable < len(whole)
    expect_same(place, run, undisturbed)


def expect_same(place: Place, run: Run, undisturbed: dict) -> None:
    done = paper(place, run.name)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {key: found[key] for key in SAME} == {key: undisturbed[key] for key in SAME}
    assert journal(run) == journal(place.home.run("whole"))


def test_every_failpoint_is_used() -> None:
    assert {item.split(":")[0] for deaths in DEATHS for item in deaths} == set(NAMES)
