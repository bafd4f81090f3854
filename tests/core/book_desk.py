"""An account on a book, fed one record at a time without a venue, and small tapes of books for the tick engine."""

from typing import Any

import numpy as np

from core import book as books
from core import config, engine, strategies
from core.instruments import Instrument
from core.records import FILL, LEVEL, ORDER, PREDICTION, RECORD, TRADE, Kind, MarketFlag, OrderState, Side
from core.settings import Trading
from tests.core.build import START_NS, trading

MS = 1_000_000
COIN = Instrument(symbol="COIN", base="C", quote="USDT", tick="0.1", lot="0.001", maker_fee_ppm=100, taker_fee_ppm=500)


def on_books(**changes: Any) -> Trading:
    """Settings for a margin account on books whose limits are wide."""
    wide = {
        "profile": "margin",
        "initial_cash": "1000000",
        "asset_cap_ppm": 900_000,
        "prediction_ttl_ns": 10**15,
        "price_band_ppm": 10**9,
        "max_orders_per_hour": 0,
        "slippage_ppm": 0,
        "order_latency_ns": MS,
        "response_latency_ns": MS,
        "decision_interval_ns": 100 * MS,
    }
    return trading(**{**wide, **changes})


def market(kind: Kind, side: int, price: int, qty: int, ts_ns: int, *, is_last: bool = True) -> np.ndarray:
    """A LEVEL or TRADE that we know a millisecond after it happened, shape (1,)."""
    row = np.zeros(1, LEVEL if kind == Kind.LEVEL else TRADE)
    row["kind"], row["side"], row["price"], row["qty"] = kind, side, price, qty
    row["ts_event"], row["ts_known"], row["flags"] = ts_ns, ts_ns + MS, MarketFlag.LAST if is_last else 0
    return row.view(RECORD)


def forecast(delta_hat_ppm: int, sigma_ppm: int, ts_ns: int, **fields: int) -> np.ndarray:
    """A PREDICTION for ``edge_ticks``, shape (1,)."""
    row = np.zeros(1, PREDICTION)
    row["kind"], row["ts_event"], row["ts_known"], row["bar_ts"] = Kind.PREDICTION, ts_ns, ts_ns, ts_ns
    row["edge_ppm"], row["sigma_ppm"], row["p_up_ppm"] = delta_hat_ppm, sigma_ppm, 600_000
    for name, value in fields.items():
        row[name] = value
    return row.view(RECORD)


class BookDesk:
    """One instrument's account beside a book that the test moves; orders are answered by the test."""

    def __init__(self, settings: Trading, instruments: tuple[Instrument, ...] = (COIN,)):
        self.config = config.build(settings, instruments)
        self.state = engine.new_state(self.config)
        self.books = books.new_books(len(instruments))
        self.strategy = strategies.of(settings, instruments)
        self.now, self.exec_id = START_NS, 0
        self.shown: dict[int, int] = {}

    @property
    def lots(self) -> int:
        return int(self.state[0]["positions"][0]["view"]["lots"])

    def feed(self, record: np.ndarray) -> np.ndarray:
        buffer = np.zeros(engine.OUT_PER_INPUT, RECORD)
        count = engine.on_core_record(self.config, self.state, record, buffer, self.strategy, self.books)
        return buffer[:count]

    def touch(self, bid: int, ask: int, qty: int = 50) -> None:
        """The book has one level on each side, at ``bid`` and ``ask``."""
        self.now += MS
        for side, price in ((Side.BUY, bid), (Side.SELL, ask)):
            if self.shown.get(side, price) != price:
                self.feed(market(Kind.LEVEL, side, self.shown[side], 0, self.now, is_last=False))
        for side, price in ((Side.BUY, bid), (Side.SELL, ask)):
            self.feed(market(Kind.LEVEL, side, price, qty, self.now, is_last=side == Side.SELL))
            self.shown[side] = price

    def timer(self, after_ns: int = 100 * MS) -> np.ndarray:
        """What the next decision makes."""
        self.now += after_ns
        row = np.zeros(1, RECORD)
        row["kind"], row["ts_event"], row["ts_known"] = Kind.TIMER, self.now, self.now
        return self.feed(row)

    def predict(self, delta_hat_ppm: int, sigma_ppm: int = 100, **fields: int) -> np.ndarray:
        """What a forecast makes."""
        self.now += MS
        return self.feed(forecast(delta_hat_ppm, sigma_ppm, self.now, **fields))

    def report(self, intent: np.void, state: OrderState, reason: int = 0) -> np.ndarray:
        """The venue says what became of ``intent``'s order."""
        self.now += MS
        row = np.zeros(1, ORDER)
        row["kind"], row["ts_event"], row["ts_known"] = Kind.ORDER, self.now, self.now
        row["side"], row["order_id"], row["state"], row["reason"] = intent["side"], intent["order_id"], state, reason
        return self.feed(row)

    def fill(self, intent: np.void, qty: int, price: int) -> np.ndarray:
        """``qty`` lots of ``intent``'s order execute."""
        self.now, self.exec_id = self.now + MS, self.exec_id + 1
        row = np.zeros(1, FILL)
        row["kind"], row["ts_event"], row["ts_known"], row["flags"] = Kind.FILL, self.now, self.now, 1
        row["side"], row["order_id"], row["price"], row["qty"] = intent["side"], intent["order_id"], price, qty
        row["exec_id"] = self.exec_id
        return self.feed(row)
