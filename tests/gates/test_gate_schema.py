"""The gate file: the fixed keys verbatim, and anything odd stops everything."""

from pathlib import Path

import pytest
import yaml

from core.canonical import sha256_hex
from core.errors import BadConfig
from gates.schema import BAR_MODEL, load_gates
from tests.gates.checkout import ROOT

PATH = ROOT / "gates" / "gates.yaml"

FIXED = {
    "retention_f1_drop_pct": {"ev1": 3.0, "ev5": 4.0, "ev20": 5.0},
    "fx_gain_f1_min_pct": {"ev1": 3.0, "ev5": 3.0, "ev20": 3.0},
    "ece_max": 0.08,
    "brier_max": 0.19,
    "alpha_after_fees_bps_min": {"ev1": 0.2, "ev5": 0.5, "ev20": 0.7},
    "session_var_spread_pct_max": 35.0,
    "latency_p99_ms": {"adapter": 0.50, "model": 0.35, "total": 0.85},
    "psi_max": 0.25,
    "turnover_match_pct": 10,
    "planner_edge_realization_corr_min": 0.20,
    "exploitability_gap_wow_delta_max": -0.0,
}


def test_the_fixed_keys_and_limits_are_verbatim() -> None:
    data = yaml.safe_load(PATH.read_text())
    assert data["gates"] == FIXED
    assert data["actions_on_fail"] == ["reject", "fallback_previous_model"]
    assert load_gates(PATH).sha256 == sha256_hex(PATH.read_bytes())


def test_every_bar_gate_says_why_it_exists() -> None:
    gates = load_gates(PATH).profile(BAR_MODEL)
    assert all(len(gate.why) > 40 for gate in gates)
    assert {gate.metric for gate in gates} >= {"skill_over_climatology", "deflated_sharpe", "max_drawdown"}
    assert next(gate for gate in gates if gate.name == "max_drawdown_max").direction == "max"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("  ece_max: 0.08\n", "", "ece_max"),
        ("  ece_max: 0.08\n", "  ece_max: 0.08\n  f1_min: 0.5\n", "f1_min"),
        ("  ece_max: 0.08\n", "  ece_max: 0.08\n  ece_max: 0.5\n", "ece_max"),
        ("  ece_max: 0.08\n", "  ece_max: true\n", "ece_max"),
        ("  ece_max: 0.08\n", "  ece_max: .nan\n", "ece_max"),
        ("  ece_max: 0.08\n", "  ece_max: {}\n", "ece_max"),
        ("  ece_max: 0.08\n", "  ece_max:\n", "ece_max"),
        ("{ev1: 3.0, ev5: 4.0, ev20: 5.0}", "{ev1: 3.0, ev5: , ev20: 5.0}", "retention_f1_drop_pct.ev5"),
        ("      limit: 0.95\n", "      limit:\n", "deflated_sharpe_min"),
        ("      limit: 0.95\n", "", "deflated_sharpe_min"),
        ("  ece_max: 0.08\n", "  ece_max: 8e-2\n", "ece_max"),
        ('["reject", "fallback_previous_model"]', '["fallback_previous_model"]', "actions_on_fail"),
        ("  bar_model:\n", "  bar_model: {}\n  other_model:\n", "bar_model"),
        ("  bar_model:\n", "  micro_model:\n", "micro_model"),
        ("    onnx_parity_max:\n", "    onnx_parity:\n", "onnx_parity"),
        ("    onnx_parity_max:\n", "    onnx_min_parity_max:\n", "onnx_min_parity_max"),
        ("bound: upper", "bound: median", "bound"),
        ("min_n: 100\n", "min_n: -1\n", "expectancy_bps_min"),
        ("min_n: 100\n", "minn: 100\n", "minn"),
        ("profiles:\n", "profile:\n", "profile"),
    ],
)
def test_a_gate_file_that_is_odd_is_refused_by_name(tmp_path: Path, old: str, new: str, named: str) -> None:
    text = PATH.read_text()
    assert old in text
    path = tmp_path / "gates.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(BadConfig, match=named) as caught:
        load_gates(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "gates: {", "- a"])
def test_what_is_no_gate_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=r"gates\.yaml"):
        load_gates(path)
    with pytest.raises(BadConfig, match=r"missing\.yaml"):
        load_gates(tmp_path / "missing.yaml")


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(BadConfig, match="rl_policy"):
        load_gates(PATH).profile("rl_policy")
