"""Sessions that are watched, and single records to tell of."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from core.records import RECORD, Action, Kind, Reason, Side, Verdict
from models.statement import verify_bundle
from runner.clock import Pacer
from runner.feed import builtin_feed
from runner.home import Home, Run
from runner.ops.settings import Ops
from runner.ops.wiring import Watching
from runner.paper import play
from runner.plan import make_plan
from runner.secrets import EnvironmentSecrets, Secrets
from tests.runner.bundles import make_bundle, make_home


@dataclass(frozen=True)
class Session:
    """A finished, watched run: its folder and the lines of its log."""

    run: Run
    lines: list[str]


def play_watched(folder: Path, ops: Ops, *, days: int = 3, seed: int = 3, run: str = "watched", **urls: str) -> Session:
    """Play the built-in market under ``ops``; ``urls``: secrets by name."""
    home = Home(folder / "home")
    if not home.trust.exists():
        make_home(folder / "home")
        make_bundle(folder / "bundle")
    bundle, statement = verify_bundle(folder / "bundle", home.trust)
    trading = bundle.manifest.trading
    plan = make_plan(bundle, builtin_feed(days, seed, 1.0, trading.execution.feed_latency_ns), trading)
    target = home.run(run)
    watching = Watching(ops, Secrets([EnvironmentSecrets(urls)]), target, plan.header, None)
    play(plan, statement, folder / "bundle", target, Pacer(None), lambda bars, _: bars, None, watching)
    return Session(target, (target.folder / "log.jsonl").read_text().splitlines())


def record(kind: Kind, body: tuple[int, ...] = (), **head: int) -> np.ndarray:
    """One RECORD of ``kind``, its body's words from the first on."""
    made = np.zeros(1, RECORD)
    made["kind"] = kind
    for name, value in [*zip("abcde", body, strict=False), *head.items()]:
        made[name] = value
    return made


def signal_records(price: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A prediction of 0.8 for up, the check that priced the order at ``price`` ticks, and the order to buy."""
    prediction = record(Kind.PREDICTION, (100_000, 800_000, 5_000, 2_000, 1), ts_known=10)
    check = record(Kind.CHECK, (1, price, 10**9, 10, 0), reason=Reason.FILTER_TICK, side=Side.BUY)
    intent = record(Kind.INTENT, (1, 0, 10, 0, 0), reason=Reason.ENTRY, side=Side.BUY, flags=Action.OPEN, ts_known=10)
    return prediction, check, intent


def refused(reason: str, value: int, limit: int) -> np.ndarray:
    """A rule's refusal of an order to buy: CHECK and DECISION."""
    said = {"reason": Reason[reason], "side": Side.BUY}
    check = record(Kind.CHECK, (0, value, limit, 10, 0), flags=Verdict.REFUSED, **said)
    return np.concatenate([check, record(Kind.DECISION, (5, 10, 0, 1, 2), flags=Action.OPEN, **said)])


def risk(reason: str, state_to: int, state_from: int = 0) -> np.ndarray:
    """A RISK record."""
    return record(Kind.RISK, (state_from, state_to, 1, 70_000, 60_000), reason=Reason[reason])


@dataclass
class Receiver:
    """A loopback web server that takes what alerts send; ``down``: it answers 503."""

    port: int = 0
    down: bool = False
    got: list[dict[str, Any]] = field(default_factory=list)
    tries: int = 0

    @property
    def url(self) -> str:
        """Of Apprise, with something in it that no log may show."""
        return f"json://127.0.0.1:{self.port}/canary-path-5e2d9b/"


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A Receiver that runs in a thread of its own."""
    state, loop, begun = Receiver(), asyncio.new_event_loop(), threading.Event()

    async def take(request: web.Request) -> web.Response:
        state.tries += 1
        if state.down:
            return web.Response(status=503)
        state.got.append(await request.json())
        return web.Response()

    async def serve() -> None:
        app = web.Application()
        app.router.add_post("/{tail:.*}", take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        state.port = runner.addresses[0][1]
        begun.set()
        await stop.wait()
        await runner.cleanup()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    begun.wait(10)
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
