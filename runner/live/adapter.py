"""The live feed as a session's feed: an iterator of record arrays, without a thread.

The session pulls. While it waits for the next chunk, the event loop runs, and with it everything live: sockets, pings,
repairs. While the session works on a chunk, nothing does: frames wait in the sockets and are stamped with the time at
which the session came back for more. So a session's own work, and a commit's, are part of what it sees as delay; one
that stays away for longer than the venue's patience with unread data loses its connection, which it is told as a break.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from core.canonical import hash_json
from features.market_state import specs_of
from feeds.market import Market
from runner.feed import Feed
from runner.lease import lease
from runner.live.feed import LiveFeed, Sink
from runner.live.recorder import FLUSH_S, RECORDING, Recorder
from runner.live.settings import Live

LOOK_S: Final = 0.1  # how often the end is looked for while nothing comes


@contextmanager
def live_feed(
    settings: Live,
    *,
    seconds: float | None = None,
    record_to: Path | None = None,
    now_ns: Callable[[], int] = time.time_ns,
    sink: Sink = lambda instrument, line: None,
) -> Iterator[Feed]:
    """``settings``' market as a Feed whose chunks are arrays of dtype RECORD, played once.

    It ends after ``seconds`` or by its ``end``. ``record_to``: a folder for the raw frames, as the recorder writes it;
    without one each line goes to ``sink``.
    Raises BadInput for an unknown symbol and without a connection, Refused if another process records into the folder;
    ``chunks`` raises what ends the feed before its time.
    """
    with ExitStack() as stack:
        if record_to is not None:
            stack.enter_context(lease(record_to, RECORDING))
        loop = stack.enter_context(asyncio.Runner()).get_loop()
        feed = LiveFeed(settings, now_ns=now_ns, sink=sink)
        stack.callback(lambda: loop.run_until_complete(feed.close()))
        market = loop.run_until_complete(feed.load())
        recorder = None if record_to is None else Recorder(feed, record_to, settings.venue, with_tape=False)
        if recorder is not None:
            stack.callback(recorder.release)
            recorder.open(market)
        chunks = _Chunks(loop, feed, recorder, seconds)
        yield _described(settings, market, now_ns(), chunks)


class _Chunks:
    """The feed's records as they come, until the end; then what was received and not taken."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, feed: LiveFeed, recorder: Recorder | None, seconds: float | None
    ) -> None:
        self._loop, self._feed, self._recorder, self._seconds = loop, feed, recorder, seconds
        self._is_ended = False

    def end(self) -> None:
        self._is_ended = True

    def __call__(self) -> Iterator[np.ndarray]:
        loop, records = self._loop, self._feed.records()
        loop.run_until_complete(self._start())
        end_s = float("inf") if self._seconds is None else loop.time() + self._seconds
        flush_s = loop.time() + FLUSH_S
        following = loop.create_task(anext(records))
        try:
            while not self._is_ended and loop.time() < end_s:
                loop.run_until_complete(asyncio.wait({following}, timeout=LOOK_S))
                if self._recorder is not None and loop.time() > flush_s:
                    self._recorder.flush()
                    flush_s = loop.time() + FLUSH_S
                if following.done():
                    yield following.result()
                    following = loop.create_task(anext(records))
        finally:
            following.cancel()
        loop.run_until_complete(self._feed.close())
        if len(rest := self._feed.take(all_of_it=True)):
            yield rest
        if self._recorder is not None:
            self._recorder.close()

    async def _start(self) -> None:
        self._feed.start()


def _described(settings: Live, market: Market, started_ns: int, chunks: _Chunks) -> Feed:
    source = {"kind": "live", "venue": settings.venue, "symbols": list(settings.symbols), "started_ns": started_ns}
    return Feed(
        id=hash_json(source),
        source=source,
        instruments=market.instruments(),
        interval_ns=0,
        rows=None,
        trade_from_ns=0,
        chunks=chunks,
        latency_ns_max=settings.latency_ms_max * 1_000_000,
        book_specs=tuple(specs_of(market.instruments(), {"asset_class": market.asset_class, "has_depth": True})),
        end=chunks.end,
    )
