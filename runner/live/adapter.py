"""The live feed as a session's feed: an iterator of record arrays, without a thread.

The session pulls. While it waits for the next chunk, the event loop runs, and with it everything live: sockets, pings,
repairs. While the session works on a chunk, nothing does: frames wait in the sockets and are stamped with the time at
which the session came back for more. So a session's own work, and a commit's, are part of what it sees as delay; one
that stays away for longer than the venue's patience with unread data loses its connection, which it is told as a break.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from core.canonical import hash_json
from runner.feed import Feed
from runner.live.feed import LiveFeed, Sink
from runner.live.settings import Live


@contextmanager
def live_feed(
    settings: Live, *, now_ns: Callable[[], int] = time.time_ns, sink: Sink = lambda instrument, line: None
) -> Iterator[Feed]:
    """``settings``' market as a Feed whose chunks are arrays of dtype RECORD, without end, played once.

    Raises BadInput for an unknown symbol and without a connection; ``chunks`` raises what ends the feed.
    """
    with asyncio.Runner() as runner:
        loop, feed = runner.get_loop(), LiveFeed(settings, now_ns=now_ns, sink=sink)
        source = {"kind": "live", "venue": settings.venue, "symbols": list(settings.symbols), "started_ns": now_ns()}

        def chunks() -> Iterator[np.ndarray]:
            records = feed.records()
            while True:
                yield loop.run_until_complete(anext(records))

        try:
            market = loop.run_until_complete(feed.load())
            loop.run_until_complete(_started(feed))
            yield Feed(
                id=hash_json(source),
                source=source,
                instruments=market.instruments(),
                interval_ns=0,
                rows=None,
                trade_from_ns=0,
                chunks=chunks,
            )
        finally:
            loop.run_until_complete(feed.close())


async def _started(feed: LiveFeed) -> None:
    feed.start()
