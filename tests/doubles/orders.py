"""What an exchange trades and what it is asked: markets, rules of a venue, orders, fills, refusals, events."""

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from tests.doubles.book import BUY

PPM = 1_000_000
OPEN = ("pending", "open")  # pending: a stop not triggered yet


class Reject(Exception):
    """A request refused; ``code`` is the engine's word for it, each venue has its own."""

    def __init__(self, code: str, detail: str = ""):
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


@dataclass
class Market:
    """One pair and its filters."""

    symbol: str  # BASE/QUOTE
    tick: Decimal
    step: Decimal
    base_decimals: int = 8
    quote_decimals: int = 8
    lots_min: int = 1
    lots_max: int = 10**12
    notional_min: Decimal = Decimal(0)  # quote
    band_ppm: int = 0  # how far from the last price a limit may be; 0: any price
    orders_max: int = 200
    is_trading: bool = True

    def __post_init__(self) -> None:
        self.base, self.quote = self.symbol.split("/")
        self.base_units = _whole(self.step * 10**self.base_decimals, f"step {self.step} of {self.symbol}")
        self.value = (
            Fraction(self.tick) * Fraction(self.step) * 10**self.quote_decimals
        )  # quote units of 1 tick x 1 lot
        self.is_listed = True

    def ticks(self, price: str | Decimal) -> int:
        """A price as the client wrote it."""
        return _multiple(price, self.tick, "tick")

    def lots(self, quantity: str | Decimal) -> int:
        """A quantity as the client wrote it."""
        return _multiple(quantity, self.step, "step")

    def price(self, ticks: int) -> Decimal:
        """In quote per base."""
        return self.tick * ticks

    def quantity(self, lots: int) -> Decimal:
        """In base."""
        return self.step * lots

    def decimals(self, asset: str) -> int:
        """Places after the point of a balance."""
        return self.base_decimals if asset == self.base else self.quote_decimals


def _whole(value: Decimal, what: str) -> int:
    if value != int(value):
        raise ValueError(f"{what} is {value} units of its asset: give the asset more decimals")
    return int(value)


def _multiple(value: str | Decimal, grid: Decimal, code: str) -> int:
    exact = Decimal(value) / grid
    if not exact.is_finite() or exact != int(exact):
        raise Reject(code, f"{value} is not a multiple of {grid}")
    return int(exact)


@dataclass(frozen=True)
class Rules:
    """In what the venues differ, as far as matching and money go."""

    maker_ppm: int = 1000
    taker_ppm: int = 1000
    fee_in: Literal["received", "quote"] = "received"
    repeated_id: Literal["refused while open", "first order returned"] = "refused while open"
    late_stop: Literal["refused", "triggered"] = "refused"  # a stop whose price is already passed
    self_trade: Literal["newest", "oldest"] = "newest"  # which of an account's own two orders goes


@dataclass(frozen=True)
class NewOrder:
    """What an account asks for."""

    symbol: str
    side: int
    lots: int
    price: int | None = None  # ticks; None: a market order
    client_id: str = ""
    tif: Literal["gtc", "ioc", "fok"] = "gtc"
    post_only: bool = False
    stop: int | None = None  # ticks
    is_take_profit: bool = False
    budget: int = 0  # a market buy for so many quote units, with lots = 0


@dataclass
class Fill:
    """One execution of an order."""

    number: int  # of all fills
    id: int  # of the trade, which counts up by one in its market
    order: "Order"
    price: int
    lots: int
    cost: int  # quote units
    fee: int
    fee_asset: str
    is_maker: bool
    time_ns: int


@dataclass
class Order:
    """An order the exchange has taken."""

    id: int
    account: str
    new: NewOrder
    market: Market
    created_ns: int
    updated_ns: int
    status: str = "open"  # pending open filled canceled expired
    reason: str = ""
    lots: int = 0
    filled: int = 0
    exact: Fraction = Fraction(0)  # quote units, before rounding
    cost: int = 0
    fees: int = 0  # in the quote asset, as far as it pays them
    locked: int = 0
    lock_asset: str = ""
    fills: list[Fill] = field(default_factory=list)

    @property
    def side(self) -> int:
        """BUY or SELL."""
        return self.new.side

    @property
    def remaining(self) -> int:
        """Lots not filled."""
        return self.lots - self.filled

    @property
    def is_open(self) -> bool:
        """May it still trade?"""
        return self.status in OPEN

    @property
    def is_buy(self) -> bool:
        """Side as a flag."""
        return self.side == BUY


@dataclass(frozen=True)
class OrderEvent:
    """An order changed: new, trade, canceled, expired, triggered, reduced."""

    kind: str
    order: Order
    fill: Fill | None = None


@dataclass(frozen=True)
class TradeEvent:
    """A public trade."""

    market: Market
    id: int
    price: int
    lots: int
    taker_side: int
    time_ns: int


@dataclass(frozen=True)
class BookEvent:
    """Levels after one action: (side, price) -> lots, 0 where a level is gone."""

    market: Market
    levels: dict[tuple[int, int], int]
    time_ns: int


@dataclass(frozen=True)
class BalanceEvent:
    """Assets of an account changed; ``by_hand`` are the units when no order was the cause."""

    account: str
    assets: tuple[str, ...]
    by_hand: int = 0


Event = OrderEvent | TradeEvent | BookEvent | BalanceEvent
