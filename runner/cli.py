"""The command line of the runner.

Exit codes: 0 done, 2 wrong usage, 30 bad input, 31 bad tape or journal, 32 bad configuration, 40 refused, 50 replay
parity false, 51 ledger broken, 70 broken invariant, 130 stopped by the operator.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.progress import Progress

from core.canonical import hash_json
from core.errors import BadInput
from core.settings import as_json
from models import command
from models.lineage import program
from models.statement import verify_bundle
from runner import retention, show
from runner.clock import Pacer, parse_speed
from runner.doctor import examine
from runner.explain import explain as explain_fill
from runner.feed import Feed, builtin_feed, tape_feed
from runner.holdings import holdings
from runner.home import Home
from runner.journal import BOOK_SNAPSHOT_RECORDS, Policy
from runner.paper import close_segment, describe, play
from runner.plan import header_instruments, make_plan
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

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home", envvar="PORTCULLIS_HOME", help="Folder with trust/ and runs/.", show_default="~/.portcullis"
    ),
]
RunOption = Annotated[str | None, typer.Option("--run", help="Name of the run; the latest if left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print plain data for programs.")]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="Bundle folder; <store>/promoted if left out.", show_default=False)
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder with the `promoted` pointer.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML that changes keys of what was judged.", show_default=False)
]
DEFAULT_HOME: Final = Path.home() / ".portcullis"
DEFAULT_STORE: Final = Path("models")
POLICY: Final = Policy()


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
def paper(
    home: HomeOption = DEFAULT_HOME,
    bundle: BundleOption = None,
    store: StoreOption = DEFAULT_STORE,
    tape: Annotated[Path | None, typer.Option(help="Play this tape.", show_default=False)] = None,
    market: Annotated[
        str, typer.Option(help="Without a tape: play this market; `builtin` is the only one.")
    ] = "builtin",
    days: Annotated[int, typer.Option(help="Built-in market: days.")] = 30,
    seed: Annotated[int, typer.Option(help="Built-in market: seed.")] = 1,
    strength: Annotated[float, typer.Option(help="Built-in market: planted signal, 0 is a martingale.")] = 1.0,
    speed: Annotated[str, typer.Option(help="`max`, or a multiple of real time such as `60x`.")] = "max",
    config: ConfigOption = None,
    run: Annotated[str | None, typer.Option("--run", help="Name for the run; its id if left out.")] = None,
    snapshot_records: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Records between two snapshots.",
            show_default=f"{POLICY.snapshot_records}, on books {BOOK_SNAPSHOT_RECORDS}",
        ),
    ] = None,
    segment_records: Annotated[
        int, typer.Option(min=1, help="Records after which a segment ends.")
    ] = POLICY.segment_records,
    as_data: JsonOption = False,
) -> None:
    """Play a tape or the built-in market through model, core and simulated venue.

    A tape of bars or of books; books are traded by a rule.

    Interrupted, the same command continues where the journal ends; finished, it verifies the run and shows it again.
    """
    where = Home(home)
    folder = bundle or store / "promoted"
    loaded, statement = verify_bundle(folder, where.trust)
    trading = load_trading(config, loaded.manifest.trading)
    feed = _feed(tape, market, days, seed, strength, trading.execution.feed_latency_ns)
    plan = make_plan(loaded, feed, trading)
    if not plan.parity:
        show.console(stderr=True).print(f"{', '.join(plan.header['changed'])}: {show.PARITY_LOST}", style="yellow")
    pacer = Pacer(parse_speed(speed))

    def follow(steps: Iterator[np.ndarray], total: int | None) -> Iterable[np.ndarray]:
        quiet = as_data or not sys.stderr.isatty()
        with Progress(console=show.console(stderr=True), disable=quiet, transient=True) as progress:
            task = progress.add_task("rows", total=total)
            for rows in steps:
                yield rows
                progress.advance(task, len(rows))

    target = where.run(run or plan.header["run_id"][:16])
    try:
        often = BOOK_SNAPSHOT_RECORDS if feed.interval_ns == 0 else POLICY.snapshot_records
        policy = Policy(snapshot_records=snapshot_records or often, segment_records=segment_records)
        found = play(plan, statement, folder, target, pacer, follow, policy)
    except KeyboardInterrupt:
        show.console(stderr=True).print(f"stopped; the same command continues the run {target.name}", style="yellow")
        raise typer.Exit(command.INTERRUPTED) from None
    _print(as_data, found, show.summary_table(found))


def _feed(tape: Path | None, market: str, days: int, seed: int, strength: float, feed_latency_ns: int) -> Feed:
    if tape is not None:
        return tape_feed(tape)
    if market != "builtin":
        raise BadInput(f"--market {market!r}: the only market is `builtin`; recorded ones are played with --tape")
    return builtin_feed(days, seed, strength, feed_latency_ns)


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
        _print_json(as_json(found))
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
        _print_json(found)
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
    _print(as_data, found, f"{found['records']} records of run {found['run']} in {to}")


@segment_app.command("ls")
def segment_ls(home: HomeOption = DEFAULT_HOME, run: RunOption = None, as_data: JsonOption = False) -> None:
    """List the segments: their records, where those are, the head, and the program that wrote them."""
    target = Home(home).existing(run)
    rows = [asdict(item) for item in retention.listing(target)]
    _print(as_data, rows, show.rows_table(rows, f"segments of {target.name}"))


@segment_app.command("close")
def segment_close(home: HomeOption = DEFAULT_HOME, run: RunOption = None, as_data: JsonOption = False) -> None:
    """Close the last segment of a stopped run; the run goes on in a new one.

    A run stops with Ctrl-C, between two bars and with a snapshot: that is the checkpoint the next segment begins with.
    """
    target = Home(home).existing(run)
    number = close_segment(target)
    _print(as_data, {"run": target.name, "closed": number}, f"segment {number} of run {target.name} is closed")


KeepOption = Annotated[int, typer.Option("--keep", min=0, help="How many of the last closed segments to leave.")]


@segment_app.command("compress")
def segment_compress(
    home: HomeOption = DEFAULT_HOME, run: RunOption = None, keep: KeepOption = 1, as_data: JsonOption = False
) -> None:
    """Move the records of closed segments to .xz files beside the journal; replay and export still read them."""
    target = Home(home).existing(run)
    done = retention.compress(target, keep)
    _print(as_data, {"run": target.name, "archived": done}, f"archived: {', '.join(map(str, done)) or 'none'}")


@segment_app.command("expire")
def segment_expire(
    home: HomeOption = DEFAULT_HOME, run: RunOption = None, keep: KeepOption = 30, as_data: JsonOption = False
) -> None:
    """Give up the records of archived segments, for good. Headers, heads, snapshots and the ledger stay."""
    target = Home(home).existing(run)
    done = retention.expire(target, keep)
    _print(as_data, {"run": target.name, "expired": done}, f"expired: {', '.join(map(str, done)) or 'none'}")


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
    _print(as_data, found, f"LEDGER VERIFIED: {found['transactions']} transactions, {found['entries']} entries from "
           f"{found['records']} records, head {found['ledger_head']}")  # fmt: skip


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
        _print_json(found)
        return
    out = show.console()
    out.print(show.rows_table([found["profit"]], f"ledger of {found['run']}, in {found['quote']}"))
    for key in ("balances", "positions", "results", "lots", "exposure", "entries"):
        if found[key]:
            out.print(show.rows_table(found[key], key))


@app.command()
def record(
    to: Annotated[Path, typer.Option("--to", help="Folder for the recording; recording again adds to it.")],
    venue: Annotated[str | None, typer.Option(help="binance, kraken or coinbase.", show_default=False)] = None,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", help="Such as BTC/USDT; give it again for more.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="How long; until Ctrl-C if left out.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML with these and further settings.", show_default=False)
    ] = None,
    tape: Annotated[bool, typer.Option("--tape/--no-tape", help="Also keep the tape; ingest can make it.")] = True,
    as_data: JsonOption = False,
) -> None:
    """Record a venue's books and trades: raw frames as ingest reads them, and the tape seen while they came.

    Needs no keys. Lost connections are made again, books with a gap get a new snapshot, and each is written down.
    """
    from runner.live import command as live  # ccxt takes a second to import: only here

    quiet = as_data or not sys.stderr.isatty()
    found = live.run(to, venue, symbol or [], seconds, config, show.console(stderr=True), with_tape=tape, quiet=quiet)
    _print(as_data, found, live.table(found))


@app.command()
def status(home: HomeOption = DEFAULT_HOME, run: RunOption = None, as_data: JsonOption = False) -> None:
    """Show a run from its journal alone: equity, positions, risk state, orders, last decisions."""
    where = Home(home)
    found = describe(where.existing(run))
    if as_data:
        _print_json(found)
        return
    out = show.console()
    out.print(show.summary_table(found))
    for key, title in (
        ("positions", "positions"),
        ("open_orders", "open orders"),
        ("last_decisions", "last decisions"),
    ):
        if found[key]:
            out.print(show.rows_table(found[key], title))
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
    _print(as_data, rows, show.rows_table(rows, "doctor"))
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
        _print_json(
            {"trading": data, "config_hash": hash_json(data), "parity": not changed, "changed": sorted(changed)}
        )
        return
    rows = [
        {"key": key, "value": value, "judged": changed[key][0] if key in changed else "same"}
        for key, value in flat(trading).items()
    ]
    out = show.console()
    out.print(show.rows_table(rows, f"configuration {hash_json(data)[:16]} of bundle {loaded.id[:16]}"))
    if changed:
        out.print(f"{', '.join(sorted(changed))}: {show.PARITY_LOST}", style="yellow")


def _print(as_data: bool, data: Any, view: Any) -> None:
    if as_data:
        _print_json(data)
    else:
        show.console().print(view)


def _print_json(data: Any) -> None:
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def main() -> None:
    """The entry point of the ``runner`` script: errors become one line on stderr and their exit code."""
    command.run(app)


if __name__ == "__main__":
    main()
