"""Binance's REST candles and trades on a loopback port, with a clock of its own, gaps, and faults on request."""

import json
import threading
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
DAY1_MS = 1_735_689_600_000  # 2025-01-01
LIMIT = 1000  # candles in an answer at most, as the venue has it
INTERVALS_MS = {"1m": MINUTE_MS, "5m": 5 * MINUTE_MS}


@dataclass
class Binance:
    """The venue's state, changed by a test between requests, and what it was asked."""

    now_ms: int = DAY1_MS + DAY_MS
    pairs: tuple[tuple[str, str], ...] = (("BTC", "USDT"), ("ETH", "USDT"), ("BNB", "USDT"))
    listed_ms: int = 0  # no candles before
    is_windowed: bool = False  # as OKX and Bybit: an answer covers `limit` times from startTime on, even if none exists
    gaps: set[int] = field(default_factory=set)  # open times without a candle, times without a trade
    crowded: bool = False  # every trade is told to be of one ms
    closes: dict[tuple[str, int], str] = field(default_factory=dict)  # by id and open time: another close
    faults: dict[tuple[str, int], str] = field(
        default_factory=dict
    )  # by id (or path) and its number of request, from 1
    retry_after: str = "0"
    latency_s: dict[str, float] = field(default_factory=dict)
    together: threading.Barrier | None = None  # each id's first request waits here for the others
    url: str = ""
    asked: list[tuple[str, int, float]] = field(default_factory=list)  # id, startTime, when (monotonic s)
    peak: int = 0  # most requests for candles at one time
    _counts: Counter[str] = field(default_factory=Counter)
    _open: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def starts(self) -> dict[str, list[int]]:
        """The startTimes asked for, by id, in order of arrival."""
        found = defaultdict(list)
        for name, start_ms, _ in self.asked:
            found[name].append(start_ms)
        return dict(found)

    def fault_of(self, name: str) -> tuple[str, int]:
        """Count a request for ``name``; its fault, "" for none, and its number."""
        with self._lock:
            self._counts[name] += 1
            return self.faults.get((name, self._counts[name]), self.faults.get((name, 0), "")), self._counts[name]

    def enter(self, change: int) -> None:
        """Count requests that are being answered."""
        with self._lock:
            self._open += change
            self.peak = max(self.peak, self._open)

    def klines(self, name: str, interval: str, start_ms: int, limit: int) -> list[list[Any]]:
        """What the venue has from ``start_ms`` on, the open candle included."""
        step_ms = INTERVALS_MS[interval]
        end_ms = start_ms + limit * step_ms if self.is_windowed else self.now_ms + 1
        time_ms = -(-max(start_ms, self.listed_ms) // step_ms) * step_ms
        found: list[list[Any]] = []
        while time_ms < min(end_ms, self.now_ms + 1) and len(found) < limit:
            if time_ms not in self.gaps:
                found.append(self._kline(name, time_ms, step_ms))
            time_ms += step_ms
        return found

    def _kline(self, name: str, time_ms: int, step_ms: int) -> list[Any]:
        seed = zlib.crc32(f"{name}{time_ms}".encode())
        low, close = 100 + seed % 900, self.closes.get((name, time_ms), f"{100 + seed % 900}.50")
        values = f"{low}.25", f"{low + 2}.00", f"{low}.00", close, f"{seed % 97}.125"
        return [time_ms, *values, time_ms + step_ms - 1, "0", 5, "0", "0", "0"]

    def agg_trades(self, name: str, start_ms: int, end_ms: int, limit: int) -> list[dict[str, Any]]:
        """Two trades every three seconds, of one instant, from the day's begin; ids count up by one."""
        found: list[dict[str, Any]] = []
        number = max(0, -(-(start_ms - DAY1_MS) // 3000) * 2)
        while (time_ms := DAY1_MS + number // 2 * 3000) <= min(end_ms, self.now_ms - 1) and len(found) < limit:
            at = DAY1_MS if self.crowded else time_ms
            if time_ms not in self.gaps:
                price = self.closes.get((name, number), f"{100 + zlib.crc32(f'{name}{number}'.encode()) % 900}.50")
                found.append(
                    {"a": number, "p": price, "q": "0.125", "f": number, "l": number, "T": at, "m": bool(number % 3)}
                )
            number += 1
        return found

    def info(self) -> dict[str, Any]:
        """The list of symbols, with what ccxt needs of it."""
        return {"symbols": [_entry(base, quote) for base, quote in self.pairs]}


def _entry(base: str, quote: str) -> dict[str, Any]:
    return {
        "symbol": base + quote, "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
        "baseAssetPrecision": 8, "quotePrecision": 8, "isSpotTradingAllowed": True, "permissions": ["SPOT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "stepSize": "0.001"},
        ],
    }  # fmt: skip


@contextmanager
def served(venue: Binance) -> Iterator[Binance]:
    """``venue`` on a port of its own, in ``venue.url``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            if parts.path == "/api/v3/time":
                self.answer({"serverTime": venue.now_ms})
            elif parts.path == "/api/v3/exchangeInfo":
                fault, _ = venue.fault_of("exchangeInfo")
                self.answer(venue.info(), fault)
            elif parts.path == "/api/v3/klines":
                venue.enter(1)
                self.page(query, lambda name, start_ms, limit: venue.klines(name, query["interval"], start_ms, limit))
            elif parts.path == "/api/v3/aggTrades":
                venue.enter(1)
                end_ms = int(query["endTime"])
                self.page(query, lambda name, start_ms, limit: venue.agg_trades(name, start_ms, end_ms, limit))
            else:
                self.answer({"code": -1, "msg": f"no path {parts.path}"}, "404")

        def page(self, query: dict[str, str], rows: Callable[[str, int, int], list[Any]]) -> None:
            name, start_ms = query["symbol"], int(query["startTime"])
            venue.asked.append((name, start_ms, time.monotonic()))
            fault, number = venue.fault_of(name)
            if venue.together and number == 1:
                venue.together.wait(30)
            time.sleep(venue.latency_s.get(name, 0.0))
            page = rows(name, start_ms, min(int(query["limit"]), LIMIT))
            venue.enter(-1)  # before the answer: its reader may ask again at once
            with suppress(ConnectionError):  # of a client that was killed
                self.answer(garbled(page, fault), fault)

        def answer(self, value: Any, fault: str = "") -> None:
            body = json.dumps(value).encode()
            status = int(fault) if fault.isdigit() else 200
            if fault == "half":
                body = body[: len(body) // 2]
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status in (429, 503):
                self.send_header("Retry-After", venue.retry_after)
            self.end_headers()
            if fault == "cut":
                self.wfile.write(body[: len(body) // 2])
                self.close_connection = True
            else:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    venue.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield venue
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def garbled(page: list[Any], fault: str) -> Any:
    """``page`` as a faulty venue sends it."""
    if fault == "empty":
        return []
    if fault == "twice":
        return [*page[:500], *page[:500]]
    if fault == "shuffled":
        return page[::-1]
    if fault == "contradiction":
        return [page[0], [*page[0][:4], "1.00", *page[0][5:]], *page[1:]]
    return page
