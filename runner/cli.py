"""The command line of the runner.

Exit codes: 0 done, 2 wrong usage, 30 bad input, 31 bad tape or journal, 32 bad configuration, 40 refused, 50 replay
parity false, 51 ledger broken, 70 broken invariant, 130 stopped by the operator.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from core.canonical import hash_json
from core.settings import as_json
from models import command
from models.lineage import program
from models.statement import verify_bundle
from runner import retention, show
from runner.cli_play import paper, record
from runner.doctor import examine
from runner.explain import explain as explain_fill
from runner.holdings import holdings
from runner.home import Home
from runner.ops import command as ops_command
from runner.ops.board import extras
from runner.ops.board_view import WIDTH, board, board_console, follow_board
from runner.options import (
    DEFAULT_HOME,
    DEFAULT_STORE,
    BundleOption,
    ConfigOption,
    HomeOption,
    JsonOption,
    RunOption,
    StoreOption,
    print_json,
    print_view,
)  # fmt: skip
from runner.paper import close_segment, describe
from runner.plan import header_instruments
from runner.reader import export, open_run, verify
from runner.settings import changed_keys, flat, load_trading
from runner.verdict import judge

_PARITY_FALSE: Final = 50

app = typer.Typer(
    help="Trade a promoted bundle on paper, and prove afterwards what happened.\n\n"
    "A home folder holds everything that lasts: trusted keys (trust/) and runs (runs/). Nothing is loaded unless a key "
    "in trust/ signed it. Every command takes --json.\n\n"
    "Exit codes: 0 done, 2 usage, 30 bad input, 31 bad tape or journal, 32 bad configuration, 40 refused, 50 replay "
    "parity false, 51 ledger broken, 70 broken invariant, 130 stopped.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
ledger_app = typer.Typer(help="The double-entry ledger that is made from the journal's fills.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")
journal_app = typer.Typer(help="The records of a run.", no_args_is_help=True)
app.add_typer(journal_app, name="journal")
segment_app = typer.Typer(
    help="The segments of a run's journal: each begins with a checkpoint and replays by itself.", no_args_is_help=True
)
app.add_typer(segment_app, name="segment")

alert_app = typer.Typer(help="Alerts to the operator.", no_args_is_help=True)
app.add_typer(alert_app, name="alert")
app.command()(paper)
app.command()(record)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(program())
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print version and commit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def replay(
    home: HomeOption = DEFAULT_HOME,
    run: RunOption = None,
    model: Annotated[bool, typer.Option("--model", help="Also run kernel and model again over the bars.")] = False,
    bundle: BundleOption = None,
    any_code: Annotated[bool, typer.Option("--any-code", help="Replay what another program wrote, too.")] = False,
    as_data: JsonOption = False,
) -> None:
    """Run the core again over a journal and compare every record it made.

    Prints REPLAY PARITY: TRUE, or FALSE with the first divergence and its class, and then exits with 50. The bundle
    for --model is the one the run was made with unless --bundle names where it lies now. A segment that another
    program wrote is refused by name: replay it with that one, or with --any-code to see where they differ.
    """
    where = Home(home)
    found = judge(where.existing(run), where.trust, model=model, bundle=bundle, any_code=any_code)
    if as_data:
        print_json(as_json(found))
    else:
        out = show.console()
        for line in found.lines():
            out.print(line, markup=False)
    if not found.parity:
        raise typer.Exit(_PARITY_FALSE)


@app.command()
def explain(
    fill: Annotated[str, typer.Option("--fill", help="Which of the run's fills, from 1 on, or ORDER:EXECUTION.")],
    home: HomeOption = DEFAULT_HOME,
    run: RunOption = None,
    bundle: BundleOption = None,
    as_data: JsonOption = False,
) -> None:
    """Show why a fill happened: from the raw record to the ledger entry, each with its record number and hash.

    The features are computed again by the bundle's kernel: the bundle the run was made with unless --bundle names where
    it lies now. The rest is read from the journal.
    """
    where = Home(home)
    with open_run(where.existing(run)) as reader:
        found = explain_fill(reader, fill, where.trust, bundle)
    if as_data:
        print_json(found)
        return
    out = show.console()
    for line in show.explain_lines(found):
        out.print(line, markup=False)


@journal_app.command("export")
def journal_export(
    to: Annotated[Path, typer.Option("--to", help="File to write, such as records.npy.")],
    home: HomeOption = DEFAULT_HOME,
    run: RunOption = None,
    as_data: JsonOption = False,
) -> None:
    """Write a run's records as one array that `numpy.load(FILE, mmap_mode="r")` maps into memory.

    Every byte is verified on the way.
    """
    with open_run(Home(home).existing(run)) as reader:
        found = {"run": reader.run.name, "first": reader.first, "records": export(reader, to), "file": str(to)}
    print_view(as_data, found, f"{found['records']} records of run {found['run']} in {to}")


@segment_app.command("ls")
def segment_ls(home: HomeOption = DEFAULT_HOME, run: RunOption = None, as_data: JsonOption = False) -> None:
    """List the segments: their records, where those are, the head, and the program that wrote them."""
    target = Home(home).existing(run)
    rows = [asdict(item) for item in retention.listing(target)]
    print_view(as_data, rows, show.rows_table(rows, f"segments of {target.name}"))


@segment_app.command("close")
def segment_close(home: HomeOption = DEFAULT_HOME, run: RunOption = None, as_data: JsonOption = False) -> None:
    """Close the last segment of a stopped run; the run goes on in a new one.

    A run stops with Ctrl-C, between two bars and with a snapshot: that is the checkpoint the next segment begins with.
    """
    target = Home(home).existing(run)
    number = close_segment(target)
    print_view(as_data, {"run": target.name, "closed": number}, f"segment {number} of run {target.name} is closed")


KeepOption = Annotated[int, typer.Option("--keep", min=0, help="How many of the last closed segments to leave.")]


@segment_app.command("compress")
def segment_compress(
    home: HomeOption = DEFAULT_HOME, run: RunOption = None, keep: KeepOption = 1, as_data: JsonOption = False
) -> None:
    """Move the records of closed segments to .xz files beside the journal; replay and export still read them."""
    target = Home(home).existing(run)
    done = retention.compress(target, keep)
    print_view(as_data, {"run": target.name, "archived": done}, f"archived: {', '.join(map(str, done)) or 'none'}")


@segment_app.command("expire")
def segment_expire(
    home: HomeOption = DEFAULT_HOME, run: RunOption = None, keep: KeepOption = 30, as_data: JsonOption = False
) -> None:
    """Give up the records of archived segments, for good. Headers, heads, snapshots and the ledger stay."""
    target = Home(home).existing(run)
    done = retention.expire(target, keep)
    print_view(as_data, {"run": target.name, "expired": done}, f"expired: {', '.join(map(str, done)) or 'none'}")


@ledger_app.command("verify")
def ledger_verify(home: HomeOption = DEFAULT_HOME, run: RunOption = None, as_data: JsonOption = False) -> None:
    """Rebuild the ledger from the journal and compare entry by entry; every byte of both is hashed."""
    with open_run(Home(home).existing(run)) as reader:
        verified = verify(reader)
    found = {
        "run": reader.run.name,
        "records": verified.records,
        "head": verified.head,
        "transactions": verified.ledger.transaction_count,
        "entries": verified.ledger.entry_count,
        "ledger_head": verified.ledger.head(),
    }
    said = (
        f"LEDGER VERIFIED: {found['transactions']} transactions, {found['entries']} entries from "
        f"{found['records']} records, head {found['ledger_head']}"
    )
    print_view(as_data, found, said)


@ledger_app.command("show")
def ledger_show(
    home: HomeOption = DEFAULT_HOME,
    run: RunOption = None,
    last: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Also show the last entries.", show_default=False)
    ] = None,
    as_data: JsonOption = False,
) -> None:
    """Verify the ledger, then show profit, balances, positions, open lots and exposure, at the last marks seen."""
    with open_run(Home(home).existing(run)) as reader:
        verified = verify(reader)
        found = {"run": reader.run.name} | holdings(header_instruments(reader.header), verified.ledger)
        found["entries"] = reader.entries(last) if last else []
    if as_data:
        print_json(found)
        return
    out = show.console()
    out.print(show.rows_table([found["profit"]], f"ledger of {found['run']}, in {found['quote']}"))
    for key in ("balances", "positions", "results", "lots", "exposure", "entries"):
        if found[key]:
            out.print(show.rows_table(found[key], key))


@app.command()
def status(
    home: HomeOption = DEFAULT_HOME,
    run: RunOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow a run that is being written, unverified.")] = False,
    every: Annotated[float, typer.Option(min=0.1, max=3600, help="--watch: seconds between two looks.")] = 1.0,
    as_data: JsonOption = False,
) -> None:
    """Show a run: equity, positions, risk state, orders, last decisions, last alerts.

    Everything is read and verified from its journal alone. With --watch it is what was committed so far, again and
    again, until the run is finished or Ctrl-C; with --json too, one line each time.
    """
    where = Home(home)
    target = where.existing(run)
    if watch:
        follow_board(target, every, as_data=as_data)
        return
    found = describe(target)
    if as_data:
        print_json(found)
        return
    out = board_console()
    out.print(board(found | extras(target), verified=True), width=min(WIDTH, out.width))
    if others := [name for name in where.names() if name != found["run"]]:
        out.print(f"other runs: {', '.join(others)}", markup=False)


@app.command()
def doctor(
    home: HomeOption = DEFAULT_HOME,
    bundle: BundleOption = None,
    store: StoreOption = DEFAULT_STORE,
    as_data: JsonOption = False,
) -> None:
    """Check versions, disk, keys, trust and bundle, and compile every kernel. Exits with 40 if a check fails."""
    folder = bundle or store / "promoted"
    findings = examine(Home(home), folder if bundle or folder.exists() else None)
    rows = [{"check": item.check, "ok": "ok" if item.ok else "FAILED", "found": item.found} for item in findings]
    print_view(as_data, rows, show.rows_table(rows, "doctor"))
    if not all(item.ok for item in findings):
        raise typer.Exit(40)


@app.command("show-config")
def show_config(
    home: HomeOption = DEFAULT_HOME,
    bundle: BundleOption = None,
    store: StoreOption = DEFAULT_STORE,
    config: ConfigOption = None,
    as_data: JsonOption = False,
) -> None:
    """Show every key a session would run under, and which ones differ from what was judged."""
    loaded, _ = verify_bundle(bundle or store / "promoted", Home(home).trust)
    judged = loaded.manifest.trading
    trading = load_trading(config, judged)
    changed = changed_keys(judged, trading)
    data = as_json(trading)
    if as_data:
        print_json({"trading": data, "config_hash": hash_json(data), "parity": not changed, "changed": sorted(changed)})
        return
    rows = [
        {"key": key, "value": value, "judged": changed[key][0] if key in changed else "same"}
        for key, value in flat(trading).items()
    ]
    out = show.console()
    out.print(show.rows_table(rows, f"configuration {hash_json(data)[:16]} of bundle {loaded.id[:16]}"))
    if changed:
        out.print(f"{', '.join(sorted(changed))}: {show.PARITY_LOST}", style="yellow")


@alert_app.command("test")
def alert_test(
    home: HomeOption = DEFAULT_HOME,
    config: Annotated[Path | None, typer.Option("--config", help="YAML with `ops:`.", show_default=False)] = None,
    alert: Annotated[str, typer.Option("--alert", help="Which alert to rehearse.")] = "reconcile_mismatch",
    timeout: Annotated[float, typer.Option(min=1, max=600, help="Seconds to wait for delivery.")] = 60.0,
    as_data: JsonOption = False,
) -> None:
    """Send one alert to every sink, as a session would, and say what became of it. Exits with 40 if one got nothing."""
    rows = ops_command.alert_test(home, config, alert, timeout)
    print_view(as_data, rows, show.rows_table(rows, f"alert {alert}"))
    if any(row["outcome"] != "sent" for row in rows):
        raise typer.Exit(40)


@alert_app.command("ls")
def alert_ls(as_data: JsonOption = False) -> None:
    """List every alert: its severity, what it means, whether it can be muted."""
    rows = ops_command.listing()
    print_view(as_data, rows, show.rows_table(rows, "alerts"))


def main() -> None:
    """The entry point of the ``runner`` script: errors become one line on stderr and their exit code."""
    command.run(app)


if __name__ == "__main__":
    main()
