"""Files in, the same rows out; and every way a file can be unusable is a BadInput that names it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from core.errors import BadConfig, BadInput
from data.clean import clean
from data.settings import DataParams
from data.sources import open_source
from data.sources.kline_csv import KlineCsv
from data.sources.parquet import Parquet
from feeds.market import BUILTIN, Listing, from_yaml
from feeds.tape import Tape
from tests.data.candles import BTC, ETH, MARKET, candles, change, ingest, kline_text, tree, write_kline, write_parquet

ROOT = Path(__file__).parents[2]
START_OF_KLINES = datetime(2021, 11, 27, tzinfo=UTC)
RECORDED = ROOT / "../shared/market-data/candles"


def rows(source: Parquet | KlineCsv, listing: Listing = BTC) -> pl.DataFrame:
    return pl.concat([chunk.frame for chunk in source.chunks(listing)])


def test_parquet_gives_back_what_was_written(tmp_path: Path) -> None:
    frame = candles(70_000)
    write_parquet(tmp_path, BTC, frame.with_columns(trades=pl.lit(3)))
    chunks = list(Parquet(tmp_path).chunks(BTC))
    assert [chunk.first_row for chunk in chunks] == [0, 65_536]
    assert pl.concat([chunk.frame for chunk in chunks]).equals(frame)


@pytest.mark.parametrize("name", ["BTCUSDT-5m-2025-01.csv", "BTCUSDT-5m-2025-01.csv.gz", "BTCUSDT-5m-2025-01.zip"])
@pytest.mark.parametrize("per_second", [1_000, 1_000_000])
def test_kline_gives_back_what_was_written(tmp_path: Path, name: str, per_second: int) -> None:
    frame = candles(300)
    write_kline(tmp_path, name, kline_text(frame, per_second=per_second))
    assert rows(KlineCsv(tmp_path, 5)).equals(frame)


def test_kline_files_are_read_in_order_and_by_interval(tmp_path: Path) -> None:
    frame = candles(30)
    for part in (2, 0, 1):
        write_kline(tmp_path, f"BTCUSDT-5m-2025-01-0{part + 1}.csv", kline_text(frame[10 * part : 10 * part + 10]))
    write_kline(tmp_path, "BTCUSDT-15m-2025-01-01.csv", b"never read")
    write_kline(tmp_path, "ETHUSDT-5m-2025-01-01.csv", b"never read")
    assert rows(KlineCsv(tmp_path, 5)).equals(frame)
    assert [chunk.file for chunk in KlineCsv(tmp_path, 5).chunks(BTC)] == [
        f"BTCUSDT-5m-2025-01-0{day}.csv" for day in (1, 2, 3)
    ]


@pytest.mark.parametrize(("minutes", "label"), [(1, "1m"), (60, "1h"), (240, "4h"), (1440, "1d")])
def test_kline_interval_is_part_of_the_name(tmp_path: Path, minutes: int, label: str) -> None:
    write_kline(tmp_path, f"BTCUSDT-{label}-2025-01.csv", kline_text(candles(3, minutes=minutes)))
    assert len(rows(KlineCsv(tmp_path, minutes))) == 3


def test_csv_and_parquet_of_the_same_data_give_equal_tapes(tmp_path: Path) -> None:
    """DATA-06."""
    frames = {BTC: candles(900), ETH: candles(900, price=336_183, seed=4)}
    for listing, frame in frames.items():
        write_parquet(tmp_path / "parquet", listing, frame)
        stem = f"{listing.base}USDT-5m"
        write_kline(tmp_path / "csv", f"{stem}-2025-01-02.csv.gz", kline_text(frame[288:]))
        write_kline(tmp_path / "csv", f"{stem}-2025-01-01.csv", kline_text(frame[:288]))
    ingest(tmp_path / "a", source_name="parquet", path=str(tmp_path / "parquet"))
    ingest(tmp_path / "b", source_name="kline_csv", path=str(tmp_path / "csv"))
    tapes = [Tape.open(tmp_path / name / "data" / "market.tape") for name in "ab"]
    assert tapes[0].records_sha256 == tapes[1].records_sha256
    assert [tape.meta["source"] for tape in tapes] == ["parquet", "kline_csv"]
    files = [tree(tmp_path / name / "data" / "bars") for name in "ab"]
    assert files[0] == files[1]


def test_every_unusable_parquet_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"BTC_USDT.parquet is missing.*data.symbols"):
        rows(Parquet(tmp_path))
    path = write_parquet(tmp_path, BTC, candles(5_000))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PAR1" + whole[4:-20]):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=r"BTC_USDT.parquet: not readable"):
            rows(Parquet(tmp_path))
    path.write_bytes(whole.replace(whole[40:140], b"\0" * 100))
    with pytest.raises(BadInput, match=r"BTC_USDT.parquet: not readable"):
        rows(Parquet(tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("x.csv", b"", "empty"),
        ("x.csv", b"1735689600000,1,1,1,1,1,1,1,1,1,1\n", "line 1 has 11 columns"),
        ("x.csv", kline_text(candles(5))[:-30], "line 5 has"),
        ("x.csv", b"open_time" + kline_text(candles(5))[13:], "remove the header"),
        ("x.csv", kline_text(candles(5)).replace(b"92792.05", b"lots"), "not a kline file"),
        ("x.csv.gz", b"not gzip", "truncated"),
        ("x.zip", b"PK not zip", "truncated"),
    ],
)
def test_every_unusable_kline_file_is_named(tmp_path: Path, name: str, text: bytes, word: str) -> None:
    path = tmp_path / f"BTCUSDT-5m-{name}"
    path.write_bytes(text)
    with pytest.raises(BadInput, match=f"{path.name}.*{word}"):
        rows(KlineCsv(tmp_path, 5))


def test_truncated_archives_are_named(tmp_path: Path) -> None:
    for name in ("BTCUSDT-5m-x.csv.gz", "BTCUSDT-5m-x.zip"):
        path = write_kline(tmp_path, name, kline_text(candles(500)))
        path.write_bytes(path.read_bytes()[:-200])
        with pytest.raises(BadInput, match="truncated"):
            rows(KlineCsv(tmp_path, 5))
        path.unlink()


def test_a_middle_line_cut_short_is_not_mistaken_for_zeros(tmp_path: Path) -> None:
    lines = kline_text(candles(20)).splitlines(keepends=True)
    lines[7] = lines[7][:40] + b"\n"
    write_kline(tmp_path, "BTCUSDT-5m-x.csv", b"".join(lines))
    with pytest.raises(BadInput, match="line 8 has"):
        rows(KlineCsv(tmp_path, 5))


def test_sources_that_cannot_be_opened_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a folder"):
        open_source(DataParams(source="parquet", path=str(tmp_path / "nowhere")), MARKET, 7)
    with pytest.raises(BadInput, match=r"no file BTCUSDT-5m-\*"):
        rows(KlineCsv(tmp_path, 5))
    with pytest.raises(BadConfig, match="one market file"):
        open_source(DataParams(path="elsewhere.yaml"), BUILTIN, 7)
    with pytest.raises(BadConfig, match="5 minutes"):
        open_source(DataParams(interval_minutes=15), BUILTIN, 7)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"interval_minutes": 7}, "divide a day"),
        ({"interval_minutes": 0}, "divide a day"),
        ({"days": -1}, r"\[0, 36525\]"),
        ({"holdout": 400}, "nothing would be left"),
        ({"strength": "strong"}, "must be a decimal"),
        ({"strength": "5"}, r"\[0, 4\]"),
        ({"strength": "NaN"}, r"\[0, 4\]"),
        ({"inject_strength": "1"}, "recorded data"),
        ({"days": 0}, "needs a length"),
    ],
)
def test_impossible_settings_are_named(fields: dict, word: str) -> None:
    with pytest.raises(BadConfig, match=word):
        DataParams(**fields)


needs_recordings = pytest.mark.skipif(not RECORDED.is_dir(), reason="the recorded candles are not beside the checkout")


@needs_recordings
def test_recorded_candles_lie_on_the_grids_of_their_market_file() -> None:
    market = from_yaml((ROOT / "data/markets/binance_spot.yaml").read_text(), where="binance_spot.yaml")
    for listing in market.listings:
        last, kept = None, 0
        for chunk in Parquet(RECORDED / "binance-spot-5m-2025").chunks(listing):
            cleaned = clean(chunk, listing, 300_000_000_000, last)
            assert not len(cleaned.findings), cleaned.findings
            last, kept = cleaned.last_ns, kept + len(cleaned.bars)
        assert kept > 119_000


@needs_recordings
def test_recorded_kline_file_is_read_whole() -> None:
    market = from_yaml((ROOT / "data/markets/binance_spot_btc.yaml").read_text(), where="binance_spot_btc.yaml")
    listing = market.listings[0]
    (chunk,) = KlineCsv(RECORDED / "binance-kline-csv", 1).chunks(listing)
    cleaned = clean(chunk, listing, 60_000_000_000, None)
    assert len(cleaned.bars) == 1_440 and not len(cleaned.findings)
    assert cleaned.bars.row(0) == (START_OF_KLINES, 2_853, 2_854, 2_851, 2_854, 363_042)


@needs_recordings
def test_another_years_grid_is_refused_not_rounded(tmp_path: Path) -> None:
    """BNB was quoted to four decimals in 2021; a tick of 0.01 cannot hold that."""
    market = from_yaml((ROOT / "data/markets/binance_spot.yaml").read_text(), where="binance_spot.yaml")
    with pytest.raises(BadInput, match=r"BNB-USDT.*off_grid"):
        ingest(tmp_path, market=market, path=str(RECORDED / "binance-spot-5m-2021"), symbols=("BNB-USDT",))


def dealer(frame: pl.DataFrame, spread: float) -> pl.DataFrame:
    """``frame`` as candles of bid and ask around its prices, without volume."""
    prices = ("open", "high", "low", "close")
    sides = [(pl.col(name) + half).alias(f"{side}_{name}") for side, half in (("bid", -spread / 2), ("ask", spread / 2))
             for name in prices]  # fmt: skip
    return frame.select("time", *sides)


def test_candles_of_bid_and_ask_are_bars_of_the_middle(tmp_path: Path) -> None:
    frame = candles(300)
    write_parquet(tmp_path, BTC, dealer(frame, 0.02))
    read = rows(Parquet(tmp_path))
    for name in ("open", "high", "low", "close"):
        assert np.allclose(read[name].to_numpy(), frame[name].to_numpy(), rtol=0, atol=1e-9)
    assert read["time"].equals(frame["time"]) and read["volume"].sum() == 0
    found = ingest(tmp_path / "out", source_name="parquet", path=str(tmp_path), symbols=("BTC-USDT",))
    assert found["findings"] == {} and found["symbols"]["BTC-USDT"]["rows"] == 300


def test_a_bar_that_closes_crossed_is_noted_and_used(tmp_path: Path) -> None:
    quoted = dealer(candles(300), 0.02)
    write_parquet(tmp_path, BTC, change(quoted, 7, ask_close=quoted["bid_close"][7] - 0.04))
    found = ingest(tmp_path / "out", source_name="parquet", path=str(tmp_path), symbols=("BTC-USDT",))
    assert found["findings"] == {"crossed": 1} and found["symbols"]["BTC-USDT"]["rows"] == 300
    told = json.loads((tmp_path / "out/data/findings.json").read_text())
    assert [(item["file"], item["row"], item["rule"]) for item in told] == [("BTC_USDT.parquet", 7, "crossed")]


def test_one_side_only_is_refused(tmp_path: Path) -> None:
    bid_only = dealer(candles(300), 0.02).select("time", pl.selectors.starts_with("bid_"))
    write_parquet(tmp_path, BTC, bid_only)
    with pytest.raises(BadInput, match=r"BTC_USDT.parquet: wrong columns"):
        ingest(tmp_path / "out", source_name="parquet", path=str(tmp_path), symbols=("BTC-USDT",))
