"""The featurize stage: arrays aligned with the tape, the same whatever the chunk, whole or not there."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadConfig, BadInput
from core.instruments import Instrument
from core.records import DAY_NS, RECORD, Kind
from features.spec import FeatureParams, spec_from_json
from feeds.tape import Tape, write_tape
from pipelines.featurize import featurize
from tests.features.walk import INTERVAL_NS, SPEC, batch, interleave, walk
from training.labels import NULL, LabelParams, make
from training.targets import TargetParams, barriers, big_moves, priors

NAMES = ("features", "ready", "sigma", "label", "label_known_at", "label_return")
TARGETS = ("barrier", "barrier_known_at", "barrier_return", "big_move", "quantile", "priors")


def instrument(symbol: str) -> Instrument:
    return Instrument(symbol=symbol, base=symbol, quote="USDT", tick="0.01", lot="0.00001")


@pytest.fixture(scope="module")
def bars() -> np.ndarray:
    return interleave(walk(700, 1, lost=0.02, outages=((400, 20),)), walk(900, 2, instrument=1))


@pytest.fixture
def tape(tmp_path: Path, bars: np.ndarray) -> Tape:
    write_tape(
        tmp_path / "market.tape", [bars], instruments=[instrument("A"), instrument("B")], interval_ns=INTERVAL_NS
    )
    return Tape.open(tmp_path / "market.tape")


def load(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.load(folder / f"{name}.npy") for name in NAMES}


def test_arrays_are_the_kernels_and_the_labels_of_the_whole_tape(tape: Tape, bars: np.ndarray, tmp_path: Path) -> None:
    featurize(tape, tmp_path / "out", FeatureParams(), LabelParams())
    features, ready, sigma = batch(bars)
    labels = make(bars, sigma, LabelParams())
    expected = (features, ready, sigma, labels.label, labels.known_at, labels.label_return)
    for (name, found), wanted in zip(load(tmp_path / "out").items(), expected, strict=True):
        assert found.dtype == wanted.dtype and found.tobytes() == wanted.tobytes(), name
    document = json.loads((tmp_path / "out" / "spec.json").read_bytes())
    assert spec_from_json(document["features"]) == SPEC
    assert (document["features_hash"], document["label_hash"]) == (SPEC.hash, LabelParams().hash)
    assert document["tape_id"] == tape.tape_id


def test_targets_are_those_of_the_whole_tape(tape: Tape, bars: np.ndarray, tmp_path: Path) -> None:
    target = TargetParams(barrier_minutes=120, quantiles=3)
    featurize(tape, tmp_path / "out", FeatureParams(), LabelParams(), target)
    _, _, sigma = batch(bars)
    labels, ends = make(bars, sigma, LabelParams()), barriers(bars, sigma, INTERVAL_NS, target)
    found = {name: np.load(tmp_path / "out" / f"{name}.npy") for name in TARGETS}
    for name, wanted in zip(TARGETS[:3], (ends.label, ends.known_at, ends.label_return), strict=True):
        assert found[name].tobytes() == wanted.tobytes(), name
    assert found["big_move"].tolist() == big_moves(labels, target).tolist()
    days = np.unique(bars["ts_known"] // DAY_NS)
    assert found["priors"].tobytes() == priors(days, labels.label, labels.known_at).tobytes()
    assert set(found["quantile"][labels.label != NULL].tolist()) == {NULL, 0, 1, 2}
    document = json.loads((tmp_path / "out" / "spec.json").read_bytes())
    assert document["targets_hash"] == target.hash and document["targets"]["quantiles"] == 3


@pytest.mark.parametrize("chunk_rows", [1, 7, 400])
def test_chunks_change_no_byte(tape: Tape, tmp_path: Path, chunk_rows: int) -> None:
    featurize(tape, tmp_path / "whole", FeatureParams(), LabelParams())
    featurize(tape, tmp_path / "parts", FeatureParams(), LabelParams(), chunk_rows=chunk_rows)
    for path in sorted((tmp_path / "whole").iterdir()):
        assert path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes(), path.name


def test_a_second_run_replaces_the_first(tape: Tape, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.npy").touch()
    featurize(tape, out, FeatureParams(), LabelParams())
    expected = {f"{name}.npy" for name in NAMES + TARGETS} | {"spec.json", "SHA256SUMS"}
    assert {path.name for path in out.iterdir()} == expected


def test_a_record_that_is_no_bar_leaves_nothing_behind(tmp_path: Path, bars: np.ndarray) -> None:
    records = bars.view(RECORD).copy()
    records["kind"][300] = Kind.FILL
    write_tape(tmp_path / "t.tape", [records], instruments=[instrument("A"), instrument("B")], interval_ns=INTERVAL_NS)
    with pytest.raises(BadInput, match="record of kind 4 among bars"):
        featurize(Tape.open(tmp_path / "t.tape"), tmp_path / "out", FeatureParams(), LabelParams(), chunk_rows=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.tape"]


def test_a_horizon_between_bars_is_refused(tape: Tape, tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="horizon_minutes"):
        featurize(tape, tmp_path / "out", FeatureParams(), LabelParams(horizon_minutes=7))
    with pytest.raises(BadConfig, match="interval"):
        featurize(replace(tape, interval_ns=0), tmp_path / "out", FeatureParams(), LabelParams())


def test_memory_does_not_grow_with_the_history(tmp_path: Path) -> None:
    peaks = []
    for rows in (20_000, 60_000):
        write_tape(tmp_path / "t.tape", [walk(rows, 1)], instruments=[instrument("A")], interval_ns=INTERVAL_NS)
        tape = Tape.open(tmp_path / "t.tape")
        tracemalloc.start()  # counts what is allocated, not what is mapped from files
        featurize(tape, tmp_path / "out", FeatureParams(), LabelParams(), chunk_rows=5_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
