"""Unmodified ccxt against a double: every address the class has is turned to the loopback server."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import ccxt.pro

from tests.doubles.clock import Clock
from tests.doubles.faults import FaultPlan
from tests.doubles.server import served
from tests.doubles.transport import HOST, Transport
from tests.doubles.venues import build
from tests.doubles.wire import Double, Key

WEBSOCKET_PATHS = {"binance": "/stream.binance.com"}  # ccxt tells spot from futures by "/stream" in the address


def turned(tree: Any, host: str, prefix: str = "") -> Any:
    """``tree`` with all its addresses on ``host``, scheme without TLS, path as it was."""
    if isinstance(tree, dict):
        return {name: turned(value, host, prefix) for name, value in tree.items()}
    if not isinstance(tree, str) or "://" not in tree:
        return tree
    where = urlsplit(tree)
    is_socket = where.scheme.startswith("ws")
    return f"{'ws' if is_socket else 'http'}://{host}{prefix if is_socket else ''}{where.path}"


@cache
def _addresses(name: str) -> Any:
    return getattr(ccxt.pro, name)().describe()["urls"]["api"]


def config(double: Double, host: str, key: Key | None = None) -> dict[str, Any]:
    """What to give the ccxt class."""
    key = key or next(iter(double.keys.values()))
    options = {"fetchMarkets": {"types": ["spot"]}, "warnOnFetchOpenOrdersWithoutSymbol": False}
    return {
        "apiKey": key.api,
        "secret": key.secret,
        "enableRateLimit": False,
        "timeout": 10_000,
        "timeout_on_exit": 0,  # it is for TLS
        "urls": {"api": turned(_addresses(double.name), host, WEBSOCKET_PATHS.get(double.name, ""))},
        "options": options if double.name == "binance" else {},
    }


def client(double: Double, host: str, key: Key | None = None, **more: Any) -> Any:
    """A ccxt.pro exchange that talks to ``double`` only."""
    return getattr(ccxt.pro, double.name)(config(double, host, key) | more)


Script = Callable[[Any, Double], Awaitable[None]]


def against(
    name: str, script: Script, plan: FaultPlan | None = None, bases: tuple[str, ...] = ("BTC",), **config: Any
) -> Double:
    """Run a script with ccxt and a fresh double on sockets and the real clock; unknown questions are an error."""
    double = build(name, Clock(time.time_ns), plan, bases=bases)

    async def run() -> None:
        async with served(double) as host:
            await _with(client(double, host, **config), double, script)

    asyncio.run(run())
    double.verify()
    return double


def within(name: str, script: Script, plan: FaultPlan | None = None, **config: Any) -> Double:
    """The same without sockets, on a clock that only the double and the script move."""
    double = build(name, Clock(), plan)

    async def run() -> None:
        venue = client(double, HOST, session=Transport(double), **config)
        venue.milliseconds = double.clock.now_ms  # signatures are of the double's time
        venue.seconds = lambda: double.clock.now_ms() // 1000
        await _with(venue, double, script)

    asyncio.run(run())
    double.verify()
    return double


async def _with(venue: Any, double: Double, script: Script) -> None:
    try:
        await venue.load_markets()
        await asyncio.wait_for(script(venue, double), 30)
    finally:
        await venue.close()
