"""Features as Parquet: the frames' rows by instrument and day, with what they were made with, the same bytes again."""

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from core.errors import BadConfig, BadInput
from core.instruments import Instrument
from data import __main__, frames
from data.export import export
from features.spec import FeatureParams
from feeds.tape import Tape, write_tape
from models.output import verify_output
from pipelines.featurize import featurize, featurize_events
from tests.data.candles import tree
from tests.data.test_data_events import PERP, ingest, two_files
from tests.features.walk import INTERVAL_NS, interleave, walk
from training.event_labels import EventLabelParams
from training.labels import LabelParams


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    both = interleave(walk(700, 1, lost=0.02), walk(900, 2, instrument=1))
    instruments = [Instrument(symbol=name, base=name, quote="USDT", tick="0.01", lot="0.00001") for name in "AB"]
    (tmp_path / "data").mkdir()
    write_tape(tmp_path / "data/market.tape", [both], instruments=instruments, interval_ns=INTERVAL_NS)
    featurize(Tape.open(tmp_path / "data/market.tape"), tmp_path / "features", FeatureParams(), LabelParams())
    return tmp_path


@pytest.fixture
def books(tmp_path: Path) -> Path:
    folder = ingest(two_files(tmp_path / "raw"), PERP, tmp_path, "binance_ws")
    featurize_events(Tape.open(folder / "market.tape"), tmp_path / "features", EventLabelParams())
    return tmp_path


def test_files_of_bars_are_the_frames_rows_by_day(bars: Path) -> None:
    written = export(bars, bars / "parquet")
    assert {row["symbol"] for row in written} == {"A", "B"} and len(written) > 4
    for symbol in "AB":
        whole = frames.features(bars, symbol=symbol)
        parts = [pl.read_parquet(path) for path in sorted((bars / "parquet" / symbol).iterdir())]
        assert pl.concat(parts).equals(whole)
        assert all(part["ts_event"].dt.date().n_unique() == 1 for part in parts)
    spec = json.loads((bars / "features/spec.json").read_text())
    metadata = pq.read_metadata(bars / "parquet/A" / f"{written[0]['day']}.parquet").metadata
    assert metadata[b"features_hash"].decode() == spec["features_hash"]
    assert metadata[b"tape_id"].decode() == spec["tape_id"] and json.loads(metadata[b"features"]) == spec["features"]


def test_files_of_books_are_the_lanes(books: Path) -> None:
    written = export(books, books / "parquet")
    assert [(row["symbol"], row["day"]) for row in written] == [
        ("BTC-USDT", "2024-08-08"), ("BTC-USDT", "2024-08-09"),
    ]  # fmt: skip
    for row in written:
        read = pl.read_parquet(books / "parquet" / row["symbol"] / f"{row['day']}.parquet")
        assert read.equals(frames.states(books, symbol=row["symbol"], day=row["day"])) and len(read) == row["rows"] > 0
    metadata = pq.read_metadata(books / "parquet/BTC-USDT/2024-08-08.parquet").metadata
    spec = json.loads((books / "features/spec.json").read_text())
    assert metadata[b"features_hash"].decode() == spec["features_hash"]["BTC-USDT"]
    assert json.loads(metadata[b"features"]) == spec["features"]["BTC-USDT"]


def test_the_same_again_is_the_same_bytes_and_whole(bars: Path) -> None:
    export(bars, bars / "one")
    export(bars, bars / "two")
    assert tree(bars / "one") == tree(bars / "two")
    verify_output(bars / "one", stage="featurize")


def test_one_symbol_and_one_that_is_not_there(bars: Path) -> None:
    assert {row["symbol"] for row in export(bars, bars / "parquet", ("B",))} == {"B"}
    with pytest.raises(BadConfig, match=r"symbol is 'C'; the features have A, B"):
        export(bars, bars / "parquet", ("B", "C"))
    assert [path.name for path in (bars / "parquet").iterdir() if path.is_dir()] == ["B"]


def test_features_of_another_tape_or_none_are_refused(bars: Path) -> None:
    spec = bars / "features/spec.json"
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"tape_id": "0" * 64}))
    with pytest.raises(BadInput, match=r"was made from tape 0000000000000000: run `dvc repro`"):
        export(bars, bars / "parquet")
    with pytest.raises(BadInput, match=r"spec\.json"):
        export(bars / "nowhere", bars / "parquet")


def test_the_command_tells_what_it_wrote(bars: Path) -> None:
    arguments = ["parquet", "--artifacts", str(bars), "--to", str(bars / "out"), "--symbol", "A", "--json"]
    done = CliRunner().invoke(__main__.app, arguments)
    assert done.exit_code == 0, done.output
    assert sum(row["rows"] for row in json.loads(done.stdout)) == len(frames.features(bars, symbol="A"))
