"""Plant the built-in market's signal into recorded bars: a known edge in real returns, to prove a pipeline finds one.

Per instrument, with r the recorded close-to-close return and sigma the exponentially weighted deviation of the returns
before it::

    drift  = strength * rho * w(session) * sigma * u     nothing until sigma is warm
    m_next = m * (1 + drift)                             every price is multiplied by the drift accumulated so far
    u_next = d * u + sqrt(1 - d^2) * clip(r / sigma)     d = 2^(-1 / half-life), as in ``feeds.synthetic``

Everything that enters a bar's drift was known at the close before it. Each price is rounded once, to the nearest tick
of recorded price x m, so rounding errors do not add up, and at strength 0 every bar stays as it is.
"""

import math
from typing import Final

import numpy as np

from core.errors import BadConfig, BadInput
from core.jit import entry
from core.records import HOUR_NS, PPM
from feeds.market import HOURS, SESSIONS, Hours, Signal
from feeds.synthetic import STRENGTH_MAX, TICKS_MIN

VOLATILITY_HALF_LIFE_BARS: Final = 96
WARMUP_BARS: Final = 2 * VOLATILITY_HALF_LIFE_BARS

STATE: Final = np.dtype(
    [("bars", "<i8"), ("close", "<i8"), ("variance", "<f8"), ("signal", "<f8"), ("multiplier", "<f8")]
)


def new_state(n_instruments: int) -> np.ndarray:
    """The state before the first bar, dtype STATE, shape (n_instruments,). It carries from chunk to chunk."""
    state = np.zeros(n_instruments, STATE)
    state["multiplier"] = 1.0
    return state


def inject(
    state: np.ndarray,
    bars: np.ndarray,
    *,
    interval_ns: int,
    strength: float,
    signal: Signal = Signal(),  # noqa: B008 - frozen
    sessions: tuple[Hours, ...] = SESSIONS,
) -> np.ndarray:
    """``bars`` (dtype BAR, shape (n,), each instrument in time order) with the signal added; advances ``state``.

    Times and volumes stay. How bars are cut into chunks and how instruments interleave changes nothing. Raises
    BadConfig for a strength out of bounds and BadInput if a price would fall below 100 ticks.
    """
    if not 0 <= strength <= STRENGTH_MAX:
        raise BadConfig(f"inject_strength is {strength}; it must lie in [0, {STRENGTH_MAX:g}]")
    out = bars.copy()
    weight = np.zeros(HOURS)
    for session in sessions:
        weight[session.start : session.end] = session.signal_ppm / PPM
    _inject(
        state,
        out,
        (bars["ts_event"] - interval_ns) // HOUR_NS % HOURS,
        weight * (strength * signal.correlation_ppm / PPM),
        2.0 ** (-1.0 / signal.half_life_bars),
        signal.clip_ppm / PPM,
    )
    if strength and len(out) and (lowest := int(out["low"].min())) < TICKS_MIN:
        raise BadInput(f"an injected price falls to {lowest} ticks, {TICKS_MIN} allowed; lower data.inject_strength")
    return out


@entry
def _inject(
    state: np.ndarray, bars: np.ndarray, hours: np.ndarray, drift_by_hour: np.ndarray, decay: float, clip: float
) -> None:
    gain = math.sqrt(1.0 - decay * decay)
    keep = 2.0 ** (-1.0 / VOLATILITY_HALF_LIFE_BARS)
    for row in range(len(bars)):
        bar = bars[row]
        now = state[bar["instrument"]]
        recorded = bar["close"]
        sigma = math.sqrt(now["variance"])
        before = now["multiplier"]
        after = before
        if now["bars"] > WARMUP_BARS:
            after = before * (1.0 + drift_by_hour[hours[row]] * sigma * now["signal"])
        if now["bars"] > 0:
            rate = recorded / now["close"] - 1.0
            if sigma > 0.0:
                now["signal"] = decay * now["signal"] + gain * min(max(rate / sigma, -clip), clip)
            weight = max(1.0 - keep, 1.0 / now["bars"])  # a plain mean at first
            now["variance"] += weight * (rate * rate - now["variance"])
        now["bars"] += 1
        now["close"] = recorded
        now["multiplier"] = after
        if before == 1.0 and after == 1.0:
            continue
        bar["open"] = math.floor(bar["open"] * before + 0.5)
        bar["close"] = math.floor(recorded * after + 0.5)
        middle = 0.5 * (before + after)
        bar["high"] = max(bar["open"], bar["close"], math.floor(bar["high"] * middle + 0.5))
        bar["low"] = min(bar["open"], bar["close"], math.floor(bar["low"] * middle + 0.5))
