"""What a venue charges: maker or taker, by 30-day volume, in quote, in what is received, or in a third asset.

One record of dtype FEES is one account's schedule at one venue, one of dtype TURNOVER its trailing volume. All
amounts are units of the quote asset. Fees are rounded up, rebates down, once.

- The volume of a day counts from the next UTC day on, for thirty days. Venues recalculate hourly or daily; later is
  against us for an account that grows.
- ``third``: the fee is paid in an asset of its own (BNB) at a discount. It is booked in quote at its discounted
  value, as if just that much of the asset were bought for each fee. No stock of it is held, so its price moves nothing.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from typing import Final

import numpy as np

from core import units
from core.errors import BadConfig
from core.jit import kernel
from core.records import DAY_NS, PPM, FeeAsset
from core.settings import FeeRow, Fees, FeeTable, decimal, within
from core.units import DOWN, INT64_MAX, UP, mul_div

TIERS_MAX: Final = 16
VOLUME_DAYS: Final = 30
RATE_PPM_MAX: Final = 100_000
FEES: Final = np.dtype(
    [
        ("count", "<i8"),  # tiers
        ("asset", "<i8"),  # Charged
        ("discount_ppm", "<i8"),  # third: off the rate
        ("volume_start", "<i8"),  # quote units traded in the thirty days before the session
        ("volume_from", "<i8", (TIERS_MAX,)),  # quote units; ascending from 0
        ("maker_ppm", "<i8", (TIERS_MAX,)),
        ("taker_ppm", "<i8", (TIERS_MAX,)),
    ]
)
TURNOVER: Final = np.dtype(
    [
        ("started", "<i8"),
        ("day", "<i8"),  # UTC days since the epoch: the day that ``today`` counts
        ("today", "<i8"),  # quote units
        ("total", "<i8"),  # of the thirty days before
        ("days", "<i8", (VOLUME_DAYS,)),  # day d at d modulo thirty
    ]
)


class Charged(IntEnum):
    """FEES.asset."""

    QUOTE = 1
    RECEIVED = 2
    THIRD = 3


_RECEIVED: Final = int(Charged.RECEIVED)
_THIRD: Final = int(Charged.THIRD)
_IN_QUOTE: Final = int(FeeAsset.QUOTE)
_IN_BASE: Final = int(FeeAsset.BASE)
_PPM_SQUARED: Final = PPM * PPM


def flat(maker_ppm: int, taker_ppm: int, *, received: bool = False) -> np.ndarray:
    """One rate for every volume, shape (), dtype FEES: an instrument's own rates where no table is given."""
    row = np.zeros((), FEES)
    row["count"], row["asset"] = 1, Charged.RECEIVED if received else Charged.QUOTE
    row["maker_ppm"], row["taker_ppm"] = maker_ppm, taker_ppm  # in the unused rows too: the dearest is this one
    return row


def schedule(fees: Fees, *, quote: str, quote_unit: str) -> np.ndarray:
    """The account's schedule, shape (), dtype FEES.

    Raises BadConfig naming the venue for a table with a gap, a row too many, or a quote asset it does not count.
    """
    table = fees.table
    if quote not in table.volume_assets:
        raise BadConfig(
            f"fees of {table.venue}: volume is counted in {', '.join(table.volume_assets)}, the account in {quote}"
        )
    check_rows(table)
    row = np.zeros((), FEES)
    row["count"] = len(table.rows)
    row["asset"], row["discount_ppm"] = _asset(fees)
    row["volume_start"] = _units(f"fees of {table.venue}: volume_start", fees.volume_start, quote_unit)
    for k, tier in enumerate(table.rows):
        row["volume_from"][k] = _units(f"fees of {table.venue}: volume_from", tier.volume_from, quote_unit)
        row["maker_ppm"][k:], row["taker_ppm"][k:] = tier.maker_ppm, tier.taker_ppm
    return row


def start_taker_ppm(row: np.ndarray) -> int:
    """What taking costs when the session starts, discount included, rounded up; ``row``: shape (), dtype FEES."""
    reached = [k for k in range(int(row["count"])) if row["volume_from"][k] <= row["volume_start"]]
    return -(-int(row["taker_ppm"][reached[-1]]) * (PPM - int(row["discount_ppm"])) // PPM)


def check_rows(table: FeeTable) -> None:
    """Raise BadConfig unless the rows cover every volume exactly once: a missing row is an error, not a cheaper fee."""
    where, rows = f"fees of {table.venue}", table.rows
    if not 1 <= len(rows) <= TIERS_MAX:
        raise BadConfig(f"{where}: {len(rows)} rows; 1 to {TIERS_MAX} are possible")
    _check_volumes(where, rows)
    for row in rows:
        within(f"{where}: maker_ppm from {row.volume_from}", row.maker_ppm, -RATE_PPM_MAX, RATE_PPM_MAX)
        within(f"{where}: taker_ppm from {row.volume_from}", row.taker_ppm, 0, RATE_PPM_MAX)


def _check_volumes(where: str, rows: Sequence[FeeRow]) -> None:
    expected = Decimal(0)
    for k, row in enumerate(rows):
        start = decimal(f"{where}: volume_from", row.volume_from, "0", "1e15")
        if start != expected:
            raise BadConfig(f"{where}: no row covers the volume from {expected} to {start}")
        if (row.volume_below is None) != (k == len(rows) - 1):
            raise BadConfig(f"{where}: the last row, and only the last, has no volume_below; from {start}")
        if row.volume_below is not None:
            expected = decimal(f"{where}: volume_below", row.volume_below, "0", "1e15")
            if expected <= start:
                raise BadConfig(f"{where}: the row from {start} ends at {expected}")


def _asset(fees: Fees) -> tuple[int, int]:
    """How fees are charged, and the discount in ppm."""
    table = fees.table
    if fees.pay_in_third:
        if not table.third_asset:
            raise BadConfig(f"fees of {table.venue}: no third asset to pay in")
        within(f"fees of {table.venue}: third_discount_ppm", table.third_discount_ppm, 0, PPM)
        return int(Charged.THIRD), table.third_discount_ppm
    if table.fee_asset not in ("quote", "received"):
        raise BadConfig(f"fees of {table.venue}: fee_asset is {table.fee_asset!r}; use 'quote' or 'received'")
    return int(Charged.RECEIVED if table.fee_asset == "received" else Charged.QUOTE), 0


def _units(key: str, text: str, unit: str) -> int:
    whole = Fraction(decimal(key, text, "0", "1e15")) / Fraction(unit)
    if whole > INT64_MAX:
        raise BadConfig(f"{key} is {text}: in units of {unit} it does not fit 64 bits")
    return int(whole)


@kernel
def rate_ppm(fees: np.void, volume: int, is_maker: bool) -> int:
    """The rate of the highest tier that ``volume`` (quote units in thirty days) reaches."""
    k = fees["count"] - 1
    while k > 0 and volume < fees["volume_from"][k]:
        k -= 1
    return fees["maker_ppm"][k] if is_maker else fees["taker_ppm"][k]


@kernel
def charge(fees: np.void, instrument: np.void, rate: int, is_buy: bool, price: int, lots: int) -> tuple[int, int]:
    """The fee of an execution at ``rate`` ppm and the asset it is in (``FeeAsset``); a rebate is negative.

    ``instrument``: dtype INSTRUMENT. Of the base received if the venue takes a buy's fee from it, else of the notional.
    """
    if is_buy and fees["asset"] == _RECEIVED:
        return units.fee(lots * instrument["lot_units"], rate), _IN_BASE
    notional = units.notional(instrument, price, lots, UP if is_buy else DOWN)
    if fees["asset"] == _THIRD and rate > 0:
        return mul_div(notional, rate * (PPM - fees["discount_ppm"]), _PPM_SQUARED, UP), _IN_QUOTE
    return units.fee(notional, rate), _IN_QUOTE


@kernel
def volume(fees: np.void, turnover: np.void, ts_ns: int) -> int:
    """Quote units traded in the thirty UTC days before the day of ``ts_ns``; moves ``turnover`` on to that day."""
    day = ts_ns // DAY_NS
    if turnover["started"] == 0:
        _start(fees, turnover, day)
    if day - turnover["day"] > VOLUME_DAYS:
        turnover["today"], turnover["total"] = 0, 0
        turnover["day"] = day
        for k in range(VOLUME_DAYS):
            turnover["days"][k] = 0
    while turnover["day"] < day:
        slot = turnover["day"] % VOLUME_DAYS
        turnover["total"] += turnover["today"] - turnover["days"][slot]
        turnover["days"][slot] = turnover["today"]
        turnover["today"] = 0
        turnover["day"] += 1
    return turnover["total"]


@kernel
def _start(fees: np.void, turnover: np.void, day: int) -> None:
    """The volume from before the session, spread evenly over its thirty days."""
    turnover["started"], turnover["day"], turnover["total"] = 1, day, fees["volume_start"]
    each = fees["volume_start"] // VOLUME_DAYS
    for k in range(VOLUME_DAYS):
        turnover["days"][k] = each
    turnover["days"][day % VOLUME_DAYS] += fees["volume_start"] - each * VOLUME_DAYS


@kernel
def traded(turnover: np.void, notional: int) -> None:
    """Count an execution of ``notional`` quote units on the day that ``volume`` was last asked for."""
    turnover["today"] = min(turnover["today"], INT64_MAX // 64 - notional) + notional
