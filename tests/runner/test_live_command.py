"""``runner record`` as a process: its summary, its exit codes, and what is on the disk when it ends before its time."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner.live import command
from runner.live.settings import Live, load
from tests.core.recorded import needs
from tests.docs.commands import Line, blocks, lines
from tests.doubles.frames import FrameServer, Socket
from tests.feeds import test_dialect_binance as binance
from tests.runner.live_frames import (
    BINANCE_DAY,
    BinanceVenue,
    coinbase_frames,
    ingested,
    kraken_frames,
    record_until,
    same_tape,
    settings,
)

recording = needs(BINANCE_DAY)


def served(venue: BinanceVenue) -> FrameServer:
    """The recording, ten frames at a time."""

    async def script(socket: Socket) -> None:
        while True:
            await venue.play(socket, 10)
            await asyncio.sleep(0.002)

    return venue.server(script)


async def start(server: FrameServer, folder: Path, *options: str, bytes_max: int = 0) -> Process:
    """The recorder as a process; ``bytes_max``: no file may grow beyond."""
    config = folder.with_suffix(".yaml")
    config.write_text(f"venue: binance\nrest_url: {server.rest_url}\nws_url: {server.ws_url}\n")
    given = ("--symbol", "BTC/USDT", "--config", str(config), "--to", str(folder), *options)
    limit: Callable[[], None] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))  # noqa: E731
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "runner.cli", "record", *given,
        stdout=PIPE, stderr=PIPE, preexec_fn=limit if bytes_max else None,
    )  # fmt: skip


async def until_bytes(child: Process, folder: Path, count: int) -> None:
    while sum(path.stat().st_size for path in folder.glob("*.gz")) < count:
        assert child.returncode is None, await child.communicate()
        await asyncio.sleep(0.02)


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_the_command_line_does_not_wait_for_ccxt() -> None:
    code = "import sys, runner.cli; sys.exit('ccxt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@recording
def test_ctrl_c_ends_a_recording_whole_and_seconds_do_too(tmp_path: Path) -> None:
    folder = tmp_path / "raw"

    async def session() -> tuple[bytes, bytes]:
        async with served(BinanceVenue(40_000)) as server:
            child = await start(server, folder, "--json")
            await until_bytes(child, folder, 20_000)
            child.send_signal(signal.SIGINT)
            out, err = await child.communicate()
            assert (child.returncode, err) == (0, b"")
            child = await start(server, tmp_path / "timed", "--seconds", "1", "--no-tape")
            table, err = await child.communicate()
            assert (child.returncode, err) == (0, b"")
            return out, table

    out, table = asyncio.run(session())
    found = json.loads(out)
    same_tape(folder, tmp_path / "out", found)
    assert found["messages"] > 100 and found["bytes"] == sum(path.stat().st_size for path in folder.glob("*.gz"))
    assert not list((tmp_path / "timed").glob("*.tape")) and summary(ingested(tmp_path / "timed", tmp_path / "made"))
    assert "BTC/USDT" in table.decode() and "binance in" in table.decode()


@recording
def test_a_recorder_that_is_killed_leaves_what_ingests_and_the_next_one_adds_to_it(tmp_path: Path, monkeypatch) -> None:
    """Kill -9 in mid-stream, a further run, and a file cut in the middle of a member."""
    folder = tmp_path / "raw"

    async def session() -> None:
        async with served(BinanceVenue(40_000)) as server:
            child = await start(server, folder)
            await until_bytes(child, folder, 150_000)
            child.send_signal(signal.SIGKILL)
            await child.communicate()
            killed = summary(ingested(folder, tmp_path / "killed"))
            assert killed["rows"] > 1000 and "cut" not in killed["findings"]
            found = await record_until(settings(server), folder, lambda found: found["messages"] > 500, monkeypatch)
            assert found["files"] == 1 and not list(folder.glob("*.records"))

    asyncio.run(session())
    killed, _ = sorted(folder.glob("*.gz"))
    whole = summary(ingested(folder, tmp_path / "both"))
    killed.write_bytes(killed.read_bytes()[:-1000])
    cut = summary(ingested(folder, tmp_path / "cut"))
    assert cut["findings"]["cut"] == 1 and 500 < cut["rows"] < whole["rows"]


@recording
def test_a_full_disk_ends_it_by_name_and_what_is_there_ingests(tmp_path: Path) -> None:
    folder = tmp_path / "raw"

    async def session() -> bytes:
        async with served(BinanceVenue(40_000)) as server:
            child = await start(server, folder, bytes_max=60_000)
            _, err = await asyncio.wait_for(child.communicate(), 60)
            assert child.returncode == 30
            return err

    err = asyncio.run(session()).decode()
    assert err.startswith(f"error: {folder}/") and "raise the limit on file sizes" in err and err.count("\n") == 1, err
    assert summary(ingested(folder, tmp_path / "out"))["rows"] > 100


SHOWN = [line for line in lines() if line.commands[0][:2] == ("runner", "record")]
PLAYED = {"binance": ({"BTCUSDT", "ETHUSDT"}, [binance.depth(10, 11)]), "kraken": ({"BTC/USD"}, kraken_frames()),
          "coinbase": ({"BTC-USD"}, coinbase_frames())}  # fmt: skip


@pytest.mark.parametrize("line", SHOWN, ids=str)
def test_every_recording_that_the_documents_show_is_made(line: Line, tmp_path: Path) -> None:
    """Each for a second, from a server of ours."""
    words = line.commands[0]
    venue = words[words.index("--venue") + 1]
    names, frames = PLAYED[venue]

    async def script(socket: Socket) -> None:
        await socket.send(*frames)

    async def session() -> int | None:
        played = {name: [script] for name in names}
        async with FrameServer(venue, played, snapshot=lambda name: binance.snapshot(10)) as server:
            (tmp_path / "config.yaml").write_text(f"rest_url: {server.rest_url}\nws_url: {server.ws_url}\n")
            told = [str(tmp_path / "raw") if before == "--to" else word for before, word in pairwise(words)]
            more = ("--seconds", "1", "--config", str(tmp_path / "config.yaml"))
            child = await asyncio.create_subprocess_exec(sys.executable, "-m", "runner.cli", *told, *more, stdout=PIPE)
            await child.communicate()
            return child.returncode

    assert asyncio.run(session()) == 0
    assert len(list((tmp_path / "raw").glob("*.gz"))) == words.count("--symbol") and list(
        (tmp_path / "raw").glob("*.tape")
    )


def test_the_documents_settings_are_some(tmp_path: Path) -> None:
    (block,) = [item for item in blocks() if (item.document, item.language) == ("docs/data.md", "yaml")]
    (tmp_path / "live.yaml").write_text(block.text)
    assert load(tmp_path / "live.yaml", {}) != Live(venue="binance", symbols=("BTC/USDT",))


def test_the_line_of_progress_counts_what_is_new() -> None:
    told = {"has_book": False}
    found = {"messages": 10, "records": 20, "gaps": 1, "breaks": 2, "delay_ms": 3.2, "bytes": 5_000_000}
    rate = command._Rate()
    rate._at_s -= 10
    line = rate.line(found | {"symbols": {"BTC/USDT": told}})
    assert line.startswith("1 messages/s  2 records/s") and line.endswith(
        "gaps 1  breaks 2  delay 3 ms  5.0 MB  no book: BTC/USDT"
    )
    rate._at_s -= 10
    assert rate.line(found | {"symbols": {}}).startswith("0 messages/s  0 records/s")


def test_the_table_names_what_was_found() -> None:
    told = {"messages": 5, "records": 6, "breaks": 0, "snapshots": 1, "findings": {"stale": 1200}}
    out = Console(width=100, record=True, file=StringIO())
    out.print(command.table({"venue": "kraken", "folder": "x", "bytes": 0, "symbols": {"BTC/USD": told}}))
    assert "stale 1,200" in out.export_text()
