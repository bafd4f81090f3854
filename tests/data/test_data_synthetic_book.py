"""The built-in market of order books through ingest and featurize: lanes with ready rows, and what is refused."""

import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.errors import BadConfig
from core.records import DAY_NS, PPM, Kind
from data import lanes
from data.settings import DataParams
from feeds import book_market
from feeds.book_market import BUILTIN_BOOK
from feeds.book_settings import Period
from feeds.market import from_yaml
from feeds.tape import Tape
from pipelines import featurize, ingest
from pipelines import params as parameters
from tests.data.candles import tree
from training.event_labels import EventLabelParams

ROOT = Path(__file__).parents[2]
MARKET = "data/markets/builtin_book.yaml"


def ran(folder: Path, **data: object) -> Path:
    """The artifacts of both stages for two instruments that trade for an hour a day."""
    book = msgspec.structs.replace(BUILTIN_BOOK.book, sessions=(Period(name="day", start=7, end=8, rate_ppm=PPM),))
    file = folder / "book.yaml"
    folder.mkdir()
    file.write_bytes(msgspec.yaml.encode(msgspec.structs.replace(BUILTIN_BOOK, book=book)))
    options = {"path": str(file), "market": str(file), "days": 2, "symbols": ("BTC-USDT", "SOL-USDT")} | data
    params = parameters.load(ROOT / "params.yaml")
    params = msgspec.structs.replace(params, data=DataParams(source="synthetic_book", **options))
    artifacts = folder / "artifacts"
    artifacts.mkdir()
    ingest.ingest(params, artifacts)
    featurize.featurize_events(Tape.open(artifacts / "data/market.tape"), artifacts / "features", params.event_labels)
    return artifacts


def test_ingest_and_featurize_give_lanes_with_ready_rows(tmp_path: Path) -> None:
    artifacts = ran(tmp_path / "one")
    tape = Tape.open(artifacts / "data/market.tape")
    spec = from_yaml((tmp_path / "one/book.yaml").read_text(), where="test").select(("BTC-USDT", "SOL-USDT"))
    expected = np.concatenate(list(book_market.market(spec, days=2, seed=7)))
    assert hashlib.sha256(tape.records.tobytes()).digest() == hashlib.sha256(expected.tobytes()).digest()
    assert tape.meta["has_depth"] and tape.meta["source"] == "synthetic_book" and tape.interval_ns == 0
    made = list(lanes.read(artifacts / "features/lanes"))
    assert [(lane.symbol, lane.day) for lane in made] == [
        (symbol, day) for symbol in ("BTC-USDT", "SOL-USDT") for day in ("2024-01-01", "2024-01-02")
    ]
    for lane in made:
        assert lane.ready.mean() > 0.8 and (lane.states["spread_ticks"][lane.ready] >= 1).all()
        labels = lane.array("delta_hat")
        assert np.isfinite(labels[lane.ready][: len(labels) // 2]).any()
    assert tree(ran(tmp_path / "two") / "data") == tree(artifacts / "data")


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    artifacts = ran(tmp_path / "one")
    tape = Tape.open(artifacts / "data/market.tape")
    featurize.featurize_events(tape, tmp_path / "again", EventLabelParams(), workers=2)
    assert tree(tmp_path / "again") == tree(artifacts / "features")
    assert len(tree(tmp_path / "again")) == 2 + 4 * 6  # spec and sums; six arrays of four lanes


def test_a_held_out_day_begins_with_its_own_status(tmp_path: Path) -> None:
    artifacts = ran(tmp_path / "one", holdout=1)
    early, late = (Tape.open(artifacts / name / "market.tape", holdout=True).records for name in ("data", "holdout"))
    assert early["ts_event"].max() // DAY_NS + 1 == late["ts_event"].min() // DAY_NS
    assert late["kind"][:2].tolist() == [Kind.STATUS] * 2
    findings = json.loads((artifacts / "data/summary.json").read_text())["findings"]
    assert set(findings) == {"silence"}  # nights and halts


def test_another_strength_is_another_tape(tmp_path: Path) -> None:
    tapes = {Tape.open(ran(tmp_path / s, days=1, strength=s) / "data/market.tape").records_sha256 for s in ("0", "1")}
    assert len(tapes) == 2


def test_settings_refuse_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"data.days is 0; the synthetic_book source needs a length"):
        DataParams(source="synthetic_book", days=0)
    with pytest.raises(BadConfig, match=r"plant a synthetic signal with data\.strength"):
        DataParams(source="synthetic_book", inject_strength="1")
    params = parameters.load(ROOT / "params.yaml")
    two = DataParams(
        source="synthetic_book", days=1, path=str(ROOT / MARKET), market=str(ROOT / "data/markets/builtin.yaml")
    )
    with pytest.raises(BadConfig, match="one market file"):
        ingest.ingest(msgspec.structs.replace(params, data=two), tmp_path)
    bars = str(ROOT / "data/markets/builtin.yaml")
    with pytest.raises(BadConfig, match="no book section"):
        ingest.ingest(
            msgspec.structs.replace(params, data=DataParams(source="synthetic_book", days=1, path=bars, market=bars)),
            tmp_path,
        )
