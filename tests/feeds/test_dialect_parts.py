"""What the dialects share: times as text."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.dialects import BadFrame, Rule, utc_ns

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.datetimes(datetime(1970, 1, 1, 0, 0, 1), datetime(2040, 1, 1)), st.integers(0, 999))
def test_a_time_is_its_ns(when: datetime, ns: int) -> None:
    exact = (when.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) * 1000
    assert utc_ns(f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond:06}Z") == exact
    assert utc_ns(f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond:06}{ns:03}Z") == exact + ns


def test_a_time_may_have_no_fraction_or_be_unknown() -> None:
    assert utc_ns("2023-11-14T22:13:20Z") == 1_700_000_000 * 10**9 == utc_ns("2023-11-14T22:13:20.0Z")
    assert utc_ns("") == 0


@pytest.mark.parametrize(
    "text",
    [
        "2023-02-29T00:00:00Z",
        "2023-00-01T00:00:00Z",
        "2023-01-01T24:00:00Z",
        "2023-01-01T00:60:00Z",
        "2023-01-01T00:00:60Z",
        "2023-01-01T00:00:00",
        "2023-01-01T00:00:00+00:00",
        "2023-01-01 00:00:00Z",
        "2023-01-01T00:00:00.0000000001Z",
        "2023-01-01T00:00:00.Z",
        "\u0662023-01-01T00:00:00Z",
        "\u0662\u0660\u0662\u0663-01-01T00:00:00Z",  # digits, but not ours
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "now",
        " ",
    ],
)
def test_what_is_no_time_of_a_market_is_refused(text: str) -> None:
    with pytest.raises(BadFrame) as caught:
        utc_ns(text)
    assert caught.value.rule is Rule.BAD_TIME
