"""Longer bars from shorter ones: equal to an independent query, and to what the exchange itself published."""

import json
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadConfig
from data.resample import Resampler
from data.settings import DataParams
from tests.core.recorded import SHARED, needs
from tests.data.candles import BTC, Frames, Market, candles, ingest

MINUTE_NS = 60_000_000_000
CANDLES = SHARED / "market-data/candles"
QUERY = """
select epoch_ns(time) // $step * $step as opened, first(open order by time), max(high), min(low),
       last(close order by time), sum(volume)::bigint
from bars group by opened order by opened
"""


def whole_bars(rows: int, seed: int, lost: float = 0.0) -> pl.DataFrame:
    """Bars of a minute as ``data.schema.BARS``, some lost."""
    rng = np.random.default_rng(seed)
    close = 50_000 + np.cumsum(rng.integers(-9, 10, rows))
    opened = np.roll(close, 1)
    spread = rng.integers(0, 5, (2, rows))
    frame = pl.DataFrame(
        {
            "time": pl.Series((np.arange(rows) + 29_000_001) * MINUTE_NS).cast(pl.Datetime("ns", "UTC")),
            "open": opened,
            "high": np.maximum(opened, close) + spread[0],
            "low": np.minimum(opened, close) - spread[1],
            "close": close,
            "volume": rng.integers(0, 1_000, rows),
        }
    )
    return frame.filter(rng.random(rows) >= lost)


def resampled(bars: pl.DataFrame, minutes: int, cuts: tuple[int, ...] = ()) -> tuple[pl.DataFrame, list]:
    made = Resampler(MINUTE_NS, minutes * MINUTE_NS)
    places = [0, *sorted(min(cut, len(bars)) for cut in cuts), len(bars)]
    parts = [made.push(bars[start:end]) for start, end in pairwise(places)]
    parts.append(made.flush())
    return pl.concat([part for part in parts if len(part)]), made.take_partial()


def queried(bars: pl.DataFrame, minutes: int) -> list[tuple]:
    with duckdb.connect() as connection:
        found: list[tuple] = connection.execute(QUERY, {"step": minutes * MINUTE_NS}).fetchall()
    return found


@pytest.mark.parametrize("minutes", [5, 15, 60, 240])
def test_every_timeframe_equals_an_independent_query(minutes: int) -> None:
    """Requirements DATA-09, with minutes lost."""
    bars = whole_bars(3_000, minutes, lost=0.2)
    made, partial = resampled(bars, minutes)
    expected = queried(bars, minutes)
    assert made.with_columns(pl.col("time").dt.epoch("ns")).rows() == expected
    missing = {opened: minutes - count for opened, count in _counts(bars, minutes).items() if count < minutes}
    assert dict(partial) == missing


def _counts(bars: pl.DataFrame, minutes: int) -> dict[int, int]:
    groups, counts = np.unique(bars["time"].dt.epoch("ns").to_numpy() // (minutes * MINUTE_NS), return_counts=True)
    return dict(zip((groups * minutes * MINUTE_NS).tolist(), counts.tolist(), strict=True))


@given(st.integers(0, 99), st.lists(st.integers(0, 300), max_size=8))
def test_how_bars_are_cut_into_chunks_changes_nothing(seed: int, cuts: list[int]) -> None:
    bars = whole_bars(300, seed, lost=0.1)
    truth, partial = resampled(bars, 15)
    made, also = resampled(bars, 15, tuple(cuts))
    assert made.equals(truth) and sorted(also) == sorted(partial)


def test_ingest_makes_longer_bars_and_names_those_that_lack_some(tmp_path: Path) -> None:
    frame = candles(30, minutes=1)
    lost = frame.filter(~np.isin(np.arange(30), [7, 8, *range(15, 20)]))
    market = Market(venue="test", maker_fee_ppm=0, taker_fee_ppm=0, listings=(BTC,))
    ingest(tmp_path, Frames({"BTC-USDT": lost}), market=market, interval_minutes=5, file_minutes=1)
    bars = pl.read_parquet(tmp_path / "data/bars/BTC-USDT.parquet")
    assert bars["time"].dt.minute().to_list() == [0, 5, 10, 20, 25]
    found = json.loads((tmp_path / "data/findings.json").read_text())
    assert [(row["rule"], row["value"]) for row in found if row["rule"] == "partial"] == [
        ("partial", "2025-01-01T00:05:00Z lacks 2")
    ]
    assert json.loads((tmp_path / "data/summary.json").read_text())["findings"] == {"gap": 2, "partial": 1}


def test_lengths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadConfig, match=r"file_minutes is 2; it must divide data\.interval_minutes"):
        DataParams(source="parquet", file_minutes=2)
    with pytest.raises(BadConfig, match="file_minutes is for files"):
        DataParams(file_minutes=1)


@needs(CANDLES / "binance-spot-5m-2025", CANDLES / "binance-spot-1h-2024-2026")
def test_hours_are_the_exchange_s_own() -> None:
    """Five-minute bars of 2025 make the hours that were published apart, all five columns."""
    short = pl.read_parquet(CANDLES / "binance-spot-5m-2025/BTC_USDT.parquet")
    hours = pl.read_parquet(CANDLES / "binance-spot-1h-2024-2026/BTC_USDT.parquet")
    scale = dict.fromkeys(("open", "high", "low", "close"), 100) | {"volume": 10**8}
    whole, published = (
        frame.select(
            pl.col("time").cast(pl.Datetime("ns", "UTC")),
            *((pl.col(name) * factor).round().cast(pl.Int64).alias(name) for name, factor in scale.items()),
        )
        for frame in (short, hours)
    )
    made = Resampler(5 * MINUTE_NS, 60 * MINUTE_NS)
    ours = pl.concat([made.push(whole), made.flush()])
    complete = ours.filter(~pl.col("time").dt.epoch("ns").is_in([opened for opened, _ in made.take_partial()]))
    both = complete.join(published, on="time", suffix="_published")
    assert len(both) > 9_000
    for name in scale:
        assert (both[name] == both[f"{name}_published"]).all(), name
