"""Triple barriers, big moves, quantiles and priors: equal to a plain loop, known when they say, of the past only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadConfig
from core.records import DAY_NS
from core.settings import parse
from tests.features.walk import INTERVAL_NS, interleave, walk
from training.labels import NEVER_NS, NULL, Labels
from training.targets import PROFIT, STOP, TIMEOUT, TargetParams, barriers, big_moves, priors, quantiles

PARAMS = TargetParams(barrier_minutes=15, take_profit_sigma="1", stop_loss_sigma="1")
SIGMA = 0.01


def path(*rows: tuple[int, int, int, int]) -> np.ndarray:
    """A bar at 1000, then bars of (open, high, low, close)."""
    bars = walk(len(rows) + 1, 1)
    for name, values in zip(("open", "high", "low", "close"), zip((1000,) * 4, *rows, strict=True), strict=True):
        bars[name] = values
    return bars


@pytest.mark.parametrize(
    ("rows", "label", "at", "left_at"),
    [
        ([(1000, 1005, 995, 1000), (1000, 1011, 999, 1000), (1000, 1000, 1000, 1000)], PROFIT, 2, 1000 * np.exp(0.01)),
        ([(1000, 1005, 989, 1000), (1000, 1011, 999, 1000), (1000, 1000, 1000, 1000)], STOP, 1, 1000 * np.exp(-0.01)),
        ([(1000, 1011, 989, 1000), (1000, 1000, 1000, 1000), (1000, 1000, 1000, 1000)], STOP, 1, 1000 * np.exp(-0.01)),
        ([(980, 985, 970, 975), (1000, 1000, 1000, 1000), (1000, 1000, 1000, 1000)], STOP, 1, 980),
        ([(1030, 1040, 1020, 1025), (1000, 1000, 1000, 1000), (1000, 1000, 1000, 1000)], PROFIT, 1, 1030),
        ([(1000, 1005, 995, 1000), (1000, 1005, 995, 1002), (1000, 1005, 995, 1004)], TIMEOUT, 3, 1004),
        ([(1000, 1005, 995, 1000), (1000, 1005, 995, 1002), (1000, 1011, 995, 1004)], PROFIT, 3, 1000 * np.exp(0.01)),
    ],
    ids=["profit", "stop", "both-is-stop", "opens-below", "opens-above", "timeout", "last-bar"],
)
def test_which_comes_first(rows: list, label: int, at: int, left_at: float) -> None:
    bars = path(*rows)
    made = barriers(bars, np.full(4, SIGMA), INTERVAL_NS, PARAMS)
    assert (made.label[0], made.known_at[0]) == (label, bars["ts_known"][at])
    assert made.label_return[0] == pytest.approx(np.log(left_at / 1000) / SIGMA, rel=1e-5)


def by_hand(bars: np.ndarray, row: int, sigma: float, params: TargetParams) -> tuple[int, int, float]:
    by_time = {(int(bar["instrument"]), int(bar["ts_event"])): bar for bar in bars}
    bar, steps = bars[row], params.barrier_ns // INTERVAL_NS
    close = float(bar["close"])
    profit = close * np.exp(float(params.take_profit_sigma) * sigma)
    stop = close * np.exp(-float(params.stop_loss_sigma) * sigma)
    for step in range(1, steps + 1):
        later = by_time.get((int(bar["instrument"]), int(bar["ts_event"]) + step * INTERVAL_NS))
        if later is None or sigma == 0:
            break
        opens = float(later["open"])
        if later["low"] <= stop:
            return STOP, int(later["ts_known"]), np.log(min(stop, opens) / close) / sigma
        if later["high"] >= profit:
            return PROFIT, int(later["ts_known"]), np.log(max(profit, opens) / close) / sigma
        if step == steps:
            return TIMEOUT, int(later["ts_known"]), np.log(float(later["close"]) / close) / sigma
    return NULL, NEVER_NS, 0.0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lost=st.sampled_from([0.0, 0.1, 0.5]),
    minutes=st.sampled_from([5, 15, 60]),
    width=st.sampled_from(["0.3", "1", "2.5"]),
)
def test_barriers_equal_a_walk_by_hand(seed: int, lost: float, minutes: int, width: str) -> None:
    params = TargetParams(barrier_minutes=minutes, take_profit_sigma=width, stop_loss_sigma="1")
    bars = interleave(walk(60, seed, lost=lost), walk(50, seed + 1, lost=lost, instrument=1))
    sigma = np.random.default_rng(seed).choice([0.0, 1e-3, 3e-3], len(bars))
    made = barriers(bars, sigma, INTERVAL_NS, params)
    for row in range(len(bars)):
        label, known_at, moved = by_hand(bars, row, float(sigma[row]), params)
        assert (made.label[row], made.known_at[row]) == (label, known_at)
        assert made.label_return[row] == pytest.approx(moved, rel=1e-5)


def day_rows(days: int, per_day: int, seed: int) -> tuple[np.ndarray, np.ndarray, Labels]:
    """``per_day`` rows a day, each known two hours later; returns of a day have a level of its own."""
    rng = np.random.default_rng(seed)
    ts = np.arange(days * per_day) * (DAY_NS // per_day)
    moved = (rng.normal(size=len(ts)) + rng.normal(size=days).repeat(per_day)).astype(np.float32)
    label = np.where(rng.random(len(ts)) < 0.1, NULL, np.sign(moved) + 1).astype(np.int8)
    known_at = np.where(label == NULL, NEVER_NS, ts + 2 * 3600 * 10**9)
    return np.arange(days), np.arange(days + 1) * per_day, Labels(label, known_at, np.where(label == NULL, 0, moved))


def of_past(days: np.ndarray, starts: np.ndarray, labels: Labels, params: TargetParams) -> np.ndarray:
    out = np.zeros(int(starts[-1]), np.int8)
    quantiles(days, starts, labels, 2 * 3600 * 10**9, params, out)
    return out


def test_quantiles_are_places_among_the_returns_of_the_days_before() -> None:
    params = TargetParams(quantiles=4, quantile_days=3)
    days, starts, labels = day_rows(12, 96, 5)
    found = of_past(days, starts, labels, params)
    for day in range(12):
        past = (labels.known_at >= (day - 3) * DAY_NS) & (labels.known_at < day * DAY_NS)
        own = slice(day * 96, day * 96 + 96)
        if past.sum() < 80:
            assert (found[own] == NULL).all()
            continue
        cuts = np.quantile(labels.label_return[past], [0.25, 0.5, 0.75])
        expected = (labels.label_return[own][:, None] >= cuts).sum(axis=1)
        assert found[own].tolist() == np.where(labels.label[own] == NULL, NULL, expected).tolist()
    assert set(found[96 * 2 :].tolist()) == {NULL, 0, 1, 2, 3}


def test_what_a_day_was_given_does_not_depend_on_it_or_on_what_follows() -> None:
    """FEAT-21: a later day changes the priors and cut points of none before it, its own included."""
    params = TargetParams(quantiles=4, quantile_days=3)
    days, starts, labels = day_rows(8, 96, 6)
    before, shares = of_past(days, starts, labels, params), priors(days, labels.label, labels.known_at)
    later = slice(5 * 96 - 8, None)  # known on day 5 and after
    changed = Labels(labels.label.copy(), labels.known_at, labels.label_return.copy())
    changed.label[later] = np.where(labels.label[later] == NULL, NULL, 2 - labels.label[later])
    changed.label_return[later] = -3 * labels.label_return[later] + 1
    again = priors(days, changed.label, changed.known_at)
    assert again[:6].tobytes() == shares[:6].tobytes() and again[6] != shares[6]
    after = of_past(days, starts, changed, params)
    assert (after[: 5 * 96 - 8] == before[: 5 * 96 - 8]).all() and (after != before).any()
    constant = Labels(labels.label, labels.known_at, labels.label_return.copy())
    constant.label_return[6 * 96 :] *= 100  # of days 6 and 7: the cut points of day 6 stay
    ours = of_past(days, starts, constant, params)[6 * 96 : 7 * 96]
    cut = labels.label_return[3 * 96 - 8 : 6 * 96 - 8]
    held = labels.label[3 * 96 - 8 : 6 * 96 - 8] != NULL
    expected = np.searchsorted(
        np.quantile(cut[held], [0.25, 0.5, 0.75]), constant.label_return[6 * 96 : 7 * 96], "right"
    )
    assert ours.tolist() == np.where(labels.label[6 * 96 : 7 * 96] == NULL, NULL, expected).tolist()


def test_a_prior_is_the_mean_over_the_labels_known_before_the_day() -> None:
    days, _, labels = day_rows(5, 48, 7)
    made = priors(days, labels.label, labels.known_at)
    assert made["count"][0] == 0 and np.isnan(made["share"][0]).all()
    for day in range(1, 5):
        known = labels.label[labels.known_at < day * DAY_NS]
        assert made["count"][day] == len(known)
        assert made["share"][day] == pytest.approx([(known == k).mean() for k in range(3)])
    sparse = np.array([0, 3])  # labels known on days without rows count from the next day that has some
    assert priors(sparse, labels.label[:48], labels.known_at[:48])["count"].tolist() == [
        0,
        (labels.label[:48] != NULL).sum(),
    ]


def test_big_moves() -> None:
    labels = Labels(
        np.array([2, 0, 1, NULL], np.int8), np.zeros(4, np.int64), np.array([2.1, -2.1, 2.0, 0], np.float32)
    )
    assert big_moves(labels, TargetParams()).tolist() == [1, 1, 0, NULL]


def test_finer_ticks_change_no_barrier() -> None:
    """FEAT-11."""
    bars = walk(400, 4)
    finer = bars.copy()
    for name in ("open", "high", "low", "close"):
        finer[name] *= 1_024  # a power of two: the barriers' arithmetic rounds alike
    sigma = np.full(len(bars), 2e-3)
    coarse, fine = (barriers(item, sigma, INTERVAL_NS, TargetParams()) for item in (bars, finer))
    assert np.array_equal(coarse.label, fine.label) and np.array_equal(coarse.known_at, fine.known_at)


@pytest.mark.parametrize(
    "fields",
    [
        {"barrier_minutes": 0},
        {"take_profit_sigma": "0"},
        {"stop_loss_sigma": "-1"},
        {"quantiles": 1},
        {"quantile_days": 0},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_bad_parameters_are_refused_by_name(fields: dict) -> None:
    with pytest.raises(BadConfig, match=next(iter(fields))):
        parse(TargetParams, fields, where="targets")


def test_barriers_between_two_bars_are_refused() -> None:
    with pytest.raises(BadConfig, match=r"targets.barrier_minutes is 7, bars are 5 minutes: use a multiple"):
        barriers(walk(3, 1), np.ones(3), INTERVAL_NS, TargetParams(barrier_minutes=7))


def test_the_hash_follows_the_meaning_not_the_spelling() -> None:
    assert TargetParams(big_move_sigma="2.0").hash == TargetParams().hash != TargetParams(quantiles=4).hash
