"""``python -m evaluation`` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from core.errors import BadConfig, BadInput
from core.records import MARK
from core.settings import Strategy, as_json
from evaluation.__main__ import app
from tests.evaluation.artifacts import ROOT, small_params

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def params(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(json.dumps(as_json(small_params())))))
    return path


def run(*arguments: object) -> Any:
    return RUNNER.invoke(app, [str(item) for item in arguments])


def test_a_fold_s_predictions_give_the_fold_s_session(
    artifacts: Path, metrics: dict[str, Any], params: Path, tmp_path: Path
) -> None:
    folder = artifacts / "calibrated/fold_0"
    done = run(
        "backtest", "--tape", folder / "fold.tape", "--predictions", folder / "predictions.npy",
        "--params", params, "--out", tmp_path / "out", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    summary, row = json.loads(done.stdout), metrics["folds"][0]
    assert summary["return"] == row["return"]
    assert (summary["trades"], summary["max_drawdown"]) == (row["n_trades"], row["max_drawdown"])
    marks = np.load(tmp_path / "out/marks.npy")
    assert marks.dtype == MARK
    assert marks.tobytes() == np.load(artifacts / "backtest/fold_0/marks.npy").tobytes()
    assert len((tmp_path / "out/trades.csv").read_text().splitlines()) == 1 + summary["trades"]
    assert len((tmp_path / "out/equity.csv").read_text().splitlines()) > 1000
    assert json.loads((tmp_path / "out/summary.json").read_text()) == summary


def test_a_rule_needs_no_model(artifacts: Path, params: Path) -> None:
    done = run("backtest", "--tape", artifacts / "data/market.tape", "--strategy", "sma", "--params", params)
    assert done.exit_code == 0, done.output
    for word in ("round trips", "largest drawdown", "Sharpe", "fees", "hit rate", "exposure", "buy and hold"):
        assert word in done.stdout
    again = run("backtest", "--tape", artifacts / "data/market.tape", "--strategy", "sma", "--params", params, "--json")
    assert json.loads(again.stdout)["trades"] > 20


def test_a_model_strategy_without_predictions_is_refused(artifacts: Path, params: Path) -> None:
    done = run("backtest", "--tape", artifacts / "data/market.tape", "--params", params)
    assert isinstance(done.exception, BadInput) and "--predictions" in str(done.exception)


def test_an_unknown_strategy_or_key_is_named(artifacts: Path, params: Path, tmp_path: Path) -> None:
    tape = artifacts / "data/market.tape"
    done = run("backtest", "--tape", tape, "--strategy", "magic", "--params", params)
    assert isinstance(done.exception, BadInput) and "magic" in str(done.exception)
    broken = tmp_path / "params.yaml"
    broken.write_text(yaml.safe_dump({"strategy": as_json(Strategy()) | {"entry_margin": 1}}))
    done = run("backtest", "--tape", tape, "--strategy", "sma", "--params", broken)
    assert isinstance(done.exception, BadConfig) and "entry_margin" in str(done.exception)


def test_errors_end_with_the_documented_codes(tmp_path: Path) -> None:
    (tmp_path / "no.tape").write_bytes(b"nothing")
    done = subprocess.run(
        [sys.executable, "-m", "evaluation", "backtest", "--tape", str(tmp_path / "no.tape")],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 31
    assert "not a tape" in done.stderr and "Traceback" not in done.stderr


def test_the_report_is_drawn_again_with_a_verdict(artifacts: Path, metrics: dict[str, Any], tmp_path: Path) -> None:
    verdict = tmp_path / "verdict.json"
    verdict.write_text(json.dumps({"verdict": "INSUFFICIENT", "profile": "bar_model", "trials": 1, "gates": {}}))
    out = tmp_path / "report.html"
    done = run("report", "--backtest", artifacts / "backtest", "--verdict", verdict, "--out", out)
    assert done.exit_code == 0, done.output
    assert "INSUFFICIENT" in out.read_text()
    done = run("report", "--backtest", artifacts / "backtest", "--verdict", tmp_path / "none.json", "--out", out)
    assert done.exit_code == 0 and "NOT JUDGED YET" in out.read_text()
