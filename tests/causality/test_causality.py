"""Features and labels of bars: nothing known at t depends on what comes after t, and a leak is caught.

With every timeframe on: the columns of longer bars, that is resampled ones, are under the same test as all others.
"""

import numpy as np
import polars as pl
import pytest

from core.records import HOUR_NS
from data.resample import Resampler
from features.spec import FeatureParams, bar_spec
from tests.causality.checker import Known, assert_causal, random_times, scramble
from tests.features.walk import INTERVAL_NS, batch, interleave, walk
from training.labels import NEVER_NS, LabelParams, make

TIMES = 1_000
SPEC = bar_spec(FeatureParams(timeframes_minutes=(15, 60, 240)), INTERVAL_NS, 3 * INTERVAL_NS)
FIRST = 1_400  # rows of the tape until there is something to say


@pytest.fixture(scope="module")
def tape() -> np.ndarray:
    """Two interleaved instruments with lost bars and a restart."""
    return interleave(walk(1_500, 5, lost=0.02, outages=((700, 30),)), walk(1_500, 6, lost=0.02, instrument=1))


def features_and_labels(bars: np.ndarray, t: int) -> dict[str, Known]:
    """Every column where it is ready, and when it is; labels where there are any."""
    out, ready, sigma = batch(bars, SPEC)
    labels = make(bars, sigma, LabelParams())
    known = bars["ts_known"].astype(np.int64)
    named = {name: Known(out[ready, column], known[ready]) for column, name in enumerate(SPEC.names)}
    for name in ("label", "label_return", "known_at"):
        named[f"labels.{name}"] = Known(getattr(labels, name), labels.known_at)
    return named | {"ready": Known(ready, known), "sigma": Known(sigma[ready], known[ready])}


def test_features_and_labels_at_a_thousand_times(tape: np.ndarray) -> None:
    told = assert_causal(features_and_labels, tape, random_times(tape[FIRST:-20], TIMES))
    assert len(told) == SPEC.n_features + 5 and set(told.values()) == {TIMES}
    assert not [name for name, known in features_and_labels(tape, 0).items() if np.ptp(1 * known.values) == 0]


def hours(bars: np.ndarray, t: int) -> dict[str, Known]:
    """The first instrument's hours from the resampler of ingest, known with the first bar that ends when they do."""
    bars = bars[bars["instrument"] == 0]
    columns = {name: bars[name].astype(np.int64) for name in ("open", "high", "low", "close", "volume")}
    opened = pl.Series("time", bars["ts_event"] - INTERVAL_NS).cast(pl.Datetime("ns", "UTC"))
    resampler = Resampler(INTERVAL_NS, HOUR_NS)
    made = pl.concat([resampler.push(pl.DataFrame({"time": opened} | columns)), resampler.flush()])
    row = np.searchsorted(bars["ts_event"], made["time"].dt.epoch("ns").to_numpy() + HOUR_NS)
    known = np.append(bars["ts_known"].astype(np.int64), NEVER_NS)[row]
    return {name: Known(made[name].to_numpy(), known) for name in columns}


def test_resampled_bars_at_a_thousand_times(tape: np.ndarray) -> None:
    told = assert_causal(hours, tape, random_times(tape[200:-60], TIMES))
    assert len(told) == 5 and set(told.values()) == {TIMES}

    def leaky(bars: np.ndarray, t: int) -> dict[str, Known]:
        return {name: Known(known.values, known.known_at - 1) for name, known in hours(bars, t).items()}

    with pytest.raises(AssertionError, match="known at"):
        assert_causal(leaky, tape, tape["ts_known"][200:300] - 1)


def test_minutes_of_an_hour_that_is_still_open_change_nothing(tape: np.ndarray) -> None:
    """Requirements FEAT-09: only bars of the open four hours after t are others; what follows them stays."""
    truth, rng = features_and_labels(tape, 0), np.random.default_rng(4)
    for t in random_times(tape[FIRST:-120], 200, seed=4):
        other = scramble(tape, t, rng)
        end = (t // (4 * HOUR_NS) + 1) * 4 * HOUR_NS
        other = np.concatenate([other[other["ts_event"] <= end], tape[tape["ts_event"] > end]])
        made = features_and_labels(other, t)
        assert [name for name in SPEC.names if truth[name].by(t) != made[name].by(t)] == []


def leak_next_close(bars: np.ndarray, t: int) -> Known:
    """The close of the next row."""
    return Known(np.roll(bars["close"], -1), bars["ts_known"])


def leak_centred(bars: np.ndarray, t: int) -> Known:
    """A z-score over the whole history: mean and deviation know the future."""
    close = bars["close"].astype(float)
    return Known((close - close.mean()) / close.std(), bars["ts_known"])


def leak_regime(bars: np.ndarray, t: int) -> Known:
    """Volatility regimes cut at the thirds of the whole history instead of the past."""
    _, ready, sigma = batch(bars, SPEC)
    return Known(np.digitize(sigma, np.quantile(sigma[ready], [1 / 3, 2 / 3])), bars["ts_known"])


def leak_label(bars: np.ndarray, t: int) -> Known:
    """A right label that claims to be known with its own bar."""
    return Known(make(bars, np.full(len(bars), 1e-3), LabelParams()).label_return, bars["ts_known"])


def leak_late_label(bars: np.ndarray, t: int) -> Known:
    """A right label that claims to be known one nanosecond before it is."""
    labels = make(bars, np.full(len(bars), 1e-3), LabelParams())
    return Known(labels.label_return, labels.known_at - 1)


def leak_open_hour(bars: np.ndarray, t: int) -> Known:
    """The close of the hour a bar lies in, while that hour is still open: the longer bar before its close."""
    hour = (bars["ts_event"] - INTERVAL_NS) // HOUR_NS * 2 + bars["instrument"]
    last = dict(zip(hour.tolist(), bars["close"].tolist(), strict=True))
    return Known(np.array([last[key] for key in hour.tolist()]), bars["ts_known"])


LEAKS = [leak_next_close, leak_centred, leak_regime, leak_open_hour, leak_label, leak_late_label]


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_caught_among_honest_features(tape: np.ndarray, leak) -> None:
    def compute(bars: np.ndarray, t: int) -> dict[str, Known]:
        return features_and_labels(bars, t) | {leak.__name__: leak(bars, t)}

    times = random_times(tape[FIRST:-20], 20)
    if leak is leak_late_label:
        times = tape["ts_known"][FIRST:-20] - 1  # it is wrong for 1 ns only: ask exactly then
    with pytest.raises(AssertionError, match=leak.__name__):
        assert_causal(compute, tape, times)


def test_every_prefix_gives_the_whole_tapes_features(tape: np.ndarray) -> None:
    bars = tape[:1_700]
    out, ready, sigma = batch(bars, SPEC)
    for n in range(1, len(bars)):
        part = batch(bars[:n], SPEC)
        assert [a.tobytes() for a in part] == [a[:n].tobytes() for a in (out, ready, sigma)]
