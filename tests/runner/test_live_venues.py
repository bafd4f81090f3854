"""Kraken's checksums, Coinbase's count, several symbols: recorded, ingested, the same; and what is refused, by name."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from core.errors import BadConfig, BadInput, Refused
from core.records import Kind
from feeds.dialects.frames import recorded
from runner.lease import lease
from runner.live.recorder import RECORDING, record
from runner.live.settings import Live, load
from tests.doubles.frames import FrameServer, Socket
from tests.feeds import test_dialect_binance as binance
from tests.feeds import test_dialect_coinbase as coinbase
from tests.feeds import test_dialect_kraken as kraken
from tests.runner.live_frames import (
    coinbase_frames,
    kraken_frames,
    record_until,
    same_tape,
    settings,
)  # fmt: skip
from tests.runner.test_live_record import breaks_and_books


def test_a_wrong_checksum_of_kraken_brings_a_new_connection_and_a_new_book(tmp_path: Path, monkeypatch) -> None:
    frames = kraken_frames()
    wrong = kraken.book("update", {"45283.5": "9"}, {}, 1)

    async def first(socket: Socket) -> None:
        await socket.send(kraken.system("online"), *frames[:21], wrong, *frames[21:])

    async def second(socket: Socket) -> None:
        await socket.send(*frames)

    async def session() -> dict:
        async with FrameServer("kraken", {"BTC/USD": [first, second]}) as server:
            done = lambda found: found["messages"] == 2 * 2 + 1 + 62 + 61  # noqa: E731 - answers, status, frames
            return await record_until(settings(server, "BTC/USD"), tmp_path / "raw", done, monkeypatch)

    found = asyncio.run(session())
    records = same_tape(tmp_path / "raw", tmp_path / "out", found)
    told = found["symbols"]["BTC/USD"]
    assert breaks_and_books(records) == ["begun", "lost", "begun"]
    assert told["findings"]["checksum"] == 1 and told["reasons"] == {"the book is lost": 1} and told["has_book"]
    assert (records["kind"] == Kind.TRADE).sum() == 30  # the second connection tells the same once more


def test_a_hole_in_coinbase_s_count_brings_a_new_connection_and_a_new_book(tmp_path: Path, monkeypatch) -> None:
    frames = coinbase_frames()

    async def first(socket: Socket) -> None:
        await socket.send(*frames[:20], *frames[22:24])

    async def second(socket: Socket) -> None:
        await socket.send(*frames)

    async def session() -> dict:
        async with FrameServer("coinbase", {"BTC-USD": [first, second]}) as server:
            done = lambda found: found["messages"] == 22 + 92  # noqa: E731
            return await record_until(settings(server, "BTC/USD"), tmp_path / "raw", done, monkeypatch)

    found = asyncio.run(session())
    records = same_tape(tmp_path / "raw", tmp_path / "out", found)
    assert breaks_and_books(records) == ["begun", "lost", "begun"]
    assert found["symbols"]["BTC/USD"]["findings"]["gap"] >= 1 and found["breaks"] == 1


@pytest.mark.parametrize(("clock_offset_ms", "ahead_ms"), [(0, 0), (-1_000, 0), (0, 40)])
def test_several_symbols_are_one_tape_in_the_order_of_ingest(
    tmp_path: Path, monkeypatch, clock_offset_ms: int, ahead_ms: int
) -> None:
    """Two connections whose records interleave; each symbol's file is its connection's. ``ahead_ms``: one's times are
    ahead of our clock, so its records wait for those of the other that become known before them."""

    def frames(name: str, k: int) -> list[bytes]:
        more = {"s": name}
        ids: dict[str, int] = {"U": 11 + k, "u": 11 + k, "pu": 10 + k}
        if ahead_ms and name == "BTCUSDT":
            ids |= dict.fromkeys(("E", "T"), time.time_ns() // 1_000_000 + ahead_ms)
        update = json.loads(binance.depth(10 + k, 11 + k, [("100.0", f"0.{k + 1:03d}")], **more))["data"] | ids
        return [
            json.dumps(update).encode(),
            json.dumps(json.loads(binance.trade(k + 1, **more))["data"] | ids).encode(),
        ]

    def script(name: str):
        async def play(socket: Socket) -> None:
            for k in range(100):
                await socket.send(*frames(name, k), gap_s=0.001)

        return play

    async def session() -> dict:
        names = ("BTCUSDT", "ETHUSDT")
        scripts = {name: [script(name)] for name in names}
        async with FrameServer("binance", scripts, snapshot=lambda name: binance.snapshot(10)) as server:
            live = settings(server, "BTC/USDT", "ETH/USDT", clock_offset_ms=clock_offset_ms)
            return await record_until(live, tmp_path / "raw", lambda found: found["messages"] == 402, monkeypatch)

    found = asyncio.run(session())
    records = same_tape(tmp_path / "raw", tmp_path / "out", found, clock_offset_ms=clock_offset_ms)
    assert len(list((tmp_path / "raw").glob("*.gz"))) == 2
    assert (records["instrument"][:-1] != records["instrument"][1:]).sum() > 20
    assert (records["kind"] == Kind.TRADE).sum() == 200


# ---- what is refused


def attempt(live: Live, folder: Path) -> None:
    asyncio.run(record(live, folder, seconds=5))


def test_what_cannot_be_recorded_is_named(tmp_path: Path, monkeypatch) -> None:
    async def session(*symbols: str) -> None:
        async with FrameServer("kraken", {"BTC/USD": [lambda socket: asyncio.sleep(0)]}) as server:
            await record(settings(server, *symbols), tmp_path / "raw", seconds=0)

    with pytest.raises(BadInput, match="kraken has no spot symbol 'BTC/USDX'; there is, for example, BTC/USD"):
        asyncio.run(session("BTC/USDX"))
    nobody = Live(venue="kraken", symbols=("BTC/USD",), rest_url="http://127.0.0.1:9", tries=2, wait_first_ms=1)
    with pytest.raises(BadInput, match=r"kraken: no connection after 2 tries, last: .*; check the network"):
        attempt(nobody, tmp_path / "raw")
    with lease(tmp_path / "raw", RECORDING), pytest.raises(Refused, match="one recorder per folder"):
        attempt(nobody, tmp_path / "raw")
    asyncio.run(session("BTC/USD"))
    text = (tmp_path / "raw/market.yaml").read_text()
    (tmp_path / "raw/market.yaml").write_text(text.replace("'0.1'", "'0.01'"))
    with pytest.raises(BadInput, match=r"market.yaml: begun with other instruments or grids than kraken's now"):
        asyncio.run(session("BTC/USD"))


def test_a_socket_that_nobody_answers_ends_the_recorder_by_name(tmp_path: Path) -> None:
    async def session() -> None:
        async with FrameServer("kraken", {"BTC/USD": [lambda socket: asyncio.sleep(0)]}) as server:
            await record(settings(server, "BTC/USD", ws_url="ws://127.0.0.1:9"), tmp_path / "raw", seconds=30)

    with pytest.raises(BadInput, match="kraken: no connection after 3 tries"):
        asyncio.run(session())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("venue: kraken\nsymbols: []\n", "symbols is empty"),
        ("venue: nyse\nsymbols: [BTC/USD]\n", "nyse"),
        ("venue: kraken\nsymbols: [BTC/USD, BTC/USD]\n", "BTC/USD is there twice"),
        ("venue: kraken\nsymbols: [BTC/USD]\nsilence: 5\n", "silence"),
        ("venue: kraken\nsymbols: [BTC/USD]\nsilence_ms: 0\n", "silence_ms is 0"),
        ("venue: kraken\nsymbols: [BTC/USD]\nws_url: http://x\n", "ws_url is 'http://x'; ws://HOST"),
        ("venue: kraken\nsymbols: [BTC/USD]\nwait_first_ms: 50000\n", "wait_first_ms is 50000, above wait_max_ms"),
    ],
)
def test_settings_that_do_not_fit_name_their_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "live.yaml").write_text(text)
    with pytest.raises(BadConfig, match=message):
        load(tmp_path / "live.yaml", {})


def test_options_stand_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "live.yaml").write_text("venue: kraken\nsymbols: [BTC/USD]\n")
    assert load(tmp_path / "live.yaml", {"symbols": ["ETH/USD"]}) == Live(venue="kraken", symbols=("ETH/USD",))


def test_a_line_that_says_break_is_a_lost_connection() -> None:
    made = coinbase.Normaliser(coinbase.BTC)
    lines = [b"%d %s\n" % (coinbase.NOW, frame) for frame in (coinbase.snapshot(4), b"break", coinbase.snapshot(0))]
    records = list(recorded(lines, made))[-1]
    assert breaks_and_books(records) == ["begun", "lost", "begun"] and not made.findings.counts
