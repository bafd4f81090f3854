"""Carries a double within the process: what ccxt takes for its aiohttp session, without a socket, in the double's time.

A request that is never answered costs the client its time-out, and a slow one its delay, on the double's clock; so a
clock that only tests move makes hours of a session pass at once, the same each time.
"""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import WSMessage, WSMsgType
from multidict import CIMultiDict

from tests.doubles.wire import Double, Request, Response

HOST = "exchange.invalid"  # goes nowhere


class Transport:
    """Stands in for aiohttp.ClientSession, as far as ccxt uses one."""

    def __init__(self, double: Double):
        self.double, self.headers = double, dict[str, str]()

    def get(self, url: Any, **more: Any) -> "_Exchange":
        """As aiohttp's."""
        return _Exchange(self.double, "GET", url, **more)

    def post(self, url: Any, **more: Any) -> "_Exchange":
        """As aiohttp's."""
        return _Exchange(self.double, "POST", url, **more)

    def put(self, url: Any, **more: Any) -> "_Exchange":
        """As aiohttp's."""
        return _Exchange(self.double, "PUT", url, **more)

    def delete(self, url: Any, **more: Any) -> "_Exchange":
        """As aiohttp's."""
        return _Exchange(self.double, "DELETE", url, **more)

    def ws_connect(self, url: Any, **_: Any) -> "_Opening":
        """As aiohttp's."""
        return _Opening(self.double, str(url))


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, double: Double, method: str, url: Any, *, data: bytes | None, headers: Any, timeout: Any, **_: Any
    ):
        where = urlsplit(str(url))
        names = {name.lower(): value for name, value in headers.items()} | {"host": where.netloc}
        self.request = Request(method, where.path, where.query, names, (data or b"").decode())
        self.double, self.patience_s = double, float(timeout.total)

    async def __aenter__(self) -> "_Answer":
        await asyncio.sleep(0)  # others run while a request is on its way
        response = self.double.handle(self.request)
        if response.fate == "closed":
            raise aiohttp.ServerDisconnectedError
        if response.fate == "hung" or response.delay_s >= self.patience_s:
            self.double.clock.advance(self.patience_s)
            raise TimeoutError
        self.double.clock.advance(response.delay_s)
        return _Answer(response)

    async def __aexit__(self, *_: object) -> None:
        pass


class _Answer:
    def __init__(self, response: Response):
        self.status, self.reason, self._text = response.status, "", response.text
        self.headers = CIMultiDict({"Content-Type": "application/json"} | response.headers)

    async def text(self, **_: Any) -> str:
        return self._text


class _Opening:
    def __init__(self, double: Double, url: str):
        where = urlsplit(url)
        self.double, self.path = double, where.path + (f"?{where.query}" if where.query else "")

    async def __aenter__(self) -> "_Connection":
        session = self.double.connect(self.path)
        if session is None:
            raise aiohttp.ClientConnectionError(f"refused: {self.path}")
        return _Connection(self.double, session)


class _Connection:
    """Stands in for aiohttp's ClientWebSocketResponse."""

    _conn = None  # ccxt looks into it for messages that wait, where it has one

    def __init__(self, double: Double, session: Any):
        self.double, self.session, self.closed = double, session, False
        self.messages: asyncio.Queue[WSMessage] = asyncio.Queue()
        session.carry = lambda text: self.messages.put_nowait(WSMessage(WSMsgType.TEXT, text, None))
        session.end = lambda: self.messages.put_nowait(WSMessage(WSMsgType.CLOSE, 1006, None))
        session.begin()

    async def receive(self) -> WSMessage:
        return await self.messages.get()

    async def send_str(self, text: str) -> None:
        await asyncio.sleep(0)
        if not self.session.is_dead:
            self.session.receive(text)

    async def ping(self) -> None:
        if not self.session.is_dead:
            self.messages.put_nowait(WSMessage(WSMsgType.PONG, b"", None))

    async def close(self, **_: Any) -> bool:
        self.closed = True
        self.double.drop(self.session)
        return True
