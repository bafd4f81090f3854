"""What Kraken says: pairs, orders, trades and executions as the venue writes them."""

from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from fractions import Fraction
from typing import Any
from zlib import crc32

from tests.doubles.book import BUY
from tests.doubles.exchange import Exchange
from tests.doubles.orders import Fill, Market, Order, OrderEvent, TradeEvent
from tests.doubles.wire import Answer, Response, number

NAMES = {"BTC": ("XXBT", "XBT"), "ETH": ("XETH", "ETH"), "USD": ("ZUSD", "USD")}  # asset: (name, short name)
REFUSALS = {  # of the engine. The venue documents no word for a repeated client id: that one is ours.
    "tick": "EOrder:Invalid price:Invalid price argument",
    "step": "EGeneral:Invalid arguments:volume",
    "lots": "EOrder:Order minimum not met",
    "notional": "EOrder:Cost minimum not met",
    "band": "EOrder:Invalid price:Invalid price argument",
    "max_orders": "EOrder:Orders limit exceeded",
    "funds": "EOrder:Insufficient funds",
    "post_only": "EOrder:Post only order",
    "duplicate": "EGeneral:Invalid arguments:cl_ord_id",
    "stop": "EOrder:Invalid price:Invalid price argument",
    "unknown_symbol": "EQuery:Unknown asset pair",
    "closed": "EService:Market in cancel_only mode",
    "unknown_order": "EOrder:Unknown order",
    "amend": "EGeneral:Invalid arguments:order_qty",
}


def refuse(error: str, status: int = 200) -> Answer:
    """An error as the venue words it, with HTTP 200."""
    return Answer(Response({"error": [error]}, status))


def names(asset: str) -> tuple[str, str]:
    """The venue's name of an asset, and the short one; later assets have one name."""
    return NAMES.get(asset, (asset, asset))


def pair(market: Market) -> str:
    """XXBTZUSD."""
    return names(market.base)[0] + names(market.quote)[0]


def altname(market: Market) -> str:
    """XBTUSD."""
    return names(market.base)[1] + names(market.quote)[1]


def txid(order: Order) -> str:
    """An order's id."""
    return f"O{order.id:016}"[:6] + "-" + f"{order.id:016}"[5:10] + "-" + f"{order.id:016}"[10:]


def trade_id(fill: Fill) -> str:
    """A trade's id, unlike its number the only one of all pairs."""
    return f"T{fill.number:016}"[:6] + "-" + f"{fill.number:016}"[5:10] + "-" + f"{fill.number:016}"[10:]


def order_id(text: str) -> int:
    """The engine's id of a txid; -1 for none of ours."""
    digits = text[1:].replace("-", "")
    return int(digits) if digits.isdigit() else -1


def seconds(ns: int) -> Any:
    """The venue's times over REST."""
    return number(f"{Decimal(ns) / 10**9:.4f}")


def stamp(ns: int) -> str:
    """The venue's times over WebSocket."""
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9 // 1000:06}Z"


def cost(order_or_fill: Fraction, places: str = "0.00001") -> Decimal:
    """Quote, cut as the venue cuts it."""
    value = Decimal(order_or_fill.numerator) / Decimal(order_or_fill.denominator)
    return value.quantize(Decimal(places), ROUND_DOWN)


def amount(units: int, decimals: int) -> Decimal:
    """A balance."""
    return Decimal(units).scaleb(-decimals)


def asset_pair(market: Market, maker_ppm: int, taker_ppm: int) -> dict[str, Any]:
    """An entry of AssetPairs."""
    decimals = {"cost_decimals": 5, "pair_decimals": -int(market.tick.as_tuple().exponent), "lot_decimals": 8}
    limits = {"ordermin": f"{market.quantity(market.lots_min):f}", "costmin": f"{market.notional_min:f}"}
    return {
        "altname": altname(market), "wsname": names(market.base)[1] + "/" + names(market.quote)[1],
        "aclass_base": "currency", "base": names(market.base)[0], "aclass_quote": "currency",
        "quote": names(market.quote)[0], "lot": "unit", **decimals, "lot_multiplier": 1, "leverage_buy": [],
        "leverage_sell": [], "fees": [[0, taker_ppm / 10**4]], "fees_maker": [[0, maker_ppm / 10**4]],
        "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40, **limits,
        "tick_size": f"{market.tick:f}", "status": "online" if market.is_trading else "cancel_only",
        "execution_venue": "international",
    }  # fmt: skip


def kind(order: Order) -> str:
    """The venue's order type."""
    plain = "market" if order.new.price is None else "limit"
    if order.new.stop is None:
        return plain
    return ("take-profit" if order.new.is_take_profit else "stop-loss") + ("-limit" if plain == "limit" else "")


def described(order: Order) -> dict[str, Any]:
    """The description of an order, its sentence among it."""
    market, new, name = order.market, order.new, kind(order)
    first = new.stop if new.stop is not None else new.price
    second = new.price if new.stop is not None else None
    prices = [f"{market.price(each):f}" if each is not None else "0" for each in (first, second)]
    words = f"{name.replace('-limit', '').replace('-', ' ')} {prices[0]}" if first is not None else name
    words += f" -> limit {prices[1]}" if second is not None else ""
    side = "buy" if order.is_buy else "sell"
    sentence = f"{side} {market.quantity(order.lots):.8f} {altname(market)} @ {words}"
    return {
        "pair": altname(market), "aclass": "forex", "type": side, "ordertype": name, "price": prices[0],
        "price2": prices[1], "leverage": "none", "order": sentence, "close": "",
    }  # fmt: skip


def status(order: Order) -> str:
    """Over REST: pending (not triggered), open, closed, canceled, expired."""
    return {"filled": "closed"}.get(order.status, order.status)


def info(order: Order, with_trades: bool = False) -> dict[str, Any]:
    """An order as OpenOrders, ClosedOrders and QueryOrders answer it."""
    market, quote_units = order.market, 10**order.market.quote_decimals
    average = order.exact / quote_units / Fraction(market.quantity(order.filled)) if order.filled else Fraction(0)
    flags = "fciq" + (",post" if order.new.post_only else "")
    tree = {
        "refid": None, "userref": 0, "cl_ord_id": order.new.client_id or None, "status": status(order),
        "opentm": seconds(order.created_ns), "starttm": 0, "expiretm": 0, "descr": described(order),
        "vol": f"{market.quantity(order.lots):.8f}", "vol_exec": f"{market.quantity(order.filled):.8f}",
        "cost": f"{cost(order.exact / quote_units)}", "fee": f"{amount(order.fees, market.quote_decimals):.5f}",
        "price": f"{cost(average)}", "stopprice": f"{market.price(order.new.stop or 0):.5f}", "limitprice": "0.00000",
        "misc": "stopped" if order.new.stop is not None else "", "oflags": flags,
    }  # fmt: skip
    if not order.is_open:
        reason = {"user": "User requested", "cancel after": "Dead man's switch"}.get(order.reason, order.reason or None)
        tree |= {"reason": reason, "closetm": seconds(order.updated_ns)}
    return tree | ({"trades": [trade_id(fill) for fill in order.fills]} if with_trades and order.fills else {})


def my_trade(fill: Fill) -> dict[str, Any]:
    """An entry of TradesHistory."""
    order, market = fill.order, fill.order.market
    value = fill.price * fill.lots * market.value / 10**market.quote_decimals
    return {
        "ordertxid": txid(order), "postxid": trade_id(fill).replace("T", "P", 1), "pair": pair(market),
        "aclass": "forex", "time": seconds(fill.time_ns), "type": "buy" if order.is_buy else "sell",
        "ordertype": kind(order), "price": f"{market.price(fill.price):.5f}", "cost": f"{cost(value)}",
        "fee": f"{amount(fill.fee, market.quote_decimals):.5f}", "vol": f"{market.quantity(fill.lots):.8f}",
        "margin": "0.00000", "leverage": "0", "misc": "", "trade_id": fill.id, "maker": fill.is_maker,
        "ledgers": [f"L{fill.id:05}-00000-000000"],
    }  # fmt: skip


def trade(event: TradeEvent) -> list[Any]:
    """An entry of the public trades."""
    price, size = f"{event.market.price(event.price):.5f}", f"{event.market.quantity(event.lots):.8f}"
    return [price, size, seconds(event.time_ns), "b" if event.taker_side == BUY else "s", "m", "", event.id]


def trade_message(event: TradeEvent) -> dict[str, Any]:
    """An entry of the trade channel."""
    market = event.market
    return {
        "symbol": market.symbol, "side": "buy" if event.taker_side == BUY else "sell",
        "price": number(f"{market.price(event.price):f}"), "qty": number(f"{market.quantity(event.lots):.8f}"),
        "ord_type": "market", "trade_id": event.id, "timestamp": stamp(event.time_ns),
    }  # fmt: skip


def level(market: Market, price: int, lots: int) -> dict[str, Any]:
    """An entry of the book channel."""
    return {"price": number(f"{market.price(price):f}"), "qty": number(f"{market.quantity(lots):.8f}")}


def checksum(market: Market, bids: list[tuple[int, int]], asks: list[tuple[int, int]]) -> int:
    """CRC32 over the ten best asks, then bids: price and quantity without point and leading zeros."""
    text = ""
    for price, lots in asks[:10] + bids[:10]:
        for value in (f"{market.price(price):f}", f"{market.quantity(lots):.8f}"):
            text += value.replace(".", "").lstrip("0")
    return crc32(text.encode())


def executions(event: OrderEvent, exchange: Exchange) -> list[dict[str, Any]]:
    """What the executions channel says of an event, a message each. A fill that ends its order is two of them."""
    order, market, fill = event.order, event.order.market, event.fill
    own = {"order_id": txid(order), "order_userref": 0}
    own |= {"cl_ord_id": order.new.client_id} if order.new.client_id else {}
    totals = {
        "cum_qty": number(f"{market.quantity(order.filled):.8f}"), "fee_usd_equiv": number("0.00000"),
        "cum_cost": number(f"{cost(order.exact / 10**market.quote_decimals)}"),
        "timestamp": stamp(order.updated_ns),
    }  # fmt: skip
    if fill is not None:
        done = own | _execution(fill) | {"timestamp": stamp(fill.time_ns)}
        ended = own | totals | {"exec_type": "filled", "order_status": "filled"}
        return [done] if order.remaining else [done, ended]
    if event.kind in ("canceled", "expired"):
        reason = info(order)["reason"]
        return [
            own
            | totals
            | {"exec_type": event.kind, "order_status": event.kind, "cancel_reason": reason, "reason": reason}
        ]
    if event.kind == "reduced":
        return [own | totals | placed(order) | {"exec_type": "amended", "order_status": "new"}]
    if event.kind == "triggered":
        return [own | totals | {"exec_type": "status", "order_status": "new"}]
    states = ("pending_new", "new")
    return [own | totals | placed(order) | {"exec_type": state, "order_status": state} for state in states]


def placed(order: Order) -> dict[str, Any]:
    """The terms of an order."""
    market, new = order.market, order.new
    tree = {
        "symbol": market.symbol, "side": "buy" if order.is_buy else "sell", "order_type": kind(order),
        "order_qty": number(f"{market.quantity(order.lots):.8f}"), "time_in_force": new.tif.upper(),
        "fee_ccy_pref": "fciq", "post_only": new.post_only,
    }  # fmt: skip
    if new.price is not None:
        tree |= {"limit_price": number(f"{market.price(new.price):f}"), "limit_price_type": "static"}
    if new.stop is not None:
        tree |= {"stop_price": number(f"{market.price(new.stop):f}")}
    return tree


def _execution(fill: Fill) -> dict[str, Any]:
    order, market = fill.order, fill.order.market
    value = fill.price * fill.lots * market.value / 10**market.quote_decimals
    return {
        "exec_id": trade_id(fill), "exec_type": "trade", "trade_id": fill.id, "symbol": market.symbol,
        "side": "buy" if order.is_buy else "sell", "last_qty": number(f"{market.quantity(fill.lots):.8f}"),
        "last_price": number(f"{market.price(fill.price):f}"), "liquidity_ind": "m" if fill.is_maker else "t",
        "cost": number(f"{cost(value)}"), "order_status": "partially_filled", "order_type": kind(order),
        "fees": [{"asset": fill.fee_asset, "qty": number(f"{amount(fill.fee, market.decimals(fill.fee_asset)):f}")}],
    }  # fmt: skip
