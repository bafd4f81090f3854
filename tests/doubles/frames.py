"""A loopback server that speaks as much of Binance, Kraken and Coinbase as an unmodified ccxt.pro needs to be told the
market: lists of instruments, Binance's depth snapshot, and sockets that play scripts.

Each connection plays the next of its symbol's scripts, the last one again and again, once its subscriptions are in.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import WSMsgType, web

SUBSCRIPTIONS = {"binance": 1, "kraken": 2, "coinbase": 3}  # messages a client of one symbol sends
Script = Callable[["Socket"], Awaitable[None]]


@dataclass(slots=True)
class Socket:
    """One connection, as a script sees it."""

    server: "FrameServer"
    name: str  # of the instrument, as the venue spells it
    wire: web.WebSocketResponse
    transport: asyncio.Transport

    async def send(self, *frames: bytes, gap_s: float = 0.0) -> None:
        """Send frames, with a pause after each."""
        for frame in frames:
            await self.wire.send_str(frame.decode())
            if gap_s:
                await asyncio.sleep(gap_s)

    def drop(self) -> None:
        """The connection is gone, without a word."""
        self.transport.abort()

    async def close(self) -> None:
        """The venue closes, as it does once a day."""
        await self.wire.close()

    async def snapshots(self, count: int) -> None:
        """Until that many snapshots have been served."""
        while self.server.snapshots_served < count:
            await asyncio.sleep(0.005)


@dataclass
class FrameServer:
    """Use as ``async with``; then ``rest_url`` and ``ws_url`` say where. ``requests`` lists what was asked for."""

    venue: str
    scripts: dict[str, list[Script]]  # by the venue's name of the instrument
    snapshot: Callable[[str], bytes] = lambda name: b"{}"
    rest_failures: int = 0  # so many depth requests are answered with 503
    ticks: dict[str, str] = field(default_factory=dict)  # by name; else 0.01 (Binance, Coinbase) and 0.1 (Kraken)
    rest_url: str = ""
    ws_url: str = ""
    snapshots_served: int = 0
    connections: int = 0
    requests: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        app = web.Application()
        for path, answer in ROUTES[self.venue].items():
            app.router.add_get(path, self._answer(answer))
        if self.venue == "binance":
            app.router.add_get("/api/v3/depth", self._depth)
        app.router.add_get("/{path:.*}", self._socket)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.rest_url, self.ws_url = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def _answer(self, answer: Callable[[dict[str, str]], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            self.requests.append(request.path)
            names = {name: self.ticks.get(name, "0.1" if self.venue == "kraken" else "0.01") for name in self.scripts}
            return web.json_response(answer(names))

        return handle

    async def _depth(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        if self.rest_failures:
            self.rest_failures -= 1
            return web.Response(status=503, text="busy")
        self.snapshots_served += 1
        return web.Response(body=self.snapshot(request.query["symbol"]), content_type="application/json")

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            self.requests.append(f"404 {request.path_qs}")
            return web.Response(status=404, text="{}", content_type="application/json")
        wire = web.WebSocketResponse(heartbeat=None, autoping=True)
        await wire.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        subscribed, play = [], None
        try:
            async for message in wire:
                if message.type is not WSMsgType.TEXT:
                    continue
                asked = json.loads(message.data)
                if asked.get("method") == "ping":
                    await wire.send_json({"method": "pong", "req_id": asked["req_id"]})
                    continue
                self.requests.append(message.data)
                subscribed.append(_name(self.venue, asked))
                await self._accept(wire, asked)
                if len(subscribed) == SUBSCRIPTIONS[self.venue]:
                    left = self.scripts[subscribed[0]]
                    script = left.pop(0) if len(left) > 1 else left[0]
                    self.connections += 1
                    play = asyncio.ensure_future(script(Socket(self, subscribed[0], wire, request.transport)))
        finally:
            if play is not None:
                play.cancel()
                with suppress(asyncio.CancelledError, ConnectionError):
                    await play
        return wire

    async def _accept(self, wire: web.WebSocketResponse, asked: dict[str, Any]) -> None:
        if self.venue == "binance":
            await wire.send_json({"result": None, "id": asked["id"]})
        elif self.venue == "kraken":
            params = asked["params"] | {"symbol": asked["params"]["symbol"][0]}
            await wire.send_json(
                {"method": "subscribe", "result": params, "success": True, "req_id": asked["req_id"]},
            )


def _name(venue: str, asked: dict[str, Any]) -> str:
    if venue == "binance":
        return str(asked["params"][0].partition("@")[0].upper())
    return str(asked["params"]["symbol"][0] if venue == "kraken" else asked["product_ids"][0])


class BinanceBook:
    """The venue's own book while it plays a recording: what a depth request would be answered with."""

    def __init__(self, snapshot: bytes) -> None:
        told = json.loads(snapshot)
        self.update = told["lastUpdateId"]
        self._sides = {"b": dict(told["bids"]), "a": dict(told["asks"])}

    def apply(self, frame: bytes) -> None:
        """Take one frame of the recording into the book if it is of depth and continues it."""
        told = json.loads(frame)
        told = told.get("data", told)
        if told.get("e") != "depthUpdate" or told["u"] <= self.update:
            return
        self.update = told["u"]
        for key, side in self._sides.items():
            for price, qty in told[key]:
                side.pop(price, None)
                if float(qty):
                    side[price] = qty

    def snapshot(self) -> bytes:
        """As the venue would answer now."""
        sides = [
            sorted(self._sides[key].items(), key=lambda level: float(level[0]), reverse=key == "b")[:1000]
            for key in ("b", "a")
        ]
        return json.dumps(
            {"lastUpdateId": self.update, "bids": sides[0], "asks": sides[1]}, separators=(",", ":")
        ).encode()


# ---- lists of instruments, as far as ccxt looks at them


def _binance_markets(names: dict[str, str]) -> dict[str, Any]:
    def symbol(name: str, tick: str) -> dict[str, Any]:
        base, quote = name[:3], name[3:]
        return {
            "symbol": name, "status": "TRADING", "baseAsset": base, "quoteAsset": quote, "baseAssetPrecision": 8,
            "quoteAssetPrecision": 8, "quotePrecision": 8, "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False, "permissions": ["SPOT"], "orderTypes": ["LIMIT", "MARKET"],
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.0", "tickSize": tick},
                {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "9000.0", "stepSize": "0.00001000"},
                {"filterType": "NOTIONAL", "minNotional": "5.00000000"},
            ],
        }  # fmt: skip

    return {"timezone": "UTC", "serverTime": 0, "symbols": [symbol(*item) for item in names.items()]}


def _kraken_pairs(names: dict[str, str]) -> dict[str, Any]:
    def pair(name: str, tick: str) -> dict[str, Any]:
        return {
            "altname": name.replace("/", ""), "wsname": name, "base": name.split("/")[0], "quote": name.split("/")[1],
            "pair_decimals": len(tick.partition(".")[2]), "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [],
            "leverage_sell": [], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]], "ordermin": "0.0001", "costmin": "0.5",
            "tick_size": tick, "status": "online",
        }  # fmt: skip

    return {"error": [], "result": {name.replace("/", ""): pair(name, tick) for name, tick in names.items()}}


def _kraken_assets(names: dict[str, str]) -> dict[str, Any]:
    assets = {part for name in names for part in name.split("/")}
    about = {"aclass": "currency", "decimals": 10, "display_decimals": 5, "status": "enabled"}
    return {"error": [], "result": {asset: about | {"altname": asset} for asset in assets}}


def _coinbase_products(names: dict[str, str]) -> dict[str, Any]:
    def product(name: str, tick: str) -> dict[str, Any]:
        base, quote = name.split("-")
        return {
            "product_id": name, "base_increment": "0.00000001", "quote_increment": "0.01", "price_increment": tick,
            "quote_min_size": "1", "quote_max_size": "150000000", "base_min_size": "0.00000001",
            "base_max_size": "3400", "status": "online", "trading_disabled": False, "product_type": "SPOT",
            "quote_currency_id": quote, "base_currency_id": base, "alias_to": [],
        }  # fmt: skip

    return {"products": [product(*item) for item in names.items()], "num_products": len(names)}


ROUTES: dict[str, dict[str, Callable[[dict[str, str]], Any]]] = {
    "binance": {"/api/v3/exchangeInfo": _binance_markets},
    "kraken": {"/0/public/AssetPairs": _kraken_pairs, "/0/public/Assets": _kraken_assets},
    "coinbase": {
        "/api/v3/brokerage/market/products": _coinbase_products,
        "/v2/currencies": lambda names: {"data": []},
        "/v2/currencies/crypto": lambda names: {"data": []},
        "/v2/exchange-rates": lambda names: {"data": {"currency": "USD", "rates": {}}},
    },
}
