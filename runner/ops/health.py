"""Whether the runner is well: its feed, its journal, its risk state, its own watcher. Asked for, never pushed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

import numpy as np

from core.records import RiskState

OK: Final = "ok"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: each check with "ok" or what is wrong."""

    checks: dict[str, str]
    started: bool

    @property
    def healthy(self) -> bool:
        """Nothing is wrong."""
        return all(found == OK for found in self.checks.values())

    @property
    def ready(self) -> bool:
        """Nothing is wrong and the session has begun."""
        return self.healthy and self.started


class Health:
    """Kept up by the session's watcher, read by the web server."""

    def __init__(self, journal: Path, stale_after_s: float, now: Callable[[], float] = monotonic) -> None:
        """``stale_after_s``: without a record for longer, the feed is stale."""
        self._journal, self._stale_after_s, self._now = journal, stale_after_s, now
        self._inode: int | None = None
        self._last = now()
        self._lost: dict[str, str] = {}
        self.started = False
        self.state: Callable[[], np.ndarray] | None = None  # the core's STATE
        self.feed: Callable[[], str] = lambda: OK  # what a live feed says of itself

    def seen(self) -> None:
        """Records have arrived."""
        self._last = self._now()
        self.started = True

    def lost(self, check: str, why: str) -> None:
        """``check`` failed, for good."""
        self._lost[check] = why

    def report(self) -> Report:
        """How things are now."""
        checks = {"feed": self._feed(), "journal": self._file(), "risk": self._risk()}
        return Report(checks | self._lost, self.started)

    def _feed(self) -> str:
        silent_s = self._now() - self._last
        if self.started and silent_s > self._stale_after_s:
            return f"no record for {silent_s:.1f} s, {self._stale_after_s:.1f} s at most"
        return self.feed()

    def _file(self) -> str:
        """A file that was removed or replaced goes on being written, and is nowhere."""
        if not self.started:
            return OK
        try:
            inode = self._journal.stat().st_ino
        except OSError as error:
            return f"the journal is gone: {error.strerror}"
        self._inode = self._inode or inode
        return OK if inode == self._inode else "the journal is another file than the one that was opened"

    def _risk(self) -> str:
        if self.state is None:
            return OK
        state = int(self.state()["risk"]["state"][0])
        return RiskState(state).name + ": nothing may increase exposure" if state >= RiskState.HALT else OK
