"""Round trips by hand, and the law that ties them to cash."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BrokenInvariant
from core.instruments import Instrument
from core.records import FILL, FeeAsset, Kind, Side
from evaluation.trades import quote_units, round_trips, slippage_paid

HOUR = 3_600_000_000_000
# one lot at one tick = 0.01 * 0.001 = 10^-5 USDT = 1000 quote units; 0.001 BTC = 100,000 base units
BTC = Instrument(symbol="BTC-USDT", base="BTC", quote="USDT", tick="0.01", lot="0.001", taker_fee_ppm=1000)
ETH = Instrument(symbol="ETH-USDT", base="ETH", quote="USDT", tick="0.01", lot="0.001", min_notional="10")


def fill(ts: int, side: Side, price: int, qty: int, fee: int, *, instrument: int = 0, base: bool = False) -> tuple:
    asset = FeeAsset.BASE if base else FeeAsset.QUOTE
    return (ts, ts, Kind.FILL, side, instrument, 0, asset, 1, price, qty, fee, 1)


def trips(*rows: tuple, last: tuple[int, int] = (0, 0), end: int = 100 * HOUR, slippage_ppm: int = 0) -> np.ndarray:
    return round_trips(np.array(list(rows), FILL), (BTC, ETH), last, end, slippage_ppm)


def test_one_trip_with_fees_in_quote() -> None:
    found = trips(
        fill(1 * HOUR, Side.BUY, 5_000_000, 10, 50_000),  # 50,000 USDT x 0.01 BTC = 500 USDT, 50e9 units
        fill(3 * HOUR, Side.SELL, 5_050_000, 10, 60_000),  # 505 USDT
    )
    assert len(found) == 1
    trip = found[0]
    assert (trip["entry_notional"], trip["exit_notional"]) == (50_000_000_000, 50_500_000_000)
    assert trip["fees"] == 110_000
    assert trip["pnl"] == 500_000_000 - 110_000
    assert (trip["ts_entry"], trip["ts_exit"], trip["closed"]) == (1 * HOUR, 3 * HOUR, 1)


def test_partial_fills_belong_to_one_trip_and_the_next_buy_starts_another() -> None:
    found = trips(
        fill(1, Side.BUY, 100_000, 3, 0),
        fill(2, Side.BUY, 110_000, 2, 0),
        fill(3, Side.SELL, 120_000, 4, 0),
        fill(4, Side.SELL, 90_000, 1, 0),
        fill(5, Side.BUY, 90_000, 1, 0),
        fill(6, Side.SELL, 90_000, 1, 0),
    )
    assert list(found["ts_entry"]) == [1, 5]
    assert list(found["ts_exit"]) == [4, 6]
    assert list(found["pnl"]) == [(4 * 120_000 + 90_000 - 3 * 100_000 - 2 * 110_000) * 1000, 0]


def test_a_fee_in_base_leaves_dust_that_its_trip_paid_for() -> None:
    found = trips(
        fill(1, Side.BUY, 100_000, 10, 1_000, base=True),  # 0.1 % of 1,000,000 base units
        fill(2, Side.SELL, 100_000, 9, 0),  # 9.99 lots held: 9 can be sold, 0.99 lots stay
    )
    assert len(found) == 1 and found["closed"][0] == 1
    assert found["pnl"][0] == -100_000 * 1000
    assert found["fees"][0] == 1_000_000  # 0.01 lots at 100,000 ticks


def test_a_rest_below_the_least_notional_closes_the_trip() -> None:
    # ETH at 2,000 USDT: 4 lots = 8 USDT < 10 USDT
    found = trips(
        fill(1, Side.BUY, 200_000, 100, 0, instrument=1),
        fill(2, Side.SELL, 200_000, 96, 0, instrument=1),
    )
    assert found["closed"][0] == 1


def test_an_open_trip_is_valued_as_if_sold_at_the_last_close_with_costs() -> None:
    found = trips(fill(1 * HOUR, Side.BUY, 100_000, 10, 0), last=(200_000, 0), end=5 * HOUR, slippage_ppm=10_000)
    proceeds = 198_000 * 10 * 1000
    assert found["exit_notional"][0] == proceeds
    assert found["fees"][0] == proceeds // 1000
    assert found["pnl"][0] == proceeds - proceeds // 1000 - 100_000 * 10 * 1000
    assert (found["closed"][0], found["ts_exit"][0]) == (0, 5 * HOUR)


def test_instruments_do_not_mix() -> None:
    found = trips(
        fill(1, Side.BUY, 100_000, 10, 0, instrument=0),
        fill(2, Side.BUY, 200_000, 10, 0, instrument=1),
        fill(3, Side.SELL, 210_000, 10, 0, instrument=1),
        fill(4, Side.SELL, 90_000, 10, 0, instrument=0),
    )
    assert list(found["instrument"]) == [1, 0]
    assert list(found["pnl"]) == [10 * 10_000 * 1000, -10 * 10_000 * 1000]


def test_selling_what_was_never_bought_is_a_broken_invariant() -> None:
    with pytest.raises(BrokenInvariant, match="BTC-USDT"):
        trips(fill(1, Side.BUY, 100_000, 1, 0), fill(2, Side.SELL, 100_000, 2, 0))


@given(
    st.lists(
        st.tuples(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(1, 50), st.integers(0, 1000)),
        min_size=1,
        max_size=20,
    )
)
def test_trips_of_a_session_that_ends_flat_sum_to_its_change_of_cash(legs: list[tuple[int, int, int, int]]) -> None:
    rows, cash, ts = [], 0, 0
    for buy, sell, qty, fee in legs:
        rows += [fill(ts + 1, Side.BUY, buy, qty, fee), fill(ts + 2, Side.SELL, sell, qty, fee)]
        cash += (sell - buy) * qty * 1000 - 2 * fee
        ts += 2
    found = trips(*rows)
    assert len(found) == len(legs)
    assert int(found["pnl"].sum()) == cash


@given(st.integers(0, 10**9), st.integers(0, 10**6))
def test_rounding_is_against_us(price: int, qty: int) -> None:
    odd = Instrument(
        symbol="X-Y", base="X", quote="Y", tick="0.0003", lot="0.007", base_unit="0.001", quote_unit="0.01"
    )
    exact = Fraction(price) * qty * Fraction("0.0003") * Fraction("0.007") / Fraction("0.01")
    low, high = (quote_units(odd.record(), price, qty, up=up) for up in (False, True))
    assert low <= exact <= high and high - low <= 1 and (high == low) == (exact.denominator == 1)


def test_slippage_is_measured_against_the_price_without_it() -> None:
    rows = np.array([fill(1, Side.BUY, 101_000, 10, 0), fill(2, Side.SELL, 99_000, 10, 0)], FILL)
    assert slippage_paid(rows, (BTC, ETH), 10_000) == 2 * 1_000 * 10 * 1000
    assert slippage_paid(rows, (BTC, ETH), 0) == 0


def short(*rows: tuple, last: tuple[int, int] = (0, 0), slippage_ppm: int = 0) -> np.ndarray:
    return round_trips(np.array(list(rows), FILL), (BTC, ETH), last, 100 * HOUR, slippage_ppm, may_be_short=True)


def test_a_short_trip_earns_what_the_price_falls() -> None:
    found = short(fill(1, Side.SELL, 100_000, 10, 7), fill(2, Side.BUY, 90_000, 4, 0), fill(3, Side.BUY, 80_000, 6, 5))
    assert len(found) == 1
    trip = found[0]
    assert (trip["side"], trip["ts_entry"], trip["ts_exit"], trip["closed"]) == (Side.SELL, 1, 3, 1)
    assert trip["entry_notional"] == 100_000 * 10 * 1000
    assert trip["exit_notional"] == (4 * 90_000 + 6 * 80_000) * 1000
    assert trip["pnl"] == trip["entry_notional"] - trip["exit_notional"] - 12


def test_a_short_trip_still_open_is_valued_as_if_bought_back_with_costs() -> None:
    found = short(fill(1, Side.SELL, 100_000, 10, 0), last=(200_000, 0), slippage_ppm=10_000)
    owed = 202_000 * 10 * 1000
    assert (found["closed"][0], found["exit_notional"][0], found["fees"][0]) == (0, owed, owed // 1000)
    assert found["pnl"][0] == 100_000 * 10 * 1000 - owed - owed // 1000


def test_a_fill_through_flat_ends_one_trip_and_begins_the_next() -> None:
    found = short(
        fill(1, Side.BUY, 100_000, 10, 0), fill(2, Side.SELL, 110_000, 25, 26), fill(3, Side.BUY, 105_000, 15, 0)
    )
    assert found["side"].tolist() == [Side.BUY, Side.SELL]
    assert found["fees"].tolist() == [10, 16]
    assert found["pnl"].tolist() == [10_000 * 10 * 1000 - 10, 5_000 * 15 * 1000 - 16]


@given(st.lists(st.tuples(st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 10**6), st.integers(1, 50),
                          st.integers(-9, 9)), max_size=30))  # fmt: skip
def test_the_trips_of_an_account_that_ends_flat_sum_to_its_change_of_cash(rows: list[tuple]) -> None:
    """Whatever it went through on the way, long and short."""
    held = sum(qty if side == Side.BUY else -qty for side, _, qty, _ in rows)
    if held != 0:
        rows = [*rows, (Side.SELL if held > 0 else Side.BUY, 777, abs(held), 3)]
    made = [fill(k + 1, *row) for k, row in enumerate(rows)]
    row, cash = BTC.record(), 0
    for side, price, qty, fee in rows:
        amount = quote_units(row, price, qty, up=side == Side.BUY)
        cash += (-amount if side == Side.BUY else amount) - fee
    found = short(*made)
    assert found["closed"].all()
    assert found["pnl"].sum() == cash
