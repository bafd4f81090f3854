"""Longer bars within the bar kernel: what the last closed bar of 15 minutes, an hour, four hours says (FEAT-09).

A longer bar holds the bars that open in its interval, counted from midnight UTC: the rule of ``data.resample``. It is
closed, and known, with the bar that ends when it does. If that bar is missing, it is closed by the first bar of a
later interval; one of which all bars are missing does not exist. A bar that is still open says nothing.

Each timeframe is one record of dtype TIMEFRAME in the instrument's state. Its numbers stay what they are from one close
to the next; *sigma* is the kernel's volatility of one short bar when the longer one was closed, times the root of how
many short bars it spans.
"""

import math
from typing import Final

import numpy as np

from core.jit import kernel
from features import spec as s

TIMEFRAME: Final = np.dtype(
    [
        ("interval_ns", "<i8"),
        ("root", "<f8"),  # square root of its short bars
        ("group", "<i8"),  # which interval the last short bar opened in
        ("is_open", "<i8"),  # 1: there are short bars since the last close
        ("open_close", "<i8"),  # close so far, ticks
        ("closed", "<i8"),  # bars closed since the restart
        ("last_group", "<i8"),  # of the last closed bar
        ("log_close", "<f8"),  # of the last closed bar
        ("mean", "<f8"),  # weighted mean of log closes
        ("momentum", "<f8"),  # weighted mean of returns in sigma
        ("trend", "<f8"),
    ]
)
_CLIP: Final = float(s.CLIP)
_TREND_ALPHA: Final = 1.0 - 0.5 ** (1.0 / s.TREND_HALF_LIFE)
_MOMENTUM_ALPHA: Final = 1.0 - 0.5 ** (1.0 / s.TIMEFRAME_MOMENTUM_HALF_LIFE)
MOMENTUM_SCALE: Final = math.sqrt((2.0 - _MOMENTUM_ALPHA) / _MOMENTUM_ALPHA)  # 1 / standard deviation of the mean


@kernel
def restart(frame: np.void) -> None:
    """Forget every bar."""
    frame["is_open"] = 0
    frame["closed"] = 0
    frame["log_close"] = 0.0
    frame["mean"] = 0.0
    frame["momentum"] = 0.0
    frame["trend"] = 0.0


@kernel
def take(frame: np.void, opened: int, ended: int, close: int, sigma_bar: float) -> None:
    """Let a short bar from ``opened`` to ``ended`` (ns), with its ``close`` in ticks, join its longer one."""
    group = opened // frame["interval_ns"]
    if frame["is_open"] == 1 and group != frame["group"]:
        _close(frame, sigma_bar)
    frame["group"] = group
    frame["open_close"] = close
    frame["is_open"] = 1
    if ended % frame["interval_ns"] == 0:
        _close(frame, sigma_bar)


@kernel
def _close(frame: np.void, sigma_bar: float) -> None:
    x = math.log(frame["open_close"])
    sigma = sigma_bar * frame["root"]
    frame["closed"] += 1
    if frame["closed"] > 1:
        spanned = math.sqrt(float(frame["group"] - frame["last_group"]))
        change = min(max((x - frame["log_close"]) / (sigma * spanned), -_CLIP), _CLIP)
        frame["momentum"] += max(1.0 / (frame["closed"] - 1), _MOMENTUM_ALPHA) * (change - frame["momentum"])
    frame["mean"] += max(1.0 / frame["closed"], _TREND_ALPHA) * (x - frame["mean"])
    frame["trend"] = (x - frame["mean"]) / sigma
    frame["log_close"] = x
    frame["last_group"] = frame["group"]
    frame["is_open"] = 0
