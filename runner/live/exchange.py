"""One venue's public market data through ccxt. Besides ``venues.rest`` the only module of the runner that knows ccxt.

ccxt keeps what it is good at: REST, its rate limits, sockets, keep-alive pings, subscriptions. The text of every frame
is taken where ccxt would parse it; only what answers a request or tells of an error goes on to ccxt. Its own books cost
more (``tests/benchmarks/bench_live_feed.py``), are made of floats, and let updates run together.

An instrument has a connection of its own: a break breaks one book, and a file holds one connection's frames in order.
"""

import asyncio
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import ccxt.pro as ccxt

from core.errors import BadInput
from feeds.market import Listing, Market
from runner.live.settings import Live

SHOWN: Final = 8  # names in an error
REASON_CHARS: Final = 200
HEAD_BYTES: Final = 80  # of a frame: where its kind stands
SUBSCRIPTION_COST: Final = 0.1  # of a REST request: sockets have limits of their own, which two or three are below
KRAKEN_LEVELS: Final = 10  # what recordings are read with

Requests = list[dict[str, Any]]


class Lost(Exception):
    """What was asked for failed, or the connection is gone; the message says why. It is worth trying again."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How one venue differs from the others."""

    fee_asset: str
    asks_snapshot: bool  # the book's snapshot is a REST answer; else the subscription brings it
    url: Callable[[Any, str], str]  # ccxt's exchange, symbol -> of the socket
    requests: Callable[[str, str], Requests]  # symbol, the venue's own name of it -> subscriptions
    is_market: Callable[[bytes], bool]  # a frame's head -> nothing that ccxt waits for
    name: Callable[[str, str], str]  # base, quote -> the name our dialect looks for


def _binance_requests(symbol: str, name: str) -> Requests:
    return [{"method": "SUBSCRIBE", "params": [f"{name.lower()}@depth@100ms", f"{name.lower()}@trade"], "id": 1}]


def _kraken_requests(symbol: str, name: str) -> Requests:
    book = {"channel": "book", "symbol": [symbol], "depth": KRAKEN_LEVELS}
    trade = {"channel": "trade", "symbol": [symbol]}
    return [{"method": "subscribe", "params": params, "req_id": k} for k, params in enumerate((book, trade), 1)]


def _coinbase_requests(symbol: str, name: str) -> Requests:
    channels = ("level2", "market_trades", "heartbeats")  # heartbeats keep a quiet product's connection open
    return [{"type": "subscribe", "product_ids": [name], "channel": channel} for channel in channels]


PROFILES: Final = {
    "binance": Profile(
        fee_asset="received",
        asks_snapshot=True,
        url=lambda api, symbol: f"{api.urls['api']['ws']['spot']}/{api.stream('spot', symbol, 2)}",
        requests=_binance_requests,
        is_market=lambda head: b'"e":' in head or b'"stream":' in head,
        name=lambda base, quote: f"{base}{quote}",
    ),
    "kraken": Profile(
        fee_asset="quote",
        asks_snapshot=False,
        url=lambda api, symbol: api.urls["api"]["ws"]["publicV2"],
        requests=_kraken_requests,
        is_market=lambda head: b'"channel":' in head and b'"method":' not in head,
        name=lambda base, quote: f"{base}/{quote}",
    ),
    "coinbase": Profile(
        fee_asset="quote",
        asks_snapshot=False,
        url=lambda api, symbol: api.urls["api"]["ws"],
        requests=_coinbase_requests,
        is_market=lambda head: b'"channel":' in head and b'"subscriptions"' not in head,
        name=lambda base, quote: f"{base}-{quote}",
    ),
}


class Exchange:
    """A venue without keys: its instruments, and one connection. ``share`` makes another for the next instrument."""

    def __init__(self, settings: Live, now_ns: Callable[[], int]) -> None:
        self._settings, self._now_ns, self.profile = settings, now_ns, PROFILES[settings.venue]
        self._api = getattr(ccxt, settings.venue)(
            {
                "enableRateLimit": True,
                "timeout": settings.rest_timeout_ms,
                "options": {"ws": {"cost": SUBSCRIPTION_COST}},
            }
        )
        kinds = self._api.options.get("fetchMarkets")
        if isinstance(kinds, dict) and "spot" in kinds.get("types", ()):
            kinds["types"] = ["spot"]  # the derivatives' lists are megabytes
        self._api.urls["api"] = moved(self._api.urls["api"], settings.rest_url, settings.ws_url)
        self._api.on_rest_response = self._on_answer
        self._answer = (0, b"")
        self._client: Any = None

    def share(self) -> "Exchange":
        """Another connection to the venue, whose list of markets is known already."""
        other = Exchange(self._settings, self._now_ns)
        other._api.set_markets_from_exchange(self._api)
        return other

    async def market(self) -> Market:
        """The settings' symbols with the venue's grids. Raises Lost, and BadInput for a symbol that it has not."""
        try:
            known = await self._api.load_markets()
        except ccxt.BaseError as error:
            raise Lost(_short(error)) from None
        found = [self._found(symbol, known) for symbol in self._settings.symbols]
        fees = {key: max(round(float(item[key] or 0) * 1e6) for item in found) for key in ("maker", "taker")}
        return Market(
            venue=self._settings.venue,
            maker_fee_ppm=fees["maker"],
            taker_fee_ppm=fees["taker"],
            fee_asset=self.profile.fee_asset,
            listings=tuple(self._listing(item) for item in found),
        )

    def _found(self, symbol: str, known: dict[str, Any]) -> Any:
        item = known.get(symbol)
        if item is None or not item["spot"]:
            near = difflib.get_close_matches(symbol, known, n=SHOWN, cutoff=0.4) or sorted(known)[:SHOWN]
            raise BadInput(f"{self._settings.venue} has no spot symbol {symbol!r}; there is, for example, "
                           f"{', '.join(near)}")  # fmt: skip
        name = self.profile.name(item["base"], item["quote"])
        if name not in (item["id"], item["symbol"]):
            raise BadInput(f"{symbol}: {self._settings.venue} calls it {item['id']!r}, our dialect looks for {name!r}: "
                           "it cannot be followed yet")  # fmt: skip
        return item

    def _listing(self, item: Any) -> Listing:
        def text(value: float | None) -> str:
            return self._api.number_to_string(value) if value is not None else "0"

        return Listing(
            symbol=f"{item['base']}-{item['quote']}",
            base=item["base"],
            quote=item["quote"],
            tick=text(item["precision"]["price"]),
            lot=text(item["precision"]["amount"]),
            min_qty=text(item["limits"]["amount"]["min"]),
            min_notional=text(item["limits"]["cost"]["min"]),
        )

    def connect(self, symbol: str, on_text: Callable[[str | bytes], None]) -> "set[asyncio.Future[Any]]":
        """Connect and subscribe; every frame is handed to ``on_text`` first.

        What is returned never yields a value: one of these futures fails when the connection does.
        """
        url, name = self.profile.url(self._api, symbol), self._api.market(symbol)["id"]
        self._client = client = self._api.client(url)
        forward, is_market = client.handle_text_or_binary_message, self.profile.is_market

        def tap(text: str | bytes) -> None:
            on_text(text)
            head = text[:HEAD_BYTES]
            if not is_market(head.encode() if isinstance(head, str) else head):
                try:
                    forward(text)
                except ccxt.BaseError as error:  # the venue refuses what was asked for
                    client.on_error(ccxt.NetworkError(_short(error)))

        client.handle_text_or_binary_message = tap
        lost = set()
        for number, request in enumerate(self.profile.requests(symbol, name)):
            about = {"id": request["id"]} if "id" in request else None
            lost.add(self._api.watch(url, f"frames {number}", request, f"frames {number}", about))
        return lost

    def disconnect(self, reason: str) -> None:
        """End the connection, if there is one; its futures fail."""
        client, self._client = self._client, None
        if client is not None and not client.error:
            client.on_error(ccxt.NetworkError(reason))

    async def snapshot(self, symbol: str) -> tuple[int, bytes]:
        """When the book's snapshot was received, and its text. Raises Lost."""
        request = {"symbol": self._api.market(symbol)["id"], "limit": self._settings.snapshot_levels}
        try:
            await self._api.public_get_depth(request)
        except ccxt.BaseError as error:
            raise Lost(f"snapshot: {_short(error)}") from None
        return self._answer

    def _on_answer(self, code: int, reason: str, url: str, method: str, headers: Any, body: str, *_: object) -> str:
        """ccxt's hook for an answer, before it is parsed."""
        self._answer = self._now_ns(), body.strip().encode()
        return body.strip()

    async def close(self) -> None:
        """Close the connection and ccxt's session."""
        self.disconnect("closed")
        await self._api.close()


def reason_of(lost: "asyncio.Future[Any]") -> str:
    """Why the connection failed."""
    if lost.cancelled():
        return "closed"
    error = lost.exception()
    return _short(error) if error else "ended by the venue"


def moved(urls: Any, rest_url: str, ws_url: str) -> Any:
    """``urls`` (ccxt nests them) with the hosts of ``rest_url`` and ``ws_url`` in place of the venue's; "": its own."""
    if isinstance(urls, dict):
        return {key: moved(value, rest_url, ws_url) for key, value in urls.items()}
    base = ws_url if urls.startswith("ws") else rest_url
    return urlunsplit((*urlsplit(base)[:2], *urlsplit(urls)[2:])) if base else urls


def _short(error: BaseException) -> str:
    text = str(error).splitlines()
    return (text[0] if text and text[0] else type(error).__name__)[:REASON_CHARS]
