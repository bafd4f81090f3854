"""A core under an adversarial market and venue beside the plain model of ``account``; each answer is held to its laws.

``ACTIONS`` lists what can happen and from which values each argument is drawn: the rule machine draws with Hypothesis,
the soak from a seed. Arguments are small numbers that mean something only in the present state (which order, how far
from the market), so any sequence of them is a session.

The venue acknowledges, fills, rejects, cancels, expires or forgets orders as it likes, says things twice, late or in
another order, and now and then something impossible. The process restarts from its saved bytes, or from its inputs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from core import book as core_book
from core import config, engine, strategies
from core.errors import BrokenInvariant
from core.instruments import Instrument
from core.records import BAR, COMMAND, FILL, LEVEL, ORDER, PREDICTION, RECORD, Action, Command, Kind, Side
from core.records import OrderState as S
from core.settings import Group, Trading
from tests.core.build import BTC, ETH, STEP_NS, trading
from tests.properties.account import SLOTS, Account, Order, after, hold
from tests.properties.judge import HALT, Judge

START_NS = 1_700_006_400_000_000_000
START_PRICE = 1_000_000
WAITS = (*(0, 1, 1_000_000, 1_000_000_000) * 3, 60_000_000_000, STEP_NS, 3_600_000_000_000, 30_000_000_000_000)
CENTS = tuple(Instrument(**{**item.as_json(), "quote_unit": "0.01"}) for item in (BTC, ETH))
THIRD = Instrument(
    symbol="ADAUSDT", base="ADA", quote="USDT", tick="0.0007", lot="3", maker_fee_ppm=-100, taker_fee_ppm=400
)


def puppet(params: np.void, memory: np.void, view: np.void, quotes: np.void) -> int:
    """A strategy that wants what the latest prediction says: p_down_ppm is the want now, plus 10 x the want at a timer.

    Its quotes: edge_ppm and sigma_ppm are the prices, p_up_ppm the lots (x 1000 of the ask).
    """
    said = view["prediction"]
    if view["event"] == strategies.ON_PREDICTION:
        return said["p_down_ppm"] % 10
    if view["event"] != strategies.ON_TIMER:
        return strategies.NO_OPINION
    quotes["bid_price"], quotes["ask_price"] = said["edge_ppm"], said["sigma_ppm"]
    quotes["bid_lots"], quotes["ask_lots"] = 100 * (said["p_up_ppm"] % 1000), 100 * (said["p_up_ppm"] // 1000)
    return said["p_down_ppm"] // 10


strategies.register("puppet", puppet)


def _world(instruments: tuple[Instrument, ...], profile: str, **changes: Any) -> tuple[Trading, tuple[Instrument, ...]]:
    base = {"kind": "puppet", "fixed_lots": 200_000, "asset_cap_ppm": 400_000, "total_cap_ppm": 700_000}
    tiers = {"caution_drawdown_ppm": 4_000, "halt_drawdown_ppm": 12_000, "flatten_drawdown_ppm": 25_000}
    return trading(**{**base, **tiers, "profile": profile, "prediction_ttl_ns": 10**9, **changes}), instruments


_NO_TIERS = {"caution_drawdown_ppm": 300_000, "halt_drawdown_ppm": 600_000, "flatten_drawdown_ppm": 900_000}
_GROUPS = (
    Group(name="majors", kind="theme", symbols=("BTCUSDT", "ETHUSDT"), cap_ppm=450_000),
    Group(name="alts", kind="cluster", symbols=("ETHUSDT", "ADAUSDT"), cap_ppm=420_000),
)
_PACE = {
    "turnover_minute_ppm": 250_000,
    "max_signals_per_hour": 2,
    "max_orders_per_hour": 0,
}
_COSTS = {"fee_guard_ppm": 1_000, "fee_budget_day_ppm": 300}
_STOPS = {"daily_stop_ppm": 5_000, "weekly_stop_ppm": 6_000}
_LEVERED = {
    "leverage_ppm": 3_000_000,
    "deleverage_ppm": 600_000,
    "asset_cap_ppm": 2_500_000,
    "total_cap_ppm": 3_000_000,
    "daily_stop_ppm": 500_000,
    "flatten_daily_loss_ppm": 900_000,
}
_FULL = {"asset_cap_ppm": 1_000_000, "total_cap_ppm": 1_000_000, "daily_stop_ppm": 50_000}
WORLDS = (
    _world((BTC,), "spot"),
    _world((BTC, ETH), "spot", cooldown_ns=4 * STEP_NS, max_orders_per_hour=3, order_ttl_ns=STEP_NS),
    _world(CENTS, "spot", fixed_lots=0, sigma_target_ppm=10**6, daily_stop_ppm=5_000, slippage_ppm=20_000),
    _world((BTC, THIRD), "spot", fixed_lots=900_000, max_orders_per_hour=0, **_FULL, **_NO_TIERS),
    _world(
        (BTC,),
        "margin",
        leverage_ppm=3_000_000,
        turnover_hour_ppm=250_000,
        asset_cap_ppm=2_000_000,
        total_cap_ppm=2_500_000,
        max_orders_per_hour=0,
    ),
    _world(
        (BTC, ETH, THIRD), "margin", circuit_failures=1, circuit_open_ns=STEP_NS, max_orders_per_hour=40, **_NO_TIERS
    ),
    _world((*CENTS,), "margin", total_cap_ppm=400_000, order_ttl_ns=1_000_000_000, max_orders_per_hour=0),
    _world((BTC, ETH, THIRD), "spot", groups=_GROUPS, max_orders_per_hour=0, **_COSTS, **_NO_TIERS),
    _world((BTC, ETH), "margin", fixed_lots=2_500_000, max_orders_per_hour=0, **_LEVERED, **_NO_TIERS),
    _world((BTC, ETH), "spot", **_PACE, **_STOPS, **_NO_TIERS),
)

# What can happen: how often in a soak, and the values of each argument.
_SAID = (*(S.NEW,) * 8, S.PARTIAL, S.UNKNOWN, S.CANCELED, S.CANCELED, S.EXPIRED, S.REJECTED)
ACTIONS: dict[str, tuple[int, dict[str, tuple[Any, ...]]]] = {
    "bar": (6, {"k": (0, 1, 2), "move_ppm": (-30_000, -5_000, -300, 0, 300, 5_000, 30_000), "wait": WAITS}),
    "level": (
        10,
        {
            "k": (0, 1, 2),
            "side": (1, 2),
            "off": (-900, -50, -2, 0, 1, 30),
            "lots": (0, 0, 1, 50, 9_000),
            "last": (True, True, False),
            "wait": WAITS,
        },
    ),
    "timer": (18, {"wait": WAITS}),
    "predict": (
        16,
        {
            "k": (0, 1, 2),
            "want": (0, 1, 2, 2, 3),
            "later": (0, 2, 3, 4, 4, 4, 4),
            "bid_off": (-500, -1, 0, 3),
            "ask_off": (500, 2, 0, -4),
            "bid": (0, 3, 300, 900),
            "ask": (0, 3, 300, 900),
            "age": (0, 0, 0, 1, 10**9, 10**9 + 1),
            "wait": WAITS,
        },
    ),
    "report": (20, {"n": tuple(range(12)), "to": _SAID, "wait": WAITS}),
    "fill": (
        16,
        {
            "n": tuple(range(12)),
            "part": (1, 3, 10, 10),
            "off": (-400, -1, 0, 0, 2, 500),
            "fee": (-9, 0, 0, 70_000),
            "asset": (1, 1, 2),
            "exec_off": (0, 0, 500_000),
            "wait": WAITS,
        },
    ),
    "again": (8, {"n": tuple(range(40)), "wait": WAITS}),
    "old": (3, {"n": tuple(range(40)), "to": tuple(S), "wait": WAITS}),
    "wrong_fill": (1, {"n": tuple(range(12)), "how": ("more", "side", "order", "none"), "wait": WAITS}),
    "order": (4, {"which": (Command.KILL_HALT, Command.KILL_FLATTEN, *(Command.RESUME,) * 8), "wait": WAITS}),
    "restart": (1, {"how": ("bytes", "replay")}),
}


class World:
    """One session: the core's state, the model beside it, and everything that was said."""

    def __init__(self, number: int):
        self.trading, self.instruments = WORLDS[number % len(WORLDS)]
        self.config = config.build(self.trading, self.instruments)
        self.strategy = strategies.get("puppet")
        self.books = core_book.new_books(len(self.instruments))
        self.account = Account(self.trading, self.instruments)
        self.judge = Judge(self.account, self.config)
        self.levels: list[dict[int, dict[int, int]]] = [{1: {}, 2: {}} for _ in self.instruments]
        self.buffer = np.zeros(engine.OUT_PER_INPUT, RECORD)
        self.inputs: list[np.ndarray] = []
        self.outputs: list[np.ndarray] = []
        self.said: list[np.ndarray] = []  # by the venue
        self.now_ns, self.exec_id = START_NS, 0
        self.bar_ns = [START_NS] * len(self.instruments)
        self.state = engine.new_state(self.config)

    # -- what can happen ---------------------------------------------------------------------------------------------

    def bar(self, k: int, move_ppm: int, wait: int) -> None:
        k, now = self._at(k, wait)
        holding = self.account.holdings[k]
        start = holding.price or START_PRICE
        close = max(1, start + start * move_ppm // 1_000_000)
        if now <= self.bar_ns[k]:
            now = self.now_ns = self.bar_ns[k] + 1
        row = _row(BAR, Kind.BAR, k, now)
        row["open"], row["close"], row["high"], row["low"] = start, close, max(start, close), min(start, close)
        self.bar_ns[k] = now
        self.feed(row, lambda: setattr(holding, "mark2", 2 * close))

    def level(self, k: int, side: int, off: int, lots: int, last: bool, wait: int) -> None:
        k, now = self._at(k, wait)
        start = self.account.holdings[k].price or START_PRICE
        price = max(1, start - off if side == Side.BUY else start + off)
        row = _row(LEVEL, Kind.LEVEL, k, now)
        row["side"], row["price"], row["qty"], row["flags"] = side, price, lots, int(last)
        self.feed(row, lambda: self._level(k, side, price, lots, last))

    def _level(self, k: int, side: int, price: int, lots: int, last: bool) -> None:
        mine, other = self.levels[k][side], self.levels[k][3 - side]
        mine.pop(price, None)
        if lots > 0:
            mine[price] = lots
            for passed in [p for p in other if (p <= price if side == Side.BUY else p >= price)]:
                del other[passed]
        if last:
            holding = self.account.holdings[k]
            touch = max(self.levels[k][1], default=0), min(self.levels[k][2], default=0)
            if touch != holding.touch:
                holding.touch = touch
                holding.mark2 = sum(touch) if min(touch) > 0 else holding.mark2

    def timer(self, wait: int) -> None:
        self.feed(_row(RECORD, Kind.TIMER, 0, self._at(0, wait)[1]))

    def predict(
        self,
        k: int,
        want: int,
        later: int,
        bid_off: int,
        ask_off: int,
        bid: int,
        ask: int,
        age: int,
        wait: int,
    ) -> None:
        k, now = self._at(k, wait)
        price = self.account.holdings[k].price or START_PRICE
        row = _row(PREDICTION, Kind.PREDICTION, k, now)
        row["bar_ts"], row["p_down_ppm"], row["p_up_ppm"] = now - age, want + 10 * later, bid + 1000 * ask
        row["edge_ppm"], row["sigma_ppm"] = max(1, price + bid_off), max(1, price + ask_off)
        self.feed(row)

    def report(self, n: int, to: int, wait: int) -> None:
        order = self._live(n)
        if order is not None:
            self._report(order, to, self._at(0, wait)[1])

    def old(self, n: int, to: int, wait: int) -> None:
        """A report of any order, whatever became of it."""
        orders = list(self.account.orders.values())
        if orders:
            self._report(orders[n % len(orders)], to, self._at(0, wait)[1])

    def _report(self, order: Order, to: int, now: int) -> None:
        row = _row(ORDER, Kind.ORDER, order.index, now)
        row["side"], row["order_id"], row["state"] = order.side, order.number, to
        self.say(row)

    def fill(self, n: int, part: int, off: int, fee: int, asset: int, exec_off: int, wait: int) -> None:
        """A part (of ten) of what is left of a live order."""
        order, now = self._live(n), self._at(0, wait)[1]
        if order is not None and order.left > 0:
            qty = max(1, order.left * part // 10)
            self._fill(order, order.side, qty, off, fee, asset, self.exec_id + 1 - exec_off, now)

    def wrong_fill(self, n: int, how: str, wait: int) -> None:
        """A fill that contradicts what was sent: it is booked, and trading halts."""
        order, now = self._live(n), self._at(0, wait)[1]
        if order is None and how != "none":
            return
        k = n % len(self.instruments)
        price = self.account.holdings[k].price or START_PRICE
        made = order or Order(10**6, k, Side.BUY, Action.OPEN, 10, 0, price, 0)
        side = 3 - made.side if how == "side" else made.side
        number = made.number + 1_000 if how == "order" else made.number
        given = Order(number, made.index, side, made.action, made.qty, made.limit, made.price, 0)
        self._fill(given, side, made.left + 7 if how == "more" else 5, 0, 0, 1, self.exec_id + 1, now)

    def _fill(self, order: Order, side: int, qty: int, off: int, fee: int, asset: int, exec_id: int, now: int) -> None:
        self.exec_id += 1
        row = _row(FILL, Kind.FILL, order.index, now)
        row["side"], row["order_id"], row["qty"], row["flags"] = side, order.number, qty, asset
        row["price"], row["fee"], row["exec_id"] = max(1, order.price + off), fee, exec_id
        self.say(row)

    def again(self, n: int, wait: int) -> None:
        """What the venue said once, and says again now."""
        if self.said:
            row = self.said[-1 - n % len(self.said)].copy()
            row["ts_known"] = self._at(0, wait)[1]
            self.say(row)

    def order(self, which: int, wait: int) -> None:
        row = _row(COMMAND, Kind.COMMAND, 0, self._at(0, wait)[1])
        row["command"] = which
        self.feed(row)

    def restart(self, how: str) -> None:
        """Go on from the saved bytes, or from a state made by hearing all inputs again."""
        if how == "bytes":
            kept, books = self.state.tobytes(), self.books.tobytes()
            self.state = np.frombuffer(bytearray(kept), self.state.dtype)
            self.books = np.frombuffer(bytearray(books), self.books.dtype)
            return
        self.replay()

    def replay(self) -> None:
        """Every input again, to a fresh state: the same answers, the same bytes."""
        state, books, told = engine.new_state(self.config), core_book.new_books(len(self.instruments)), []
        for row in self.inputs:
            count = engine.on_core_record(self.config, state, row, self.buffer, self.strategy, books)
            told.append(self.buffer[:count].copy())
        same = [a.tobytes() == b.tobytes() for a, b in zip(told, self.outputs, strict=True)]
        hold("a replay answers the same", all(same), [k for k, equal in enumerate(same) if not equal][:1])
        hold("a replay ends in the same state", state.tobytes() == self.state.tobytes())
        self.state = state
        self.books = books

    # -- hearing and judging -----------------------------------------------------------------------------------------

    def _at(self, k: int, wait: int) -> tuple[int, int]:
        self.now_ns += wait
        return k % len(self.instruments), self.now_ns

    def _live(self, n: int) -> Order | None:
        live = [order for holding in self.account.holdings for order in holding.live]
        return live[n % len(live)] if live else None

    def say(self, row: np.ndarray) -> None:
        """A report of the venue; one that cannot be must stop the core, which then starts again from its last state."""
        record = row[0].item()
        side, index, asset, number = record[3], record[4], record[6], record[7]
        if record[2] == Kind.FILL:
            heard = partial(
                self.account.take_fill, index, side, number, record[8], record[9], record[10], asset, record[11]
            )
        else:
            known = self.account.holdings[index].orders.get(number)
            if known is not None and after(known.state, record[8]) is None and self._stops(row, known):
                return
            heard = partial(self.account.take_report, index, number, record[8])
        self.said.append(row)
        self.feed(row, heard)

    def _stops(self, row: np.ndarray, order: Order) -> bool:
        """An impossible report stops the core, which starts again from its last state.

        False: the order has ended and the core, which remembers a few such, knows it no longer.
        """
        before = self.state.copy()
        try:
            self._call(row)
        except BrokenInvariant:
            self.judge.seen["impossible report"] += 1
            self.state = before
            return True
        self.state = before
        slots = before[0]["orders"][order.index]["slots"][:SLOTS]
        hold("an impossible report stops the core", order.number not in slots["order_id"], row, order)
        return False

    def _call(self, row: np.ndarray) -> list[tuple[int, ...]]:
        count = engine.on_core_record(self.config, self.state, row, self.buffer, self.strategy, self.books)
        return self.buffer[:count].tolist()

    def feed(self, row: np.ndarray, model: Callable[[], object] = lambda: None) -> None:
        """One input for the core and for the model; then every law."""
        answers = self._call(row)
        self.inputs.append(row.view(RECORD))
        self.outputs.append(self.buffer[: len(answers)].copy())
        if row["kind"][0] != Kind.LEVEL or row["flags"][0]:  # a torn book tells no time
            self.account.take_time(int(row["ts_known"][0]))
        within = model() is not False
        self.account.measure()
        self.judge.hear(row, answers)
        hold("a fact beyond its order halts", within or self.account.risk_state >= HALT, row)
        self.judge.compare(self.state)


def _row(dtype: np.dtype, kind: Kind, instrument: int, now: int) -> np.ndarray:
    row = np.zeros(1, dtype)
    row["kind"], row["instrument"], row["ts_event"], row["ts_known"] = kind, instrument, now, now
    return row
