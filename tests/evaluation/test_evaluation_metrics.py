"""The metric table: complete, reproducible whatever the worker count, and unable to praise noise."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from core.errors import BadInput
from core.records import DAY_NS
from evaluation.backtest import FoldResult
from evaluation.metrics import BASELINES, measure, trade_metrics, with_rehearsal
from evaluation.rehearsal import Rehearsal
from evaluation.settings import EvaluationParams
from evaluation.statistics import Bootstrap
from evaluation.trades import TRIP
from gates.metrics import load_metrics
from gates.schema import load_gates
from pipelines.backtest import backtest, read_parity
from tests.evaluation.artifacts import ROOT, small_params

SETTINGS = EvaluationParams(bootstrap_draws=200, bootstrap_block_days=2)


def table(folds: list[FoldResult], seed: int = 7) -> dict[str, Any]:
    return measure(folds, SETTINGS, seed, 1e-7)


def timeless(metrics: dict[str, Any]) -> str:
    entries = {name: item for name, item in metrics["metrics"].items() if name != "latency_p99_ms"}
    return json.dumps(metrics | {"metrics": entries, "timing": None}, sort_keys=True)


def test_every_gate_finds_its_metric(metrics: dict[str, Any], artifacts: Path) -> None:
    measured = load_metrics(artifacts / "backtest/metrics.json")[0].metrics
    wanted = {gate.metric for gate in load_gates(ROOT / "gates/gates.yaml").profile("bar_model")} - {"deflated_sharpe"}
    assert wanted <= set(measured)
    assert measured["sharpe_daily"].skew is not None and measured["sharpe_daily"].kurtosis is not None
    for name in ("skill_over_climatology", "expectancy_bps", "ece_debiased"):
        assert measured[name].lower <= measured[name].value <= measured[name].upper


def test_the_worker_count_changes_nothing_but_times(metrics: dict[str, Any], artifacts: Path, tmp_path: Path) -> None:
    for name in ("calibrated", "features", "data"):
        (tmp_path / name).symlink_to(artifacts / name)
    again = backtest(msgspec.structs.replace(small_params(), workers=2), tmp_path)
    assert timeless(again) == timeless(metrics)
    assert again["timing"] != metrics["timing"], "times are measured, not made up"
    for name in ("equity", "drawdown", "reliability", "trades"):
        table = f"backtest/plots/{name}.csv"
        assert (tmp_path / table).read_bytes() == (artifacts / table).read_bytes()
    for name in ("fold_0/out.npy", "fold_1/marks.npy"):
        assert (tmp_path / "backtest" / name).read_bytes() == (artifacts / "backtest" / name).read_bytes()


def test_the_seed_moves_intervals_and_no_value(folds: list[FoldResult]) -> None:
    one, two = table(folds, seed=1)["metrics"], table(folds, seed=2)["metrics"]
    moved = {name for name in one if one[name]["value"] != two[name]["value"]}
    assert moved <= {"ece_debiased"}, "its bias is taken off by the bootstrap's own variance"
    assert one["skill_over_climatology"]["lower"] != two["skill_over_climatology"]["lower"]


def test_the_fixture_has_skill_and_scrambled_labels_have_none(folds: list[FoldResult]) -> None:
    assert table(folds)["metrics"]["skill_over_climatology"]["lower"] > 0
    generator = np.random.default_rng(5)
    scrambled = []
    for fold in folds:
        order = generator.permutation(len(fold.forecasts))
        rows = replace(fold.forecasts, label=fold.forecasts.label[order], direction=fold.forecasts.direction[order])
        scrambled.append(replace(fold, forecasts=rows))
    null = table(scrambled)["metrics"]
    assert null["skill_over_climatology"]["lower"] < 0
    assert null["directional_accuracy"]["lower"] < 0.5 < null["directional_accuracy"]["upper"] + 0.02


def expectancy(mean_bps: float, seed: int, *, days: int = 60, per_day: int = 5) -> dict[str, Any]:
    """The expectancy of round trips of 1,000,000 units with a known mean and a spread of 100 bps."""
    generator = np.random.default_rng(seed)
    trips = np.zeros(days * per_day, TRIP)
    trips["ts_entry"] = np.arange(len(trips)) // per_day * DAY_NS + 1
    trips["ts_exit"] = trips["ts_entry"] + 3_600_000_000_000
    trips["entry_notional"] = 1_000_000
    trips["pnl"] = generator.normal(mean_bps, 100, len(trips)) * 100
    bootstrap = Bootstrap.over_days(days, block_days=3, draws=300, confidence=0.95, seed=seed)
    return trade_metrics(trips, np.arange(days), bootstrap)["expectancy_bps"]


def test_trades_at_random_rarely_pass_for_an_edge_and_an_edge_does() -> None:
    luck = [expectancy(0, seed)["lower"] > 0 for seed in range(60)]
    assert sum(luck) <= 6, (
        "a lower bound of 95 % may lie above zero in 2.5 % of the cases, a short sample a little more"
    )
    assert all(expectancy(40, seed)["lower"] > 0 for seed in range(20))


def test_without_trades_the_trade_metrics_are_undefined_and_the_rest_stands(folds: list[FoldResult]) -> None:
    def idle(fold: FoldResult) -> FoldResult:
        still = replace(fold.model.curve, growth=np.ones(len(fold.model.curve.ts)))
        none = replace(fold.model, trips=fold.model.trips[:0], curve=still, slippage=0)
        return replace(fold, model=none, stress=dict.fromkeys(fold.stress, none))

    found = table([idle(fold) for fold in folds])
    metrics = found["metrics"]
    for name in ("expectancy_bps", "win_rate", "holding_hours"):
        assert (metrics[name]["value"], metrics[name]["n"]) == (None, 0)
    assert metrics["sharpe_daily"]["value"] == 0.0 and metrics["max_drawdown"]["value"] == 0.0
    assert metrics["skill_over_climatology"]["value"] is not None
    json.dumps(found, allow_nan=False)


def test_cost_breakdown_adds_up(folds: list[FoldResult]) -> None:
    costs = table(folds)["costs"]
    assert costs["gross"] - costs["fees"] - costs["slippage"] == pytest.approx(costs["net"])
    assert min(costs["fees"], costs["slippage"]) > 0


def test_folds_and_whole_agree(folds: list[FoldResult]) -> None:
    found = table(folds)
    growth = np.prod([1 + row["return"] for row in found["folds"]])
    assert found["metrics"]["return_total"]["value"] == pytest.approx(growth - 1)
    assert found["metrics"]["n_trades"]["value"] == sum(row["n_trades"] for row in found["folds"])
    assert found["metrics"]["max_drawdown"]["value"] >= max(row["max_drawdown"] for row in found["folds"]) - 1e-12
    assert sum(found["decisions"].values()) == found["metrics"]["decision_flips"]["n"]
    assert found["stress"]["1"]["expectancy_bps"] == found["metrics"]["expectancy_bps"]
    assert found["metrics"]["expectancy_2x_cost_bps"]["value"] < found["metrics"]["expectancy_bps"]["value"]


def test_overlapping_labels_count_for_less_than_their_number(folds: list[FoldResult]) -> None:
    metrics = table(folds)["metrics"]
    n, rows = metrics["skill_over_climatology"]["n"], metrics["n_predictions"]["value"]
    assert rows / 3 <= n < rows / 2.9, "a 15-minute label over 5-minute bars shares its life with two neighbours"


def test_baselines_are_all_there(folds: list[FoldResult]) -> None:
    expected = {"persistence", "climatology", "logistic", "sma", "mean_revert", "buy_and_hold"}
    assert set(table(folds)["baselines"]) == set(BASELINES) == expected


@pytest.mark.parametrize("name", ["sma", "mean_revert"])
def test_a_baseline_that_did_not_trade_stops_the_stage(folds: list[FoldResult], name: str) -> None:
    rules = {rule: account for rule, account in folds[0].rules.items() if rule != name}
    with pytest.raises(BadInput, match=f"fold 0 was not traded by the baseline {name}"):
        table([replace(folds[0], rules=rules), *folds[1:]])


def test_what_the_rehearsal_found_is_added_apart(folds: list[FoldResult]) -> None:
    times = np.arange(1, 1001, dtype=np.int64) * 1000
    found = with_rehearsal(table(folds), Rehearsal(True, False, times, 2 * times))
    assert found["metrics"]["paper_parity"]["value"] == 0
    assert found["metrics"]["latency_p99_ms"]["value"] == pytest.approx(0.99001)
    assert found["timing"]["bar_wall_ms"]["p50"] == pytest.approx(1.001)


def test_a_missing_measurement_stops_the_stage(tmp_path: Path) -> None:
    for content in (None, "{}", "not json"):
        path = tmp_path / "metrics.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(BadInput, match="calibrate"):
            read_parity(path)
