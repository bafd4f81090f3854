"""``python -m data``: look at what ingest made. Commands read ``artifacts/data`` unless ``--folder`` says otherwise.

Exit codes: 0 ok, 10 above a limit, 30 bad input, 31 bad tape, 70 broken invariant.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from core.records import MINUTE_NS
from data import catalog, stability
from data.store import iso
from feeds.tape import Tape
from models import command

app = typer.Typer(help="Look at ingested market data.", no_args_is_help=True, add_completion=False)
Folder = Annotated[Path, typer.Option(help="The folder that ingest wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
FOLDER = Path("artifacts/data")
WIDTH = 160  # of a table that goes to a file or a pipe


@app.command("ls")
def list_files(folder: Folder = FOLDER, as_json: Json = False) -> None:
    """List the files with their rows and sizes."""
    _show(catalog.files(folder), as_json)


@app.command()
def describe(
    folder: Folder = FOLDER,
    days: Annotated[bool, typer.Option(help="One row per day with missing bars.")] = False,
    as_json: Json = False,
) -> None:
    """Summarise each instrument, or with --days list the days that miss bars."""
    rows = [row for row in catalog.completeness(folder) if row["missing"]] if days else catalog.describe(folder)
    _show(rows, as_json)


@app.command()
def check(folder: Folder = FOLDER, as_json: Json = False) -> None:
    """Verify the tape's hash, every bar's schema and that tape and Parquet agree; count the findings."""
    found = json.loads((folder / "summary.json").read_text()) if (folder / "summary.json").is_file() else {}
    _show([catalog.check(folder) | {"findings": found.get("findings", {})}], as_json)


@app.command()
def plot(folder: Folder = FOLDER, out: Path = Path("artifacts/completeness.html")) -> None:
    """Draw completeness per instrument and day as an HTML page."""
    catalog.plot(folder, out)
    typer.echo(str(out))


@app.command()
def psi(
    folder: Annotated[Path, typer.Option(help="The lanes that featurize wrote.")] = Path("artifacts/features/lanes"),
    limit: Annotated[float, typer.Option(help="Exit with 10 if any index is above it.")] = stability.LIMIT,
    as_json: Json = False,
) -> None:
    """Compare features between instruments: the population stability index of each field, the largest first."""
    rows = stability.between_instruments(folder)
    _show(rows, as_json)
    if rows[0]["psi"] > limit:
        raise typer.Exit(10)


@app.command()
def tape(path: Annotated[Path, typer.Argument()] = FOLDER / "market.tape", as_json: Json = False) -> None:
    """Verify a tape and print its head."""
    opened = Tape.open(path)
    head = {
        "tape_id": opened.tape_id,
        "rows": len(opened.records),
        "first": iso(int(opened.records["ts_event"][0])) if len(opened.records) else "",
        "last": iso(int(opened.records["ts_event"][-1])) if len(opened.records) else "",
        "interval_minutes": opened.interval_ns // MINUTE_NS,
        "instruments": [instrument.symbol for instrument in opened.instruments],
        "meta": opened.meta,
    }
    _show([head], as_json)


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        typer.echo("nothing to show")
        return
    if len(rows) == 1:
        table = Table(show_header=False)
        for name, value in rows[0].items():
            table.add_row(name, str(value))
    else:
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


if __name__ == "__main__":
    command.run(app)
