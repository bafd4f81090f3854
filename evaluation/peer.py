"""``python -m evaluation peer``: the pieces of work that other engines were given, done by this one.

``sma`` is a crossover of two moving averages on bars, ``mm1`` a market maker with a queue on a book; a README beside
the peers' scripts defines both to the last tie-break. They run as plug-in strategies of the core that trades, with
every risk check on and its limits wide, and print the peers' JSON line. A result in which a limit refused anything is
an error: it would not be the work that was defined.
"""

import hashlib
import importlib.metadata
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
import numpy as np
import typer

from core import config, engine, strategies, ticks
from core.errors import BadInput, require
from core.instruments import Instrument
from core.records import (
    ACTION_MASK,
    CHECK,
    FILL,
    INTENT,
    MARK,
    PPM,
    PREDICTION,
    RECORD,
    RISK,
    Action,
    Kind,
    Reason,
    RiskState,
    Side,
    Verdict,
)
from core.settings import Account, Execution, Risk, Strategy, Trading
from evaluation import peer_tape
from models.atomic import write_atomic

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

T = TypeVar("T")

LONG_NS: Final = 10**17  # longer than any tape
LATENCY_NS: Final = 1_000_000  # of work MM-1: to the exchange, and back
INTERVAL_NS: Final = 100_000_000
UNITS: Final = 100_000_000  # cash units of 1e-8 in one unit of quote
MM1_CASH: Final = "1400000"  # with the leverage, the most whose arithmetic is proven at a unit of 1e-8
MM1_LEVERAGE_PPM: Final = 10 * PPM
WIDE: Final = Risk(
    asset_cap_ppm=1_000_000,
    total_cap_ppm=1_000_000,
    caution_drawdown_ppm=999_998,
    halt_drawdown_ppm=999_999,
    flatten_drawdown_ppm=1_000_000,
    daily_stop_ppm=1_000_000,
    flatten_daily_loss_ppm=1_000_000,
    prediction_ttl_ns=LONG_NS,
    price_band_ppm=1_000_000_000,
    max_orders_per_hour=0,
    circuit_failures=1_000_000,
)
MARKETS: Final = {  # what the prepared tapes of work MM-1 are: tick, lot, order, cap, maker and taker fee in ppm
    "binance": ("0.1", "0.001", "0.001", "0.010", 200, 500),
    "lobster": ("0.01", "1", "100", "1000", -20, 30),
}


@dataclass(frozen=True)
class Run:
    """One session's end. ``out``: everything it put out, RECORD; ``state``: (1,) STATE."""

    out: np.ndarray
    state: np.ndarray
    decisions: int = 0
    mid2: int = 0  # bid + ask at the end in ticks; 0: a side is empty

    def of(self, kind: Kind, dtype: np.dtype) -> np.ndarray:
        """The records of one kind, typed."""
        return self.out[self.out["kind"] == kind].view(dtype)


@app.command()
def sma(
    tape: Annotated[Path, typer.Option(help="Prepared bars: an .npz with time_ns, open, high, low, close.")],
    tick: Annotated[str, typer.Option(help="Price step; prices off it are refused.")] = "0.01",
    lot: Annotated[str | None, typer.Option(help="Quantity step; default: the order itself.")] = None,
    order_qty: Annotated[str, typer.Option(help="Quantity of every order.")] = "1",
    taker_ppm: Annotated[int, typer.Option(help="Fee of every fill, parts per million.")] = 1000,
    cash: Annotated[str, typer.Option(help="Initial cash.")] = "1000000",
    fills: Annotated[Path | None, typer.Option(help="Write every fill here: bar,side,open_cents.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Sessions; run_s is the fastest, cold_run_s the first.")] = 3,
) -> None:
    """SMA 20/100 on bars: long one order while the fast average is above the slow one, filled at the next open.

    Example: python -m evaluation peer sma --tape work/bars.npz --tick 0.01 --fills fills.csv
    """
    lot = lot or order_qty
    instrument = peer_instrument(tick, lot, taker_ppm, taker_ppm)
    built = config.build(sma_trading(instrument, order_qty, cash), [instrument])
    bars, imported = peer_tape.read_bars(tape, tick), _process_age()
    run, timing, wall = _timed(lambda: play_bars(built, bars), lambda run: run, repeats)
    done = run.of(Kind.FILL, FILL)
    if fills is not None:
        row = np.searchsorted(bars["ts_event"], done["ts_event"], side="right")  # the bar that was open at the fill
        _write_fills(fills, "bar,side,open_cents", row, _sides(done), done["price"])
    pnl_units = _pnl_units(run, built)
    _emit(
        script="bars_portcullis",
        version=importlib.metadata.version("portcullis"),
        bars=len(bars),
        fills=len(done),
        closed_trades=int((done["side"] == Side.SELL).sum()),
        position=float(_lots(run) * Fraction(lot)),
        pnl=pnl_units / UNITS,
        pnl_units=pnl_units,
        bars_per_s=_rate(len(bars), timing),
        cold_run_s=timing.pop("first_s"),
        import_s=imported,
        wall_from_start_s=wall,
        **timing,
    )


@app.command()
def mm1(
    tape: Annotated[Path, typer.Option(help="Prepared events: .npy, or .npz with the key tape.")],
    tick: Annotated[str | None, typer.Option(help="Price step.")] = None,
    lot: Annotated[str | None, typer.Option(help="Quantity step.")] = None,
    order_qty: Annotated[str | None, typer.Option(help="Quantity of one order.")] = None,
    cap: Annotated[str | None, typer.Option(help="Most held on either side.")] = None,
    maker_ppm: Annotated[int | None, typer.Option(help="Maker fee, parts per million; below 0: a rebate.")] = None,
    taker_ppm: Annotated[int | None, typer.Option(help="Taker fee, parts per million.")] = None,
    clock: Annotated[str, typer.Option(help="timer: decide every 100 ms; event: after changes too.")] = "timer",
    fills: Annotated[Path | None, typer.Option(help="Write every fill: exch_ts_ns,order,side,price_ticks.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Sessions; run_s: the fastest, cold_first_run_s: the first.")] = 3,
    cache: Annotated[
        Path | None, typer.Option(help="Where a large tape's records are kept; default: the project's cache folder.")
    ] = None,
) -> None:
    """MM-1 on a book: one post-only order at each touch while the inventory allows it, 1 ms to the exchange and back.

    A file named tape_binance* or tape_lobster* has its market's tick, lot, order, cap and fees; any other needs --tick
    and --lot, trades one lot up to ten and pays no fee unless told.

    Example: python -m evaluation peer mm1 --tape work/tape_binancex.npy --clock event --fills fills.csv
    """
    known = next((terms for name, terms in MARKETS.items() if _name(tape).startswith(name)), None)
    tick, lot = tick or (known and known[0]), lot or (known and known[1])
    if tick is None or lot is None:
        raise BadInput(f"{tape}: its name is none of a prepared tape: give --tick and --lot")
    order_qty = order_qty or (known[2] if known else lot)
    cap = cap or (known[3] if known else str(10 * Fraction(order_qty)))
    maker_ppm = maker_ppm if maker_ppm is not None else (known[4] if known else 0)
    taker_ppm = taker_ppm if taker_ppm is not None else (known[5] if known else 0)
    instrument = peer_instrument(tick, lot, maker_ppm, taker_ppm)
    built = config.build(mm1_trading(instrument, order_qty, cap, clock), [instrument])
    records = peer_tape.load(tape, tick, lot, cache or _cache())
    imported = _process_age()
    run, timing, wall = _timed(lambda: play_book(built, records), book_run, repeats)
    done = run.of(Kind.FILL, FILL)
    if fills is not None:
        columns = done["ts_event"], done["order_id"], _sides(done), done["price"]
        _write_fills(fills, "exch_ts_ns,order,side,price_ticks", *columns)
    _emit(
        script="lob_portcullis",
        version=importlib.metadata.version("portcullis"),
        tape=_name(tape),
        clock=clock,
        rows=len(records),
        **mm1_result(run, built, tick, lot),
        rows_per_s=_rate(len(records), timing),
        cold_first_run_s=timing.pop("first_s"),
        import_s=imported,
        wall_from_start_s=wall,
        **timing,
    )


def peer_instrument(tick: str, lot: str, maker_ppm: int, taker_ppm: int) -> Instrument:
    """The one instrument of a piece of work. Raises BadConfig for an impossible grid or fee."""
    return Instrument(
        symbol="PEER",
        base="BASE",
        quote=Account().quote,
        tick=tick,
        lot=lot,
        base_unit=lot,
        maker_fee_ppm=maker_ppm,
        taker_fee_ppm=taker_ppm,
        venue="peer",
    )


def sma_trading(instrument: Instrument, order_qty: str, cash: str) -> Trading:
    """The settings of work SMA. Raises BadConfig for a quantity off the grid of lots."""
    return Trading(
        account=Account(initial_cash=cash),
        execution=Execution(
            feed_latency_ns=1,
            decision_latency_ns=0,
            order_latency_ns=1,
            slippage_ppm=0,
            participation_ppm=0,
            order_ttl_ns=LONG_NS,
        ),
        strategy=Strategy(kind="sma", fast=20, slow=100, fixed_lots=instrument.qty_lots(order_qty)),
        risk=WIDE,
    )


def mm1_trading(instrument: Instrument, order_qty: str, cap: str, clock: str) -> Trading:
    """The settings of work MM-1. Raises BadConfig for a quantity off the grid of lots."""
    limits = {"asset_cap_ppm": MM1_LEVERAGE_PPM, "total_cap_ppm": MM1_LEVERAGE_PPM, "deleverage_ppm": PPM}
    return Trading(
        account=Account(profile="margin", initial_cash=MM1_CASH, leverage_ppm=MM1_LEVERAGE_PPM),
        execution=Execution(
            order_latency_ns=LATENCY_NS,
            response_latency_ns=LATENCY_NS,
            decision_clock=clock,
            decision_interval_ns=INTERVAL_NS,
            slippage_ppm=0,
            order_ttl_ns=LONG_NS,
        ),
        strategy=Strategy(
            kind="mm1", order_lots=instrument.qty_lots(order_qty), inventory_lots=instrument.qty_lots(cap)
        ),
        risk=msgspec.structs.replace(WIDE, **limits),
    )


def play_bars(built: np.ndarray, bars: np.ndarray) -> Run:
    """Work SMA: a session on ``bars`` without marks."""
    state, venue, strategy = engine.new_state(built), engine.new_venue(built), strategies.get("sma")
    no_predictions, no_rows, no_marks = np.zeros(0, PREDICTION), np.zeros(0, np.int64), np.zeros(0, MARK)
    out, row, count = np.zeros(len(bars) + 4 * engine.OUT_PER_INPUT, RECORD), 0, 0  # memory only where it is written
    while row < len(bars):
        before = row
        row, _, made, _ = engine.run(
            built, state, venue, bars, no_predictions, no_rows, row, out[count:], no_marks, strategy
        )
        count += made
        if row < len(bars):
            require(row > before or len(out) - count < 4 * engine.OUT_PER_INPUT, f"the session stopped at row {row}")
            out = np.concatenate([out, np.zeros(len(out), RECORD)])
    return Run(out[:count], state)


def play_book(built: np.ndarray, records: np.ndarray) -> ticks.Run:
    """Work MM-1: a session on ``records``."""
    return ticks.session(built, records, strategies.get("mm1"))


def book_run(played: ticks.Run) -> Run:
    """The end of a session on a book."""
    bid, ask = (int(played.books[0][side]) for side in ("bid", "ask"))
    return Run(played.out, played.state, played.decisions, bid + ask if bid > 0 and ask > 0 else 0)


def mm1_result(run: Run, built: np.ndarray, tick: str, lot: str) -> dict[str, Any]:
    """The figures of work MM-1. ``mid`` is None where a side is empty at the end; the last mid then values the rest."""
    intents, done = run.of(Kind.INTENT, INTENT), run.of(Kind.FILL, FILL)
    fee_units, pnl_units = int(done["fee"].sum()), _pnl_units(run, built)
    return {
        "orders": int((intents["flags"] & ACTION_MASK != Action.CANCEL).sum()),
        "decisions": run.decisions,
        "fills": len(done),
        "position": float(_lots(run) * Fraction(lot)),
        "fee": fee_units / UNITS,
        "pnl": pnl_units / UNITS,
        "pnl_units": pnl_units,
        "mid": float(run.mid2 * Fraction(tick) / 2) if run.mid2 else None,
    }


def _pnl_units(run: Run, built: np.ndarray) -> int:
    """Equity at the end less initial cash in units of 1e-8. Raises BadInput if a limit had a part in it."""
    refused = run.of(Kind.CHECK, CHECK)
    refused = refused[refused["flags"] == Verdict.REFUSED]
    moved = run.of(Kind.RISK, RISK)
    moved = moved[moved["state_to"] != RiskState.NORMAL]
    if len(refused) or len(moved):
        first = min([*refused[:1].tolist(), *moved[:1].tolist()])
        raise BadInput(
            f"limits bound: {len(refused)} orders refused, {len(moved)} changes of the risk state, the first for "
            f"{Reason(first[5]).name} at {first[1]} ns; the work is defined without limits: lower --order-qty and --cap"
        )
    return int(run.state[0]["account"]["equity"]) - int(built[0]["initial_cash"])


def _lots(run: Run) -> int:
    return int(run.state[0]["positions"][0]["view"]["lots"])


def _timed(play: Callable[[], T], ended: Callable[[T], Run], repeats: int) -> tuple[Run, dict[str, Any], float]:
    """(the last session, its timing, wall time from the process' start to the first result)."""
    took, digests, wall = [], set(), 0.0
    for number in range(repeats):
        began = time.perf_counter()
        played = play()
        took.append(time.perf_counter() - began)
        wall = _process_age() if number == 0 else wall
        run = ended(played)
        digests.add(hashlib.sha256(run.out.tobytes() + run.state.tobytes()).hexdigest())
    timing = {
        "run_s": round(min(took), 6),
        "first_s": round(took[0], 6),
        "same_again": len(digests) == 1,
        "replay_sha256": hashlib.sha256(run.of(Kind.FILL, FILL).tobytes()).hexdigest()[:16],
    }
    return run, timing, wall


def _rate(rows: int, timing: dict[str, Any]) -> int:
    return round(rows / max(timing["run_s"], 1e-6))


def _process_age() -> float:
    """Seconds since the operating system started this process, imports included (to 10 ms)."""
    started = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
    return round(time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK"), 3)


def _name(tape: Path) -> str:
    return tape.stem.removeprefix("tape_")


def _cache() -> Path:
    return Path(os.environ.get("PORTCULLIS_CACHE") or Path.home() / ".cache" / "portcullis") / "peer"


def _sides(fills: np.ndarray) -> np.ndarray:
    return np.where(fills["side"] == Side.BUY, "buy", "sell")


def _write_fills(path: Path, head: str, *columns: np.ndarray) -> None:
    rows = zip(*(column.tolist() for column in columns), strict=True)
    write_atomic(path, "".join([f"{head}\n", *(",".join(map(str, row)) + "\n" for row in rows)]).encode())


def _emit(**figures: Any) -> None:
    figures["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    typer.echo(json.dumps(figures, allow_nan=False))
