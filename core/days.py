"""Days: of the calendar, in integers, and of a venue, which begin at midnight of its zone.

The core has no time-zone database: two machines with different editions of it would trade differently. A zone is its
standard offset and the rule its clock changes by, stated here and in force for years:

- EU: one hour ahead from the last Sunday of March, 01:00 UTC, to the last Sunday of October, 01:00 UTC
  (Directive 2000/84/EC, which the UK kept);
- US: one hour ahead from the second Sunday of March to the first Sunday of November, both at 02:00 local time
  (Energy Policy Act of 2005, so from 2007 on).

No clock changes at midnight in either, so every day has one beginning; days of 23 and 25 hours are real.
"""

import re
from typing import Final

import numpy as np

from core.errors import BadConfig
from core.jit import kernel
from core.records import DAY_NS, HOUR_NS, MINUTE_NS

NO_SEASONS: Final = 0
EU: Final = 1
US: Final = 2
ZONES: Final = {
    "UTC": (0, NO_SEASONS),
    "Europe/Prague": (HOUR_NS, EU),
    "Europe/London": (0, EU),
    "America/New_York": (-5 * HOUR_NS, US),
}
_OFFSET: Final = re.compile(r"([+-])(\d\d):([0-5]\d)")
_OFFSET_NS_MAX: Final = 14 * HOUR_NS

_MARCH: Final = 3
_OCTOBER: Final = 10
_NOVEMBER: Final = 11
_DAYS_PER_400_YEARS: Final = 146_097
_EPOCH_DAY_FROM_MARCH_0000: Final = 719_468


def zone(key: str, text: str) -> tuple[int, int]:
    """(ns ahead of UTC in winter, rule of its seasons) of a name in ``ZONES`` or a fixed offset such as '+02:00'.

    Raises BadConfig naming ``key`` for anything else.
    """
    if text in ZONES:
        return ZONES[text]
    match = _OFFSET.fullmatch(text)
    offset_ns = int(match[2]) * HOUR_NS + int(match[3]) * MINUTE_NS if match else _OFFSET_NS_MAX + 1
    if match is None or offset_ns > _OFFSET_NS_MAX:
        raise BadConfig(f"{key} is {text!r}; there is {', '.join(ZONES)} and fixed offsets from -14:00 to +14:00")
    return (-offset_ns if match[1] == "-" else offset_ns), NO_SEASONS


@kernel
def local_day(config: np.void, ts: int) -> int:
    """The venue's day at ``ts``: days since 1970-01-01 of its calendar. ``config``: dtype CONFIG."""
    offset = config["day_offset_ns"]
    if config["day_seasons"] != NO_SEASONS and is_summer(config["day_seasons"], offset, ts):
        offset += HOUR_NS
    return (ts + offset) // DAY_NS


@kernel
def day_start_ns(config: np.void, day: int) -> int:
    """When the venue's ``day`` begins, ns since the epoch."""
    midnight = day * DAY_NS - config["day_offset_ns"]
    if config["day_seasons"] != NO_SEASONS and is_summer(config["day_seasons"], config["day_offset_ns"], midnight):
        return midnight - HOUR_NS
    return midnight


@kernel
def is_summer(seasons: int, offset_ns: int, ts: int) -> bool:
    """The zone's clock is an hour ahead of its standard time at ``ts``."""
    year = year_of((ts + offset_ns) // DAY_NS)
    if seasons == EU:
        start = sunday_on_or_after(day_of(year, _MARCH, 25)) * DAY_NS + HOUR_NS
        end = sunday_on_or_after(day_of(year, _OCTOBER, 25)) * DAY_NS + HOUR_NS
    else:
        start = sunday_on_or_after(day_of(year, _MARCH, 8)) * DAY_NS + 2 * HOUR_NS - offset_ns
        end = sunday_on_or_after(day_of(year, _NOVEMBER, 1)) * DAY_NS + HOUR_NS - offset_ns
    return start <= ts < end


@kernel
def weekday(day: int) -> int:
    """Day of the week of ``day`` (days since 1970-01-01, a Thursday): 0 is Monday."""
    return (day + 3) % 7


@kernel
def week_of(day: int) -> int:
    """Weeks since the one of 1970-01-01; a week begins on Monday."""
    return (day + 3) // 7


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
