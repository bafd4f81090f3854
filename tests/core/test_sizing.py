"""Size by edge over sigma (requirements RISK-19): more for more edge, less for more sigma, none unless it pays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import Kind, OrderState, Reason
from tests.core.book_desk import BookDesk, on_books
from tests.core.build import BTC, Desk, bars, only, order_report, predict, trading

SETTINGS = trading(
    sizing="edge",
    edge_scale_ppm=100_000,
    entry_margin_ppm=0,
    exit_edge_ppm=-1_000_000,
    initial_cash="1000000",
    asset_cap_ppm=950_000,
)


def on_bars(edge: int, sigma: int) -> tuple[int, Reason]:
    """(lots, reason) of an entry on a forecast; the round trip costs 2,200 ppm, the edge is earned six times."""
    desk, tape = Desk(SETTINGS, (BTC,), venue=False), bars([1_000_000])
    desk.feed(tape)
    (row,) = only(desk.feed(predict(tape[0], edge=edge, sigma=sigma)), Kind.DECISION)
    return int(row["size_lots"]), Reason(int(row["reason"]))


@pytest.mark.parametrize(
    ("edge", "sigma", "lots", "reason"),
    [
        # 6 x 1,000 = 6,000 ppm over 12,000 = half a sigma: 5 % of 1,000,000 USDT at 10,000 USDT a coin of 10^5 lots
        (1_000, 12_000, 500_000, Reason.ENTRY),
        (2_000, 12_000, 1_000_000, Reason.ENTRY),
        (1_000, 24_000, 250_000, Reason.ENTRY),
        (367, 12_000, 183_500, Reason.ENTRY),  # 2,202 ppm: just above the cost
        (366, 12_000, 0, Reason.SIZE_ZERO),  # 2,196: below
        (-5, 12_000, 0, Reason.NO_EDGE),
        (1_000, 0, 0, Reason.SIGMA_MISSING),
        (90_000_000, 1, 9_500_000, Reason.ENTRY),  # never more than equity, and the caps clip it
    ],
)
def test_golden_sizes_on_bars(edge: int, sigma: int, lots: int, reason: Reason) -> None:
    assert on_bars(edge, sigma) == (lots, reason)


def test_an_edge_equal_to_the_cost_is_worth_nothing() -> None:
    settings = trading(sizing="edge", entry_margin_ppm=0, hold_horizons=1)
    for edge, reason in ((2_200, Reason.SIZE_ZERO), (2_201, Reason.ENTRY)):
        desk, tape = Desk(settings, (BTC,), venue=False), bars([1_000_000])
        desk.feed(tape)
        assert only(desk.feed(predict(tape[0], edge=edge)), Kind.DECISION)["reason"][0] == reason


@given(st.integers(-3_000, 30_000), st.integers(0, 3_000), st.integers(1, 40_000), st.integers(0, 40_000))
def test_it_is_monotone(edge: int, more: int, sigma: int, wider: int) -> None:
    low, high, wide = on_bars(edge, sigma)[0], on_bars(edge + more, sigma)[0], on_bars(edge, sigma + wider)[0]
    assert low <= high and wide <= low
    assert low == 0 if 6 * edge <= 2_200 else True


@pytest.mark.parametrize("side", [1, -1])
def test_on_books_edge_and_sigma_are_both_in_ticks(side: int) -> None:
    """Edge 40,000 thousandths of a tick; sigma 2,000 ppm of 20,000 ticks = 40,000: one sigma buys the scale."""
    book = BookDesk(on_books(kind="edge_ticks", entry="cross", sizing="edge", edge_scale_ppm=20_000))
    book.touch(19_998, 20_002)
    (row,) = only(book.predict(side * 2_000_000, 2_000), Kind.DECISION)
    assert (row["edge"], row["cost"]) == (side * 40_000, 22_000)
    assert row["size_lots"] == 10_000, "2 % of 1,000,000 USDT at 2,000 a coin of 1,000 lots"


def test_the_default_sizes_by_volatility_whatever_the_edge() -> None:
    desk, tape = Desk(trading(), (BTC,), venue=False), bars([1_000_000, 1_000_000])
    desk.feed(tape[:1])
    (first,) = only(desk.feed(predict(tape[0], edge=5_000, sigma=30_000)), Kind.INTENT)
    desk.feed(order_report(first, OrderState.CANCELED, int(first["ts_known"]) + 1))
    desk.feed(tape[1:])
    (second,) = only(desk.feed(predict(tape[1], edge=50_000, sigma=30_000)), Kind.INTENT)
    assert first["qty"] == second["qty"] == 50_000  # 1,500 / 30,000 of 100,000 USDT at 10,000
