"""Ingest as a whole: what it writes, that it is the same every time, what it refuses, and that it leaves no halves."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from core.errors import BadInput
from core.records import BAR
from data import store
from feeds import synthetic
from feeds.market import BUILTIN
from feeds.tape import Tape
from tests.data.candles import MARKET, START, Frames, candles, change, ingest, tree

ROOT = Path(__file__).parents[2]
DAY = 288
FRAMES = Frames({"BTC-USDT": candles(5 * DAY), "ETH-USDT": candles(5 * DAY - 7, price=336_183, seed=4)})


def ingest_builtin(out: Path, **more: object) -> dict:
    path = str(ROOT / "data/markets/builtin.yaml")
    return ingest(out, market=BUILTIN, source_name="synthetic", path=path, days=6, market_path=path, **more)


def test_everything_that_is_promised_is_written(tmp_path: Path) -> None:
    summary = ingest(tmp_path, FRAMES)
    assert set(tree(tmp_path / "data")) == {
        *("market.tape", "findings.json", "quarantine.parquet", "summary.json"),
        *("bars/BTC-USDT.parquet", "bars/ETH-USDT.parquet"),
    }
    assert json.loads((tmp_path / "holdout" / "summary.json").read_text()) == {"days": 0}
    tape = Tape.open(tmp_path / "data" / "market.tape")
    assert summary["tape_id"] == tape.tape_id
    assert summary["rows"] == len(tape.records) == 10 * DAY - 7
    assert summary["days"] == 5
    assert tape.meta == {"source": "parquet", "seed": None, "strength": "0", "injected": False}
    assert [item.symbol for item in tape.instruments] == ["BTC-USDT", "ETH-USDT"]
    assert pq.ParquetFile(tmp_path / "data/bars/BTC-USDT.parquet").metadata.row_group(0).column(1).compression == "ZSTD"


def test_tape_rows_are_the_source_rows(tmp_path: Path) -> None:
    ingest(tmp_path, FRAMES)
    bars = Tape.open(tmp_path / "data" / "market.tape").records.view(BAR)
    for index, frame in enumerate(FRAMES.frames.values()):
        mine, scale = bars[bars["instrument"] == index], (100_000, 10_000)[index]
        assert np.array_equal(mine["ts_event"], frame["time"].dt.epoch("ns").to_numpy() + 300_000_000_000)
        for name in ("open", "high", "low", "close"):
            assert np.array_equal(mine[name] / 100, frame[name].to_numpy())
        assert np.array_equal(mine["volume"], np.rint(frame["volume"].to_numpy() * scale))
    assert (bars["ts_known"] - bars["ts_event"] == 50_000_000).all()


def test_built_in_market_arrives_on_the_tape_bit_for_bit(tmp_path: Path) -> None:
    """Through floats, files, cleaning and merging: the tape is what ``feeds.synthetic`` made."""
    ingest_builtin(tmp_path)
    tape = Tape.open(tmp_path / "data" / "market.tape")
    made = np.concatenate(list(synthetic.market(BUILTIN, days=6, seed=7)))
    assert tape.records.tobytes() == made.tobytes()
    assert tape.meta == {"source": "synthetic", "seed": 7, "strength": "1", "injected": False}


def test_same_inputs_give_the_same_bytes_however_they_are_cut(tmp_path: Path) -> None:
    frames = {"BTC-USDT": candles(70_000), "ETH-USDT": candles(69_000, price=336_183)}
    ingest(tmp_path / "whole", Frames(frames), holdout=3)
    ingest(tmp_path / "cut", Frames(frames, rows=17_001), holdout=3)
    assert tree(tmp_path / "whole") == tree(tmp_path / "cut")


def test_holdout_is_cut_from_tape_and_bars(tmp_path: Path) -> None:
    summary = ingest(tmp_path, FRAMES, holdout=2)
    early, late = (Tape.open(tmp_path / name / "market.tape", holdout=True).records for name in ("data", "holdout"))
    cut = int(START.timestamp()) * 10**9 + 3 * synthetic.DAY_NS
    assert early["ts_event"].max() == cut  # the bar that closes at midnight still belongs to the day before
    assert late["ts_event"].min() == cut + 300_000_000_000
    assert len(early) + len(late) == 10 * DAY - 7
    assert summary["days"] == 3 and summary["rows"] == len(early)
    paths = [tmp_path / "data/bars" / f"{symbol}.parquet" for symbol in FRAMES.frames]
    assert sum(len(frame) for path in paths for frame in store.read_bars(path)) == len(early)
    assert sorted(path.name for path in (tmp_path / "holdout").iterdir()) == ["market.tape", "summary.json"]


def test_days_keeps_the_last_ones(tmp_path: Path) -> None:
    summary = ingest(tmp_path, FRAMES, days=2)
    bars = Tape.open(tmp_path / "data" / "market.tape").records
    assert summary["days"] == 2
    assert bars["ts_event"].min() == int(START.timestamp()) * 10**9 + 3 * synthetic.DAY_NS + 300_000_000_000
    assert len(bars) == 4 * DAY - 7


def test_findings_and_quarantine_name_symbol_file_row_rule_and_value(tmp_path: Path) -> None:
    frame = change(candles(5 * DAY), 700, low=0.0)
    summary = ingest(tmp_path, Frames({"BTC-USDT": candles(5 * DAY), "ETH-USDT": frame}, rows=300))
    findings = json.loads((tmp_path / "data" / "findings.json").read_text())
    assert [(item["symbol"], item["file"], item["row"], item["rule"]) for item in findings] == [
        ("ETH-USDT", "ETH-USDT.test", 700, "not_positive"),
        ("ETH-USDT", "ETH-USDT.test", 701, "gap"),
    ]
    assert "low=0.0" in findings[0]["value"]
    quarantine = pl.read_parquet(tmp_path / "data" / "quarantine.parquet")
    assert quarantine.select("symbol", "row", "low").rows() == [("ETH-USDT", 700, 0.0)]
    assert summary["findings"] == {"gap": 1, "not_positive": 1}
    assert summary["symbols"]["ETH-USDT"]["quarantined"] == 1


def test_too_many_bad_rows_fail_the_stage_and_say_which(tmp_path: Path) -> None:
    frame = candles(1_000).with_columns(
        pl.when(pl.int_range(pl.len()) < 11).then(-pl.col("volume")).otherwise(pl.col("volume")).alias("volume")
    )
    with pytest.raises(BadInput, match=r"BTC-USDT: 11 of 1000 rows.*negative_volume.*1%.*'row': 0"):
        ingest(tmp_path, Frames({"BTC-USDT": frame, "ETH-USDT": candles()}))


@pytest.mark.parametrize(
    ("frames", "params", "word"),
    [
        ({"BTC-USDT": candles(1)[:0], "ETH-USDT": candles()}, {}, "BTC-USDT: no rows"),
        ({"BTC-USDT": candles(100, minutes=60), "ETH-USDT": candles()}, {}, "does not fit the files"),
        ({"BTC-USDT": candles(100, minutes=1), "ETH-USDT": candles()}, {}, "off_interval"),
        ({"BTC-USDT": candles(5 * DAY), "ETH-USDT": candles(5)}, {"days": 2}, "ETH-USDT: no rows in the days kept"),
        ({"BTC-USDT": candles(5 * DAY), "ETH-USDT": candles(5 * DAY)}, {"holdout": 9}, "lower data.holdout"),
    ],
    ids=["empty", "hours as five minutes", "minutes as five minutes", "delisted", "all held out"],
)
def test_data_that_cannot_be_used_is_refused(tmp_path: Path, frames: dict, params: dict, word: str) -> None:
    with pytest.raises(BadInput, match=re.escape(word)):
        ingest(tmp_path, Frames(frames), **params)


def test_injection_is_deterministic_marked_and_reaches_the_holdout(tmp_path: Path) -> None:
    plain = ingest(tmp_path / "plain", FRAMES, holdout=2)
    first = ingest(tmp_path / "first", FRAMES, holdout=2, inject_strength="1")
    ingest(tmp_path / "again", Frames(FRAMES.frames, rows=100), holdout=2, inject_strength="1")
    assert tree(tmp_path / "first") == tree(tmp_path / "again")
    assert first["tape_id"] != plain["tape_id"]
    for part in ("data", "holdout"):
        changed, before = (
            Tape.open(tmp_path / name / part / "market.tape", holdout=True) for name in ("first", "plain")
        )
        marked = {"holdout": True} if part == "holdout" else {}
        assert changed.meta == {"source": "parquet", "seed": None, "strength": "1", "injected": True} | marked
        assert np.array_equal(changed.records["ts_known"], before.records["ts_known"])
        assert not np.array_equal(changed.records.view(BAR)["close"], before.records.view(BAR)["close"])


def test_symbols_choose_and_renumber(tmp_path: Path) -> None:
    ingest(tmp_path, FRAMES, symbols=("ETH-USDT",))
    tape = Tape.open(tmp_path / "data" / "market.tape")
    assert [item.symbol for item in tape.instruments] == ["ETH-USDT"]
    assert set(tape.records["instrument"]) == {0}


def test_merging_keeps_order_across_row_groups_and_ragged_ends(tmp_path: Path) -> None:
    ragged = candles(200_000).filter((pl.int_range(pl.len()) < 10) | (pl.int_range(pl.len()) > 150_000))
    paths = []
    for listing, instrument, frame in zip(
        MARKET.listings, MARKET.instruments(), (candles(140_000), ragged), strict=True
    ):
        paths.append(tmp_path / f"{listing.symbol}.parquet")
        with store.bar_writer(paths[-1], instrument, 300_000_000_000) as writer:
            whole = frame.with_columns((pl.col(name) * 100).round().cast(pl.Int64) for name in frame.columns[1:])
            writer.write(whole)
    chunks = list(store.merged(paths, 300_000_000_000, 7))
    bars = np.concatenate(chunks)
    assert len(bars) == 140_000 + 10 + 49_999
    assert np.array_equal(np.lexsort((bars["instrument"], bars["ts_known"])), np.arange(len(bars)))
    assert max(map(len, chunks)) <= 2 * store.ROW_GROUP_ROWS


MEMORY = """
import resource, sys
from pathlib import Path
from tests.data.candles import ingest
from feeds.market import BUILTIN
path = "data/markets/builtin.yaml"
ingest(Path(sys.argv[1]), market=BUILTIN, source_name="synthetic", path=path, days=int(sys.argv[2]), strength="0")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_number_of_days(tmp_path: Path) -> None:
    peaks = []
    for days in (200, 500):
        out = subprocess.run(
            [sys.executable, "-c", MEMORY, str(tmp_path / str(days)), str(days)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(out.stdout) / 1024)
    rows_mb = 300 * 3 * DAY * 64 / 2**20  # what the further days take on the tape
    assert peaks[1] - peaks[0] < rows_mb, f"{peaks} MB for 200 and 500 days"
