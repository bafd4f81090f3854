"""Batch, stream and runner see the same, at every record of every family of recorded data.

Books and quotes: MarketStates of the whole tape in one batch, record by record, as lanes, and of a paper session. Bars:
the features of one batch and bar by bar. A session on quotes alone does not exist: no simulated exchange has their
depth; its kernel is the one that is held here.
"""

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.records import BAR, RECORD, Kind
from core.settings import Strategy
from data import lanes
from features import bars, book
from features.market_state import EXTRA, MARKET_STATE, WARMUP_EVENTS, specs_of
from features.market_stream import MarketStates, RowsDigest, as_one
from features.spec import FeatureParams, bar_spec
from feeds.market import Market, from_yaml
from feeds.tape import Tape
from runner.book_session import BookSession
from runner.clock import Pacer
from runner.failpoints import Failpoints
from runner.home import Run
from runner.journal import Journal
from runner.plan import header_ledger
from tests.core.recorded import SHARED, needs
from tests.data.candles import ingest as ingest_bars
from tests.data.test_data_events import ingest
from tests.runner.book_tapes import MAKER, make_place

ROOT = Path(__file__).parents[2]
RECORDED = SHARED / "market-data"


def market(name: str) -> Market:
    return from_yaml((ROOT / f"data/markets/{name}.yaml").read_text(), where=name)


@dataclass(frozen=True)
class Family:
    folder: str
    market: Market
    source: str
    files: str
    records: int  # at least


FAMILIES = {
    "futures": Family("lob/binance-ws", market("binance_futures_btc"), "binance_ws", "usdm-*.gz", 400_000),
    "spot": Family("lob/binance-ws", market("binance_spot").select(("BTC-USDT",)), "binance_ws", "spot-*.gz", 300_000),
    "lobster": Family("lob/lobster", market("nasdaq"), "lobster", "*.zip", 300_000),
    "oanda": Family("fx", market("fx_eurusd"), "quotes", "EURUSD-ticks-oanda*", 500_000),
    "fxcm": Family("fx", market("fx_eurusd"), "quotes", "EURUSD-ticks-fxcm*", 1_000_000),
}
CANDLES = {
    "candles 5m": ("binance-spot-5m-2025", "binance_spot", 5),
    "candles 1m": ("binance-spot-1m-2021", "binance_spot_2021", 1),
}


def digests(tape: Tape, states: np.ndarray, extra: np.ndarray, ready: np.ndarray) -> dict:
    """Of each instrument's ready rows, and all together."""
    made, instrument = [RowsDigest() for _ in tape.instruments], tape.records["instrument"][states["seq"]]
    for index, digest in enumerate(made):
        own = ready & (instrument == index)
        digest.add(states[own], extra[own])
    return as_one(made)


def by_batch(tape: Tape) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    records = np.asarray(tape.records)
    made = [np.zeros(len(records), dtype) for dtype in (MARKET_STATE, EXTRA, np.bool_)]
    count = book.batch(*book.new_state(specs_of(tape.instruments, tape.meta)), records, 0, *made)
    return tuple(part[:count] for part in made)


def by_record(tape: Tape, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One call a record, as a live feed would."""
    records = np.asarray(tape.records)
    state, held = book.new_state(specs_of(tape.instruments, tape.meta))
    states, extra, ready, n = np.zeros(rows + 1, MARKET_STATE), np.zeros(rows + 1, EXTRA), np.zeros(rows + 1, bool), 0
    for row in range(len(records)):
        if book.update(state, held, records[row : row + 1], row, states[n : n + 1], extra[n : n + 1]):
            ready[n] = state["events"][records["instrument"][row]] >= WARMUP_EVENTS
            n += 1
    return states[:n], extra[:n], ready[:n]


def by_session(tape: Tape, folder: Path) -> dict:
    """A paper session that watches and sends nothing."""
    account = msgspec.structs.replace(MAKER.account, quote=tape.instruments[0].quote)
    execution = msgspec.structs.replace(MAKER.execution, decision_clock="timer", decision_interval_ns=60_000_000_000)
    watching = msgspec.structs.replace(
        MAKER, account=account, execution=execution, strategy=Strategy(kind="edge_ticks")
    )
    place = make_place(
        folder, [np.asarray(tape.records)], instruments=tape.instruments, trading=watching, meta=dict(tape.meta)
    )
    plan, _ = place.plan()
    run = Run(place.home.folder / "runs/all")
    run.folder.mkdir(parents=True)
    with Journal(run.journal, plan.header, header_ledger(plan.header), Failpoints()) as journal:
        session = BookSession(plan, journal, pacer=Pacer(None), failpoints=Failpoints())
        for _ in session.play():
            pass
    return session.about()["market_state"]


@needs(RECORDED)
@pytest.mark.parametrize("name", FAMILIES)
def test_market_states(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    made = ingest(RECORDED / family.folder, family.market, tmp_path, family.source, files=family.files)
    tape = Tape.open(made / "market.tape")
    assert len(tape.records) >= family.records
    batch = by_batch(tape)
    assert batch[2].sum() > 1_000
    streamed = by_record(tape, len(batch[0]))
    assert [part.tobytes() for part in streamed] == [part.tobytes() for part in batch]
    whole = digests(tape, *batch)
    written, of_lanes = lanes.write(tape, tmp_path / "lanes")
    assert as_one(of_lanes) == whole and sum(int(lane.ready.sum()) for lane in written) == whole["rows"]
    stream = MarketStates(specs_of(tape.instruments, tape.meta))
    for start in range(0, len(tape.records), 9_973):
        stream.add(np.asarray(tape.records[start : start + 9_973]))
    assert as_one(stream.digests) == whole
    if Kind.TOP not in tape.records["kind"][:1_000]:
        assert by_session(tape, tmp_path / "place") == whole


@needs(RECORDED)
@pytest.mark.parametrize("name", CANDLES)
def test_features_of_bars(name: str, tmp_path: Path) -> None:
    folder, of, minutes = CANDLES[name]
    ingest_bars(
        tmp_path,
        market=market(of),
        source_name="parquet",
        path=str(RECORDED / "candles" / folder),
        interval_minutes=minutes,
    )
    tape = Tape.open(tmp_path / "data/market.tape")
    rows = np.asarray(tape.records).view(BAR)
    assert len(rows) > 400_000 and rows.dtype.itemsize == RECORD.itemsize
    spec = bar_spec(FeatureParams(), tape.interval_ns, 15 * 60_000_000_000)
    out, ready, sigma = (
        np.zeros((len(rows), spec.n_features), np.float32),
        np.zeros(len(rows), bool),
        np.zeros(len(rows)),
    )
    bars.batch(bars.new_state(spec, len(tape.instruments)), rows, out, ready, sigma)
    state, one = bars.new_state(spec, len(tape.instruments)), np.zeros((1, spec.n_features), np.float32)
    streamed, is_ready = np.zeros_like(out), np.zeros_like(ready)
    for row in range(len(rows)):
        is_ready[row] = bars.update(state, rows[row : row + 1], one)
        streamed[row] = one[0]
    assert streamed.tobytes() == out.tobytes() and is_ready.tobytes() == ready.tobytes() and ready.any()
