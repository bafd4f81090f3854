"""Curves, returns and drawdowns by hand and against slow references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from core.records import BAR, DAY_NS, MARK, Kind
from evaluation.performance import Curve, buy_and_hold, chain, curve, daily_returns, drawdown
from evaluation.statistics import utc_day


def marks(*rows: tuple[int, int, int]) -> np.ndarray:
    """MARK records from (ts, equity, exposure)."""
    return np.array([(ts, ts, Kind.MARK, 0, 0, 0, 0, equity, 0, exposure, 0, 0) for ts, equity, exposure in rows], MARK)


def test_the_last_mark_of_a_time_counts_and_the_warm_up_does_not() -> None:
    found = curve(marks((10, 5, 0), (20, 100, 0), (20, 110, 55), (30, 121, 0)), 100, 10)
    assert list(found.ts) == [20, 30]
    assert found.growth == pytest.approx([1.1, 1.21])
    assert found.exposure == pytest.approx([0.5, 0.0])
    with pytest.raises(BadInput, match="warm-up"):
        curve(marks((10, 5, 0)), 100, 10)


def test_a_bar_that_closes_at_midnight_belongs_to_the_day_before() -> None:
    assert list(utc_day(np.array([1, DAY_NS - 1, DAY_NS, DAY_NS + 1]))) == [0, 0, 0, 1]


def test_daily_returns_by_hand_with_a_day_without_bars() -> None:
    ts = np.array([DAY_NS // 2, DAY_NS, 3 * DAY_NS, 4 * DAY_NS])
    days, returns = daily_returns(Curve(ts=ts, growth=np.array([1.5, 1.1, 1.21, 1.0]), exposure=np.zeros(4)))
    assert list(days) == [0, 1, 2, 3]
    assert returns == pytest.approx([0.1, 0.0, 0.1, 1 / 1.21 - 1])


def test_chained_folds_compound_and_may_not_overlap() -> None:
    first = Curve(ts=np.array([1, 2]), growth=np.array([1.1, 1.2]), exposure=np.zeros(2))
    second = Curve(ts=np.array([3, 4]), growth=np.array([1.0, 0.5]), exposure=np.ones(2))
    assert chain([first, second]).growth == pytest.approx([1.1, 1.2, 1.2, 0.6])
    with pytest.raises(BadInput, match="overlap"):
        chain([second, first])


@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=30))
def test_drawdown_equals_its_definition(growth: list[float]) -> None:
    peak, slow = 1.0, []
    for value in growth:
        peak = max(peak, value)
        slow.append(1 - value / peak)
    assert drawdown(np.array(growth)) == pytest.approx(slow)
    assert drawdown(np.array([0.8]))[0] == pytest.approx(0.2), "a loss from the start is a drawdown"


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=12))
def test_daily_returns_compound_to_the_last_growth(growth: list[float]) -> None:
    ts = DAY_NS * np.arange(1, len(growth) + 1)
    _, returns = daily_returns(Curve(ts=ts, growth=np.array(growth), exposure=np.zeros(len(growth))))
    assert np.prod(1 + returns) == pytest.approx(growth[-1])


def test_buy_and_hold_buys_each_instrument_once_at_its_first_close() -> None:
    def bar(ts: int, instrument: int, close: int) -> tuple:
        return (ts, ts, Kind.BAR, 0, instrument, 0, 0, close, close, close, close, 1)

    bars = np.array([bar(1, 0, 7), bar(5, 0, 100), bar(6, 1, 50), bar(6, 0, 110), bar(7, 1, 100)], BAR)
    held = buy_and_hold(bars, 2, 1, 0)
    assert list(held.ts) == [5, 6, 7]
    assert held.growth == pytest.approx([1.0, 1.05, 1.55])
    assert held.exposure == pytest.approx([0.5, 1.0, 1.0])
    assert buy_and_hold(bars, 2, 1, 10_000).growth[-1] == pytest.approx(1.55 / 1.01)
    assert buy_and_hold(bars, 3, 1, 0).growth[-1] == pytest.approx((1.1 + 2 + 1) / 3), "no bars: stays cash"
