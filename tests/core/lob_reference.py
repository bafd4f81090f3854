"""MM-1 and its exchange, slow and plain: dicts, lists and Python's own integers, one rule at a time.

The rules are those of the market maker with a queue, "MM-1", of the peer benchmarks: post-only orders at the best bid
and ask, constant latency, a queue ahead that is never longer than what is shown. Nothing here is shared with ``core``
but the form of a tape, so that an error made there is not made here as well.

Prices are ticks, quantities lots, times ns, money whole cash units: a buy's cost is rounded up, a sell's proceeds down,
a fee up, a rebate towards zero.
"""

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np

BUY, SELL = 1, 2
LEVEL, TRADE, CLEAR = 7, 8, 9
NEVER = 2**63


@dataclass(frozen=True, kw_only=True)
class Work:
    """One run's terms. ``value``: cash units of one lot at a price of one tick."""

    value: Fraction
    order_lots: int
    inventory_lots: int
    maker_fee_ppm: int
    clock: str = "timer"
    latency_ns: int = 1_000_000  # to the exchange, and back
    interval_ns: int = 100_000_000


@dataclass(frozen=True)
class Row:
    """One row of a tape. A clear's price is 0 for the whole side."""

    kind: int
    side: int
    ts_event: int
    ts_known: int
    price: int
    qty: int


@dataclass(eq=False)
class Order:
    """One order, seen from both ends: ``ahead`` is the exchange's, ``known`` and ``leaving`` are ours."""

    number: int
    side: int
    price: int
    ahead: int = 0
    known: bool = False
    leaving: bool = False


@dataclass
class Result:
    """What came of it. ``fills``: (exchange time ns, order number, side, price in ticks) in the exchange's order."""

    fills: list[tuple[int, int, int, int]] = field(default_factory=list)
    orders: list[tuple[int, int, int]] = field(default_factory=list)  # (when sent, side, price)
    cancels: list[tuple[int, int]] = field(default_factory=list)  # (when sent, order number)
    decisions: int = 0
    position: int = 0
    cash: int = 0
    fees: int = 0
    mid2: int | None = None  # final bid + ask; None where a side is empty
    pnl: int | None = None  # cash + position x final mid


class Half:
    """One side of a book as rank -> lots: a rank is the price, negative for bids, so that the lowest is the best."""

    def __init__(self, sign: int):
        self.sign, self.lots, self.best = sign, dict[int, int](), NEVER

    def put(self, price: int, lots: int) -> None:
        self.lots[self.sign * price] = lots
        self.best = min(self.best, self.sign * price)

    def take_out(self, ranks: list[int]) -> None:
        for rank in ranks:
            del self.lots[rank]
        if self.best in ranks:
            self.best = min(self.lots, default=NEVER)

    def reached_by(self, price: int) -> bool:
        """A price of the other side that is as good as our best, or better."""
        return self.best <= self.sign * price

    def up_to(self, price: int) -> list[int]:
        return [rank for rank in self.lots if rank <= self.sign * price]


class Book:
    """Both sides. A level beyond the other side's best hides what it passes, so a book is never crossed."""

    def __init__(self) -> None:
        self.sides = {BUY: Half(-1), SELL: Half(1)}

    def level(self, side: int, price: int, lots: int) -> None:
        mine, other = self.sides[side], self.sides[3 - side]
        if lots > 0:
            mine.put(price, lots)
            if other.reached_by(price):
                other.take_out(other.up_to(price))
        elif mine.sign * price in mine.lots:
            mine.take_out([mine.sign * price])

    def clear(self, side: int, price: int) -> None:
        half = self.sides[side]
        half.take_out(list(half.lots) if price == 0 else half.up_to(price))

    def shown(self, side: int, price: int) -> int:
        half = self.sides[side]
        return half.lots.get(half.sign * price, 0)

    def best(self, side: int) -> int | None:
        half = self.sides[side]
        return None if half.best == NEVER else half.sign * half.best


class Exchange:
    """Its own book, our orders in it, oldest first, and what it says back: (what, order)."""

    def __init__(self) -> None:
        self.book, self.resting = Book(), list[Order]()
        self.fills: list[tuple[int, int, int, int]] = []

    def new(self, order: Order) -> str:
        if self.book.sides[3 - order.side].reached_by(order.price):
            return "expired"
        order.ahead = self.book.shown(order.side, order.price)
        self.resting.append(order)
        return "accepted"

    def cancel(self, order: Order) -> str:
        if order not in self.resting:
            return "too late"
        self.resting.remove(order)
        return "cancelled"

    def row(self, row: Row) -> list[Order]:
        """The orders that ``row`` fills."""
        filled: list[Order] = []
        if row.kind == CLEAR:
            self.book.clear(row.side, row.price)
        elif row.kind == TRADE:
            filled = [order for order in self.resting if order.side != row.side and self._trade(order, row)]
        else:
            before = self.book.sides[row.side].best
            self.book.level(row.side, row.price, row.qty)
            for order in self.resting:
                if (order.side, order.price) == (row.side, row.price):
                    order.ahead = min(order.ahead, row.qty)
            half = self.book.sides[row.side]
            if half.best < before:
                filled = [order for order in self.resting if order.side != row.side and half.reached_by(order.price)]
        for order in filled:
            self.resting.remove(order)
            self.fills.append((row.ts_event, order.number, order.side, order.price))
        return filled

    @staticmethod
    def _trade(order: Order, row: Row) -> bool:
        if order.price == row.price:
            order.ahead -= row.qty
            return order.ahead < 0
        return order.price > row.price if order.side == BUY else order.price < row.price


class Maker:
    """The strategy: its own book, the orders it knows to be alive, its position and money."""

    def __init__(self, work: Work):
        self.work, self.book, self.alive, self.result = work, Book(), list[Order](), Result()

    def row(self, row: Row) -> None:
        if row.kind == CLEAR:
            self.book.clear(row.side, row.price)
        elif row.kind == LEVEL:
            self.book.level(row.side, row.price, row.qty)

    def hear(self, what: str, order: Order) -> None:
        if what == "accepted":
            order.known = True
        elif what == "too late":
            order.leaving = False
        else:
            self.alive.remove(order)
            if what == "filled":
                self._book(order)

    def _book(self, order: Order) -> None:
        exact = self.work.value * order.price * self.work.order_lots
        amount = ceil(exact) if order.side == BUY else floor(exact)
        rate = Fraction(self.work.maker_fee_ppm, 1_000_000)
        fee = ceil(amount * rate)  # of a negative number: towards zero
        sign = 1 if order.side == BUY else -1
        self.result.position += sign * self.work.order_lots
        self.result.cash -= sign * amount + fee
        self.result.fees += fee

    def decide(self, now: int) -> list[tuple[str, Order]]:
        """The requests of one decision, in the order they are sent."""
        bid, ask = self.book.best(BUY), self.book.best(SELL)
        requests: list[tuple[str, Order]] = []
        if bid is None or ask is None:
            return requests
        for side, best, then in ((BUY, bid, self.result.position), (SELL, ask, -self.result.position)):
            allowed = then + self.work.order_lots <= self.work.inventory_lots
            mine = [order for order in self.alive if order.side == side]
            for order in mine:
                if (order.price != best or not allowed) and order.known and not order.leaving:
                    order.leaving = True
                    self.result.cancels.append((now, order.number))
                    requests.append(("cancel", order))
            if allowed and not mine:
                self.result.orders.append((now, side, best))
                self.alive.append(Order(len(self.result.orders), side, best))
                requests.append(("new", self.alive[-1]))
        return requests


def run(rows: list[Row], work: Work) -> Result:
    """Play ``rows``, given in the order we learn of them; the exchange takes them in the order of ``ts_event``."""
    exchange, maker = Exchange(), Maker(work)
    here, there = deque(rows), deque(sorted(rows, key=lambda row: row.ts_event))
    to_exchange: deque[tuple[int, str, Order]] = deque()
    to_us: deque[tuple[int, str, Order]] = deque()
    due = min(here[0].ts_known, there[0].ts_event) + work.interval_ns if rows else NEVER
    while True:
        times = (  # and in this order where they are equal
            here[0].ts_known if here else NEVER,
            to_us[0][0] if to_us else NEVER,
            there[0].ts_event if there else NEVER,
            to_exchange[0][0] if to_exchange else NEVER,
        )
        now = min(times)
        if now == NEVER:
            break
        if due < now:
            maker.result.decisions += 1
            to_exchange.extend((due + work.latency_ns, *request) for request in maker.decide(due))
            due += work.interval_ns
            continue
        first = times.index(now)
        if first == 0:
            maker.row(here.popleft())
        elif first == 1:
            maker.hear(*to_us.popleft()[1:])
        elif first == 2:
            to_us.extend((now + work.latency_ns, "filled", order) for order in exchange.row(there.popleft()))
        else:
            _, request, order = to_exchange.popleft()
            said = exchange.new(order) if request == "new" else exchange.cancel(order)
            to_us.append((now + work.latency_ns, said, order))
        if first < 2 and work.clock == "event":
            due = now
    return _close(exchange, maker, work)


def _close(exchange: Exchange, maker: Maker, work: Work) -> Result:
    result, bid, ask = maker.result, maker.book.best(BUY), maker.book.best(SELL)
    result.fills = exchange.fills
    if bid is not None and ask is not None:
        result.mid2 = bid + ask
        result.pnl = result.cash + floor(work.value * result.position * result.mid2 / 2)
    return result


def rows_of(tape: np.ndarray) -> list[Row]:
    """The rows of a tape of LEVEL, TRADE and CLEAR records (``core.records.RECORD``)."""
    columns = (tape[name].tolist() for name in ("kind", "side", "ts_event", "ts_known", "a", "b"))
    return [Row(*row) for row in zip(*columns, strict=True)]


def rows_of_events(events: Any, tick: float, lot: float) -> list[Row]:
    """The rows of a prepared file of the peer benchmarks: ``ev`` flags, two times, price and quantity as floats."""
    kinds = {1: LEVEL, 2: TRADE, 3: CLEAR, 4: LEVEL}
    columns = (events[name].tolist() for name in ("ev", "exch_ts", "local_ts", "px", "qty"))
    return [
        Row(
            kinds[ev & 0xFF],
            BUY if ev >> 29 & 1 else SELL,
            exch_ts,
            local_ts,
            0 if px != px or px < 0 else round(px / tick),
            round(qty / lot),
        )
        for ev, exch_ts, local_ts, px, qty in zip(*columns, strict=True)
    ]
