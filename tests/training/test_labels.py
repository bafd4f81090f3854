"""Labels: the close exactly one horizon later, never across a gap, known when that bar is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadConfig
from core.settings import parse
from tests.features.walk import INTERVAL_NS, LATENCY_NS, interleave, walk
from training.labels import DOWN, FLAT, NEVER_NS, NULL, UP, LabelParams, make, still_open

PARAMS = LabelParams()


def test_a_label_uses_the_close_one_horizon_later() -> None:
    bars = walk(6, 1)
    bars["close"] = [1000, 1000, 1000, 1020, 1001, 980]
    made = make(bars, np.full(6, 0.01), PARAMS)
    assert made.label.tolist() == [UP, FLAT, DOWN, NULL, NULL, NULL]
    np.testing.assert_allclose(made.label_return[:3], np.log([1.02, 1.001, 0.98]) / 0.01, rtol=1e-6)
    assert made.label_return[3:].tolist() == [0, 0, 0]
    assert made.known_at.tolist() == [*bars["ts_known"][3:], NEVER_NS, NEVER_NS, NEVER_NS]


def test_no_label_reaches_across_a_gap() -> None:
    bars = walk(40, 1, outages=((10, 5),))
    made = make(bars, np.full(len(bars), 0.01), PARAMS)
    assert (made.label[7:10] == NULL).all()  # their later bars, rows 10 to 12 of the grid, do not exist
    assert (made.label[:7] != NULL).all() and (made.label[10:-3] != NULL).all()


def test_a_row_without_sigma_has_no_label() -> None:
    made = make(walk(10, 1), np.zeros(10), PARAMS)
    assert (made.label == NULL).all() and np.isfinite(made.label_return).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    lost=st.sampled_from([0.0, 0.1, 0.5]),
    horizon=st.sampled_from([5, 15, 60]),
    zone=st.sampled_from(["0", "0.25", "1.5"]),
)
def test_labels_equal_a_dictionary_of_closes(seed: int, lost: float, horizon: int, zone: str) -> None:
    params = LabelParams(horizon_minutes=horizon, dead_zone_sigma=zone)
    bars = interleave(walk(80, seed, lost=lost), walk(60, seed + 1, lost=lost, instrument=1))
    sigma = np.random.default_rng(seed).choice([0.0, 1e-3, 2e-3], len(bars))
    made = make(bars, sigma, params)
    by_time = {(int(bar["instrument"]), int(bar["ts_event"])): bar for bar in bars}
    for row, bar in enumerate(bars):
        later = by_time.get((int(bar["instrument"]), int(bar["ts_event"]) + params.horizon_ns))
        if later is None or sigma[row] == 0:
            assert (made.label[row], made.known_at[row], made.label_return[row]) == (NULL, NEVER_NS, 0)
            continue
        moved = np.log(float(later["close"]) / float(bar["close"])) / sigma[row]
        assert made.label[row] == (UP if moved > float(zone) else DOWN if moved < -float(zone) else FLAT)
        assert made.label_return[row] == pytest.approx(moved, rel=1e-6)
        assert made.known_at[row] == later["ts_known"] == later["ts_event"] + LATENCY_NS


def test_finer_ticks_change_no_label() -> None:
    """FEAT-11."""
    bars = walk(500, 4)
    finer = bars.copy()
    finer["close"] *= 1_000
    sigma = np.full(len(bars), 2e-3)
    coarse, fine = make(bars, sigma, PARAMS), make(finer, sigma, PARAMS)
    assert np.array_equal(coarse.label, fine.label)
    np.testing.assert_allclose(coarse.label_return, fine.label_return, rtol=1e-6)


def test_rows_wait_until_their_own_instrument_has_passed_the_horizon() -> None:
    bars = interleave(walk(10, 1), walk(6, 2, instrument=1))
    waiting = bars[still_open(bars, PARAMS.horizon_ns)]
    assert [(waiting["instrument"] == k).sum() for k in (0, 1)] == [3, 3]
    last = bars["ts_event"][bars["instrument"] == 1].max()
    assert (waiting["ts_event"][waiting["instrument"] == 1] + 3 * INTERVAL_NS > last).all()


@pytest.mark.parametrize(
    "fields",
    [{"horizon_minutes": 0}, {"dead_zone_sigma": "wide"}, {"dead_zone_sigma": "-1"}, {"dead_zone_sigma": "NaN"}],
)
def test_bad_parameters_are_refused_by_name(fields: dict) -> None:
    with pytest.raises(BadConfig, match=next(iter(fields))):
        parse(LabelParams, fields, where="labels")


def test_the_hash_follows_the_meaning_not_the_spelling() -> None:
    assert LabelParams(dead_zone_sigma="0.250").hash == PARAMS.hash
    assert len({PARAMS.hash, LabelParams(dead_zone_sigma="0.3").hash, LabelParams(horizon_minutes=30).hash}) == 3
