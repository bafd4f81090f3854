"""Binance spot: what it says, as the core's integers. Names and filters are those of its public API."""

from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from core.errors import BadInput
from core.instruments import Instrument
from core.records import FeeAsset, OrderState, Side
from runner.venues.filters import Filters
from runner.venues.outbound import Execution, Report
from runner.venues.tables import Listed, plain, whole_units

UNIT: Final = "0.00000001"  # balances and fees have eight places
STATES: Final = {
    "NEW": OrderState.NEW,
    "PENDING_NEW": OrderState.NEW,
    "PARTIALLY_FILLED": OrderState.PARTIAL,
    "PENDING_CANCEL": OrderState.PARTIAL,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
    "REJECTED": OrderState.REJECTED,
}


def report(item: Listed, k: int, tree: Any) -> Report:
    """GET order, openOrders, allOrders."""
    return Report(
        tree["clientOrderId"], str(tree["orderId"]), k, Side.BUY if tree["side"] == "BUY" else Side.SELL,
        item.price(tree["price"]), item.lots(tree["origQty"]), STATES[tree["status"]],
        item.lots(tree["executedQty"]), int(tree["updateTime"]) * 1_000_000,
    )  # fmt: skip


def execution(item: Listed, k: int, tree: Any) -> Execution:
    """myTrades."""
    side = Side.BUY if tree["isBuyer"] else Side.SELL
    names = ("id", "orderId", "price", "qty", "quoteQty", "commission", "commissionAsset", "time")
    return _execution(item, k, side, *(tree[name] for name in names))


def streamed(item: Listed, k: int, event: Any) -> Report:
    """An executionReport. Of a cancelled order ``c`` is the cancel's id and ``C`` the order's."""
    side = Side.BUY if event["S"] == "BUY" else Side.SELL
    told = None
    if event["x"] == "TRADE":
        before = item.lots(event["z"]) - item.lots(event["l"])
        names = ("t", "i", "L", "l", "Y", "n", "N", "T")
        told = _execution(item, k, side, *(event[name] for name in names), before=before)
    return Report(
        event["C"] or event["c"], str(event["i"]), k, side, item.price(event["p"]), item.lots(event["q"]),
        STATES[event["X"]], item.lots(event["z"]), int(event["T"]) * 1_000_000, told,
    )  # fmt: skip


def _execution(
    item: Listed, k: int, side: int, exec_id: int, venue_id: int, price: str, qty: str, value: str, fee: str,
    fee_asset: str, time_ms: int, *, before: int = -1,
) -> Execution:  # fmt: skip
    base, quote = item.instrument.base, item.instrument.quote
    sign = 1 if side == Side.BUY else -1
    moves = {base: sign * item.units(base, qty), quote: -sign * item.units(quote, value)}
    fee_units = whole_units(fee_asset, fee, UNIT)
    moves[fee_asset] = moves.get(fee_asset, 0) - fee_units
    asset = {quote: FeeAsset.QUOTE, base: FeeAsset.BASE}.get(fee_asset, 0)
    return Execution(
        int(exec_id), str(venue_id), k, side, item.price(price), item.lots(qty), fee_units, int(asset),
        int(time_ms) * 1_000_000, moves, before,
    )  # fmt: skip


def listed(symbol: Any, fees: Any) -> Listed:
    """An entry of exchangeInfo with the account's fees. Raises BadInput for what is missing: nothing is assumed."""
    name, filters = symbol["symbol"], {each["filterType"]: each for each in symbol["filters"]}
    if fees is None or "makerCommission" not in fees or "takerCommission" not in fees:
        raise BadInput(f"{name}: binance names no fees for it; it is not traded")
    for kind, key in (("PRICE_FILTER", "tickSize"), ("LOT_SIZE", "stepSize")):
        if not Decimal(filters.get(kind, {}).get(key, "0")):
            raise BadInput(f"{name}: binance gives no {key}; it is not traded")
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    if notional is None:
        raise BadInput(f"{name}: binance gives no minimum notional; it is not traded")
    tick, lot = filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]
    instrument = Instrument(
        symbol=f"{symbol['baseAsset']}-{symbol['quoteAsset']}",
        base=symbol["baseAsset"],
        quote=symbol["quoteAsset"],
        tick=plain(Decimal(tick)),
        lot=plain(Decimal(lot)),
        quote_unit=UNIT,
        base_unit=UNIT,
        min_qty=plain(Decimal(filters["LOT_SIZE"]["minQty"])),
        min_notional=plain(Decimal(notional["minNotional"])),
        maker_fee_ppm=_ppm(fees["makerCommission"]),
        taker_fee_ppm=_ppm(fees["takerCommission"]),
        fee_asset="received",
        venue="binance",
    )
    return Listed(name, instrument, _filters(symbol, filters, notional, Fraction(tick), Fraction(lot)))


def _filters(symbol: Any, filters: Any, notional: Any, tick: Fraction, lot: Fraction) -> Filters:
    price, lots = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    market = filters.get("MARKET_LOT_SIZE", {"minQty": "0", "maxQty": lots["maxQty"], "stepSize": "0"})
    both = filters.get("PERCENT_PRICE", {"multiplierDown": "0", "multiplierUp": "1000000"})
    band = filters.get("PERCENT_PRICE_BY_SIDE") or {
        f"{side}Multiplier{end}": both[f"multiplier{end}"] for side in ("bid", "ask") for end in ("Down", "Up")
    }
    return Filters(
        trading=symbol["status"] == "TRADING",
        price_min=-(-Fraction(price["minPrice"]) // tick),
        price_max=Fraction(price["maxPrice"]) // tick or 10**15,
        lots_min=max(1, -(-Fraction(lots["minQty"]) // lot)),
        lots_max=Fraction(lots["maxQty"]) // lot,
        market_lots_min=-(-Fraction(market["minQty"]) // lot),
        market_lots_max=Fraction(market["maxQty"]) // lot,
        market_lots_step=max(1, -(-Fraction(market["stepSize"]) // lot)),
        notional_min=Fraction(notional["minNotional"]),
        notional_max=Fraction(notional.get("maxNotional", "0")),
        notional_min_at_market=bool(notional.get("applyMinToMarket", notional.get("applyToMarket", True))),
        notional_max_at_market=bool(notional.get("applyMaxToMarket", True)),
        buy_band=(Fraction(band["bidMultiplierDown"]), Fraction(band["bidMultiplierUp"])),
        sell_band=(Fraction(band["askMultiplierDown"]), Fraction(band["askMultiplierUp"])),
        orders_max=int(filters.get("MAX_NUM_ORDERS", {"maxNumOrders": 200})["maxNumOrders"]),
        lot_value=tick * lot,
    )


def _ppm(rate: str) -> int:
    return -(-Fraction(str(rate)) * 1_000_000 // 1)
