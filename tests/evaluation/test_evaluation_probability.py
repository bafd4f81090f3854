"""Forecast scores against scikit-learn, hand-computed rows and forecasts whose quality is known by construction."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss as sklearn_log_loss

from core.records import PPM, PREDICTION, PredictionFlag
from evaluation import probability
from evaluation.probability import Forecasts
from evaluation.statistics import Bootstrap

DAYS = 40
PER_DAY = 200


def forecasts(probabilities: np.ndarray, label: np.ndarray, climatology: np.ndarray | None = None) -> Forecasts:
    n = len(label)
    return Forecasts(
        probabilities=probabilities,
        climatology=np.tile([1 / 3] * 3 if climatology is None else climatology, (n, 1)),
        label=label,
        direction=label - 1,
        day=np.arange(n) * DAYS // n,
        bar=np.arange(n),
        instrument=np.zeros(n, np.int64),
        fold=np.zeros(n, np.int64),
    )


def drawn(strength: float, seed: int = 0, sharpen: float = 1.0) -> Forecasts:
    """Forecasts that are calibrated at ``sharpen`` 1 and know nothing at ``strength`` 0."""
    generator = np.random.default_rng(seed)
    n = DAYS * PER_DAY
    logits = strength * generator.normal(size=(n, 3))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    label = (generator.random(n)[:, None] > truth.cumsum(axis=1)).sum(axis=1)
    sharper = truth**sharpen / (truth**sharpen).sum(axis=1, keepdims=True)
    return forecasts(sharper, label)


def scores(rows: Forecasts) -> dict:
    bootstrap = Bootstrap.over_days(DAYS, block_days=2, draws=400, confidence=0.95, seed=1)
    return probability.scores(rows, np.arange(DAYS), bootstrap, probability.effective_rows(rows, 3))


def test_three_rows_by_hand() -> None:
    rows = forecasts(np.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [0.4, 0.2, 0.4]]), np.array([2, 0, 1]))
    assert probability.brier(rows.probabilities, rows.label) == pytest.approx([0.38, 0.0, 0.96])
    hits = probability.direction_hits(rows.probabilities[:, 2] - rows.probabilities[:, 0], rows.direction)
    assert hits[0] == 1 and hits[1] == 1 and np.isnan(hits[2])


def test_a_forecast_without_a_sign_is_half_right() -> None:
    assert probability.direction_hits(np.array([0.0, 0.0]), np.array([1, -1])) == pytest.approx([0.5, 0.5])


def test_log_loss_and_brier_equal_scikit_learn() -> None:
    rows = drawn(1.0)
    found = scores(rows)
    assert found["log_loss"].value == pytest.approx(sklearn_log_loss(rows.label, rows.probabilities), rel=1e-12)
    one_hot = np.eye(3)[rows.label]
    assert found["brier"].value == pytest.approx(np.mean(np.sum((rows.probabilities - one_hot) ** 2, axis=1)))


def test_a_forecast_that_knows_something_has_skill_and_one_that_does_not_has_none() -> None:
    knowing, blind = scores(drawn(1.0)), scores(drawn(0.0))
    assert knowing["skill_over_climatology"].lower > 0.1
    assert knowing["directional_accuracy"].lower > 0.6
    assert blind["skill_over_climatology"].value == pytest.approx(0, abs=1e-12)
    assert blind["directional_accuracy"].lower <= 0.5 <= blind["directional_accuracy"].upper


def test_knowing_how_far_is_not_knowing_where() -> None:
    """A forecaster of volatility has skill in three classes, on a martingale too; of direction it has none."""
    rng = np.random.default_rng(3)
    moves = rng.choice([0.4, 0.9], 20_000)
    label = np.where(rng.random(20_000) < moves, rng.choice([0, 2], 20_000), 1)
    found = scores(
        forecasts(np.stack([moves / 2, 1 - moves, moves / 2], axis=1), label, np.array([0.325, 0.35, 0.325]))
    )
    assert found["skill_over_climatology"].lower > 0.05
    assert found["direction_skill"].value == pytest.approx(0, abs=1e-12)
    assert found["direction_skill"].n < found["skill_over_climatology"].n
    assert scores(drawn(1.0))["direction_skill"].lower > 0.1


@pytest.mark.parametrize("seed", range(4))
def test_noise_dressed_as_a_forecast_does_not_pass(seed: int) -> None:
    real, noise = drawn(0.5, seed), drawn(0.5, seed + 100)
    found = scores(forecasts(noise.probabilities, real.label))
    assert found["skill_over_climatology"].lower < 0
    assert found["skill_over_climatology"].upper < 0, "confident noise is worse than climatology"


def test_climatology_scores_zero_against_itself_whatever_it_is() -> None:
    rows = drawn(1.0)
    climatology = probability.frequencies(rows.label)
    same = forecasts(np.tile(climatology, (len(rows), 1)), rows.label, climatology)
    assert scores(same)["skill_over_climatology"].value == pytest.approx(0, abs=1e-12)


def test_calibration_sees_overconfidence_and_not_noise() -> None:
    honest, sure = scores(drawn(1.0)), scores(drawn(1.0, sharpen=2.0))
    assert honest["ece"].value > 0.008, "the plug-in error of a perfectly calibrated model is not zero"
    assert honest["ece_debiased"].lower == 0
    assert honest["ece_debiased"].upper < 0.03
    assert sure["ece_debiased"].lower > 0.05
    assert sure["ece_debiased"].value == pytest.approx(sure["ece"].value, rel=0.35)


def test_debiased_calibration_error_is_zero_on_average_where_the_plain_one_is_not() -> None:
    found = [scores(drawn(1.0, seed)) for seed in range(8)]
    assert np.mean([item["ece_debiased"].value for item in found]) < 0.75 * np.mean(
        [item["ece"].value for item in found]
    )


def test_reliability_bins_hold_every_row_once() -> None:
    rows = drawn(1.0)
    table = probability.reliability(rows)
    assert table[:, 2].sum() == len(rows)
    assert len(table) == probability.CALIBRATION_BINS
    assert np.sum(table[:, 0] * table[:, 2]) / len(rows) == pytest.approx(rows.probabilities.max(axis=1).mean())
    assert np.sum(table[:, 1] * table[:, 2]) / len(rows) == pytest.approx(
        (rows.probabilities.argmax(axis=1) == rows.label).mean()
    )


def test_warm_up_and_unlabelled_rows_do_not_count() -> None:
    predictions = np.zeros(4, PREDICTION)
    predictions["flags"][1] = PredictionFlag.WARMUP
    label = np.array([0, 1, probability.NULL_LABEL, 2])
    assert list(probability.scored(predictions, label)) == [True, False, False, True]
    with pytest.raises(TypeError, match="PREDICTION"):
        probability.scored(np.zeros(4), label)


@given(st.integers(0, PPM), st.integers(0, PPM))
def test_probabilities_of_a_record_sum_to_one(down: int, up: int) -> None:
    predictions = np.zeros(1, PREDICTION)
    predictions["p_down_ppm"], predictions["p_up_ppm"] = down, min(up, PPM - down)
    assert probability.probabilities(predictions).sum() == pytest.approx(1, abs=1e-15)


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(-5, 5)), max_size=50))
def test_sums_by_day_equal_a_loop(pairs: list[tuple[int, float]]) -> None:
    day = np.array([item[0] for item in pairs], np.int64)
    value = np.array([item[1] for item in pairs], np.float64)
    slow = np.zeros(10)
    for where, amount in pairs:
        slow[where] += amount
    found = probability.by_day(value[:, None], day, np.arange(10))
    assert found[:, 0] == pytest.approx(slow, abs=1e-12)


def test_no_rows_give_undefined_scores_not_a_crash() -> None:
    empty = drawn(1.0).select(np.zeros(DAYS * PER_DAY, bool))
    found = scores(empty)
    assert all(item.value is None and item.n == 0 for item in found.values())


def test_pooling_keeps_every_row_in_order() -> None:
    rows = drawn(1.0)
    first, second = np.arange(len(rows)) < 100, np.arange(len(rows)) >= 100
    again = probability.pool([rows.select(first), rows.select(second)])
    assert np.array_equal(again.probabilities, rows.probabilities)
    assert np.array_equal(again.label, rows.label)
