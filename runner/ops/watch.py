"""The watcher of one session: what the journal is given becomes log lines, metrics and alerts, off the session's path.

The session's share is one append to a queue per step; it never waits for a file, a lock or a network here. A thread
looks at the queue twenty times a second instead of being woken: what it does then would otherwise compete with the very
step that woke it. Where a market is played as fast as it goes there is no idle time for a thread, and it would only
fight for the interpreter: there the session's thread tells, between two steps, in no measured latency.

A recorded market is told whole: if telling is slower than playing, the session waits. A live one is not made to wait:
beyond the queue's size the oldest are dropped, counted and logged.
"""

import time
from collections import deque
from collections.abc import Iterable
from threading import Event as Flag
from threading import Thread
from typing import Final

import numpy as np

from core.records import RECORD, RECORD_BYTES, Kind
from runner.ops.alerts import Alerts
from runner.ops.conditions import Conditions
from runner.ops.events import Event
from runner.ops.health import Health
from runner.ops.log import Log
from runner.ops.metrics import Metrics
from runner.ops.narrate import Narrator

PERIOD_S: Final = 0.05
IDLE_PASSES: Final = 20  # without anything new, after which a cycle counts as ended
QUEUE_MAX: Final = 8_192  # steps
_MARKET: Final = np.zeros(256, np.bool_)
_MARKET[[Kind.BAR, Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.TOP, Kind.STATUS]] = True


class Watch:
    """An ``Observer`` of a journal. The parts it feeds may be used and read by others too."""

    def __init__(
        self,
        narrator: Narrator,
        conditions: Conditions,
        log: Log,
        metrics: Metrics,
        health: Health,
        alerts: Alerts,
        *,
        threaded: bool,
        lossless: bool,
    ) -> None:
        """``threaded``: by a thread, else by ``turn``; ``lossless``: wait when the queue is full, rather than drop."""
        self._narrator, self._conditions = narrator, conditions
        self._log, self._metrics, self._health, self._alerts = log, metrics, health, alerts
        self._lossless = lossless
        self._queue: deque[tuple[int, bytes]] = deque()
        self._commits: deque[int] = deque(maxlen=QUEUE_MAX)
        self.dropped = 0
        self._lag_ms, self._lines_lost, self._drops_told = 0.0, 0, 0
        self._closing, self._broken, self._idle = Flag(), False, 0
        log.listener = metrics.on_event
        live = metrics.live
        live.queues["watch"] = lambda: len(self._queue)
        live.drops["watch"] = lambda: self.dropped
        live.lag_ms = lambda: self._lag_ms
        live.alerts = lambda: alerts.raised
        live.healthy = lambda: health.report().healthy
        self._thread = Thread(target=self._run, name="watch", daemon=True) if threaded else None
        if self._thread is not None:
            self._thread.start()

    # ---- called by the session's thread

    def appended(self, first: int, data: bytes) -> None:
        """See ``runner.journal.Observer``."""
        self._health.seen()
        if self._broken:
            return
        if len(self._queue) >= QUEUE_MAX:
            self._make_room()
        self._queue.append((first, data))

    def committed(self, duration_ns: int) -> None:
        """See ``runner.journal.Observer``."""
        self._commits.append(duration_ns)

    def _make_room(self) -> None:
        if not self._lossless:
            self.dropped += len(self._queue.popleft()[1]) // RECORD_BYTES
            return
        while len(self._queue) >= QUEUE_MAX and self._thread is not None and self._thread.is_alive():
            time.sleep(PERIOD_S / 10)

    def turn(self) -> None:
        """Between two steps: tell what is queued, if no thread does."""
        if self._thread is None and not self._broken:
            self._pass(last=False)

    def close(self) -> None:
        """Tell what is queued, and no more."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        elif not self._broken:
            self._pass(last=True)

    # ---- the thread

    def _run(self) -> None:
        while True:
            closing = self._closing.wait(PERIOD_S)  # before the pass: what was appended until then is told
            self._idle = 0 if self._queue else self._idle + 1
            self._pass(last=closing or self._idle == IDLE_PASSES)
            if closing or self._broken:
                return

    def _pass(self, *, last: bool) -> None:
        """Tell what is queued; ``last``: and the cycle that nothing has ended yet."""
        try:
            self._drain()
            if last:
                self._each(self._narrator.end())
        except Exception as error:  # the supervisor of watching: a fault here must not stop trading
            self._broken = True
            self._queue.clear()
            self._health.lost("watch", f"{type(error).__name__}: {error}")
            self._log.problem("watch", "no more is told of this session", error)

    def _drain(self) -> None:
        while self._commits:
            self._metrics.on_commit(self._commits.popleft())
        while self._queue:
            first, data = self._queue.popleft()
            records = np.frombuffer(data, RECORD)
            self._metrics.on_records(records["kind"])
            market = np.flatnonzero(_MARKET[records["kind"]])
            if len(market):
                last = records[market[-1]]
                self._lag_ms = int(last["ts_known"] - last["ts_event"]) / 1e6
            self._each(self._narrator.tell(first, records))
        if self.dropped > self._drops_told:
            self._drops_told = self.dropped
            self._log.problem("watch", f"{self.dropped} records were not told so far: the log is slower than the feed")
        if self._log.lost > self._lines_lost:
            self._metrics.on_lost_lines(self._log.lost - self._lines_lost)
            self._lines_lost = self._log.lost

    def _each(self, events: Iterable[Event]) -> None:
        for event in events:
            self._log.emit(event)
            for raised in self._conditions.on(event):
                self._alerts(raised)
