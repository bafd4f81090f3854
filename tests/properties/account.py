"""A slow, plain model of an account: what is held and owed, what is at work, and what may be approved.

Python's own integers, lists and dicts; nothing of ``core`` but names and records. It hears the same inputs as the core
and the core's answers, and says where an answer breaks a law. It computes no answer of its own: an order that the core
refuses is never wrong here, one that it approves may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from core.instruments import Instrument
from core.records import DAY_NS, HOUR_NS, MINUTE_NS, PPM, Action, FeeAsset, Side
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
    reason: int = 0
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
        self.symbol = instrument.symbol
        self.fee_ppm = max(0, instrument.taker_fee_ppm)
        self.dearest_ppm = max(self.fee_ppm, instrument.maker_fee_ppm)
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

    def expected_fee(self, value: int) -> int:
        return ceil_div(value * self.dearest_ppm, PPM)

    def base_worth(self, price: int, units: int) -> int:
        return ceil_div(price * self.num * units, self.den * self.lot_units)

    def pending_lots(self, side: int) -> int:
        return sum(order.left for order in self.live if order.side == side)

    def exposure(self, side: int) -> int:
        """What is held in the direction of ``side`` if all its orders fill and none of the other side's."""
        return (self.value if side == Side.BUY else -self.value) + self.pending_value(side)

    def pending_value(self, side: int) -> int:
        return sum(self.notional_up(order.price, order.left) for order in self.live if order.side == side)

    @property
    def worst(self) -> int:
        return max(self.exposure(Side.BUY), self.exposure(Side.SELL))

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
    probe: Order | None = None  # sent to see whether the circuit can close
    stopped: bool = False  # the day's loss reached the daily stop
    week_stopped: bool = False
    day: int = 0
    day_fees: int = 0
    orders: dict[int, Order] = field(default_factory=dict)
    submitted: list[int] = field(default_factory=list)  # when, every order ever sent
    entries: list[int] = field(default_factory=list)  # when, those that open
    traded: list[tuple[int, int]] = field(default_factory=list)  # (when, worth) of every fill
    booked: set[tuple[int, int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        unit = Fraction(self.instruments[0].quote_unit)
        self.cash = int(Fraction(self.trading.account.initial_cash) / unit)
        self.holdings = [Holding(item) for item in self.instruments]
        self.peak = self.day_equity = self.week_equity = self.equity
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

    @property
    def week_floor(self) -> int:
        """Equity at which the weekly stop holds, where there is one."""
        return self.week_equity - ceil_div(self.week_equity * self.trading.risk.weekly_stop_ppm, PPM)

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
        day, week = self.now_ns // DAY_NS, (self.day + 3) // 7  # weeks begin on Monday, 1970-01-01 was a Thursday
        if day <= self.day:
            return
        self.day, self.day_equity, self.stopped, self.day_fees = day, max(0, self.equity), False, 0
        if (day + 3) // 7 > week:
            self.week_equity, self.week_stopped = max(0, self.equity), False

    def measure(self) -> None:
        """After an input has changed the account's value."""
        self.peak = max(self.peak, self.equity)
        self.stopped = self.stopped or self.equity <= self.floor_equity
        if self.trading.risk.weekly_stop_ppm > 0:
            self.week_stopped = self.week_stopped or self.equity <= self.week_floor

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
        self.traded.append((self.now_ns, holding.notional_up(price, qty)))
        self.day_fees += max(0, holding.base_worth(price, fee) if asset == FeeAsset.BASE else fee)
        self._accepted()
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
            self._rejected()
        elif order.state != before and order.state == S.NEW:
            self._accepted()
        return True

    @property
    def has_tripped(self) -> bool:
        """The circuit has opened, and no order was accepted since its time was over."""
        return self.failures >= self.trading.risk.circuit_failures

    def _rejected(self) -> None:
        if self.has_tripped and self.now_ns < self.circuit_ns:
            return
        self.failures += 1
        if self.has_tripped:
            self.circuit_ns, self.probe = self.now_ns + self.trading.risk.circuit_open_ns, None

    def _accepted(self) -> None:
        if not self.has_tripped or self.now_ns >= self.circuit_ns:
            self.failures, self.probe = 0, None

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
            self._may_carry(order, holding)
            self._may_pay(order, holding)
            self.entries.append(self.now_ns)
            self.probe = order if self.has_tripped else self.probe
        self.orders[order.number] = order
        self.submitted.append(self.now_ns)
        holding.add(order)

    def _may_open(self, order: Order, holding: Holding) -> None:
        """Losses, failures and pace."""
        risk = self.trading.risk
        hold("HALT and FLATTEN open nothing", self.risk_state < 2, order)
        hold("the daily stop", not self.stopped, order, self.equity, self.day_equity)
        hold("the weekly stop", not self.week_stopped, order, self.equity, self.week_equity)
        hold("an open circuit", self.circuit_ns <= self.now_ns, order)
        waits = self.probe is not None and self.probe.live and self.probe.state not in (S.NEW, S.PARTIAL)
        hold("one probe of a circuit", not (self.has_tripped and waits), order, self.probe)
        cooled = holding.exit_ns == 0 or holding.exit_ns + risk.cooldown_ns <= self.now_ns
        hold("the cool-down", cooled, order, holding.exit_ns, self.now_ns)
        for said, most, sent in (
            ("orders per rolling hour", risk.max_orders_per_hour, self.submitted),
            ("signals per rolling hour", risk.max_signals_per_hour, self.entries),
        ):
            paced = most == 0 or len(sent) < most or sent[-most] + HOUR_NS <= self.now_ns
            hold(said, paced, order, sent[-most:])

    def _may_carry(self, order: Order, holding: Holding) -> None:
        """Caps, margin and cash, with everything pending and this order."""
        risk, equity = self.trading.risk, max(0, self.equity)
        mine = holding.exposure(order.side) + holding.notional_up(order.price, order.qty)
        hold("the asset cap", mine <= equity * risk.asset_cap_ppm // PPM, order, mine, equity)
        worst = max(mine, holding.exposure(3 - order.side))
        for group in risk.groups:
            if holding.symbol in group.symbols:
                among = [it for it in self.holdings if it is not holding and it.symbol in group.symbols]
                held = worst + sum(it.worst for it in among)
                hold(f"the {group.kind} cap", held <= equity * group.cap_ppm // PPM, order, held, equity)
        total = worst + sum(it.worst for it in self.holdings if it is not holding)
        hold("margin", self.is_spot or total <= self.margin_allowed, order, total, equity)
        hold("the total cap", total <= equity * risk.total_cap_ppm // PPM, order, total, equity)
        if self.is_spot:
            slip = self.trading.execution.slippage_ppm
            owed = [it.buy_cost(o.price, o.left, slip) for it in self.holdings for o in it.live if o.side == Side.BUY]
            cost = holding.buy_cost(order.price, order.qty, slip)
            hold("cash is there, all pending buys paid", cost <= self.cash - sum(owed), order, cost, self.cash, owed)

    def _may_pay(self, order: Order, holding: Holding) -> None:
        """Turnover and fees, with everything pending and this order."""
        risk, value = self.trading.risk, holding.notional_up(order.price, order.qty)
        pending = [(it, it.pending_value(side)) for it in self.holdings for side in (Side.BUY, Side.SELL)]
        for said, rate, window_ns in (
            ("turnover of a minute", risk.turnover_minute_ppm, MINUTE_NS),
            ("turnover of an hour", risk.turnover_hour_ppm, HOUR_NS),
        ):
            done = sum(worth for when, worth in self.traded if when >= self.now_ns - window_ns)
            used = done + value + sum(amount for _, amount in pending)
            hold(said, rate == 0 or used <= max(0, self.equity) * rate // PPM, order, used)
        fee, guard, budget = holding.expected_fee(value), risk.fee_guard_ppm, risk.fee_budget_day_ppm
        hold("the fee guard", guard == 0 or fee <= value * guard // PPM, order, fee)
        spent = self.day_fees + sum(it.expected_fee(amount) for it, amount in pending) + fee
        hold("the day's fees", budget == 0 or spent <= self.day_equity * budget // PPM, order, spent)
