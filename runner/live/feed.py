"""Several instruments of one venue as one stream of records, in the order in which they became known.

Every link's clock is this feed's, which never goes back: so a record known before now cannot be preceded by one that is
yet to come, and several links' records are given out once their time has passed, in ingest's order: by time, then by
instrument. One link's need not wait. A record stamped ahead of our clock (``clock_behind``) waits for its time; set
``clock_offset_ms`` where the machine's clock is behind the venue's.

Records wait in the dialects until someone takes them. Beyond ``queue_records`` the connections are closed, as if the
venue had closed them, until half are taken: nothing that was made is dropped, and what was missed is marked as missed.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import numpy as np

from core.errors import BadInput, BrokenInvariant
from core.records import RECORD
from feeds.dialects.venues import follower
from feeds.market import Market
from runner.live.exchange import Exchange, Lost
from runner.live.link import Backoff, Link
from runner.live.settings import Live

LATER_S: Final = 0.001  # until records that were too early are looked at again
Sink = Callable[[int, bytes], None]  # instrument, line


class LiveFeed:
    """A venue's books and trades. ``open``, then ``take`` or ``records``, then ``close``.

    ``now_ns`` is the clock that stamps receipts; ``sink`` gets every line before it is read, and may raise.
    """

    def __init__(
        self,
        settings: Live,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        chance: random.Random | None = None,
        sink: Sink = lambda instrument, line: None,
    ) -> None:
        self._settings, self._clock_ns, self._chance = settings, now_ns, chance or random.Random()
        self.sink = sink
        self._latest_ns = 0
        self._held: list[list[np.ndarray]] = []
        self._held_records = 0
        self._changed = asyncio.Event()
        self._error: BaseException | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._exchanges: list[Exchange] = []
        self._market: Market | None = None
        self.links: list[Link] = []
        self.full_times = 0

    @property
    def market(self) -> Market:
        """The instruments, with the venue's grids."""
        if self._market is None:
            raise BrokenInvariant("the feed is not open")
        return self._market

    @property
    def waiting(self) -> int:
        """How many records nobody has taken."""
        return self._held_records + sum(link.follower.pending for link in self.links)

    def now_ns(self) -> int:
        """The time, never before what it was."""
        self._latest_ns = max(self._latest_ns, self._clock_ns())
        return self._latest_ns

    async def load(self) -> Market:
        """Ask the venue for its instruments. Raises BadInput for an unknown symbol, and if there is no answer."""
        first = Exchange(self._settings, self.now_ns)
        self._exchanges.append(first)
        waits = Backoff(self._settings.wait_first_ms / 1000, self._settings.wait_max_ms / 1000, self._chance)
        while self._market is None:
            try:
                self._market = await first.market()
            except Lost as lost:
                if waits.failures + 1 >= self._settings.tries:
                    raise self._no_connection(str(lost)) from None
                await asyncio.sleep(waits.after(0))
        return self._market

    def start(self) -> None:
        """Connect, in tasks of the running loop."""
        offset_ns = self._settings.clock_offset_ms * 1_000_000
        self._exchanges += [self._exchanges[0].share() for _ in self.market.listings[1:]]
        for index, instrument in enumerate(self.market.instruments()):
            self.links.append(self._link(index, follower(
                self._settings.venue, instrument, index=index, clock_offset_ns=offset_ns,
            )))  # fmt: skip
            self._held.append([])
        self._tasks = [asyncio.ensure_future(link.run()) for link in self.links]
        for task in self._tasks:
            task.add_done_callback(self._on_end)

    def _link(self, index: int, made: Any) -> Link:
        return Link(
            self._exchanges[index],
            self._settings.symbols[index],
            made,
            self._settings,
            now_ns=self.now_ns,
            chance=self._chance,
            accept=lambda line: self.sink(index, line),
            changed=self._changed.set,
            is_full=self._is_full,
            failed=self._fail,
        )

    def take(self, *, all_of_it: bool = False) -> np.ndarray:
        """The records that can be given out by now, in order, (n,) RECORD. Raises what ended the feed.

        ``all_of_it``: no further frame will come, so nothing needs to wait.
        """
        if self._error is not None:
            raise self._error
        until = self.now_ns() + self._settings.clock_offset_ms * 1_000_000
        parts = []
        for link, held in zip(self.links, self._held, strict=True):
            if link.follower.pending:
                held.append(link.follower.take())
                link.counts.records += len(held[-1])
            while held:
                known = held[0]["ts_known"]
                ready = len(known)
                if len(self.links) > 1 and not all_of_it:
                    ready = int(np.searchsorted(known, until))
                parts.append(held[0][:ready])
                if ready < len(known):
                    held[0] = held[0][ready:]
                    break
                del held[0]
        self._held_records = sum(len(part) for held in self._held for part in held)
        if len(parts) < 2:
            return parts[0] if parts else np.zeros(0, RECORD)
        chunk = np.concatenate(parts)
        return chunk[np.lexsort((chunk["instrument"], chunk["ts_known"]))]

    async def records(self) -> AsyncIterator[np.ndarray]:
        """Records as they come, arrays of dtype RECORD, none empty, until the feed is closed."""
        while True:
            self._changed.clear()
            if len(chunk := self.take(all_of_it=not self._tasks)):
                yield chunk
            elif not self._tasks:
                return
            elif self._held_records:
                await asyncio.sleep(LATER_S)
            else:
                await self._changed.wait()

    async def close(self) -> None:
        """End every connection; what was received can still be taken."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(exchange.close() for exchange in self._exchanges))
        self._exchanges = []
        self._changed.set()

    def _is_full(self, was: bool) -> bool:
        """Whether too much waits; once it ``was``, until half is taken."""
        full = self.waiting > self._settings.queue_records // (2 if was else 1)
        self.full_times += full and not was
        return full

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._changed.set()

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            self._fail(self._no_connection(str(error)) if isinstance(error, Lost) else error)

    def _no_connection(self, reason: str) -> BadInput:
        return BadInput(
            f"{self._settings.venue}: no connection after {self._settings.tries} tries, last: {reason}; check the "
            "network and the venue's status page, or raise tries"
        )
