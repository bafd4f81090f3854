"""The decision in ticks: edge against cost to the thousandth of a tick, equality holds, both numbers are recorded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import Action, DecisionFlag, Kind, OrderFlag, OrderState, Reason, Side
from tests.core.book_desk import COIN, BookDesk, on_books
from tests.core.build import only

BID, ASK = 19_998, 20_002  # a spread of 4 ticks around a mid of 20,000
# Half the spread 2,000 + slippage 0 + two taker fees of 500 ppm x 20,000 = 20,000 + adverse selection 250.
CROSSING = 22_250
# One maker fee of 100 ppm, one taker fee of 500 ppm = 12,000 + 250; the half spread is not counted as earned.
POSTING = 12_250


def desk(**changes: object) -> BookDesk:
    made = BookDesk(on_books(**{"kind": "edge_ticks", "fixed_lots": 7, "adverse_milliticks": 250, **changes}))
    made.touch(BID, ASK)
    return made


def decided(records: np.ndarray) -> tuple[Reason, int, int]:
    (row,) = only(records, Kind.DECISION)
    assert row["flags"] & DecisionFlag.MILLITICKS
    return Reason(int(row["reason"])), int(row["edge"]), int(row["cost"])


@pytest.mark.parametrize(
    ("entry", "delta_hat_ppm", "sigma_ppm", "reason", "edge", "cost", "order"),
    [
        # max(spread 4,000, k 0.5 x sigma 0 ppm) = 4,000 thousandths of a tick a unit
        ("cross", 5_562_750, 0, Reason.ENTRY, 22_251, CROSSING, (Side.BUY, ASK, OrderFlag.IMMEDIATE)),
        ("cross", 5_562_500, 0, Reason.NO_EDGE, 22_250, CROSSING, None),  # equal is not more
        ("cross", -5_562_500, 0, Reason.NO_EDGE, -22_250, CROSSING, None),
        ("cross", -5_562_750, 0, Reason.ENTRY, -22_251, CROSSING, (Side.SELL, BID, OrderFlag.IMMEDIATE)),
        ("cross", 5_562_749, 0, Reason.NO_EDGE, 22_250, CROSSING, None),  # 22,250.996: the edge is rounded down
        # sigma 1,000 ppm of 20,000 ticks = 20,000 thousandths, half of it 10,000 > 4,000
        ("cross", 2_225_000, 1_000, Reason.NO_EDGE, 22_250, CROSSING, None),
        ("cross", 2_225_100, 1_000, Reason.ENTRY, 22_251, CROSSING, (Side.BUY, ASK, OrderFlag.IMMEDIATE)),
        # sigma 400 ppm: 8,000, half of it 4,000 = the spread
        ("cross", 1_000_000, 400, Reason.NO_EDGE, 4_000, CROSSING, None),
        ("cross", 1_000_000, 402, Reason.NO_EDGE, 4_020, CROSSING, None),
        ("post", 1_225_000, 1_000, Reason.NO_EDGE, 12_250, POSTING, None),
        ("post", 1_225_100, 1_000, Reason.ENTRY, 12_251, POSTING, (Side.BUY, BID, OrderFlag.POST_ONLY)),
        ("post", -9_000_000, 1_000, Reason.ENTRY, -90_000, POSTING, (Side.SELL, ASK, OrderFlag.POST_ONLY)),
        ("best", 1_225_000, 1_000, Reason.NO_EDGE, 12_250, POSTING, None),
        ("best", 1_300_000, 1_000, Reason.ENTRY, 13_000, POSTING, (Side.BUY, BID, OrderFlag.POST_ONLY)),
        ("best", 2_225_000, 1_000, Reason.ENTRY, 22_250, POSTING, (Side.BUY, BID, OrderFlag.POST_ONLY)),
        ("best", 2_225_100, 1_000, Reason.ENTRY, 22_251, CROSSING, (Side.BUY, ASK, OrderFlag.IMMEDIATE)),
        ("market", 2_225_100, 1_000, Reason.ENTRY, 22_251, CROSSING, (Side.BUY, 0, 0)),
    ],
)
def test_golden_decisions(
    entry: str, delta_hat_ppm: int, sigma_ppm: int, reason: Reason, edge: int, cost: int, order: tuple[int, ...] | None
) -> None:
    made = desk(entry=entry).predict(delta_hat_ppm, sigma_ppm)
    assert decided(made) == (reason, edge, cost)
    sent = [
        (int(row["side"]), int(row["price"]), int(row["flags"]) & ~0xFF, int(row["qty"]))
        for row in only(made, Kind.INTENT)
    ]
    assert sent == ([] if order is None else [(*order, 7)])


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize(
    ("entry", "flow_lots", "shown", "reason", "edge", "way"),
    [
        # an edge of 18,000 against a cost of 12,250 to post and of 22,250 to cross
        ("post", 0, 99, Reason.ENTRY, 18_000, OrderFlag.POST_ONLY),  # nothing is said of the flow: it fills
        ("post", 100, 99, Reason.ENTRY, 18_000, OrderFlag.POST_ONLY),  # 100 / (99 + 1): surely
        ("post", 69, 99, Reason.ENTRY, 12_420, OrderFlag.POST_ONLY),
        ("post", 68, 99, Reason.NO_EDGE, 12_240, None),
        ("post", 500, 99, Reason.ENTRY, 18_000, OrderFlag.POST_ONLY),  # more than surely is surely
        ("best", 69, 99, Reason.ENTRY, 12_420, OrderFlag.POST_ONLY),
        ("best", 50, 99, Reason.NO_EDGE, 9_000, None),
        ("post", 50, 49, Reason.ENTRY, 18_000, OrderFlag.POST_ONLY),  # a shorter queue
    ],
)
def test_what_posts_counts_with_the_probability_that_it_fills(
    side: int, entry: str, flow_lots: int, shown: int, reason: Reason, edge: int, way: OrderFlag | None
) -> None:
    """ORD-11 and ORD-12 together: edge x fill probability must pay for adverse selection and fees."""
    book = BookDesk(on_books(kind="edge_ticks", fixed_lots=7, adverse_milliticks=250, entry=entry, flow_lots=flow_lots))
    book.touch(BID, ASK, shown)
    made = book.predict(side * 1_800_000, 1_000)
    assert decided(made)[:2] == (reason, side * edge)
    assert [int(row["flags"]) for row in only(made, Kind.INTENT)] == ([Action.OPEN | way] if way else [])


def test_crossing_does_not_wait_for_flow() -> None:
    book = BookDesk(on_books(kind="edge_ticks", fixed_lots=7, adverse_milliticks=250, entry="best", flow_lots=1))
    book.touch(BID, ASK, 99)
    assert decided(book.predict(2_225_100, 1_000)) == (Reason.ENTRY, 22_251, CROSSING)


def test_slippage_and_fees_are_rounded_up_and_a_rebate_counts_as_none() -> None:
    thin = {**COIN.as_json(), "taker_fee_ppm": 1, "maker_fee_ppm": -50}
    book = BookDesk(on_books(kind="edge_ticks", fixed_lots=1, slippage_ppm=3, entry="cross"), (type(COIN)(**thin),))
    book.touch(10_001, 10_002)
    # 500 + (3 + 2 x 1) ppm of 10,001.5 ticks = 50.0075 thousandths, rounded up
    assert decided(book.predict(0)) == (Reason.NO_EDGE, 0, 551)
    post = BookDesk(on_books(kind="edge_ticks", fixed_lots=1, slippage_ppm=3, entry="post"), (type(COIN)(**thin),))
    post.touch(10_001, 10_002)
    assert decided(post.predict(0)) == (Reason.NO_EDGE, 0, 11)


def test_hold_sends_nothing_and_a_forecast_against_us_leaves() -> None:
    book = desk(entry="cross")
    (entry,) = only(book.predict(9_000_000), Kind.INTENT)
    book.report(entry, OrderState.NEW)
    book.fill(entry, 7, ASK)
    held = book.predict(1)  # no more than its cost, but not against what is held
    assert decided(held)[0] == Reason.HOLD and len(only(held, Kind.INTENT)) == 0 and len(only(held, Kind.CHECK)) == 0
    left = book.predict(0)
    assert decided(left)[:2] == (Reason.EXIT, 0)
    (exit_,) = only(left, Kind.INTENT)
    assert (exit_["side"], exit_["price"], exit_["qty"]) == (Side.SELL, BID, 7)
    assert exit_["flags"] == Action.REDUCE | OrderFlag.IMMEDIATE


def test_without_a_market_there_is_no_decision_to_trade() -> None:
    book = BookDesk(on_books(kind="edge_ticks", fixed_lots=7))
    assert decided(book.predict(9_000_000)) == (Reason.NO_EDGE, 0, 0)


def test_a_short_account_is_not_a_spot_account() -> None:
    book = BookDesk(on_books(kind="edge_ticks", fixed_lots=7, profile="spot", entry="cross"))
    book.touch(BID, ASK)
    assert decided(book.predict(-9_000_000))[0] == Reason.ALREADY_FLAT


def test_the_other_side_is_closed_before_a_new_one_is_opened() -> None:
    book = desk(entry="cross")
    (short,) = only(book.predict(-9_000_000), Kind.INTENT)
    book.report(short, OrderState.NEW)
    assert decided(book.predict(9_000_000))[0] == Reason.CANCEL_STALE, "an entry under way the other way"
    book.report(short, OrderState.CANCELED)
    (short,) = only(book.predict(-9_000_000), Kind.INTENT)
    book.fill(short, 7, BID)
    assert book.lots == -7 and decided(book.predict(-9_000_000))[0] == Reason.ALREADY_SHORT
    (cover,) = only(book.predict(9_000_000), Kind.INTENT)
    assert (cover["side"], cover["qty"], cover["flags"] & 0xFF) == (Side.BUY, 7, Action.REDUCE)


@given(
    st.integers(-(10**8), 10**8),
    st.integers(0, 10**8),
    st.integers(1, 2**41),
    st.integers(1, 2**41),
    st.sampled_from(["cross", "post", "best"]),
)
def test_it_trades_if_and_only_if_the_edge_is_more_than_the_cost(
    delta_hat_ppm: int, sigma_ppm: int, bid: int, spread: int, entry: str
) -> None:
    """On any prices and forecasts the core takes, in exact fractions beside it."""
    book = BookDesk(on_books(kind="edge_ticks", fixed_lots=1, adverse_milliticks=3, entry=entry))
    book.touch(bid, bid + spread)
    reason, edge, cost = decided(book.predict(delta_hat_ppm, sigma_ppm))
    mid2 = 2 * bid + spread
    unit = min(2**50, max(1000 * spread, (sigma_ppm * mid2 // 2000) // 2))
    assert abs(edge) == abs(delta_hat_ppm) * unit // 10**6 and (edge >= 0) == (delta_hat_ppm > 0 or edge == 0)
    crossing = 500 * spread + -(-1000 * mid2 // 2000) + 3
    posting = -(-600 * mid2 // 2000) + 3
    assert cost == (posting if entry == "post" or (entry == "best" and abs(edge) <= crossing) else crossing)
    assert (reason == Reason.NO_EDGE) == (abs(edge) <= cost)


def test_both_numbers_stand_in_every_decision_a_refusal_too() -> None:
    book = desk(entry="cross", min_confidence_ppm=900_000)
    made = book.predict(9_000_000)
    assert decided(made) == (Reason.LOW_CONFIDENCE, 36_000, CROSSING)
    assert [Reason(int(row["reason"])) for row in only(made, Kind.CHECK)] == [Reason.LOW_CONFIDENCE]
