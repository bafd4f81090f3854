"""What a live message costs: ``python -m tests.benchmarks.bench_live_feed --recording FILE [--repeats 3]``.

``FILE`` is a gzip recording of Binance spot. A server in another process plays its depth and trade frames over loopback
as fast as they are taken. They are counted at the other end: with nothing behind the socket, with the feed, with feed
and recorder (compressed pieces, records), and with ccxt's own handling of the same frames into its book. Messages a
second of wall time and microseconds of processor time a message, the best of several runs each, all in one run.
``ccxt_times_feed``: what ccxt's handling costs beyond the socket, as a multiple of what ours does.
"""

import argparse
import asyncio
import gzip
import json
import multiprocessing
import tempfile
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from runner.live.exchange import Exchange
from runner.live.feed import LiveFeed
from runner.live.recorder import Recorder
from runner.live.settings import Live
from tests.doubles.frames import FrameServer, Socket

FIRST = 5  # frames before the snapshot is asked for
SYMBOL = "BTC/USDT"
Figures = dict[str, float]


def frames_of(path: Path) -> tuple[bytes, list[bytes]]:
    """The recording's snapshot and the frames that follow it, as a socket without stream names sends them."""
    snapshot, frames = b"", []
    for line in gzip.decompress(path.read_bytes()).splitlines():
        message = line.split(b" ", 1)[1]
        if message.startswith(b'{"lastUpdateId"'):
            snapshot = message
        elif b"@bookTicker" not in message[:60]:
            frames.append(message[message.index(b'"data":') + 7 : -1])
    at = json.loads(snapshot)["lastUpdateId"]
    return snapshot, [frame for frame in frames if b'"trade"' in frame[:20] or json.loads(frame)["u"] > at]


def serve(path: Path, pipe: Connection) -> None:
    """The server's process: where it listens goes into ``pipe``; it ends when something comes out of it."""
    snapshot, frames = frames_of(path)

    async def script(socket: Socket) -> None:
        served = socket.server.snapshots_served
        await socket.send(*frames[:FIRST])
        await socket.snapshots(served + 1)
        await socket.send(*frames[FIRST:])

    async def run() -> None:
        async with FrameServer("binance", {"BTCUSDT": [script]}, snapshot=lambda name: snapshot) as server:
            pipe.send((server.rest_url, server.ws_url))
            while not pipe.poll():
                await asyncio.sleep(0.05)

    asyncio.run(run())


class Stopwatch:
    """From the first message after the snapshot to the last."""

    def __init__(self, count: int) -> None:
        self.count, self.seen = count, 0
        self._wall_s = self._cpu_s = 0.0

    def message(self) -> None:
        self.seen += 1
        if self.seen == FIRST + 1:
            self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()

    def figures(self) -> Figures:
        passed_s, cpu_s = time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s
        messages = self.count - FIRST
        return {"messages_per_s": round(messages / passed_s), "cpu_us": round(cpu_s / messages * 1e6, 1)}


async def feed_only(live: Live, watch: Stopwatch) -> Figures:
    feed = LiveFeed(live, sink=lambda instrument, line: watch.message() if b'{"e"' in line[:30] else None)
    await feed.load()
    feed.start()
    while watch.seen < watch.count:
        await asyncio.sleep(0.02)
        feed.take()
    figures = watch.figures()
    await feed.close()
    return figures


async def with_recorder(live: Live, watch: Stopwatch) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        feed = LiveFeed(live)
        recorder = Recorder(feed, Path(folder), "binance")
        recorder.open(await feed.load())
        write = feed.sink

        def sink(instrument: int, line: bytes) -> None:
            write(instrument, line)
            if b'{"e"' in line[:30]:
                watch.message()

        feed.sink = sink
        feed.start()
        while watch.seen < watch.count:
            await asyncio.sleep(0.2)
            recorder.tick()
        figures = watch.figures() | {"bytes_a_message": round(recorder.found()["bytes"] / watch.count, 1)}
        await feed.close()
        recorder.close()
        return figures


async def socket_only(live: Live, watch: Stopwatch) -> Figures:
    """Frames are received and counted."""
    exchange = Exchange(live, time.time_ns)
    await exchange.market()
    futures = exchange.connect(SYMBOL, lambda text: watch.message() if '{"e"' in text[:30] else None)  # type: ignore[operator]
    while watch.seen < FIRST:
        await asyncio.sleep(0.01)
    await exchange.snapshot(SYMBOL)
    while watch.seen < watch.count:
        await asyncio.sleep(0.02)
    figures = watch.figures()
    for future in futures:
        future.cancel()
    await exchange.close()
    return figures


async def ccxt_alone(live: Live, watch: Stopwatch) -> Figures:
    """Every frame goes to ccxt, which has a book at the snapshot to apply it to."""
    exchange = Exchange(live, time.time_ns)
    exchange.profile = _Forwarding(exchange.profile)  # type: ignore[assignment]
    await exchange.market()
    api = exchange._api
    told = json.loads((await exchange.snapshot(SYMBOL))[1])
    api.orderbooks[SYMBOL] = api.order_book(api.parse_order_book(told, SYMBOL))
    api.orderbooks[SYMBOL]["nonce"] = told["lastUpdateId"]
    futures = exchange.connect(SYMBOL, lambda text: watch.message() if '{"e"' in text[:30] else None)  # type: ignore[operator]
    while watch.seen < FIRST:
        await asyncio.sleep(0.01)
    await exchange.snapshot(SYMBOL)  # the server waits for it
    while watch.seen < watch.count:
        await asyncio.sleep(0.02)
    figures = watch.figures()
    assert api.orderbooks[SYMBOL]["nonce"] > told["lastUpdateId"], "ccxt used none of the frames"
    for future in futures:
        future.cancel()
    await exchange.close()
    return figures


class _Forwarding:
    """A profile that takes nothing for the market's."""

    def __init__(self, profile: Any) -> None:
        self._profile = profile

    def __getattr__(self, name: str) -> Any:
        return (lambda head: False) if name == "is_market" else getattr(self._profile, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    count = len(frames_of(options.recording)[1])
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(options.recording, theirs))
    server.start()
    rest_url, ws_url = ours.recv()
    live = Live(venue="binance", symbols=(SYMBOL,), rest_url=rest_url, ws_url=ws_url)
    ways: dict[str, Callable[[Live, Stopwatch], Awaitable[Figures]]] = {
        "socket": socket_only, "feed": feed_only, "feed_and_recorder": with_recorder, "ccxt": ccxt_alone,
    }  # fmt: skip
    figures: dict[str, Any] = {"messages": count}
    for name, way in ways.items():
        runs = [asyncio.run(_run(way, live, count)) for _ in range(options.repeats)]
        figures[name] = min(runs, key=lambda run: run["cpu_us"])
    ours.send("end")
    server.join()
    beyond = {name: figures[name]["cpu_us"] - figures["socket"]["cpu_us"] for name in ("feed", "ccxt")}
    figures["ccxt_times_feed"] = round(beyond["ccxt"] / beyond["feed"], 1)  # beyond the socket
    print(json.dumps(figures))


async def _run(way: Callable[[Live, Stopwatch], Awaitable[Figures]], live: Live, count: int) -> Figures:
    return await way(live, Stopwatch(count))


if __name__ == "__main__":
    main()
