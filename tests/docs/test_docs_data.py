"""The researcher's frames, as docs/data.md shows them: run on books and on bars, and equal to what the stages wrote."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from core.errors import BadConfig, BadInput
from data import frames, lanes
from data.lanes import create
from feeds.tape import Tape
from pipelines.featurize import featurize_events
from tests.data.test_data_events import PERP, ingest, two_files
from tests.docs.commands import blocks
from tests.pipelines.reduced import Checkout
from training import event_labels
from training.event_labels import COLUMNS, EventLabelParams

SHOWN = [block.text for block in blocks() if block.document == "docs/data.md" and block.language == "python"]


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """The folder of an ingested and featurized recording, which ``artifacts`` names."""
    folder = ingest(two_files(tmp_path / "raw"), PERP, tmp_path / "artifacts", "binance_ws")
    featurize_events(Tape.open(folder / "market.tape"), tmp_path / "artifacts/features", EventLabelParams())
    return tmp_path


def test_the_first_block_runs_on_books(books: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(books)
    names: dict[str, pl.DataFrame] = {}
    exec(SHOWN[0], names)
    assert names["trades"].select("price", "qty").rows() == [(100.0, 0.005)]
    lane, *rest = lanes.read(books / "artifacts/features/lanes")
    states = names["states"]
    assert len(states) == len(lane.states) + sum(len(other.states) for other in rest)
    assert states["spread_ticks"][: len(lane.states)].to_list() == lane.states["spread_ticks"].tolist()
    assert states["ts"].dt.epoch("ns")[0] == lane.states["ts"][0]
    assert states["depth_feat"].to_numpy().shape == (len(states), 16)
    assert set(COLUMNS) < set(states.columns) and states["delta_1"].null_count() == len(states)  # none is warm


def test_what_is_not_there_is_named(books: Path) -> None:
    artifacts = books / "artifacts"
    with pytest.raises(BadInput, match=r"nothing of ETH-USDT .*there is BTC-USDT 2024-08-08, BTC-USDT 2024-08-09"):
        frames.states(artifacts, symbol="ETH-USDT")
    with pytest.raises(BadConfig, match="kind is 'candle'; a tape may hold bar"):
        frames.tape(artifacts / "data/market.tape", "candle")
    with pytest.raises(BadConfig, match="symbol is 'ETH-USDT'; the tape holds BTC-USDT"):
        frames.tape(artifacts / "data/market.tape", "trade", symbol="ETH-USDT")
    with pytest.raises(BadInput, match=r"folds.json: No such file .* make it with `dvc repro`"):
        frames.folds(artifacts)
    with pytest.raises(BadInput, match="no fold"):
        frames.predictions(artifacts)
    with pytest.raises(BadInput, match=r"features\.npy"):
        frames.features(artifacts)


@pytest.mark.xdist_group("graph")
def test_the_second_block_runs_on_a_whole_run(promoted: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(promoted.path)
    names: dict[str, pl.DataFrame] = {}
    exec(SHOWN[1], names)
    artifacts = promoted.path / "artifacts"
    features, tape = names["features"], Tape.open(artifacts / "data/market.tape")
    own = tape.records["instrument"] == [item.symbol for item in tape.instruments].index("BTC-USDT")
    assert features["ts_event"].dt.epoch("ns").to_list() == tape.records["ts_event"][own].tolist()
    written = np.load(artifacts / "features/features.npy")[own]
    assert np.array_equal(features["return_1"].to_numpy(), written[:, 0])
    labels = np.load(artifacts / "features/label.npy")[own]
    assert features["label"].null_count() == int((labels < 0).sum()) and set(features["label"].drop_nulls()) <= {
        "down", "flat", "up",
    }  # fmt: skip
    barrier = np.load(artifacts / "features/barrier.npy")[own]
    ends = {"stop": 0, "timeout": 1, "profit": 2}
    assert [ends.get(name, -128) for name in features["barrier"]] == barrier.tolist()
    assert features["barrier_known_at"].null_count() == int((barrier < 0).sum()) < len(features)
    assert features["quantile"].null_count() > features["big_move"].null_count() == int((labels < 0).sum())
    made = frames.priors(artifacts)
    assert made["count"][0] == 0 and made["up"][0] is None and made["day"].is_sorted()
    assert (made.select(pl.sum_horizontal("down", "flat", "up")).to_series()[-5:] - 1).abs().max() < 1e-12
    document = json.loads((artifacts / "folds/folds.json").read_text())["folds"]
    assert names["folds"]["rows_test"].to_list() == [fold["rows"]["test"] for fold in document]
    forecasts = names["forecasts"]
    assert forecasts["fold"].unique().sort().to_list() == list(range(len(document)))
    assert (forecasts["p_up_ppm"] + forecasts["p_down_ppm"]).max() <= 1_000_000
    bars = frames.tape(artifacts / "data/market.tape", "bar", symbol="BTC-USDT")
    parquet = pl.read_parquet(artifacts / "data/bars/BTC-USDT.parquet")
    assert np.allclose(bars["close"].to_numpy(), parquet["close"].to_numpy() * float(tape.instruments[0].tick))


def test_features_of_another_tape_are_refused(books: Path) -> None:
    spec = books / "artifacts/features/spec.json"
    spec.write_text(json.dumps(json.loads(spec.read_text()) | {"tape_id": "0" * 64}))
    create(books / "artifacts/features/features.npy", np.float32, (1, 1)).flush()
    with pytest.raises(BadInput, match="was made from tape 0000000000000000"):
        frames.features(books / "artifacts")


def test_a_lane_of_books_knows_the_classes_of_the_days_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warm = event_labels.make  # the recording is shorter than the warm-up
    monkeypatch.setattr(event_labels, "make", lambda states, extra, ready, label: warm(states, extra, ~ready, label))
    folder = ingest(two_files(tmp_path / "raw"), PERP, tmp_path / "artifacts", "binance_ws")
    featurize_events(Tape.open(folder / "market.tape"), tmp_path / "features", EventLabelParams())
    first, second = lanes.read(tmp_path / "features/lanes")
    known = np.isfinite(first.array("delta_hat")).sum(axis=0)
    assert known.any() and first.array("priors")["count"].tolist() == [0] * 6
    assert second.array("priors")["count"].tolist() == known.tolist()
