"""Folds: literal expected days, separation on every history, an oracle, and tampering that must be found."""

from itertools import pairwise

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from purgedcv import purge

from core.errors import BadConfig, BadInput, Refused
from core.records import DAY_NS
from core.settings import parse
from tests.features.walk import INTERVAL_NS, LATENCY_NS, START_NS, walk
from training.labels import NEVER_NS, LabelParams, make
from training.splits import SplitParams, verify, walk_forward

HOUR_NS = DAY_NS // 24
DAY_ZERO = 19_783  # 2024-03-01
WARMUP_NS = 288 * INTERVAL_NS


def history(days: int, step_ns: int = HOUR_NS, horizon_ns: int = HOUR_NS, first_day: int = DAY_ZERO):
    """Bars closing every ``step_ns`` for whole days, and when each bar's label is known."""
    ts = first_day * DAY_NS + np.arange(1, days * DAY_NS // step_ns + 1) * step_ns
    known = ts + horizon_ns + LATENCY_NS
    known[ts + horizon_ns > ts[-1]] = NEVER_NS
    return ts, known


def days_of(fold) -> tuple:
    """Bounds in days since the history began; the ends before a purge as they are."""
    bounds = (fold.train_start, fold.calibrate_start, fold.test_start, fold.test_end)
    return tuple((bound // DAY_NS - DAY_ZERO) for bound in bounds)


def test_400_days_give_these_folds() -> None:
    folds = walk_forward(*history(400), SplitParams(), WARMUP_NS)
    assert [days_of(fold) for fold in folds] == [
        (10, 175, 190, 220),
        (40, 205, 220, 250),
        (70, 235, 250, 280),
        (100, 265, 280, 310),
        (130, 295, 310, 340),
        (160, 325, 340, 370),
        (190, 355, 370, 400),
    ]
    assert [fold.index for fold in folds] == list(range(7))
    for fold in folds:  # hourly bars, labels one hour plus the feed's latency later: the last bar before is dropped
        assert fold.train_end == fold.calibrate_start - HOUR_NS
        assert fold.calibrate_end == fold.test_start - HOUR_NS


def test_an_embargo_widens_the_purge() -> None:
    params = SplitParams(embargo_minutes=180)
    for fold in walk_forward(*history(400), params, WARMUP_NS):
        assert fold.train_end == fold.calibrate_start - 4 * HOUR_NS
        assert fold.calibrate_end == fold.test_start - 4 * HOUR_NS


def test_a_label_known_late_pulls_the_end_of_its_block_back() -> None:
    ts, known = history(400)
    plain = walk_forward(ts, known, SplitParams(), WARMUP_NS)[3]
    row = int(np.flatnonzero(ts == plain.calibrate_start - 5 * HOUR_NS)[0])
    known[row] = plain.calibrate_start  # known the very moment calibration starts: not before it
    late = walk_forward(ts, known, SplitParams(), WARMUP_NS)[3]
    assert late.train_end == ts[row] and late.calibrate_end == plain.calibrate_end


def test_rows_without_a_label_shorten_no_block() -> None:
    ts, known = history(400)
    plain = walk_forward(ts, known, SplitParams(), WARMUP_NS)
    known[np.random.default_rng(1).random(len(ts)) < 0.3] = NEVER_NS
    for fold, before in zip(walk_forward(ts, known, SplitParams(), WARMUP_NS), plain, strict=True):
        assert (fold.train_start, fold.test_start, fold.test_end) == (
            before.train_start,
            before.test_start,
            before.test_end,
        )
        assert fold.calibrate_start - fold.train_end <= HOUR_NS and fold.test_start - fold.calibrate_end <= HOUR_NS


def test_a_label_known_as_the_next_block_starts_is_refused() -> None:
    ts, known = history(400)
    folds = walk_forward(ts, known, SplitParams(), WARMUP_NS)
    known[np.flatnonzero(ts < folds[2].calibrate_end)[-1]] = folds[2].test_start
    with pytest.raises(Refused, match="fold 2: a calibrate label"):
        verify(folds[:3], ts, known)


@settings(max_examples=60, deadline=None)
@given(
    days=st.integers(20, 60),
    train=st.integers(4, 20),
    test=st.integers(1, 9),
    embargo=st.sampled_from([0, 7, 600]),
    horizon=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_no_block_knows_anything_of_a_later_one(days, train, test, embargo, horizon, seed) -> None:
    params = SplitParams(train_days=train, calibrate_days=train // 3 or 1, test_days=test, embargo_minutes=embargo)
    rng = np.random.default_rng(seed)
    ts, known = history(days, horizon_ns=horizon * HOUR_NS)
    keep = rng.random(len(ts)) < 0.9
    ts, known = ts[keep], known[keep] + rng.integers(0, 3 * HOUR_NS, keep.sum()) * (known[keep] != NEVER_NS)
    try:
        folds = walk_forward(ts, known, params, 0)
    except BadInput as error:
        assert "needed for two folds" in str(error)
        assert days < train + 2 * test + 2
        return
    labelled = known != NEVER_NS
    for fold in folds:
        blocks = [
            np.flatnonzero(labelled & (ts >= start) & (ts < end))
            for start, end in (
                (fold.train_start, fold.train_end),
                (fold.calibrate_start, fold.calibrate_end),
                (fold.test_start, fold.test_end),
            )
        ]
        assert all(len(block) for block in blocks)
        assert known[blocks[0]].max() < fold.calibrate_start - params.embargo_ns
        assert known[blocks[1]].max() < fold.test_start - params.embargo_ns
        assert fold.test_start - fold.train_start == train * DAY_NS
        assert fold.test_end - fold.test_start == test * DAY_NS
    tests = [(fold.test_start, fold.test_end) for fold in folds]
    assert all(end == start for (_, end), (start, _) in pairwise(tests))
    assert ts.max() - DAY_NS < folds[-1].test_end <= ts.max()


def test_the_purge_equals_purgedcv() -> None:
    """Its label intervals are half-open: one nanosecond later makes 'known when the block starts' count as overlap."""
    ts, known = history(60, horizon_ns=5 * HOUR_NS)
    params = SplitParams(train_days=20, calibrate_days=5, test_days=10)
    times = pd.Series(pd.to_datetime(ts))
    known_after = pd.Series(pd.to_datetime(np.where(known == NEVER_NS, ts + 5 * HOUR_NS, known) + 1))
    for fold in walk_forward(ts, known, params, 0):
        train = np.flatnonzero((ts >= fold.train_start) & (ts < fold.calibrate_start))
        calibrate = np.flatnonzero((ts >= fold.calibrate_start) & (ts < fold.test_start))
        test = np.flatnonzero((ts >= fold.test_start) & (ts < fold.test_end))
        assert np.array_equal(purge(train, calibrate, times, known_after), train[ts[train] < fold.train_end])
        assert np.array_equal(purge(calibrate, test, times, known_after), calibrate[ts[calibrate] < fold.calibrate_end])


def test_real_labels_of_a_tape_purge_to_the_bar() -> None:
    bars = walk(288 * 40, 1)
    made = make(bars, np.full(len(bars), 1e-3), LabelParams())
    params = SplitParams(train_days=20, calibrate_days=5, test_days=10)
    folds = walk_forward(bars["ts_event"], made.known_at, params, WARMUP_NS)
    assert [fold.test_end for fold in folds] == [START_NS + 30 * DAY_NS, START_NS + 40 * DAY_NS]
    assert folds[0].train_end == folds[0].calibrate_start - 3 * INTERVAL_NS  # 15 minutes of labels


@pytest.mark.parametrize("days", [100, 209, 210, 239])
def test_too_little_history_and_a_single_static_split_are_refused_with_the_numbers(days: int) -> None:
    with pytest.raises(BadInput, match=rf"{days} full days .* 240 needed"):
        walk_forward(*history(days), SplitParams(), WARMUP_NS)
    assert len(walk_forward(*history(240), SplitParams(), WARMUP_NS)) == 2


def test_a_training_block_within_the_warm_up_is_refused() -> None:
    params = SplitParams(train_days=2, calibrate_days=1, test_days=1)
    with pytest.raises(BadInput, match="warm-up"):
        walk_forward(*history(30), params, WARMUP_NS)


def test_a_block_without_labels_is_refused() -> None:
    ts, known = history(240)
    known[(ts >= (DAY_ZERO + 190) * DAY_NS) & (ts < (DAY_ZERO + 225) * DAY_NS)] = NEVER_NS
    with pytest.raises(BadInput, match="0 labelled rows"):
        walk_forward(ts, known, SplitParams(), WARMUP_NS)


def test_no_rows_at_all_are_refused() -> None:
    with pytest.raises(BadInput, match="0 rows"):
        walk_forward(np.zeros(0, np.int64), np.zeros(0, np.int64), SplitParams(), WARMUP_NS)


@pytest.mark.parametrize(
    ("fold", "change", "message"),
    [
        (0, lambda f: {"train_end": f.calibrate_start}, "fold 0: a train label"),
        (1, lambda f: {"calibrate_end": f.test_start}, "fold 1: a calibrate label"),
        (1, lambda f: {"test_start": f.test_start - DAY_NS}, "fold 1: a calibrate label|fold 1: bounds"),
        (0, lambda f: {"train_start": f.test_end}, "fold 0: bounds"),
        (1, lambda f: {"index": 5}, "fold 5 stands at position 1"),
        (0, lambda f: {"test_end": f.test_end + 1}, "fold 1: its test starts"),
    ],
)
def test_tampered_folds_are_refused_by_name(fold: int, change, message: str) -> None:
    ts, known = history(400)
    folds = walk_forward(ts, known, SplitParams(), WARMUP_NS)
    folds[fold] = msgspec.structs.replace(folds[fold], **change(folds[fold]))
    with pytest.raises(Refused, match=message):
        verify(folds, ts, known)


def test_no_folds_are_refused() -> None:
    with pytest.raises(Refused, match="0 given"):
        verify([], *history(10))


@pytest.mark.parametrize(
    "fields",
    [
        {"test_days": 0},  # everything else for training: a static split
        {"calibrate_days": 0},
        {"calibrate_days": 180},
        {"embargo_minutes": -1},
        {"embargo_minutes": 15 * 1440},
        {"shuffle": True},
    ],
)
def test_bad_parameters_are_refused_by_name(fields: dict) -> None:
    with pytest.raises(BadConfig, match=next(iter(fields))):
        parse(SplitParams, fields, where="splits")
