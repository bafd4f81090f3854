"""Fill probability and adverse selection: laws, planted flow they must find, neutral flow they must not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import chance, flow
from core.records import Side

BUY, SELL = int(Side.BUY), int(Side.SELL)
lots = st.integers(1, 2**42)
queues = st.integers(0, 2**42)
flows = st.integers(0, 2**40)


@given(lots, queues, flows, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_probability_is_monotone_in_each_argument(
    ours: int, ahead: int, traded: int, more: int, longer: int, faster: int
) -> None:
    base = flow.fill_probability_ppm(ours, ahead, traded)
    assert 0 <= base <= 1_000_000
    assert flow.fill_probability_ppm(ours + more, ahead, traded) >= base
    assert flow.fill_probability_ppm(ours, ahead + longer, traded) <= base
    assert flow.fill_probability_ppm(ours, ahead, traded + faster) >= base


@pytest.mark.parametrize(
    ("ours", "ahead", "flow_ppm", "ppm"),
    [(10, 99, 1_000_000, 100_000), (10, 99, 5_000_000, 500_000), (1, 0, 1_000_000, 1_000_000), (5, 9, 0, 0)],
)
def test_the_formula_by_hand(ours: int, ahead: int, flow_ppm: int, ppm: int) -> None:
    assert flow.fill_probability_ppm(ours, ahead, flow_ppm) == ppm


def uniform(stream: int, counter: int, most: int) -> int:
    return int(chance.draw_ppm(11, stream, counter)) * (most + 1) // 1_000_000


def test_the_forecast_beats_a_constant_on_simulated_flow() -> None:
    """Queues of 0 to 199 lots, exponential trading of 40 lots a horizon: a better Brier score than the base rate.

    The base rate is known afterwards only; the forecast uses what went before. The scale must end where forecasts are
    right on average.
    """
    state = flow.new_flow(1_000, 10_000)[0]
    forecasts, outcomes = [], []
    for k in range(6_000):
        ahead = uniform(1, k, 199)
        traded = int(-40 * np.log1p(-uniform(2, k, 999_999) / 1e6))
        forecast = int(flow.fill_probability_ppm(1, ahead, flow.flow_ppm(state, 1)))
        flow.on_traded(state, 1 + k * 1_000, 0)
        flow.on_traded(state, 1 + k * 1_000 + 500, traded)
        flow.on_outcome(state, forecast, traded > ahead)
        forecasts.append(forecast / 1e6)
        outcomes.append(float(traded > ahead))
    forecast, outcome = np.array(forecasts[1_000:]), np.array(outcomes[1_000:])
    constant = outcome.mean()
    assert 0.1 < constant < 0.4
    assert abs(forecast.mean() - constant) < 0.02
    assert ((forecast - outcome) ** 2).mean() < 0.8 * ((constant - outcome) ** 2).mean()


def test_average_flow_finds_the_rate_and_forgets_it() -> None:
    state = flow.new_flow(1_000, 100_000)[0]
    for k in range(400):
        flow.on_traded(state, 1 + k * 250, 5)
    assert abs(int(flow.flow_ppm(state, 10)) - 2_000_000) < 20_000
    flow.on_traded(state, 10**9, 0)
    assert flow.flow_ppm(state, 10) == 0


def test_the_microprice_leans_to_the_thin_side() -> None:
    assert flow.microprice(100, 10, 102, 10) == 101 * 1024
    assert flow.microprice(100, 30, 102, 10) == 101 * 1024 + 512
    assert flow.microprice(100, 1, 101, 2**42) == 100 * 1024


def market(toxicity_ticks: int, n: int = 6_000) -> tuple[np.void, list[int]]:
    """A seeded walk of quotes; every tenth quote we buy or sell, and the price then moves against us by so much."""
    state = np.zeros(1, flow.ADVERSE)[0]
    state["horizon"] = 4
    micro, outcomes, waiting = 1_000_000 * 1024, [], []
    for k in range(n):
        micro += (uniform(5, k, 2) - 1) * 1024
        for _, side, was in [w for w in waiting if w[0] == k]:
            outcomes.append((was - micro) if side == BUY else (micro - was))
        flow.on_quote(state, micro)
        if k % 10 == 0:
            side = BUY if uniform(6, k, 1) == 0 else SELL
            flow.on_action(state, side, micro)
            waiting = [w for w in waiting if w[0] > k] + [(k + 4, side, micro)]
            micro += toxicity_ticks * 1024 * (-1 if side == BUY else 1)
    return state, outcomes


def test_toxic_flow_has_a_penalty() -> None:
    state, outcomes = market(toxicity_ticks=2)
    for side in (BUY, SELL):
        assert 1.5 * 1024 < flow.penalty(state, side) < 2.5 * 1024
    assert sum(state["drift"]) == sum(outcomes)
    assert sum(state["count"]) == len(outcomes)


def test_neutral_flow_has_none() -> None:
    """Within two standard errors of zero, on a seed chosen once."""
    state, outcomes = market(toxicity_ticks=0)
    error = np.std(outcomes) / np.sqrt(len(outcomes))
    assert abs(np.mean(outcomes)) < 2 * error
    assert abs(int(flow.penalty(state, BUY)) + int(flow.penalty(state, SELL))) < 4 * np.sqrt(2) * error


def test_nothing_is_known_before_the_first_outcome() -> None:
    state = np.zeros(1, flow.ADVERSE)[0]
    state["horizon"] = 1
    assert flow.penalty(state, BUY) == 0
    for k in range(200):  # more than are kept: the surplus is not counted
        flow.on_action(state, BUY, k)
    flow.on_quote(state, 1024)
    assert int(state["count"][BUY]) == flow.PENDING_MAX
    assert flow.penalty(state, BUY) == (sum(range(64)) - 64 * 1024) // 64
