"""Verdicts in words: per gate what was measured, why the gate exists and what would change its result."""

import math
from typing import Final

from rich.console import Console
from rich.table import Table

from gates.judge import Outcome, Row, Verdict
from gates.schema import Gate

_COLUMNS: Final = ("gate", "result", "value", "interval", "n", "needed")
_COLOURS: Final = {Outcome.PASS: "green", Outcome.FAIL: "red", Outcome.INSUFFICIENT: "yellow", Outcome.ERROR: "red"}


def cells(row: Row) -> tuple[str, ...]:
    """One row of the gate table, as text: gate, result, value, interval, n, what is needed."""
    metric = row.metric
    value = interval = observations = "-"
    if metric is not None:
        unit = "" if metric.unit in ("", "1") else f" {metric.unit}"
        value = number(metric.value) + (unit if metric.value is not None else "")
        observations = f"{metric.n:,}"
        if metric.lower is not None or metric.upper is not None:
            interval = f"[{number(metric.lower)}, {number(metric.upper)}]"
    return row.gate.name, row.result.value, value, interval, observations, needed(row.gate)


def needed(gate: Gate) -> str:
    """The gate's condition, such as ``lower > 0, n ≥ 100``."""
    if gate.limit is None:
        return "reported"
    condition = f"{gate.bound} {gate.relation} {number(gate.limit)}"
    return condition + (f", n ≥ {gate.min_n:,}" if gate.min_n else "")


def number(value: float | None) -> str:
    """Four significant digits; a dash for what is undefined."""
    return "-" if value is None else f"{value:.4g}"


def headline(verdict: Verdict) -> str:
    """The verdict in one line."""
    count = f"{verdict.trials} trial" + ("s" if verdict.trials != 1 else "")
    counted = {result: sum(row.result is result for row in verdict.rows) for result in Outcome}
    parts = ", ".join(f"{n} {result.value.lower()}" for result, n in counted.items() if n)
    return f"{verdict.outcome.value} on profile {verdict.profile}: {parts}; {count} counted"


def markdown(verdict: Verdict) -> str:
    """The gate table for a job summary."""
    lines = [f"**{headline(verdict)}**", "", "| " + " | ".join(_COLUMNS) + " |", "|" + " --- |" * len(_COLUMNS)]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in verdict.rows]
    return "\n".join(lines) + "\n"


def console() -> Console:
    """Standard output; wide when it is a file or a job's log, where nothing forces a narrow table."""
    out = Console()
    return out if out.is_terminal else Console(width=160)


def print_table(verdict: Verdict) -> None:
    """The gate table on the terminal, then what stands in the way."""
    table = Table()
    for name in _COLUMNS:
        table.add_column(name, no_wrap=name in ("gate", "result"))
    for row in verdict.rows:
        name, result, *rest = cells(row)
        table.add_row(name, f"[{_COLOURS.get(row.result, 'dim')}]{result}[/]", *rest)
    out = console()
    out.print(table)
    out.print(headline(verdict), style=f"bold {_COLOURS[verdict.outcome]}")
    for line in verdict.obstacles():
        out.print(f"  {line}", markup=False, highlight=False)


def sentences(row: Row) -> list[str]:
    """What was measured, why the gate exists, what would change the result."""
    name, result, value, interval, observations, condition = cells(row)
    measured = f"{row.gate.metric} = {value}, interval {interval}, n {observations}; needs {condition}"
    lines = [f"{name}: {result}", f"  measured  {measured}"]
    if row.gate.why:
        lines.append(f"  why       {row.gate.why}")
    lines.append(f"  change    {what_would_change(row)}")
    return lines


def what_would_change(row: Row) -> str:
    """What it would take for this row to pass, or how far it is from not passing."""
    gate, metric, decided_on = row.gate, row.metric, row.decided_on
    if row.result is Outcome.REPORTED:
        return "nothing: it is shown only"
    if row.result is Outcome.ERROR or metric is None:
        return f"{row.reason}: the stage that measures it must run and succeed"
    if metric.n < gate.min_n:
        return f"{gate.min_n - metric.n:,} more observations: a longer test period or more instruments"
    if metric.value is None or decided_on is None or gate.limit is None:
        return f"{row.reason}: it needs a sample on which it is defined (trades, spread)"
    distance = number(abs(decided_on - gate.limit))
    what = "value" if gate.bound == "value" else f"{gate.bound} bound"
    better, worse = ("rise", "fell") if gate.direction == "min" else ("fall", "rose")
    if row.result is Outcome.PASS:
        return f"it would fail if its {what} {worse} by more than {distance}"
    return f"its {what} must {better} by {distance}" + _more_data(row, metric.value, decided_on, gate.limit)


def _more_data(row: Row, value: float, bound: float, limit: float) -> str:
    """An interval narrows with the square root of n: at the same value, how many times n moves the bound there?"""
    if row.gate.bound == "value":
        return ""
    if not row.gate.holds(value) or value == limit:
        return "; the value itself is on the wrong side, so more data of this kind would not help"
    factor = ((value - bound) / (value - limit)) ** 2
    return f", or the same value on about {math.ceil(factor * 10) / 10:.1f} times as many observations"
