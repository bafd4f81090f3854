"""Impact is linear, against us and gives no free round trip; funding moves quote between longs and shorts, exactly."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import config, impact
from tests.core import build

prices = st.integers(1, 2**41)
rates = st.integers(0, 10**6)


@pytest.mark.parametrize(
    ("lots", "reference", "ppm"), [(0, 10, 0), (1, 3, 333_334), (10, 10, 10**6), (10**6, 1, 10**8), (1, 0, 10**8)]
)
def test_participation(lots: int, reference: int, ppm: int) -> None:
    assert impact.participation_ppm(lots, reference) == ppm


def test_temporary_impact_by_hand() -> None:
    """1,000 ppm at full participation: a tenth of it costs 1 bp of the price, to the next tick."""
    assert impact.temporary_ticks(6_000_000, 1_000, 100_000) == 600
    assert impact.temporary_ticks(6_000_001, 1_000, 100_000) == 601
    assert impact.temporary_ticks(6_000_000, 1_000, 0) == 0
    assert impact.temporary_ticks(6_000_000, 0, 10**8) == 0


@given(prices, st.integers(-500_000, 500_000))
def test_a_shift_rounds_against_us(price: int, shift: int) -> None:
    exact = price + Fraction(price * shift, 10**6)
    assert impact.shifted_price(price, shift, True) == max(1, ceil(exact))
    assert impact.shifted_price(price, shift, False) == max(1, floor(exact))


@given(st.lists(st.tuples(st.integers(1, 10**6), st.booleans()), max_size=20), rates, st.integers(1, 10**6))
def test_pushes_add_up_and_a_round_trip_ends_where_it_began(
    trades: list[tuple[int, bool]], permanent: int, reference: int
) -> None:
    shift = 0
    for lots, is_buy in [*trades, *[(lots, not is_buy) for lots, is_buy in trades[::-1]]]:
        before, part = shift, impact.participation_ppm(lots, reference)
        shift = impact.pushed_ppm(shift, permanent, part, is_buy)
        assert (shift - before) * (1 if is_buy else -1) >= 0
        if abs(shift) == impact.SHIFT_PPM_MAX:
            return  # at the bound a push is cut short
    assert shift == 0


@given(prices, rates, st.integers(0, 10**8))
def test_no_immediate_round_trip_earns(price: int, permanent: int, part: int) -> None:
    """Buy, be pushed up, sell at the shifted price: at best what was paid, whatever the temporary impact adds."""
    shift = impact.pushed_ppm(0, permanent, part, True)
    bought = impact.shifted_price(price, 0, True)
    sold_after_cost = impact.shifted_price(price, impact.pushed_ppm(shift, permanent, part, False), False)
    assert sold_after_cost <= bought


MARKET = config.build(build.trading(), [build.BTC])[0]["markets"][0]


def funding(base_units: int, price: int, rate_ppb: int) -> int:
    return int(impact.funding_payment(MARKET, base_units, price, rate_ppb))


def test_funding_by_hand() -> None:
    """0.01 % on 0.5 BTC at 60,000: a long pays 3 USDT, a short receives it; a negative rate turns it round."""
    half = 50_000_000
    assert funding(half, 6_000_000, 100_000) == 3_00000000
    assert funding(-half, 6_000_000, 100_000) == -3_00000000
    assert funding(half, 6_000_000, -100_000) == -3_00000000
    assert funding(-half, 6_000_000, -100_000) == 3_00000000
    assert funding(0, 6_000_000, 100_000) == funding(half, 6_000_000, 0) == 0


@given(st.integers(-(10**11), 10**11), st.integers(1, 10**9), st.integers(-(10**7), 10**7))
def test_funding_rounds_against_us(base_units: int, price: int, rate_ppb: int) -> None:
    exact = Fraction(base_units * price, 100) * Fraction(rate_ppb, 10**9)  # 1e-8 BTC at 0.01 USDT: 1e-2 units
    paid = funding(base_units, price, rate_ppb)
    assert exact <= paid < exact + 2
    assert paid + funding(-base_units, price, rate_ppb) >= 0  # what one side pays covers what the other receives


def test_the_model_has_its_own_record() -> None:
    assert impact.IMPACT.itemsize == 8 * len(impact.IMPACT.names)
    assert all(impact.IMPACT[name] == np.dtype("<i8") for name in impact.IMPACT.names)
