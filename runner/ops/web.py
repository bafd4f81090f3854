"""``/healthz``, ``/health`` (the same), ``/readyz`` and ``/metrics`` over HTTP, on this machine unless told otherwise.

The server has a thread and an event loop of its own: the session computes for as long as it likes and never yields, so
a server in its loop would be silent exactly when somebody asks why. It reads, and changes nothing.
"""

import asyncio
from threading import Event as Flag
from threading import Thread
from typing import Final, Self

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from core.errors import BadInput
from runner.ops.health import Health, Report

START_S: Final = 10.0


class Web:
    """The server, from its construction until ``close``."""

    def __init__(self, address: tuple[str, int], health: Health, registry: CollectorRegistry, labels: dict[str, str]):
        """``labels``: what every answer says of the run. Raises BadInput if the address cannot be listened on."""
        self._address, self._health, self._labels = address, health, labels
        self._app = web.Application()
        self._app.router.add_get("/healthz", self._healthz)
        self._app.router.add_get("/health", self._healthz)
        self._app.router.add_get("/readyz", self._readyz)
        self._app.router.add_get("/metrics", make_aiohttp_handler(registry))
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._stop: asyncio.Event | None = None
        self._begun, self._error = Flag(), ""
        self._thread = Thread(target=self._run, name="web", daemon=True)
        self._thread.start()
        if not self._begun.wait(START_S) or self._error:
            raise BadInput(f"ops.http: {address[0]}:{address[1]}: {self._error or 'does not start'}; use another port")

    async def _healthz(self, _: web.Request) -> web.Response:
        report = self._health.report()
        return self._answer(report, report.healthy)

    async def _readyz(self, _: web.Request) -> web.Response:
        report = self._health.report()
        return self._answer(report, report.ready)

    def _answer(self, report: Report, good: bool) -> web.Response:
        body = {"status": "ok" if good else "failing"} | self._labels | {"checks": report.checks}
        return web.json_response(body, status=200 if good else 503)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._error = error.strerror or str(error)
            self._begun.set()
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(self._app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, *self._address)
            await site.start()
            self.port = runner.addresses[0][1]
            self._stop = asyncio.Event()
            self._begun.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    def close(self) -> None:
        """Answer no more."""
        if self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(START_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
