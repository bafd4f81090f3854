"""``python -m gates`` and the gate stage, as processes where exit codes matter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.errors import BadInput
from gates import __main__ as cli
from gates.workspace import Workspace
from models.output import seal
from models.statement import read_trust
from pipelines import gate
from tests.gates.checkout import PASSING, ROOT, changed, judged, put_candidate

FAILING = changed("max_drawdown", value=0.5)
FEW = changed("expectancy_bps", n=5)
UNMEASURED = {name: value for name, value in PASSING.items() if name != "onnx_parity"}


@pytest.fixture
def here(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.chdir(work.root)
    return work


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize(("metrics", "code"), [(PASSING, 0), (FAILING, 10), (FEW, 20), (UNMEASURED, 30)])
@pytest.mark.parametrize("command", ["check", "explain", "promote"])
def test_exit_codes_say_the_verdict(here: Workspace, command: str, metrics: dict[str, Any], code: int) -> None:
    judged(here, b"a", metrics)
    assert run(command)[0] == code
    assert run(command, "--json")[0] == code


def test_check_writes_nothing(here: Workspace) -> None:
    put_candidate(here, b"a")
    before = sorted(here.root.rglob("*"))
    for command in ("check", "explain", "diff", "history"):
        run(command)
    assert sorted(here.root.rglob("*")) == before


def test_the_table_names_every_gate_in_full(here: Workspace) -> None:
    judged(here, b"a", FAILING)
    _, text = run("check")
    assert all(name in text for name in ("skill_over_climatology_min", "deflated_sharpe_min", "latency_p99_ms_max"))
    assert "max_drawdown_max: 0.5 must be < 0.06" in " ".join(text.split())
    data = json.loads(run("check", "--json")[1])
    assert data["verdict"] == "FAIL" and data["gates"]["max_drawdown_max"]["result"] == "FAIL"


def test_explain_says_why_and_what_would_change_it(here: Workspace) -> None:
    judged(here, b"a", FAILING)
    text = run("explain")[1]
    assert "At 6 % the risk tiers halt the account" in text
    assert "its value must fall by 0.44" in text
    assert json.loads(run("explain", "--json")[1])["max_drawdown_max"] == "its value must fall by 0.44"


def test_a_model_of_the_other_kind_is_not_measured(here: Workspace) -> None:
    judged(here, b"a")
    assert run("check", "--profile", "micro_model")[0] == 30


def test_promote_diff_rollback_history(here: Workspace) -> None:
    judged(here, b"a")
    assert "v1.0.0 promoted" in run("promote")[1]
    assert "nothing new" in run("promote")[1]
    judged(here, b"b", changed("max_drawdown", value=0.03))
    data = json.loads(run("diff", "--json")[1])
    assert data["metrics"]["max_drawdown_max"] == {"in_use": "0.02", "candidate": 0.03}
    assert not data["same"]["bundle_id"] and data["same"]["data_hash"]
    assert "0.01" in run("diff")[1]
    run("promote")
    code, text = run("rollback", "v1.0.0", "--reason", "drill")
    assert code == 0 and "v1.0.0 is in use again (was v1.1.0); verified" in text
    history = json.loads(run("history", "--json")[1])
    assert history["active"] == "v1.0.0"
    assert [(item["action"], item["tag"]) for item in history["decisions"]] == [
        ("promote", "v1.0.0"),
        ("promote", "v1.1.0"),
        ("rollback", "v1.0.0"),
    ]
    assert "in use: v1.0.0" in run("history")[1]


def test_exporting_the_key_says_how_far_it_is_trusted(here: Workspace, tmp_path: Path) -> None:
    code, text = run("keys", "export", "--to", str(tmp_path / "trust"))
    assert code == 0 and "trust: dev" in text
    assert len(read_trust(tmp_path / "trust")) == 1


def test_a_release_key_is_made_on_purpose_only(here: Workspace, tmp_path: Path) -> None:
    assert "trust: release" in run("keys", "create", "--release")[1]
    run("keys", "export", "--to", str(tmp_path))
    assert [key.trust for key in read_trust(tmp_path).values()] == ["release"]


def process(work: Workspace, keys: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PORTCULLIS_KEYS": str(keys)}
    return subprocess.run([sys.executable, *arguments], cwd=work.root, env=env, capture_output=True, text=True)


def test_errors_are_one_line_with_their_exit_code(work: Workspace, keys: Path) -> None:
    done = process(work, keys, "-m", "gates", "check")
    assert done.returncode == 30 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr
    judged(work, b"a")
    work.log.write_text("{}\n")
    done = process(work, keys, "-m", "gates", "promote")
    assert done.returncode == 40 and "line 1" in done.stderr


def test_the_stage_succeeds_on_any_verdict_and_writes_it(here: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "render_report", lambda work, out: None)  # the tearsheet has its own tests
    for metrics, verdict in ((PASSING, "PASS"), (FAILING, "FAIL"), (FEW, "INSUFFICIENT")):
        put_candidate(here, b"a", metrics)
        seal(here.metrics.parent)
        gate.main()
        assert json.loads(here.verdict.read_text())["verdict"] == verdict
        assert (here.verdict.parent / "table.md").read_text().startswith(f"**{verdict} on profile bar_model")
    put_candidate(here, b"a", UNMEASURED)
    with pytest.raises(BadInput, match=r"metrics\.json: altered: .* `dvc repro backtest`"):
        gate.main()
    seal(here.metrics.parent)
    with pytest.raises(BadInput, match="onnx_parity was not measured"):
        gate.main()
    assert json.loads(here.verdict.read_text())["verdict"] == "ERROR"
    assert len(list(here.trials.iterdir())) == 1


def test_the_stage_writes_the_same_bytes_again(here: Workspace) -> None:
    judged(here, b"a")
    first = here.verdict.read_bytes()
    judged(here, b"a")
    assert here.verdict.read_bytes() == first
