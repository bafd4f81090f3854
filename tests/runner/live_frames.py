"""What the tests of the live feed share: frames to serve, a recorder to run, its folder to ingest."""

import asyncio
import gzip
import json
import os
import signal
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from data.build_events import build_events
from data.settings import DataParams
from feeds import market as markets
from feeds.tape import Tape
from runner.live import recorder
from runner.live.settings import Live
from tests.core.recorded import SHARED
from tests.doubles.frames import BinanceBook, FrameServer, Script, Socket
from tests.feeds import test_dialect_coinbase as coinbase
from tests.feeds import test_dialect_kraken as kraken

BINANCE_DAY = SHARED / "market-data/lob/binance-ws/spot-btcusdt-20240808.gz"
QUICK = {"wait_first_ms": 20, "wait_max_ms": 200, "tries": 3}


@cache
def binance_day() -> tuple[bytes, tuple[bytes, ...]]:
    """The recording's snapshot, and its depth and trade frames as a socket without stream names sends them."""
    snapshot, frames = b"", []
    with gzip.open(BINANCE_DAY) as lines:
        for line in lines:
            message = line.split(b" ", 1)[1].strip()
            if message.startswith(b'{"lastUpdateId"'):
                snapshot = message
            elif b"@bookTicker" not in message[:60]:
                frames.append(message[message.index(b'"data":') + 7 : -1])
    return snapshot, tuple(frames)


class BinanceVenue:
    """Plays a part of the recording, and answers depth requests with the venue's book at that place."""

    def __init__(self, count: int = 1500) -> None:
        snapshot, frames = binance_day()
        self.book, self.frames = BinanceBook(snapshot), frames[:count]
        self._next = 0

    def server(self, *scripts: Script, **more: Any) -> FrameServer:
        return FrameServer("binance", {"BTCUSDT": list(scripts)}, snapshot=lambda name: self.book.snapshot(), **more)

    async def play(self, socket: Socket, count: int, *, lost: bool = False) -> None:
        """Send the next frames; with ``lost`` only the venue's own book sees them."""
        for frame in self.frames[self._next : self._next + count]:
            self.book.apply(frame)
            if not lost:
                await socket.send(frame)
        self._next += count


def depth_frames(frames: Iterable[bytes]) -> list[bytes]:
    return [frame for frame in frames if b'"depthUpdate"' in frame]


def kraken_frames(count: int = 30) -> list[bytes]:
    """A snapshot and updates of ten levels a side, each with its checksum, and trades."""
    bids = {f"{45283 - k}.5": f"{1 + k}.10000000" for k in range(10)}
    asks = {f"{45284 + k}.5": f"{2 + k}.20000000" for k in range(10)}
    frames = [kraken.book("snapshot", bids, asks, kraken.checksum(bids, asks))]
    for k in range(count):
        price, qty = f"{45283 - k % 10}.5", f"0.{k + 1:08d}"
        bids[price] = qty
        frames.append(kraken.book("update", {price: qty}, {}, kraken.checksum(bids, asks)))
        frames.append(kraken.trades((k + 1, "buy", "45284.5", "0.1")))
    return frames


def coinbase_frames(count: int = 30) -> list[bytes]:
    """One connection's messages, counted from 0."""
    frames = [coinbase.snapshot(0), coinbase.message(1, "subscriptions", [{"subscriptions": {"level2": ["BTC-USD"]}}])]
    for k in range(count):
        frames.append(coinbase.update(len(frames), [("100.00", f"0.{k + 1:08d}")]))
        frames.append(coinbase.trades(len(frames), coinbase.trade(k + 1)))
        frames.append(coinbase.heartbeat(len(frames)))
    return frames


def settings(server: FrameServer, *symbols: str, **more: Any) -> Live:
    urls = {"rest_url": server.rest_url, "ws_url": server.ws_url}
    return Live(venue=server.venue, symbols=symbols or ("BTC/USDT",), **(urls | QUICK | more))  # type: ignore[arg-type]


async def record_until(
    live: Live, folder: Path, enough: Any, monkeypatch: Any, *, flush_s: float = 0.05, limit_s: float = 30.0
) -> recorder.Found:
    """Record until ``enough`` of what was found so far; fail after ``limit_s``."""
    monkeypatch.setattr(recorder, "FLUSH_S", flush_s)
    seen: list[recorder.Found] = []
    task = asyncio.ensure_future(recorder.record(live, folder, seconds=limit_s, progress=seen.append))
    while not task.done() and not (seen and enough(seen[-1])):
        await asyncio.sleep(0.02)
    assert not task.done(), seen[-1:] or task.result()
    os.kill(os.getpid(), signal.SIGINT)  # as an operator ends it
    return await task


def ingested(folder: Path, out: Path, *, clock_offset_ms: int = 0) -> Path:
    """What ingest makes of a recorder's folder, with the market file it wrote."""
    market = markets.from_yaml((folder / "market.yaml").read_text(), where="market.yaml")
    params = DataParams(source=f"{market.venue}_ws", path=str(folder), days=0, clock_offset_ms=clock_offset_ms)
    for name in ("data", "holdout"):
        (out / name).mkdir(parents=True)
    build_events(folder, market, params, feed_latency_ns=0, out=out / "data", holdout=out / "holdout")
    return out / "data"


def same_tape(folder: Path, out: Path, found: recorder.Found, **more: int) -> np.ndarray:
    """Hold the recorder's tape against what ingest makes, file by file, byte by byte; its records."""
    made = ingested(folder, out, **more)
    assert (made / "market.tape").read_bytes() == Path(found["tape"]).read_bytes()
    told = json.loads((made / "summary.json").read_text())
    assert told["tape_id"] == found["tape_id"]
    ours = {symbol.replace("/", "-"): item["findings"] for symbol, item in found["symbols"].items()}
    theirs = {
        symbol: {rule: n for rule, n in item["findings"].items() if n} for symbol, item in told["symbols"].items()
    }
    assert ours == theirs
    return Tape.open(made / "market.tape").records
