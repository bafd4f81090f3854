"""Sessions and weekdays from integers, against a table worked out by hand and the system's time-zone database."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.days import weekday, year_of
from core.records import DAY_NS
from features.sessions import ASIA, LONDON, NEW_YORK, london_offset_ns, new_york_offset_ns, sessions

_EPOCH = date(1970, 1, 1)


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**9


@pytest.mark.parametrize(
    ("utc", "expected"),
    [
        # winter: London 08-17 UTC, New York 13-22 UTC, Asia 00-09 UTC all year
        ("2024-01-10 00:00", ASIA),
        ("2024-01-10 07:59", ASIA),
        ("2024-01-10 08:00", ASIA | LONDON),
        ("2024-01-10 09:00", LONDON),
        ("2024-01-10 12:59", LONDON),
        ("2024-01-10 13:00", LONDON | NEW_YORK),
        ("2024-01-10 17:00", NEW_YORK),
        ("2024-01-10 21:59", NEW_YORK),
        ("2024-01-10 22:00", 0),
        ("2024-01-10 23:59", 0),
        # summer: London 07-16 UTC, New York 12-21 UTC
        ("2024-07-10 06:59", ASIA),
        ("2024-07-10 07:00", ASIA | LONDON),
        ("2024-07-10 08:59", ASIA | LONDON),
        ("2024-07-10 12:00", LONDON | NEW_YORK),
        ("2024-07-10 16:00", NEW_YORK),
        ("2024-07-10 20:59", NEW_YORK),
        ("2024-07-10 21:00", 0),
        # between the changes: New York from 10 March, London from 31 March 2024
        ("2024-03-08 12:30", LONDON),
        ("2024-03-11 12:30", LONDON | NEW_YORK),
        ("2024-03-29 07:30", ASIA),
        ("2024-04-01 07:30", ASIA | LONDON),
        # London back on 27 October, New York on 3 November 2024
        ("2024-10-25 16:30", NEW_YORK),
        ("2024-10-28 16:30", LONDON | NEW_YORK),
        ("2024-11-01 12:30", LONDON | NEW_YORK),
        ("2024-11-04 12:30", LONDON),
        # a leap day, a century that is a leap year, the epoch
        ("2024-02-29 08:30", ASIA | LONDON),
        ("2000-02-29 13:00", LONDON | NEW_YORK),
        ("1970-01-01 13:00", LONDON | NEW_YORK),
    ],
)
def test_sessions_of_a_moment(utc: str, expected: int) -> None:
    assert sessions(ns(datetime.fromisoformat(utc).replace(tzinfo=UTC))) == expected


@pytest.mark.parametrize(
    ("zone", "offset"), [("Europe/London", london_offset_ns), ("America/New_York", new_york_offset_ns)]
)
def test_offsets_equal_the_time_zone_database(zone: str, offset) -> None:
    """Every six hours of thirty years, and every hour (and the second before it) of the weeks clocks may change in."""
    info = ZoneInfo(zone)
    moment, end = datetime(2008, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
    while moment < end:
        for second in (moment, moment - timedelta(seconds=1)):
            assert offset(ns(second)) == second.astimezone(info).utcoffset() // timedelta(microseconds=1) * 1000, second
        moment += timedelta(hours=1 if moment.month in (3, 10, 11) else 6)


def test_year_and_weekday_equal_the_calendar() -> None:
    for day in range(-80_000, 240_000):
        wanted = _EPOCH + timedelta(days=day)
        assert (year_of(day), weekday(day)) == (wanted.year, wanted.weekday())
    assert weekday(ns(datetime(2024, 7, 8, tzinfo=UTC)) // DAY_NS) == 0  # a Monday
