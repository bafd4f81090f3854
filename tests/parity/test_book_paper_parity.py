"""A paper session on books is ``core.ticks.session`` on the same tape: every record the core or the exchange made."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from core import stepwise, ticks
from core.instruments import Instrument
from core.records import Kind
from feeds.dialects import binance
from runner import feed as feeds_of_runs
from runner.book_session import BookSession
from runner.clock import Pacer
from runner.failpoints import Failpoints
from runner.home import Run
from runner.journal import Journal
from runner.plan import header_core, header_ledger
from runner.reader import open_run, replay_run, verify
from tests.core.recorded import needs
from tests.parity.test_book_truth import FUTURES, GOOG, binance_records, lobster_records
from tests.runner.book_tapes import MAKER, MS, Place, builtin_rows, make_place, several, uneven

INPUTS = (Kind.SESSION, Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.STATUS, Kind.TIMER)


def played(place: Place, name: str, **options: object) -> tuple[BookSession, np.ndarray]:
    """A session in a run of its own and its journal, verified and replayed."""
    plan, _ = place.plan()
    run = Run(place.home.folder / "runs" / name)
    run.folder.mkdir(parents=True)
    with Journal(run.journal, plan.header, header_ledger(plan.header), Failpoints()) as journal:
        session = BookSession(plan, journal, pacer=Pacer(None), failpoints=Failpoints(), **options)
        for _ in session.play():
            pass
    with open_run(run) as reader:
        verify(reader)
        assert replay_run(reader).difference is None
        return session, np.concatenate(list(reader.batches()))


def expect_parity(place: Place, name: str, **options: object) -> np.ndarray:
    """The session's outputs and reports, the market and the end states are those of the whole tape's session."""
    session, journal = played(place, name, **options)
    plan, _ = place.plan()
    rows = np.concatenate(list(plan.feed.chunks()))
    config, strategy = header_core(plan.header)
    whole = ticks.session(config, rows, strategy)
    made = journal[~np.isin(journal["kind"], INPUTS)]
    assert made.tobytes() == whole.out.tobytes()
    market = journal[np.isin(journal["kind"], INPUTS[1:-1])]
    assert market.tobytes() == rows.tobytes()
    timers = journal[journal["kind"] == Kind.TIMER]
    assert len(timers) == whole.decisions == session.place["decisions"][0]
    assert session.state.tobytes() == whole.state.tobytes()
    assert session.books.tobytes() == whole.books.tobytes()
    assert session.venue.books.tobytes() == whole.exchange_books.tobytes()
    assert session.venue.exchange.tobytes() == whole.exchange.tobytes()
    return made


@pytest.fixture(scope="module")
def hour() -> np.ndarray:
    return builtin_rows(rows=16_000)


def test_the_built_in_books(tmp_path: Path, hour: np.ndarray) -> None:
    made = expect_parity(make_place(tmp_path, [hour]), "whole")
    kinds = dict(zip(*np.unique(made["kind"], return_counts=True), strict=True))
    assert kinds[Kind.FILL] > 30 and kinds[Kind.INTENT] > 1_000


@pytest.mark.parametrize(("by_instant", "out_records"), [(True, 32_768), (False, 16), (True, 1)])
def test_however_it_is_cut(
    tmp_path: Path, hour: np.ndarray, by_instant: bool, out_records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In small pieces, instant by instant as a live feed comes, and with room for a few records: instants are torn."""
    monkeypatch.setattr(feeds_of_runs, "_BOOK_CHUNK_ROWS", 61)
    place = make_place(tmp_path, [uneven(hour[:7_000])], trading=several("BTC-USDT", "SOL-USDT"))
    made = expect_parity(place, "cut", by_instant=by_instant, out_records=out_records)
    assert (made["kind"] == Kind.FILL).sum() > 5


@needs(*FUTURES)
def test_a_recording_of_binance_futures(tmp_path: Path) -> None:
    """Its events are not in the order in which the recorder saw them."""
    records, _ = binance_records(FUTURES, binance.Market.FUTURES, "0.1", "0.001")
    rows = records[records["kind"] != Kind.TOP][:60_000]
    pair = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick="0.1", lot="0.001", venue="binance")
    meta = {"asset_class": "crypto_perp", "has_depth": True}
    place = make_place(tmp_path, [rows], instruments=(pair,), meta=meta)
    assert (np.diff(rows["ts_event"]) < 0).any() and place.plan()[0].feed.latency_ns_max > 10 * MS
    assert (expect_parity(place, "futures")["kind"] == Kind.INTENT).sum() > 100


@needs(GOOG)
def test_a_slice_of_a_lobster_day(tmp_path: Path) -> None:
    records, _ = lobster_records(GOOG, "GOOG", hidden=False)
    stock = Instrument(symbol="GOOG", base="GOOG", quote="USD", tick="0.01", lot="1", venue="nasdaq")
    account = msgspec.structs.replace(MAKER.account, quote="USD")
    trading = msgspec.structs.replace(MAKER, account=account)
    meta = {"asset_class": "equity", "has_depth": True}
    place = make_place(tmp_path, [records[:8_000]], instruments=(stock,), meta=meta, trading=trading)
    assert (expect_parity(place, "lobster")["kind"] == Kind.FILL).sum() > 5


def test_parity_can_fail(tmp_path: Path, hour: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are under way for longer are found."""
    place = make_place(tmp_path, [hour[:4_000]])
    send = stepwise.send

    def late(config: np.ndarray, venue: np.ndarray, intents: np.ndarray, at: np.ndarray) -> None:
        venue["request_last_ns"] = intents["ts_known"][-1] + 5 * MS
        send(config, venue, intents, at)

    monkeypatch.setattr(stepwise, "send", late)
    with pytest.raises(AssertionError):
        expect_parity(place, "late")
