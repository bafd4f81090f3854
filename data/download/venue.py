"""One exchange through ccxt: its symbols, its clock, its candles. The only module that knows ccxt.

Requests are bounded three times: by ccxt's own limiter (requests a second), by a semaphore (requests at a time), and by
a gate that closes for everyone while the venue asks for patience. What fails for a passing reason is asked again;
what comes back is checked before it is believed, because ccxt takes an answer that is cut short for an empty one.
"""

import asyncio
import difflib
import email.utils
import json
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import ccxt.async_support as ccxt
import numpy as np

from core.errors import BadInput

VALUES: Final = ("open", "high", "low", "close", "volume")  # prices in quote, volume in base
CANDLE: Final = np.dtype([("time_ms", "<i8"), *((name, "<f8") for name in VALUES)])
TRADE: Final = np.dtype(
    [("time_ms", "<i8"), ("id", "<i8"), ("price", "<f8"), ("qty", "<f8"), ("side", "i1")]  # side: 1 bought, 2 sold
)
SIDES: Final = {"buy": 1, "sell": 2}
PAGE_CANDLES: Final = 500  # asked for at once where ccxt does not know the venue's limit
BUSY: Final = (408, 418, 425, 429)  # HTTP: come back later; and all from 500
SHOWN: Final = 8  # names in an error
REASON_CHARS: Final = 200
KEPT: Final = "what came before is kept: run the same command again"
DAY_MS: Final = 86_400_000
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.]{0,31}")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried, and how long to wait between: doubling, with jitter, or as the venue asks."""

    tries: int = 8
    first_wait_s: float = 0.5
    wait_max_s: float = 60.0
    asked_max_s: float = 300.0  # a longer Retry-After ends the download
    timeout_s: float = 30.0

    def wait_s(self, failures: int) -> float:
        """Before the next try, after ``failures`` in a row. Jitter keeps several requests from returning together."""
        return min(self.first_wait_s * 2.0 ** (failures - 1), self.wait_max_s) * random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Pair:
    """One symbol in ccxt's spelling (BTC/USDT) and the name of its file (BTC_USDT)."""

    symbol: str
    stem: str


class _Again(Exception):
    """An answer that is worth asking for once more."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s  # as the venue's Retry-After says


class Venue:
    """A connection to one exchange; use ``open_venue``."""

    def __init__(self, exchange: Any, concurrency: int, patience: Patience) -> None:
        self.name: str = exchange.id
        self._exchange = exchange
        self._slots = asyncio.Semaphore(concurrency)
        self._patience = patience
        self._opens_at_s = 0.0  # of the gate, on the loop's clock
        exchange.on_rest_response = _checked

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exchange.close()

    def interval_ms(self, timeframe: str) -> int:
        """Length of a candle. Raises BadInput, naming what there is, for a timeframe that cannot be ingested."""
        exists = [name for name in self._exchange.timeframes or () if _fits_a_day(name)]
        if timeframe not in exists:
            raise BadInput(f"{self.name} has no timeframe {timeframe!r} within a day; there is {', '.join(exists)}")
        return int(self._exchange.parse_timeframe(timeframe)) * 1000

    async def pairs(self, symbols: list[str]) -> list[Pair]:
        """``symbols`` (BTC-USDT or BTC/USDT) as the venue has them. Raises BadInput for one that it has not."""
        markets = await self._ask("the list of symbols", self._exchange.load_markets)
        found = []
        for symbol in dict.fromkeys(name if "/" in name else name.replace("-", "/", 1) for name in symbols):
            if symbol not in markets:
                raise BadInput(f"{self.name} has no symbol {symbol!r}; there is, for example, {_near(symbol, markets)}")
            parts = markets[symbol]["base"], markets[symbol]["quote"]
            if not all(_FILE_NAME.fullmatch(part) for part in parts):
                raise BadInput(f"{self.name}: {symbol!r} cannot name a file; letters, digits and . only: leave it out")
            found.append(Pair(symbol, "_".join(parts)))
        for pair in found:
            if clash := [other.symbol for other in found if other.stem == pair.stem and other is not pair]:
                raise BadInput(f"{pair.symbol} and {clash[0]} would both be {pair.stem}.parquet; use two --out folders")
        return found

    async def now_ms(self) -> int:
        """The venue's own clock where it has one: it decides which candle is still open."""
        if self._exchange.has.get("fetchTime"):
            return int(await self._ask("the time", self._exchange.fetch_time))
        return time.time_ns() // 1_000_000

    def page_candles(self, symbol: str) -> int:
        """How many candles one request can bring."""
        return int(self._exchange.feature_value(symbol, "fetchOHLCV", "limit", PAGE_CANDLES) or PAGE_CANDLES)

    async def candles(self, symbol: str, timeframe: str, since_ms: int) -> np.ndarray:
        """Candles that open at ``since_ms`` or later, by time, each once, dtype CANDLE, shape (n,).

        At most a page, open candles included. Empty only if the venue had none twice: one empty answer may be a fault.
        """
        limit = self.page_candles(symbol)
        what = f"{symbol} candles of {timeframe} from {iso(since_ms)}"

        async def call() -> np.ndarray:
            return _sorted(await self._exchange.fetch_ohlcv(symbol, timeframe, since_ms, limit), since_ms)

        page = await self._ask(what, call)
        return page if len(page) else await self._ask(what, call)

    def page_trades(self, symbol: str) -> int:
        """How many trades one request can bring."""
        return int(self._exchange.feature_value(symbol, "fetchTrades", "limit", PAGE_CANDLES) or PAGE_CANDLES)

    async def trades(self, symbol: str, since_ms: int) -> np.ndarray:
        """Trades at ``since_ms`` or later, by id, each once, dtype TRADE, shape (n,): at most a page.

        Empty only if the venue had none twice. Some venues look no further than an hour from ``since_ms``.
        """
        limit = self.page_trades(symbol)

        async def call() -> np.ndarray:
            return _trades(await self._exchange.fetch_trades(symbol, since_ms, limit), self.name, since_ms)

        page = await self._ask(f"{symbol} trades from {iso(since_ms)}", call)
        return page if len(page) else await self._ask(f"{symbol} trades from {iso(since_ms)}", call)

    async def _ask(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        for failures in range(1, self._patience.tries + 1):
            async with self._slots:
                await self._gate()
                try:
                    return await call()
                except (_Again, ccxt.OperationFailed) as error:
                    reason, after_s = _short(error), getattr(error, "after_s", None)
                except ccxt.BaseError as error:
                    if not isinstance(error.__cause__, aiohttp.ClientError):  # that one is a connection cut mid-answer
                        raise BadInput(f"{self.name}: {what}: refused: {_short(error)}") from None
                    reason, after_s = _short(error.__cause__), None
            if after_s is not None:
                self._close_gate(what, after_s)
            if failures < self._patience.tries:
                await asyncio.sleep(self._patience.wait_s(failures))
        raise BadInput(
            f"{self.name}: {what}: failed {self._patience.tries} times, last: {reason}; {KEPT} later, or "
            "with a lower --concurrency"
        )

    async def _gate(self) -> None:
        """Wait until the venue may be asked again: another request may have been told when."""
        loop = asyncio.get_running_loop()
        while (wait_s := self._opens_at_s - loop.time()) > 0:
            await asyncio.sleep(wait_s)

    def _close_gate(self, what: str, after_s: float) -> None:
        if after_s > self._patience.asked_max_s:
            raise BadInput(
                f"{self.name}: {what}: the venue asks to wait {after_s:.0f} s, the limit is "
                f"{self._patience.asked_max_s:.0f} s; {KEPT} after that time"
            )
        self._opens_at_s = max(self._opens_at_s, asyncio.get_running_loop().time() + after_s)


def open_venue(
    name: str, *, url: str | None, is_spot: bool, concurrency: int, patience: Patience, wants: str = "fetchOHLCV"
) -> Venue:
    """The exchange that ccxt calls ``name``, without keys; with ``url`` a mirror that serves the same paths."""
    if name not in ccxt.exchanges:
        raise BadInput(f"ccxt has no venue {name!r}; there is, for example, {_near(name, ccxt.exchanges)}")
    exchange = getattr(ccxt, name)({"enableRateLimit": True, "timeout": int(patience.timeout_s * 1000)})
    if not exchange.has.get(wants):
        raise BadInput(f"{name} gives no {wants.removeprefix('fetch')} history; choose another --venue")
    kinds = exchange.options.get("fetchMarkets")
    if is_spot and isinstance(kinds, dict) and "spot" in kinds.get("types", ()):
        kinds["types"] = ["spot"]  # not the derivatives' lists too: mirrors have none, and each is megabytes
    if url is not None:
        exchange.urls["api"] = _moved(exchange.urls["api"], url)
    return Venue(exchange, concurrency, patience)


def iso(time_ms: int) -> str:
    """A time in ms as text, to the second."""
    return str(np.datetime64(time_ms, "ms").astype("datetime64[s]")) + "Z"


def _moved(urls: Any, base: str) -> Any:
    """``urls`` (ccxt nests them) with the scheme and host of ``base``."""
    if isinstance(urls, dict):
        return {key: _moved(value, base) for key, value in urls.items()}
    scheme, host, path, *_ = urlsplit(base)
    if scheme not in ("http", "https") or not host or path.strip("/"):
        raise BadInput(f"--url is {base!r}; http://HOST or https://HOST is expected, the paths are the venue's")
    return urlunsplit((scheme, host, *urlsplit(urls)[2:]))


def _checked(
    status: int, reason: str, url: str, method: str, headers: dict[str, str], body: str, *_: object
) -> str:  # ccxt's hook for an answer, before it is parsed
    if status in BUSY or status >= 500:
        raise _Again(f"HTTP {status} {reason}", _retry_after_s(headers))
    if status == 200:
        try:
            json.loads(body)
        except ValueError:
            raise _Again(f"an answer of {len(body)} characters that is not whole JSON") from None
    return body.strip()


def _retry_after_s(headers: dict[str, str]) -> float | None:
    """Seconds from a Retry-After header, which holds seconds or a date; None without a usable one."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _sorted(rows: list[list[Any]], since_ms: int) -> np.ndarray:
    """``rows`` by time from ``since_ms`` on, without repetitions. A time with two contents is asked for again."""
    distinct = dict.fromkeys(tuple(np.nan if value is None else value for value in row[:6]) for row in rows)
    candles = np.array(sorted(row for row in distinct if row[0] >= since_ms), CANDLE)
    if (same := candles["time_ms"][1:] == candles["time_ms"][:-1]).any():
        raise _Again(f"two different candles of {iso(int(candles['time_ms'][1:][same][0]))} in one answer")
    return candles


def _trades(rows: list[dict[str, Any]], venue: str, since_ms: int) -> np.ndarray:
    """``rows`` by id from ``since_ms`` on. An id with two contents is asked for again."""
    distinct = set()
    for row in rows:
        if not str(row["id"]).isdigit():
            raise BadInput(f"{venue}: a trade's id is {row['id']!r}; only numbers tell which trades are lacking: use "
                           "another --venue")  # fmt: skip
        if row["timestamp"] >= since_ms:
            distinct.add((row["timestamp"], int(row["id"]), row["price"], row["amount"], SIDES[row["side"]]))
    trades = np.array(sorted(distinct, key=lambda row: row[1]), TRADE)
    if (same := trades["id"][1:] == trades["id"][:-1]).any():
        raise _Again(f"two different trades {int(trades['id'][1:][same][0])} in one answer")
    return trades


def _fits_a_day(timeframe: str) -> bool:
    length_ms = int(ccxt.Exchange.parse_timeframe(timeframe)) * 1000
    return length_ms >= 60_000 and DAY_MS % length_ms == 0


def _near(name: str, names: Any) -> str:
    return ", ".join(difflib.get_close_matches(name, names, n=SHOWN, cutoff=0.4) or sorted(names)[:SHOWN])


def _short(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:REASON_CHARS]
