"""Wall time in the runner: pacing a recorded market and measuring latencies. None of it ever enters a record."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from core.errors import BadConfig

_STEPS: Final = 64  # per power of two: a value is known to 1 part in 64
_BINS: Final = 64 * _STEPS


def parse_speed(text: str) -> float | None:
    """``max`` -> None, ``60x`` -> 60.0 (seconds of market per second). Raises BadConfig for anything else."""
    if text == "max":
        return None
    try:
        speed = float(text.rstrip("x×"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise BadConfig(f"--speed {text!r}: give `max` or a multiple of real time above 0 such as `60x`")
    return speed


class Pacer:
    """Holds a session back so that its market time passes ``speed`` times as fast as wall time."""

    def __init__(
        self,
        speed: float | None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._speed, self._now, self._sleep = speed, now, sleep
        self._origin: tuple[int, float] | None = None

    @property
    def waits(self) -> bool:
        """Whether it holds anything back."""
        return self._speed is not None

    def wait(self, ts_ns: int) -> None:
        """Return when market time ``ts_ns`` is due; the first call sets the origin."""
        if self._speed is None:
            return
        if self._origin is None:
            self._origin = (ts_ns, self._now())
        due = self._origin[1] + (ts_ns - self._origin[0]) / 1e9 / self._speed
        if (ahead := due - self._now()) > 0:
            self._sleep(ahead)


class Latency:
    """A histogram of durations, exact to 1.6 %: constant memory however long the session."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, duration_ns: int) -> None:
        """Count one duration, 0 or more."""
        shift = max(0, duration_ns.bit_length() - _STEPS.bit_length())
        self._counts[shift * _STEPS + (duration_ns >> shift)] += 1

    def quantile_us(self, fraction: float) -> float:
        """The ``fraction`` quantile (nearest rank, rounded down to its bin) in µs; 0 without measurements."""
        total = int(self._counts.sum())
        if not total:
            return 0.0
        rank = max(1, int(np.ceil(fraction * total)))
        index = int(np.searchsorted(np.cumsum(self._counts), rank))
        shift = max(0, index // _STEPS - 1)
        return ((index - shift * _STEPS) << shift) / 1000

    def as_json(self) -> dict[str, float]:
        """Median and 99th percentile in µs."""
        return {"p50_us": self.quantile_us(0.5), "p99_us": self.quantile_us(0.99)}
