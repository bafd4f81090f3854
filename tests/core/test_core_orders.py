"""The order life cycle: what the table allows, and that everything else is a broken invariant."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import orders
from core.errors import BrokenInvariant
from core.layout import ORDER_SLOT, ORDERS, ORDERS_MAX
from core.records import FILL, Action, Kind, Side
from core.records import OrderState as S
from tests.core.build import BTC, Desk, bars, only, order_report, predict, trading
from tests.properties import holding

ENDS = (S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED)
LIVE = (S.PENDING_NEW, S.NEW, S.PARTIAL, S.PENDING_CANCEL, S.UNKNOWN)


def test_an_end_is_an_end() -> None:
    for end in ENDS:
        after = {to: orders.AFTER[end, to] for to in S if orders.AFTER[end, to] != orders.IMPOSSIBLE}
        assert set(after.values()) == {end}  # an old report changes nothing
        assert not set(after) & (set(ENDS) - {end})  # another end contradicts this one


@pytest.mark.parametrize("state", [state for state in S if state != S.NONE])
def test_every_cell_of_the_table_is_what_a_plain_reading_says(state: S) -> None:
    for to in S:
        expected = holding.after(state, to)
        assert orders.AFTER[state, to] == (orders.IMPOSSIBLE if expected is None else expected), to


def test_no_report_makes_an_order() -> None:
    assert set(orders.AFTER[S.NONE]) == {orders.IMPOSSIBLE}
    assert set(orders.AFTER[:, S.PENDING_NEW]) == {orders.IMPOSSIBLE}


def test_every_live_order_can_end_and_can_become_unknown() -> None:
    for state in LIVE:
        reachable = {S(after) for after in orders.AFTER[state] if after != orders.IMPOSSIBLE}
        assert {S.FILLED, S.CANCELED, S.EXPIRED, S.UNKNOWN} <= reachable
        assert S.NONE not in reachable


def test_only_an_order_not_yet_accepted_can_be_rejected() -> None:
    rejectable = [state for state in LIVE if orders.AFTER[state, S.REJECTED] != orders.IMPOSSIBLE]
    assert rejectable == [S.PENDING_NEW, S.PENDING_CANCEL, S.UNKNOWN]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*S]), max_size=12))
def test_a_walk_of_reports_keeps_the_law_or_raises(reports: list[S]) -> None:
    mine = np.zeros(1, ORDERS)[0]
    orders.open_slot(mine, 1, Side.BUY, Action.OPEN, 10, 0, 100, 2**62)
    order = mine["slots"][0]
    for to in reports:
        before = S(order["state"])
        if orders.AFTER[before, to] == orders.IMPOSSIBLE:
            with pytest.raises(BrokenInvariant):
                orders.report(mine, 0, to)
            assert order["state"] == before
        else:
            assert orders.report(mine, 0, to) == order["state"] == orders.AFTER[before, to]
            assert orders.is_live(order) == (order["state"] in LIVE)
            assert orders.remaining(order) == (10 if order["state"] in LIVE else 0)
            assert mine["live"] == int(order["state"] in LIVE)


def test_live_orders_come_first_oldest_first_and_the_one_that_ended_last_is_remembered() -> None:
    mine = np.zeros(1, ORDERS)[0]
    for number in (1, 2, 3, 4):
        orders.open_slot(mine, number, Side.BUY, Action.OPEN, 10 * number, 5, 100 + number, 1_000 + number)
    orders.report(mine, orders.find(mine, 2), S.CANCELED)
    assert (mine["live"], mine["slots"]["order_id"].tolist()[:5]) == (3, [1, 3, 4, 2, 0])
    assert mine["slots"][3].tolist() == (2, Side.BUY, S.CANCELED, Action.OPEN, 20, 0, 5, 102, 1_002, 0, 0)
    orders.open_slot(mine, 5, Side.SELL, Action.REDUCE, 7, 0, 99, 2_000)
    assert (mine["live"], mine["slots"]["order_id"].tolist()[:4]) == (4, [1, 3, 4, 5])
    assert mine["slots"][3].tolist() == (5, Side.SELL, S.PENDING_NEW, Action.REDUCE, 7, 0, 0, 99, 2_000, 0, 0)
    assert [orders.find(mine, number) for number in (1, 3, 4, 5, 6)] == [0, 1, 2, 3, -1]
    assert 4 <= orders.find(mine, 2) < ORDERS_MAX
    assert mine["slots"][orders.find(mine, 2)].tolist() == (
        2,
        Side.BUY,
        S.CANCELED,
        Action.OPEN,
        20,
        0,
        5,
        102,
        1_002,
        0,
        0,
    )


def test_a_full_row_of_live_orders_takes_no_more_and_an_ended_one_makes_room() -> None:
    mine = np.zeros(1, ORDERS)[0]
    for number in range(1, ORDERS_MAX + 1):
        orders.open_slot(mine, number, Side.BUY, Action.OPEN, 10, 5, 100, 1_000)
    before = mine.tobytes()
    with pytest.raises(BrokenInvariant, match="no free order slot"):
        orders.open_slot(mine, 99, Side.BUY, Action.OPEN, 10, 5, 100, 1_000)
    assert mine.tobytes() == before
    orders.report(mine, orders.find(mine, 3), S.EXPIRED)
    assert orders.find(mine, 3) == ORDERS_MAX - 1
    orders.open_slot(mine, 9, Side.BUY, Action.OPEN, 10, 5, 100, 1_000)
    assert (mine["live"], orders.find(mine, 3)) == (ORDERS_MAX, -1)
    assert mine["slots"]["order_id"].tolist()[:ORDERS_MAX] == [1, 2, 4, 5, 6, 7, 8, 9]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2 * ORDERS_MAX), max_size=60))
def test_any_life_of_slots_keeps_every_live_order_and_no_order_twice(steps: list[int]) -> None:
    """A step below ORDERS_MAX ends that live order, if there is one; any other opens a new one.

    What ended last outlives the next opening, if there is a slot for it.
    """
    mine, live = np.zeros(1, ORDERS)[0], list[int]()
    ended, number, since = 0, 0, 0
    for step in steps:
        if step < len(live):
            ended, since = live.pop(step), 0
            assert orders.report(mine, orders.find(mine, ended), S.CANCELED) == S.CANCELED
        elif step >= ORDERS_MAX and len(live) < ORDERS_MAX:
            number, since = number + 1, since + 1
            orders.open_slot(mine, number, Side.BUY, Action.OPEN, number, 0, 100, 2**62)
            live.append(number)
        ids = mine["slots"]["order_id"].tolist()[:ORDERS_MAX]
        assert (mine["live"], ids[: len(live)]) == (len(live), live)
        assert all(slot["qty"] == slot["order_id"] for slot in mine["slots"][: len(live)])
        assert len({kept for kept in ids if kept}) == sum(kept > 0 for kept in ids)
        if ended and since <= 1 and len(live) < ORDERS_MAX:
            k = orders.find(mine, ended)
            assert len(live) <= k < ORDERS_MAX and mine["slots"][k]["state"] == S.CANCELED


@pytest.mark.parametrize(
    ("side", "fills", "within", "state", "filled"),
    [
        (Side.BUY, [4], [True], S.PARTIAL, 4),
        (Side.BUY, [10], [True], S.FILLED, 10),
        (Side.BUY, [4, 6], [True, True], S.FILLED, 10),
        (Side.BUY, [9, 2], [True, False], S.FILLED, 11),
        (Side.BUY, [10, 1], [True, False], S.FILLED, 10),  # it had ended
        (Side.SELL, [1], [False], S.NEW, 0),  # not its side
    ],
)
def test_a_fill_is_within_its_order_or_is_not(
    side: Side, fills: list[int], within: list[bool], state: S, filled: int
) -> None:
    mine, told = np.zeros(1, ORDERS)[0], np.zeros(1, FILL)
    orders.open_slot(mine, 1, Side.BUY, Action.OPEN, 10, 0, 100, 2**62)
    orders.report(mine, 0, S.NEW)
    said = []
    for qty in fills:
        told[0]["side"], told[0]["qty"] = side, qty
        said.append(orders.apply_fill(mine, 0, told[0]))
    assert said == within
    assert (mine["slots"][0]["state"], mine["slots"][0]["filled"]) == (state, filled)
    assert orders.remaining(mine["slots"][0]) == (0 if state == S.FILLED else 10 - filled)


def test_a_fill_of_an_order_not_remembered_or_not_live_is_beyond_it() -> None:
    mine, told = np.zeros(1, ORDERS)[0], np.zeros(1, FILL)
    orders.open_slot(mine, 1, Side.BUY, Action.OPEN, 10, 0, 100, 2**62)
    told[0]["side"], told[0]["qty"] = Side.BUY, 1
    before = mine.tobytes()
    assert not orders.apply_fill(mine, -1, told[0])
    assert not orders.apply_fill(mine, 1, told[0])
    assert mine.tobytes() == before
    orders.report(mine, 0, S.CANCELED)
    before = mine.tobytes()
    for k in (-1, 0):  # what is beyond the slots is no order either
        assert not orders.apply_fill(mine, k, told[0])
    assert mine.tobytes() == before


@pytest.mark.parametrize(("state", "working"), [(state, state in (S.NEW, S.PARTIAL)) for state in S])
def test_only_a_confirmed_order_works(state: S, working: bool) -> None:
    order = np.zeros(1, ORDER_SLOT)[0]
    order["state"] = state
    assert orders.is_working(order) == working
    assert orders.is_live(order) == (state in LIVE)


def test_an_order_filled_beyond_its_quantity_has_nothing_left() -> None:
    order = np.zeros(1, ORDER_SLOT)[0]
    order["state"], order["qty"], order["filled"] = S.PENDING_CANCEL, 10, 13
    assert orders.remaining(order) == 0


def bought() -> tuple[Desk, np.void]:
    """A desk with a live buy, and its intent."""
    desk = Desk(trading(), (BTC,), venue=False)
    bar = bars([1_000_000])
    desk.feed(bar)
    return desk, only(desk.feed(predict(bar[0], edge=5_000)), Kind.INTENT)[0]


@pytest.mark.parametrize(("state", "words"), [(S.NONE, "cannot move"), (len(S), "no state"), (-1, "no state")])
def test_an_impossible_report_stops_the_core(state: int, words: str) -> None:
    desk, intent = bought()
    with pytest.raises(BrokenInvariant, match=words):
        desk.feed(order_report(intent, state, int(intent["ts_known"]) + 1))


@pytest.mark.parametrize("order_id", [2, 0, -1])
def test_a_report_about_another_order_stops_the_core(order_id: int) -> None:
    desk, intent = bought()
    report = order_report(intent, S.NEW, int(intent["ts_known"]) + 1)
    report["order_id"] = order_id
    with pytest.raises(BrokenInvariant, match="never sent"):
        desk.feed(report)
