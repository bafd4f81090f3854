"""Features, buckets and labels of books: the one checker on MarketState, on six label horizons and on planted leaks.

Two tapes: a dense one, where labels of 100 ms to 2 s differ, and one of three weeks, where liquidity buckets and
sessions do. On either every quantity is asked for at a thousand times.
"""

import numpy as np
import pytest

from core.records import DAY_NS, HOUR_NS
from features.market_state import EXTRA, MARKET_STATE, WARMUP_EVENTS
from tests.causality.checker import Known, assert_causal, random_times, scramble_books
from tests.features.test_market_state import market, play
from training.event_labels import COLUMNS, EventLabelParams, make

TIMES = 1_000
LABELS = EventLabelParams()


@pytest.fixture(scope="module")
def dense() -> np.ndarray:
    return market(7, 1_400)


@pytest.fixture(scope="module")
def weeks() -> np.ndarray:
    """Four bursts of five messages a day: within a silence the kernel would walk every second of it."""
    records = market(11, 1_200, step_ns=1_000_000)
    _, message = np.unique(records["ts_known"], return_inverse=True)
    later = message // 20 * DAY_NS + message % 20 // 5 * 5 * HOUR_NS
    records["ts_event"] += later
    records["ts_known"] += later
    return records


def states_of(records: np.ndarray, t: int) -> dict[str, Known]:
    """Every field of every event, known when the record that completed the event was."""
    states, extra, ready = play(records)
    known = states["ts"].astype(np.int64)
    named = {name: Known(states[name], known) for name in MARKET_STATE.names or ()}
    named |= {name: Known(extra[name], known) for name in EXTRA.names or ()}
    return named | {"ready": Known(ready, known)}


def labels_of(records: np.ndarray, t: int) -> dict[str, Known]:
    """Six labels, and when each is known, as they say themselves."""
    made = make(*play(records), LABELS)
    named = {name: Known(made.delta_hat[:, i], made.known_at[:, i]) for i, name in enumerate(COLUMNS)}
    return named | {f"known_at of {name}": Known(made.known_at[:, i], made.known_at[:, i]) for i, name in
                    enumerate(COLUMNS)}  # fmt: skip


def moves(named: dict[str, Known]) -> set[str]:
    """The quantities that are not the same all along the tape."""
    return {name for name, known in named.items() if len(np.unique(known.values, axis=0)) > 1}


def test_every_field_of_a_dense_tape(dense: np.ndarray) -> None:
    told = assert_causal(states_of, dense, random_times(dense[20:-20], TIMES), scramble=scramble_books)
    assert len(told) == 17 + len(EXTRA.names) + 1 and set(told.values()) == {TIMES}
    still = {"has_depth", "session_id", "liquidity_id", "venue_id"}  # two are the venue's, two need days
    assert moves(states_of(dense, 0)) == set(told) - still


def test_sessions_and_liquidity_over_weeks(weeks: np.ndarray) -> None:
    told = assert_causal(states_of, weeks, random_times(weeks[20:-20], TIMES), scramble=scramble_books)
    assert set(told.values()) == {TIMES}
    assert moves(states_of(weeks, 0)) >= {"session_id", "liquidity_id"}


def test_labels_of_six_horizons(dense: np.ndarray) -> None:
    first = 3 * WARMUP_EVENTS  # some rows make an event
    told = assert_causal(labels_of, dense, random_times(dense[first:-60], TIMES), scramble=scramble_books)
    assert len(told) == 12 and set(told.values()) == {TIMES}
    assert moves(labels_of(dense, 0)) == set(told)


def leak_bucket(records: np.ndarray, t: int) -> Known:
    """The bucket of today among the days until today, today's later events included."""
    states, _, _ = play(records)
    day = states["ts"] // DAY_NS
    medians = {one: np.median(states["spread_ticks"][day == one]) for one in np.unique(day)}
    past = {one: [medians[other] for other in medians if other <= one] for one in medians}
    bucket = {one: np.mean(np.array(past[one]) < medians[one]) > 0.5 for one in medians}
    return Known(np.array([bucket[one] for one in day]), states["ts"])


def leak_next_event(records: np.ndarray, t: int) -> Known:
    """The imbalance at the touch one event later."""
    states, _, _ = play(records)
    return Known(np.roll(states["qimbalance"], -1), states["ts"])


def leak_label(records: np.ndarray, t: int) -> Known:
    """A right label that claims to be known with its own event."""
    states, extra, ready = play(records)
    return Known(make(states, extra, ready, LABELS).delta_hat[:, 0], states["ts"])


def leak_early_label(records: np.ndarray, t: int) -> Known:
    """A right label over 500 ms that claims to be known 100 ms too early."""
    made = make(*play(records), LABELS)
    return Known(made.delta_hat[:, 4], made.known_at[:, 4] - 100_000_000)


@pytest.mark.parametrize("leak", [leak_bucket, leak_next_event, leak_label, leak_early_label])
def test_a_planted_leak_is_caught_among_honest_fields(dense: np.ndarray, weeks: np.ndarray, leak) -> None:
    def compute(records: np.ndarray, t: int) -> dict[str, Known]:
        return states_of(records, t) | labels_of(records, t) | {leak.__name__: leak(records, t)}

    tape = weeks if leak is leak_bucket else dense
    with pytest.raises(AssertionError, match=leak.__name__):
        assert_causal(compute, tape, random_times(tape[800:-60], 200), scramble=scramble_books)
