"""One instrument's connection: frames become lines, lines become records, and what breaks is mended.

A line is what a recording holds: time of receipt, a space, the message, or ``break`` where a connection was lost. The
dialect reads the very lines that are recorded, so what is ingested later is what was seen now, byte for byte.

A book that may have missed something is invalid, by the dialect's judgement, until a snapshot: Binance's is asked for,
the other venues' comes with a new connection. Both wait longer after each failure.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from feeds.dialects.frames import BREAK, Follower
from runner.live.exchange import Exchange, Lost, reason_of
from runner.live.settings import Live

TICK_S: Final = 0.1  # how often silence and books are looked at
REASONS_MAX: Final = 32  # different ones that are counted
FIRST_UPDATE_S: Final = 2.0  # a snapshot is asked for after the first update, or after this long


class Backoff:
    """Waits that double with each failure, with jitter, and begin anew once something has held as long as the last."""

    def __init__(self, first_s: float, most_s: float, chance: random.Random) -> None:
        self._first_s, self._most_s, self._chance, self.failures = first_s, most_s, chance, 0

    def after(self, held_s: float) -> float:
        """How long to wait now that what had held for ``held_s`` has failed."""
        if held_s > self._most_s:
            self.failures = 0
        self.failures += 1
        most = min(self._first_s * 2.0 ** min(self.failures - 1, 30), self._most_s)
        return most * self._chance.uniform(0.5, 1.0)


@dataclass(slots=True)
class Counts:
    """What happened on one link."""

    frames: int = 0
    records: int = 0
    breaks: int = 0
    snapshots: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # of breaks and failed snapshots
    last: str = ""  # the last reason


class Link:
    """Follows ``symbol`` until cancelled. ``accept`` gets every line before the dialect does and may raise.

    ``is_full`` tells that nobody takes the records: then the connection is closed, and made again once that is over.
    ``failed`` is called once with what nobody expected. ``changed`` is called when there are new records.
    """

    def __init__(
        self,
        exchange: Exchange,
        symbol: str,
        follower: Follower,
        settings: Live,
        *,
        now_ns: Callable[[], int],
        chance: random.Random,
        accept: Callable[[bytes], None],
        changed: Callable[[], None],
        is_full: Callable[[bool], bool],
        failed: Callable[[BaseException], None],
    ) -> None:
        self.symbol, self.follower, self.counts = symbol, follower, Counts()
        self._exchange, self._settings, self._now_ns = exchange, settings, now_ns
        self._accept, self._changed, self._is_full, self._failed = accept, changed, is_full, failed
        waits = settings.wait_first_ms / 1000, settings.wait_max_ms / 1000, chance
        self._dials, self._asks = Backoff(*waits), Backoff(*waits)
        self._wake = asyncio.Event()
        self._has_book = False
        self._quiet_s = self._since_s = self._ask_at_s = self._book_s = 0.0

    @property
    def is_up(self) -> bool:
        """There is a book without gaps."""
        return self.follower.book_id >= 0

    async def run(self) -> None:
        """Connect, follow, mend; for ever. Raises Lost if no connection could be made ``tries`` times at first."""
        self._line(BREAK)
        while True:
            began_s = asyncio.get_running_loop().time()
            try:
                await self._follow()
            except Lost as lost:
                self._note(str(lost))
                if not self.counts.frames and self._dials.failures + 1 >= self._settings.tries:
                    raise
            finally:
                self._exchange.disconnect("given up")
            self.counts.breaks += 1
            self._line(BREAK)
            await asyncio.sleep(self._dials.after(asyncio.get_running_loop().time() - began_s))
            while self._is_full(True):
                await asyncio.sleep(TICK_S)

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        self._since_s = self._book_s = looked_s = loop.time()
        self._quiet_s = 0.0
        self._ask_at_s, self._has_book = 0.0, False
        futures = self._exchange.connect(self.symbol, self._on_text)
        try:
            while True:
                await self._pause(futures)
                looked_s, before_s = loop.time(), looked_s
                self._quiet_s += min(looked_s - before_s, 2 * TICK_S)  # the loop may have stood still: no silence
                if self._quiet_s > self._settings.silence_ms / 1000:
                    raise Lost(f"no frame for {self._settings.silence_ms} ms")
                if self._is_full(False):
                    raise Lost(f"more than {self._settings.queue_records} records wait to be taken")
                if not self.is_up:
                    await self._mend(loop.time())
        finally:
            for future in futures:
                future.cancel()

    async def _pause(self, futures: "set[asyncio.Future[Any]]") -> None:
        """Until something is to be looked at. Raises Lost."""
        self._wake.clear()
        waker = asyncio.ensure_future(self._wake.wait())
        done, _ = await asyncio.wait({*futures, waker}, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
        waker.cancel()
        if reasons := [reason_of(future) for future in done if future is not waker]:
            raise Lost(reasons[0])

    async def _mend(self, now_s: float) -> None:
        """Get a book."""
        if not self._exchange.profile.asks_snapshot:
            if self._has_book:
                raise Lost("the book is lost")
            if now_s - self._since_s > self._settings.book_ms / 1000:
                raise Lost(f"no valid book within {self._settings.book_ms} ms")
            return
        if self._has_book:
            self._has_book, self._ask_at_s = False, now_s
            if (held_s := now_s - self._book_s) < self._settings.wait_max_ms / 1000:
                self._ask_at_s += self._asks.after(held_s)
        if now_s < self._ask_at_s or not (self.follower.waiting or now_s - self._since_s > FIRST_UPDATE_S):
            return
        try:
            received_ns, body = await self._exchange.snapshot(self.symbol)
            self.counts.snapshots += 1
            self._line(body, received_ns)
        except Lost as lost:
            self._note(str(lost))
        self._ask_at_s = asyncio.get_running_loop().time() + (0 if self.is_up else self._asks.after(0))

    def _on_text(self, text: str | bytes) -> None:
        """Every frame. ccxt calls this from the loop, which would only log what is raised: it is handed on instead."""
        try:
            self._line(text.encode() if isinstance(text, str) else text)
            self.counts.frames += 1
            self._quiet_s = 0.0
        except Exception as error:
            self._failed(error)

    def _line(self, message: bytes, received_ns: int = 0) -> None:
        line = b"%d %s\n" % (received_ns or self._now_ns(), message.replace(b"\n", b" ").replace(b"\r", b" "))
        self._accept(line)
        self.follower.on_lines([line])
        if self.is_up:
            if not self._has_book:
                self._has_book, self._book_s = True, asyncio.get_running_loop().time()
        elif self._has_book:
            self._wake.set()
        self._changed()

    def _note(self, reason: str) -> None:
        if reason in self.counts.reasons or len(self.counts.reasons) < REASONS_MAX:
            self.counts.reasons[reason] += 1
        self.counts.last = reason
