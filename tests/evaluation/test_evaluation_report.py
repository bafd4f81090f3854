"""The tearsheet: self-contained, complete, the same bytes for the same input, and honest about the verdict."""

import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from core.errors import BadInput
from evaluation import figures, results
from evaluation.report import interval, render, value

Case = tuple[dict[str, Any], dict[str, Any]]

VERDICT = {
    "version": 1,
    "verdict": "FAIL",
    "profile": "bar_model",
    "trials": 3,
    "gates": {
        "expectancy_bps_min": {
            "result": "FAIL",
            "value": -1.5,
            "lower": -4.0,
            "upper": 1.0,
            "n": 120,
            "unit": "bps",
            "bound": "lower",
            "limit": 0.0,
            "min_n": 100,
            "reason": "lower bound -4 must be > 0 <script>alert(1)</script>",
            "why": "costs",
        },
        "shown_max": {
            "result": "REPORTED",
            "value": None,
            "lower": None,
            "upper": None,
            "n": 0,
            "unit": "",
            "bound": "value",
            "limit": None,
            "min_n": 0,
            "reason": "shown, does not decide",
            "why": "",
        },
    },
}


@pytest.fixture(scope="module")
def case(metrics: dict[str, Any], artifacts: Path) -> Case:
    return results.read(artifacts / "backtest")


def shown(page: str) -> str:
    """The page without Plotly's own script."""
    return re.sub(r"<script>.*?</script>", "", page, count=1, flags=re.DOTALL)


def test_the_stage_wrote_what_render_gives(case: Case, artifacts: Path) -> None:
    page = (artifacts / "backtest/report.html").read_text()
    assert page == render(*case, None)
    assert "NOT JUDGED YET" in page


def test_nothing_is_loaded_from_anywhere(case: Case) -> None:
    page = render(*case, VERDICT)
    body = shown(page)
    assert "default-src 'none'" in page
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", body)
    assert "://" not in body and "@import" not in body and "url(" not in body
    assert page.count("plotly.js v") <= 2, "the library is embedded once"


def test_the_verdict_leads_and_names_its_gates(case: Case) -> None:
    body = shown(render(*case, VERDICT))
    assert body.index("FAIL") < body.index("Total return")
    assert "expectancy_bps_min" in body and "3 trials counted" in body
    assert "<script>alert" not in body and "&lt;script&gt;alert" in body, "text is escaped"


def test_scores_carry_their_interval_and_their_n(case: Case) -> None:
    body = shown(render(*case, None))
    for name, entry in case[0]["metrics"].items():
        assert f"<td>{name}</td><td>{value(entry)}</td><td>{interval(entry)}</td><td>{entry['n']:,}</td>" in body


def test_all_parts_are_there(case: Case) -> None:
    body = shown(render(*case, None))
    for part in ("account", "reliability", "costs", "months", "folds"):
        assert f'<div id="{part}"' in body
    for name in ("buy and hold", "logistic", "climatology", "persistence", "sma", "mean revert"):
        assert f"<td>{name}</td>" in body
    assert body.count("<tr") > 40


def test_figures_are_valid_plotly_and_use_the_page_s_colours(case: Case) -> None:
    metrics, tables = case
    css = (Path(figures.__file__).parent / "page/tearsheet.css").read_text()
    defined = set(re.findall(r"(--[a-z-]+):", css))
    for figure in (
        figures.account(tables["equity"], tables["drawdown"]),
        figures.reliability(tables["reliability"]),
        figures.costs(metrics["costs"]),
        figures.fold_returns(metrics["folds"]),
        figures.monthly_returns(tables["equity"]),
    ):
        text = json.dumps(figure, allow_nan=False)
        used = set(re.findall(r'"(--[a-z-]+)"', text))
        assert used <= defined
        go.Figure(json.loads(re.sub(r'"--[a-z-]+"', '"#123456"', text)))


def test_monthly_returns_by_hand() -> None:
    equity = [
        {"time": "2024-01-30T00:00:00Z", "net": "1.05"},
        {"time": "2024-01-31T00:00:00Z", "net": "1.1"},
        {"time": "2024-02-01T00:00:00Z", "net": "0.99"},
    ]
    bars = figures.monthly_returns(equity)["data"][0]
    assert bars["x"] == ["2024-01", "2024-02"]
    assert bars["y"] == pytest.approx([0.1, -0.1])
    assert bars["marker"]["color"] == ["--good", "--bad"]


def test_a_run_without_trades_still_has_a_tearsheet(case: Case) -> None:
    metrics = json.loads(json.dumps(case[0]))
    for name in ("expectancy_bps", "win_rate"):
        metrics["metrics"][name] |= {"value": None, "lower": None, "upper": None, "n": 0}
    assert "undefined" in shown(render(metrics, case[1], None))


def test_values_read_as_their_unit() -> None:
    entry = {"value": 0.12345, "lower": 0.1, "upper": 0.2, "n": 3, "unit": "share"}
    assert (value(entry), interval(entry)) == ("12.35%", "10.00% to 20.00%")
    bps = entry | {"unit": "bps"}
    assert (value(bps), interval(bps)) == ("0.123 bps", "0.1 to 0.2 bps")
    assert value(entry | {"value": None}) == "undefined"
    assert interval(entry | {"lower": None}) == "no interval"


def test_missing_results_name_the_stage(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="dvc repro backtest"):
        results.read(tmp_path)


def test_a_report_without_one_of_its_baselines_is_refused(case: Case, artifacts: Path, tmp_path: Path) -> None:
    shutil.copytree(artifacts / "backtest/plots", tmp_path / "plots")
    for name in ("persistence", "sma", "mean_revert"):
        kept = {other: table for other, table in case[0]["baselines"].items() if other != name}
        (tmp_path / "metrics.json").write_text(json.dumps({**case[0], "baselines": kept}))
        with pytest.raises(BadInput, match=f"evaluated without {name};"):
            results.read(tmp_path)


def test_tables_hold_the_account_hour_by_hour(case: Case) -> None:
    equity = case[1]["equity"]
    seconds = [int(datetime.fromisoformat(row["time"]).timestamp()) for row in equity]
    hours = [(second - 1) // 3600 for second in seconds]
    assert hours == sorted(set(hours)) and len(hours) > 150
    assert float(equity[-1]["net"]) == pytest.approx(1 + case[0]["metrics"]["return_total"]["value"], rel=1e-6)
    assert len(case[1]["trades"]) == case[0]["metrics"]["n_trades"]["value"]
