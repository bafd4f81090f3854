"""A venue's running tasks: the first that fails ends it all, and says so to whoever looks next."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """``failed`` is called with what nobody expected."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._running: set[asyncio.Task[None]] = set()
        self.closed = False

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside everything else."""
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._on_end)

    async def close(self) -> None:
        """End all of them, wherever they are."""
        self.closed = True
        running, self._running = self._running, set()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._failed(error)
