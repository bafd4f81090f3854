"""Margin runs short at its limit and is enough again there, to the unit, however little is measured between."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import config as core_config
from core import engine, portfolio, risk
from core.layout import OUTBOX, zeros
from core.records import PPM, RISK, Metric, Reason
from tests.core.build import BTC, START_NS, trading

LEVERAGE, SHARE = 3_000_000, 600_000  # exposure of at most 1.8 times equity
LIMIT2 = 3_600_000  # half ticks at which one BTC is worth 18,000 USDT: 1.8 times what both accounts are then worth
HALF_TICK = 500_000  # quote units by which one BTC then changes
WIDE = {
    "profile": "margin",
    "leverage_ppm": LEVERAGE,
    "deleverage_ppm": SHARE,
    "caution_drawdown_ppm": 900_000,
    "halt_drawdown_ppm": 950_000,
    "flatten_drawdown_ppm": 1_000_000,
    "daily_stop_ppm": 500_000,
    "flatten_daily_loss_ppm": 1_000_000,
}


LONG, SHORT = (10**8, -8_000 * 10**8), (-(10**8), 28_000 * 10**8)  # base units, cash


@pytest.mark.parametrize(("units", "cash"), [LONG, SHORT], ids=["long", "short"])
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([-1, 0, 1, -2, 2, -(10**6), 10**6, -2 * 10**6, 4 * 10**6]), min_size=1, max_size=8),
    st.sampled_from([100_000, 500_000, 1_000_000]),
)
def test_margin_is_short_exactly_beyond_its_limit(units: int, cash: int, marks: list[int], daily_stop: int) -> None:
    row = core_config.build(trading(**{**WIDE, "daily_stop_ppm": daily_stop}), (BTC,))
    config, state, box = row[0], engine.new_state(row)[0], zeros(1, OUTBOX)[0]
    account, is_short, expected = state["account"], False, list[tuple[int, ...]]()
    account["cash"], account["now_ns"], state["positions"][0]["base_units"] = cash, START_NS, units
    portfolio.hold(config, state, 0)
    portfolio.mark(config, state, 0, LIMIT2)
    risk.start(state)
    risk.new_day(config, state, box)
    for off in marks:
        portfolio.mark(config, state, 0, LIMIT2 + off)
        if risk.is_due(state):
            risk.update(config, state, box)
        exposure = (LIMIT2 + off) * HALF_TICK
        equity = cash + (exposure if units > 0 else -exposure)
        assert (account["exposure"], account["equity"]) == (exposure, equity)
        if (exposure > max(0, equity) * LEVERAGE * SHARE // PPM**2) != is_short:
            is_short = not is_short
            used = min(-(-exposure * PPM // max(1, max(0, equity) * LEVERAGE // PPM)), 10**12)
            expected.append((Reason.DELEVERAGE if is_short else Reason.RECOVERED, used, SHARE))
        assert state["risk"]["deleveraging"] == int(is_short)
    said = box["records"][: box["count"]].view(RISK)
    told = said[said["metric"] == Metric.MARGIN_PPM]
    assert [
        tuple(map(int, change)) for change in np.array([told["reason"], told["value"], told["limit"]]).T
    ] == expected
