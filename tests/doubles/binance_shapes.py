"""What Binance says: symbols, orders, reports and balances as the venue writes them."""

from typing import Any

from tests.doubles.book import BUY
from tests.doubles.exchange import Exchange
from tests.doubles.orders import PPM, Fill, Market, Order, OrderEvent, TradeEvent
from tests.doubles.wire import Answer, Response

TYPES = ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
REFUSALS = {  # of the engine: status, code, message
    "tick": (400, -1013, "Filter failure: PRICE_FILTER"),
    "step": (400, -1013, "Filter failure: LOT_SIZE"),
    "lots": (400, -1013, "Filter failure: LOT_SIZE"),
    "notional": (400, -1013, "Filter failure: NOTIONAL"),
    "band": (400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    "max_orders": (400, -1013, "Filter failure: MAX_NUM_ORDERS"),
    "funds": (400, -2010, "Account has insufficient balance for requested action."),
    "post_only": (400, -2010, "Order would immediately match and take."),
    "duplicate": (400, -2010, "Duplicate order sent."),
    "stop": (400, -2010, "Stop price would trigger immediately."),
    "unknown_symbol": (400, -1121, "Invalid symbol."),
    "closed": (400, -1013, "Market is closed."),
    "unknown_order": (400, -2011, "Unknown order sent."),
    "amend": (400, -2038, "The requested quantity is not below the order's, or not above what is filled."),
}
FAILURES = {
    "rate_limited": (429, -1003, "Too many requests; current limit is 6000 request weight per 1 MINUTE."),
    "banned": (418, -1003, "Way too many requests; IP banned until later."),
    "server_error": (
        500,
        -1007,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    "bad_gateway": (502, -1006, "An unexpected response was received from the message bus. Execution status unknown."),
    "unavailable": (503, -1001, "Internal error; unable to process your request. Please try again."),
    "maintenance": (503, -1001, "Internal error; unable to process your request. Please try again."),
    "unknown endpoint": (404, -1000, "Path not found"),
}
NO_STP = {"selfTradePreventionMode": "EXPIRE_TAKER"}


def refuse(status: int, code: int, message: str, **headers: str) -> Answer:
    """An error as the venue words it."""
    return Answer(Response({"code": code, "msg": message}, status, headers))


def native(market: Market) -> str:
    """BTCUSDT."""
    return market.base + market.quote


def amount(units: int, decimals: int = 8) -> str:
    """Units of an asset, with eight places as the venue writes all of them."""
    sign, units = "-" if units < 0 else "", abs(units) * 10 ** (8 - decimals)
    return f"{sign}{units // 10**8}.{units % 10**8:08}"


def price(market: Market, ticks: int | None) -> str:
    """A price, 0 for none."""
    return f"{market.price(ticks or 0):.8f}"


def quantity(market: Market, lots: int) -> str:
    """A quantity."""
    return f"{market.quantity(lots):.8f}"


def milliseconds(ns: int) -> int:
    """The venue's times."""
    return ns // 1_000_000


def symbol(market: Market) -> dict[str, Any]:
    """An entry of exchangeInfo."""
    names = {"symbol": native(market), "status": "TRADING" if market.is_trading else "BREAK"}
    assets = {"baseAsset": market.base, "baseAssetPrecision": 8, "quoteAsset": market.quote, "quotePrecision": 8}
    precisions = {"quoteAssetPrecision": 8, "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8}
    allowed = {"icebergAllowed": True, "ocoAllowed": False, "otoAllowed": False, "opoAllowed": False} | {
        "quoteOrderQtyMarketAllowed": True, "allowTrailingStop": False, "cancelReplaceAllowed": False,
        "amendAllowed": True, "pegInstructionsAllowed": False, "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
    }  # fmt: skip
    limits = {"minQty": quantity(market, market.lots_min), "maxQty": quantity(market, market.lots_max)}
    band, tick = market.band_ppm or PPM * 4, price(market, 1)
    filters = [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", **limits, "stepSize": quantity(market, 1)},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": limits["maxQty"], "stepSize": "0.00000000"},
        {
            "filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": f"{1 + band / PPM:g}",
            "bidMultiplierDown": f"{max(0, 1 - band / PPM):g}", "askMultiplierUp": f"{1 + band / PPM:g}",
            "askMultiplierDown": f"{max(0, 1 - band / PPM):g}", "avgPriceMins": 0,
        },
        {
            "filterType": "NOTIONAL", "minNotional": f"{market.notional_min:.8f}", "applyMinToMarket": True,
            "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": market.orders_max},
    ]  # fmt: skip
    rights = {"permissions": [], "permissionSets": [["SPOT"]], "defaultSelfTradePreventionMode": "EXPIRE_TAKER"}
    return {
        **names, **assets, **precisions, "orderTypes": TYPES, **allowed, "filters": filters, **rights,
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER"],
    }  # fmt: skip


def kind(order: Order) -> str:
    """The venue's order type."""
    if order.new.stop is None:
        return "LIMIT_MAKER" if order.new.post_only else "MARKET" if order.new.price is None else "LIMIT"
    name = "TAKE_PROFIT" if order.new.is_take_profit else "STOP_LOSS"
    return name if order.new.price is None else f"{name}_LIMIT"


def status(order: Order) -> str:
    """The venue's order status."""
    if order.is_open:
        return "PARTIALLY_FILLED" if order.filled else "NEW"
    if order.reason == "self trade":
        return "EXPIRED_IN_MATCH"
    return order.status.upper()


def core(order: Order) -> dict[str, Any]:
    """What every answer about an order holds."""
    market = order.market
    return {
        "symbol": native(market), "orderId": order.id, "orderListId": -1, "clientOrderId": order.new.client_id,
        "price": price(market, order.new.price), "origQty": quantity(market, order.lots),
        "executedQty": quantity(market, order.filled),
        "origQuoteOrderQty": amount(order.new.budget, market.quote_decimals),
        "cummulativeQuoteQty": amount(order.cost, market.quote_decimals), "status": status(order),
        "timeInForce": order.new.tif.upper(), "type": kind(order), "side": "BUY" if order.is_buy else "SELL", **NO_STP,
    }  # fmt: skip


def queried(order: Order) -> dict[str, Any]:
    """An order as GET order and openOrders answer it."""
    return core(order) | {
        "stopPrice": price(order.market, order.new.stop), "icebergQty": "0.00000000",
        "time": milliseconds(order.created_ns), "updateTime": milliseconds(order.updated_ns),
        "isWorking": order.status != "pending", "workingTime": milliseconds(order.created_ns),
    }  # fmt: skip


def made(order: Order, detail: str) -> dict[str, Any]:
    """The answer to a new order: ACK, RESULT or FULL."""
    tree = core(order) | {"transactTime": milliseconds(order.created_ns), "workingTime": milliseconds(order.created_ns)}
    if order.new.stop is not None:
        tree["stopPrice"] = price(order.market, order.new.stop)
    if detail == "ACK":
        return {name: tree[name] for name in ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")}
    return tree if detail == "RESULT" else tree | {"fills": [_fill(fill) for fill in order.fills]}


def canceled(order: Order, client_id: str) -> dict[str, Any]:
    """The answer to a cancel."""
    own = {"origClientOrderId": order.new.client_id, "clientOrderId": client_id}
    return core(order) | own | {"transactTime": milliseconds(order.updated_ns)}


def _fill(fill: Fill) -> dict[str, Any]:
    market = fill.order.market
    return {
        "price": price(market, fill.price), "qty": quantity(market, fill.lots),
        "commission": amount(fill.fee, market.decimals(fill.fee_asset)), "commissionAsset": fill.fee_asset,
        "tradeId": fill.id,
    }  # fmt: skip


def my_trade(fill: Fill) -> dict[str, Any]:
    """An entry of myTrades."""
    market, own = fill.order.market, _fill(fill)
    return {
        "symbol": native(market), "id": own.pop("tradeId"), "orderId": fill.order.id, "orderListId": -1, **own,
        "quoteQty": amount(fill.cost, market.quote_decimals), "time": milliseconds(fill.time_ns),
        "isBuyer": fill.order.is_buy, "isMaker": fill.is_maker, "isBestMatch": True,
    }  # fmt: skip


def trade(event: TradeEvent) -> dict[str, Any]:
    """An entry of the public trades."""
    market = event.market
    return {
        "id": event.id, "price": price(market, event.price), "qty": quantity(market, event.lots),
        "quoteQty": f"{market.price(event.price) * market.quantity(event.lots):.8f}",
        "time": milliseconds(event.time_ns), "isBuyerMaker": event.taker_side != BUY, "isBestMatch": True,
    }  # fmt: skip


def trade_message(event: TradeEvent) -> dict[str, Any]:
    """A message of the trade stream."""
    market, now = event.market, milliseconds(event.time_ns)
    return {
        "e": "trade", "E": now, "s": native(market), "t": event.id, "p": price(market, event.price),
        "q": quantity(market, event.lots), "T": now, "m": event.taker_side != BUY, "M": True,
    }  # fmt: skip


def report(event: OrderEvent, now_ms: int, cancel_id: str = "") -> dict[str, Any]:
    """An executionReport."""
    order, market, fill = event.order, event.order.market, event.fill
    is_canceled = event.kind == "canceled"
    what = {"new": "NEW", "trade": "TRADE", "canceled": "CANCELED", "expired": "EXPIRED", "triggered": "NEW"}.get(
        event.kind, "REPLACED"
    )
    if order.reason == "self trade" and event.kind == "expired":
        what = "TRADE_PREVENTION"
    return {
        "e": "executionReport", "E": now_ms, "s": native(market),
        "c": cancel_id or f"venue-{order.id}" if is_canceled else order.new.client_id,
        "S": "BUY" if order.is_buy else "SELL", "o": kind(order), "f": order.new.tif.upper(),
        "q": quantity(market, order.lots), "p": price(market, order.new.price), "P": price(market, order.new.stop),
        "F": "0.00000000", "g": -1, "C": order.new.client_id if is_canceled else "", "x": what, "X": status(order),
        "r": "NONE", "i": order.id, "l": quantity(market, fill.lots if fill else 0),
        "z": quantity(market, order.filled), "L": price(market, fill.price if fill else 0),
        "n": amount(fill.fee, market.decimals(fill.fee_asset)) if fill else "0", "N": fill.fee_asset if fill else None,
        "T": milliseconds(order.updated_ns), "t": fill.id if fill else -1, "I": order.id * 2,
        "w": order.is_open and order.status != "pending", "m": bool(fill and fill.is_maker), "M": False,
        "O": milliseconds(order.created_ns), "Z": amount(order.cost, market.quote_decimals),
        "Y": amount(fill.cost if fill else 0, market.quote_decimals),
        "Q": amount(order.new.budget, market.quote_decimals), "W": milliseconds(order.created_ns), "V": "EXPIRE_TAKER",
    }  # fmt: skip


def decimals(exchange: Exchange, asset: str) -> int:
    """Places of an asset's balance."""
    return next((m.decimals(asset) for m in exchange.markets.values() if asset in (m.base, m.quote)), 8)


def position(exchange: Exchange, account: str, assets: tuple[str, ...], now_ms: int) -> dict[str, Any]:
    """An outboundAccountPosition."""
    entries = []
    for asset in assets:
        free, locked = (amount(units, decimals(exchange, asset)) for units in exchange.balance(account, asset))
        entries.append({"a": asset, "f": free, "l": locked})
    return {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": entries}
