"""Truth from outside for books: MM-1 equals what independent engines agree on, and a slow reference on odd tapes.

Every order, every cancel, every fill, every cash unit. ``ODD_TAPES=5000`` tries more of them than a CI run.
"""

import csv
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from core import config, strategies, ticks
from core.records import ACTION_MASK, Action, Kind, RiskState, Verdict
from evaluation import peer, peer_tape
from tests.core import lob_reference
from tests.core.build import only
from tests.core.odd_tapes import OddTape, odd_tape
from tests.core.recorded import ENGINES, needs

ODD_TAPES = int(os.environ.get("ODD_TAPES", "240"))
TRUTHS = {  # orders, fills, position in lots, fees and profit in units of 1e-8
    ("binance", "timer"): (749, 449, -3, 554_251_662, -766_226_662),
    ("binance", "event"): (1_448, 943, 5, 1_163_774_696, -1_858_859_696),
    ("lobster", "timer"): (8_384, 920, -1_000, -104_756_854_000, 251_656_854_000),
}
needs_golden = needs(ENGINES)


def played(run: ticks.Run) -> lob_reference.Result:
    """What the engine did, in the reference's words."""
    intents, fills = only(run.out, Kind.INTENT), only(run.out, Kind.FILL)
    is_cancel = intents["flags"] & ACTION_MASK == Action.CANCEL
    account, book, cash = run.state[0]["account"], run.books[0], int(run.config[0]["initial_cash"])
    whole = book["bid"] > 0 and book["ask"] > 0
    return lob_reference.Result(
        fills=[tuple(row) for row in fills[["ts_event", "order_id", "side", "price"]].tolist()],
        orders=[tuple(row) for row in intents[~is_cancel][["ts_event", "side", "price"]].tolist()],
        cancels=[tuple(row) for row in intents[is_cancel][["ts_event", "order_id"]].tolist()],
        decisions=run.decisions,
        position=int(run.state[0]["positions"][0]["view"]["lots"]),
        cash=int(account["cash"]) - cash,
        fees=int(fills["fee"].sum()),
        mid2=int(book["bid"] + book["ask"]) if whole else None,
        pnl=int(account["equity"]) - cash if whole else None,
    )


def golden(name: str, clock: str) -> list[tuple[int, ...]]:
    with open(ENGINES / f"mm1_{name}_{clock}_fills.csv", newline="") as file:
        return [
            (int(row["exch_ts_ns"]), int(row["order"]), {"buy": 1, "sell": 2}[row["side"]], int(row["price_ticks"]))
            for row in csv.DictReader(file)
        ]


def work(name: str, clock: str) -> lob_reference.Work:
    tick, lot, order, cap, maker_ppm, _ = peer.MARKETS[name]
    return lob_reference.Work(
        value=Fraction(tick) * Fraction(lot) * 10**8,
        order_lots=int(Fraction(order) / Fraction(lot)),
        inventory_lots=int(Fraction(cap) / Fraction(lot)),
        maker_fee_ppm=maker_ppm,
        clock=clock,
    )


@needs_golden
@pytest.mark.parametrize(("name", "clock"), TRUTHS, ids=["-".join(truth) for truth in TRUTHS])
def test_the_reference_equals_the_true_runs(name: str, clock: str) -> None:
    with np.load(ENGINES / f"tape_{name}.npz") as held:
        rows = lob_reference.rows_of_events(held["tape"], float(peer.MARKETS[name][0]), float(peer.MARKETS[name][1]))
    done = lob_reference.run(rows, work(name, clock))
    assert done.fills == golden(name, clock)
    assert (len(done.orders), len(done.fills), done.position, done.fees, done.pnl) == TRUTHS[name, clock]


@needs_golden
@pytest.mark.parametrize(("name", "clock"), TRUTHS, ids=["-".join(truth) for truth in TRUTHS])
def test_the_engine_equals_the_true_runs(name: str, clock: str, tmp_path: Path) -> None:
    tick, lot, order, cap, maker_ppm, taker_ppm = peer.MARKETS[name]
    instrument = peer.peer_instrument(tick, lot, maker_ppm, taker_ppm)
    built = config.build(peer.mm1_trading(instrument, order, cap, clock), [instrument])
    tape = peer_tape.load(ENGINES / f"tape_{name}.npz", tick, lot, tmp_path)
    done = played(ticks.session(built, tape, strategies.get("mm1")))
    assert done.fills == golden(name, clock)
    assert (len(done.orders), len(done.fills), done.position, done.fees, done.pnl) == TRUTHS[name, clock]


def engine_config(odd: OddTape) -> np.ndarray:
    instrument = peer.peer_instrument(odd.tick, odd.lot, odd.maker_fee_ppm, 500)
    quantities = (str(Fraction(odd.lot) * lots) for lots in (odd.order_lots, odd.inventory_lots))
    return config.build(peer.mm1_trading(instrument, *quantities, odd.clock), [instrument])


def reference(odd: OddTape) -> lob_reference.Result:
    terms = lob_reference.Work(
        value=odd.value,
        order_lots=odd.order_lots,
        inventory_lots=odd.inventory_lots,
        maker_fee_ppm=odd.maker_fee_ppm,
        clock=odd.clock,
    )
    return lob_reference.run(lob_reference.rows_of(odd.records), terms)


def test_odd_tapes_do_what_they_are_for() -> None:
    """Otherwise the next test would prove little: they trade, empty books, cancel late and disagree on order."""
    tapes = [odd_tape(seed) for seed in range(ODD_TAPES)]
    results = [reference(odd) for odd in tapes]
    assert {0, 1, 2} <= {len(odd.records) for odd in tapes}
    assert sum(len(result.fills) for result in results) > 5 * ODD_TAPES
    assert sum(len(result.fills) > 0 for result in results) > ODD_TAPES // 3
    assert sum(result.mid2 is None for result in results) > ODD_TAPES // 10
    assert sum(len(result.cancels) for result in results) > 5 * ODD_TAPES
    assert sum(bool((np.diff(odd.records["ts_event"]) < 0).any()) for odd in tapes) > ODD_TAPES // 10
    assert {odd.clock for odd in tapes} == {"timer", "event"}


def test_the_engine_equals_the_reference_on_odd_tapes() -> None:
    differ = []
    for seed in range(ODD_TAPES):
        odd = odd_tape(seed)
        run = ticks.session(engine_config(odd), odd.records, strategies.get("mm1"))
        assert not (only(run.out, Kind.CHECK)["flags"] == Verdict.REFUSED).any(), f"seed {seed}: a limit bound"
        assert (only(run.out, Kind.RISK)["state_to"] == RiskState.NORMAL).all(), f"seed {seed}: a limit bound"
        if played(run) != reference(odd):
            differ.append(seed)
    assert not differ, f"seeds {differ} of {ODD_TAPES}"


def test_how_a_run_is_cut_into_pieces_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    for seed in range(20):
        odd = odd_tape(seed)
        whole = ticks.session(engine_config(odd), odd.records, strategies.get("mm1"))
        pieces = ticks.start(engine_config(odd), odd.records, strategies.get("mm1"))
        for rows in sorted(rng.integers(0, len(odd.records) + 1, 5)):
            pieces.advance(int(rows))
        pieces.advance(len(odd.records) + 1)
        assert pieces.out.tobytes() == whole.out.tobytes(), f"seed {seed}"
        assert pieces.state.tobytes() == whole.state.tobytes(), f"seed {seed}"


def test_a_wrong_fill_would_be_seen() -> None:
    """The comparison above can fail: one lot more in every trade, and tapes differ."""
    changed = 0
    for seed in range(60):
        odd = odd_tape(seed)
        altered = odd.records.copy()
        altered["b"][altered["kind"] == Kind.TRADE] += 1
        run = ticks.session(engine_config(odd), altered, strategies.get("mm1"))
        changed += played(run) != reference(odd)
    assert changed > 8
