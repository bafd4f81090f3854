"""Small worlds for the core's tests: instruments, settings, bars, predictions, and one record at a time."""

from typing import Any

import msgspec
import numpy as np

from core import config, engine, strategies
from core.instruments import Instrument
from core.records import BAR, COMMAND, FILL, ORDER, PREDICTION, RECORD, TYPED, Kind, Side
from core.settings import Account, Execution, Risk, Strategy, Trading

START_NS = 1_700_006_400_000_000_000  # 2023-11-15 00:00 UTC
MINUTE_NS = 60_000_000_000
STEP_NS = 5 * MINUTE_NS
FEED_NS = 50_000_000

BTC = Instrument(
    symbol="BTCUSDT",
    base="BTC",
    quote="USDT",
    tick="0.01",
    lot="0.00001",
    min_qty="0.00002",
    min_notional="5",
    taker_fee_ppm=1000,
)
ETH = Instrument(
    symbol="ETHUSDT",
    base="ETH",
    quote="USDT",
    tick="0.01",
    lot="0.0001",
    min_notional="5",
    taker_fee_ppm=1000,
    fee_asset="received",
)


def trading(**changes: Any) -> Trading:
    """The tests' settings with some fields of their sections changed, each by its bare name."""
    base = Trading(
        account=Account(),
        execution=Execution(),
        strategy=Strategy(hold_horizons=6),
        risk=Risk(sigma_target_ppm=1_500, asset_cap_ppm=400_000),
    )
    sections = {}
    for name in base.__struct_fields__:
        section = getattr(base, name)
        if not isinstance(section, msgspec.Struct):
            sections[name] = changes.pop(name, section)
            continue
        mine = {key: changes.pop(key) for key in list(changes) if key in section.__struct_fields__}
        sections[name] = msgspec.structs.replace(section, **mine)
    assert not changes, f"no such settings: {changes}"
    return Trading(**sections)


def bars(closes: Any, *, instrument: int = 0, volume: int = 10_000_000, start_ns: int = START_NS) -> np.ndarray:
    """Contiguous bars that open at the previous close; ``closes`` in ticks."""
    closes = np.asarray(closes, np.int64)
    rows = np.zeros(len(closes), BAR)
    rows["kind"], rows["instrument"] = Kind.BAR, instrument
    rows["ts_event"] = start_ns + STEP_NS * np.arange(1, len(closes) + 1)
    rows["ts_known"] = rows["ts_event"] + FEED_NS
    rows["close"] = closes
    rows["open"] = np.concatenate([closes[:1], closes[:-1]])
    rows["high"] = np.maximum(rows["open"], rows["close"])
    rows["low"] = np.minimum(rows["open"], rows["close"])
    rows["volume"] = volume
    return rows


def predict(bar: np.void, *, edge: int = 0, sigma: int = 2000, p_up: int = 600_000, **fields: int) -> np.ndarray:
    """The PREDICTION made from ``bar``, shape (1,)."""
    row = np.zeros(1, PREDICTION)
    row["kind"], row["instrument"] = Kind.PREDICTION, bar["instrument"]
    row["ts_event"], row["ts_known"] = bar["ts_event"], bar["ts_known"] + 50_000_000
    row["bar_ts"], row["edge_ppm"], row["sigma_ppm"], row["p_up_ppm"] = bar["ts_event"], edge, sigma, p_up
    for name, value in fields.items():
        row[name] = value
    return row


def command(number: int, ts_ns: int) -> np.ndarray:
    """An operator's COMMAND, shape (1,)."""
    row = np.zeros(1, COMMAND)
    row["kind"], row["ts_event"], row["ts_known"], row["command"] = Kind.COMMAND, ts_ns, ts_ns, number
    return row


def order_report(intent: np.void, state: int, ts_ns: int) -> np.ndarray:
    """What a venue says about ``intent``'s order, shape (1,)."""
    row = np.zeros(1, ORDER)
    row["kind"], row["ts_event"], row["ts_known"] = Kind.ORDER, ts_ns, ts_ns
    row["instrument"], row["side"], row["order_id"] = intent["instrument"], intent["side"], intent["order_id"]
    row["state"] = state
    return row


def fill(intent: np.void, price: int, qty: int, ts_ns: int, *, fee: int = 0) -> np.ndarray:
    """A FILL of ``intent``'s order with its fee in quote, shape (1,)."""
    row = np.zeros(1, FILL)
    row["kind"], row["ts_event"], row["ts_known"], row["flags"] = Kind.FILL, ts_ns, ts_ns, 1
    row["instrument"], row["side"], row["order_id"] = intent["instrument"], intent["side"], intent["order_id"]
    row["price"], row["qty"], row["fee"], row["exec_id"] = price, qty, fee, 1
    return row


class Desk:
    """An account fed one record at a time, with or without the simulated venue; keeps everything it put out."""

    def __init__(self, settings: Trading, instruments: tuple[Instrument, ...] = (BTC, ETH), *, venue: bool = True):
        self.config = config.build(settings, instruments)
        self.state = engine.new_state(self.config)
        self.venue = engine.new_venue(self.config) if venue else None
        self.strategy = strategies.of(settings, instruments)
        self.out: list[np.ndarray] = []

    def feed(self, record: np.ndarray) -> np.ndarray:
        """What one input makes, dtype RECORD."""
        buffer = np.zeros(engine.OUT_PER_INPUT, RECORD)
        if self.venue is None:
            count = engine.on_core_record(self.config, self.state, record, buffer, self.strategy)
        else:
            count = engine.on_record(self.config, self.state, self.venue, record, buffer, self.strategy)
        self.out.append(buffer[:count].copy())
        return self.out[-1]


def only(records: np.ndarray, kind: Kind) -> np.ndarray:
    """The records of one kind, typed."""
    return records[records["kind"] == kind].view(TYPED[kind])


def walk(rng: np.random.Generator, rows: int, instruments: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random session: bars of ``instruments`` interleaved, one prediction after each, and their rows."""
    tapes = []
    for index in range(instruments):
        closes = np.maximum(1, 100_000 * np.exp(np.cumsum(rng.normal(0, 0.004, rows)))).astype(np.int64)
        tape = bars(closes, instrument=index)
        tape["volume"] = rng.choice([0, 50, 5_000, 10_000_000], rows, p=[0.05, 0.2, 0.25, 0.5])
        spread = rng.integers(0, 200, rows)
        tape["open"] = np.maximum(1, tape["open"] + rng.integers(-100, 100, rows))
        tape["high"] = np.maximum(tape["open"], tape["close"]) + spread
        tape["low"] = np.maximum(1, np.minimum(tape["open"], tape["close"]) - spread)
        tapes.append(tape[rng.random(rows) > 0.03])  # absent bars stay absent
    tape = np.concatenate(tapes)
    tape = tape[np.lexsort((tape["instrument"], tape["ts_known"]))]
    made = [
        predict(
            bar,
            edge=int(rng.integers(-1500, 1500)),
            sigma=int(rng.choice([0, 300, 2000, 20_000], p=[0.05, 0.35, 0.3, 0.3])),
            p_up=int(rng.integers(0, 1_000_000)),
            flags=int(rng.random() < 0.05),
        )
        for bar in tape
    ]
    return tape, np.concatenate(made), np.arange(len(tape), dtype=np.int64)


def book_tape(rng: np.random.Generator, rows: int, instruments: int) -> np.ndarray:
    """Books of ``instruments`` around 10000 USDT, built, kept busy and traded; (rows,) RECORD sorted by ``ts_known``.

    The exchange saw some of the rows in another order than we do.
    """
    tape = np.zeros(rows, RECORD)
    middle = np.full(instruments, 1_000_000)
    for number, row in enumerate(tape):
        k, side = int(rng.integers(instruments)), int(rng.integers(1, 3))
        middle[k] += int(rng.integers(-2, 3))
        away = int(rng.integers(1, 6)) * (1 if side == Side.SELL else -1)
        is_trade = number > 20 and rng.random() < 0.3
        row["kind"], row["instrument"], row["side"] = Kind.TRADE if is_trade else Kind.LEVEL, k, side
        row["a"], row["b"] = middle[k] + (-away // 3 if is_trade else away), int(rng.choice([0, 1, 5, 40, 900]))
        row["b"] = max(1, row["b"]) if is_trade else row["b"]
    tape["ts_event"] = START_NS + np.cumsum(rng.choice([0, 1_000_000, 40_000_000, 300_000_000], rows))
    tape["ts_known"] = tape["ts_event"] + rng.choice([1_000_000, 5_000_000], rows)
    tape = tape[np.argsort(tape["ts_known"], kind="stable")]
    tape["flags"] = np.append(tape["ts_known"][1:] != tape["ts_known"][:-1], True)
    return tape
