"""Frames over a socket, recorded and ingested: what is ingested is what was seen live, byte for byte, whatever broke.

The server is ``tests.doubles.frames``; ccxt is as it is installed.
"""

import asyncio
from pathlib import Path

import numpy as np

from core.records import Kind, MarketFlag, Reason
from tests.core.recorded import needs
from tests.doubles.frames import Socket
from tests.runner.live_frames import BINANCE_DAY, BinanceVenue, record_until, same_tape, settings

pytestmark = needs(BINANCE_DAY)


def breaks_and_books(records: np.ndarray) -> list[str]:
    """The order in which the book was lost and begun anew."""
    told = []
    for record in records[records["kind"] == Kind.CLEAR][::2]:  # both sides
        if record["reason"] == Reason.BOOK_INVALID:
            told.append("lost")
        elif record["flags"] & MarketFlag.SNAPSHOT:
            told.append("begun")
    return told


def test_a_recorded_market_is_ingested_as_it_was_seen(tmp_path: Path, monkeypatch) -> None:
    venue = BinanceVenue()

    async def script(socket: Socket) -> None:
        await venue.play(socket, 100)
        await socket.snapshots(1)
        await venue.play(socket, 1400)

    async def session() -> dict:
        async with venue.server(script) as server:
            done = lambda found: found["messages"] > 1500  # noqa: E731
            return await record_until(settings(server), tmp_path / "raw", done, monkeypatch)

    found = asyncio.run(session())
    records = same_tape(tmp_path / "raw", tmp_path / "out", found)
    assert found["messages"] == 1501 and found["gaps"] == 0 and found["breaks"] == 0
    assert breaks_and_books(records) == ["begun"]
    assert {Kind.LEVEL, Kind.TRADE, Kind.CLEAR} == set(records["kind"].tolist())
    told = found["symbols"]["BTC/USDT"]
    assert told["has_book"] and told["snapshots"] == 1


def test_a_lost_update_a_dropped_connection_and_a_silent_one_are_mended_and_ingested_as_seen(
    tmp_path: Path, monkeypatch
) -> None:
    """Each makes the book invalid until a new snapshot; the updates that were lost are of the venue's book only."""
    venue = BinanceVenue()

    async def gap_then_drop(socket: Socket) -> None:
        await venue.play(socket, 300)
        await socket.snapshots(1)
        await venue.play(socket, 100)
        await venue.play(socket, 20, lost=True)
        await venue.play(socket, 100)
        await socket.snapshots(2)
        await venue.play(socket, 100)
        await asyncio.sleep(0.2)  # what is sent is read before the connection is gone
        socket.drop()

    async def half_open(socket: Socket) -> None:
        await venue.play(socket, 50, lost=True)
        await venue.play(socket, 100)
        await socket.snapshots(3)
        await venue.play(socket, 100)

    async def closed_by_the_venue(socket: Socket) -> None:
        await venue.play(socket, 50)
        await socket.snapshots(4)
        await venue.play(socket, 50)
        await asyncio.sleep(0.2)
        await socket.close()

    async def last(socket: Socket) -> None:
        await venue.play(socket, 100)
        await socket.snapshots(5)
        await venue.play(socket, 100)

    async def session() -> dict:
        async with venue.server(gap_then_drop, half_open, closed_by_the_venue, last) as server:
            live = settings(server, silence_ms=700)
            done = lambda found: server.connections == 4 and found["messages"] == 600 + 200 + 100 + 200 + 4  # noqa: E731
            return await record_until(live, tmp_path / "raw", done, monkeypatch)

    found = asyncio.run(session())
    records = same_tape(tmp_path / "raw", tmp_path / "out", found)
    told = found["symbols"]["BTC/USDT"]
    assert breaks_and_books(records) == ["begun"] + ["lost", "begun"] * 4
    assert found["breaks"] == 3 and told["snapshots"] == 5 and told["has_book"]
    assert told["findings"]["gap"] >= 1
    assert "no frame for 700 ms" in told["reasons"]


def test_a_snapshot_that_fails_or_is_older_than_the_updates_is_asked_for_again(tmp_path: Path, monkeypatch) -> None:
    venue = BinanceVenue()
    old = venue.book.snapshot()
    answers = [old, old]

    async def script(socket: Socket) -> None:
        await venue.play(socket, 200, lost=True)
        await venue.play(socket, 200)
        await socket.snapshots(3)
        await venue.play(socket, 100)

    async def session() -> dict:
        async with venue.server(script, rest_failures=2) as server:
            server.snapshot = lambda name: answers.pop() if answers else venue.book.snapshot()
            done = lambda found: found["messages"] == 301 and found["symbols"]["BTC/USDT"]["has_book"]  # noqa: E731
            return await record_until(settings(server), tmp_path / "raw", done, monkeypatch)

    found = asyncio.run(session())
    same_tape(tmp_path / "raw", tmp_path / "out", found)
    told = found["symbols"]["BTC/USDT"]
    assert told["snapshots"] == 3 and found["breaks"] == 0
    assert sum(n for reason, n in told["reasons"].items() if reason.startswith("snapshot: ")) == 2


def test_records_that_nobody_takes_close_the_connection_and_are_not_lost(tmp_path: Path, monkeypatch) -> None:
    """The recorder takes them once a second; so much at once must wait, and what was missed is marked as missed."""
    venue = BinanceVenue(6000)

    async def script(socket: Socket) -> None:
        await venue.play(socket, 1500)

    async def session() -> dict:
        async with venue.server(script) as server:
            live = settings(server, queue_records=1_000)
            done = lambda found: server.connections >= 2 and found["symbols"]["BTC/USDT"]["snapshots"] >= 2  # noqa: E731
            return await record_until(live, tmp_path / "raw", done, monkeypatch, flush_s=0.5)

    monkeypatch.setattr("runner.live.link.TICK_S", 0.01)
    found = asyncio.run(session())
    same_tape(tmp_path / "raw", tmp_path / "out", found)
    assert found["full"] >= 1
    assert any("records wait to be taken" in reason for reason in found["symbols"]["BTC/USDT"]["reasons"])
