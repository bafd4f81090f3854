"""MarketStates once more: slow, obvious, from lists of everything that was seen instead of carried state.

The book is the tests' own (``tests.core.lob_reference``); weighted means are sums over the past with their weights
written out. Nothing is shared with the kernel but the numbers of ``features.market_state``.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from core.records import RECORD, Kind, MarketFlag, Side
from features import market_state as m
from tests.core.lob_reference import Book

Touch = tuple[int, int, int, int]  # bid, its lots, ask, its lots


def mean(values: list[float], half_life: float) -> float:
    """The weighted mean: weight max(1 / n, alpha) for the n-th value."""
    alpha, result = 1 - 0.5 ** (1 / half_life), 0.0
    for n, value in enumerate(values, 1):
        result += max(1 / n, alpha) * (value - result)
    return result


@dataclass
class Reference:
    """One instrument with depth. ``feed`` takes rows in order; ``rows`` has one dict per event."""

    book: Book = field(default_factory=Book)
    touch: Touch | None = None
    changed_ns: int = 0
    flows: list[float] = field(default_factory=list)
    bids: list[float] = field(default_factory=list)
    asks: list[float] = field(default_factory=list)
    trades: list[float] = field(default_factory=list)
    books_ns: list[int] = field(default_factory=list)
    mids: list[tuple[int, int]] = field(default_factory=list)  # when known, twice the mid
    message: list[np.void] = field(default_factory=list)
    before: list[np.void] = field(default_factory=list)  # trades that no update has shown yet
    last_ns: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)

    def feed(self, row: np.void) -> None:
        """Take one row; the last of a message makes an event."""
        self.message.append(row)
        if row["kind"] == Kind.LEVEL:
            self.book.level(int(row["side"]), int(row["a"]), int(row["b"]))
        elif row["kind"] == Kind.CLEAR:
            self.book.clear(int(row["side"]), int(row["a"]))
        if int(row["flags"]) & MarketFlag.LAST:
            self._event(int(row["ts_known"]))
            self.message = []

    def _event(self, now: int) -> None:
        if now - self.last_ns > m.RESTART_GAP_NS:
            self._forget()
        self.last_ns = now
        trades = [row for row in self.message if row["kind"] == Kind.TRADE]
        signed = [int(row["b"]) * (1 if row["side"] == Side.BUY else -1) for row in trades]
        self.trades += signed
        self.before += trades
        is_changed = len(trades) < len(self.message)
        bid, ask = self.book.best(int(Side.BUY)), self.book.best(int(Side.SELL))
        if bid is None or ask is None:
            self._forget()
            self.rows.append({"events": 0})
            return
        touch = self.touch
        if is_changed or touch is None:
            touch = (bid, self.book.shown(1, bid), ask, self.book.shown(2, ask))
        self.flows.append(sum(signed) + (self._flow(touch) if is_changed and self.touch else 0))
        if touch != self.touch:
            self.changed_ns = now
        if is_changed:
            self.before = []
            self.books_ns.append(now)
        self.touch = touch
        self.bids.append(touch[1])
        self.asks.append(touch[3])
        self.mids.append((now, bid + ask))
        self.rows.append(self._fields(now, touch))

    def _forget(self) -> None:
        self.touch = None
        for seen in (self.flows, self.bids, self.asks, self.trades, self.books_ns, self.mids, self.before):
            seen.clear()

    def _flow(self, now: Touch) -> float:
        """Cont, Kukanov and Stoikov's e_n, less what trades had told before."""
        bid, bid_qty, ask, ask_qty = self.touch
        joined = (now[1] if now[0] >= bid else 0) - (bid_qty if now[0] <= bid else 0)
        left = (ask_qty if now[2] >= ask else 0) - (now[3] if now[2] <= ask else 0)
        sold = sum(int(row["b"]) for row in self.before if row["side"] == Side.SELL)
        bought = sum(int(row["b"]) for row in self.before if row["side"] == Side.BUY)
        if joined < 0:
            joined = min(0, joined + sold)
        if left > 0:
            left = max(0, left - bought)
        return joined + left

    def _fields(self, now: int, touch: Touch) -> dict[str, float]:
        bid, bid_qty, ask, ask_qty = touch
        lots = bid_qty + ask_qty
        absolute = mean([abs(flow) for flow in self.flows], m.OFI_HALF_LIFE_EVENTS)
        traded = mean([abs(lots) for lots in self.trades], m.TRADE_HALF_LIFE_TRADES)
        pools = self._pools(bid, ask)
        return {
            "events": len(self.flows),
            "spread_ticks": ask - bid,
            "mid2": bid + ask,
            "qimbalance": (bid_qty - ask_qty) / lots,
            "microprice_off": (ask * bid_qty + bid * ask_qty) / lots - (bid + ask) / 2,
            "ofi_norm": mean(self.flows, m.OFI_HALF_LIFE_EVENTS) / absolute if absolute else 0,
            "trade_imbalance": mean(self.trades, m.TRADE_HALF_LIFE_TRADES) / traded if traded else 0,
            "refresh_hz": sum(math.exp((then - now) / 1e9 / m.REFRESH_SECONDS) for then in self.books_ns),
            "stale_ms": min((now - self.changed_ns) / 1e6, m.STALE_MS_MAX),
            "queue_bid": math.log(bid_qty / mean(self.bids, m.QUEUE_HALF_LIFE_EVENTS)),
            "queue_ask": math.log(ask_qty / mean(self.asks, m.QUEUE_HALF_LIFE_EVENTS)),
            **{f"depth_{k}": share for k, share in enumerate(pools / pools.sum())},
            **self._polynomial("bid", pools[: m.POOLS]),
            **self._polynomial("ask", pools[m.POOLS :]),
            **self._sigma(now),
        }

    def _pools(self, bid: int, ask: int) -> np.ndarray:
        pools = np.zeros(2 * m.POOLS)
        for k, (start, end) in enumerate(zip(m.POOL_EDGES, m.POOL_EDGES[1:], strict=False)):
            pools[k] = sum(self.book.shown(1, bid - ticks) for ticks in range(start, end))
            pools[m.POOLS + k] = sum(self.book.shown(2, ask + ticks) for ticks in range(start, end))
        return pools

    @staticmethod
    def _polynomial(side: str, pools: np.ndarray) -> dict[str, float]:
        x = np.array(m.POOL_EDGES[1:]) / m.DEPTH_TICKS
        fitted = np.linalg.lstsq(np.stack([x, x**2], 1), np.cumsum(pools) / pools.sum(), rcond=None)[0]
        return {f"slope_{side}": fitted[0], f"curve_{side}": fitted[1]}

    def _sigma(self, now: int) -> dict[str, float]:
        """From the mid as it was known when each step was due; the first event's step is the first sample."""
        second = next((known for known, _ in self.mids[1:]), None)
        if second is None:
            return {"sigma": 0, "sigma_mad": 0}
        steps = range(second // m.SIGMA_STEP_NS, now // m.SIGMA_STEP_NS + 1)
        sampled = [[mid2 for known, mid2 in self.mids if known < step * m.SIGMA_STEP_NS] for step in steps]
        values = [self.mids[0][1], *(seen[-1] for seen in sampled[1:])]
        changes = np.diff(values)
        window = np.sort(changes[-m.SIGMA_WINDOW_STEPS :])
        if len(window) == 0:
            return {"sigma": 0, "sigma_mad": 0}
        away = np.sort(np.abs(window - window[len(window) // 2]))
        sigma = mean(list(np.abs(changes)), m.SIGMA_HALF_LIFE_STEPS) / 2 * math.sqrt(math.pi / 2)
        return {"sigma": sigma, "sigma_mad": away[len(away) // 2] / 2 * 1.4826}


def reference(records: np.ndarray) -> list[dict[str, float]]:
    """One dict per event of ``records`` (n,) RECORD; {"events": 0} where there is no price."""
    made = Reference()
    for row in records.view(RECORD):
        made.feed(row)
    return made.rows
