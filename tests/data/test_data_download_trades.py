"""`python -m data download trades` against a loopback venue: every trade once, the same bytes whatever happens."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.errors import BadInput
from core.records import Kind
from feeds.market import Listing, Market
from feeds.tape import Tape
from tests.data.binance import DAY1_MS, Binance, served
from tests.data.test_data_catalog import run
from tests.data.test_data_download import content, fetch
from tests.data.test_data_events import found as findings
from tests.data.test_data_events import ingest

HOUR_MS = 3_600_000
PER_HOUR = 2_400
BOTH = ["BTC-USDT", "ETH-USDT"]
MARKET = Market(
    venue="binance", maker_fee_ppm=0, taker_fee_ppm=0,
    listings=tuple(
        Listing(symbol=f"{base}-USDT", base=base, quote="USDT", tick="0.01", lot="0.001") for base in ("BTC", "ETH")
    ),
)  # fmt: skip


@pytest.fixture
def venue() -> Iterator[Binance]:
    with served(Binance(now_ms=DAY1_MS + 2 * HOUR_MS)) as started:
        yield started


def trades(venue: Binance, folder: Path, symbols: list[str] = BOTH, **more: Any) -> dict[str, Any]:
    return fetch(venue, folder, symbols, timeframe="trades", **more)


def told(path: Path) -> list[tuple[Any, ...]]:
    return pl.read_parquet(path).with_columns(pl.col("time").dt.epoch("ms")).rows()


def truth(venue: Binance, name: str) -> list[tuple[Any, ...]]:
    rows = venue.agg_trades(name, DAY1_MS, venue.now_ms, 10**9)
    return [(row["T"], row["a"], float(row["p"]), float(row["q"]), 2 if row["m"] else 1) for row in rows]


def test_every_trade_once_and_a_tape_of_them(venue: Binance, tmp_path: Path) -> None:
    summary = trades(venue, tmp_path / "raw")
    assert summary["timeframe"] == "trades" and summary["symbols"]["BTC_USDT"]["missing"] == 0
    for base in ("BTC", "ETH"):
        assert told(tmp_path / f"raw/{base}_USDT.parquet") == truth(venue, f"{base}USDT")
    folder = ingest(tmp_path / "raw", MARKET, tmp_path / "out", "trades", files="*.parquet")
    records = Tape.open(folder / "market.tape").records
    assert len(records) == 2 * 2 * PER_HOUR and (records["kind"] == Kind.TRADE).all() and findings(folder) == []
    assert records["b"][0] == 125 and records["c"][-1] == 2 * PER_HOUR - 1


def test_in_any_order_and_in_two_parts_gives_the_same_bytes(venue: Binance, tmp_path: Path) -> None:
    trades(venue, tmp_path / "serial", concurrency=1)
    venue.latency_s = {"BTCUSDT": 0.05}
    trades(venue, tmp_path / "parallel", BOTH[::-1], concurrency=4)
    venue.latency_s = {}
    trades(venue, tmp_path / "parts", until_ms=DAY1_MS + HOUR_MS + 1)
    trades(venue, tmp_path / "parts", since_ms=None)
    assert content(tmp_path / "serial") == content(tmp_path / "parallel") == content(tmp_path / "parts")


def test_a_refresh_appends_once_and_an_earlier_begin_is_joined(venue: Binance, tmp_path: Path) -> None:
    trades(venue, tmp_path, since_ms=DAY1_MS + HOUR_MS)
    venue.now_ms += HOUR_MS
    assert trades(venue, tmp_path, since_ms=None)["symbols"]["BTC_USDT"]["added"] == PER_HOUR
    before = content(tmp_path)
    assert trades(venue, tmp_path, since_ms=None)["symbols"]["BTC_USDT"]["added"] == 0
    assert content(tmp_path) == before
    assert trades(venue, tmp_path, since_ms=DAY1_MS)["symbols"]["BTC_USDT"]["added"] == PER_HOUR
    assert told(tmp_path / "BTC_USDT.parquet") == truth(venue, "BTCUSDT")


def test_it_goes_on_where_it_was_interrupted(venue: Binance, tmp_path: Path) -> None:
    """The fourth page fails for good; the next run asks from its begin on."""
    venue.faults = {("BTCUSDT", number): "503" for number in range(4, 30)}
    with pytest.raises(
        BadInput, match=r"BTC/USDT trades from .*: failed 4 times, last: HTTP 503.*run the same command"
    ):
        trades(venue, tmp_path, ["BTC-USDT"])
    asked, venue.faults = len(venue.asked), {}
    trades(venue, tmp_path, ["BTC-USDT"])
    assert venue.asked[asked][1] > DAY1_MS + HOUR_MS // 2
    assert told(tmp_path / "BTC_USDT.parquet") == truth(venue, "BTCUSDT")


@pytest.mark.parametrize("fault", ["half", "cut", "429", "empty", "shuffled"])
def test_faults_on_the_way_change_nothing(venue: Binance, tmp_path: Path, fault: str) -> None:
    venue.faults = {("BTCUSDT", 2): fault}
    trades(venue, tmp_path, ["BTC-USDT"])
    assert told(tmp_path / "BTC_USDT.parquet") == truth(venue, "BTCUSDT")


def test_hours_without_a_trade_and_lacking_ids(venue: Binance, tmp_path: Path) -> None:
    venue.now_ms = DAY1_MS + 6 * HOUR_MS
    venue.gaps = set(range(DAY1_MS + HOUR_MS, DAY1_MS + 5 * HOUR_MS, 3000))
    summary = trades(venue, tmp_path / "raw")
    assert summary["symbols"]["BTC_USDT"]["missing"] == 4 * PER_HOUR  # the ids of this venue go on
    assert told(tmp_path / "raw/BTC_USDT.parquet") == truth(venue, "BTCUSDT")
    folder = ingest(tmp_path / "raw", MARKET, tmp_path / "out", "trades", files="*.parquet")
    assert [(row, rule) for file, row, rule in findings(folder) if file != "records"] == [(PER_HOUR, "gap")] * 2


def test_what_the_venue_now_says_otherwise_is_told_and_kept(venue: Binance, tmp_path: Path) -> None:
    trades(venue, tmp_path, ["BTC-USDT"])
    before = told(tmp_path / "BTC_USDT.parquet")
    venue.closes[("BTCUSDT", 2 * PER_HOUR - 2)] = "1.00"
    changed = trades(venue, tmp_path, ["BTC-USDT"], since_ms=None)["symbols"]["BTC_USDT"]["changed"]
    assert len(changed) == 1 and changed[0].startswith(f"BTC/USDT trade {2 * PER_HOUR - 2}: stored (")
    assert told(tmp_path / "BTC_USDT.parquet") == before


def test_more_trades_in_an_instant_than_a_page_holds_are_refused(venue: Binance, tmp_path: Path) -> None:
    venue.crowded = True
    with pytest.raises(BadInput, match=r"has 500 trades or more at .* ms, a page; .*take its bulk files"):
        trades(venue, tmp_path, ["BTC-USDT"])


def test_trades_and_candles_do_not_share_a_folder(venue: Binance, tmp_path: Path) -> None:
    trades(venue, tmp_path, ["BTC-USDT"])
    with pytest.raises(BadInput, match="holds trades of binance, not 1m of binance; use another --out"):
        fetch(venue, tmp_path, ["ETH-USDT"])


def test_the_command(venue: Binance, tmp_path: Path) -> None:
    options = ["--venue", "binance", "--symbols", "BTC-USDT", "--url", venue.url, "--out", str(tmp_path), "--json"]
    code, text = run("download", "trades", "--since", "2025-01-01", *options)
    assert code == 0
    assert json.loads(text[text.index("{") :])["symbols"]["BTC_USDT"]["rows"] == 2 * PER_HOUR
