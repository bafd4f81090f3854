"""The live feed itself: what ccxt is told, what a session is given, and when."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import RECORD
from feeds.dialects.frames import recorded
from feeds.dialects.venues import follower
from runner.live.adapter import live_feed
from runner.live.feed import LiveFeed
from runner.live.link import Backoff
from tests.doubles.frames import FrameServer, Socket
from tests.runner.live_frames import coinbase_frames, kraken_frames, settings


async def play_kraken(socket: Socket) -> None:
    await socket.send(*kraken_frames(), gap_s=0.002)


async def play_coinbase(socket: Socket) -> None:
    await socket.send(*coinbase_frames())


@pytest.mark.parametrize(
    ("venue", "name", "script", "kinds"),
    [
        ("kraken", "BTC/USD", play_kraken, {"subscribe"}),
        ("coinbase", "BTC-USD", play_coinbase, {"subscriptions"}),
    ],
)
def test_ccxt_is_handed_answers_only(venue: str, name: str, script, kinds: set[str]) -> None:
    """Not one frame of the market: its own book would cost more than everything else, and resolve nobody."""
    told: list[dict] = []

    async def session() -> None:
        async with FrameServer(venue, {name: [script]}) as server:
            feed = LiveFeed(settings(server, "BTC/USD"))
            await feed.load()
            api = feed._exchanges[0]._api
            handle = api.handle_message
            api.handle_message = lambda client, message: (told.append(message), handle(client, message))
            feed.start()
            while feed.waiting < 60:
                await asyncio.sleep(0.01)
            await feed.close()
            assert api.orderbooks == {} and api.trades == {}

    asyncio.run(session())
    assert {message.get("method") or message.get("channel") for message in told} == kinds


def test_what_a_venue_refuses_is_a_reason_and_tried_again() -> None:
    async def refuse(socket: Socket) -> None:
        await socket.send(b'{"type": "error", "message": "rate limited"}')

    async def session() -> LiveFeed:
        async with FrameServer("coinbase", {"BTC-USD": [refuse, play_coinbase]}) as server:
            feed = LiveFeed(settings(server, "BTC/USD"))
            await feed.load()
            feed.start()
            while not feed.links[0].is_up:
                await asyncio.sleep(0.01)
            await feed.close()
            return feed

    feed = asyncio.run(session())
    assert feed.links[0].counts.reasons == {"rate limited": 1}


@contextmanager
def served_elsewhere(server: FrameServer) -> Iterator[None]:
    """The server in a thread: a session's loop stands still while the session works."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        yield
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_session_pulls_the_records_of_the_lines_and_may_stay_away() -> None:
    """Away for longer than a silence that would count: the loop stood still, the venue did not."""
    server = FrameServer("kraken", {"BTC/USD": [play_kraken]})
    lines: list[bytes] = []
    with served_elsewhere(server):
        live = settings(server, "BTC/USD", silence_ms=500)
        with live_feed(live, sink=lambda instrument, line: lines.append(line)) as feed:
            assert feed.source["kind"] == "live" and feed.instruments[0].tick == "0.1" and feed.interval_ns == 0
            taken, pulls = [], feed.chunks()
            while sum(map(len, taken)) < 2 + 20 + 60:
                taken.append(next(pulls))
                if len(taken) == 2:
                    time.sleep(1.0)
    again = follower("kraken", feed.instruments[0])
    expected = np.concatenate(list(recorded(lines, again)))
    records = np.concatenate(taken)
    assert records.dtype == RECORD and len(taken) > 2
    assert records.tobytes() == expected[: len(records)].tobytes()
    assert sum(line.endswith(b" break\n") for line in lines) == 1


def test_an_error_of_the_sink_ends_the_feed() -> None:
    def sink(instrument: int, line: bytes) -> None:
        if b"snapshot" in line:
            raise OSError(28, "No space left on device")

    server = FrameServer("kraken", {"BTC/USD": [play_kraken]})
    with (
        served_elsewhere(server),
        live_feed(settings(server, "BTC/USD"), sink=sink) as feed,
        pytest.raises(OSError, match="No space left"),
    ):
        list(feed.chunks())


def test_a_clock_that_goes_back_does_not() -> None:
    ticks = iter([5, 3, 4, 6])
    feed = LiveFeed(settings(FrameServer("kraken", {}), "BTC/USD"), now_ns=lambda: next(ticks))
    assert [feed.now_ns() for _ in range(4)] == [5, 5, 5, 6]


@given(st.lists(st.floats(0, 0.9), min_size=1, max_size=40), st.integers(0, 2**32))
def test_waits_double_up_to_the_most_with_jitter_and_begin_anew_after_what_held(held: list[float], seed: int) -> None:
    waits = Backoff(0.1, 1.0, random.Random(seed))
    for k, held_s in enumerate(held):
        most = min(0.1 * 2**k, 1.0)
        assert most / 2 <= waits.after(held_s) <= most
    assert 0.05 <= waits.after(1.1) <= 0.1
