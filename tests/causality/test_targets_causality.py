"""Barriers, big moves, quantiles and priors claim to be known when they are: a thousand futures, and planted leaks."""

import numpy as np
import pytest

from core.records import DAY_NS
from tests.causality.checker import Known, assert_causal, random_times
from tests.features.walk import INTERVAL_NS, batch, interleave, walk
from training.labels import NULL, LabelParams, Labels, make
from training.targets import TargetParams, barriers, big_moves, priors, quantiles

LABEL = LabelParams()
PARAMS = TargetParams(quantiles=3, quantile_days=2)


@pytest.fixture(scope="module")
def tape() -> np.ndarray:
    """Two interleaved instruments over a few days, with lost bars."""
    return interleave(walk(1_000, 5, lost=0.02), walk(1_000, 6, lost=0.02, instrument=1))


def days_of(bars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    days, starts = np.unique(bars["ts_known"] // DAY_NS, return_index=True)
    return days, np.append(starts, len(bars))


def targets(bars: np.ndarray, t: int) -> dict[str, Known]:
    _, _, sigma = batch(bars)
    labels, ends = make(bars, sigma, LABEL), barriers(bars, sigma, INTERVAL_NS, PARAMS)
    (days, starts), place = days_of(bars), np.zeros(len(bars), np.int8)
    quantiles(days, starts, labels, LABEL.horizon_ns, PARAMS, place)
    named = {f"barrier_{name}": Known(getattr(ends, name), ends.known_at) for name in ("label", "label_return")}
    named |= {"big_move": Known(big_moves(labels, PARAMS), labels.known_at)}
    named |= {"quantile": Known(place, labels.known_at)}
    return named | {"priors": Known(priors(days, labels.label, labels.known_at), days * DAY_NS)}


def test_targets_at_a_thousand_times(tape: np.ndarray) -> None:
    assert (targets(tape, 0)["quantile"].values != NULL).sum() > 500
    assert_causal(targets, tape, random_times(tape, 1_000))


def leak_barrier(bars: np.ndarray, t: int) -> Known:
    """A barrier's end that claims to be known with its own bar."""
    return Known(barriers(bars, np.full(len(bars), 1e-3), INTERVAL_NS, PARAMS).label, bars["ts_known"])


def leak_quantile(bars: np.ndarray, t: int) -> Known:
    """Cut points of the whole history."""
    labels = make(bars, np.full(len(bars), 1e-3), LABEL)
    cuts = np.quantile(labels.label_return, (1 / 3, 2 / 3))
    return Known(np.searchsorted(cuts, labels.label_return), labels.known_at)


def leak_prior(bars: np.ndarray, t: int) -> Known:
    """A day's prior that counts the day itself."""
    labels = make(bars, np.full(len(bars), 1e-3), LABEL)
    days, _ = days_of(bars)
    return Known(priors(days + 1, labels.label, labels.known_at), days * DAY_NS)


def leak_big_move(bars: np.ndarray, t: int) -> Known:
    """Big against the deviation of all returns, not against sigma then."""
    labels = make(bars, np.full(len(bars), 1e-3), LABEL)
    scaled = labels.label_return / labels.label_return.std()
    return Known(big_moves(Labels(labels.label, labels.known_at, scaled), PARAMS), labels.known_at)


@pytest.mark.parametrize("leak", [leak_barrier, leak_quantile, leak_prior, leak_big_move])
def test_a_planted_leak_is_caught_among_honest_targets(tape: np.ndarray, leak) -> None:
    def compute(bars: np.ndarray, t: int) -> dict[str, Known]:
        return targets(bars, t) | {leak.__name__: leak(bars, t)}

    with pytest.raises(AssertionError, match=leak.__name__):
        assert_causal(compute, tape, np.sort(random_times(tape, 40))[2:-2])
