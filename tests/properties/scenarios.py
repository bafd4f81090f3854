"""The accounts that a session may be of, their strategy, and what can happen in it.

``ACTIONS`` lists what can happen and from which values each argument is drawn: the rule machine draws with Hypothesis,
the soak from a seed. Arguments are small numbers that mean something only in the present state (which order, how far
from the market), so any sequence of them is a session.
"""

from typing import Any

import numpy as np

from core import strategies
from core.instruments import Instrument
from core.records import Command
from core.records import OrderState as S
from core.settings import Group, Trading
from tests.core.build import BTC, ETH, STEP_NS, trading

START_NS = 1_700_006_400_000_000_000
START_PRICE = 1_000_000
WAITS = (*(0, 1, 1_000_000, 1_000_000_000) * 3, 60_000_000_000, STEP_NS, 3_600_000_000_000, 30_000_000_000_000)
CENTS = tuple(Instrument(**{**item.as_json(), "quote_unit": "0.01"}) for item in (BTC, ETH))
THIRD = Instrument(
    symbol="ADAUSDT", base="ADA", quote="USDT", tick="0.0007", lot="3", maker_fee_ppm=-100, taker_fee_ppm=400
)


def puppet(params: np.void, memory: np.void, view: np.void, quotes: np.void) -> int:
    """A strategy that wants what the latest prediction says: p_down_ppm is the want now, plus 10 x the want at a timer.

    Its quotes: edge_ppm and sigma_ppm are the prices, p_up_ppm the lots (x 1000 of the ask).
    """
    said = view["prediction"]
    if view["event"] == strategies.ON_PREDICTION:
        return said["p_down_ppm"] % 10
    if view["event"] != strategies.ON_TIMER:
        return strategies.NO_OPINION
    quotes["bid_price"], quotes["ask_price"] = said["edge_ppm"], said["sigma_ppm"]
    quotes["bid_lots"], quotes["ask_lots"] = 100 * (said["p_up_ppm"] % 1000), 100 * (said["p_up_ppm"] // 1000)
    return said["p_down_ppm"] // 10


strategies.register("puppet", puppet)


def _world(instruments: tuple[Instrument, ...], profile: str, **changes: Any) -> tuple[Trading, tuple[Instrument, ...]]:
    base = {"kind": "puppet", "fixed_lots": 200_000, "asset_cap_ppm": 400_000, "total_cap_ppm": 700_000}
    tiers = {"caution_drawdown_ppm": 4_000, "halt_drawdown_ppm": 12_000, "flatten_drawdown_ppm": 25_000}
    return trading(**{**base, **tiers, "profile": profile, "prediction_ttl_ns": 10**9, **changes}), instruments


_NO_TIERS = {"caution_drawdown_ppm": 300_000, "halt_drawdown_ppm": 600_000, "flatten_drawdown_ppm": 900_000}
_GROUPS = (
    Group(name="majors", kind="theme", symbols=("BTCUSDT", "ETHUSDT"), cap_ppm=450_000),
    Group(name="alts", kind="cluster", symbols=("ETHUSDT", "ADAUSDT"), cap_ppm=400_000),
)
_PACE = {
    "turnover_minute_ppm": 250_000,
    "max_signals_per_hour": 2,
    "max_orders_per_hour": 0,
}
_COSTS = {"fee_guard_ppm": 1_000, "fee_budget_day_ppm": 300}
_STOPS = {"daily_stop_ppm": 5_000, "weekly_stop_ppm": 6_000}
_LEVERED = {
    "leverage_ppm": 3_000_000,
    "deleverage_ppm": 600_000,
    "asset_cap_ppm": 2_500_000,
    "total_cap_ppm": 3_000_000,
    "daily_stop_ppm": 500_000,
    "flatten_daily_loss_ppm": 900_000,
}
_BACK_OFF = {"backoff_losses": 1, "backoff_window_ns": 12 * 3_600_000_000_000, "max_orders_per_hour": 0}
_CHASE = {"entry": "post", "chase_ttl_ns": 36_000_000_000_000, "asset_cap_ppm": 700_000, "total_cap_ppm": 700_000}
_FULL = {"asset_cap_ppm": 1_000_000, "total_cap_ppm": 1_000_000, "daily_stop_ppm": 50_000}
WORLDS = (
    _world((BTC,), "spot"),
    _world((BTC, ETH), "spot", cooldown_ns=4 * STEP_NS, max_orders_per_hour=3, order_ttl_ns=STEP_NS),
    _world(CENTS, "spot", fixed_lots=0, sigma_target_ppm=10**6, daily_stop_ppm=5_000, slippage_ppm=20_000),
    _world((BTC, THIRD), "spot", fixed_lots=900_000, max_orders_per_hour=0, **_FULL, **_NO_TIERS),
    _world(
        (BTC,),
        "margin",
        leverage_ppm=3_000_000,
        turnover_hour_ppm=250_000,
        asset_cap_ppm=2_000_000,
        total_cap_ppm=2_500_000,
        max_orders_per_hour=0,
    ),
    _world(
        (BTC, ETH, THIRD), "margin", circuit_failures=1, circuit_open_ns=STEP_NS, max_orders_per_hour=40, **_NO_TIERS
    ),
    _world((*CENTS,), "margin", total_cap_ppm=400_000, order_ttl_ns=1_000_000_000, max_orders_per_hour=0),
    _world((BTC, ETH, THIRD), "spot", groups=_GROUPS, max_orders_per_hour=0, **_COSTS, **_NO_TIERS),
    _world((BTC, ETH), "margin", fixed_lots=2_500_000, max_orders_per_hour=0, **_LEVERED, **_NO_TIERS),
    _world((BTC, ETH), "spot", **_PACE, **_STOPS, **_NO_TIERS),
    _world(
        (BTC,), "spot", take_profit_ticks=3_000, stop_loss_ticks=2_000, **_BACK_OFF | {"backoff_losses": 2}, **_NO_TIERS
    ),
    _world((BTC, ETH), "margin", stop_loss_ticks=2_500, max_signals_per_hour=2, **_CHASE, **_BACK_OFF, **_NO_TIERS),
    _world((BTC, THIRD), "spot", take_profit_ticks=900, **_CHASE),
)

# What can happen: how often in a soak, and the values of each argument.
_SAID = (*(S.NEW,) * 8, S.PARTIAL, S.UNKNOWN, S.CANCELED, S.CANCELED, S.EXPIRED, S.REJECTED)
ACTIONS: dict[str, tuple[int, dict[str, tuple[Any, ...]]]] = {
    "bar": (6, {"k": (0, 1, 2), "move_ppm": (-30_000, -5_000, -300, 0, 300, 5_000, 30_000), "wait": WAITS}),
    "level": (
        10,
        {
            "k": (0, 1, 2),
            "side": (1, 2),
            "off": (-900, -50, -2, 0, 1, 30),
            "lots": (0, 0, 1, 50, 9_000),
            "last": (True, True, False),
            "wait": WAITS,
        },
    ),
    "timer": (18, {"wait": WAITS}),
    "predict": (
        16,
        {
            "k": (0, 1, 2),
            "want": (0, 1, 2, 2, 3),
            "later": (0, 2, 3, 4, 4, 4, 4),
            "bid_off": (-500, -1, 0, 3),
            "ask_off": (500, 2, 0, -4),
            "bid": (0, 3, 300, 900),
            "ask": (0, 3, 300, 900),
            "age": (0, 0, 0, 1, 10**9, 10**9 + 1),
            "wait": WAITS,
        },
    ),
    "report": (20, {"n": tuple(range(12)), "to": _SAID, "wait": WAITS}),
    "fill": (
        16,
        {
            "n": tuple(range(12)),
            "part": (1, 3, 10, 10),
            "off": (-400, -1, 0, 0, 2, 500),
            "fee": (-9, 0, 0, 70_000),
            "asset": (1, 1, 2),
            "exec_off": (0, 0, 500_000),
            "wait": WAITS,
        },
    ),
    "again": (8, {"n": tuple(range(40)), "wait": WAITS}),
    "old": (3, {"n": tuple(range(40)), "to": tuple(S), "wait": WAITS}),
    "wrong_fill": (1, {"n": tuple(range(12)), "how": ("more", "side", "order", "none"), "wait": WAITS}),
    "order": (4, {"which": (Command.KILL_HALT, Command.KILL_FLATTEN, *(Command.RESUME,) * 8), "wait": WAITS}),
    "transfer": (2, {"k": (0, 1, 2), "part": (-5, -1, 1, 4), "asset": (1, 1, 2), "cause": (1, 2, 3), "wait": WAITS}),
    "reach": (6, {"n": tuple(range(4)), "wait": WAITS}),
    "restart": (1, {"how": ("bytes", "replay")}),
}
