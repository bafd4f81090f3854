"""The promise of the README on a reduced market: data to verdict to promotion to paper to replay, twice the same."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from core.records import PREDICTION, Kind
from runner.home import Home
from runner.reader import open_run
from tests.pipelines import reduced

pytestmark = pytest.mark.xdist_group("graph")


def metrics(checkout: reduced.Checkout) -> dict[str, object]:
    """What was measured, the measured times apart."""
    found = json.loads((checkout.path / "artifacts/backtest/metrics.json").read_text())
    found["metrics"] = {name: entry for name, entry in found["metrics"].items() if "latency" not in name}
    return {name: part for name, part in found.items() if name != "timing"}


def bundle_of(checkout: reduced.Checkout) -> str:
    return (checkout.path / "models/promoted").resolve().name


def paper(checkout: reduced.Checkout, home: Path) -> dict[str, object]:
    """A paper session of the promoted model over the last test fold's tape; its summary."""
    tape = sorted(checkout.path.glob("artifacts/calibrated/fold_*/fold.tape"))[-1]
    checkout.python("-m", "gates", "keys", "export", "--to", str(home / "trust"))
    return json.loads(
        checkout.run(
            "runner", "paper", "--home", str(home), "--bundle", "models/promoted", "--tape", str(tape), "--json"
        )
    )


def test_the_run_ends_in_a_promoted_model(promoted: reduced.Checkout) -> None:
    verdict = json.loads((promoted.path / "artifacts/gate/verdict.json").read_text())
    assert verdict["verdict"] == "PASS"
    registry = json.loads((promoted.path / "models/registry.json").read_text())
    assert bundle_of(promoted) in json.dumps(registry)
    assert (promoted.path / "artifacts/gate/table.md").read_text().count("|") > 20
    report = (promoted.path / "artifacts/gate/report.html").read_text()
    assert "PASS" in report
    assert "Content-Security-Policy\" content=\"default-src 'none'" in report, "the tearsheet must not ask the network"
    assert not re.search(r"<(link|img|iframe|script)[^>]*(src|href)=", report)


def test_a_second_run_does_nothing(promoted: reduced.Checkout) -> None:
    log = (promoted.path / "gates/decisions.jsonl").read_bytes()
    printed = promoted.run("dvc", "repro")
    assert printed.count("didn't change, skipping") == len(reduced.STAGES)
    assert "Running stage" not in printed
    promoted.python("-m", "gates", "promote")
    assert (promoted.path / "gates/decisions.jsonl").read_bytes() == log


def test_paper_trades_what_the_backtest_traded_and_replays(promoted: reduced.Checkout, tmp_path: Path) -> None:
    paper(promoted, tmp_path)
    assert "REPLAY PARITY: TRUE" in promoted.run("runner", "replay", "--home", str(tmp_path))
    promoted.run("runner", "ledger", "verify", "--home", str(tmp_path))
    folder = sorted(promoted.path.glob("artifacts/calibrated/fold_*"))[-1]
    with open_run(Home(tmp_path).latest()) as reader:
        stream = np.concatenate(list(reader.batches()))
    outputs = np.load(promoted.path / "artifacts/backtest" / folder.name / "out.npy")
    traded = stream[~np.isin(stream["kind"], [Kind.SESSION, Kind.BAR, Kind.PREDICTION, Kind.MARK])]
    assert len(outputs) > 100
    assert traded.tobytes() == outputs.tobytes()
    predicted = stream[stream["kind"] == Kind.PREDICTION].view(PREDICTION)
    assert predicted.tobytes() == np.load(folder / "predictions.npy").tobytes()


def test_other_workers_another_process_same_results(
    promoted: reduced.Checkout, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    changes = yaml.safe_load((promoted.path / "params.yaml").read_text())
    flat = {
        f"{section}.{key}" if isinstance(value, dict) else section: inner
        for section, value in changes.items()
        for key, inner in (value.items() if isinstance(value, dict) else [("", value)])
    }
    again = reduced.make(tmp_path_factory.mktemp("again") / "checkout", {**flat, "workers": 2})
    again.stages()
    again.python("-m", "gates", "promote")
    assert metrics(again) == metrics(promoted)
    assert bundle_of(again) == bundle_of(promoted)
    assert paper(again, tmp_path / "b")["head"] == paper(promoted, tmp_path / "a")["head"]


def test_an_experiment_reaches_a_verdict_and_never_promotes(promoted: reduced.Checkout) -> None:
    before = bundle_of(promoted)
    promoted.run("dvc", "exp", "run", "-S", "risk.asset_cap_ppm=100000")
    assert bundle_of(promoted) == before
    trials = list((promoted.path / "trials").glob("*.json"))
    assert len(trials) == 2
    promoted.run("git", "checkout", "-q", "params.yaml")


def test_rollback_needs_a_known_tag(promoted: reduced.Checkout) -> None:
    printed = promoted.run("make", "-o", ".venv/.ready", "rollback-model", "TAG=v9.9.9", code=2)
    assert "v9.9.9" in printed
