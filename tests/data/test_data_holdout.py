"""The hold-out opens by one command only, which logs it first; the log cannot be altered unseen."""

import json
from pathlib import Path

import pytest

from core.errors import BadInput, BadTape, Refused
from data import holdout
from feeds.tape import Tape
from tests.data.candles import Frames, candles, ingest
from tests.data.test_data_catalog import run
from tests.data.test_data_events import PERP, two_files
from tests.data.test_data_events import ingest as ingest_events

DAY = 288


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """The folder of a hold-out of one day."""
    frames = Frames({"BTC-USDT": candles(4 * DAY), "ETH-USDT": candles(4 * DAY, seed=1)})
    ingest(tmp_path, frames, holdout=1)
    return tmp_path / "holdout"


def test_no_stage_can_open_it(cut: Path, tmp_path: Path) -> None:
    with pytest.raises(BadTape, match="the final hold-out, which no stage reads"):
        Tape.open(cut / "market.tape")
    folder = ingest_events(two_files(tmp_path / "raw"), PERP, tmp_path / "books", "binance_ws", holdout=1)
    with pytest.raises(BadTape, match="the final hold-out"):
        Tape.open(folder.with_name("holdout") / "market.tape", verify=False)
    assert not Tape.open(folder / "market.tape").meta.get("holdout")


def test_the_command_logs_and_then_opens_it(cut: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "trials/log.jsonl", tmp_path / "opened.tape"
    arguments = ("holdout", "--folder", str(cut), "--out", str(out), "--log", str(log), "--json")
    code, printed = run(*arguments)
    assert code == 0 and json.loads(printed) == [] and not out.exists(), "without a reason nothing is opened"
    for number, why in enumerate(("release 1.0", "release 1.1"), start=1):
        code, printed = run(*arguments, "--why", why)
        said = json.loads(printed)
        assert code == 0 and len(said) == number and said[-1]["why"] == why and said[-1]["who"]
    closed, opened = Tape.open(cut / "market.tape", holdout=True), Tape.open(out)
    assert opened.records.tobytes() == closed.records.tobytes() and opened.meta["holdout_reading"] == 2
    assert said[0]["tape_id"] == said[1]["tape_id"] == closed.tape_id
    assert said[0]["previous"] == holdout.GENESIS != said[1]["previous"]


def test_what_cannot_be_logged_is_not_opened(cut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "opened.tape"

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(holdout, "write_atomic", disk_full)
        with pytest.raises(OSError, match="No space"):
            holdout.open_holdout(cut / "market.tape", out, log, why="x")
    with pytest.raises(BadInput, match="--why is empty"):
        holdout.open_holdout(cut / "market.tape", out, log, why=" ")
    with pytest.raises(BadInput, match=r"no hold-out; set data\.holdout"):
        holdout.open_holdout(cut.with_name("data") / "market.tape", out, log, why="x")
    assert not out.exists() and not log.exists()


@pytest.mark.parametrize("fault", ["altered", "removed", "cut", "added"])
def test_an_altered_log_is_refused_and_left_as_it_is(cut: Path, tmp_path: Path, fault: str) -> None:
    log, out = tmp_path / "log.jsonl", tmp_path / "opened.tape"
    for why in ("one", "two", "three"):
        holdout.open_holdout(cut / "market.tape", out, log, why=why)
    first, second, third = log.read_bytes().splitlines(keepends=True)
    faulty = {
        "altered": first + second.replace(b"two", b"too") + third,
        "removed": first + third,
        "cut": first + second + third[:-1],
        "added": first + second + third + b"{}\n",
    }[fault]
    log.write_bytes(faulty)
    with pytest.raises(Refused, match=r"log\.jsonl: line [234]"):
        holdout.open_holdout(cut / "market.tape", out, log, why="four")
    assert log.read_bytes() == faulty
