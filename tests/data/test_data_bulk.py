"""Binance's bulk files: several kinds become one tape, checksums are held, the rest is refused by its name."""

import hashlib
import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from core.errors import BadInput
from core.records import TOP, Kind, Side
from data.sources.kline_csv import KlineCsv
from data.sources.text import text_lines
from feeds.tape import Tape
from tests.core.recorded import SHARED, needs
from tests.data import malformed as formats
from tests.data.candles import BTC, candles, kline_text, tree, write_kline
from tests.data.malformed import AGG_TRADES, BOOK_TICKER, DEPTH, PERP, START_MS, write, zipped
from tests.data.test_data_events import found, ingest

SAMPLES = SHARED / "market-data/lob/binance-tdepth-csv"


def test_trades_and_quotes_become_one_tape_in_order_of_time(tmp_path: Path) -> None:
    """As zip or plain, the same records: the names of the files are not on the tape."""
    files = AGG_TRADES.valid() | BOOK_TICKER.valid()
    folder = ingest(write(tmp_path / "raw", files), PERP, tmp_path / "out", "binance_bulk")
    tape = Tape.open(folder / "market.tape")
    records = tape.records
    kinds = records["kind"].tolist()
    assert kinds.count(Kind.TRADE) == kinds.count(Kind.TOP) == 8 and len(kinds) == 16 and not tape.meta["has_depth"]
    assert (records["ts_known"][1:] >= records["ts_known"][:-1]).all()
    first, quote = records[0], records[records["kind"] == Kind.TOP].view(TOP)[0]
    assert (int(first["side"]), int(first["a"]), int(first["b"]), int(first["c"])) == (Side.SELL, 1001, 5, 1)
    assert int(first["ts_event"]) == (START_MS + 1) * 1_000_000 and int(first["ts_known"]) == int(first["ts_event"]) + 5
    assert (int(quote["bid"]), int(quote["bid_qty"]), int(quote["ask"])) == (1000, 500, 1001)
    assert int(quote["ts_known"]) - int(quote["ts_event"]) == 1_000_005  # told a millisecond later
    packed = {name.replace(".csv", ".zip"): zipped({name: data}) for name, data in files.items()}
    again = ingest(write(tmp_path / "zip", packed), PERP, tmp_path / "again", "binance_bulk")
    assert Tape.open(again / "market.tape").records.tobytes() == records.tobytes()
    assert tree(again)["minutes/BTC-USDT.parquet"] == tree(folder)["minutes/BTC-USDT.parquet"]


def test_at_one_time_trades_come_before_quotes(tmp_path: Path) -> None:
    files = formats.TRADES.valid() | BOOK_TICKER.valid()
    folder = ingest(write(tmp_path / "raw", files), PERP, tmp_path / "out", "binance_bulk")
    records = Tape.open(folder / "market.tape").records
    assert records["kind"].tolist() == [Kind.TRADE, *[Kind.TRADE, Kind.TOP] * 7, Kind.TOP]


def test_depth_is_a_book_and_spot_s_eight_columns_are_read(tmp_path: Path) -> None:
    spot = b"".join(b"%d,100.%d,0.005,1,1,%d,True,True\n" % (n, n, (START_MS + n) * 1000) for n in range(1, 5))
    files = DEPTH.valid() | {"BTCUSDT-aggTrades-2025-01.csv": spot}
    folder = ingest(write(tmp_path / "raw", files), PERP, tmp_path / "out", "binance_depth")
    kinds = Tape.open(folder / "market.tape").records["kind"].tolist()
    assert (kinds.count(Kind.LEVEL), kinds.count(Kind.CLEAR), kinds.count(Kind.TRADE)) == (18, 2, 4)
    assert found(folder) == []


def test_a_message_of_depth_is_used_whole_or_not_at_all(tmp_path: Path) -> None:
    """Row 6 is of a message that rows 5 and 6 make: the book is invalid from there on, and what follows waits."""
    files = DEPTH.with_row(formats.cells(DEPTH.rows[6], c7="-1"))
    folder = ingest(write(tmp_path / "raw", files), PERP, tmp_path / "out", "binance_depth")
    told = [row for row in found(folder) if row[1] in (5, 6, 7)]
    assert [(row, rule) for _, row, rule in told] == [(5, "garbage"), (6, "negative"), (7, "no_snapshot")]
    assert Tape.open(folder / "market.tape").records["kind"].tolist().count(Kind.CLEAR) == 4


def test_a_checksum_beside_a_file_is_held(tmp_path: Path) -> None:
    path = write_kline(tmp_path, "BTCUSDT-5m-2025-01.zip", kline_text(candles(300)))
    beside = tmp_path / "BTCUSDT-5m-2025-01.zip.CHECKSUM"
    beside.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    assert sum(len(chunk.frame) for chunk in KlineCsv(tmp_path, 5).chunks(BTC)) == 300
    beside.write_text("0" * 64 + f"  {path.name}\n")
    with pytest.raises(BadInput, match=r"01.zip: its SHA-256 is [0-9a-f]{64}, .*CHECKSUM says 0{64}; fetch both again"):
        list(KlineCsv(tmp_path, 5).chunks(BTC))
    beside.write_text("not found")
    with pytest.raises(BadInput, match=r"CHECKSUM: line 1 is no SHA-256 and file name; fetch it again"):
        list(KlineCsv(tmp_path, 5).chunks(BTC))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("BTCUSDT-bookDepth-2025-01-01.zip", "bookDepth holds sums of depth"),
        ("BTCUSDT-metrics-2025-01-01.zip", "metrics holds open interest"),
        ("BTCUSDT-liquidationSnapshot-2023-06-25.zip", "liquidationSnapshot holds liquidation orders"),
        ("BTCUSDT-fundingRate-2025-01.zip", "fundingRate holds funding rates"),
        ("BTCUSDT-1m-2025-01.zip", "holds candles; read them with data.source kline_csv"),
        ("BTCUSDT_T_DEPTH_2025-01-01_depth_snap.csv", "holds depth; read it with data.source binance_depth"),
        ("BTCUSDT_250328-aggTrades-2025-01.zip", "holds BTCUSDT_250328, not BTCUSDT; leave it out with data.files"),
        ("BTCUSDT-2025.csv", "its name says none of aggTrades, bookTicker, trades; name it as the venue does"),
    ],
)
def test_what_is_not_offered_is_refused_by_its_name(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(BadInput, match=f"{name}: {message}"):
        ingest(write(tmp_path / "raw", {name: b"1"}), PERP, tmp_path / "out", "binance_bulk")


def test_trades_twice_in_two_kinds_are_refused(tmp_path: Path) -> None:
    files = AGG_TRADES.valid() | formats.TRADES.valid()
    with pytest.raises(BadInput, match=r"tell the same trades; choose one kind with data\.files"):
        ingest(write(tmp_path / "raw", files), PERP, tmp_path / "out", "binance_bulk")


def test_a_zip_is_read_in_pieces(tmp_path: Path) -> None:
    """40 MB of text in a zip of 40 kB: what is held is a small part of it."""
    path = tmp_path / "BTCUSDT-aggTrades-2025-01.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.csv", "w") as member:
        for _ in range(400):
            member.write(b"1,100.0,0.005,1,1,1735689600001,true                                   \n" * 1_400)
    tracemalloc.start()
    try:
        assert sum(1 for _ in text_lines(path)) == 560_000
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_findings_of_files_read_side_by_side_keep_their_place(tmp_path: Path) -> None:
    files = AGG_TRADES.with_row(b"x") | BOOK_TICKER.with_row(b"y")
    folder = ingest(write(tmp_path / "raw", files), PERP, tmp_path / "out", "binance_bulk")
    assert found(folder) == [
        ("BTCUSDT-aggTrades-2025-01.csv", 4, "garbage"), ("BTCUSDT-aggTrades-2025-01.csv", 5, "gap"),
        ("BTCUSDT-bookTicker-2025-01.csv", 4, "garbage"),
    ]  # fmt: skip


@needs(SAMPLES)
def test_the_recorded_sample_of_depth(tmp_path: Path) -> None:
    """The updates follow the snapshot ten minutes later, so they do not continue it; 37 rows are there twice."""
    folder = ingest(SAMPLES, PERP, tmp_path, "binance_depth")
    told = json.loads((folder / "summary.json").read_text())["findings"]
    assert {rule: count for rule, count in told.items() if count} == {
        "duplicate": 37, "gap": 1, "no_snapshot": 1, "silence": 1,
    }  # fmt: skip
    assert Tape.open(folder / "market.tape").records["kind"].tolist().count(Kind.LEVEL) == 100
