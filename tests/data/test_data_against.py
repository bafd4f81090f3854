"""Two recordings of one market: what they disagree on is found, with time and values, and rounding is not."""

import json
from pathlib import Path

import polars as pl
import pytest

from core.errors import BadInput
from data.against import against
from feeds.market import from_yaml
from tests.core.recorded import SHARED, needs
from tests.data.candles import BTC, Frames, candles, change, ingest, write_parquet
from tests.data.test_data_catalog import run

ROOT = Path(__file__).parents[2]
RECORDED = SHARED / "market-data/candles"
MINUTES = candles(600, minutes=1)


def longer(frame: pl.DataFrame, minutes: int = 5) -> pl.DataFrame:
    """The same by Polars alone."""
    return frame.group_by_dynamic("time", every=f"{minutes}m").agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
        pl.col("volume").sum(),
    )  # fmt: skip


def ingested(out: Path, frame: pl.DataFrame) -> Path:
    ingest(out, Frames({"BTC-USDT": frame}), symbols=("BTC-USDT",), interval_minutes=1)
    return out / "data"


def test_what_differs_is_named_with_its_row_time_and_values(tmp_path: Path) -> None:
    folder = ingested(tmp_path, MINUTES)
    other = longer(MINUTES)
    more = other["volume"][7] + 0.5
    write_parquet(tmp_path / "other", BTC, change(change(other, 7, volume=more), 9, high=92_999.0))
    (found,) = against(folder, tmp_path / "other")
    assert found.compared == 120
    assert [(row["file"], row["row"], row["time"], row["rule"]) for row in found.findings] == [
        ("BTC_USDT.parquet", 7, "2025-01-01T00:35:00Z", "differs"),
        ("BTC_USDT.parquet", 9, "2025-01-01T00:45:00Z", "differs"),
    ]
    assert found.findings[0]["value"] == f"volume {more - 0.5:.5f}, there {more:.5f}"
    assert found.findings[1]["value"].startswith("high ") and found.findings[1]["value"].endswith("there 92999.0")
    code, text = run("check", "--folder", str(folder), "--against", str(tmp_path / "other"), "--json")
    assert code == 10 and [row["row"] for row in json.loads(text)] == [7, 9]


def test_rounding_and_missing_parts_are_no_difference(tmp_path: Path) -> None:
    """Each minute's volume is rounded to whole lots, so five of them may be off by three lots."""
    uneven = MINUTES.with_columns(volume=pl.col("volume") + 0.000004)
    other = longer(uneven)
    folder = ingested(tmp_path, uneven.filter(pl.int_range(pl.len()) != 37))
    write_parquet(tmp_path / "other", BTC, other)
    (found,) = against(folder, tmp_path / "other")
    assert (found.compared, found.findings) == (119, [])
    assert run("check", "--folder", str(folder), "--against", str(tmp_path / "other"))[0] == 0


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    folder = ingested(tmp_path, MINUTES)
    with pytest.raises(BadInput, match=r"none of BTC_USDT.parquet is there; name the folder"):
        against(folder, tmp_path)
    with pytest.raises(BadInput, match="make it with `dvc repro ingest`"):
        against(tmp_path / "nothing", tmp_path)
    ingest(tmp_path / "long", Frames({"BTC-USDT": longer(MINUTES)}), symbols=("BTC-USDT",))
    write_parquet(tmp_path / "other", BTC, longer(MINUTES, 3))
    with pytest.raises(BadInput, match="3 minutes are no multiple of the ingested 5 minutes; compare with longer"):
        against(tmp_path / "long/data", tmp_path / "other")


@needs(RECORDED)
@pytest.mark.parametrize("symbol", ["BTC-USDT", "ETH-USDT"])
def test_the_degraded_minutes_of_2021_are_found_and_nothing_else(tmp_path: Path, symbol: str) -> None:
    market = from_yaml((ROOT / "data/markets/binance_spot.yaml").read_text(), where="binance_spot.yaml")
    path = str(RECORDED / "binance-spot-1m-2021")
    ingest(tmp_path, market=market, path=path, symbols=(symbol,), interval_minutes=1)
    (found,) = against(tmp_path / "data", RECORDED / "binance-spot-5m-2021")
    times = [row["time"] for row in found.findings]
    assert found.compared == 11_883 and len(times) == 16
    windows = ("2021-04-22T02:10", "2021-04-22T02:25"), ("2021-04-23T01:40", "2021-04-23T02:50")
    assert all(any(first <= time <= last for first, last in windows) for time in times)
    assert all("volume" in row["value"] for row in found.findings)
