"""A real, tiny training run: it learns what only memory can know, from its own rows alone, to the same bytes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import BadInput
from features.scaling import Scaling
from models.manifest import Fold
from tests.training.worlds import INTERVAL_NS, dataset, trained_network
from training import fit
from training.baselines import climatology, fit_logistic, log_loss, logistic_probabilities
from training.dataset import Dataset, rows, runs
from training.fit import FoldFit, FoldTask, fit_fold
from training.settings import ModelParams, TrainingParams

MODEL = ModelParams(hidden=12)
TRAINING = TrainingParams(epochs=25, learning_rate="0.02", lanes=8, chunk=32, burn_in=8)


def bars(n: int) -> int:
    return n * INTERVAL_NS


FOLD = Fold(
    index=0,
    train_start=bars(0),
    train_end=bars(1_500),
    calibrate_start=bars(1_510),
    calibrate_end=bars(1_750),
    test_start=bars(1_760),
    test_end=bars(2_000),
)


def fitted(data: Dataset, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> FoldFit:
    monkeypatch.setattr(fit, "open_dataset", lambda *_: data)
    task = FoldTask(FOLD, Path("tape"), Path("features"), MODEL, replace_params(changes), seed=7)
    return fit_fold(task, lambda: None)


def replace_params(changes: dict[str, Any]) -> TrainingParams:
    fields = {name: getattr(TRAINING, name) for name in TRAINING.__struct_fields__}
    return TrainingParams(**(fields | changes))


def test_memory_is_learnt_and_no_model_of_the_current_bar_can(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(4_000)
    result = fitted(data, monkeypatch)
    assert result.curves["loss"][-1] < 0.5 * result.curves["loss"][0]
    assert len(result.curves["loss"]) == TRAINING.epochs

    network, test = trained_network(result.network, MODEL), rows(data, FOLD).test
    said = np.zeros((len(data.label), 3))
    for run in runs(data.instrument, data.ready, test):
        said[run], _ = network.forward(data.features[run])
    hits = said[test].argmax(axis=1) == data.label[test]
    logistic = logistic_probabilities(result.logistic, data.features[test]).argmax(axis=1) == data.label[test]
    assert hits.mean() > 0.9
    assert logistic.mean() < 0.6


def test_the_same_task_gives_the_same_bytes_and_another_seed_others(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(4_000)
    first, again = fitted(data, monkeypatch, epochs=1), fitted(data, monkeypatch, epochs=1)
    for name, value in first.network.items():
        assert value.tobytes() == again.network[name].tobytes(), name
    task = FoldTask(FOLD, Path("tape"), Path("features"), MODEL, replace_params({"epochs": 1}), seed=8)
    other = fit_fold(task, lambda: None)
    assert other.network["lstm.weight_hh_l0"].tobytes() != first.network["lstm.weight_hh_l0"].tobytes()


def test_nothing_after_the_training_block_changes_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(4_000)
    later = data.ts_event >= FOLD.train_end
    scrambled = replace(
        data,
        features=np.where(later[:, None], np.float32(9), data.features),
        label=np.where(later, 1, data.label).astype(np.int8),
        label_return=np.where(later, np.float32(-5), data.label_return),
    )
    truth, other = fitted(data, monkeypatch, epochs=1), fitted(scrambled, monkeypatch, epochs=1)
    for name, value in truth.network.items():
        assert value.tobytes() == other.network[name].tobytes(), name
    for name, value in truth.logistic.items():
        assert value.tobytes() == other.logistic[name].tobytes(), name
    assert truth.climatology == other.climatology


def test_one_training_label_changes_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(4_000)
    label = data.label.copy()
    label[1_000] = 2 - label[1_000]
    truth, other = (fitted(world, monkeypatch, epochs=1) for world in (data, replace(data, label=label)))
    assert truth.network["direction.bias"].tobytes() != other.network["direction.bias"].tobytes()


def test_blocks_are_disjoint_and_skip_rows_without_a_label() -> None:
    data = dataset(4_000)
    label = data.label.copy()
    label[100:200] = -128
    found = rows(replace(data, label=label), FOLD)
    everything = np.concatenate([found.train, found.calibrate, found.test])
    assert len(np.unique(everything)) == len(everything)
    assert not np.isin(np.arange(100, 200), everything).any()
    with pytest.raises(BadInput, match="no usable train row"):
        rows(replace(data, label=np.full(4_000, -128, np.int8)), FOLD)


def test_climatology_never_rules_a_class_out() -> None:
    found = climatology(np.array([2, 2, 2]))
    assert found.tolist() == [1 / 6, 1 / 6, 4 / 6]
    assert np.isfinite(log_loss(found[None], np.array([0]))).all()


def test_logistic_regression_recovers_a_planted_direction() -> None:
    data = dataset(4_000)
    seen = replace(
        data, label=np.where(data.features[:, 1] > 0, 2, np.where(data.features[:, 2] > 0, 1, 0)).astype("i1")
    )
    scaling = Scaling(np.zeros(4, np.float32), np.ones(4, np.float32))
    arrays = fit_logistic(seen, np.arange(3_000), scaling)
    probabilities = logistic_probabilities(arrays, seen.features[3_000:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert (probabilities.argmax(axis=1) == seen.label[3_000:]).mean() > 0.9


def test_training_that_could_learn_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dataset(4_000)
    with pytest.raises(BadInput, match=r"training.burn_in is 60000 bars .* lower it"):
        fitted(data, monkeypatch, burn_in=60_000)
    with pytest.raises(BadInput, match=r"labels are all of class 1; lower labels.dead_zone_sigma"):
        fitted(replace(data, label=np.ones_like(data.label)), monkeypatch)
