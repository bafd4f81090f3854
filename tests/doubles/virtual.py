"""A loop whose time moves only when nothing is left to do: hours of waits in seconds, over real loopback sockets."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from tests.doubles.clock import SECOND_NS, START_NS


class _Jumping(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready or super().select(timeout)
        self.now_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that begins at 0 and never waits."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds, as far as the waits have brought it."""
        return self._jumping.now_s

    def now_ns(self) -> int:
        """The same as a time of day."""
        return START_NS + round(self._jumping.now_s * SECOND_NS)


def virtually(script: Callable[[Callable[[], int]], Coroutine[Any, Any, None]]) -> None:
    """Run a script that is given the clock, on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        runner.run(script(loop.now_ns))
