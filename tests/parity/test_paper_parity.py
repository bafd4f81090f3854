"""A paper session is the backtest: the same orders, fills, reasons, marks and ledger, to the byte.

``core.engine.session`` stands for the backtest (evaluation calls nothing else), the runner's loop for paper. They share
the core but not the loop, the order of calls or the venue's edge, and the ledger's arithmetic is its own.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core import engine
from core.instruments import Instrument
from core.records import BAR, FILL, MARK, PREDICTION, RECORD, FeeAsset, Kind, Reason, RiskState, Side
from core.settings import Account, Assigned, Execution, Risk, Strategy, Trading, as_json
from feeds.market import BUILTIN
from feeds.synthetic import market
from feeds.tape import Tape, write_tape
from models.statement import verify_bundle
from models.stream import Stream
from runner.clock import Pacer
from runner.failpoints import Failpoints
from runner.feed import tape_feed
from runner.home import Run
from runner.journal import Journal
from runner.plan import Plan, header_core, header_ledger, make_plan, make_stream
from runner.reader import open_run, verify
from runner.session import Session
from tests.runner.bundles import TRADING, make_bundle, make_home, with_trading

MINUTE_NS = 60_000_000_000
STORMY = with_trading(
    risk=Risk(caution_drawdown_ppm=1_000, halt_drawdown_ppm=9_000, flatten_drawdown_ppm=12_000, daily_stop_ppm=4_000)
)
RULE = with_trading(strategy=Strategy(kind="sma", fast=5, slow=30, fixed_lots=20_000))

# Resting and followed entries, one order with two prices to leave at, two strategies beside them, one account.
SYMBOLS = [item.symbol for item in BUILTIN.instruments()]
WORKED = with_trading(
    strategy=Strategy(),
    strategies=(
        Assigned(
            kind="edge",
            entry="post",
            chase_ttl_ns=30 * MINUTE_NS,
            stop_loss_sigma_ppm=500_000,
            reward_risk_ppm=1_500_000,
            symbols=(SYMBOLS[0],),
        ),
        Assigned(kind="mean_revert", fast=12, fixed_lots=20_000, stop_loss_ticks=400, symbols=(SYMBOLS[1],)),
        Assigned(kind="sma", fast=5, slow=30, fixed_lots=20_000, take_profit_ticks=900, symbols=tuple(SYMBOLS[2:])),
    ),
)


@pytest.fixture(scope="module")
def fold_tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six days, the first two of them a fold's warm-up prefix."""
    path = tmp_path_factory.mktemp("fold") / "fold.tape"
    days = list(market(BUILTIN, days=6, seed=11, strength=1.0))
    trade_from = int(days[2]["ts_event"][0]) - 5 * MINUTE_NS
    write_tape(
        path,
        days,
        instruments=BUILTIN.instruments(),
        interval_ns=5 * MINUTE_NS,
        meta={"fold": 0, "trade_from_ns": trade_from},
    )
    return path


def predicted(tape: Path, plan: Plan) -> np.ndarray:
    """``predictions.npy`` of the fold: the stream over the tape, as calibration makes it."""
    bars = Tape.open(tape).records.view(BAR)
    stream = make_stream(plan.bundle, 3, plan.trading.execution.decision_latency_ns, plan.feed.trade_from_ns)
    if stream is None:
        return np.zeros(0, PREDICTION)
    return np.concatenate([stream.on_bar(bars[row : row + 1]) for row in range(len(bars))])


def mark(session: Session, bar: np.ndarray) -> np.ndarray:
    account, risk, row = session.state["account"][0], session.state["risk"][0], np.zeros(1, MARK)
    row["ts_event"], row["ts_known"], row["instrument"] = bar["ts_event"], bar["ts_known"], bar["instrument"]
    row["kind"] = Kind.MARK
    for name in ("equity", "cash", "exposure"):
        row[name] = account[name]
    row["peak_equity"], row["state"] = risk["peak_equity"], risk["state"]
    return row


def play(plan: Plan, run: Run) -> tuple[Session, np.ndarray]:
    """The session played and its marks."""
    execution = plan.trading.execution
    stream = make_stream(plan.bundle, 3, execution.decision_latency_ns, plan.feed.trade_from_ns)
    run.folder.mkdir(parents=True)
    with Journal(run.journal, plan.header, header_ledger(plan.header), Failpoints()) as journal:
        session = Session(plan, stream, journal, pacer=Pacer(None), failpoints=Failpoints())
        marks = [mark(session, bar) for bar in session.play()]
    return session, np.concatenate(marks)


@pytest.mark.parametrize(
    ("trading", "rule"),
    [(TRADING, False), (STORMY, False), (RULE, True), (WORKED, False)],
    ids=["edge", "stormy", "sma", "worked"],
)
def test_paper_equals_backtest(fold_tape: Path, tmp_path: Path, trading: Trading, rule: bool) -> None:
    home, folder = make_home(tmp_path / "home"), make_bundle(tmp_path / "bundle", trading, rule=rule)
    bundle, _ = verify_bundle(folder, home / "trust")
    plan, run = make_plan(bundle, tape_feed(fold_tape), bundle.manifest.trading), Run(home / "runs" / "r")
    assert plan.parity
    config, strategy = header_core(plan.header)
    predictions = predicted(fold_tape, plan)
    bars = Tape.open(fold_tape).records.view(BAR)
    backtest = engine.session(config, bars, predictions, np.arange(len(predictions)), strategy)

    session, marks = play(plan, run)

    with open_run(run) as reader:
        verified = verify(reader)
        journal = np.concatenate(list(reader.batches()))
    kinds = journal["kind"]
    made = journal[~np.isin(kinds, (Kind.SESSION, Kind.BAR, Kind.PREDICTION))]
    assert made.tobytes() == backtest.out.tobytes()
    assert marks.tobytes() == backtest.marks.tobytes()
    assert session.state.tobytes() == backtest.state.tobytes()
    assert journal[kinds == Kind.BAR].tobytes() == bars.tobytes()
    assert journal[kinds == Kind.PREDICTION].tobytes() == predictions.tobytes()
    assert int((kinds == Kind.FILL).sum()) > 20  # the comparison is about something
    if trading is WORKED:
        reasons = {Reason(int(reason)) for reason in journal["reason"][kinds == Kind.INTENT]}
        assert {Reason.POST, Reason.CHASE, Reason.TAKE_PROFIT, Reason.STOP_LOSS, Reason.REQUOTE, Reason.EXIT} <= reasons
    assert verified.ledger.balances["holdings", "USDT"] == int(backtest.state["account"]["cash"][0])
    for item, position in zip(BUILTIN.instruments(), backtest.state["positions"][0], strict=False):
        assert verified.ledger.balances.get(("holdings", item.base), 0) == int(position["base_units"])


def test_nothing_trades_in_the_warm_up_prefix(fold_tape: Path, tmp_path: Path) -> None:
    home, folder = make_home(tmp_path / "home"), make_bundle(tmp_path / "bundle")
    bundle, _ = verify_bundle(folder, home / "trust")
    plan, run = make_plan(bundle, tape_feed(fold_tape), bundle.manifest.trading), Run(home / "runs" / "r")
    play(plan, run)
    with open_run(run) as reader:
        journal = np.concatenate(list(reader.batches()))
    fills = journal[journal["kind"] == Kind.FILL]
    assert len(fills) and fills["ts_event"].min() > plan.feed.trade_from_ns
    warm = journal[(journal["kind"] == Kind.DECISION) & (journal["a"] <= plan.feed.trade_from_ns)]
    assert len(warm) and set(warm["reason"]) == {Reason.WARMUP}


def test_the_stormy_session_reaches_the_risk_states(fold_tape: Path, tmp_path: Path) -> None:
    """So that parity above covers halts and flattening, not only quiet trading."""
    home, folder = make_home(tmp_path / "home"), make_bundle(tmp_path / "bundle", STORMY)
    bundle, _ = verify_bundle(folder, home / "trust")
    plan, run = make_plan(bundle, tape_feed(fold_tape), bundle.manifest.trading), Run(home / "runs" / "r")
    session, marks = play(plan, run)
    assert set(np.unique(marks["state"])) > {RiskState.NORMAL}
    assert session.drawdown_max_ppm > 1_000


FEE_IN_BASE = Instrument(
    symbol="ETH-USDT", base="ETH", quote="USDT", tick="0.01", lot="0.0001", taker_fee_ppm=1_000, fee_asset="received"
)
FLIP_FLOP = Trading(
    account=Account(initial_cash="1000"),
    execution=Execution(order_latency_ns=1, slippage_ppm=0, participation_ppm=0),
    strategy=Strategy(kind="sma", fast=1, slow=2, fixed_lots=1_003),
    risk=Risk(asset_cap_ppm=950_000, daily_stop_ppm=900_000, flatten_daily_loss_ppm=900_000, price_band_ppm=900_000),
)


def zigzag() -> Iterator[np.ndarray]:
    """Bars that make the crossover change sides every few bars."""
    bars = np.zeros(200, BAR)
    close = 200_000 + 1_500 * ((np.arange(200) // 3) % 2) + np.arange(200)
    bars["ts_event"] = (np.arange(200) + 1) * 5 * MINUTE_NS
    bars["ts_known"], bars["kind"], bars["volume"] = bars["ts_event"] + 1, Kind.BAR, 10**9
    bars["close"], bars["open"] = close, np.concatenate([close[:1], close[:-1]])
    bars["high"], bars["low"] = np.maximum(bars["open"], close), np.minimum(bars["open"], close)
    yield bars


def test_fees_taken_from_the_base_leave_dust_that_both_agree_on(tmp_path: Path) -> None:
    """A second way to the numbers: the fills' own arithmetic, in Python integers, against the core's state."""
    tape = tmp_path / "z.tape"
    write_tape(tape, zigzag(), instruments=[FEE_IN_BASE], interval_ns=5 * MINUTE_NS)
    feed = tape_feed(tape)
    header = {"trading": as_json(FLIP_FLOP), "instruments": [FEE_IN_BASE.as_json()]}
    config, strategy = header_core(header)
    bars = next(iter(feed.chunks()))
    backtest = engine.session(config, bars, np.zeros(0, PREDICTION), np.zeros(0, np.int64), strategy)
    out = backtest.out
    ledger = header_ledger(header)
    ledger.start(b"")
    opening = np.zeros(1, RECORD)
    opening["kind"] = Kind.SESSION
    ledger.transactions(0, opening)
    ledger.transactions(1, out)
    fills = out[out["kind"] == Kind.FILL].view(FILL)
    assert {(int(f["side"]), int(f["flags"])) for f in fills} == {
        (Side.BUY, FeeAsset.BASE),
        (Side.SELL, FeeAsset.QUOTE),
    }
    assert ledger.balances["holdings", "USDT"] == int(backtest.state["account"]["cash"][0])
    held = int(backtest.state["positions"][0][0]["base_units"])
    assert ledger.balances["holdings", "ETH"] == held
    assert held > 0 and held % 10_000  # not whole lots


def test_a_stream_made_twice_is_the_same(fold_tape: Path, tmp_path: Path) -> None:
    """Equal bars, equal bytes: a restart plays its bars again with another kernel state and another session."""
    home, folder = make_home(tmp_path / "home"), make_bundle(tmp_path / "bundle")
    bundle, _ = verify_bundle(folder, home / "trust")
    plan = make_plan(bundle, tape_feed(fold_tape), bundle.manifest.trading)
    bars = Tape.open(fold_tape).records.view(BAR)
    streams = [make_stream(plan.bundle, 3, 1, 0) for _ in range(2)]
    assert all(isinstance(stream, Stream) for stream in streams)
    first, second = ([stream.on_bar(bars[row : row + 1]).tobytes() for row in range(1500)] for stream in streams)
    assert first == second
