"""`python -m data download` against a loopback venue: the same bytes whatever happens on the way."""

import asyncio
import email.utils
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from ccxt.async_support.base.throttler import Throttler
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from data.download import files
from data.download.candles import Request, download
from data.download.venue import Patience, open_venue
from data.schema import check_raw
from data.sources.parquet import Parquet
from feeds import market as markets
from feeds.market import Listing
from tests.data.binance import DAY1_MS, DAY_MS, MINUTE_MS, Binance, served
from tests.data.candles import ingest
from tests.data.test_data_catalog import run

ROOT = Path(__file__).parents[2]
ALL = ["BTC-USDT", "ETH-USDT", "BNB-USDT"]
QUICK = Patience(tries=4, first_wait_s=0.01, wait_max_s=0.05, timeout_s=20.0)
ROWS = 1440


@pytest.fixture
def venue() -> Iterator[Binance]:
    with served(Binance()) as started:
        yield started


def fetch(
    venue: Binance,
    folder: Path,
    symbols: list[str] = ALL,
    *,
    concurrency: int = 4,
    patience: Patience = QUICK,
    **dates: Any,
) -> dict[str, Any]:
    """Download from ``venue``, from 2025-01-01 unless ``dates`` (since_ms, until_ms, timeframe) say otherwise."""
    request = Request(
        symbols, dates.get("timeframe", "1m"), dates.get("since_ms", DAY1_MS), dates.get("until_ms"), folder
    )

    async def once() -> dict[str, Any]:
        async with open_venue(
            "binance", url=venue.url, is_spot=True, concurrency=concurrency, patience=patience
        ) as opened:
            return await download(opened, request, lambda *_: None)

    return asyncio.run(once())


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def truth(venue: Binance, name: str, days: int = 1) -> list[tuple[Any, ...]]:
    rows = venue.klines(name, "1m", DAY1_MS, days * ROWS)
    return [(row[0], *map(float, row[1:6])) for row in rows if row[0] + MINUTE_MS <= venue.now_ms]


def rows(path: Path) -> list[tuple[Any, ...]]:
    return pl.read_parquet(path).with_columns(pl.col("time").dt.epoch("ms")).rows()


def test_files_are_what_the_parquet_source_reads(venue: Binance, tmp_path: Path) -> None:
    found = fetch(venue, tmp_path)
    assert list(found["symbols"]) == ["BNB_USDT", "BTC_USDT", "ETH_USDT"]
    assert sorted(content(tmp_path)) == ["BNB_USDT.parquet", "BTC_USDT.parquet", "ETH_USDT.parquet", "download.json"]
    for symbol in ALL:
        base, quote = symbol.split("-")
        listing = Listing(symbol=symbol, base=base, quote=quote, tick="0.01", lot="0.001")
        (chunk,) = Parquet(tmp_path).chunks(listing)
        check_raw(chunk.frame, where=chunk.file)
        assert rows(tmp_path / f"{base}_{quote}.parquet") == truth(venue, base + quote)
        assert len(chunk.frame) == ROWS
    metadata = pq.read_metadata(tmp_path / "BTC_USDT.parquet")
    assert metadata.row_group(0).column(1).compression == "ZSTD"
    assert found["venue"] == "binance" and found["timeframe"] == "1m"
    assert found["symbols"]["BTC_USDT"] == {
        "symbol": "BTC/USDT", "since": "2025-01-01T00:00:00Z", "first": "2025-01-01T00:00:00Z",
        "last": "2025-01-01T23:59:00Z", "rows": ROWS, "missing": 0, "added": ROWS, "changed": [],
    }  # fmt: skip


def test_three_days_of_three_symbols_become_a_tape_twice_the_same(venue: Binance, tmp_path: Path) -> None:
    venue.now_ms = DAY1_MS + 3 * DAY_MS
    market = markets.from_yaml((ROOT / "data/markets/binance_spot.yaml").read_text(), where="binance_spot")
    summaries = []
    for name in ("first", "second"):
        fetch(venue, tmp_path / name)
        options = {"interval_minutes": 1, "symbols": tuple(ALL)}
        summaries.append(ingest(tmp_path / f"{name}-out", Parquet(tmp_path / name), market, **options))
    assert summaries[0] == summaries[1]  # the tape's hash included
    assert summaries[0]["rows"] == 3 * 3 * ROWS and summaries[0]["findings"] == {}


def test_side_by_side_and_in_any_order_gives_the_bytes_of_one_at_a_time(venue: Binance, tmp_path: Path) -> None:
    venue.latency_s = dict.fromkeys(("BTCUSDT", "ETHUSDT", "BNBUSDT"), 0.3)  # time enough for others, were they let
    fetch(venue, tmp_path / "serial", concurrency=1)
    assert venue.peak == 1
    with served(Binance(together=threading.Barrier(3))) as other:  # broken unless three requests are there at once
        fetch(other, tmp_path / "parallel", concurrency=3)
        assert other.peak == 3
    with served(Binance(latency_s={"BTCUSDT": 0.3, "ETHUSDT": 0.15})) as other:
        fetch(other, tmp_path / "late", ALL[::-1], concurrency=3)
    assert content(tmp_path / "serial") == content(tmp_path / "parallel") == content(tmp_path / "late")


@pytest.mark.parametrize(
    "fault", ["429", "418", "500", "503", "cut", "half", "empty", "twice", "shuffled", "contradiction"]
)
@pytest.mark.parametrize("request_number", [1, 2])
def test_a_passing_fault_changes_nothing(fault: str, request_number: int, venue: Binance, tmp_path: Path) -> None:
    venue.faults = {("BTCUSDT", request_number): fault}
    if fault != "empty":  # that is believed the second time
        venue.faults["BTCUSDT", request_number + 1] = fault
    venue.retry_after = "soon" if fault == "503" else "0"
    fetch(venue, tmp_path, ["BTC-USDT"])
    assert rows(tmp_path / "BTC_USDT.parquet") == truth(venue, "BTCUSDT")
    starts = venue.starts()["BTCUSDT"]
    asked_again = len(set(starts)) < len(starts)
    assert asked_again == (fault not in ("twice", "shuffled"))  # these lack nothing


@pytest.mark.parametrize("fault", ["500", "half", "cut"])
def test_the_list_of_symbols_is_asked_for_again_too(fault: str, venue: Binance, tmp_path: Path) -> None:
    venue.faults = {("exchangeInfo", 1): fault}
    assert fetch(venue, tmp_path, ["BTC-USDT"])["symbols"]["BTC_USDT"]["rows"] == ROWS


def test_while_the_venue_asks_to_wait_nobody_asks(venue: Binance, tmp_path: Path) -> None:
    venue.faults, venue.retry_after = {("BTCUSDT", 1): "429"}, "1"
    fetch(venue, tmp_path, ["BTC-USDT", "ETH-USDT"], concurrency=1)
    told = venue.asked[0]
    assert told[0] == "BTCUSDT"
    assert all(at - told[2] >= 1.0 for _, _, at in venue.asked[1:])


@pytest.mark.parametrize("retry_after", ["7200", email.utils.formatdate(time.time() + 7200, usegmt=True)])
def test_a_wait_beyond_patience_ends_at_once(retry_after: str, venue: Binance, tmp_path: Path) -> None:
    venue.faults, venue.retry_after = {("BTCUSDT", 1): "429"}, retry_after
    with pytest.raises(
        BadInput, match=r"BTC/USDT candles of 1m from 2025.* asks to wait [67]\d{3} s, the limit is 300"
    ):
        fetch(venue, tmp_path, ["BTC-USDT"])
    assert len(venue.asked) == 1


def test_the_end_of_patience_names_the_request_and_leaves_the_others_whole(venue: Binance, tmp_path: Path) -> None:
    venue.faults = {("ETHUSDT", 0): "500"}
    with pytest.raises(
        BadInput, match=r"ETH/USDT candles of 1m from 2025-01-01T00:00:00Z: failed 4 times.*again later"
    ):
        fetch(venue, tmp_path, patience=Patience(tries=4, first_wait_s=0.4))
    tries = [at for name, start_ms, at in venue.asked if (name, start_ms) == ("ETHUSDT", DAY1_MS)]
    waits = [after - before for before, after in pairwise(tries)]
    assert len(waits) == 3 and all(wait >= least for wait, least in zip(waits, (0.2, 0.4, 0.8), strict=True))
    assert rows(tmp_path / "BTC_USDT.parquet") == truth(venue, "BTCUSDT")
    assert not (tmp_path / "ETH_USDT.parquet").exists()
    assert set(json.loads((tmp_path / "download.json").read_text())["symbols"]) == {"BTC_USDT", "BNB_USDT"}


@given(failures=st.integers(1, 60))
def test_waits_double_with_jitter_up_to_a_limit(failures: int) -> None:
    whole = min(0.5 * 2 ** (failures - 1), 60.0)
    waits = {Patience().wait_s(failures) for _ in range(20)}
    assert len(waits) > 1 and all(whole / 2 <= wait <= whole for wait in waits)


def test_every_request_passes_the_limiter_of_ccxt(
    venue: Binance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = []
    limit = Throttler.__call__
    monkeypatch.setattr(Throttler, "__call__", lambda self, cost=None: (costs.append(cost), limit(self, cost))[1])
    fetch(venue, tmp_path)
    assert len(costs) == len(venue.asked) + 2  # and the list of symbols, and the time


def test_an_open_candle_is_not_kept(venue: Binance, tmp_path: Path) -> None:
    venue.now_ms = DAY1_MS + 10 * MINUTE_MS - 1
    assert fetch(venue, tmp_path, ["BTC-USDT"])["symbols"]["BTC_USDT"]["rows"] == 9
    venue.now_ms += 1
    assert fetch(venue, tmp_path, ["BTC-USDT"])["symbols"]["BTC_USDT"]["added"] == 1


def test_a_refresh_adds_a_day_once_and_gives_the_bytes_of_one_download(venue: Binance, tmp_path: Path) -> None:
    fetch(venue, tmp_path / "twice")
    venue.now_ms += DAY_MS
    added = fetch(venue, tmp_path / "twice", since_ms=None)["symbols"]
    assert {stem: row["added"] for stem, row in added.items()} == dict.fromkeys(added, ROWS)
    before = {path.name: path.stat().st_ino for path in (tmp_path / "twice").glob("*.parquet")}
    again = fetch(venue, tmp_path / "twice", since_ms=None)["symbols"]
    assert [(row["added"], row["rows"]) for row in again.values()] == [(0, 2 * ROWS)] * 3
    assert before == {path.name: path.stat().st_ino for path in (tmp_path / "twice").glob("*.parquet")}
    fetch(venue, tmp_path / "once")
    assert content(tmp_path / "twice") == content(tmp_path / "once")
    assert rows(tmp_path / "once" / "ETH_USDT.parquet") == truth(venue, "ETHUSDT", days=2)


def test_an_earlier_start_is_put_before(venue: Binance, tmp_path: Path) -> None:
    fetch(venue, tmp_path / "back", since_ms=DAY1_MS + 700 * MINUTE_MS)
    found = fetch(venue, tmp_path / "back")
    assert found["symbols"]["BTC_USDT"]["added"] == 700
    fetch(venue, tmp_path / "once")
    assert content(tmp_path / "back") == content(tmp_path / "once")


@pytest.mark.parametrize("what", ["changed", "gone", "new"])
def test_what_the_venue_revises_is_reported_and_not_taken(what: str, venue: Binance, tmp_path: Path) -> None:
    time_ms = DAY1_MS + (ROWS - 3) * MINUTE_MS
    venue.gaps = {time_ms} if what == "new" else set()
    fetch(venue, tmp_path, ["BTC-USDT"])
    before = rows(tmp_path / "BTC_USDT.parquet")
    venue.now_ms += DAY_MS
    venue.gaps = {time_ms} if what == "gone" else set()
    venue.closes = {("BTCUSDT", time_ms): "777.00"}
    found = fetch(venue, tmp_path, ["BTC-USDT"])["symbols"]["BTC_USDT"]
    (line,) = found["changed"]
    assert line.startswith("BTC/USDT 2025-01-01T23:57:00Z: stored ")
    assert ("none" in line) == (what != "changed") and ("777.0" in line) == (what != "gone")
    assert rows(tmp_path / "BTC_USDT.parquet")[: len(before)] == before and found["added"] == ROWS


def test_gaps_stay_gaps_and_a_late_listing_begins_late(venue: Binance, tmp_path: Path) -> None:
    venue.listed_ms = DAY1_MS + 100 * MINUTE_MS
    venue.gaps = {DAY1_MS + minute * MINUTE_MS for minute in (200, 201, 900, ROWS - 1)}
    found = fetch(venue, tmp_path, ["BTC-USDT"], since_ms=DAY1_MS - 3 * DAY_MS)["symbols"]["BTC_USDT"]
    assert rows(tmp_path / "BTC_USDT.parquet") == truth(venue, "BTCUSDT")
    assert found["rows"] == ROWS - 104 and found["missing"] == 3 * ROWS + 100 + 3  # the last is not missing yet
    venue.gaps = set(sorted(venue.gaps)[:-1])  # the venue was late with it
    assert fetch(venue, tmp_path, ["BTC-USDT"])["symbols"]["BTC_USDT"] | {"missing": 0} == found | {
        "last": "2025-01-01T23:59:00Z", "rows": ROWS - 103, "missing": 0, "added": 1,
    }  # fmt: skip


def test_empty_pages_before_the_listing_are_passed(venue: Binance, tmp_path: Path) -> None:
    venue.is_windowed, venue.listed_ms = True, DAY1_MS + 100 * MINUTE_MS
    fetch(venue, tmp_path, ["BTC-USDT"], since_ms=DAY1_MS - 3 * DAY_MS)
    venue.is_windowed = False
    assert rows(tmp_path / "BTC_USDT.parquet") == truth(venue, "BTCUSDT")


def test_a_killed_download_goes_on_where_it_was(venue: Binance, tmp_path: Path) -> None:
    venue.now_ms = DAY1_MS + 10 * DAY_MS
    venue.latency_s = dict.fromkeys(("BTCUSDT", "ETHUSDT"), 0.2)
    command = [
        sys.executable, "-m", "data", "download", "--venue", "binance", "--symbols", "BTC-USDT,ETH-USDT",
        "--since", "2025-01-01", "--out", str(tmp_path / "killed"), "--url", venue.url, "--json",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while len(venue.asked) < 8 and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    _, printed = process.communicate()
    assert len(venue.asked) >= 8, printed.decode()
    assert not list((tmp_path / "killed").glob("*.parquet"))
    first = venue.starts()
    venue.latency_s = {}
    venue.asked.clear()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, starts in venue.starts().items():
        assert starts[0] >= first[name][-1]  # no page that had come is asked for again
    assert json.loads(done.stdout)["symbols"]["ETH_USDT"]["rows"] == 10 * ROWS
    fetch(venue, tmp_path / "once", ["BTC-USDT", "ETH-USDT"])
    assert content(tmp_path / "killed") == content(tmp_path / "once")


def test_a_write_that_fails_leaves_the_file_as_it_was(venue: Binance, tmp_path: Path) -> None:
    fetch(venue, tmp_path, ["BTC-USDT"])
    before = content(tmp_path)
    path = tmp_path / "BTC_USDT.parquet"
    about = files.read_about(path)
    assert about

    def pages() -> Iterator[np.ndarray]:
        yield from files.read_pages(path)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        files.write(path, about, pages())
    assert content(tmp_path) == before


def test_what_does_not_exist_is_named_with_what_does(venue: Binance, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no symbol 'BTC/USD'; there is, for example, BTC/USDT"):
        fetch(venue, tmp_path, ["BTC-USD"])
    with pytest.raises(BadInput, match=r"no timeframe '7m' within a day; there is 1m, 3m, 5m"):
        fetch(venue, tmp_path, timeframe="7m")
    with pytest.raises(BadInput, match=r"no venue 'binanse'; there is, for example, binance"):
        open_venue("binanse", url=None, is_spot=True, concurrency=1, patience=QUICK)
    for url in ("localhost:80", "ftp://localhost", "http://localhost/api/v3"):
        with pytest.raises(BadInput, match=r"--url is .*https://HOST is expected"):
            open_venue("binance", url=url, is_spot=True, concurrency=1, patience=QUICK)
    with pytest.raises(BadInput, match=r"say with --since where BTC/USDT is to begin"):
        fetch(venue, tmp_path, since_ms=None)
    with pytest.raises(BadInput, match=r"no 1m candles of BTC/USDT from 2025-01-01"):
        venue.listed_ms = DAY1_MS + DAY_MS
        fetch(venue, tmp_path, ["BTC-USDT"])
    assert venue.asked and not list(tmp_path.glob("*.parquet"))


def test_a_folder_holds_one_venue_and_timeframe_and_no_strangers(venue: Binance, tmp_path: Path) -> None:
    fetch(venue, tmp_path, ["BTC-USDT"])
    with pytest.raises(BadInput, match=r"holds 1m of binance, not 5m of binance"):
        fetch(venue, tmp_path, ["ETH-USDT"], timeframe="5m")
    pl.DataFrame({"time": [1]}).write_parquet(tmp_path / "ETH_USDT.parquet")
    with pytest.raises(BadInput, match=r"was not made by a download"):
        fetch(venue, tmp_path, ["ETH-USDT"])
    with files.only_writer(tmp_path), pytest.raises(BadInput, match="another download writes to it"):
        fetch(venue, tmp_path, ["BTC-USDT"])


def test_the_command_takes_a_market_file_and_reports_changes_with_its_exit_code(venue: Binance, tmp_path: Path) -> None:
    market = ["--market", str(ROOT / "data/markets/binance_spot.yaml"), "--symbols", "BNB-USDT,BTC-USDT"]
    words = ["download", *market, "--timeframe", "5m", "--url", venue.url, "--out", str(tmp_path), "--json"]
    code, printed = run(*words, "--since", "2025-01-01T12:02")
    assert code == 0, printed
    assert pl.read_parquet(tmp_path / "BNB_USDT.parquet")["time"][0].isoformat() == "2025-01-01T12:05:00+00:00"
    venue.closes = {("BTCUSDT", DAY1_MS + DAY_MS - 5 * MINUTE_MS): "777.00"}
    code, printed = run(*words)
    assert code == 30 and "1 stored candles are no longer what the venue says" in printed
    code, printed = run(*words, "--since", "yesterday")
    assert code == 30 and "--since is 'yesterday'" in printed
    code, printed = run("download", "--out", str(tmp_path), *market[:2], "--symbols", "DOGE-USDT")
    assert code == 30 and "does not list 'DOGE-USDT'; it lists BTC-USDT, ETH-USDT" in printed
