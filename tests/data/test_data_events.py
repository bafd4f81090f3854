"""Books, trades and quotes from files to a tape: literal recordings, every fault named, cuts that keep the book."""

import gzip
import json
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from core.errors import BadConfig, BadInput
from core.records import DAY_NS, Kind, MarketFlag, Side
from data.build_events import build_events
from data.settings import DataParams
from feeds.market import Listing, Market
from feeds.tape import Tape
from tests.core.recorded import SHARED, needs
from tests.data.candles import tree
from tests.feeds import test_dialect_coinbase as coinbase_frames
from tests.feeds import test_dialect_kraken as kraken_frames
from tests.feeds.test_dialect_binance import depth, snapshot, trade

RECORDED = SHARED / "market-data"
NIGHT = int(datetime(2024, 8, 8, 23, 59, tzinfo=UTC).timestamp()) * 1_000_000_000
SECOND = 1_000_000_000
BTC = Listing(symbol="BTC-USDT", base="BTC", quote="USDT", tick="0.1", lot="0.001")
PERP = Market(venue="binance", maker_fee_ppm=0, taker_fee_ppm=0, asset_class="crypto_perp", listings=(BTC,))
EUR = Listing(symbol="EUR-USD", base="EUR", quote="USD", tick="0.00001", lot="1000")
GBP = Listing(symbol="GBP-USD", base="GBP", quote="USD", tick="0.00001", lot="1000")
FX = Market(venue="spot_agg", maker_fee_ppm=0, taker_fee_ppm=0, asset_class="fx_spot", listings=(EUR, GBP))
XYZ = Listing(symbol="XYZ-USD", base="XYZ", quote="USD", tick="0.01", lot="1")
NASDAQ = Market(venue="nasdaq", maker_fee_ppm=0, taker_fee_ppm=0, asset_class="equity", listings=(XYZ,))


def recording(path: Path, *frames: tuple[int, bytes]) -> None:
    """Frames with their seconds after NIGHT, as the recorder writes them."""
    times = {"E": 0, "T": 0}
    lines = []
    for second, frame in frames:
        ns, told = NIGHT + second * SECOND, json.loads(frame)
        told.get("data", told).update(dict.fromkeys(times, ns // 1000000))
        lines.append(str(ns).encode() + b" " + json.dumps(told, separators=(",", ":")).encode())
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(b"\n".join(lines) + b"\n", mtime=0))


def two_files(folder: Path) -> Path:
    """A session that goes over midnight and into a second file, with an update missing and a line that is none."""
    recording(
        folder / "usdm-btcusdt-1.gz",
        (0, snapshot(10, asks=(("100.1", "0.003"), ("100.3", "0.001")))),
        (1, depth(10, 11, [("99.9", "0.004")])),
        (2, trade(1)),
        (3, trade(2, s="ETHUSDT")),
    )
    recording(
        folder / "usdm-btcusdt-2.gz",
        (59, depth(11, 12, [], [("100.1", "0.000")])),
        (61, depth(12, 13, [("100.0", "0.007")])),
        (62, depth(14, 15, [("100.0", "0.001")])),
    )
    return folder


def quotes(path: Path, *rows: tuple[float, float | None, float | None]) -> None:
    """(seconds after NIGHT, bid, ask) as a Parquet file."""
    start = datetime(2024, 8, 8, 23, 59, tzinfo=UTC)
    time, bid, ask = zip(*rows, strict=True)
    path.parent.mkdir(exist_ok=True)
    frame = pl.DataFrame({"time": [start + timedelta(seconds=s) for s in time], "bid": bid, "ask": ask})
    frame.with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC"))).write_parquet(path)


def ingest(folder: Path, market: Market, out: Path, source: str, **more: int | str) -> Path:
    """The folder that ``data`` becomes; ``out`` holds it and ``holdout``."""
    params = DataParams(source=source, path=str(folder), days=more.pop("days", 0), **more)
    for name in ("data", "holdout"):
        (out / name).mkdir(parents=True)
    build_events(folder, market, params, feed_latency_ns=5, out=out / "data", holdout=out / "holdout")
    return out / "data"


def found(folder: Path) -> list[tuple[str, int, str]]:
    return [(row["file"], row["row"], row["rule"]) for row in json.loads((folder / "findings.json").read_text())]


def test_recordings_of_two_files_are_one_tape_with_findings_by_file_and_row(tmp_path: Path) -> None:
    folder = ingest(two_files(tmp_path / "raw"), PERP, tmp_path / "one", "binance_ws")
    tape = Tape.open(folder / "market.tape")
    levels = tape.records[tape.records["kind"] == Kind.LEVEL]
    assert [int(row["a"]) for row in levels] == [1000, 1001, 1003, 999, 1001, 1000]
    assert tape.records["kind"].tolist().count(Kind.TRADE) == 1 and tape.records["kind"].tolist().count(Kind.CLEAR) == 4
    assert tape.interval_ns == 0 and tape.meta["has_depth"] and tape.meta["asset_class"] == "crypto_perp"
    lost = [("usdm-btcusdt-2.gz", 2, "gap"), ("usdm-btcusdt-2.gz", 2, "no_snapshot")]  # and nothing mends it
    assert found(folder) == [("usdm-btcusdt-1.gz", 3, "foreign"), *lost]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["symbols"]["BTC-USDT"]["read"] == 7 and summary["findings"] == {
        "foreign": 1,
        "gap": 1,
        "no_snapshot": 1,
    }
    again = ingest(tmp_path / "raw", PERP, tmp_path / "two", "binance_ws")
    assert tree(again) == tree(folder)


def lines(path: Path, *frames: bytes) -> None:
    """Frames of one instant, as the recorder writes them."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(b"".join(b"%d %s\n" % (kraken_frames.NOW, frame) for frame in frames), mtime=0))


@pytest.mark.parametrize("source", ["kraken_ws", "coinbase_ws"])
def test_recordings_of_other_venues(tmp_path: Path, source: str) -> None:
    """A book of two bids and an ask, and a trade; what is told of the market's other listing is passed over."""
    tick, lot = ("0.1", "0.00000001") if source == "kraken_ws" else ("0.01", "0.00000001")
    listings = [Listing(symbol=f"{base}-USD", base=base, quote="USD", tick=tick, lot=lot) for base in ("BTC", "ETH")]
    listed = Market(venue=source[:-3], maker_fee_ppm=0, taker_fee_ppm=0, listings=(listings[0], listings[1]))
    bids, asks = {"100.0": "0.5", "99.9": "1.0"}, {"100.1": "0.25"}
    if source == "kraken_ws":
        right = kraken_frames.checksum(bids, asks)
        frames = [kraken_frames.book("snapshot", bids, asks, right, symbol=f"{base}/USD") for base in ("BTC", "ETH")]
        frames += [kraken_frames.trades((1, "buy", "100.1", "0.1"))]
    else:
        level, other = (coinbase_frames.event("snapshot", bids.items(), asks.items(), **more)
                        for more in ({}, {"product_id": "ETH-USD"}))  # fmt: skip
        frames = [coinbase_frames.message(0, "l2_data", [level]), coinbase_frames.message(1, "l2_data", [other])]
        frames += [coinbase_frames.trades(2, coinbase_frames.trade(1))]
    lines(tmp_path / "raw/BTC-USD.ETH-USD.gz", *frames)
    folder = ingest(tmp_path / "raw", listed, tmp_path / "out", source)
    records = Tape.open(folder / "market.tape").records
    for index, trades_told in ((0, 1), (1, 0)):
        own = records[records["instrument"] == index]
        assert (own["kind"] == Kind.LEVEL).sum() == 3 and (own["kind"] == Kind.TRADE).sum() == trades_told
    assert found(folder) == []


def test_minutes_count_what_the_tape_holds(tmp_path: Path) -> None:
    folder = ingest(two_files(tmp_path / "raw"), PERP, tmp_path / "out", "binance_ws", clock_offset_ms=250)
    minutes = pl.read_parquet(folder / "minutes/BTC-USDT.parquet")
    assert minutes["levels"].to_list() == [5, 1] and minutes["trades"].to_list() == [1, 0]
    assert minutes["delay_ms"].to_list() == [250.0, 250.0 / 3]  # a break of the sequence is known when it is made
    assert minutes["time"].dt.epoch("ns").to_list() == [NIGHT, NIGHT + 60 * SECOND]


def test_a_cut_begins_with_the_book_as_it_is(tmp_path: Path) -> None:
    """The last day is held out; replayed alone it gives the book that the whole tape gives."""
    raw = two_files(tmp_path / "raw")
    whole = Tape.open(ingest(raw, PERP, tmp_path / "whole", "binance_ws") / "market.tape").records
    folder = ingest(raw, PERP, tmp_path / "cut", "binance_ws", holdout=1)
    early, late = (
        Tape.open(path / "market.tape", holdout=True).records for path in (folder, folder.with_name("holdout"))
    )
    midnight = (NIGHT // DAY_NS + 1) * DAY_NS
    assert (early["ts_known"] < midnight).all() and (late["ts_known"] >= midnight).all()
    assert early.tobytes() == whole[whole["ts_known"] < midnight].tobytes()
    opening = late[late["flags"] & MarketFlag.SNAPSHOT != 0]
    assert [(int(row["side"]), int(row["a"]), int(row["b"])) for row in opening] == [
        (Side.BUY, 1000, 2), (Side.BUY, 999, 4), (Side.SELL, 1003, 1),
    ]  # fmt: skip
    assert opening["flags"].tolist() == [2, 2, 3] and late[3:].tobytes() == whole[len(early) :].tobytes()
    assert json.loads((folder.with_name("holdout") / "summary.json").read_text())["records"] == len(late)


def test_quotes_in_order_crossed_ones_left_out_and_named(tmp_path: Path) -> None:
    quotes(tmp_path / "raw/EURUSD-1.parquet", (0, 1.1, 1.10002), (1, 1.10003, 1.10002), (1, 1.1, 1.1), (0.5, 1.1, 1.2))
    quotes(tmp_path / "raw/EURUSD-2.parquet", (2, None, 1.1), (3, 1.1000049, 1.2), (4, 0.0, 1.1), (900, 1.1, 1.10001))
    quotes(tmp_path / "raw/GBP_USD.parquet", (0, 1.3, 1.30002), (1, 1.3, 1.30003))
    folder = ingest(tmp_path / "raw", FX, tmp_path / "out", "quotes")
    records = Tape.open(folder / "market.tape").records
    assert [(int(row["instrument"]), int(row["a"]), int(row["c"])) for row in records] == [
        (0, 110_000, 110_002), (1, 130_000, 130_002), (0, 110_000, 110_000), (1, 130_000, 130_003),
        (0, 110_000, 110_001),
    ]  # fmt: skip
    assert (records["ts_known"] - records["ts_event"] == 5).all()
    assert found(folder) == [
        ("EURUSD-1.parquet", 1, "crossed"), ("EURUSD-1.parquet", 2, "locked"), ("EURUSD-1.parquet", 3, "backward"),
        ("EURUSD-2.parquet", 0, "not_finite"), ("EURUSD-2.parquet", 1, "off_grid"),
        ("EURUSD-2.parquet", 2, "not_positive"), ("records", 2, "silence"),
    ]  # fmt: skip


def test_many_findings_are_counted_whole_and_named_up_to_a_limit(tmp_path: Path) -> None:
    quotes(tmp_path / "raw/EURUSD.parquet", (0, 1.1, 1.2), *((k, 1.3, 1.2) for k in range(1, 400)))
    quotes(tmp_path / "raw/GBPUSD.parquet", (0, 1.3, 1.30002))
    folder = ingest(tmp_path / "raw", FX, tmp_path / "out", "quotes")
    assert json.loads((folder / "summary.json").read_text())["findings"]["crossed"] == 399
    assert len(found(folder)) == 20


def lobster(path: Path, message: str, orderbook: str | None, name: str = "XYZ_2012-06-21_1_2_message_1.csv") -> None:
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, message)
        if orderbook is not None:
            file.writestr(name.replace("message", "orderbook"), orderbook)


def test_a_lobster_day_begins_at_new_york_s_midnight(tmp_path: Path) -> None:
    lobster(tmp_path / "raw/XYZ.zip", "34200.5,1,11,3,1000200,-1\r\n", "1000200,5,999800,7\r\n")
    lobster(tmp_path / "raw/XYZZY.zip", "garbage", "garbage")  # another ticker
    records = Tape.open(ingest(tmp_path / "raw", NASDAQ, tmp_path / "out", "lobster") / "market.tape").records
    opened = datetime(2012, 6, 21, 13, 30, 0, 500_000, tzinfo=UTC).timestamp()
    assert (records["ts_event"] == int(opened * 10) * 100_000_000).all() and len(records) == 4


@pytest.mark.parametrize(
    ("file", "content", "source", "market", "message"),
    [
        ("usdm-ethusdt.gz", b"", "binance_ws", PERP, "none of 1 files that match data.files '\\*' names BTC-USDT"),
        (
            "btcusdt.gz",
            gzip.compress(b"x" * 99_999, mtime=0)[:60],
            "binance_ws",
            PERP,
            "btcusdt.gz: cannot be read to its end",
        ),
        ("btcusdt.gz", b"plain text", "binance_ws", PERP, "btcusdt.gz: cannot be read to its end"),
        (
            "btcusdt.gz",
            gzip.compress(b"no line of a recording", mtime=0),
            "binance_ws",
            PERP,
            "no record in 1 rows .*garbage",
        ),
        ("btcusdt.gz", gzip.compress(b"", mtime=0), "binance_ws", PERP, "no record in 0 rows"),
        ("XYZ.zip", b"PK", "lobster", NASDAQ, "XYZ.zip: cannot be read to its end"),
        ("EURUSD.parquet", b"PAR1", "quotes", FX, "EURUSD.parquet: cannot be read to its end"),
    ],
    ids=["unnamed", "cut", "not gzip", "no recording", "empty", "no zip", "no parquet"],
)
def test_what_cannot_be_read_is_named_with_a_remedy(
    tmp_path: Path, file: str, content: bytes, source: str, market: Market, message: str
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / file).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        ingest(tmp_path / "raw", market, tmp_path / "out", source)


def test_a_zip_without_its_second_file_and_quotes_without_a_column_are_refused(tmp_path: Path) -> None:
    lobster(tmp_path / "raw/XYZ.zip", "34200.5,1,11,3,1000200,-1\n", None)
    with pytest.raises(BadInput, match=r"XYZ.zip: needs one ..._message_... and its ..._orderbook_... file"):
        ingest(tmp_path / "raw", NASDAQ, tmp_path / "one", "lobster")
    pl.DataFrame({"time": [1], "bid": [1.0]}).write_parquet(tmp_path / "raw/EURUSD.parquet")
    with pytest.raises(BadInput, match="column ask is missing"):
        ingest(tmp_path / "raw", FX, tmp_path / "two", "quotes")
    pl.DataFrame({"time": [1], "bid": [1.0], "ask": [1.1]}).write_parquet(tmp_path / "raw/EURUSD.parquet")
    with pytest.raises(BadInput, match="time is Int64; give it as UTC timestamps"):
        ingest(tmp_path / "raw", FX, tmp_path / "three", "quotes")


def test_settings_refuse_what_does_not_fit() -> None:
    with pytest.raises(BadConfig, match="inject_strength is for bars"):
        DataParams(source="lobster", inject_strength="1")
    with pytest.raises(BadConfig, match="clock_offset_ms"):
        DataParams(source="binance_ws", clock_offset_ms=10**9)


# What the README of the recorded data says is wrong with each file, and no more.
DEFECTS = [
    ("binance_ws", "lob/binance-ws", "usdm-*.gz", PERP, {"clock_behind": 27_861, "stale": 4}),
    ("quotes", "fx", "EURUSD-ticks-oanda*", "EUR", {"silence": 2, "duplicate": 1}),
    ("quotes", "fx", "EURUSD-ticks-fxcm*", "EUR", {"crossed": 116_871, "locked": 142_462, "silence": 2}),
]


@needs(RECORDED / "lob", RECORDED / "fx")
@pytest.mark.parametrize(("source", "folder", "files", "market", "expected"), DEFECTS)
def test_the_known_defects_of_recorded_files_are_found(tmp_path, source, folder, files, market, expected) -> None:
    """FXCM: 10.2 % of quotes crossed, 12.4 % locked, a weekend; the recorder's clock was 1.27 s behind the venue's."""
    if market == "EUR":
        market = Market(venue="spot_agg", maker_fee_ppm=0, taker_fee_ppm=0, asset_class="fx_spot", listings=(EUR,))
    out = ingest(RECORDED / folder, market, tmp_path, source, files=files)
    assert {rule: n for rule, n in json.loads((out / "summary.json").read_text())["findings"].items() if n} == expected
