"""A slow, plain model of an account: what is held and owed, what is at work, and what has been lost.

Python's own integers, lists and dicts; nothing of ``core`` but names and records. It hears the same inputs as the core
and the core's answers (``approvals`` judges those that send orders). It computes no answer of its own: an order that
the core refuses is never wrong here, one that it approves may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from core.instruments import Instrument
from core.records import PPM, Action, FeeAsset, Reason, Side, TransferCause
from core.records import OrderState as S
from core.settings import Trading
from tests.properties.holding import Holding, Order, after, ceil_div, floor_div, hold
from tests.properties.losses import Circuit, Losses

ENTERS = (Reason.ENTRY, Reason.CROSS, Reason.POST)  # what the orders that plan an exit are sent for


@dataclass
class Account:
    """The whole account. Every ``take_`` method hears one input or one of the core's answers."""

    trading: Trading
    instruments: Sequence[Instrument]
    now_ns: int = 0
    risk_state: int = 0
    orders: dict[int, Order] = field(default_factory=dict)
    submitted: list[int] = field(default_factory=list)  # when, every order ever sent
    entries: list[int] = field(default_factory=list)  # when, those that open
    traded: list[tuple[int, int]] = field(default_factory=list)  # (when, worth) of every fill
    booked: set[tuple[int, int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        unit = Fraction(self.instruments[0].quote_unit)
        self.cash = int(Fraction(self.trading.account.initial_cash) / unit)
        self.holdings = [Holding(item) for item in self.instruments]
        self.losses = Losses(self.trading.risk, self.equity, self.equity, self.equity)
        self.circuit = Circuit(self.trading.risk)
        self.is_spot = self.trading.account.profile == "spot"

    @property
    def equity(self) -> int:
        return self.cash + sum(holding.value for holding in self.holdings)

    @property
    def margin_allowed(self) -> int:
        """The most exposure that keeps the margin in use within its limit."""
        part = self.trading.account.leverage_ppm * self.trading.risk.deleverage_ppm
        return max(0, self.equity) * part // (PPM * PPM)

    @property
    def excess(self) -> int:
        """Exposure above what margin allows."""
        return sum(abs(holding.value) for holding in self.holdings) - self.margin_allowed

    def take_time(self, now_ns: int) -> None:
        """Hear that ``now_ns`` has come, before anything else of an input."""
        self.now_ns = max(self.now_ns, now_ns)
        self.losses.new_time(self.now_ns, self.equity)

    def measure(self) -> None:
        """After an input has changed the account's value."""
        self.losses.measure(self.equity)

    def take_fill(
        self, index: int, side: int, number: int, price: int, qty: int, fee: int, asset: int, exec_id: int
    ) -> bool:
        """Book an execution once; False if it is within no order: too much, another side, an order that ended."""
        if (index, number, exec_id) in self.booked:
            return True
        self.booked.add((index, number, exec_id))
        holding, sign = self.holdings[index], 1 if side == Side.BUY else -1
        was_flat = holding.is_flat
        amount, held = price * holding.num * qty, holding.lots
        paid = ceil_div(amount, holding.den) if side == Side.BUY else -floor_div(amount, holding.den)
        in_base = asset == FeeAsset.BASE
        moved, fee_paid = sign * qty * holding.lot_units - (fee if in_base else 0), 0 if in_base else fee
        self.cash -= paid + fee_paid
        holding.units += moved
        holding.trips.trade(moved, paid, fee_paid)
        self.traded.append((self.now_ns, holding.notional_up(price, qty)))
        self.losses.day_fees += max(0, holding.base_worth(price, fee) if in_base else fee)
        self.circuit.accepted(self.now_ns)
        holding.mark2 = sum(holding.touch) if min(holding.touch) > 0 else 2 * price
        within = self._count(holding.orders.get(number), side, qty)
        if not was_flat and holding.is_flat:
            holding.exit_ns = self.now_ns
        if (not was_flat and holding.is_flat) or held * holding.lots < 0:
            self.losses.trip_ended(self.now_ns, holding.trips.ended())
        self.measure()
        below_zero = self.is_spot and (self.cash < 0 or holding.units < 0)
        return within and not below_zero

    def _count(self, order: Order | None, side: int, qty: int) -> bool:
        if order is None or not order.live or order.side != side:
            return False
        order.filled += qty
        self._move(order, S.FILLED if order.filled >= order.qty else S.PARTIAL)
        return order.filled <= order.qty

    def _move(self, order: Order, to: int) -> None:
        was_live, moved = order.live, after(order.state, to)
        hold("an order moves as its life cycle allows", moved is not None, order, to)
        order.state = S(moved or 0)
        if was_live and not order.live:
            self.holdings[order.index].live.remove(order)

    def take_report(self, index: int, number: int, to: int) -> bool:
        """What a venue says of an order; of one that ended it may say anything, and it changes nothing."""
        order = self.holdings[index].orders.get(number)
        if order is None or not order.live:
            return True
        before = order.state
        self._move(order, to)
        if order.state != before and order.state == S.REJECTED:
            self.circuit.rejected(self.now_ns)
        elif order.state != before and order.state == S.NEW:
            self.circuit.accepted(self.now_ns)
        return True

    def take_cancel(self, index: int, number: int) -> None:
        """The core asks for a cancellation."""
        order = self.holdings[index].orders.get(number)
        hold("a cancel names a live order that is not being cancelled", order is not None and order.live, number)
        if order is not None:
            hold("a cancel is asked for once", order.state != S.PENDING_CANCEL, order)
            self._move(order, S.PENDING_CANCEL)

    def take_submit(self, order: Order) -> None:
        """The core sent ``order``, which ``approvals`` has judged."""
        holding = self.holdings[order.index]
        if order.action == Action.OPEN:
            if order.reason != Reason.CHASE:
                self.entries.append(self.now_ns)
            if order.reason in ENTERS:
                holding.plan.enter(self.trading.strategy, order, order.price, holding.lots)
            self.circuit.probe = order if self.circuit.has_tripped else self.circuit.probe
        self.orders[order.number] = order
        self.submitted.append(self.now_ns)
        holding.add(order)

    def take_stop(self, index: int, number: int, price: int) -> None:
        """From ``price`` on, what is left of a live order executes at market; 0: now."""
        order = self.holdings[index].orders.get(number)
        hold("a stop is of a live order that leaves", order is not None and order.waits, number)
        if order is not None:
            order.stop = price
            order.limit = order.limit if price > 0 else 0

    def take_reached(self, index: int, number: int, to: int) -> None:
        """The venue says ``to`` of an order, and that its stop was reached: a live one is a market order now."""
        order = self.holdings[index].orders.get(number)
        if order is not None and order.live:
            self.take_report(index, number, to)
            order.stop = order.limit = 0

    def take_transfer(self, index: int, amount: int, asset: int, cause: int) -> bool:
        """Cash or base units from outside; False if they leave a spot account without cash."""
        before, holding = self.equity, self.holdings[index]
        if asset == FeeAsset.BASE:
            holding.units += amount
            holding.trips.receive(amount, self.equity - before)
        else:
            self.cash += amount
        if cause != TransferCause.ADJUSTMENT:
            self.losses.moved(before, self.equity)
        return not (self.is_spot and self.cash < 0)
