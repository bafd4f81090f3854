"""The order life cycle: what the table allows, and that everything else is a broken invariant."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import orders
from core.errors import BrokenInvariant
from core.layout import ORDER_SLOT
from core.records import Kind, Side
from core.records import OrderState as S
from tests.core.build import BTC, Desk, bars, only, order_report, predict, trading

ENDS = (S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED)
LIVE = (S.PENDING_NEW, S.NEW, S.PARTIAL, S.PENDING_CANCEL, S.UNKNOWN)


def test_an_end_is_an_end() -> None:
    for end in ENDS:
        after = {to: orders.AFTER[end, to] for to in S if orders.AFTER[end, to] != orders.IMPOSSIBLE}
        assert after.pop(S.PENDING_NEW) == S.PENDING_NEW  # a new order in the freed slot
        assert set(after.values()) == {end}  # an old report changes nothing
        assert not set(after) & (set(ENDS) - {end})  # another end contradicts this one


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
    order = np.zeros(1, ORDER_SLOT)[0]
    orders.open_slot(order, 1, Side.BUY, 10, 100, 2**62)
    for to in reports:
        before = S(order["state"])
        if orders.AFTER[before, to] == orders.IMPOSSIBLE:
            with pytest.raises(BrokenInvariant):
                orders.report(order, to)
            assert order["state"] == before
        else:
            orders.report(order, to)
            assert orders.is_live(order) == (order["state"] in LIVE)
            assert orders.remaining(order) == (10 if order["state"] in LIVE else 0)


def bought() -> tuple[Desk, np.void]:
    """A desk with a live buy, and its intent."""
    desk = Desk(trading(), (BTC,), venue=False)
    bar = bars([1_000_000])
    desk.feed(bar)
    return desk, only(desk.feed(predict(bar[0], edge=5_000)), Kind.INTENT)[0]


@pytest.mark.parametrize(("state", "words"), [(S.NONE, "cannot move"), (11, "no state"), (-1, "no state")])
def test_an_impossible_report_stops_the_core(state: int, words: str) -> None:
    desk, intent = bought()
    with pytest.raises(BrokenInvariant, match=words):
        desk.feed(order_report(intent, state, int(intent["ts_known"]) + 1))


def test_a_report_about_another_order_stops_the_core() -> None:
    desk, intent = bought()
    report = order_report(intent, S.NEW, int(intent["ts_known"]) + 1)
    report["order_id"] += 1
    with pytest.raises(BrokenInvariant, match="never sent"):
        desk.feed(report)
