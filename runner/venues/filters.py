"""What a venue's filters would say of an order, before it is sent (requirements ORD-13).

Prices and quantities are whole ticks and lots already. What depends on the market is judged by a price that may be a
moment old, so a market that runs may still refuse; a market that stands does not.
"""

from dataclasses import dataclass
from fractions import Fraction

from core.records import OrderFlag, Reason, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """One instrument's limits. Notionals are in quote, multipliers fractions of the last price."""

    trading: bool
    price_min: int  # ticks
    price_max: int
    lots_min: int
    lots_max: int
    market_lots_min: int
    market_lots_max: int
    market_lots_step: int
    notional_min: Fraction
    notional_max: Fraction  # 0: none
    notional_min_at_market: bool
    notional_max_at_market: bool
    buy_band: tuple[Fraction, Fraction]  # lowest, highest
    sell_band: tuple[Fraction, Fraction]
    orders_max: int
    lot_value: Fraction  # quote of one lot at one tick


@dataclass(frozen=True, slots=True)
class Reference:
    """Prices that a venue may judge by, ticks: of the last trade, and the best on either side; 0: none."""

    last: int
    bid: int = 0
    ask: int = 0


def check(
    filters: Filters, side: int, price: int, qty: int, flags: int, reference: Reference, open_orders: int
) -> Reason:
    """NONE, or which filter would refuse ``qty`` lots at ``price`` ticks (0: at market)."""
    if not filters.trading:
        return Reason.MARKET_HALTED
    if open_orders >= filters.orders_max:
        return Reason.ORDERS_MAX
    at_market = price == 0 or bool(flags & OrderFlag.STOP)
    if not filters.lots_min <= qty <= filters.lots_max:
        return Reason.FILTER_LOT
    if at_market and (
        not filters.market_lots_min <= qty <= filters.market_lots_max or qty % max(1, filters.market_lots_step)
    ):
        return Reason.FILTER_LOT
    if price and not filters.price_min <= price <= filters.price_max:
        return Reason.FILTER_TICK
    if price and reference.last:
        lowest, highest = filters.buy_band if side == Side.BUY else filters.sell_band
        if not lowest * reference.last <= price <= highest * reference.last:
            return Reason.PRICE_BAND
    return _notional(filters, price, qty, at_market, reference)


def _notional(filters: Filters, price: int, qty: int, at_market: bool, reference: Reference) -> Reason:
    prices = [price] if price else [each for each in (reference.last, reference.bid, reference.ask) if each]
    if not prices:
        return Reason.DEPTH  # at market, and there is none
    least, most = (bound * qty * filters.lot_value for bound in (min(prices), max(prices)))
    if least < filters.notional_min and (not at_market or filters.notional_min_at_market):
        return Reason.FILTER_NOTIONAL
    if filters.notional_max and most > filters.notional_max and (not at_market or filters.notional_max_at_market):
        return Reason.FILTER_NOTIONAL
    return Reason.NONE
