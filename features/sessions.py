"""Trading sessions and days of the week from a UTC time in ns, in integers, without a time-zone database.

Session hours are local and half-open: Asia 09:00-18:00 Tokyo, London 08:00-17:00, New York 08:00-17:00. Tokyo has no
daylight saving time. London's lasts from the last Sunday of March, 01:00 UTC, to the last Sunday of October, 01:00 UTC
(Directive 2000/84/EC, which the UK kept); New York's from the second Sunday of March, 07:00 UTC, to the first Sunday
of November, 06:00 UTC (Energy Policy Act of 2005, so from 2007 on).
"""

from typing import Final

from core.jit import kernel
from core.records import DAY_NS, HOUR_NS

ASIA: Final = 1
LONDON: Final = 2
NEW_YORK: Final = 4

_MARCH: Final = 3
_OCTOBER: Final = 10
_NOVEMBER: Final = 11
_DAYS_PER_400_YEARS: Final = 146_097
_EPOCH_DAY_FROM_MARCH_0000: Final = 719_468


@kernel
def weekday(day: int) -> int:
    """Day of the week of ``day`` (days since 1970-01-01, a Thursday): 0 is Monday."""
    return (day + 3) % 7


@kernel
def year_of(day: int) -> int:
    """Gregorian year of ``day`` (days since 1970-01-01).

    Counts years from 1 March, so that the leap day is the last (H. Hinnant, "chrono-Compatible Low-Level Date
    Algorithms", civil_from_days).
    """
    shifted = day + _EPOCH_DAY_FROM_MARCH_0000
    era = shifted // _DAYS_PER_400_YEARS
    of_era = shifted - era * _DAYS_PER_400_YEARS
    of_year_four = of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096
    year = of_year_four // 365
    day_from_march = of_era - (365 * year + year // 4 - year // 100)
    return era * 400 + year + (1 if day_from_march >= 306 else 0)


@kernel
def day_of(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a Gregorian date; ``month`` from March to December."""
    return (
        365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1
    ) - _EPOCH_DAY_FROM_MARCH_0000


@kernel
def sunday_on_or_after(day: int) -> int:
    """The first Sunday not before ``day``."""
    return day + (6 - weekday(day)) % 7


@kernel
def london_offset_ns(ts: int) -> int:
    """What London's clock is ahead of UTC at ``ts``, ns."""
    year = year_of(ts // DAY_NS)
    start = sunday_on_or_after(day_of(year, _MARCH, 25)) * DAY_NS + HOUR_NS
    end = sunday_on_or_after(day_of(year, _OCTOBER, 25)) * DAY_NS + HOUR_NS
    return HOUR_NS if start <= ts < end else 0


@kernel
def new_york_offset_ns(ts: int) -> int:
    """What New York's clock is ahead of UTC at ``ts``, ns (negative)."""
    year = year_of(ts // DAY_NS)
    start = sunday_on_or_after(day_of(year, _MARCH, 8)) * DAY_NS + 7 * HOUR_NS
    end = sunday_on_or_after(day_of(year, _NOVEMBER, 1)) * DAY_NS + 6 * HOUR_NS
    return -4 * HOUR_NS if start <= ts < end else -5 * HOUR_NS


@kernel
def sessions(ts: int) -> int:
    """The sessions open at ``ts`` as bits ASIA, LONDON, NEW_YORK."""
    tokyo = (ts + 9 * HOUR_NS) % DAY_NS
    london = (ts + london_offset_ns(ts)) % DAY_NS
    new_york = (ts + new_york_offset_ns(ts)) % DAY_NS
    open_now = 0
    if 9 * HOUR_NS <= tokyo < 18 * HOUR_NS:
        open_now |= ASIA
    if 8 * HOUR_NS <= london < 17 * HOUR_NS:
        open_now |= LONDON
    if 8 * HOUR_NS <= new_york < 17 * HOUR_NS:
        open_now |= NEW_YORK
    return open_now
