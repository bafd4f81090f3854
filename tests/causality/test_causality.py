"""Features and labels of bars: nothing known at t depends on what comes after t, and a leak is caught."""

import numpy as np
import pytest

from tests.causality.checker import Known, assert_causal, random_times
from tests.features.walk import SPEC, batch, interleave, walk
from training.labels import LabelParams, make

TIMES = 1_000


@pytest.fixture(scope="module")
def tape() -> np.ndarray:
    """Two interleaved instruments with lost bars and a restart."""
    return interleave(walk(1_000, 5, lost=0.02, outages=((500, 30),)), walk(1_000, 6, lost=0.02, instrument=1))


def features_and_labels(bars: np.ndarray, t: int) -> dict[str, Known]:
    """Every column where it is ready, and when it is; labels where there are any."""
    out, ready, sigma = batch(bars)
    labels = make(bars, sigma, LabelParams())
    known = bars["ts_known"].astype(np.int64)
    named = {name: Known(out[ready, column], known[ready]) for column, name in enumerate(SPEC.names)}
    for name in ("label", "label_return", "known_at"):
        named[f"labels.{name}"] = Known(getattr(labels, name), labels.known_at)
    return named | {"ready": Known(ready, known), "sigma": Known(sigma[ready], known[ready])}


def test_features_and_labels_at_a_thousand_times(tape: np.ndarray) -> None:
    told = assert_causal(features_and_labels, tape, random_times(tape[700:-20], TIMES))
    assert len(told) == SPEC.n_features + 5 and set(told.values()) == {TIMES}
    assert not [name for name, known in features_and_labels(tape, 0).items() if np.ptp(1 * known.values) == 0]


def leak_next_close(bars: np.ndarray, t: int) -> Known:
    """The close of the next row."""
    return Known(np.roll(bars["close"], -1), bars["ts_known"])


def leak_centred(bars: np.ndarray, t: int) -> Known:
    """A z-score over the whole history: mean and deviation know the future."""
    close = bars["close"].astype(float)
    return Known((close - close.mean()) / close.std(), bars["ts_known"])


def leak_regime(bars: np.ndarray, t: int) -> Known:
    """Volatility regimes cut at the thirds of the whole history instead of the past."""
    _, ready, sigma = batch(bars)
    return Known(np.digitize(sigma, np.quantile(sigma[ready], [1 / 3, 2 / 3])), bars["ts_known"])


def leak_label(bars: np.ndarray, t: int) -> Known:
    """A right label that claims to be known with its own bar."""
    return Known(make(bars, np.full(len(bars), 1e-3), LabelParams()).label_return, bars["ts_known"])


def leak_late_label(bars: np.ndarray, t: int) -> Known:
    """A right label that claims to be known one nanosecond before it is."""
    labels = make(bars, np.full(len(bars), 1e-3), LabelParams())
    return Known(labels.label_return, labels.known_at - 1)


@pytest.mark.parametrize("leak", [leak_next_close, leak_centred, leak_regime, leak_label, leak_late_label])
def test_a_planted_leak_is_caught_among_honest_features(tape: np.ndarray, leak) -> None:
    def compute(bars: np.ndarray, t: int) -> dict[str, Known]:
        return features_and_labels(bars, t) | {leak.__name__: leak(bars, t)}

    times = random_times(tape[700:-20], 20)
    if leak is leak_late_label:
        times = tape["ts_known"][700:-20] - 1  # it is wrong for 1 ns only: ask exactly then
    with pytest.raises(AssertionError, match=leak.__name__):
        assert_causal(compute, tape, times)


def test_every_prefix_gives_the_whole_tapes_features(tape: np.ndarray) -> None:
    bars = tape[:800]
    out, ready, sigma = batch(bars)
    for n in range(1, len(bars)):
        part = batch(bars[:n])
        assert [a.tobytes() for a in part] == [a[:n].tobytes() for a in (out, ready, sigma)]
