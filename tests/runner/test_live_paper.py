"""Paper on a live market: frames over a socket are traded, recorded and ingested, and all three saw the same bytes."""

import asyncio
import json
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from core import ticks
from core.instruments import Instrument
from core.records import Kind
from core.settings import Strategy
from feeds.tape import Tape
from pipelines.featurize import featurize_events
from runner.home import Run
from runner.live.feed import LiveFeed
from runner.plan import header_core
from runner.reader import open_run, replay_run, verify
from tests.core.recorded import needs
from tests.doubles.frames import FrameServer, Socket
from tests.runner.book_tapes import MAKER, Place, make_place
from tests.runner.live_frames import BINANCE_DAY, BinanceVenue, coinbase_frames, ingested, kraken_frames, settings
from training.event_labels import EventLabelParams

LIVE = msgspec.structs.replace(MAKER, strategy=Strategy(kind="mm1", order_lots=1_000, inventory_lots=8_000))
MARKET = (Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.STATUS)
INPUTS = (Kind.SESSION, Kind.TIMER, *MARKET)


async def listed(server: FrameServer, *symbols: str) -> tuple[Instrument, ...]:
    """The instruments as the venue lists them."""
    feed = LiveFeed(settings(server, *symbols))
    try:
        return (await feed.load()).instruments()
    finally:
        await feed.close()


async def start(server: FrameServer, place: Place, folder: Path, *options: str, symbol: str = "BTC/USDT") -> Process:
    """``runner paper`` on what ``server`` sends, recording into ``folder``/raw."""
    config = folder / "live.yaml"
    config.write_text(
        f"venue: {server.venue}\nsymbols: [{symbol}]\nrest_url: {server.rest_url}\nws_url: {server.ws_url}\n"
        "wait_first_ms: 20\nwait_max_ms: 200\ntries: 3\nlatency_ms_max: 5000\n"
    )
    given = ("--home", str(place.home.folder), "--bundle", str(place.bundle), "--live-config", str(config))
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runner.cli", "paper", *given, "--record-to", str(folder / "raw"), "--run", "live",
        "--json", *options, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip


async def finished(process: Process) -> dict[str, Any]:
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def expect_one_truth(place: Place, folder: Path, found: dict[str, Any]) -> np.ndarray:
    """Journal, ingested recording, backtest and featurize agree; returns what core and exchange made."""
    tape = Tape.open(ingested(folder / "raw", folder / "out") / "market.tape")
    run = Run(place.home.folder / "runs/live")
    with open_run(run) as reader:
        verify(reader)
        assert replay_run(reader).difference is None
        journal = np.concatenate(list(reader.batches()))
        config, strategy = header_core(reader.header)
    assert journal[np.isin(journal["kind"], MARKET)].tobytes() == np.asarray(tape.records).tobytes()
    made = journal[~np.isin(journal["kind"], INPUTS)]
    assert made.tobytes() == ticks.session(config, tape.records, strategy).out.tobytes()
    featurize_events(tape, folder / "features", EventLabelParams())
    research = json.loads((folder / "features/spec.json").read_bytes())["market_state"]
    assert found["market_state"] == research
    assert found["late_rows"] == 0 and found["finished"]
    return made


class Today(BinanceVenue):
    """The recording as if it happened now: a live session waits for what is late, and cannot wait for years."""

    async def play(self, socket: Socket, count: int, *, lost: bool = False) -> None:
        now_ms = b"%d" % (time.time_ns() // 1_000_000)
        part = slice(self._next, self._next + count)
        self.frames = (*self.frames[: part.start], *(
            re.sub(rb'("[ET]":)\d+', rb"\g<1>" + now_ms, frame) for frame in self.frames[part]
        ), *self.frames[part.stop :])  # fmt: skip
        await super().play(socket, count, lost=lost)


def today(frames: list[bytes]) -> list[bytes]:
    """Frames with times in text, as if sent now."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
    return [re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", now, frame) for frame in frames]


def of_kind(records: np.ndarray, kind: Kind) -> int:
    return int((records["kind"] == kind).sum())


@needs(BINANCE_DAY)
def test_what_is_traded_live_is_what_is_ingested_and_backtested(tmp_path: Path) -> None:
    venue = Today(6_000)

    async def before_the_break(socket: Socket) -> None:
        await venue.play(socket, 100)
        await socket.snapshots(1)
        await venue.play(socket, 1_500)
        await asyncio.sleep(0.3)
        await venue.play(socket, 20, lost=True)
        await venue.play(socket, 500)
        await asyncio.sleep(0.2)
        socket.drop()

    async def after_it(socket: Socket) -> None:
        await venue.play(socket, 50, lost=True)
        while True:
            await venue.play(socket, 10)
            await asyncio.sleep(0.005)

    async def session() -> tuple[Place, dict[str, Any]]:
        async with venue.server(before_the_break, after_it) as server:
            place = make_place(tmp_path, [], instruments=await listed(server, "BTC/USDT"), trading=LIVE)
            process = await start(server, place, tmp_path)
            async with asyncio.timeout(60):
                while server.connections < 2:
                    assert process.returncode is None, await process.communicate()
                    await asyncio.sleep(0.05)
                await asyncio.sleep(2)
            process.send_signal(signal.SIGINT)
            return place, await finished(process)

    place, found = asyncio.run(session())
    made = expect_one_truth(place, tmp_path, found)
    assert of_kind(made, Kind.INTENT) > 20 and of_kind(made, Kind.ORDER) > 20 and found["market_state"]["rows"] > 500


@pytest.mark.parametrize(
    ("name", "symbol", "frames"),
    [("kraken", "BTC/USD", kraken_frames), ("coinbase", "BTC/USD", coinbase_frames)],
    ids=["kraken", "coinbase"],
)
def test_the_other_venues_and_an_end_by_the_clock(tmp_path: Path, name: str, symbol: str, frames: Any) -> None:
    async def script(socket: Socket) -> None:
        await socket.send(*today(frames(400)), gap_s=0.001)
        await asyncio.sleep(60)

    async def session() -> tuple[Place, dict[str, Any]]:
        names = {"kraken": "BTC/USD", "coinbase": "BTC-USD"}
        async with FrameServer(name, {names[name]: [script]}) as server:
            usd = msgspec.structs.replace(LIVE, account=msgspec.structs.replace(LIVE.account, quote="USD"))
            place = make_place(tmp_path, [], instruments=await listed(server, symbol), trading=usd)
            process = await start(server, place, tmp_path, "--seconds", "4", symbol=symbol)
            return place, await finished(process)

    place, found = asyncio.run(session())
    expect_one_truth(place, tmp_path, found)
    assert found["market_state"]["rows"] > 100
