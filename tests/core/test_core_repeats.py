"""What a venue says twice is heard once (requirements ORD-03): any report or fill, again at once or any time later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.layout import FILL_SLOTS
from core.records import FILL, RECORD, Kind, OrderState
from tests.core.build import BTC, ETH, Desk, bars, fill, only, order_report, predict, trading, walk

REPORTS = (Kind.ORDER, Kind.FILL)


def inputs(desk: Desk, seed: int, rows: int) -> list[np.ndarray]:
    """Everything the core hears in a random session at the simulated venue ``desk``, in order, each shape (1,)."""
    tape, predictions, _ = walk(np.random.default_rng(seed), rows, 2)
    heard = []
    for bar, prediction in zip(tape, predictions, strict=True):
        for record in (bar, prediction):
            row = np.array([record]).view(RECORD)
            made = desk.feed(row)
            heard += [made[k : k + 1] for k in range(len(made)) if made["kind"][k] in REPORTS] + [row]
    return heard


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.1, 1.0]), flatten_ppm=st.sampled_from([30_000, 900_000]))
def test_repeated_reports_change_not_a_byte(seed: int, share: float, flatten_ppm: int) -> None:
    rules = trading(
        caution_drawdown_ppm=10_000, halt_drawdown_ppm=20_000, flatten_drawdown_ppm=flatten_ppm, daily_stop_ppm=50_000
    )
    once, twice = Desk(rules, (BTC, ETH)), Desk(rules, (BTC, ETH), venue=False)
    rng, said = np.random.default_rng(seed), []
    for record in inputs(once, seed, rows=150):
        twice.feed(record)
        if record["kind"][0] in REPORTS:
            said.append(record)
            if rng.random() < share:
                assert not len(twice.feed(record))
        if said and rng.random() < share:  # an old one again, perhaps of an order that ended long ago
            late = said[max(0, len(said) - 1 - int(rng.integers(0, 40)))].copy()
            late["ts_known"] = record["ts_known"]
            twice.feed(late)
    assert len(said) > 3
    assert twice.state.tobytes() == once.state.tobytes()
    reports = [out[~np.isin(out["kind"], REPORTS)] for out in once.out]
    assert np.concatenate(twice.out).tobytes() == np.concatenate(reports).tobytes()


def bought() -> tuple[Desk, np.void, int]:
    """A desk whose buy is on its way, its intent and a time after it."""
    desk = Desk(trading(), (BTC,), venue=False)
    bar = bars([1_000_000])
    desk.feed(bar)
    intent = only(desk.feed(predict(bar[0], edge=5_000)), Kind.INTENT)[0]
    return desk, intent, int(intent["ts_known"]) + 1


def test_two_executions_of_one_order_are_two_fills() -> None:
    desk, intent, now = bought()
    part = fill(intent, 1_000_000, 10, now)
    desk.feed(part)
    one = int(desk.state["positions"]["base_units"][0, 0])
    desk.feed(part)
    assert desk.state["positions"]["base_units"][0, 0] == one
    part["exec_id"] += 1
    desk.feed(part)
    assert desk.state["positions"]["base_units"][0, 0] == 2 * one


def test_a_fill_is_remembered_for_a_bounded_number_of_fills() -> None:
    desk, intent, now = bought()
    parts = np.repeat(fill(intent, 1_000_000, 1, now), FILL_SLOTS + 1)
    parts["exec_id"] = np.random.default_rng(0).permutation(len(parts))  # ids need not ascend
    for part in parts:
        desk.feed(np.array([part], FILL))
    held = int(desk.state["positions"]["base_units"][0, 0])
    desk.feed(parts[1:2])
    assert desk.state["positions"]["base_units"][0, 0] == held
    desk.feed(parts[:1])
    assert desk.state["positions"]["base_units"][0, 0] > held


@pytest.mark.parametrize("late", [OrderState.NEW, OrderState.PARTIAL, OrderState.FILLED])
def test_a_fill_may_overtake_every_report_of_its_order(late: OrderState) -> None:
    desk, intent, now = bought()
    desk.feed(fill(intent, 1_000_000, int(intent["qty"]), now))
    assert not len(desk.feed(order_report(intent, late, now + 1)))
    orders = desk.state[0]["orders"][0]
    assert (orders["live"], orders["slots"][0]["state"]) == (0, OrderState.FILLED)


def test_a_reject_said_twice_is_one_failure() -> None:
    desk, intent, now = bought()
    for at in (now, now + 1):
        desk.feed(order_report(intent, OrderState.REJECTED, at))
    assert desk.state["risk"]["failures"][0] == 1
