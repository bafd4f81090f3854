"""Exact integer arithmetic for money: a checked 128-bit multiply-divide and what is built on it.

Every product that may leave 64 bits goes through ``mul_div``, which checks before it multiplies (a check afterwards
is optimised away by the compiler). Rounding is always stated and always against us: what we pay is rounded up, what
we receive or own is rounded down.
"""

from typing import Any, Final

import numpy as np

from core.errors import BrokenInvariant
from core.jit import kernel
from core.records import PPM

INT64_MAX: Final = 2**63 - 1
DIVISOR_MAX: Final = 2**62  # the remainder is doubled in the long division below
FACTOR_SMALL: Final = 3_037_000_499  # floor(sqrt(2**63 - 1)): two such factors cannot overflow
PPM_FACTOR_MAX: Final = INT64_MAX // PPM
DOWN: Final = 0
UP: Final = 1


@kernel
def as_int(field: Any) -> int:
    """An unsigned record field as int64: mixed with int64 it would turn into a float in compiled code."""
    return int(np.int64(field))


@kernel
def mul_div(a: int, b: int, c: int, up: int) -> int:
    """a * b / c with a 128-bit product, rounded down (``up`` 0) or up (``up`` 1); a, b >= 0, 1 <= c <= 2**62.

    Raises BrokenInvariant for arguments outside that range or a result that does not fit 64 bits.
    """
    if a < 0 or b < 0 or c < 1 or c > DIVISOR_MAX:
        raise BrokenInvariant("mul_div: an argument is outside 0 <= a, b and 1 <= c <= 2**62")
    if (a <= FACTOR_SMALL and b <= FACTOR_SMALL) or a == 0 or b <= INT64_MAX // a:
        product = a * b
        whole = product // c
        rest = product - whole * c
    else:
        whole, rest = _wide(a, b, c)
    if up == UP and rest > 0:
        if whole == INT64_MAX:
            raise BrokenInvariant("mul_div: the result does not fit 64 bits")
        whole += 1
    return whole


@kernel
def _wide(a: int, b: int, c: int) -> tuple[int, int]:
    """Quotient and remainder of a * b by c where the product exceeds 64 bits.

    With a = qa c + ra and b = qb c + rb: a b = c (qa b + ra qb) + ra rb, and only ra rb may still be wide.
    """
    qa, ra = a // c, a % c
    qb, rb = b // c, b % c
    if qa > 0 and b > INT64_MAX // qa:
        raise BrokenInvariant("mul_div: the result does not fit 64 bits")
    quotient, remainder = _long_division(min(ra, rb), max(ra, rb), c)
    cross = ra * qb  # ra < c, so this is at most b
    if quotient > INT64_MAX - cross or quotient + cross > INT64_MAX - qa * b:
        raise BrokenInvariant("mul_div: the result does not fit 64 bits")
    return qa * b + cross + quotient, remainder


@kernel
def _long_division(a: int, b: int, c: int) -> tuple[int, int]:
    """Quotient and remainder of a * b by c for a <= b < c, bit by bit from the top of ``a``."""
    quotient = 0
    remainder = 0
    bit = 0
    while bit < 62 and (a >> bit) > 0:
        bit += 1
    while bit > 0:
        bit -= 1
        quotient *= 2
        remainder *= 2
        if remainder >= c:
            remainder -= c
            quotient += 1
        if (a >> bit) & 1:
            remainder += b
            if remainder >= c:
                remainder -= c
                quotient += 1
    return quotient, remainder


@kernel
def share_ppm(amount: int, rate_ppm: int, up: int) -> int:
    """``rate_ppm`` parts per million of ``amount`` >= 0."""
    return mul_div(amount, rate_ppm, PPM, up)


@kernel
def ratio_ppm(part: int, whole: int, up: int) -> int:
    """``part`` >= 0 in parts per million of ``whole`` > 0."""
    if part > PPM_FACTOR_MAX:
        return mul_div(part, PPM, whole, up)
    ratio = part * PPM // whole  # once a bar: spares the division that mul_div needs to see that this fits
    return ratio + 1 if up == UP and ratio * whole < part * PPM else ratio


@kernel
def notional(instrument: np.void, price: int, lots: int, up: int) -> int:
    """Value of ``lots`` at ``price`` ticks in quote units; ``instrument`` is a record of dtype INSTRUMENT."""
    return mul_div(price * instrument["value_num"], lots, instrument["value_den"], up)


@kernel
def lots_for(instrument: np.void, price: int, budget: int) -> int:
    """The most lots whose notional at ``price`` ticks, rounded up, is within ``budget`` quote units."""
    return mul_div(budget, instrument["value_den"], price * instrument["value_num"], DOWN)


@kernel
def fee(amount: int, rate_ppm: int) -> int:
    """``rate_ppm`` of ``amount`` >= 0, rounded up; a negative rate is a rebate and is rounded towards zero."""
    if rate_ppm < 0:
        return -mul_div(amount, -rate_ppm, PPM, DOWN)
    return mul_div(amount, rate_ppm, PPM, UP)


@kernel
def worse_price(price: int, slippage_ppm: int, is_buy: bool) -> int:
    """``price`` ticks moved against us by ``slippage_ppm``, rounded to the next worse tick, at least one tick."""
    if is_buy:
        return price + mul_div(price, slippage_ppm, PPM, UP)
    return max(1, price - mul_div(price, slippage_ppm, PPM, UP))
