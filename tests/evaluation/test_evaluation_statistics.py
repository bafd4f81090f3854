"""Intervals and corrections against libraries, slow references and laws."""

import math

import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap
from hypothesis import given
from hypothesis import strategies as st
from purgedcv import deflated_sharpe_ratio, probabilistic_sharpe_ratio
from scipy import stats

from core.errors import BadConfig, BadInput
from core.settings import parse
from evaluation import statistics
from evaluation.settings import EvaluationParams
from evaluation.statistics import Bootstrap


def bootstrap(days: int, *, draws: int = 1000, block_days: float = 3, seed: int = 1) -> Bootstrap:
    return Bootstrap.over_days(days, block_days=block_days, draws=draws, confidence=0.95, seed=seed)


def autocorrelated(days: int, seed: int, mean: float = 0.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=days + 1)
    return mean + (noise[1:] + 0.6 * noise[:-1])


# --- bootstrap


def test_interval_agrees_with_the_arch_package() -> None:
    values = autocorrelated(300, seed=3, mean=0.2)
    ours = bootstrap(300, draws=4000, block_days=5).estimate(
        statistics.ratio, np.stack([values, np.ones(300)], axis=1), 300
    )
    theirs = StationaryBootstrap(5, values, seed=11).conf_int(np.mean, 4000, method="percentile", size=0.95).ravel()
    spread = theirs[1] - theirs[0]
    assert ours.value == pytest.approx(values.mean())
    assert [ours.lower, ours.upper] == pytest.approx(list(theirs), abs=0.05 * spread)


def test_blocks_widen_the_interval_of_dependent_days() -> None:
    values = autocorrelated(300, seed=5)
    daily = np.stack([values, np.ones(300)], axis=1)
    single = bootstrap(300, block_days=1).estimate(statistics.ratio, daily, 300)
    blocks = bootstrap(300, block_days=6).estimate(statistics.ratio, daily, 300)
    assert blocks.upper - blocks.lower > 1.15 * (single.upper - single.lower)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(120):
        values = autocorrelated(120, seed=seed)
        daily = np.stack([values, np.ones(120)], axis=1)
        found = bootstrap(120, draws=300, block_days=4, seed=seed).estimate(statistics.ratio, daily, 120)
        covered += found.lower <= 0 <= found.upper
    assert 0.86 <= covered / 120 <= 1.0  # percentile intervals run a little short of 0.95


def test_more_draws_extend_fewer_and_the_seed_decides() -> None:
    few = statistics.stationary_indices(40, 5, 10, seed=9)
    assert np.array_equal(few, statistics.stationary_indices(40, 5, 25, seed=9)[:10])
    assert not np.array_equal(few, statistics.stationary_indices(40, 5, 10, seed=10))


@given(st.integers(2, 60), st.floats(1, 20))
def test_every_draw_holds_as_many_days_as_the_sample_in_blocks(days: int, block: float) -> None:
    indices = statistics.stationary_indices(days, block, 5, seed=2)
    assert indices.shape == (5, days)
    assert indices.min() >= 0 and indices.max() < days
    weights = Bootstrap.over_days(days, block_days=block, draws=5, confidence=0.9, seed=2).weights
    for draw in range(5):
        assert np.array_equal(weights[draw], np.bincount(indices[draw], minlength=days))


def test_mean_block_length_is_the_one_asked_for() -> None:
    indices = statistics.stationary_indices(500, 5, 200, seed=4)
    joined = (np.diff(indices, axis=1) % 500) == 1
    assert 1 / (1 - joined.mean()) == pytest.approx(5, rel=0.05)


def test_an_undefined_statistic_has_no_bounds_and_one_day_is_refused() -> None:
    empty = bootstrap(10).estimate(statistics.ratio, np.zeros((10, 2)), 0)
    assert (empty.value, empty.lower, empty.upper, empty.n) == (None, None, None, 0)
    with pytest.raises(BadInput, match="1 test days"):
        bootstrap(1)


# --- Sharpe


@pytest.mark.parametrize("trials", [1, 2, 7, 50])
def test_deflated_sharpe_agrees_with_purgedcv(trials: int) -> None:
    returns = np.random.default_rng(trials).standard_t(5, 210) * 0.01 + 0.001
    sharpes = np.random.default_rng(99).normal(0, 0.08, trials)
    sharpe = returns.mean() / returns.std()
    skew, kurtosis = stats.skew(returns, bias=False), stats.kurtosis(returns, bias=False, fisher=False)
    ours = statistics.deflated_sharpe(sharpe, 210, skew, kurtosis, list(sharpes))
    variance = float(np.var(sharpes, ddof=1)) if trials > 1 else 0.0
    assert ours == pytest.approx(deflated_sharpe_ratio(returns, trials, variance), abs=1e-12)
    if trials == 1:
        assert ours == pytest.approx(probabilistic_sharpe_ratio(returns, 0.0), abs=1e-12)


@given(st.floats(-0.3, 0.3), st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=20))
def test_more_luck_in_the_trials_never_raises_the_deflated_sharpe(sharpe: float, trials: list[float]) -> None:
    alone = statistics.deflated_sharpe(sharpe, 100, 0.0, 3.0, [sharpe])
    among = statistics.deflated_sharpe(sharpe, 100, 0.0, 3.0, trials)
    assert 0 <= among <= alone + 1e-12


def test_deflated_sharpe_refuses_what_it_cannot_judge() -> None:
    for sharpe, n, kurtosis, trials in ((0.1, 1, 3.0, [0.1]), (0.1, 100, 3.0, []), (2.0, 100, -5.0, [2.0])):
        with pytest.raises(BadInput):
            statistics.deflated_sharpe(sharpe, n, 0.0, kurtosis, trials)


@given(st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=50))
def test_moments_and_sharpe_equal_scipy(values: list[float]) -> None:
    returns = np.array(values)
    skew, kurtosis = statistics.moments(returns)
    sums = np.array([[len(returns), returns.sum(), (returns**2).sum()]])
    if returns.var() > 1e-8:
        assert skew == pytest.approx(stats.skew(returns), abs=1e-6)
        assert kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-6)
        assert statistics.sharpe(sums)[0] == pytest.approx(returns.mean() / returns.std(), rel=1e-4, abs=1e-9)
    elif len(set(values)) == 1:
        assert (skew, kurtosis) == (0.0, 3.0) and math.isnan(statistics.sharpe(sums)[0])


# --- shares, overlap


@given(st.integers(1, 500), st.floats(0, 1))
def test_wilson_equals_scipy(n: int, share: float) -> None:
    hits = int(share * n)
    ours = statistics.wilson(hits, n, 0.95)
    theirs = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_wilson_of_68_wins_in_100() -> None:
    found = statistics.wilson(68, 100, 0.95)
    assert (round(found.lower, 2), round(found.upper, 2)) == (0.58, 0.76)
    assert statistics.wilson(0, 0, 0.95).value is None


def slow_uniqueness(bars: list[int], horizon: int) -> float:
    alive = {}
    for start in bars:
        for bar in range(start, start + horizon):
            alive[bar] = alive.get(bar, 0) + 1
    return sum(sum(1 / alive[bar] for bar in range(s, s + horizon)) / horizon for s in bars)


@given(st.sets(st.integers(0, 200), min_size=1, max_size=60), st.integers(1, 12))
def test_effective_sample_size_equals_its_definition(bars: set[int], horizon: int) -> None:
    index = np.array(sorted(bars)) + 5_000_000
    found = statistics.effective_sample_size(index, horizon)
    assert found == pytest.approx(slow_uniqueness(list(index), horizon))
    assert len(bars) / horizon - 1e-9 <= found <= len(bars) + 1e-9


def test_labels_of_three_bars_are_worth_a_third_and_disjoint_ones_their_number() -> None:
    assert statistics.effective_sample_size(np.arange(3000), 3) == pytest.approx(1000, rel=0.002)
    assert statistics.effective_sample_size(np.arange(0, 3000, 3), 3) == pytest.approx(1000)
    assert statistics.effective_sample_size(np.zeros(0, np.int64), 3) == 0


def test_debiasing_takes_the_binomial_noise_off_the_squared_gap() -> None:
    generator = np.random.default_rng(0)
    for true_gap in (0.0, 0.04):
        squares = []
        for _ in range(400):
            count = np.full(10, 100)
            rate = generator.binomial(count, 0.5) / count
            gap = (0.5 + true_gap - rate)[None]
            variance = rate * (1 - rate) / (count - 1)
            squares.append(np.sum(np.full((1, 10), 0.1) * (gap**2 - variance)))
            found = statistics.debiased_calibration_error(gap, np.full((1, 10), 0.1), variance)[0]
            assert found == pytest.approx(math.sqrt(max(squares[-1], 0)))
        assert np.mean(squares) == pytest.approx(true_gap**2, abs=1.5e-4)


# --- settings


def test_the_committed_section_parses_and_bad_values_name_the_key() -> None:
    good = {"bootstrap_draws": 2000, "bootstrap_block_days": 5, "confidence": "0.95"}
    assert parse(EvaluationParams, good, where="evaluation").confidence_level == 0.95
    for key, value in (
        ("confidence", "high"),
        ("confidence", "1"),
        ("confidence", 0.95),
        ("bootstrap_draws", 10),
        ("bootstrap_block_days", 0),
        ("bootstrap_drawz", 10),
    ):
        with pytest.raises(BadConfig, match=key):
            parse(EvaluationParams, good | {key: value}, where="evaluation")
