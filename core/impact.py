"""What our own taking does to prices, and what a funding rate costs.

A recorded market does not react to us. Two linear terms stand for the reaction, both as parts per million of the price
at a participation of one (our lots as large as the lots they are measured against):

- temporary: this execution is worse by ``temporary_ppm`` x participation; the next one starts afresh.
- permanent: every later execution of ours is moved by ``permanent_ppm`` x participation in the direction we pushed;
  pushes add up with their signs, so a round trip of one size ends where it began.

The linear form is the one of Almgren and Chriss, "Optimal execution of portfolio transactions" (2001), where a
permanent impact must be linear so that no round trip can earn it. Prices round against us.
"""

from typing import Final

import numpy as np

from core.jit import kernel
from core.records import PPM
from core.units import DOWN, UP, mul_div, share_ppm

PPB: Final = 1_000_000_000
PARTICIPATION_PPM_MAX: Final = 100 * PPM
SHIFT_PPM_MAX: Final = PPM // 2  # a permanent shift stays within half the price
IMPACT: Final = np.dtype([("temporary_ppm", "<i8"), ("permanent_ppm", "<i8"), ("reference_lots", "<i8")])


@kernel
def participation_ppm(lots: int, reference_lots: int) -> int:
    """Our ``lots`` in ppm of ``reference_lots``, rounded up; the bound if there is nothing to measure against."""
    if reference_lots <= 0:
        return PARTICIPATION_PPM_MAX
    return min(PARTICIPATION_PPM_MAX, mul_div(min(lots, reference_lots * 100), PPM, reference_lots, UP))


@kernel
def temporary_ticks(price: int, temporary_ppm: int, participation: int) -> int:
    """Ticks by which an execution at ``price`` is worse for its own size, rounded up."""
    return mul_div(price * temporary_ppm, participation, PPM * PPM, UP)


@kernel
def pushed_ppm(shift_ppm: int, permanent_ppm: int, participation: int, is_buy: bool) -> int:
    """The permanent shift after an execution; above 0: prices are higher for us than recorded."""
    step = share_ppm(permanent_ppm, participation, DOWN)
    moved = shift_ppm + step if is_buy else shift_ppm - step
    return max(-SHIFT_PPM_MAX, min(SHIFT_PPM_MAX, moved))


@kernel
def shifted_price(price: int, shift_ppm: int, is_buy: bool) -> int:
    """``price`` ticks moved by ``shift_ppm``, rounded to the tick that is worse for a buy or a sell; at least 1."""
    if shift_ppm >= 0:
        return price + share_ppm(price, shift_ppm, UP if is_buy else DOWN)
    return max(1, price - share_ppm(price, -shift_ppm, DOWN if is_buy else UP))


@kernel
def funding_payment(market: np.void, base_units: int, price: int, rate_ppb: int) -> int:
    """Quote units a holder of ``base_units`` (short negative) pays at a funding of ``rate_ppb`` on ``price`` ticks.

    Positive: we pay, negative: we receive. Longs pay a positive rate, shorts receive it. The notional is rounded, then
    the payment: both up when we pay, both down when we receive. ``market``: dtype MARKET.
    """
    if base_units == 0 or rate_ppb == 0:
        return 0
    pays = (base_units > 0) == (rate_ppb > 0)
    rounding = UP if pays else DOWN
    value = price * market["instrument"]["value_num"]
    notional = mul_div(value, abs(base_units), market["unit_den"], rounding)
    amount = mul_div(notional, abs(rate_ppb), PPB, rounding)
    return amount if pays else -amount
