"""Nothing known at t depends on what comes after t: a thousand futures, refits included, and a leak that is caught."""

import numpy as np
import pytest

from features import scaling
from tests.causality.checker import Known, as_of, assert_causal, random_times
from tests.features.walk import SPEC, batch, interleave, walk
from training.labels import NEVER_NS, LabelParams, make


@pytest.fixture(scope="module")
def tape() -> np.ndarray:
    """Two interleaved instruments with lost bars and a restart."""
    return interleave(walk(1_000, 5, lost=0.02, outages=((500, 30),)), walk(1_000, 6, lost=0.02, instrument=1))


def features_and_labels(bars: np.ndarray, t: int) -> dict[str, Known]:
    out, ready, sigma = batch(bars)
    labels = make(bars, sigma, LabelParams())
    known = bars["ts_known"].astype(np.int64)
    named = {name: Known(out[:, column], known) for column, name in enumerate(SPEC.names)}
    for name in ("label", "label_return", "known_at"):
        named[name] = Known(getattr(labels, name), labels.known_at)
    return named | {"ready": Known(ready, known), "sigma": Known(sigma, known)}


def refits(bars: np.ndarray, t: int) -> dict[str, Known]:
    """What a fold ending at ``t`` fits: the scaler, and the shares of the volatility regimes and classes."""
    out, ready, sigma = batch(bars)
    labels = make(bars, sigma, LabelParams())
    rows = np.flatnonzero(ready & (labels.known_at < t))
    if not len(rows):
        return {}
    fitted = scaling.fit(out, rows)
    regimes = np.unique(out[rows, SPEC.names.index("volatility_regime")], return_counts=True)
    classes = np.bincount(labels.label[rows], minlength=3)
    return {
        "scaler": as_of(t, fitted.mean, fitted.std),
        "regimes": as_of(t, *regimes),
        "classes": as_of(t, classes),
    }


def test_features_and_labels_at_a_thousand_times(tape: np.ndarray) -> None:
    assert_causal(features_and_labels, tape, random_times(tape, 1_000))


def test_what_is_refitted_as_of_a_time(tape: np.ndarray) -> None:
    assert_causal(refits, tape, random_times(tape, 1_000, seed=1))


def leak_next_close(bars: np.ndarray, t: int) -> Known:
    """The close of the next row."""
    return Known(np.roll(bars["close"], -1), bars["ts_known"])


def leak_centred(bars: np.ndarray, t: int) -> Known:
    """A z-score over the whole history: mean and deviation know the future."""
    close = bars["close"].astype(float)
    return Known((close - close.mean()) / close.std(), bars["ts_known"])


def leak_label(bars: np.ndarray, t: int) -> Known:
    """A right label that claims to be known with its own bar."""
    return Known(make(bars, np.full(len(bars), 1e-3), LabelParams()).label_return, bars["ts_known"])


def leak_scaler(bars: np.ndarray, t: int) -> Known:
    """A scaler fitted on every row, those after ``t`` too."""
    out, ready, _ = batch(bars)
    fitted = scaling.fit(out, np.flatnonzero(ready))
    return as_of(t, fitted.mean, fitted.std)


def leak_purge(bars: np.ndarray, t: int) -> Known:
    """A class share over rows that end before ``t``, but whose labels do not: no purge."""
    labels = make(bars, np.full(len(bars), 1e-3), LabelParams())
    rows = (bars["ts_known"] <= t) & (labels.known_at != NEVER_NS)
    return as_of(t, np.bincount(labels.label[rows], minlength=3))


@pytest.mark.parametrize("leak", [leak_next_close, leak_centred, leak_label, leak_scaler, leak_purge])
def test_a_planted_leak_is_caught_among_honest_features(tape: np.ndarray, leak) -> None:
    def compute(bars: np.ndarray, t: int) -> dict[str, Known]:
        return features_and_labels(bars, t) | {leak.__name__: leak(bars, t)}

    times = np.sort(random_times(tape, 20))[2:-2]
    with pytest.raises(AssertionError, match=leak.__name__):
        assert_causal(compute, tape, times)


def test_every_prefix_gives_the_whole_tapes_features(tape: np.ndarray) -> None:
    bars = tape[:800]
    out, ready, sigma = batch(bars)
    for n in range(1, len(bars)):
        part = batch(bars[:n])
        assert [a.tobytes() for a in part] == [a[:n].tobytes() for a in (out, ready, sigma)]
