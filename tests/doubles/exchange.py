"""A matching engine for the doubles: orders of accounts against one another and against an outside market.

It shares no code with what it is to prove. Prices are ticks, quantities lots, balances whole units of their asset. The
outside market is moved by calls (``set_level``, ``trade``), from a tape or by a test; its quantity stands in the same
queues as orders do. Public methods are actions: each sends its events to ``listeners``, orders and trades as they
happen, then balances and book.
"""

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from fractions import Fraction
from math import ceil, floor
from typing import Any

from tests.doubles.accounts import Accounts
from tests.doubles.book import BUY, OUTSIDE, SELL, Book
from tests.doubles.clock import SECOND_NS, Clock
from tests.doubles.orders import (
    PPM,
    BalanceEvent,
    BookEvent,
    Event,
    Fill,
    Market,
    NewOrder,
    Order,
    OrderEvent,
    Reject,
    Rules,
    TradeEvent,
)


class Exchange:
    """Markets, accounts and orders of one venue."""

    def __init__(self, clock: Clock, markets: Iterable[Market], rules: Rules | None = None):
        self.clock, self.rules = clock, rules or Rules()
        self.markets = {market.symbol: market for market in markets}
        self.books = {symbol: Book() for symbol in self.markets}
        self.last: dict[str, int] = {}  # price of the last trade, ticks
        self.trades: dict[str, list[TradeEvent]] = {symbol: [] for symbol in self.markets}
        self.accounts = Accounts()
        self.orders: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self.listeners: list[Callable[[Event], None]] = []
        self.deadlines: dict[str, int] = {}  # account: ns at which all its orders are cancelled
        self._depth = 0
        self._ids = 1000
        clock.moved.append(self.run_timers)

    # Accounts

    def deposit(self, account: str, asset: str, units: int) -> None:
        """Issue units, or with a negative number withdraw them: a balance changed by hand."""
        with self._action():
            self.accounts.issue(account, asset, units)
            self.accounts.touched.pop((account, asset))
            self._send(BalanceEvent(account, (asset,), units))

    def balance(self, account: str, asset: str) -> tuple[int, int]:
        """Free and locked units."""
        return self.accounts.free[account, asset], self.accounts.locked[account, asset]

    # Orders

    def submit(self, account: str, new: NewOrder) -> Order:
        """Take an order and match it. Raises Reject, and then nothing has changed."""
        self.run_timers()
        if first := self.by_client_id(account, new.client_id):
            if self.rules.repeated_id == "first order returned":
                return first
            if first.is_open:
                raise Reject("duplicate", f"client id {new.client_id} is that of the open order {first.id}")
        market = self._checked(account, new)
        with self._action():
            now = self.clock.now_ns()
            order = Order(self._next(), account, new, market, now, now, lots=new.lots)
            order.lock_asset = market.quote if order.is_buy else market.base
            self.orders[order.id] = order
            if new.stop is not None and not self._is_triggered(order):
                order.status = "pending"
                self._relock(order)
                self._send(OrderEvent("new", order))
            else:
                self._send(OrderEvent("new", order))
                self._execute(order)
        return order

    def cancel(self, account: str, order_id: int, reason: str = "user") -> Order:
        """Cancel an open order. Raises Reject("unknown_order")."""
        self.run_timers()
        order = self.orders.get(order_id)
        if order is None or order.account != account or not order.is_open:
            raise Reject("unknown_order", f"{order_id}")
        with self._action():
            self._leave(order)
            self._end(order, "canceled", reason)
        return order

    def cancel_all(self, account: str, symbol: str | None = None, reason: str = "user") -> list[Order]:
        """Cancel every open order of the account, or of one of its markets."""
        with self._action():
            return [self.cancel(account, order.id, reason) for order in self.open_orders(account, symbol)]

    def reduce(self, account: str, order_id: int, lots: int) -> Order:
        """Make an open order smaller: ``lots`` in all; it keeps its place in the queue."""
        order = self.orders.get(order_id)
        if order is None or order.account != account or order.status != "open":
            raise Reject("unknown_order", f"{order_id}")
        if not order.filled < lots < order.lots:
            raise Reject("amend", f"{lots} lots; between {order.filled} and {order.lots} is possible")
        with self._action():
            assert order.new.price is not None
            self.books[order.market.symbol].reduce(order.side, order.new.price, order.id, order.lots - lots)
            order.lots, order.updated_ns = lots, self.clock.now_ns()
            self._relock(order)
            self._send(OrderEvent("reduced", order))
        return order

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """In order of their making."""
        return [
            order
            for order in self.orders.values()
            if order.is_open and order.account == account and symbol in (None, order.market.symbol)
        ]

    def by_client_id(self, account: str, client_id: str) -> Order | None:
        """The latest order with this id of the client's."""
        found = (order for order in reversed(self.orders.values()) if order.new.client_id == client_id)
        return next((order for order in found if client_id and order.account == account), None)

    def cancel_after(self, account: str, seconds: float) -> int:
        """Cancel all of the account's orders in ``seconds`` unless called again; 0 disarms. The deadline in ns or 0."""
        self.run_timers()
        self.deadlines.pop(account, None)
        if seconds:
            self.deadlines[account] = self.clock.now_ns() + round(seconds * SECOND_NS)
        return self.deadlines.get(account, 0)

    def run_timers(self) -> None:
        """Do what is due by now."""
        for account in [name for name, due_ns in self.deadlines.items() if due_ns <= self.clock.now_ns()]:
            del self.deadlines[account]
            self.cancel_all(account, reason="cancel after")

    # The outside market

    def set_level(self, symbol: str, side: int, price: int, lots: int) -> None:
        """The outside market now has ``lots`` at a price; what it crosses trades with it, its own other side yields."""
        with self._action():
            book = self.books[symbol]
            if lots:
                for crossed in book.outside_until(-side, price):
                    book.set_outside(-side, crossed, 0)
                lots -= self._match(self.markets[symbol], side, price, lots - book.outside(side, price), None)
            book.set_outside(side, price, lots)
            self._trigger(symbol)

    def set_levels(self, symbol: str, levels: dict[tuple[int, int], int]) -> None:
        """Set many levels at once, by (side, price): first those that end."""
        with self._action():
            for (side, price), lots in sorted(levels.items(), key=lambda item: item[1] > 0):
                self.set_level(symbol, side, price, lots)

    def set_book(self, symbol: str, bids: dict[int, int], asks: dict[int, int]) -> None:
        """Replace the outside market: ticks -> lots."""
        book = self.books[symbol]
        gone = {(side, price): 0 for side in (BUY, SELL) for price, _ in book.depth(side)}
        new = {(side, price): lots for side, levels in ((BUY, bids), (SELL, asks)) for price, lots in levels.items()}
        self.set_levels(symbol, gone | new)

    def trade(self, symbol: str, side: int, price: int, lots: int, is_recorded: bool = False) -> int:
        """Someone outside takes up to ``lots`` at ``price`` or better; how many there were.

        Of a recorded market the levels say how much is left: what a trade took of it stands again, at the end, and what
        still stands at better prices is late news: the trade met nobody there but us.
        """
        with self._action():
            book = self.books[symbol]
            stood = {at: book.outside(-side, at) for at in book.outside_until(-side, price)} if is_recorded else {}
            for at in stood.keys() - {price}:
                book.set_outside(-side, at, 0)
            done = self._match(self.markets[symbol], side, price, lots, None)
            for at, outside in stood.items():
                book.set_outside(-side, at, outside)
            self._trigger(symbol)
        return done

    def delist(self, symbol: str) -> None:
        """Take a market off: its orders are cancelled, new ones refused."""
        with self._action():
            self.markets[symbol].is_trading = self.markets[symbol].is_listed = False
            for order in [order for order in self.orders.values() if order.is_open and order.market.symbol == symbol]:
                self._leave(order)
                self._end(order, "canceled", "delisted")

    # Checks

    def check(self) -> None:
        """The laws: balances, funds of open orders, places in the book, no crossed orders. Raises AssertionError."""
        self.accounts.check()
        placed: dict[int, int] = {}
        for symbol, book in self.books.items():
            bid, ask = book.best(BUY), book.best(SELL)
            assert bid is None or ask is None or bid < ask, f"{symbol} is crossed: {bid} {ask}"
            for side in (BUY, SELL):
                placed |= {entry.owner: entry.lots for _, entry in book.entries(side, None) if entry.owner != OUTSIDE}
        assert placed == {order.id: order.remaining for order in self.orders.values() if order.status == "open"}
        locked: dict[tuple[str, str], int] = {}
        for order in self.orders.values():
            assert order.is_open or not order.locked, f"order {order.id} is {order.status} and has funds locked"
            assert order.filled == sum(fill.lots for fill in order.fills) <= order.lots
            key = (order.account, order.lock_asset)
            locked[key] = locked.get(key, 0) + order.locked
        assert {k: v for k, v in locked.items() if v} == {k: v for k, v in self.accounts.locked.items() if v}

    # Within an action

    def _checked(self, account: str, new: NewOrder) -> Market:
        market = self.markets.get(new.symbol)
        if market is None or not market.is_listed:
            raise Reject("unknown_symbol", new.symbol)
        if not market.is_trading:
            raise Reject("closed", new.symbol)
        reference = new.price if new.price is not None else new.stop or self._reference(new)
        if new.budget:
            notional = Fraction(new.budget, 10**market.quote_decimals)
        else:
            if not market.lots_min <= new.lots <= market.lots_max:
                raise Reject("lots", f"{new.lots} lots; {market.lots_min} to {market.lots_max} are possible")
            notional = Fraction(market.price(reference) * market.quantity(new.lots))
        if reference and notional < market.notional_min:
            raise Reject("notional", f"{float(notional)} is below {market.notional_min}")
        if new.price is not None and new.price <= 0:
            raise Reject("tick", f"price {new.price}")
        last = self.last.get(new.symbol)
        if new.price is not None and market.band_ppm and last and abs(new.price - last) * PPM > market.band_ppm * last:
            raise Reject("band", f"{market.price(new.price)} is too far from {market.price(last)}")
        if len(self.open_orders(account, new.symbol)) >= market.orders_max:
            raise Reject("max_orders", f"{market.orders_max} are possible")
        if new.post_only and new.price is not None and self._crosses(new):
            raise Reject("post_only", "would trade at once")
        order = Order(0, account, new, market, 0, 0, lots=new.lots)
        if new.stop is not None and self._is_triggered(order) and self.rules.late_stop == "refused":
            raise Reject("stop", "would trigger at once")
        self._need_funds(order)
        return market

    def _need_funds(self, order: Order) -> None:
        asset = order.market.quote if order.is_buy else order.market.base
        need = self._need(order) if order.new.price is not None or not order.is_buy else self._walk(order)
        if need > self.accounts.free[order.account, asset]:
            raise Reject("funds", f"{need} units of {asset} needed, {self.accounts.free[order.account, asset]} free")

    def _reference(self, new: NewOrder) -> int:
        return self.books[new.symbol].best(-new.side) or self.last.get(new.symbol, 0)

    def _crosses(self, new: NewOrder) -> bool:
        best = self.books[new.symbol].best(-new.side)
        return best is not None and new.price is not None and (new.price - best) * new.side >= 0

    def _is_triggered(self, order: Order) -> bool:
        last, stop = self.last.get(order.new.symbol), order.new.stop
        if last is None or stop is None:
            return stop is None
        return (last - stop) * order.side * (-1 if order.new.is_take_profit else 1) >= 0

    def _walk(self, order: Order) -> int:
        """Quote units a market buy would cost now, fee included where quote pays it; an untriggered stop: none."""
        if order.new.stop is not None and not self._is_triggered(order):
            return 0
        if order.new.budget:
            return order.new.budget
        left, exact = order.lots, Fraction(0)
        for price, entry in self.books[order.market.symbol].entries(SELL, None):
            taken = min(left, entry.lots)
            exact, left = exact + price * taken * order.market.value, left - taken
        return ceil(exact) + self._fee_bound(exact)

    def _affordable(self, order: Order) -> int:
        """Lots that the budget of a market buy takes from the book now."""
        lots, left = 0, Fraction(order.new.budget)
        if self.rules.fee_in == "quote":
            left = left * PPM / (PPM + max(self.rules.taker_ppm, self.rules.maker_ppm))
        for price, entry in self.books[order.market.symbol].entries(SELL, None):
            taken = min(entry.lots, floor(left / (price * order.market.value)))
            lots, left = lots + taken, left - taken * price * order.market.value
        return lots

    def _fee_bound(self, exact: Fraction) -> int:
        worst = max(self.rules.taker_ppm, self.rules.maker_ppm)
        return ceil(ceil(exact) * Fraction(worst, PPM)) if self.rules.fee_in == "quote" else 0

    def _need(self, order: Order) -> int:
        """Units an open order must have locked."""
        if not order.is_buy:
            return order.remaining * order.market.base_units
        if order.new.price is None:
            return 0
        exact = order.exact + order.new.price * order.remaining * order.market.value
        return ceil(exact) + self._fee_bound(exact) - order.cost - order.fees

    def _relock(self, order: Order) -> None:
        need = self._need(order) if order.is_open else 0
        self.accounts.lock(order.account, order.lock_asset, need - order.locked)
        order.locked = need

    def _execute(self, order: Order) -> None:
        """Match an order and rest, or end, what remains."""
        new, book = order.new, self.books[order.market.symbol]
        self._relock(order)
        if new.tif == "fok" and sum(entry.lots for _, entry in book.entries(-order.side, new.price)) < order.lots:
            self._end(order, "expired", "fok")
            return
        if new.budget:
            order.lots = self._affordable(order)
        self._match(order.market, order.side, new.price, order.remaining, order)
        if order.is_open and order.remaining and new.price is not None and new.tif == "gtc":
            book.rest(order.side, new.price, order.id, order.remaining)
        elif order.is_open:
            self._end(order, "expired", "ioc")
        self._trigger(order.market.symbol)

    def _match(self, market: Market, side: int, limit: int | None, lots: int, taker: Order | None) -> int:
        book, done = self.books[market.symbol], 0
        while done < lots:
            front = book.front(-side)
            if front is None or (limit is not None and (limit - front[0]) * side < 0):
                break
            price, entry = front
            maker = self.orders.get(entry.owner)
            if taker and maker and taker.account == maker.account:
                own = taker if self.rules.self_trade == "newest" else maker
                if own is maker:
                    self._leave(maker)
                self._end(own, "expired", "self trade")
                if own is taker:
                    break
                continue
            size = min(lots - done, entry.lots)
            book.take(-side, size)
            self._trade(market, side, price, size, [(taker, False), (maker, True)])
            done += size
        return done

    def _trade(self, market: Market, side: int, price: int, lots: int, who: list[tuple[Order | None, bool]]) -> None:
        public = TradeEvent(market, len(self.trades[market.symbol]) + 1, price, lots, side, self.clock.now_ns())
        self.last[market.symbol] = price
        self.trades[market.symbol].append(public)
        for order, is_maker in who:
            if order is not None:
                self._fill(order, public, is_maker)
        self._send(public)

    def _fill(self, order: Order, public: TradeEvent, is_maker: bool) -> None:
        market, accounts, before = order.market, self.accounts, order.cost
        accounts.lock(order.account, order.lock_asset, -order.locked)
        order.locked = 0
        order.filled += public.lots
        order.exact += public.price * public.lots * market.value
        order.cost = ceil(order.exact) if order.is_buy else floor(order.exact)
        cost, base = order.cost - before, public.lots * market.base_units
        if order.is_buy:
            accounts.pay(order.account, market.quote, cost)
            accounts.receive(order.account, market.base, base)
        else:
            accounts.pay(order.account, market.base, base)
            accounts.receive(order.account, market.quote, cost)
        in_base = order.is_buy and self.rules.fee_in == "received"
        rate = Fraction(self.rules.maker_ppm if is_maker else self.rules.taker_ppm, PPM)
        fee, fee_asset = floor((base if in_base else cost) * rate), market.base if in_base else market.quote
        accounts.pay(order.account, fee_asset, fee)
        order.fees += 0 if in_base else fee
        order.updated_ns = public.time_ns
        what = public.id, order, public.price, public.lots, cost, fee, fee_asset, is_maker, public.time_ns
        fill = Fill(len(self.fills) + 1, *what)
        order.fills.append(fill)
        self.fills.append(fill)
        if not order.remaining:
            order.status = "filled"
        self._relock(order)
        self._send(OrderEvent("trade", order, fill))

    def _trigger(self, symbol: str) -> None:
        """Stops that the last price has passed become orders, oldest first."""
        while True:
            waiting = (order for order in self.orders.values() if order.status == "pending")
            order = next((each for each in waiting if each.market.symbol == symbol and self._is_triggered(each)), None)
            if order is None:
                return
            order.status, order.updated_ns = "open", self.clock.now_ns()
            self._relock(order)
            self._send(OrderEvent("triggered", order))
            if order.is_buy and order.new.price is None:
                try:
                    self._need_funds(order)
                except Reject as refusal:
                    self._end(order, "expired", refusal.code)
                    continue
            self._execute(order)

    def _leave(self, order: Order) -> None:
        if order.status == "open":
            assert order.new.price is not None
            self.books[order.market.symbol].reduce(order.side, order.new.price, order.id, order.remaining)

    def _end(self, order: Order, status: str, reason: str) -> None:
        order.status, order.reason, order.updated_ns = status, reason, self.clock.now_ns()
        self._relock(order)
        self._send(OrderEvent(status, order))

    def _next(self) -> int:
        self._ids += 1
        return self._ids

    def _send(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    @contextmanager
    def _action(self) -> Any:
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._depth:
            return
        touched, self.accounts.touched = self.accounts.touched, {}
        for account in dict.fromkeys(account for account, _ in touched):
            self._send(BalanceEvent(account, tuple(asset for holder, asset in touched if holder == account)))
        for symbol, book in self.books.items():
            changed, book.changed = sorted(book.changed), set()
            levels = {(side, price): book.total(side, price) for side, price in changed}
            if levels:
                self._send(BookEvent(self.markets[symbol], levels, self.clock.now_ns()))
