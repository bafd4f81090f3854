"""What the README of the recorded data says is wrong with its files, and what reports it: the table of docs/data.md.

``tests/data/test_data_events.py`` holds the recordings' and ticks' counts, ``test_data_against.py`` the degraded
minutes, ``test_data_bulk.py`` the sample of depth.
"""

import json
from pathlib import Path

import pytest

from core.errors import BadInput
from data import catalog
from feeds.market import Listing, Market, from_yaml
from tests.core.recorded import SHARED, needs
from tests.data import test_data_events as events
from tests.data.candles import ingest
from tests.data.malformed import FX, PERP

ROOT = Path(__file__).parents[2]
RECORDED = SHARED / "market-data"
CANDLES = RECORDED / "candles"
SPOT = from_yaml((ROOT / "data/markets/binance_spot.yaml").read_text(), where="binance_spot.yaml")
EQUITY = from_yaml((ROOT / "data/markets/nasdaq.yaml").read_text(), where="nasdaq.yaml")
BITFINEX = Market(
    venue="bitfinex",
    maker_fee_ppm=0,
    taker_fee_ppm=0,
    listings=tuple(
        Listing(symbol=f"{base}-USD", base=base, quote="USD", tick="0.00000001", lot="0.00000001")
        for base in ("BTC", "ETH")
    ),
)
SPOT_2021 = {"BTC-USDT", "ETH-USDT"}
BARS = [  # folder, market, minutes, symbols, gaps, bars missing, bars without volume
    ("binance-spot-1m-2021", SPOT, 1, SPOT_2021, 2, 434, 0),
    ("binance-spot-5m-2021", SPOT, 5, SPOT_2021, 4, 119, 18),
    ("binance-spot-5m-2025", SPOT, 5, SPOT_2021, 0, 0, 0),
    ("binance-spot-1h-2024-2026", SPOT, 60, SPOT_2021, 0, 0, 0),
    ("binance-perp-5m-2025", PERP, 5, {"BTC-USDT"}, 0, 0, 5),
]


@needs(CANDLES)
@pytest.mark.parametrize(("folder", "market", "minutes", "symbols", "gaps", "missing", "idle"), BARS)
def test_gaps_and_idle_bars_are_counted(tmp_path, folder, market, minutes, symbols, gaps, missing, idle) -> None:
    found = ingest(
        tmp_path, market=market, path=str(CANDLES / folder), symbols=tuple(sorted(symbols)), interval_minutes=minutes
    )
    assert found["findings"] == ({"gap": gaps * len(symbols)} if gaps else {})
    assert {symbol: row["missing"] for symbol, row in found["symbols"].items()} == dict.fromkeys(symbols, missing)
    assert [row["without_volume"] for row in catalog.describe(tmp_path / "data")] == [idle] * len(symbols)


@needs(CANDLES)
@pytest.mark.parametrize(("base", "gaps", "missing"), [("BTC", 3_992, 5_101), ("ETH", 13_302, 17_552)])
def test_a_venue_without_idle_candles_has_gaps(tmp_path: Path, base: str, gaps: int, missing: int) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / f"raw/{base}_USD.parquet").symlink_to(CANDLES / f"bitfinex-spot-1m-2018/{base}USD.parquet")
    found = ingest(tmp_path, market=BITFINEX, path=str(tmp_path / "raw"), symbols=(f"{base}-USD",), interval_minutes=1)
    assert found["findings"] == {"gap": gaps} and found["symbols"][f"{base}-USD"]["missing"] == missing


@needs(RECORDED)
@pytest.mark.parametrize(
    ("folder", "minutes"), [("binance-perp-mark-1h-2025", 60), ("binance-perp-funding-8h-2025", 480)]
)
def test_series_that_are_no_candles_are_refused(tmp_path: Path, folder: str, minutes: int) -> None:
    with pytest.raises(BadInput, match=r"BTC_USDT.parquet: wrong columns: .*volume"):
        ingest(tmp_path, market=PERP, path=str(CANDLES / folder), interval_minutes=minutes)


@needs(RECORDED)
def test_candles_of_bid_and_ask_are_no_quotes(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"1h-oanda.*column bid, ask is missing"):
        events.ingest(RECORDED / "fx", FX, tmp_path, "quotes", files="EURUSD-1h*")


@needs(RECORDED)
@pytest.mark.parametrize(
    ("name", "symbol", "minutes", "rows", "crossed", "gaps"),
    [
        ("EURUSD-1h-oanda-2007-2018", "EUR-USD", 60, 74_439, 0, 641),
        ("GBPUSD-1m-fxcm-2012-02", "GBP-USD", 1, 30_117, 347, 111),
    ],
    ids=["oanda", "fxcm"],
)
def test_candles_of_bid_and_ask_are_bars(tmp_path, name, symbol, minutes, rows, crossed, gaps) -> None:
    market = from_yaml((ROOT / "data/markets/fx_mid.yaml").read_text(), where="fx_mid.yaml")
    (tmp_path / "raw").mkdir()
    (tmp_path / f"raw/{symbol.replace('-', '_')}.parquet").symlink_to(RECORDED / f"fx/{name}.parquet")
    found = ingest(tmp_path, market=market, path=str(tmp_path / "raw"), symbols=(symbol,), interval_minutes=minutes)
    assert found["symbols"][symbol]["rows"] == rows
    assert found["findings"] == {rule: n for rule, n in (("gap", gaps), ("crossed", crossed)) if n}


@needs(RECORDED)
def test_a_recording_goes_on_in_the_next_file(tmp_path: Path) -> None:
    """The second file has no snapshot: alone it is no book, behind the first one nothing is missing."""
    spot = Market(
        venue="binance", maker_fee_ppm=0, taker_fee_ppm=0,
        listings=(Listing(symbol="BTC-USDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001"),),
    )  # fmt: skip
    raw = RECORDED / "lob/binance-ws"
    both = events.ingest(raw, spot, tmp_path / "both", "binance_ws", files="spot-*.gz")
    told = json.loads((both / "summary.json").read_text())
    assert not told["findings"].get("gap") and not told["findings"].get("no_snapshot")
    days = told["symbols"]["BTC-USDT"]["offset_ms"]
    assert all(-1_300 < offset_ms < -1_200 for offset_ms in days.values()) and len(days) == 2
    alone = events.ingest(raw, spot, tmp_path / "alone", "binance_ws", files="spot-*0809.gz")
    assert json.loads((alone / "summary.json").read_text())["findings"]["no_snapshot"] == 3_044


@needs(RECORDED)
@pytest.mark.parametrize(("ticker", "levels"), [("GOOG", 10), ("AAPL", 1)])
def test_a_lobster_day_is_whole(tmp_path: Path, ticker: str, levels: int) -> None:
    """No line is refused; hidden executions between two ticks and rows one level cannot explain are noted."""
    market = EQUITY.select((f"{ticker}-USD",))
    out = events.ingest(RECORDED / "lob/lobster", market, tmp_path, "lobster", files=f"*{ticker}*_{levels}.zip")
    told = json.loads((out / "summary.json").read_text())
    refused = {"garbage", "not_finite", "negative", "backward", "crossed", "unordered", "unequal_length", "empty"}
    assert not refused & {rule for rule, count in told["findings"].items() if count}
    assert told["symbols"][f"{ticker}-USD"]["read"] == {"GOOG": 147_916, "AAPL": 118_497}[ticker]
