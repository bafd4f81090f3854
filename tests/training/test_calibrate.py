"""The calibrator: finds the temperature that was put in, and knows its own block only."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from models.manifest import Fold
from tests.training.worlds import INTERVAL_NS, dataset, network_arrays, trained_network
from training.calibrate import TrainedNetwork, calibrate, fit_move_scale, fit_temperature
from training.dataset import rows
from training.settings import ModelParams

FOLD = Fold(
    index=0,
    train_start=0,
    train_end=500 * INTERVAL_NS,
    calibrate_start=510 * INTERVAL_NS,
    calibrate_end=900 * INTERVAL_NS,
    test_start=910 * INTERVAL_NS,
    test_end=1_000 * INTERVAL_NS,
)
BURN_IN = 16


def network() -> TrainedNetwork:
    return trained_network(network_arrays(features=4, hidden=8), ModelParams(hidden=8))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((40_000, 3)) * 2
    chances = softmax(logits / temperature, axis=1)
    labels = (rng.random((40_000, 1)) > chances.cumsum(axis=1)).sum(axis=1)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.05)


@given(st.integers(0, 2**32 - 1))
def test_no_temperature_nearby_has_a_lower_loss(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((200, 3)), rng.integers(0, 3, 200)
    found = fit_temperature(logits, labels)

    def loss(temperature: float) -> float:
        return -log_softmax(logits / temperature, axis=1)[np.arange(200), labels].mean()

    nearby = np.clip([found * 1.02, found / 1.02], np.exp(-3), np.exp(3))
    assert loss(found) <= min(loss(value) for value in nearby) + 1e-6


def test_the_move_scale_is_the_slope_and_never_turns_a_model_round() -> None:
    rng = np.random.default_rng(0)
    moves = rng.standard_normal(10_000)
    assert fit_move_scale(moves, 0.6 * moves + rng.standard_normal(10_000)) == pytest.approx(0.6, abs=0.05)
    assert fit_move_scale(moves, -moves) == 0.0
    assert fit_move_scale(np.zeros(10), rng.standard_normal(10)) == 0.0


def test_nothing_to_fit_on_means_no_edge() -> None:
    empty = np.zeros(0)
    assert fit_temperature(np.zeros((0, 3)), empty.astype(int)) == 1.0
    assert fit_move_scale(empty, empty) == 0.0


def test_calibration_rows_lie_in_their_block_after_the_burn_in() -> None:
    data = dataset(2_000)
    used = calibrate(data, FOLD, network(), BURN_IN).rows
    blocks = rows(data, FOLD)
    assert np.isin(used, blocks.calibrate).all()
    assert not np.isin(used, np.concatenate([blocks.train, blocks.test])).any()
    assert len(used) == len(blocks.calibrate) - 2 * BURN_IN  # two instruments, each from a cold start


def test_another_future_and_another_past_leave_the_calibrator_as_it_is() -> None:
    data = dataset(2_000)
    outside = (data.ts_event < FOLD.calibrate_start) | (data.ts_event >= FOLD.calibrate_end)
    scrambled = replace(
        data,
        features=np.where(outside[:, None], np.float32(-7), data.features),
        label=np.where(outside, (data.label + 1) % 3, data.label).astype(np.int8),
        label_return=np.where(outside, np.float32(9), data.label_return),
    )
    truth, other = calibrate(data, FOLD, network(), BURN_IN), calibrate(scrambled, FOLD, network(), BURN_IN)
    assert (truth.temperature, truth.move_scale) == (other.temperature, other.move_scale)
    inside = replace(data, label=np.where(outside, data.label, 1).astype(np.int8))
    assert calibrate(inside, FOLD, network(), BURN_IN).temperature != truth.temperature
