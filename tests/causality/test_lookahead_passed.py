"""A look-ahead that passes a detector that cuts the data, rebuilt after freqtrade's issue 11346, and is caught here.

https://github.com/freqtrade/freqtrade/issues/11346, "Using future data but passing lookahead analysis and recursive
analysis" (February 2025): a strategy on 15-minute bars with hours beside them trades on the future, and
``lookahead-analysis`` reports no bias. Its maintainers answer there that the tool sees a look-ahead of two bars and
more, not of one, because the last bar is kept for forced exits; that it watches where entries and exits happen; and
that it is a best effort and no proof.

Two ways through are rebuilt here, in our own terms and code:

- *open hour*: at each 15-minute bar the direction of the hour it lies in, which has not ended. Hours are stored whole,
  by their opening time, so cutting everything by opening time leaves the last hour whole: the future is still there
  after the cut, and nothing changes.
- *next bar*: the direction of the bar that follows. A detector that needs a bar after the signal, to fill the entry,
  cuts behind that bar, so what the signal needs is still there.

``passes_a_cut`` does what such a detector does: run once, then again on data that end a bar after each signal, and
compare the signals. It is fair: a look-ahead of two bars or more on one timeframe does not pass it. The one checker
replaces the future instead of cutting it, makes longer bars from the tape it is given, and asks at any time.
"""

from collections.abc import Callable

import numpy as np
import pytest

from core.records import MINUTE_NS
from tests.causality.checker import Known, assert_causal, random_times
from tests.features.walk import walk

BAR_NS, HOUR_NS = 15 * MINUTE_NS, 60 * MINUTE_NS
FILL_BARS = 1  # after a signal: its entry needs one


@pytest.fixture(scope="module")
def bars() -> np.ndarray:
    """600 bars of 15 minutes without gaps, from a full hour on."""
    made = walk(600, 4)
    made["ts_event"] = made["ts_event"][0] // HOUR_NS * HOUR_NS + BAR_NS * np.arange(1, len(made) + 1)
    made["ts_known"] = made["ts_event"] + 1
    return made


Hours = dict[int, tuple[int, int]]  # by opening time: open, close
Strategy = Callable[[np.ndarray, Hours], np.ndarray]  # bars and stored hours to one signal per bar, bool


def hours_of(bars: np.ndarray) -> Hours:
    """Whole hours, as a store of longer bars holds them: each under its opening time."""
    opened = (bars["ts_event"] - BAR_NS) // HOUR_NS * HOUR_NS
    first, last = {}, {}
    for hour, bar in zip(opened.tolist(), bars, strict=True):
        first.setdefault(hour, int(bar["open"]))
        last[hour] = int(bar["close"])
    return {hour: (first[hour], last[hour]) for hour in first}


def _rose(hours: Hours, opened: np.ndarray) -> np.ndarray:
    found = [hours.get(hour, (0, 0)) for hour in opened.tolist()]
    return np.array([close > open_ for open_, close in found])


def open_hour(bars: np.ndarray, hours: Hours) -> np.ndarray:
    """The hour the bar lies in: it has not ended before its last bar has."""
    return _rose(hours, (bars["ts_event"] - BAR_NS) // HOUR_NS * HOUR_NS)


def closed_hour(bars: np.ndarray, hours: Hours) -> np.ndarray:
    """Honest: the last hour that ended when the bar did, or before."""
    return _rose(hours, bars["ts_event"] // HOUR_NS * HOUR_NS - HOUR_NS)


def _ahead(bars: np.ndarray, n: int) -> np.ndarray:
    """Whether the price rises within ``n`` bars; False where the data end first."""
    rises = np.zeros(len(bars), bool)
    rises[:-n] = bars["close"][n:] > bars["close"][:-n]
    return rises


def next_bar(bars: np.ndarray, hours: Hours) -> np.ndarray:
    return _ahead(bars, 1)


def third_bar(bars: np.ndarray, hours: Hours) -> np.ndarray:
    return _ahead(bars, 3)


def passes_a_cut(strategy: Strategy, bars: np.ndarray) -> bool:
    """Whether each signal is still there when the data end ``FILL_BARS`` bars after it."""
    hours = hours_of(bars)
    opened = bars["ts_event"] - BAR_NS
    for row in np.flatnonzero(strategy(bars, hours)[: -FILL_BARS - 1]):
        end = opened[row + FILL_BARS]  # everything that opened until then: bars, and hours from the store
        cut = {hour: whole for hour, whole in hours.items() if hour <= end}
        if not strategy(bars[opened <= end], cut)[row]:
            return False
    return True


def passes_the_checker(strategy: Strategy, bars: np.ndarray) -> bool:
    def compute(tape: np.ndarray, t: int) -> dict[str, Known]:
        return {"signal": Known(strategy(tape, hours_of(tape)), tape["ts_known"])}

    try:
        assert_causal(compute, bars, random_times(bars[50:-50], 50))
    except AssertionError:
        return False
    return True


@pytest.mark.parametrize(
    ("strategy", "cut", "checker"),
    [(open_hour, True, False), (next_bar, True, False), (third_bar, False, False), (closed_hour, True, True)],
)
def test_what_passes_a_cut_does_not_pass_the_checker(
    bars: np.ndarray, strategy: Strategy, cut: bool, checker: bool
) -> None:
    assert strategy(bars, hours_of(bars)).mean() == pytest.approx(0.5, abs=0.1)  # it has enough to say
    assert passes_a_cut(strategy, bars) is cut
    assert passes_the_checker(strategy, bars) is checker


def test_a_store_beside_the_tape_would_blind_the_checker_too(bars: np.ndarray) -> None:
    """Why a computation makes its longer bars itself: hours kept from before are no part of what is scrambled."""
    stored = hours_of(bars)

    def compute(tape: np.ndarray, t: int) -> dict[str, Known]:
        return {"signal": Known(open_hour(tape, stored), tape["ts_known"])}

    assert_causal(compute, bars, random_times(bars[50:-50], 50))
