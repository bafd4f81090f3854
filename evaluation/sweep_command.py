"""``python -m evaluation sweep``: a grid of settings on one tape, and a table of what came of each point."""

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from core.errors import BadConfig, BadInput
from core.settings import Trading, parse
from evaluation import sweep as sweeps
from evaluation.backtest import load_predictions
from evaluation.grid import grid
from evaluation.inputs import RULES, neutral, read_settings
from evaluation.sweep import Figures, Point, Study
from feeds.tape import Tape
from models.atomic import write_atomic

TRADING: Final = Trading.__struct_fields__
# What else a file may hold that also sets something up outside trading (params.yaml): a misspelt section is an error.
BESIDE: Final = (
    "seed",
    "workers",
    "data",
    "features",
    "labels",
    "event_labels",
    "targets",
    "splits",
    "model",
    "training",
    "evaluation",
)
PIPE_WIDTH: Final = 200  # of the table where no terminal limits it
HORIZON_MINUTES: Final = 15  # of the sigma that sizes a rule, if no labels.horizon_minutes says otherwise


@dataclass(frozen=True, slots=True)
class Column:
    """A figure as the outputs name it, as the table heads it (None: not there) and shows it, and its best end."""

    name: str
    heading: str | None
    value: Callable[[Figures], Any]
    form: Callable[[Any], str]
    is_high_best: bool


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _whole(value: int) -> str:
    return f"{value:,}"


COLUMNS: Final = (
    Column("return", "return", lambda figures: figures.net_return, _percent, True),
    Column("max_drawdown", "drawdown", lambda figures: figures.max_drawdown, _percent, False),
    Column("sharpe_annual", "Sharpe", lambda figures: figures.sharpe_annual, lambda value: f"{value:.2f}", True),
    Column("fills", "fills", lambda figures: figures.fills, _whole, True),
    Column("orders_refused", "refused", lambda figures: figures.orders_refused, _whole, False),
    Column("fees", "fees", lambda figures: figures.fees, lambda value: f"{Decimal(value):,.0f}", False),
    Column("final_equity", None, lambda figures: figures.final_equity, str, True),
    Column("risk_state", "state", lambda figures: figures.risk_state, str, False),
)
SORTS: Final = tuple(column.name for column in COLUMNS if column.name != "risk_state")


def sweep(
    tape: Annotated[Path, typer.Option(help="The tape to trade, of bars or of books.")],
    sets: Annotated[
        list[str], typer.Option("--set", help="key=value,value: a trading setting and what to try. May be repeated.")
    ],
    settings: Annotated[
        Path | None,
        typer.Option(
            help="YAML with account, execution, strategy(s) and risk; params.yaml will do. Default: built in."
        ),
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Overrides strategy.kind. Without --settings: sma on bars, mm1 on books.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="One PREDICTION per bar (predictions.npy), for strategies that trade on a model."),
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per processor.")] = None,
    sort: Annotated[
        str, typer.Option(help=f"Best first by one of {', '.join(SORTS)}; or by a key that is swept, rising.")
    ] = "return",
    top: Annotated[int, typer.Option(min=1, help="How many points the table shows; --json and --out hold all.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Write every point here as CSV.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every point as JSON instead of the table.")] = False,
) -> None:
    """Trade a tape under every combination of settings, on several processes, and list what came of each.

    Every point is one session, from a flat account, of the core that trades live, with all risk checks on. Points that
    are impossible are listed with the reason. The number of processes never changes a result.

    The best of many tries looks better than it is: some of it is luck, and the more points, the more. The deflated
    Sharpe ratio printed below the table is the probability that the best beats what luck alone would show. Try
    the chosen point on a tape that the sweep has not seen.

    Example: python -m evaluation sweep --tape artifacts/data/market.tape --set strategy.fast=5,10,20 --set
    strategy.slow=50,100
    """
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        with console.status("opening and verifying the tape"):
            study = _study(tape, settings, strategy, predictions, sets, Path(scratch))
            keys = [axis.key for axis in study.grid.axes]
            if sort not in (*SORTS, *keys):
                raise BadConfig(f"--sort is {sort!r}; there is {', '.join([*SORTS, *keys])}")
        points = _run(study, jobs or len(os.sched_getaffinity(0)), console)
    ran = ranked([point for point in points if point.figures], keys, sort)
    refused = [point for point in points if not point.figures]
    if not ran:
        raise BadConfig(f"none of the {len(points)} points can be traded; the first: {refused[0].reason}")
    if out is not None:
        write_atomic(out, table_csv(keys, [*ran, *refused]).encode())
    if as_json:
        typer.echo(json.dumps(_as_json(tape, keys, sort, ran, refused), indent=1, allow_nan=False))
    else:
        _show(f"{tape.name}: {len(ran)} points, best {sort} first", keys, ran, refused, top)


def ranked(points: Sequence[Point], keys: Sequence[str], sort: str) -> list[Point]:
    """``points`` that traded by the column or key ``sort``, best first; equal ones stay in the grid's order.

    Points without the figure come last.
    """
    if sort in keys:
        position = keys.index(sort)
        return sorted(points, key=lambda point: point.values[position])
    column = next(column for column in COLUMNS if column.name == sort)
    sign = -1 if column.is_high_best else 1

    def rank(point: Point) -> tuple[bool, Decimal]:
        value = column.value(point.figures) if point.figures else None
        return value is None, sign * Decimal(value or 0)

    return sorted(points, key=rank)


def table_csv(keys: Sequence[str], points: Sequence[Point]) -> str:
    """One line a point: its values, its figures, or the reason why it has none."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow([*keys, *(column.name for column in COLUMNS), "reason"])
    for point in points:
        figures = point.figures
        lines.writerow(
            [*map(_text, point.values), *(column.value(figures) if figures else "" for column in COLUMNS), point.reason]
        )
    return text.getvalue()


def _study(
    tape: Path, settings: Path | None, strategy: str | None, predictions: Path | None, sets: list[str], scratch: Path
) -> Study:
    """The study of these options; a rule's sigma is computed once and lies in ``scratch``."""
    opened = Tape.open(tape)
    if not len(opened.records):
        raise BadInput(f"{tape} holds no records: there is nothing to trade")
    on_bars = opened.interval_ns > 0
    held = read_settings(settings, "--settings") if settings else {}
    made = grid(_sections(held, settings, strategy, on_bars), sets, where=str(settings or "the built-in settings"))
    if predictions is not None:
        if not on_bars:
            raise BadInput(f"--predictions is for bars; {tape} is of books and would hold its predictions itself")
        load_predictions(predictions, opened)
        return Study(tape, predictions, None, made)
    if not on_bars:
        return Study(tape, None, None, made)
    latency_ns = made.trading(0).execution.decision_latency_ns
    horizon = held.get("labels", {}).get("horizon_minutes", HORIZON_MINUTES)
    np.save(scratch / "sigma.npy", neutral(opened, held.get("features", {}), horizon, latency_ns))
    return Study(tape, scratch / "sigma.npy", latency_ns, made)


def _sections(held: dict[str, Any], path: Path | None, kind: str | None, on_bars: bool) -> dict[str, Any]:
    """The trading sections of ``held`` under strategy ``kind``. Raises BadConfig for a section that nothing reads."""
    if unknown := [name for name in held if name not in (*TRADING, *BESIDE)]:
        raise BadConfig(f"{path}: unknown section {unknown[0]!r}; there is {', '.join(TRADING)}")
    sections = {name: held[name] for name in TRADING if name in held}
    if kind is None and path is None:
        kind = "sma" if on_bars else "mm1"
    if kind is not None:
        sections.pop("strategies", None)
        given = parse(dict[str, Any], sections.get("strategy", {}), where=f"{path}: strategy")
        sections["strategy"] = given | {"kind": RULES.get(kind, kind) if on_bars else kind}
    return sections


def _run(study: Study, jobs: int, console: Console) -> list[Point]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, auto_refresh=False) as progress:  # no thread of its own: ``run`` forks
        bar = progress.add_task("sweep", total=len(study.grid))
        return sweeps.run(study, jobs, lambda done: progress.update(bar, advance=done, refresh=True))


def _as_json(tape: Path, keys: list[str], sort: str, ran: list[Point], refused: list[Point]) -> dict[str, Any]:
    def named(point: Point) -> dict[str, Any]:
        return {"settings": dict(zip(keys, point.values, strict=True))}

    def figures(point: Point) -> dict[str, Any]:
        return {column.name: column.value(point.figures) for column in COLUMNS if point.figures}

    best = sweeps.best_sharpe(ran)
    return {
        "tape": tape.name,
        "points_tried": len(ran),
        "points_refused": len(refused),
        "sort": sort,
        "best_sharpe": best and named(best) | figures(best) | {"deflated_sharpe": sweeps.luck_corrected(best, ran)},
        "points": [named(point) | figures(point) for point in ran],
        "refused": [named(point) | {"reason": point.reason} for point in refused],
    }


def _show(title: str, keys: list[str], ran: list[Point], refused: list[Point], top: int) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=0)
    headed = [column for column in COLUMNS if column.heading]
    for heading in _short(keys):
        table.add_column(heading, justify="right", overflow="fold")
    for column in headed:
        table.add_column(column.heading or "", justify="right", no_wrap=True)
    for point in ran[:top]:
        shown = [(column, column.value(point.figures)) for column in headed if point.figures]
        cells = ["-" if value is None else column.form(value) for column, value in shown]
        table.add_row(*map(_text, point.values), *cells)
    console.print(table)
    if len(ran) > top:
        console.print(f"{len(ran) - top} more: --top, --out or --json")
    console.print(_luck(keys, ran), highlight=False, markup=False)
    for point in refused[:top]:
        line = f"refused {_named(keys, point)}: {point.reason}"
        console.print(line, style="yellow", markup=False, highlight=False, soft_wrap=True)
    if len(refused) > top:
        console.print(f"{len(refused) - top} more refused: --top, --out or --json")


def _luck(keys: list[str], ran: list[Point]) -> str:
    best = sweeps.best_sharpe(ran)
    if best is None or best.figures is None:
        return f"{len(ran)} tried; no Sharpe ratio is defined: the daily returns of no point vary"
    deflated = sweeps.luck_corrected(best, ran)
    chance = "undefined" if deflated is None else f"{deflated:.2f}"
    return (
        f"{len(ran)} tried. The highest Sharpe ratio, {best.figures.sharpe_annual:.2f} at {_named(keys, best)}, is the "
        f"best of that many, so part of it is luck.\nDeflated Sharpe ratio {chance}: the probability that it beats the "
        "best that as many tries would show by luck alone."
    )


def _named(keys: list[str], point: Point) -> str:
    return " ".join(f"{name}={_text(value)}" for name, value in zip(_short(keys), point.values, strict=True))


def _text(value: Any) -> str:
    """A setting's value as a settings file would hold it."""
    return value if isinstance(value, str) else json.dumps(value)


def _short(keys: list[str]) -> list[str]:
    """Each key by its last name, or in full where two would look alike."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)]
