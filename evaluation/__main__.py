"""``python -m evaluation``: trade any tape without DVC, once or under a grid of settings, draw a tearsheet again,
or do what other engines were given.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from core.errors import BadInput
from core.records import BAR
from core.settings import Strategy, Trading, parse
from evaluation import peer, results, sweep_command
from evaluation import report as tearsheet
from evaluation.backtest import load_predictions
from evaluation.inputs import RULES, neutral, read_settings
from evaluation.session import Played, play, with_rule
from evaluation.summary import LINES, summarise
from feeds.tape import Tape
from models import command
from models.atomic import write_atomic

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(peer.app, name="peer")
app.command()(sweep_command.sweep)
_ERRORS = Console(stderr=True)


@app.command()
def backtest(
    tape: Annotated[Path, typer.Option(help="The tape to trade, e.g. artifacts/data/market.tape.")],
    predictions: Annotated[
        Path | None, typer.Option(help="One PREDICTION per bar (predictions.npy); left out: a rule strategy trades.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(help="Overrides strategy.kind, e.g. sma; with its other settings from the file.")
    ] = None,
    params: Annotated[Path, typer.Option(help="Where account, execution, strategy and risk are read.")] = Path(
        "params.yaml"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder for the records, equity curve and trade log.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Trade a tape from a flat account with the core that trades live, and print what came of it."""
    with _ERRORS.status("opening and verifying the tape") as status:
        opened = Tape.open(tape)
        settings = read_settings(params, "--params")
        trading, start = _trading(settings, params, strategy), int(opened.meta.get("trade_from_ns", -1))
        bars = opened.records.view(BAR)
        if predictions is not None:
            forecasts = load_predictions(predictions, opened)
        elif trading.strategy.kind in RULES:
            horizon_minutes, latency_ns = (
                int(settings["labels"]["horizon_minutes"]),
                trading.execution.decision_latency_ns,
            )
            forecasts = neutral(opened, settings["features"], horizon_minutes, latency_ns)
        else:
            raise BadInput(
                f"strategy {trading.strategy.kind} trades on predictions: give --predictions, or --strategy sma"
            )
        status.update(f"trading {len(bars):,} bars")
        played = play(bars, opened.instruments, forecasts, trading, start)
        status.update("measuring")
        summary = summarise(played, bars, opened.instruments, trading, start)
        if out is not None:
            _write(out, played, summary, [item.symbol for item in opened.instruments])
    if as_json:
        typer.echo(json.dumps(summary, indent=1, allow_nan=False))
    else:
        _show(summary, f"{tape.name}: {trading.strategy.kind}")


@app.command()
def report(
    backtest: Annotated[Path, typer.Option(help="Folder of the backtest stage.")] = Path("artifacts/backtest"),
    verdict: Annotated[Path, typer.Option(help="The gate's verdict; shown if it exists.")] = Path(
        "artifacts/gate/verdict.json"
    ),
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("artifacts/gate/report.html"),
) -> None:
    """Draw the tearsheet of the last backtest, with the verdict if there is one."""
    metrics, tables = results.read(backtest)
    judged = json.loads(verdict.read_bytes()) if verdict.exists() else None
    write_atomic(out, tearsheet.render(metrics, tables, judged).encode())
    _ERRORS.print(f"wrote {out}")


def _trading(settings: dict[str, Any], path: Path, kind: str | None) -> Trading:
    """The trading sections of ``settings``, under strategy ``kind`` if one is given."""
    sections = {name: settings[name] for name in ("account", "execution", "strategy", "risk") if name in settings}
    trading = parse(Trading, sections, where=str(path))
    if kind is None:
        return trading
    rule = sections.get("strategy", {}) | {"kind": RULES.get(kind, kind)}
    return with_rule(trading, parse(Strategy, rule, where=f"{path}: strategy"))


def _write(folder: Path, played: Played, summary: dict[str, Any], symbols: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "out.npy", played.session.out)
    np.save(folder / "marks.npy", played.session.marks)
    results.write_json(folder / "summary.json", summary)
    results.write_curve(folder / "equity.csv", played.account.curve)
    results.write_trades(folder / "trades.csv", [(0, trip) for trip in played.account.trips], symbols)


def _show(summary: dict[str, Any], title: str) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, heading, form in LINES:
        table.add_row(heading, form(summary[name]))
    Console().print(table)


if __name__ == "__main__":
    command.run(app)
