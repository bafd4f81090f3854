"""The command line: what it prints, what it refuses, and the exit code of each."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.records import BAR
from core.settings import Strategy
from feeds.market import BUILTIN
from feeds.synthetic import market
from feeds.tape import write_tape
from runner import cli
from runner.home import Home
from runner.lease import lease
from runner.reader import open_run
from tests.runner.bundles import MINUTE_NS, OTHER_KEY, make_bundle, make_home, with_trading

Runner = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Run the command line in this process: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["runner", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home, a signed bundle and a tape of two days."""
    folder = tmp_path_factory.mktemp("cli")
    make_home(folder / "home")
    make_bundle(folder / "bundle")
    days = market(BUILTIN, days=2, seed=5, strength=1.0)
    write_tape(folder / "market.tape", days, instruments=BUILTIN.instruments(), interval_ns=5 * MINUTE_NS)
    return folder


def base(place: Path) -> list[object]:
    return ["--home", place / "home", "--bundle", place / "bundle"]


def paper(place: Path, run: str) -> list[object]:
    return ["paper", *base(place), "--tape", place / "market.tape", "--run", run]


def test_from_paper_to_verified(place: Path, runner: Runner) -> None:
    code, out, _ = runner(*paper(place, "a"))
    assert code == 0
    for text in ("as judged", "net result", "PASS, key dev", "total latency", "head"):
        assert text in out
    home = ["--home", place / "home", "--run", "a"]
    code, out, _ = runner("replay", *home, "--model")
    assert (code, out.splitlines()[0]) == (0, "REPLAY PARITY: TRUE")
    code, out, _ = runner("ledger", "verify", *home)
    assert code == 0 and out.startswith("LEDGER VERIFIED: ")
    code, out, _ = runner("ledger", "show", *home, "--last", 3)
    assert code == 0 and "holdings" in out
    code, out, _ = runner("status", *home)
    assert code == 0 and "last decisions" in out and "NORMAL" in out


def heads(found: dict) -> tuple:
    return found["head"], found["ledger_head"], found["run_id"]


def test_head_depends_on_nothing_but_the_inputs(place: Path, runner: Runner, tmp_path: Path) -> None:
    """Another home, another name, another speed, another signer: one head. Another market or key: another."""
    make_home(tmp_path / "home", OTHER_KEY)
    make_bundle(tmp_path / "bundle", key=OTHER_KEY)
    first = json.loads(runner(*paper(place, "b"), "--json")[1])
    again = json.loads(runner(*paper(place, "b"), "--json")[1])  # finished: verified and shown
    tape = ["--tape", place / "market.tape", "--json"]
    other = json.loads(runner("paper", *base(tmp_path), *tape, "--speed", "100000000x")[1])
    assert heads(first) == heads(again) == heads(other)
    assert other["run"] == first["run_id"][:16]
    (tmp_path / "runner.yaml").write_text("strategy:\n  hold_horizons: 7\n")
    code, out, err = runner("paper", *base(tmp_path), *tape, "--config", tmp_path / "runner.yaml")
    changed = json.loads(out)
    assert code == 0 and not changed["parity"] and changed["changed"] == ["strategy.hold_horizons"]
    assert "parity with the backtest does not apply" in err
    assert heads(changed) != heads(first)
    builtin = ["--days", 1, "--seed", 5, "--json"]
    assert heads(json.loads(runner("paper", *base(tmp_path), *builtin)[1])) != heads(first)


def test_a_rule_strategy_needs_no_model(runner: Runner, tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    make_bundle(tmp_path / "bundle", with_trading(strategy=Strategy(kind="sma", fixed_lots=100)), rule=True)
    code, out, _ = runner("paper", *base(tmp_path), "--days", 1, "--json")
    found = json.loads(out)
    assert (code, found["predictions"], found["strategy"]) == (0, 0, "sma")
    assert runner("replay", "--home", tmp_path / "home", "--model")[0] == 0


def refused(runner: Runner, *arguments: object) -> str:
    code, out, err = runner(*arguments)
    assert (code, out) == (40, "")
    return err


def test_only_a_trusted_passing_unaltered_bundle_is_loaded(place: Path, runner: Runner, tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    home, tape = ["--home", tmp_path / "home"], ["--tape", place / "market.tape"]
    stranger = make_bundle(tmp_path / "stranger", key=OTHER_KEY)
    assert "unknown key" in refused(runner, "paper", *home, *tape, "--bundle", stranger)
    failed = make_bundle(tmp_path / "failed", verdict="FAIL")
    assert "verdict is FAIL" in refused(runner, "paper", *home, *tape, "--bundle", failed)
    unsigned = make_bundle(tmp_path / "unsigned")
    (unsigned / "statement.sig").unlink()
    assert "unsigned" in refused(runner, "paper", *home, *tape, "--bundle", unsigned)
    for name in ("step.onnx", "manifest.json", "statement.json", "statement.sig"):
        altered = make_bundle(tmp_path / f"altered-{name}")
        data = bytearray((altered / name).read_bytes())
        data[len(data) // 2] ^= 1
        (altered / name).write_bytes(bytes(data))
        assert "altered" in refused(runner, "paper", *home, *tape, "--bundle", altered)
    (tmp_path / "home" / "trust").rename(tmp_path / "elsewhere")
    assert "no trusted key" in refused(runner, "paper", *home, *tape, "--bundle", place / "bundle")
    assert not (tmp_path / "home" / "runs").exists()  # nothing was begun


def test_the_default_bundle_is_the_promoted_one(place: Path, runner: Runner, tmp_path: Path) -> None:
    make_home(tmp_path / "home")
    shutil.copytree(place / "bundle", tmp_path / "models" / "store" / "x")
    (tmp_path / "models" / "promoted").symlink_to("store/x")
    call = ["--home", tmp_path / "home", "--store", tmp_path / "models"]
    assert runner("paper", *call, "--tape", place / "market.tape")[0] == 0


def one_bar() -> np.ndarray:
    bar = np.zeros(1, BAR)
    bar["kind"], bar["ts_event"], bar["ts_known"], bar["volume"] = 1, 5 * MINUTE_NS, 5 * MINUTE_NS + 1, 1
    for name in ("open", "high", "low", "close"):
        bar[name] = 100_000
    return bar


def test_a_tape_of_another_market_is_refused(place: Path, runner: Runner, tmp_path: Path) -> None:
    ours = BUILTIN.instruments()
    call = [*base(place), "--tape", tmp_path / "other.tape"]
    for instruments, interval, message in (
        (ours, MINUTE_NS, "the bundle is for bars of 300000000000 ns"),
        (ours[:2], 5 * MINUTE_NS, "2 instruments"),
        ((ours[1], ours[0], ours[2]), 5 * MINUTE_NS, "instrument 0 (ETH-USDT): base is 'ETH'"),
    ):
        write_tape(tmp_path / "other.tape", [one_bar()], instruments=instruments, interval_ns=interval)
        assert message in refused(runner, "paper", *call)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--tape", "none.tape"], 31, "No such file"),
        (["--market", "nyse"], 30, "the only market is `builtin`"),
        (["--days", "0"], 32, "days is 0"),
        (["--speed", "fast"], 32, "--speed 'fast'"),
        (["--config", "none.yaml"], 32, "none.yaml: No such file"),
        (["--days", "1", "--run", "../out"], 30, "are a name, the first no dot"),
        (["--no-such-option"], 2, "No such option"),
    ],
)
def test_bad_arguments(place: Path, runner: Runner, arguments: list[str], code: int, message: str) -> None:
    found, out, err = runner("paper", *base(place), *arguments)
    assert (found, out) == (code, "")
    assert message in err


def test_a_run_name_that_is_taken_is_refused(place: Path, runner: Runner) -> None:
    assert runner(*paper(place, "taken"))[0] == 0
    assert "another feed_id, run_id, source" in refused(runner, "paper", *base(place), "--days", 1, "--run", "taken")


def test_one_runner_per_run(place: Path, runner: Runner) -> None:
    with lease(Home(place / "home").run("busy").folder):
        assert "one runner per run" in refused(runner, *paper(place, "busy"))


def test_altered_runs_are_refused_with_their_own_codes(place: Path, runner: Runner) -> None:
    runner(*paper(place, "c"))
    run = Home(place / "home").run("c")
    seal = msgspec.json.decode(run.seal.read_bytes())
    run.seal.write_bytes(msgspec.json.encode(seal | {"ledger_head": "0" * 64}))
    home = ["--home", place / "home", "--run", "c"]
    assert runner("ledger", "verify", *home)[0] == 51
    run.seal.unlink()
    data = bytearray(run.journal.read_bytes())
    with open_run(run) as reader:
        first = next(iter(reader.batches())).tobytes()
    at = data.index(first[6400:6464])  # one record, as it lies in the file
    data[at + 30] ^= 1
    run.journal.write_bytes(bytes(data))
    for command in ("status", "replay"):
        code, out, err = runner(command, *home)
        assert code == (50 if command == "replay" else 31)
        assert "batch of records 0 to" in out + err
    code, _, err = runner("ledger", "verify", *home)
    assert code == 31 and "altered" in err
    code, _, err = runner(*paper(place, "c"))  # it does not continue either
    assert code == 31


def test_no_run_yet(runner: Runner, tmp_path: Path) -> None:
    for command in (["status"], ["replay"], ["ledger", "verify"]):
        code, _, err = runner(*command, "--home", tmp_path)
        assert code == 30 and "no run yet" in err
        code, _, err = runner(*command, "--home", tmp_path, "--run", "x")
        assert code == 30 and "no such run" in err


def test_doctor(place: Path, runner: Runner, tmp_path: Path) -> None:
    code, out, _ = runner("doctor", *base(place), "--json")
    assert (code, {row["ok"] for row in json.loads(out)}) == (0, {"ok"})
    code, out, _ = runner("doctor", "--home", tmp_path, "--bundle", place / "bundle")
    assert code == 40 and "no trusted key" in " ".join(out.split())


def test_show_config(place: Path, runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "runner.yaml").write_text("risk:\n  daily_stop_ppm: 7\n")
    code, out, _ = runner("show-config", *base(place), "--config", tmp_path / "runner.yaml", "--json")
    found = json.loads(out)
    assert (code, found["parity"], found["changed"]) == (0, False, ["risk.daily_stop_ppm"])
    assert found["trading"]["risk"]["daily_stop_ppm"] == 7
    code, out, _ = runner("show-config", *base(place))
    assert code == 0 and "execution.participation_ppm" in out and "parity with" not in out


def test_ctrl_c_leaves_a_run_that_continues(place: Path, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    passed = []

    def wait(self: object, ts_ns: int) -> None:
        passed.append(ts_ns)
        if len(passed) == 1200:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("runner.clock.Pacer.wait", wait)
        code, _, err = runner(*paper(place, "stopped"))
    assert code == 130 and "the same command continues" in err
    code, out, _ = runner("status", "--home", place / "home", "--run", "stopped", "--json")
    assert code == 0 and json.loads(out)["finished"] is False
    found = json.loads(runner(*paper(place, "stopped"), "--json")[1])
    assert found["finished"] and heads(found) == heads(json.loads(runner(*paper(place, "d"), "--json")[1]))


def test_segments_from_closed_to_expired(place: Path, runner: Runner, tmp_path: Path) -> None:
    """Closed by size while it plays, listed, compressed, given up; replayed and exported at each step."""
    where = ("--home", place / "home", "--run", "sliced")
    assert runner(*paper(place, "sliced"), "--snapshot-records", 500, "--segment-records", 1500)[0] == 0
    listed = json.loads(runner("segment", "ls", *where, "--json")[1])
    assert [item["state"] for item in listed] == ["closed"] * (len(listed) - 1) + ["open"] and len(listed) > 2
    assert listed[0]["program"].startswith("0.1.0, kernels ")
    whole = json.loads(runner("journal", "export", *where, "--to", tmp_path / "a.npy", "--json")[1])
    assert whole["records"] == sum(item["records"] for item in listed) == len(np.load(tmp_path / "a.npy"))
    keep = ("--keep", len(listed) - 2)  # all closed ones but the first
    assert json.loads(runner("segment", "compress", *where, *keep, "--json")[1])["archived"] == [0]
    assert "REPLAY PARITY: TRUE" in runner("replay", *where)[1]
    assert "expired: 0" in runner("segment", "expire", *where, *keep)[1]
    assert "REPLAY PARITY: TRUE" in runner("replay", *where)[1]
    rest = json.loads(runner("journal", "export", *where, "--to", tmp_path / "b.npy", "--json")[1])
    assert rest["first"] == listed[1]["first"] and rest["records"] == whole["records"] - rest["first"]
    assert np.load(tmp_path / "b.npy").tobytes() == np.load(tmp_path / "a.npy")[rest["first"] :].tobytes()
    code, _, err = runner("segment", "close", *where)
    assert code == 40 and "finished" in err


def test_explain_shows_the_chain(place: Path, runner: Runner) -> None:
    where = ("--home", place / "home", "--run", "d")
    assert runner(*paper(place, "d"))[0] == 0
    code, out, _ = runner("explain", *where, "--fill", 1)
    assert code == 0
    for word in ("bar  record", "features", "prediction  record", "check  record", "decision  record", "fill  record"):
        assert word in out
    found = json.loads(runner("explain", *where, "--fill", 1, "--json")[1])
    assert [item["element"] for item in found["chain"]][-1] == "fill"
    code, _, err = runner("explain", *where, "--fill", "x")
    assert code == 30 and "fill 'x'" in err


def test_help_teaches(runner: Runner) -> None:
    code, out, _ = runner("--help")
    assert code == 0
    for text in ("Exit codes", "paper", "replay", "ledger", "status", "doctor", "show-config"):
        assert text in out


def test_names_counts_and_notes_out_of_bounds(place: Path, runner: Runner) -> None:
    for name in ("../x", ".x", "a/b", "a\nb", "a" * 65):
        code, _, err = runner("status", "--home", place / "home", "--run", name)
        assert code == 30 and "letters, digits" in err
    for last in (-1, 10**20):
        assert runner("ledger", "show", "--home", place / "home", "--last", last)[0] == 2
    assert runner(*paper(place, "noted"))[0] == 0
    (place / "home/runs/noted/about.json").write_text("{")
    code, _, err = runner("status", "--home", place / "home", "--run", "noted")
    assert code == 30 and "about.json: not readable" in err and "remove it" in err
