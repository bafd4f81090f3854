"""What the plain model knows of one instrument: its grid, what is held of it, its orders, and where it is to be left.

Python's own integers, lists and dicts; nothing of ``core`` but names and records.
"""

from dataclasses import dataclass
from fractions import Fraction

from core.instruments import Instrument
from core.records import PPM, Reason, Side
from core.records import OrderState as S
from core.settings import Strategy

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
    stop: int = 0  # where what is left of it executes at market; 0: nowhere
    state: S = S.PENDING_NEW
    filled: int = 0

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def left(self) -> int:
        return max(0, self.qty - self.filled) if self.live else 0

    @property
    def waits(self) -> bool:
        """It waits to leave a position at a price."""
        return self.live and self.limit > 0 and self.reason in (Reason.TAKE_PROFIT, Reason.STOP_LOSS)


@dataclass(slots=True)
class Trips:
    """What a position cost, on average, and what its round trips earned."""

    units: int = 0
    cost: int = 0
    realised: int = 0
    began: int = 0  # ``realised`` when the present trip began

    def trade(self, units: int, paid: int, fee: int) -> None:
        """``units`` more for ``paid``; below 0: less, received. What closes takes its share of the cost."""
        held, self.units = self.units, self.units + units
        self.realised -= fee
        if held == 0 or units == 0 or (held > 0) == (units > 0):
            self.cost += paid
        else:
            closed = min(abs(held), abs(units))
            closing, released = ceil_div(paid * closed, abs(units)), ceil_div(self.cost * closed, abs(held))
            self.realised -= closing + released
            self.cost += paid - closing - released
        self._write_off()

    def receive(self, units: int, worth: int) -> None:
        """``units`` from outside, at what they are worth."""
        self.units, self.cost = self.units + units, self.cost + worth
        self._write_off()

    def ended(self) -> int:
        """The trip is over: what it earned."""
        earned, self.began = self.realised - self.began, self.realised
        return earned

    def _write_off(self) -> None:
        if self.units == 0:
            self.realised, self.cost = self.realised - self.cost, 0


@dataclass(slots=True)
class Plan:
    """Where the position is to be left (ticks; 0: not by a price), and an entry that follows the market."""

    side: int = 0
    take: int = 0
    stop: int = 0
    goal: int = 0  # lots held when all of the entry has filled
    limit: int = 0  # of its last order
    until_ns: int = 0
    stands: bool = False  # since the entry, something was held or at work, and where to leave it was planned

    def enter(self, strategy: Strategy, order: Order, price: int, held: int) -> None:
        """An entry was sent at ``price``, or the first order of one that follows the market."""
        sign = 1 if order.side == Side.BUY else -1
        take, stop = strategy.take_profit_ticks, strategy.stop_loss_ticks
        self.side = order.side
        self.take = max(1, price + sign * take) if take else 0
        self.stop = max(1, price - sign * stop) if stop else 0
        self.goal, self.limit, self.until_ns = held + sign * order.qty, order.limit, order.deadline_ns
        self.stands = self.take > 0 or self.stop > 0


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
        self.trips, self.plan = Trips(), Plan()
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
