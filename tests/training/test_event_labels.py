"""Labels of events: closed forms, when they are known, and where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadConfig
from features.market_state import EXTRA, MARKET_STATE, RESTART_GAP_NS
from tests.features.test_market_state import market, play
from training.event_labels import (
    CLOCK_HORIZONS_NS,
    COLUMNS,
    EVENT_HORIZONS,
    EventLabelParams,
    counts,
    look_ahead,
    make,
    priors,
)
from training.labels import NEVER_NS

MS = 1_000_000
PARAMS = EventLabelParams(k_sigma="0.5")


def lane(ts_ms: list[float], mid2: list[int], spread: int = 2, sigma: float = 0.0) -> tuple[np.ndarray, ...]:
    states, extra = np.zeros(len(ts_ms), MARKET_STATE), np.zeros(len(ts_ms), EXTRA)
    states["ts"], states["spread_ticks"] = np.array(ts_ms) * MS + 10**18, spread
    extra["mid2"], extra["sigma"] = mid2, sigma
    return states, extra, np.ones(len(ts_ms), bool)


def column(made: np.ndarray, name: str) -> list[float]:
    return [None if np.isnan(value) else float(value) for value in made[:, COLUMNS.index(name)]]


def test_the_closed_form() -> None:
    """Mids of 100, 101, 101.5, 99 ticks, a spread of 2; 100 ms later counts the last event until then."""
    made = make(*lane([0, 50, 100, 201], [200, 202, 203, 198]), PARAMS)
    assert column(made.delta_hat, "delta_1") == [0.5, 0.25, -1.25, None]
    assert column(made.delta_hat, "delta_5") == [None] * 4
    assert column(made.delta_hat, "delta_100ms") == [0.75, 0.25, 0.0, None]
    known = made.known_at - 10**18
    assert known[:3, 0].tolist() == [50 * MS, 100 * MS, 201 * MS]
    assert known[:3, 3].tolist() == [100 * MS, 150 * MS, 200 * MS]
    assert (made.known_at[np.isnan(made.delta_hat)] == NEVER_NS).all()


@pytest.mark.parametrize(("k", "scale"), [("0.3", 6.0), ("0.5", 10.0), ("0.7", 14.0), ("0.01", 2.0)])
def test_spread_or_sigma_whichever_is_larger(k: str, scale: float) -> None:
    made = make(*lane([0, 1], [200, 240], sigma=20.0), EventLabelParams(k_sigma=k))
    assert made.delta_hat[0, 0] == pytest.approx(20 / scale)


def test_a_locked_quote_that_never_moves_divides_by_a_tick() -> None:
    assert make(*lane([0, 1], [200, 203], spread=0), PARAMS).delta_hat[0, 0] == 1.5
    assert make(*lane([0, 1], [200, 203], spread=-3), PARAMS).delta_hat[0, 0] == 1.5


def test_no_label_reaches_across_a_time_without_a_price_a_restart_or_the_end() -> None:
    made = make(*lane([0, 1, 2, 3], [200, 0, 210, 212]), PARAMS)
    assert column(made.delta_hat, "delta_1") == [None, None, 0.5, None]
    late = 2 + RESTART_GAP_NS / MS
    made = make(*lane([0, 1, 1 + late, 2 + late], [200, 202, 210, 212]), PARAMS)
    assert column(made.delta_hat, "delta_1") == [0.5, None, 0.5, None]
    states, extra, ready = lane([0, 1, 2], [200, 202, 204])
    ready[0] = False
    assert column(make(states, extra, ready, PARAMS).delta_hat, "delta_1") == [None, 0.5, None]
    assert make(*(array[:0] for array in lane([0], [1])), PARAMS).delta_hat.shape == (0, 6)


@given(st.integers(0, 1_000), st.integers(0, 399))
def test_what_is_known_at_a_time_does_not_depend_on_what_comes_after(seed: int, at: int) -> None:
    states, extra, ready = play(market(seed % 7, 900))
    ready[50:] = True
    rng, at = np.random.default_rng(seed), min(at, len(states) - 1)
    now = int(states["ts"][at]) + int(rng.integers(0, 2 * 10**9)) * (seed % 2)
    after = states["ts"] > now
    other, moved = states.copy(), extra.copy()
    moved["mid2"][after] = rng.integers(0, 99, after.sum())
    other["spread_ticks"][after] = rng.integers(1, 99, after.sum())
    other["ts"][after] += np.cumsum(rng.integers(0, 10**9, after.sum()))
    truth, made = make(states, extra, ready, PARAMS), make(other, moved, ready, PARAMS)
    known = truth.known_at <= now
    assert np.array_equal(made.known_at <= now, known)
    assert truth.delta_hat[known].tobytes() == made.delta_hat[known].tobytes()


def test_the_specification_and_its_bounds() -> None:
    assert len(COLUMNS) == len(EVENT_HORIZONS) + len(CLOCK_HORIZONS_NS) == 6
    assert EventLabelParams(k_sigma="0.50").hash == PARAMS.hash != EventLabelParams(k_sigma="0.3").hash
    with pytest.raises(BadConfig, match="k_sigma"):
        EventLabelParams(k_sigma="11")


def test_priors_count_the_signs_of_the_past() -> None:
    own = counts(make(*lane([0, 1, 2, 3, 4], [200, 202, 202, 198, 204]), PARAMS).delta_hat)
    assert own[COLUMNS.index("delta_1")].tolist() == [1, 1, 2] and own[COLUMNS.index("delta_5")].tolist() == [0, 0, 0]
    made = priors(own)
    assert made["count"].tolist() == own.sum(axis=1).tolist()
    assert made["share"][0].tolist() == [0.25, 0.25, 0.5] and np.isnan(made["share"][1]).all()


@pytest.mark.parametrize("rows", [1, 7, 250])
def test_a_lane_labelled_in_pieces_that_look_ahead_is_labelled_as_one(rows: int) -> None:
    records = market(3, 3_000, step_ns=10_000_000)  # many events within the longest horizon
    states, extra, ready = play(records)
    whole = make(states, extra, ready, PARAMS)
    assert np.isfinite(whole.delta_hat).any(axis=0).all()
    for start in range(0, len(states), rows):
        stop = min(start + rows, len(states))
        seen = slice(start, look_ahead(states["ts"], stop))
        made = make(states[seen], extra[seen], ready[seen], PARAMS)
        for part, all_ in ((made.delta_hat, whole.delta_hat), (made.known_at, whole.known_at)):
            assert part[: stop - start].tobytes() == all_[start:stop].tobytes()
