"""Latencies follow their configured distribution, come from seed and record alone, and keep messages in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import chance, latency
from core.errors import BadConfig
from core.jit import entry

MS = 1_000_000
TAIL = [(0, 1 * MS), (500_000, 2 * MS), (900_000, 5 * MS), (990_000, 20 * MS), (1_000_000, 200 * MS)]
STREAM = int(chance.stream(chance.Purpose.REQUEST_LATENCY, 0))


@entry
def draws(model: np.ndarray, seed: int, out: np.ndarray) -> None:
    for i in range(len(out)):
        out[i] = latency.draw_ns(model[0], seed, 5, i, 0)


def draw(model: np.ndarray, counter: int = 0, feed_ns: int = 0) -> int:
    return int(latency.draw_ns(model.reshape(1)[0], 7, STREAM, counter, feed_ns))


def test_a_constant_is_constant() -> None:
    assert {draw(latency.constant(3 * MS), k, k * MS) for k in range(50)} == {3 * MS}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_measured_mean_is_the_configured_one(seed: int) -> None:
    """EVAL-05: within 1 %; 400,000 draws put the sampling error of this long tail well below that."""
    model = latency.sampled(TAIL)
    out = np.zeros(400_000, np.int64)
    draws(model.reshape(1), seed, out)
    # by hand: 0.5 x 1.5 + 0.4 x 3.5 + 0.09 x 12.5 + 0.01 x 110
    assert latency.mean_ns(model) == 4_375_000
    assert abs(out.mean() / 4_375_000 - 1) < 0.01
    for at_ppm, ns in TAIL[1:-1]:
        assert abs((out < ns).mean() - at_ppm / 1e6) < 0.005


def test_quantiles_between_and_at_the_ends() -> None:
    model = latency.sampled(TAIL).reshape(1)[0]
    at = [0, 250_000, 500_000, 700_000, 990_000, 995_000, 1_000_000]
    assert [int(latency.quantile_ns(model, p)) / MS for p in at] == [1, 1.5, 2, 3.5, 20, 110, 200]


@given(st.lists(st.tuples(st.integers(1, 999_999), st.integers(0, 10**17)), min_size=1, max_size=14), st.data())
def test_the_inverse_never_descends(inner: list[tuple[int, int]], data: st.DataObject) -> None:
    ps = sorted({p for p, _ in inner})
    times = sorted([t for _, t in inner[: len(ps)]])
    model = latency.sampled([(0, 0), *zip(ps, times, strict=True), (1_000_000, 10**17)]).reshape(1)[0]
    a, b = sorted([data.draw(st.integers(0, 10**6)), data.draw(st.integers(0, 10**6))])
    assert 0 <= latency.quantile_ns(model, a) <= latency.quantile_ns(model, b) <= 10**17


def test_recorded_follows_the_feed() -> None:
    model = latency.recorded(1_500_000)
    assert [draw(model, 0, feed) for feed in (0, 1, 2 * MS, -5)] == [0, 2, 3 * MS, 0]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 1000)), min_size=1, max_size=30))
def test_no_message_overtakes_another(messages: list[tuple[int, int]]) -> None:
    sent, last, arrivals = 0, 0, []
    for gap, ns in messages:
        sent += gap
        last = latency.in_order(sent, ns, last)
        arrivals.append(last)
        assert last >= sent + ns  # waiting is only ever added
    assert arrivals == sorted(arrivals)


def test_a_decision_over_its_budget_costs_exactly_the_p90_slippage() -> None:
    """EVAL-12: 501 ms worsens the entry by the p90 slippage, 500 ms changes nothing, 0 switches the rule off."""
    price, limit = 6_000_000, 500 * MS

    def worse(price: int, latency_ns: int, limit_ns: int, p90_ppm: int) -> int:
        return latency.late_ticks(price, int(latency.is_late(latency_ns, limit_ns)), p90_ppm)

    assert worse(price, 500 * MS, limit, 250) == 0
    assert worse(price, 501 * MS, limit, 250) == 1500
    assert worse(price, limit + 1, limit, 250) == 1500
    assert worse(6_000_001, 501 * MS, limit, 250) == 1501  # never less than the stated rate
    assert worse(price, 501 * MS, 0, 250) == 0


@pytest.mark.parametrize(
    ("quantiles", "says"),
    [
        ([(0, 1)], "2 to 16 pairs"),
        ([(0, 1), (900_000, 2)], "last at 1000000"),
        ([(1, 1), (1_000_000, 2)], "first at 0"),
        ([(0, 1), (5, 2), (5, 3), (1_000_000, 4)], "must ascend"),
        ([(0, 9), (1_000_000, 4)], "must not descend"),
        ([(0, -1), (1_000_000, 4)], "line.quantiles is -1"),
        ([(0, 0), (1_000_000, 10**18)], "must lie in"),
    ],
)
def test_no_distribution_no_model(quantiles: list[tuple[int, int]], says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        latency.sampled(quantiles, key="line")


def test_impossible_values_are_refused() -> None:
    with pytest.raises(BadConfig, match=r"feed.constant_ns is -1"):
        latency.constant(-1, key="feed")
    with pytest.raises(BadConfig, match=r"feed.scale_ppm"):
        latency.recorded(-1, key="feed")
