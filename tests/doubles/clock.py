"""The time of a double: a real clock with an offset, or one that moves only when a test moves it."""

from collections.abc import Callable

SECOND_NS = 1_000_000_000
START_NS = 1_760_000_000 * SECOND_NS


class Clock:
    """Nanoseconds since the epoch; ``moved`` is called after each ``advance``."""

    def __init__(self, source: Callable[[], int] | None = None):
        self._source = source or (lambda: START_NS)
        self.offset_ns = 0
        self.moved: list[Callable[[], None]] = []

    def now_ns(self) -> int:
        """Now."""
        return self._source() + self.offset_ns

    def now_ms(self) -> int:
        """Now, in the milliseconds most venues speak."""
        return self.now_ns() // 1_000_000

    def advance(self, seconds: float) -> None:
        """Move on, and let whatever is due happen."""
        self.offset_ns += round(seconds * SECOND_NS)
        for call in self.moved:
            call()
