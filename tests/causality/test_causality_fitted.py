"""What a fold fits knows nothing of what comes after: every fitted thing by itself, then a whole fold to its ONNX file.

A block ends where its labels stop being known in time, so a label that is known late is a leak too (no purge).
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.records import BAR
from features import scaling
from features.spec import FeatureParams
from feeds.tape import Tape, write_tape
from models.manifest import Fold
from pipelines import params
from pipelines.featurize import featurize
from tests.causality.checker import Known, as_of, assert_causal, random_times, scramble
from tests.features.walk import SPEC, batch, interleave, walk
from tests.training.worlds import settings, workspace
from training.baselines import climatology, fit_logistic
from training.calibrate import calibrate, fit_move_scale, fit_temperature, load_network
from training.dataset import Dataset, open_dataset
from training.export import export_lstm
from training.fit import FoldTask, fit_fold
from training.labels import NULL, LabelParams, make
from training.lanes import standardise
from training.select import select
from training.splits import walk_forward
from training.weights import save

TIMES = 1_000
LOGITS = np.random.default_rng(3).normal(0, 0.3, (SPEC.n_features, 3)).astype(np.float32)  # stands for a network


@pytest.fixture(scope="module")
def tape() -> np.ndarray:
    """Two interleaved instruments with lost bars."""
    return interleave(walk(700, 5, lost=0.02), walk(700, 6, lost=0.02, instrument=1))


def dataset(bars: np.ndarray) -> Dataset:
    """``bars`` as training reads them."""
    out, ready, sigma = batch(bars)
    labels = make(bars, sigma, LabelParams())
    return Dataset(
        ts_event=bars["ts_event"],
        instrument=bars["instrument"],
        features=out,
        ready=ready,
        sigma=sigma,
        label=labels.label,
        label_known_at=labels.known_at,
        label_return=labels.label_return,
    )


def known_rows(data: Dataset, t: int) -> np.ndarray:
    """Rows whose label was known before ``t``: what a fold that ends there may use."""
    return np.flatnonzero(data.ready & (data.label != NULL) & (data.label_known_at < t))


def every_row(data: Dataset, t: int) -> np.ndarray:
    """Rows of any time: a leak."""
    return np.flatnonzero(data.ready & (data.label != NULL))


def unpurged_rows(data: Dataset, t: int) -> np.ndarray:
    """Rows before ``t``, labels not known by then included: a leak."""
    return np.flatnonzero(data.ready & (data.label != NULL) & (data.ts_event < t))


Rows = Callable[[Dataset, int], np.ndarray]


def fit_all(data: Dataset, rows: np.ndarray) -> dict[str, tuple]:
    """Everything a fold fits, on ``rows``: the earlier ones train, the last fifth calibrates."""
    train, block = np.split(rows, [len(rows) * 4 // 5])
    scale = scaling.fit(data.features, train)
    logits = standardise(data.features[block], scale) @ LOGITS
    return {
        "scaler": (scale.mean, scale.std),
        "selection": (select(scale, data.features[train], data.label[train], keep=6).std,),
        "class shares": (climatology(data.label[train]),),
        "temperature": (fit_temperature(logits, data.label[block]),),
        "move scale": (fit_move_scale(logits[:, 0], data.label_return[block]),),
    }


def fitted(bars: np.ndarray, t: int, chosen: Rows = known_rows) -> dict[str, Known]:
    data = dataset(bars)
    rows = chosen(data, t)
    return {name: as_of(t, *numbers) for name, numbers in fit_all(data, rows).items()} if len(rows) > 50 else {}


def test_what_is_fitted_as_of_a_thousand_times(tape: np.ndarray) -> None:
    told = assert_causal(fitted, tape, random_times(tape[680:-20], TIMES))
    assert len(told) == 5 and set(told.values()) == {TIMES}


LEAKS = [(name, every_row) for name in ("scaler", "selection", "class shares", "temperature", "move scale")]
LEAKS += [(name, unpurged_rows) for name, _ in LEAKS[1:]]  # a scaler reads no label


@pytest.mark.parametrize(("name", "chosen"), LEAKS)
def test_what_is_fitted_on_rows_of_later_is_caught(tape: np.ndarray, name: str, chosen: Rows) -> None:
    def compute(bars: np.ndarray, t: int) -> dict[str, Known]:
        return {"honest": fitted(bars, t)[name], name: fitted(bars, t, chosen)[name]}

    with pytest.raises(AssertionError, match=rf"^{name} known at"):
        assert_causal(compute, tape, random_times(tape[700:-100], 20, seed=1))


def test_the_logistic_baseline_and_one_that_leaks(tape: np.ndarray) -> None:
    def compute(bars: np.ndarray, t: int) -> dict[str, Known]:
        data = dataset(bars)
        made = {}
        for name, chosen in (("honest", known_rows), ("leak", every_row)):
            rows = chosen(data, t)
            fit = fit_logistic(data, rows, scaling.fit(data.features, rows))
            made[name] = as_of(t, fit["weight"], fit["bias"])
        return made

    with pytest.raises(AssertionError, match=r"^leak known at"):
        assert_causal(compute, tape, random_times(tape[900:-100], 5))


def everything_on() -> params.Params:
    """Small parameters with longer bars and a selection."""
    chosen = settings(features=FeatureParams(timeframes_minutes=(15, 60)))
    return msgspec.structs.replace(chosen, training=msgspec.structs.replace(chosen.training, select_features=8))


def onnx_of(artifacts: Path, fold: Fold, **late: int) -> bytes:
    """The exported step of ``fold``: scaler, selection, network, calibrator. ``late`` moves its bounds."""
    chosen, fold = everything_on(), msgspec.structs.replace(fold, **late)
    tape, features = artifacts / "data" / "market.tape", artifacts / "features"
    made = fit_fold(FoldTask(fold, tape, features, chosen.model, chosen.training, chosen.seed), lambda: None)
    save(artifacts / "lstm.npz", made.network)
    network = load_network(artifacts / "lstm.npz", chosen.model)
    calibrated = calibrate(open_dataset(tape, features), fold, network, chosen.training.burn_in)
    return export_lstm(made.network, calibrated.temperature, calibrated.move_scale).onnx_bytes


def test_a_whole_fold_is_the_same_whatever_its_test_days_hold(tmp_path: Path) -> None:
    chosen = everything_on()
    tape = workspace(tmp_path / "true", chosen)
    data = open_dataset(tape.path, tmp_path / "true" / "features")
    fold = walk_forward(data.ts_event, data.label_known_at, chosen.splits, SPEC.warmup_ns)[0]
    truth = onnx_of(tmp_path / "true", fold)
    leaky = onnx_of(tmp_path / "true", fold, calibrate_end=fold.test_end)
    for seed in range(2):
        other = tmp_path / f"other{seed}"
        bars = scramble(np.array(tape.records).view(BAR), fold.test_start, np.random.default_rng(seed))
        path = other / "data" / "market.tape"
        write_tape(path, [bars], instruments=tape.instruments, interval_ns=tape.interval_ns, meta=tape.meta)
        featurize(Tape.open(path), other / "features", chosen.features, chosen.labels)
        data = open_dataset(path, other / "features")
        assert walk_forward(data.ts_event, data.label_known_at, chosen.splits, SPEC.warmup_ns)[0] == fold
        assert onnx_of(other, fold) == truth
        assert onnx_of(other, fold, calibrate_end=fold.test_end) != leaky  # a calibrator that saw the test
