"""``python -m data``: download candles, and look at what ingest made of a source.

Commands that look read ``artifacts/data`` unless ``--folder`` says otherwise.

Exit codes: 0 ok, 10 above a limit or candles that differ, 30 bad input, 31 bad tape, 70 broken invariant.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from core.records import MINUTE_NS
from core.settings import as_json as as_json_data
from data import catalog, export, fi2010, stability
from data.against import against
from data.download.command import download
from data.holdout import LOG, open_holdout, read_log
from data.show import show
from data.store import iso
from feeds.tape import Tape
from models import command

app = typer.Typer(
    help="Download market data, and look at what was ingested.", no_args_is_help=True, add_completion=False
)
Folder = Annotated[Path, typer.Option(help="The folder that ingest wrote.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
FOLDER = Path("artifacts/data")


@app.command("ls")
def list_files(folder: Folder = FOLDER, as_json: Json = False) -> None:
    """List the files with their rows and sizes."""
    show(catalog.files(folder), as_json)


@app.command()
def describe(
    folder: Folder = FOLDER,
    days: Annotated[
        bool, typer.Option(help="One row per day with missing bars; of books and quotes every day, with its clocks.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Summarise each instrument, or with --days list the days that miss bars."""
    rows = catalog.completeness(folder) if days else catalog.describe(folder)
    show([row for row in rows if not days or row["missing"] or "delay_ms" in row], as_json)


@app.command()
def check(
    folder: Folder = FOLDER,
    other: Annotated[
        Path | None,
        typer.Option("--against", help="Candles of the same market, longer ones, to hold the bars against."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify the tape's hash, every bar's schema and that tape and Parquet agree; count the findings.

    With --against DIR also compare the bars, made longer, with DIR's BASE_QUOTE.parquet; exit with 10 if any differs.
    """
    if other:
        results = against(folder, other)
        show([finding for result in results for finding in result.findings], as_json)
        if any(result.findings for result in results):
            raise typer.Exit(10)
        return
    found = json.loads((folder / "summary.json").read_text()) if (folder / "summary.json").is_file() else {}
    show([catalog.check(folder) | {"findings": found.get("findings", {})}], as_json)


@app.command()
def plot(folder: Folder = FOLDER, out: Path = Path("artifacts/completeness.html")) -> None:
    """Draw completeness per instrument and day as an HTML page."""
    catalog.plot(folder, out)
    typer.echo(str(out))


@app.command()
def parquet(
    artifacts: Annotated[Path, typer.Option(help="What the stages wrote.")] = Path("artifacts"),
    to: Annotated[Path, typer.Option(help="The folder to write, replaced whole.")] = Path("artifacts/parquet"),
    symbol: Annotated[list[str] | None, typer.Option(help="Only this instrument; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Write features and labels as Parquet, a file per instrument and UTC day, for other programs."""
    show(export.export(artifacts, to, tuple(symbol or ())), as_json)


@app.command()
def psi(
    folder: Annotated[Path, typer.Option(help="The lanes that featurize wrote.")] = Path("artifacts/features/lanes"),
    limit: Annotated[float, typer.Option(help="Exit with 10 if any index is above it.")] = stability.LIMIT,
    as_json: Json = False,
) -> None:
    """Compare features between instruments: the population stability index of each field, the largest first."""
    rows = stability.between_instruments(folder)
    show(rows, as_json)
    if rows[0]["psi"] > limit:
        raise typer.Exit(10)


@app.command("fi2010")
def show_fi2010(
    path: Annotated[Path, typer.Argument(help="A file of the benchmark, with the publisher's name.")],
    sha256: Annotated[str, typer.Option(help="What its SHA-256 must be.")],
    as_json: Json = False,
) -> None:
    """Check a file of the FI-2010 benchmark and say what it holds. data.fi2010.read gives it as arrays."""
    show([fi2010.describe(fi2010.read(path, sha256=sha256))], as_json)


@app.command()
def holdout(
    why: Annotated[str, typer.Option(help="Why it is read now, for the log. Without it the log is shown.")] = "",
    folder: Annotated[Path, typer.Option(help="The hold-out that ingest cut off.")] = Path("artifacts/holdout"),
    out: Annotated[Path, typer.Option(help="Where the opened tape is written.")] = Path("artifacts/holdout.tape"),
    log: Annotated[Path, typer.Option(help="The log; git-tracked, so that no clone forgets a reading.")] = LOG,
    as_json: Json = False,
) -> None:
    """Open the final hold-out, once per release, and log who did and why; or show who has."""
    if why:
        open_holdout(folder / "market.tape", out, log, why=why)
    show([as_json_data(reading) for reading in read_log(log)], as_json)


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
    show([head], as_json)


app.command()(download)


if __name__ == "__main__":
    command.run(app)
