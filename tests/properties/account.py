"""A slow, plain model of an account: what is held and owed, what is at work, and what may be approved.

Python's own integers, lists and dicts; nothing of ``core`` but names and records. It hears the same inputs as the core
and the core's answers, and says where an answer breaks a law. It computes no answer of its own: an order that the core
refuses is never wrong here, one that it approves may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from core.instruments import Instrument
from core.records import DAY_NS, HOUR_NS, PPM, Action, FeeAsset, Side
from core.records import OrderState as S
from core.settings import Trading

SLOTS = 8  # orders that may be at work in an instrument
LIVE = (S.PENDING_NEW, S.NEW, S.PARTIAL, S.PENDING_CANCEL, S.UNKNOWN)
ENDS = (S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED)


class Broken(AssertionError):
    """A law does not hold."""


def hold(law: str, truth: bool, *facts: object) -> None:
    """Raise Broken naming the law and the facts unless ``truth``."""
    if not truth:
        raise Broken(f"{law}: {facts}")


def floor_div(amount: int, divisor: int) -> int:
    return amount // divisor


def ceil_div(amount: int, divisor: int) -> int:
    return -(-amount // divisor)


def after(state: S, to: int) -> S | None:
    """The state after a venue said ``to`` in ``state``; None: it cannot say that."""
    if state in ENDS:
        said_again = to == state or (to in (S.NEW, S.PARTIAL) and state != S.REJECTED)
        return state if said_again else None
    if to == S.REJECTED:
        return S.REJECTED if state in (S.PENDING_NEW, S.PENDING_CANCEL, S.UNKNOWN) else None
    if to in ENDS or to in (S.UNKNOWN, S.PENDING_CANCEL):
        same = to == S.PENDING_CANCEL and state == S.PENDING_CANCEL
        return None if same else S(to)
    if to == S.NEW:
        return state if state in (S.PARTIAL, S.PENDING_CANCEL) else S.NEW
    if to == S.PARTIAL:
        return state if state == S.PENDING_CANCEL else S.PARTIAL
    return None


@dataclass(slots=True)
class Order:
    """One order that the core sent."""

    number: int
    index: int  # of the instrument
    side: int
    action: int
    qty: int
    limit: int
    price: int  # what its exposure is counted at
    deadline_ns: int
    state: S = S.PENDING_NEW
    filled: int = 0

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def left(self) -> int:
        return max(0, self.qty - self.filled) if self.live else 0


class Holding:
    """One instrument: its grid, what is held of it, its value and its orders."""

    def __init__(self, instrument: Instrument):
        value = Fraction(instrument.tick) * Fraction(instrument.lot) / Fraction(instrument.quote_unit)
        self.num, self.den = value.numerator, value.denominator
        self.lot_units = int(Fraction(instrument.lot) / Fraction(instrument.base_unit))
        self.min_lots = ceil_div(Fraction(instrument.min_qty), Fraction(instrument.lot))
        self.min_notional = ceil_div(Fraction(instrument.min_notional), Fraction(instrument.quote_unit))
        self.fee_ppm = max(0, instrument.taker_fee_ppm)
        self.units = 0
        self.mark2 = 0  # twice the price it is valued at
        self.touch = (0, 0)
        self.exit_ns = 0
        self.decided_ns = 0
        self.live: list[Order] = []  # oldest first
        self.orders: dict[int, Order] = {}  # all there ever were

    @property
    def value(self) -> int:
        return floor_div(self.mark2 * self.num * self.units, 2 * self.den * self.lot_units)

    @property
    def lots(self) -> int:
        whole = abs(self.units) // self.lot_units
        return whole if self.units >= 0 else -whole

    @property
    def price(self) -> int:
        return self.mark2 // 2

    @property
    def is_flat(self) -> bool:
        lots = abs(self.lots)
        worth = floor_div(self.price * self.num * lots, self.den)
        return lots == 0 or lots < self.min_lots or worth < self.min_notional

    def notional_up(self, price: int, lots: int) -> int:
        return ceil_div(price * self.num * lots, self.den)

    def buy_cost(self, price: int, lots: int, slippage_ppm: int) -> int:
        value = self.notional_up(price + ceil_div(price * slippage_ppm, PPM), lots)
        return value + ceil_div(value * self.fee_ppm, PPM)

    def pending_lots(self, side: int) -> int:
        return sum(order.left for order in self.live if order.side == side)

    def exposure(self, side: int) -> int:
        """What is held in the direction of ``side`` if all its orders fill and none of the other side's."""
        pending = sum(self.notional_up(order.price, order.left) for order in self.live if order.side == side)
        return (self.value if side == Side.BUY else -self.value) + pending

    def add(self, order: Order) -> None:
        self.live.append(order)
        self.orders[order.number] = order


@dataclass
class Account:
    """The whole account. Every ``take_`` method hears one input or one of the core's answers."""

    trading: Trading
    instruments: Sequence[Instrument]
    now_ns: int = 0
    risk_state: int = 0
    failures: int = 0
    circuit_ns: int = 0
    stopped: bool = False  # the day's loss reached the daily stop
    day: int = 0
    orders: dict[int, Order] = field(default_factory=dict)
    submitted: list[int] = field(default_factory=list)  # when, every order ever sent
    booked: set[tuple[int, int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        unit = Fraction(self.instruments[0].quote_unit)
        self.cash = int(Fraction(self.trading.account.initial_cash) / unit)
        self.holdings = [Holding(item) for item in self.instruments]
        self.peak = self.day_equity = self.equity
        self.is_spot = self.trading.account.profile == "spot"

    @property
    def equity(self) -> int:
        return self.cash + sum(holding.value for holding in self.holdings)

    @property
    def drawdown_ppm(self) -> int:
        return max(0, ceil_div((self.peak - self.equity) * PPM, max(1, self.peak)))

    @property
    def floor_equity(self) -> int:
        """Equity at which the daily stop holds."""
        return self.day_equity - ceil_div(self.day_equity * self.trading.risk.daily_stop_ppm, PPM)

    def take_time(self, now_ns: int) -> None:
        """Hear that ``now_ns`` has come, before anything else of an input."""
        self.now_ns = max(self.now_ns, now_ns)
        if self.now_ns // DAY_NS > self.day:
            self.day, self.day_equity, self.stopped = self.now_ns // DAY_NS, max(0, self.equity), False

    def measure(self) -> None:
        """After an input has changed the account's value."""
        self.peak = max(self.peak, self.equity)
        self.stopped = self.stopped or self.equity <= self.floor_equity

    def take_fill(
        self, index: int, side: int, number: int, price: int, qty: int, fee: int, asset: int, exec_id: int
    ) -> bool:
        """Book an execution once; False if it is within no order: too much, another side, an order that ended."""
        if (index, number, exec_id) in self.booked:
            return True
        self.booked.add((index, number, exec_id))
        holding, sign = self.holdings[index], 1 if side == Side.BUY else -1
        was_flat = holding.is_flat
        amount = price * holding.num * qty
        self.cash -= ceil_div(amount, holding.den) if side == Side.BUY else -floor_div(amount, holding.den)
        holding.units += sign * qty * holding.lot_units
        if asset == FeeAsset.BASE:
            holding.units -= fee
        else:
            self.cash -= fee
        holding.mark2 = sum(holding.touch) if min(holding.touch) > 0 else 2 * price
        within = self._count(holding.orders.get(number), side, qty)
        if not was_flat and holding.is_flat:
            holding.exit_ns = self.now_ns
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
            self.failures += 1
            if self.failures >= self.trading.risk.circuit_failures:
                self.circuit_ns = self.now_ns + self.trading.risk.circuit_open_ns
        elif order.state != before and order.state == S.NEW:
            self.failures = 0
        return True

    def take_cancel(self, index: int, number: int) -> None:
        """The core asks for a cancellation."""
        order = self.holdings[index].orders.get(number)
        hold("a cancel names a live order that is not being cancelled", order is not None and order.live, number)
        if order is not None:
            hold("a cancel is asked for once", order.state != S.PENDING_CANCEL, order)
            self._move(order, S.PENDING_CANCEL)

    def take_submit(self, order: Order) -> None:
        """The core approved and sent ``order``: every law of approvals, with all that is at work counted."""
        holding = self.holdings[order.index]
        hold("order ids count up from 1", order.number == len(self.orders) + 1, order)
        hold("an order has a quantity", order.qty > 0, order)
        hold("a free slot", len(holding.live) < SLOTS, order)
        hold("the lot filter", order.qty >= holding.min_lots, order)
        order.price = order.limit or holding.price
        hold("a price", order.price > 0, order)
        worth = floor_div(order.price * holding.num * order.qty, holding.den)
        hold("the notional filter", worth >= holding.min_notional, order)
        if self.is_spot and order.side == Side.SELL:
            hold("long only", order.qty + holding.pending_lots(Side.SELL) <= holding.lots, order, holding.units)
        if order.action == Action.REDUCE:
            against = holding.lots if order.side == Side.SELL else -holding.lots
            hold("a reduction reduces", order.qty + holding.pending_lots(order.side) <= against, order, holding.units)
        else:
            self._may_open(order, holding)
        self.orders[order.number] = order
        self.submitted.append(self.now_ns)
        holding.add(order)

    def _may_open(self, order: Order, holding: Holding) -> None:
        risk, equity = self.trading.risk, max(0, self.equity)
        hold("HALT and FLATTEN open nothing", self.risk_state < 2, order)
        hold("the daily stop", not self.stopped, order, self.equity, self.day_equity)
        hold("an open circuit", self.circuit_ns <= self.now_ns, order)
        cooled = holding.exit_ns == 0 or holding.exit_ns + risk.cooldown_ns <= self.now_ns
        hold("the cool-down", cooled, order, holding.exit_ns, self.now_ns)
        most = risk.max_orders_per_hour
        paced = most == 0 or len(self.submitted) < most or self.submitted[-most] + HOUR_NS <= self.now_ns
        hold("orders per rolling hour", paced, order, self.submitted[-most:])
        mine = holding.exposure(order.side) + holding.notional_up(order.price, order.qty)
        hold("the asset cap", mine <= equity * risk.asset_cap_ppm // PPM, order, mine, equity)
        others = sum(max(it.exposure(1), it.exposure(2)) for it in self.holdings if it is not holding)
        total = others + max(mine, holding.exposure(3 - order.side))
        hold("the total cap", total <= equity * risk.total_cap_ppm // PPM, order, total, equity)
        if self.is_spot:
            slip = self.trading.execution.slippage_ppm
            owed = [it.buy_cost(o.price, o.left, slip) for it in self.holdings for o in it.live if o.side == Side.BUY]
            cost = holding.buy_cost(order.price, order.qty, slip)
            hold("cash is there, all pending buys paid", cost <= self.cash - sum(owed), order, cost, self.cash, owed)
