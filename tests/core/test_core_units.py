"""Checked arithmetic equals Python's unbounded integers wherever the result fits, and refuses where it does not."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core import units
from core.errors import BrokenInvariant

INT64_MAX = 2**63 - 1
amounts = st.one_of(st.integers(0, INT64_MAX), st.integers(0, 2**32), st.sampled_from([0, 1, 2**31, INT64_MAX]))
divisors = st.one_of(st.integers(1, 2**62), st.integers(1, 10**6), st.sampled_from([1, 10**6, 2**62]))


@settings(max_examples=500, deadline=None)
@example(INT64_MAX, INT64_MAX, 2**62)
@example(2**62 - 1, 2**62 - 1, 2**62)
@example(INT64_MAX, 1, 1)
@given(amounts, amounts, divisors)
def test_mul_div_is_exact_or_refuses(a: int, b: int, c: int) -> None:
    for up, rounded in ((units.DOWN, a * b // c), (units.UP, -(-a * b // c))):
        if rounded > INT64_MAX:
            with pytest.raises(BrokenInvariant):
                units.mul_div(a, b, c, up)
        else:
            assert units.mul_div(a, b, c, up) == rounded


@pytest.mark.parametrize("arguments", [(-1, 1, 1), (1, -1, 1), (1, 1, 0), (1, 1, -5), (1, 1, 2**62 + 1)])
def test_mul_div_refuses_arguments_outside_its_range(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(BrokenInvariant, match="outside"):
        units.mul_div(*arguments, units.DOWN)


@settings(deadline=None)
@given(st.integers(0, 2**62), st.integers(1, 2**62))
def test_ratio_is_exact(part: int, whole: int) -> None:
    exact = Fraction(part * 10**6, whole)
    if exact <= INT64_MAX - 1:
        assert units.ratio_ppm(part, whole, units.UP) == ceil(exact)
        assert units.ratio_ppm(part, whole, units.DOWN) == floor(exact)


@settings(deadline=None)
@given(st.integers(0, 2**50), st.integers(-100_000, 100_000))
def test_fees_round_up_and_rebates_towards_zero(amount: int, rate_ppm: int) -> None:
    assert units.fee(amount, rate_ppm) == ceil(Fraction(amount * rate_ppm, 10**6))


@settings(deadline=None)
@given(st.integers(1, 2**42), st.integers(0, 500_000))
def test_slippage_is_never_in_our_favour(price: int, slippage_ppm: int) -> None:
    exact = Fraction(price * slippage_ppm, 10**6)
    assert 0 <= units.worse_price(price, slippage_ppm, True) - price - exact < 1
    assert units.worse_price(price, slippage_ppm, False) == max(1, price - ceil(exact))
