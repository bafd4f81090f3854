"""Carries a double over loopback sockets: HTTP and WebSocket on one port."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from tests.doubles.wire import Double, Request

TICK_S = 0.02  # how often what is due by the clock is looked for


@asynccontextmanager
async def served(double: Double, port: int = 0) -> AsyncIterator[str]:
    """Serve ``double`` on 127.0.0.1; gives host:port."""
    carrier = _Carrier(double)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", carrier.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    ticking = asyncio.create_task(_tick(double))
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        ticking.cancel()
        carrier.stopped.set()
        await runner.cleanup()


async def _tick(double: Double) -> None:
    while True:
        await asyncio.sleep(TICK_S)
        double.clock.advance(0)


class _Carrier:
    def __init__(self, double: Double):
        self.double, self.stopped = double, asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await self.talk(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = (await request.read()).decode()
        response = self.double.handle(
            Request(request.method, request.path, request.raw_path.partition("?")[2], headers, body)
        )
        if response.delay_s:
            await asyncio.sleep(response.delay_s)
        if response.fate == "hung":
            await self.stopped.wait()
        if response.fate != "answered":
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError
        return web.Response(
            text=response.text, status=response.status, headers=response.headers, content_type="application/json"
        )

    async def talk(self, request: web.Request) -> web.StreamResponse:
        session = self.double.connect(request.raw_path)
        if session is None:
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        texts: asyncio.Queue[str | None] = asyncio.Queue()
        session.carry, session.end = texts.put_nowait, lambda: texts.put_nowait(None)
        sender = asyncio.create_task(_send(socket, texts))
        stopper = asyncio.create_task(self._end_with_server(texts))
        try:
            session.begin()
            async for message in socket:
                if session.is_dead:
                    continue
                if message.type == WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type == WSMsgType.TEXT:
                    session.receive(message.data)
        finally:
            self.double.drop(session)
            stopper.cancel()
            sender.cancel()
        return socket

    async def _end_with_server(self, texts: asyncio.Queue[str | None]) -> None:
        await self.stopped.wait()
        texts.put_nowait(None)


async def _send(socket: web.WebSocketResponse, texts: "asyncio.Queue[str | None]") -> None:
    while (text := await texts.get()) is not None:
        await socket.send_str(text)
    await socket.close()
