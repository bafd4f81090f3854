"""The judge: metrics x gates x trials -> verdict. Pure; everything it uses is an argument.

Per gate, in this order: the metric is missing -> ERROR; fewer observations than ``min_n``, or a value the evaluation
could not define on its sample -> INSUFFICIENT; the bound is missing -> ERROR; else PASS or FAIL by the limit. Over all
gates ERROR beats FAIL beats INSUFFICIENT beats PASS: what is known to be bad is said before what is not known, and
nothing passes on a question that was not answered.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from core.errors import BadInput
from evaluation.statistics import deflated_sharpe
from gates.metrics import Metric
from gates.schema import Gate


class Outcome(StrEnum):
    """The result of a gate or of all of them. REPORTED never decides."""

    PASS = "PASS"
    FAIL = "FAIL"
    INSUFFICIENT = "INSUFFICIENT"
    ERROR = "ERROR"
    REPORTED = "REPORTED"


EXIT_CODES: Final = {Outcome.PASS: 0, Outcome.FAIL: 10, Outcome.INSUFFICIENT: 20, Outcome.ERROR: 30}
_GRAVEST_FIRST: Final = (Outcome.ERROR, Outcome.FAIL, Outcome.INSUFFICIENT)


@dataclass(frozen=True, slots=True)
class Row:
    """One gate's result: what was measured, which number decided, and the reason in words."""

    gate: Gate
    metric: Metric | None
    result: Outcome
    reason: str

    @property
    def decided_on(self) -> float | None:
        """The end of the interval that the gate looks at."""
        return None if self.metric is None else getattr(self.metric, self.gate.bound)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All rows and what follows from them."""

    outcome: Outcome
    profile: str
    rows: tuple[Row, ...]
    trials: int

    @property
    def exit_code(self) -> int:
        """What ``python -m gates check`` ends with."""
        return EXIT_CODES[self.outcome]

    def obstacles(self) -> list[str]:
        """The rows that stand in the way, one line each."""
        return [f"{row.gate.name}: {row.reason}" for row in self.rows if row.result in _GRAVEST_FIRST]


def judge(
    metrics: Mapping[str, Metric], gates: Sequence[Gate], trial_sharpes: Sequence[float], *, profile: str
) -> Verdict:
    """Hold ``metrics`` against ``gates``. ``trial_sharpes``: daily Sharpe ratios of all trials, this one included."""
    measured = {**metrics, **derived(metrics, trial_sharpes)}
    rows = tuple(_row(gate, measured.get(gate.metric)) for gate in gates)
    results = {row.result for row in rows}
    outcome = next((result for result in _GRAVEST_FIRST if result in results), Outcome.PASS)
    if Outcome.PASS not in results and outcome is Outcome.PASS:
        outcome = Outcome.ERROR  # no gate decided anything
    return Verdict(outcome=outcome, profile=profile, rows=rows, trials=len(trial_sharpes))


def derived(metrics: Mapping[str, Metric], trial_sharpes: Sequence[float]) -> dict[str, Metric]:
    """Metrics that need more than one run to be known."""
    sharpe = metrics.get("sharpe_daily")
    return {} if sharpe is None else {"deflated_sharpe": _deflated(sharpe, trial_sharpes)}


def _deflated(sharpe: Metric, trial_sharpes: Sequence[float]) -> Metric:
    """Undefined without a Sharpe ratio, its moments or two days; see evaluation.statistics for the formula."""
    undefined = Metric(value=None, n=sharpe.n, unit="probability")
    if sharpe.value is None or sharpe.skew is None or sharpe.kurtosis is None:
        return undefined
    try:
        value = deflated_sharpe(sharpe.value, sharpe.n, sharpe.skew, sharpe.kurtosis, trial_sharpes)
    except BadInput:
        return undefined
    return Metric(value=value, n=sharpe.n, unit="probability")


def _row(gate: Gate, metric: Metric | None) -> Row:
    if metric is None:
        return Row(gate, None, Outcome.ERROR, f"{gate.metric} was not measured")
    number: float | None = getattr(metric, gate.bound)
    if not all(math.isfinite(item) for item in (metric.value, number) if item is not None):
        return Row(gate, metric, Outcome.ERROR, f"{gate.metric} is not a finite number")
    if gate.limit is None:
        return Row(gate, metric, Outcome.REPORTED, "shown, does not decide")
    if metric.n < gate.min_n:
        return Row(gate, metric, Outcome.INSUFFICIENT, f"{metric.n} observations, {gate.min_n} needed")
    if metric.value is None:
        return Row(gate, metric, Outcome.INSUFFICIENT, f"{gate.metric} is undefined on this sample")
    if number is None:
        return Row(gate, metric, Outcome.ERROR, f"{gate.metric} has no {gate.bound} bound")
    wanted = f"{gate.relation} {gate.limit:.6g}"
    what = "" if gate.bound == "value" else f"{gate.bound} bound "
    result, relation = (Outcome.PASS, "is") if gate.holds(number) else (Outcome.FAIL, "must be")
    return Row(gate, metric, result, f"{what}{number:.6g} {relation} {wanted}")


def as_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as plain data, gates by name: the form of ``verdict.json`` and of ``--json``."""
    return {
        "version": 1,
        "verdict": verdict.outcome.value,
        "profile": verdict.profile,
        "trials": verdict.trials,
        "gates": {row.gate.name: _row_json(row) for row in verdict.rows},
    }


def _row_json(row: Row) -> dict[str, Any]:
    metric = row.metric or Metric(value=None)
    return {
        "result": row.result.value,
        "value": metric.value,
        "lower": metric.lower,
        "upper": metric.upper,
        "n": metric.n,
        "unit": metric.unit,
        "bound": row.gate.bound,
        "limit": row.gate.limit,
        "min_n": row.gate.min_n,
        "reason": row.reason,
        "why": row.gate.why,
    }
