"""The commands that follow a market: ``runner paper`` and ``runner record``."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from rich.progress import Progress

from models import command
from models.statement import Statement, verify_bundle
from runner import show
from runner.clock import Pacer, parse_speed
from runner.feed import open_feed
from runner.home import Home, Run
from runner.journal import BOOK_SNAPSHOT_RECORDS, Policy
from runner.ops.settings import load_ops, with_flags
from runner.ops.wiring import Watching
from runner.options import (
    DEFAULT_HOME,
    DEFAULT_STORE,
    BundleOption,
    ConfigOption,
    HomeOption,
    JsonOption,
    StoreOption,
    print_view,
)  # fmt: skip
from runner.paper import Follow, play
from runner.plan import Plan, make_plan
from runner.secrets import Secrets
from runner.settings import load_trading

POLICY: Final = Policy()


def paper(
    home: HomeOption = DEFAULT_HOME,
    bundle: BundleOption = None,
    store: StoreOption = DEFAULT_STORE,
    tape: Annotated[Path | None, typer.Option(help="Play this tape.", show_default=False)] = None,
    market: Annotated[
        str, typer.Option(help="Without a tape: play this market; `builtin` is the only one.")
    ] = "builtin",
    live: Annotated[
        str | None,
        typer.Option(help="Play a venue's books as they come: binance, kraken, coinbase.", show_default=False),
    ] = None,
    symbol: Annotated[
        list[str] | None, typer.Option("--symbol", help="Live: such as BTC/USDT; again for more.", show_default=False)
    ] = None,
    live_config: Annotated[
        Path | None, typer.Option(help="Live: YAML with these and further settings.", show_default=False)
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Live: how long; until Ctrl-C if left out.", show_default=False)
    ] = None,
    record_to: Annotated[
        Path | None, typer.Option(help="Live: also record the raw frames into this folder.", show_default=False)
    ] = None,
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
    http: Annotated[
        str | None, typer.Option(help="Serve /healthz, /readyz and /metrics at HOST:PORT.", show_default=False)
    ] = None,
    log: Annotated[bool, typer.Option(help="Write log.jsonl into the run's folder.")] = True,
    as_data: JsonOption = False,
) -> None:
    """Play a tape, the built-in market or a venue's live market through model, core and simulated venue.

    A tape of bars or of books; books, and so what is live, are traded by a rule.

    Interrupted, the same command continues where the journal ends; finished, it verifies the run and shows it again.
    A live market cannot be played again: Ctrl-C finishes the run.
    """
    where = Home(home)
    folder = bundle or store / "promoted"
    loaded, statement = verify_bundle(folder, where.trust)
    trading = load_trading(config, loaded.manifest.trading)
    pacer = Pacer(times := parse_speed(speed))
    with ExitStack() as stack:
        if live or live_config:
            from runner.live import command as following  # ccxt takes a second to import: only here

            feed = stack.enter_context(following.feed(live, symbol or [], seconds, live_config, record_to))
        else:
            feed = open_feed(tape, market, days, seed, strength, trading.execution.feed_latency_ns)
        plan = make_plan(loaded, feed, trading)
        target = where.run(run or plan.header["run_id"][:16])
        often = BOOK_SNAPSHOT_RECORDS if feed.interval_ns == 0 else POLICY.snapshot_records
        policy = Policy(snapshot_records=snapshot_records or often, segment_records=segment_records)
        watching = Watching(
            with_flags(load_ops(config), http=http, log=log), Secrets.of(home), target, plan.header, times
        )
        found = _played(plan, statement, folder, target, pacer, policy, watching, quiet=as_data)
    print_view(as_data, found, show.summary_table(found))


def _played(
    plan: Plan,
    statement: Statement,
    folder: Path,
    target: Run,
    pacer: Pacer,
    policy: Policy,
    watching: Watching,
    *,
    quiet: bool,
) -> dict[str, Any]:
    """The summary of the run. Exits with 130 if the operator stopped it."""
    console = show.console(stderr=True)
    if not plan.parity:
        console.print(f"{', '.join(plan.header['changed'])}: {show.PARITY_LOST}", style="yellow")
    try:
        follow = _progress(quiet or not sys.stderr.isatty())
        return play(plan, statement, folder, target, pacer, follow, policy, watching)
    except KeyboardInterrupt:
        is_live = plan.feed.end is not None
        hint = "a live run ends here" if is_live else f"the same command continues the run {target.name}"
        console.print(f"stopped; {hint}", style="yellow")
        raise typer.Exit(command.INTERRUPTED) from None


def _progress(quiet: bool) -> Follow:
    """A bar over the rows on a terminal."""

    def follow(steps: Iterator[np.ndarray], total: int | None) -> Iterable[np.ndarray]:
        with Progress(console=show.console(stderr=True), disable=quiet, transient=True) as progress:
            task = progress.add_task("rows", total=total)
            for rows in steps:
                yield rows
                progress.advance(task, len(rows))

    return follow


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
    print_view(as_data, found, live.table(found))
