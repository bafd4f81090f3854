"""The limits of an account, from typed settings to the configuration record: each one possible, none contradicting.

``docs/risk.md`` lists every limit with its unit, its boundary and its reason.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from core import days
from core.errors import BadConfig
from core.layout import GROUPS_MAX, LOSS_SLOTS, RATE_SLOTS
from core.records import PPM
from core.settings import Risk, within

TIME_NS_MAX: Final = 10**17  # three years: no latency, lifetime or pause is longer
LOTS_MAX: Final = 2**61
TURNOVER_PPM_MAX: Final = 32 * PPM  # so that it fits 64 bits at the equity bound
THEME: Final = "theme"
CLUSTER: Final = "cluster"
_APART: Final = ("whitelist", "groups", "capacity_lots", "day_boundary")  # not one integer each

_RATES: Final = {  # key: (least, most)
    "sigma_target_ppm": (1, PPM),
    "deleverage_ppm": (1, PPM),
    "caution_drawdown_ppm": (1, PPM),
    "flatten_drawdown_ppm": (1, PPM),
    "caution_multiplier_ppm": (0, PPM),
    "daily_stop_ppm": (1, PPM),
    "weekly_stop_ppm": (0, PPM),
    "flatten_daily_loss_ppm": (1, PPM),
    "daily_loss_limit_ppm": (0, PPM),
    "total_loss_limit_ppm": (0, PPM),
    "min_confidence_ppm": (0, PPM),
    "high_confidence_ppm": (0, PPM),
    "price_band_ppm": (1, 1000 * PPM),
    "turnover_minute_ppm": (0, TURNOVER_PPM_MAX),
    "turnover_hour_ppm": (0, TURNOVER_PPM_MAX),
    "fee_guard_ppm": (0, PPM),
    "fee_budget_day_ppm": (0, PPM),
    "depth_share_ppm": (0, PPM),
    "backoff_cut_ppm": (0, PPM),
}
_COUNTS: Final = {
    "max_orders_per_hour": (0, RATE_SLOTS),
    "max_signals_per_hour": (0, RATE_SLOTS),
    "max_signals_per_hour_high": (0, RATE_SLOTS),
    "circuit_failures": (1, 1_000_000),
    "backoff_losses": (0, LOSS_SLOTS),
}
_TIMES: Final = ("prediction_ttl_ns", "cooldown_ns", "circuit_open_ns", "backoff_window_ns")

# (key, other, why): the first may not exceed the second; 0 means that there is no such limit.
_ORDERED: Final = (
    ("daily_stop_ppm", "flatten_daily_loss_ppm", "the account would be sold out before entries stop"),
    ("daily_stop_ppm", "weekly_stop_ppm", "a day within its limit would end the week"),
    ("daily_stop_ppm", "daily_loss_limit_ppm", "the account would be sold out before entries stop"),
    ("daily_loss_limit_ppm", "total_loss_limit_ppm", "one day within its limit would lose all that may be lost"),
    ("asset_cap_ppm", "total_cap_ppm", "one asset may not exceed the total"),
    ("turnover_minute_ppm", "turnover_hour_ppm", "a minute may not trade more than its hour"),
    ("max_signals_per_hour_high", "max_signals_per_hour", "signals of high confidence are signals"),
    ("max_signals_per_hour", "max_orders_per_hour", "every signal is an order"),
)


def check(risk: Risk, leverage_ppm: int) -> None:
    """Raise BadConfig naming the key, its value and its limits, or both keys of two limits that contradict."""
    for key, (least, most) in {**_RATES, **_COUNTS}.items():
        within(f"risk.{key}", getattr(risk, key), least, most)
    for key in _TIMES:
        within(f"risk.{key}", getattr(risk, key), 0, TIME_NS_MAX)
    for key in ("asset_cap_ppm", "total_cap_ppm"):
        within(f"risk.{key}", getattr(risk, key), 1, leverage_ppm)  # above that is leverage the account has not
    caution, halt, flatten = risk.caution_drawdown_ppm, risk.halt_drawdown_ppm, risk.flatten_drawdown_ppm
    below("risk.caution_drawdown_ppm", caution, "risk.halt_drawdown_ppm", halt)
    below("risk.halt_drawdown_ppm", halt, "risk.flatten_drawdown_ppm", flatten)
    for key, other, why in _ORDERED:
        value, limit = getattr(risk, key), getattr(risk, other)
        if value > limit > 0:
            raise BadConfig(f"risk.{key} is {value}, above risk.{other} {limit}: {why}")
    for symbol, lots in risk.capacity_lots.items():
        within(f"risk.capacity_lots[{symbol}]", lots, 1, LOTS_MAX)
    days.zone("risk.day_boundary", risk.day_boundary)
    _check_groups(risk)


def _check_groups(risk: Risk) -> None:
    if len(risk.groups) > GROUPS_MAX:
        raise BadConfig(f"risk.groups has {len(risk.groups)} groups: at most {GROUPS_MAX} are possible")
    names = [group.name for group in risk.groups]
    if len(set(names)) < len(names):
        raise BadConfig(f"risk.groups names {', '.join(names)}: each may be there once")
    for group in risk.groups:
        key = f"risk.groups[{group.name}]"
        if group.kind not in (THEME, CLUSTER):
            raise BadConfig(f"{key}.kind is {group.kind!r}: there is {THEME!r} and {CLUSTER!r}")
        if not group.symbols or len(set(group.symbols)) < len(group.symbols):
            raise BadConfig(f"{key}.symbols is {', '.join(group.symbols) or 'empty'}: name each member once")
        if not risk.asset_cap_ppm <= group.cap_ppm <= risk.total_cap_ppm:
            raise BadConfig(
                f"{key}.cap_ppm is {group.cap_ppm}: it must lie between risk.asset_cap_ppm {risk.asset_cap_ppm} and "
                f"risk.total_cap_ppm {risk.total_cap_ppm}, or one of the two could never bind"
            )


def fill(row: np.void, risk: Risk, symbols: Sequence[str]) -> None:
    """Write ``risk``, which passed ``check``, into ``row`` of dtype CONFIG for instruments ``symbols``."""
    for key in Risk.__struct_fields__:
        if key not in _APART:
            row[key] = getattr(risk, key)
    row["day_offset_ns"], row["day_seasons"] = days.zone("risk.day_boundary", risk.day_boundary)
    row["n_groups"] = len(risk.groups)
    for record, group in zip(row["groups"], risk.groups, strict=False):
        record["is_cluster"] = int(group.kind == CLUSTER)
        record["cap_ppm"] = group.cap_ppm
        record["members"] = sum(1 << symbols.index(symbol) for symbol in group.symbols)


def below(key: str, value: int, other: str, limit: int) -> None:
    """Raise BadConfig naming both keys unless ``value`` is below ``limit``."""
    if not value < limit:
        raise BadConfig(f"{key} is {value}, {other} is {limit}: the first must be below the second")
