"""What can happen to a session: an adversarial market and venue. ``scenarios.ACTIONS`` names each method here.

The venue acknowledges, fills, rejects, cancels, expires or forgets orders as it likes, says things twice, late or in
another order, and now and then something impossible.
"""

import numpy as np

from core.records import (
    BAR,
    COMMAND,
    FILL,
    LEVEL,
    ORDER,
    PREDICTION,
    RECORD,
    TRANSFER,
    Action,
    FeeAsset,
    Kind,
    Reason,
    Side,
)
from core.records import OrderState as S
from tests.properties.holding import Order
from tests.properties.scenarios import START_PRICE
from tests.properties.session import Session


class World(Session):
    """One session."""

    def bar(self, k: int, move_ppm: int, wait: int) -> None:
        k, now = self.at(k, wait)
        holding = self.account.holdings[k]
        start = holding.price or START_PRICE
        close = max(1, start + start * move_ppm // 1_000_000)
        if now <= self.bar_ns[k]:
            now = self.now_ns = self.bar_ns[k] + 1
        row = row_of(BAR, Kind.BAR, k, now)
        row["open"], row["close"], row["high"], row["low"] = start, close, max(start, close), min(start, close)
        self.bar_ns[k] = now
        self.feed(row, lambda: setattr(holding, "mark2", 2 * close))

    def level(self, k: int, side: int, off: int, lots: int, last: bool, wait: int) -> None:
        k, now = self.at(k, wait)
        start = self.account.holdings[k].price or START_PRICE
        price = max(1, start - off if side == Side.BUY else start + off)
        row = row_of(LEVEL, Kind.LEVEL, k, now)
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
        self.feed(row_of(RECORD, Kind.TIMER, 0, self.at(0, wait)[1]))

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
        k, now = self.at(k, wait)
        price = self.account.holdings[k].price or START_PRICE
        row = row_of(PREDICTION, Kind.PREDICTION, k, now)
        row["bar_ts"], row["p_down_ppm"], row["p_up_ppm"] = now - age, want + 10 * later, bid + 1000 * ask
        row["edge_ppm"], row["sigma_ppm"] = max(1, price + bid_off), max(1, price + ask_off)
        self.feed(row)

    def report(self, n: int, to: int, wait: int) -> None:
        order = self.live(n)
        if order is not None:
            self._report(order, to, self.at(0, wait)[1])

    def old(self, n: int, to: int, wait: int) -> None:
        """A report of any order, whatever became of it."""
        orders = list(self.account.orders.values())
        if orders:
            self._report(orders[n % len(orders)], to, self.at(0, wait)[1])

    def _report(self, order: Order, to: int, now: int) -> None:
        row = row_of(ORDER, Kind.ORDER, order.index, now)
        row["side"], row["order_id"], row["state"] = order.side, order.number, to
        self.say(row)

    def fill(self, n: int, part: int, off: int, fee: int, asset: int, exec_off: int, wait: int) -> None:
        """A part (of ten) of what is left of a live order."""
        order, now = self.live(n), self.at(0, wait)[1]
        if order is not None and order.left > 0:
            qty = max(1, order.left * part // 10)
            self._fill(order, order.side, qty, off, fee, asset, self.exec_id + 1 - exec_off, now)

    def wrong_fill(self, n: int, how: str, wait: int) -> None:
        """A fill that contradicts what was sent: it is booked, and trading halts."""
        order, now = self.live(n), self.at(0, wait)[1]
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
        row = row_of(FILL, Kind.FILL, order.index, now)
        row["side"], row["order_id"], row["qty"], row["flags"] = side, order.number, qty, asset
        row["price"], row["fee"], row["exec_id"] = max(1, order.price + off), fee, exec_id
        self.say(row)

    def again(self, n: int, wait: int) -> None:
        """What the venue said once, and says again now."""
        if self.said:
            row = self.said[-1 - n % len(self.said)].copy()
            row["ts_known"] = self.at(0, wait)[1]
            self.say(row)

    def order(self, which: int, wait: int) -> None:
        row = row_of(COMMAND, Kind.COMMAND, 0, self.at(0, wait)[1])
        row["command"] = which
        self.feed(row)

    def transfer(self, k: int, part: int, asset: int, cause: int, wait: int) -> None:
        """A part (of ten) of the cash at the start, or of what is held; no more goes out than there is."""
        k, now = self.at(k, wait)
        holding = self.account.holdings[k]
        amount = part * (abs(holding.units) if asset == FeeAsset.BASE else self.initial_cash) // 10
        if asset == FeeAsset.QUOTE and self.account.cash + amount < 0:
            return
        if asset == FeeAsset.BASE and (holding.mark2 == 0 or (self.account.is_spot and holding.units + amount < 0)):
            return
        row = row_of(TRANSFER, Kind.TRANSFER, k, now)
        row["amount"], row["flags"], row["cause"] = amount, asset, cause
        self.feed(row, lambda: self.account.take_transfer(k, amount, asset, cause))

    def reach(self, n: int, wait: int) -> None:
        """The venue says that the stop of an order that waits to leave was reached."""
        orders = [order for holding in self.account.holdings for order in holding.live if order.stop > 0]
        if not orders:
            return
        order, now = orders[n % len(orders)], self.at(0, wait)[1]
        row = row_of(ORDER, Kind.ORDER, order.index, now)
        row["side"], row["order_id"], row["state"], row["reason"] = order.side, order.number, S.NEW, Reason.STOP_LOSS
        self.say(row)


def row_of(dtype: np.dtype, kind: Kind, instrument: int, now: int) -> np.ndarray:
    row = np.zeros(1, dtype)
    row["kind"], row["instrument"], row["ts_event"], row["ts_known"] = kind, instrument, now, now
    return row
