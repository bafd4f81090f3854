"""The documented example of a gate metric runs, and the gate can fail."""

import importlib.util
from pathlib import Path

import pytest

from evaluation.metrics import fold_row
from gates.judge import Outcome, judge
from gates.metrics import as_metrics
from gates.schema import BAR_MODEL, load_gates

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def example():
    path = ROOT / "docs" / "extending" / "gate_metric.py"
    spec = importlib.util.spec_from_file_location("example_gate_metric", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("returns", "result"),
    [
        ((0.1, 0.2, 0.1, 0.0), Outcome.PASS),
        ((0.1, -0.2, 0.1, 0.3), Outcome.PASS),  # on the limit
        ((0.1, -0.2, 0.1, -0.1), Outcome.FAIL),
        ((0.1, -0.2, 0.1), Outcome.INSUFFICIENT),
        ((), Outcome.INSUFFICIENT),
    ],
)
def test_the_example_gate(example, tmp_path: Path, returns: tuple[float, ...], result: Outcome) -> None:
    gate_file = tmp_path / "gates.yaml"
    gate_file.write_text((ROOT / "gates" / "gates.yaml").read_text().rstrip("\n") + example.GATE)
    gates = [gate for gate in load_gates(gate_file).profile(BAR_MODEL) if gate.metric == "losing_folds"]
    entry = example.losing_folds([{"return": value} for value in returns])
    assert judge(as_metrics({"losing_folds": entry}), gates, [0.0], profile=BAR_MODEL).outcome is result
    assert judge({}, gates, [0.0], profile=BAR_MODEL).outcome is Outcome.ERROR  # not measured
    assert '"return"' in Path(fold_row.__code__.co_filename).read_text()  # the key the example reads is still written
