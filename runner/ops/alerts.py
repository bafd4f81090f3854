"""Alerts on their way to the operator: each sink has a thread and a queue of its own, and nobody waits for either.

Apprise knows how to talk to Telegram, Slack, plain webhooks and a hundred more; what is here is what it does not do:
one condition is told once, an outage is outlived (waits double up to a minute), and what could not be told is logged.
A sink is the URL of Apprise in a secret; only the secret's name is ever shown.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Lock, Thread
from time import monotonic
from typing import Final, Self

from core.errors import BadConfig
from runner.ops.conditions import ALERTS, UNMUTABLE, Alert
from runner.ops.events import Alerted, Delivery, Fate
from runner.ops.log import Log
from runner.secrets import Secret

QUEUE_MAX: Final = 256  # alerts that wait for one sink; beyond that the oldest that is no page goes
BACKOFF_S: Final = 1.0  # before the second attempt, doubling
BACKOFF_MAX_S: Final = 60.0
REPEAT_S: Final = 3600.0  # one condition that lasts is told again after this
_LATE: Final = "the session ended before it could be delivered"

Send = Callable[[Alert, str, str], bool]  # alert, title, body -> delivered


class Sink:
    """One place alerts go to."""

    def __init__(self, name: str, send: Send, log: Log, prefix: str, give_up_s: float, backoff_s: float) -> None:
        """``prefix`` opens every title: the mode and the run, so that no dry run is taken for a live one."""
        self.name = name
        self._send, self._log, self._prefix = send, log, prefix
        self._give_up_s, self._backoff_s = give_up_s, backoff_s
        self._queue: deque[tuple[Alert, float]] = deque()
        self._changed = Condition()
        self._closing_at: float | None = None
        self._busy = False
        self._thread = Thread(target=self._run, name=f"alerts-{name}", daemon=True)
        self._thread.start()

    def put(self, alert: Alert) -> None:
        """Queue ``alert``; never waits."""
        with self._changed:
            if len(self._queue) >= QUEUE_MAX:
                self._drop()
            self._queue.append((alert, monotonic()))
            self._changed.notify()

    def close(self, timeout_s: float) -> None:
        """Deliver what is queued, for at most ``timeout_s``; log what is left."""
        with self._changed:
            self._closing_at = monotonic() + timeout_s
            self._changed.notify()
        self._thread.join(timeout_s + self._backoff_s)
        with self._changed:
            while self._queue:
                self._told(self._queue.popleft()[0], "given_up", 0, _LATE)

    def _drop(self) -> None:
        for place, (alert, _) in enumerate(self._queue):
            if alert.severity != "page":
                del self._queue[place]
                break
        else:
            alert = self._queue.popleft()[0]
        self._told(alert, "dropped", 0, f"{QUEUE_MAX} alerts wait already")

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and self._closing_at is None:
                    self._changed.wait()
                if not self._queue:
                    return
                alert, since = self._queue.popleft()
            self._deliver(alert, since)

    def _deliver(self, alert: Alert, since: float) -> None:
        attempts, pause = 0, self._backoff_s
        while True:
            attempts += 1
            detail = self._attempt(alert)
            if detail is None:
                return self._told(alert, "sent", attempts, "")
            if self._out_of_time(since, pause):
                return self._told(alert, "given_up", attempts, detail)
            self._told(alert, "retry", attempts, f"{detail}; again in {pause:.1f} s")
            self._pause(pause)
            pause = min(2 * pause, BACKOFF_MAX_S)

    def _attempt(self, alert: Alert) -> str | None:
        """Send once; None if it was delivered, else why not."""
        title = f"{self._prefix} {alert.severity.upper()} {alert.name}"
        try:
            taken = self._send(alert, title, f"{alert.reason_code}: {alert.text}")
        except Exception as error:  # the supervisor of one sink: a library's fault must not end its thread
            return f"{type(error).__name__}: {error}"
        return None if taken else "the sink did not take it"

    def _out_of_time(self, since: float, pause: float) -> bool:
        ends = self._closing_at if self._closing_at is not None else since + self._give_up_s
        return monotonic() + pause > ends

    def _pause(self, seconds: float) -> None:
        with self._changed:
            was_closing = self._closing_at is not None
            self._changed.wait_for(lambda: self._closing_at is not None and not was_closing, seconds)

    def _told(self, alert: Alert, outcome: Fate, attempts: int, detail: str) -> None:
        self._log.emit(
            Delivery(
                mode=self._log.mode,
                run=self._log.run,
                alert=alert.name,
                sink=self.name,
                outcome=outcome,
                attempts=attempts,
                detail=detail,
            )
        )


class Alerts:
    """Takes alerts from anywhere in the process. ``raised`` counts them by name and severity."""

    def __init__(
        self,
        log: Log,
        sinks: Sequence[tuple[str, Secret]],
        *,
        mute: Sequence[str] = (),
        repeat_s: float = REPEAT_S,
        give_up_s: float = 600.0,
        backoff_s: float = BACKOFF_S,
        now: Callable[[], float] = monotonic,
    ) -> None:
        """``sinks``: the name and URL of each. Raises BadConfig for a mute that may not be, or a URL nobody knows."""
        check_mutes(mute)
        self.raised: dict[tuple[str, str], int] = {}
        self._log, self._mute, self._repeat_s, self._now = log, frozenset(mute), repeat_s, now
        self._last: dict[tuple[str, str], float] = {}
        self._lock = Lock()
        prefix = f"[{log.mode}] {log.run}"
        self._sinks = [Sink(name, sender(name, url), log, prefix, give_up_s, backoff_s) for name, url in sinks]
        log.adopt("apprise")

    def __call__(self, alert: Alert) -> bool:
        """Log ``alert`` and queue it for every sink; False if the same was told lately. Never waits."""
        condition, now = (alert.name, alert.reason_code), self._now()
        with self._lock:
            if (last := self._last.get(condition)) is not None and now - last < self._repeat_s:
                return False
            self._last[condition] = now
            self.raised[alert.name, alert.severity] = self.raised.get((alert.name, alert.severity), 0) + 1
        muted = alert.name in self._mute
        self._log.emit(
            Alerted(
                mode=self._log.mode,
                run=self._log.run,
                alert=alert.name,
                severity=alert.severity,
                reason_code=alert.reason_code,
                text=alert.text,
                muted=muted,
            )
        )
        for sink in () if muted else self._sinks:
            sink.put(alert)
        return True

    def close(self, timeout_s: float = 10.0) -> None:
        """Deliver what is queued, for at most ``timeout_s`` in all sinks together."""
        ends = monotonic() + timeout_s
        for sink in self._sinks:
            sink.close(max(0.0, ends - monotonic()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_mutes(mute: Sequence[str]) -> None:
    """Raise BadConfig for an alert that does not exist or cannot be muted."""
    for name in mute:
        if name not in ALERTS:
            raise BadConfig(f"ops.mute: {name}: no such alert; there are {', '.join(ALERTS)}")
        if name in UNMUTABLE:
            raise BadConfig(f"ops.mute: {name} pages and cannot be muted; fix what raises it")


def sender(name: str, url: Secret) -> Send:
    """What sends to the Apprise URL in the secret ``name``. Raises BadConfig if Apprise does not know it."""
    import apprise  # its hundred services take a third of a second, which only those with a sink should wait

    logging.getLogger("apprise").setLevel(logging.WARNING)  # below that it tells what it sends
    client = apprise.Apprise()
    if not client.add(url.reveal()):
        raise BadConfig(
            f"secret {name}: not the URL of a sink; such as tgram://TOKEN/CHAT, slack://A/B/C or jsons://host/path"
        )
    kinds = {"page": apprise.NotifyType.FAILURE, "warn": apprise.NotifyType.WARNING}

    def send(alert: Alert, title: str, body: str) -> bool:
        return bool(client.notify(body=body, title=title, notify_type=kinds[alert.severity]))

    return send
