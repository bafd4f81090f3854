"""The judge: every limit at its boundary, three-valued verdicts, nothing passes unanswered."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.statistics import deflated_sharpe
from gates.explain import headline, markdown, what_would_change
from gates.judge import EXIT_CODES, Outcome, as_json, judge
from gates.metrics import Metric, as_metrics
from gates.schema import BAR_MODEL, FIXED_KEYS, MICRO_MODEL, Gate, load_gates
from tests.gates.checkout import PASSING, ROOT, changed

GATES = load_gates(ROOT / "gates" / "gates.yaml")
BAR_GATES = GATES.profile(BAR_MODEL)


def verdict_of(table: dict[str, Any], trials: tuple[float, ...] = (0.4,)):
    return judge(as_metrics(table), BAR_GATES, trials, profile=BAR_MODEL)


def row_of(table: dict[str, Any], gate: str, trials: tuple[float, ...] = (0.4,)):
    return next(row for row in verdict_of(table, trials).rows if row.gate.name == gate)


def test_a_good_model_passes_and_the_stress_row_only_informs() -> None:
    verdict = verdict_of(PASSING)
    assert verdict.outcome is Outcome.PASS and verdict.exit_code == 0
    assert row_of(PASSING, "expectancy_2x_cost_bps_min").result is Outcome.REPORTED
    assert verdict_of(changed("expectancy_2x_cost_bps", value=-50.0)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("metric", "field", "passes", "fails"),
    [
        ("skill_over_climatology", "lower", 1e-9, 0.0),
        ("direction_skill", "lower", 1e-9, 0.0),
        ("expectancy_bps", "lower", 1e-9, 0.0),
        ("ece_debiased", "upper", 0.03, 0.0300001),
        ("max_drawdown", "value", 0.0599999, 0.06),
        ("latency_p99_ms", "value", 1.0, 1.0001),
        ("onnx_parity", "value", 1e-5, 1.01e-5),
        ("paper_parity", "value", 1, 0),
    ],
)
def test_each_bar_gate_at_its_boundary(metric: str, field: str, passes: float, fails: float) -> None:
    assert verdict_of(changed(metric, **{field: passes})).outcome is Outcome.PASS
    verdict = verdict_of(changed(metric, **{field: fails}))
    assert verdict.outcome is Outcome.FAIL and verdict.exit_code == 10
    assert [row.gate.metric for row in verdict.rows if row.result is Outcome.FAIL] == [metric]


@pytest.mark.parametrize(
    ("metric", "needed"),
    [(gate.metric, gate.min_n) for gate in BAR_GATES if gate.min_n and gate.metric != "deflated_sharpe"],
)
def test_each_sample_size_at_its_boundary(metric: str, needed: int) -> None:
    assert verdict_of(changed(metric, n=needed)).outcome is Outcome.PASS
    verdict = verdict_of(changed(metric, n=needed - 1))
    assert verdict.outcome is Outcome.INSUFFICIENT and verdict.exit_code == 20


def test_the_fixed_gates_at_their_boundaries() -> None:
    """The limits of the specification, inclusive on both sides; every one fails alone when just beyond."""
    gates = GATES.profile(MICRO_MODEL)
    assert {gate.name.partition(".")[0] for gate in gates} == set(FIXED_KEYS)
    at_limit = {gate.metric: Metric(value=gate.limit, n=1) for gate in gates}
    assert judge(at_limit, gates, [0.0], profile=MICRO_MODEL).outcome is Outcome.PASS
    for gate in gates:
        assert gate.limit is not None
        beyond = gate.limit + (0.0001 if gate.direction == "max" else -0.0001)
        verdict = judge(at_limit | {gate.metric: Metric(value=beyond)}, gates, [0.0], profile=MICRO_MODEL)
        assert [row.gate.name for row in verdict.rows if row.result is Outcome.FAIL] == [gate.name]
        missing = {name: metric for name, metric in at_limit.items() if name != gate.metric}
        assert judge(missing, gates, [0.0], profile=MICRO_MODEL).exit_code == 30


@pytest.mark.parametrize("metric", [gate.metric for gate in BAR_GATES])
def test_an_unmeasured_metric_is_an_error_that_names_it(metric: str) -> None:
    source = "sharpe_daily" if metric == "deflated_sharpe" else metric
    verdict = verdict_of({name: value for name, value in PASSING.items() if name != source})
    assert verdict.outcome is Outcome.ERROR and verdict.exit_code == 30
    assert any(metric in line for line in verdict.obstacles())


def test_undefined_missing_and_unbounded_are_told_apart() -> None:
    undefined = changed("expectancy_bps", value=None, lower=None, upper=None)
    assert row_of(undefined, "expectancy_bps_min").result is Outcome.INSUFFICIENT
    no_trades = changed("expectancy_bps", value=None, lower=None, upper=None, n=0)
    assert row_of(no_trades, "expectancy_bps_min").result is Outcome.INSUFFICIENT
    assert row_of(changed("expectancy_bps", lower=None), "expectancy_bps_min").result is Outcome.ERROR
    infinite = judge(
        {"x": Metric(value=math.inf)}, [Gate(name="x_min", metric="x", direction="min", limit=0)], [], profile="p"
    )
    assert infinite.outcome is Outcome.ERROR


def test_gravest_result_wins() -> None:
    few_and_bad = changed("expectancy_bps", n=3) | {"max_drawdown": PASSING["max_drawdown"] | {"value": 0.5}}
    assert verdict_of(few_and_bad).outcome is Outcome.FAIL
    unmeasured = {name: value for name, value in few_and_bad.items() if name != "paper_parity"}
    assert verdict_of(unmeasured).outcome is Outcome.ERROR


def test_nothing_decided_is_not_a_pass() -> None:
    reported = Gate(name="x_min", metric="x", direction="min", limit=None)
    assert judge({"x": Metric(value=1.0)}, [reported], [], profile="p").outcome is Outcome.ERROR
    assert judge({}, [], [], profile="p").outcome is Outcome.ERROR


def test_the_sharpe_ratio_is_deflated_by_the_trials() -> None:
    one, many = (0.2,), (0.2, -0.3, 0.5, 0.1, -0.4, 0.3)
    table = changed("sharpe_daily", value=0.2)
    assert row_of(table, "deflated_sharpe_min", one).decided_on == deflated_sharpe(0.2, 120, 0.1, 4.0, one)
    assert row_of(table, "deflated_sharpe_min", one).result is Outcome.PASS
    assert row_of(table, "deflated_sharpe_min", many).result is Outcome.FAIL
    assert row_of(changed("sharpe_daily", n=29), "deflated_sharpe_min").result is Outcome.INSUFFICIENT
    assert row_of(changed("sharpe_daily", skew=None), "deflated_sharpe_min").result is Outcome.INSUFFICIENT


numbers = st.none() | st.floats(-2, 2, allow_nan=False)
metric_values = st.builds(Metric, value=numbers, lower=numbers, upper=numbers, n=st.integers(0, 200))
gate_lists = st.lists(
    st.builds(
        Gate,
        name=st.sampled_from(["a_min", "b_max", "c_min"]),
        metric=st.sampled_from(["a", "b", "c"]),
        direction=st.sampled_from(["min", "max"]),
        limit=st.none() | st.floats(-1, 1),
        bound=st.sampled_from(["value", "lower", "upper"]),
        min_n=st.integers(0, 100),
        exclusive=st.booleans(),
    ),
    max_size=4,
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), metric_values), gate_lists)
def test_pass_means_every_deciding_gate_was_answered_and_holds(metrics: dict[str, Metric], gates: list[Gate]) -> None:
    """A slow, obvious reading of the rules beside the judge's."""
    verdict = judge(metrics, gates, [0.0], profile="p")
    deciding = [gate for gate in gates if gate.limit is not None]
    obvious = bool(deciding) and all(gate.metric in metrics for gate in gates)
    for gate in deciding:
        metric = metrics.get(gate.metric)
        number = getattr(metric, gate.bound) if metric else None
        if metric is None or number is None or metric.value is None or metric.n < gate.min_n:
            obvious = False
        elif gate.direction == "min":
            obvious &= number > gate.limit or (number == gate.limit and not gate.exclusive)
        else:
            obvious &= number < gate.limit or (number == gate.limit and not gate.exclusive)
    assert (verdict.outcome is Outcome.PASS) == obvious
    assert verdict.exit_code == EXIT_CODES[verdict.outcome]
    assert len(markdown(verdict).splitlines()) == len(gates) + 4
    assert set(as_json(verdict)["gates"]) == {gate.name for gate in gates}
    for row in verdict.rows:
        assert what_would_change(row)


def test_explanations_say_what_would_change_the_result() -> None:
    few = what_would_change(row_of(changed("expectancy_bps", n=60), "expectancy_bps_min"))
    assert few.startswith("40 more observations")
    wide = what_would_change(row_of(changed("expectancy_bps", value=4.0, lower=-4.0), "expectancy_bps_min"))
    assert "must rise by 4" in wide and "4.0 times as many observations" in wide
    wrong = what_would_change(row_of(changed("expectancy_bps", value=-1.0, lower=-4.0), "expectancy_bps_min"))
    assert "would not help" in wrong
    assert "rose by more than 0.04" in what_would_change(row_of(PASSING, "max_drawdown_max"))
    assert headline(verdict_of(PASSING)) == "PASS on profile bar_model: 9 pass, 1 reported; 1 trial counted"
