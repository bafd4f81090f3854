"""The stream against batch features and a model that remembers, at resets, warm-ups and restarts."""

import numpy as np
import pytest

from core.errors import BadInput
from core.records import PPM, PredictionFlag
from models.stream import Stream
from tests.features.walk import SPEC, batch, interleave, walk

LATENCY_NS = 7
WARMUP_BARS = 20


class Recorder:
    """A model whose ``move`` counts its steps since the last reset, and which keeps what it saw."""

    def __init__(self, n_instruments: int) -> None:
        self.count = [99] * n_instruments  # left over from somewhere else
        self.seen: list[tuple[int, bytes]] = []

    def step(self, instrument: int, x: np.ndarray) -> tuple[float, float, float, float]:
        self.count[instrument] += 1
        self.seen.append((instrument, x.tobytes()))
        return 0.25, 0.25, 0.5, float(self.count[instrument])

    def reset(self, instrument: int) -> None:
        self.count[instrument] = 0


def new_stream(recorder: Recorder, **options: int) -> Stream:
    options = {"warmup_bars": WARMUP_BARS, "latency_ns": LATENCY_NS} | options
    return Stream(SPEC, recorder, len(recorder.count), **options)


def play(stream: Stream, bars: np.ndarray) -> np.ndarray:
    return np.concatenate([stream.on_bar(bars[row : row + 1]) for row in range(len(bars))])


@pytest.fixture(scope="module")
def bars() -> np.ndarray:
    """Two instruments, the first with an outage that restarts it."""
    return interleave(walk(800, 1, outages=((400, 20),)), walk(500, 2, lost=0.05, instrument=1))


def test_the_model_sees_exactly_the_ready_rows_of_the_batch(bars: np.ndarray) -> None:
    recorder = Recorder(2)
    predictions = play(new_stream(recorder), bars)
    features, ready, sigma = batch(bars)
    rows = np.flatnonzero(ready)
    assert recorder.seen == [(int(bars["instrument"][row]), features[row].tobytes()) for row in rows]
    assert np.array_equal(predictions["sigma_ppm"][rows], np.ceil(sigma[rows] * PPM).astype(np.int64))
    for name in ("instrument", "ts_event"):
        assert np.array_equal(predictions[name], bars[name])
    assert np.array_equal(predictions["bar_ts"], bars["ts_event"])
    assert np.array_equal(predictions["ts_known"], bars["ts_known"] + LATENCY_NS)


def test_flags_and_resets_follow_the_runs_of_ready_rows(bars: np.ndarray) -> None:
    predictions = play(new_stream(Recorder(2)), bars)
    _, ready, sigma = batch(bars)
    for instrument in (0, 1):
        own = np.flatnonzero(bars["instrument"] == instrument)
        steps, count = [], 0
        for is_ready in ready[own]:
            count = count + 1 if is_ready else 0
            steps.append(count)
        steps = np.array(steps)
        warm = predictions["flags"][own] & PredictionFlag.WARMUP != 0
        assert np.array_equal(warm, steps <= WARMUP_BARS)
        moves = np.floor(steps * sigma[own] * PPM)  # the model's move is its own count: a missed reset would show
        assert np.array_equal(predictions["edge_ppm"][own], moves.astype(np.int64))
    own = ready[bars["instrument"] == 0]
    assert (np.diff(own.astype(int)) == 1).sum() == 2  # both runs of the first instrument were there


def test_bars_of_the_warm_up_prefix_are_flagged_but_seen(bars: np.ndarray) -> None:
    plain, prefixed = Recorder(2), Recorder(2)
    cut = int(bars["ts_event"][700])
    before = play(new_stream(plain), bars)
    after = play(new_stream(prefixed, trade_from_ns=cut), bars)
    assert plain.seen == prefixed.seen
    late = bars["ts_event"] > cut
    assert (after["flags"][~late] == PredictionFlag.WARMUP).all()
    assert after[late].tobytes() == before[late].tobytes() and (after["flags"][late] == 0).any()


def test_read_only_rows_of_a_tape_are_taken(bars: np.ndarray) -> None:
    frozen = bars[:5].copy()
    frozen.flags.writeable = False
    assert len(play(new_stream(Recorder(2)), frozen)) == 5


def test_a_refused_bar_changes_nothing(bars: np.ndarray) -> None:
    whole = play(new_stream(Recorder(2)), bars[:650])
    stream = new_stream(Recorder(2))
    play(stream, bars[:600])
    foreign, stale = bars[600:601].copy(), bars[500:501]
    foreign["instrument"] = 2
    for bad, message in ((foreign, "instrument 2; this stream has 2"), (stale, "whole number of intervals")):
        with pytest.raises(BadInput, match=message):
            stream.on_bar(bad)
    assert play(stream, bars[600:650]).tobytes() == whole[600:].tobytes()
