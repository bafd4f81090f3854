"""Every rule has a row that breaks it; nothing is filled; chunks change nothing; every fault injected is found."""

import math
import random
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadInput, BrokenInvariant
from data.clean import Cleaned, clean
from data.grid import Grid
from data.schema import check_bars
from data.sources.protocol import Chunk
from feeds.market import Listing
from tests.data.candles import BTC, MINUTE_NS, START, candles, change

INTERVAL = 5 * MINUTE_NS


def judge(frame: pl.DataFrame, listing: Listing = BTC, interval_ns: int = INTERVAL) -> Cleaned:
    return clean(Chunk("btc.test", 0, frame), listing, interval_ns, None)


def rules_at(cleaned: Cleaned, row: int) -> set[str]:
    return set(cleaned.findings.filter(pl.col("row") == row)["rule"])


def at(minutes: float) -> object:
    return START + timedelta(minutes=minutes)


BROKEN = {
    "not_a_number": {"close": math.nan},
    "not_positive": {"low": 0.0},
    "high_below_low": {"high": 92_700.00, "low": 92_800.00},
    "outside_range": {"close": 95_000.00},
    "off_grid": {"high": 92_999.999},
    "too_large": {"volume": 1e15},
    "negative_volume": {"volume": -0.5},
    "off_interval": {"time": at(25.5)},
    "duplicate_time": {"time": at(20)},
    "backward_time": {"time": at(10)},
}


@pytest.mark.parametrize("rule", BROKEN)
def test_each_rule_finds_its_row_and_quarantines_it(rule: str) -> None:
    frame = change(candles(), 5, **BROKEN[rule])
    cleaned = judge(frame)
    found = cleaned.findings.filter(pl.col("rule") == rule)
    assert found["row"].to_list() == [5]
    assert found["file"].to_list() == ["btc.test"]
    column = next(iter(BROKEN[rule]))
    assert f"{column}=" in found["value"][0]
    assert cleaned.quarantine["row"].to_list() == [5]
    assert cleaned.quarantine.select(frame.columns).equals(frame[5:6], null_equal=True)
    assert len(cleaned.bars) == 9
    assert rules_at(cleaned, 6) == {"gap"}  # the row set aside is missing, and is said to be


@pytest.mark.parametrize("value", [None, math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_no_number_is_let_through_in_no_column(column: str, value: float | None) -> None:
    assert rules_at(judge(change(candles(), 3, **{column: value})), 3) == {"not_a_number"}


def test_a_missing_time_is_found() -> None:
    assert rules_at(judge(change(candles(), 3, time=None)), 3) == {"not_a_number"}


def test_a_row_may_break_several_rules_and_is_quarantined_once() -> None:
    cleaned = judge(change(candles(), 4, low=-1.005, volume=-1.0))
    assert rules_at(cleaned, 4) == {"not_positive", "off_grid", "negative_volume"}
    assert len(cleaned.quarantine) == 1


def test_clean_rows_pass_untouched() -> None:
    cleaned = judge(candles(500))
    assert len(cleaned.findings) == len(cleaned.quarantine) == cleaned.missing == 0
    first = cleaned.bars.row(0, named=True)
    assert (first["open"], first["volume"]) == (9_279_205, 100_000)
    assert cleaned.bars["volume"][7] == 100_007


def test_seven_deleted_minutes_are_listed_exactly() -> None:
    """DATA-05."""
    frame = candles(600, minutes=1)
    deleted = [*random.Random(5).sample(range(1, 599), 5), 300, 301]
    cleaned = judge(frame.filter(~pl.int_range(pl.len()).is_in(deleted)), interval_ns=MINUTE_NS)
    gaps = cleaned.findings.filter(pl.col("rule") == "gap")
    listed = []
    for value in gaps["value"]:  # the open times of the first and the last bar that is missing
        time, last = (datetime.fromisoformat(part) for part in value.split("/"))
        while time <= last:
            listed.append(time)
            time += timedelta(minutes=1)
    assert sorted(listed) == [START + timedelta(minutes=row) for row in sorted(set(deleted))]
    assert cleaned.missing == 7
    assert len(cleaned.bars) == 593  # nothing was filled
    assert len(cleaned.quarantine) == 0


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_chunks_change_nothing_and_every_row_is_accounted_for(data: st.DataObject) -> None:
    frame = candles(60)
    for row in data.draw(st.lists(st.integers(0, 59), max_size=6, unique=True)):
        frame = change(frame, row, **BROKEN[data.draw(st.sampled_from(sorted(BROKEN)))])
    frame = frame.filter(~pl.int_range(pl.len()).is_in(data.draw(st.lists(st.integers(1, 58), max_size=5))))
    whole = judge(frame)
    assert len(whole.bars) + len(whole.quarantine) == len(frame)
    size, last, parts = data.draw(st.integers(7, 40)), None, []
    for first in range(0, len(frame), size):
        parts.append(clean(Chunk("btc.test", first, frame.slice(first, size)), BTC, INTERVAL, last))
        last = parts[-1].last_ns
    for name in ("bars", "findings", "quarantine"):
        assert pl.concat([getattr(part, name) for part in parts]).equals(getattr(whole, name), null_equal=True), name
    assert sum(part.missing for part in parts) == whole.missing
    assert last == whole.last_ns


@pytest.mark.parametrize("rule", ["duplicate_time", "backward_time"])
def test_order_is_judged_across_the_edge_of_a_chunk(rule: str) -> None:
    frame = change(candles(), 5, **BROKEN[rule])
    first = clean(Chunk("btc.test", 0, frame[:5]), BTC, INTERVAL, None)
    second = clean(Chunk("btc.test", 5, frame[5:]), BTC, INTERVAL, first.last_ns)
    assert second.findings.filter(pl.col("rule") == rule)["row"].to_list() == [5]


@pytest.mark.parametrize(
    "frame",
    [
        candles().drop("volume"),
        candles().rename({"close": "last"}),
        candles().with_columns(pl.col("open").cast(pl.String)),
        candles().with_columns(pl.col("time").dt.replace_time_zone(None)),
        candles().with_columns(pl.col("time").dt.epoch("ms")),
    ],
    ids=["missing", "renamed", "text", "no time zone", "integers"],
)
def test_wrong_columns_are_named(frame: pl.DataFrame) -> None:
    with pytest.raises(BadInput, match=r"btc.test: wrong columns: .*(volume|close|open|time)"):
        judge(frame)


@settings(max_examples=200, deadline=None)
@given(ticks=st.integers(1, 2**40), tick=st.sampled_from(["0.01", "0.00000001", "0.5", "0.025", "1", "10", "0.0001"]))
def test_every_decimal_on_the_grid_is_recognised_and_its_neighbours_are_not(ticks: int, tick: str) -> None:
    """Exact: what a file writes as a decimal comes back as the same integer, without any tolerance."""
    from decimal import Decimal

    import numpy as np

    grid = Grid.of(Listing(symbol="X", base="X", quote="Y", tick=tick, lot="1"))
    price = np.array([float(str(Decimal(ticks) * Decimal(tick)))])
    assert not grid.off(price)[0]
    assert int(grid.ticks(price)[0]) == ticks
    assert grid.off(np.nextafter(price, np.inf))[0]
    assert grid.price(np.array([ticks]))[0] == price[0]


def test_a_bar_that_slipped_through_cleaning_is_a_broken_invariant() -> None:
    bars = judge(candles()).bars
    for broken in (
        bars.with_columns(high=pl.col("low") - 1),
        bars.with_columns(open=pl.lit(0, pl.Int64)),
        bars.with_columns(volume=pl.lit(-1, pl.Int64)),
        bars.reverse(),
    ):
        with pytest.raises(BrokenInvariant):
            check_bars(broken, where="test")
