"""What Coinbase's Advanced Trade says: products, orders, fills and accounts as the venue writes them."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from tests.doubles.book import BUY
from tests.doubles.orders import Fill, Market, Order, TradeEvent
from tests.doubles.wire import Answer, Response

REFUSALS = {  # of the engine: the venue's preview_failure_reason
    "tick": "PREVIEW_INVALID_PRICE_PRECISION",
    "step": "PREVIEW_INVALID_SIZE_PRECISION",
    "lots": "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL",
    "notional": "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL",
    "band": "PREVIEW_INVALID_LIMIT_PRICE",
    "max_orders": "PREVIEW_OPEN_ORDERS_LIMIT",
    "funds": "PREVIEW_INSUFFICIENT_FUND",
    "post_only": "PREVIEW_INVALID_LIMIT_PRICE_POST_ONLY",
    "stop": "PREVIEW_STOP_PRICE_ABOVE_LAST_TRADE_PRICE",
    "closed": "PREVIEW_INVALID_PRODUCT",
}


def refuse(status: int, error: str, message: str) -> Answer:
    """An error as the venue words it."""
    return Answer(Response({"error": error, "error_details": message, "message": message}, status))


def product_id(market: Market) -> str:
    """BTC-USD."""
    return f"{market.base}-{market.quote}"


def uuid(order_id: int) -> str:
    """An order's id."""
    return str(UUID(int=order_id))


def number_of(text: str) -> int:
    """The engine's id of an order's; -1 for none of ours."""
    try:
        return UUID(text).int
    except ValueError:
        return -1


def stamp(ns: int) -> str:
    """The venue's times."""
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ns % 10**9 // 1000:06}Z"


def plain(value: Fraction | Decimal) -> str:
    """A number without exponent and needless zeros."""
    exact = Decimal(value.numerator) / Decimal(value.denominator) if isinstance(value, Fraction) else value
    text = f"{exact:.16f}".rstrip("0").rstrip(".")
    return text or "0"


def amount(units: int, decimals: int) -> str:
    """A balance."""
    return plain(Decimal(units).scaleb(-decimals))


def product(market: Market, last: int) -> dict[str, Any]:
    """A product."""
    is_off = not market.is_trading
    flags = dict.fromkeys(
        ("watched", "new", "cancel_only", "limit_only", "post_only", "auction_mode", "view_only"), False
    )
    empty = (
        "mid_market_price", "alias", "market_cap", "base_cbrn", "quote_cbrn", "product_cbrn", "icon_color", "icon_url",
        "display_name_overwrite", "about_description", "best_bid_price", "best_ask_price",
    )  # fmt: skip
    grid = {
        "base_increment": plain(market.step),
        "quote_increment": plain(market.tick),
        "price_increment": plain(market.tick),
    }
    sizes = {
        "quote_min_size": plain(market.notional_min), "quote_max_size": "150000000",
        "base_min_size": plain(market.quantity(market.lots_min)),
        "base_max_size": plain(market.quantity(market.lots_max)),
    }  # fmt: skip
    return {
        "product_id": product_id(market), "price": plain(market.price(last)), "price_percentage_change_24h": "0",
        "volume_24h": "0", "volume_percentage_change_24h": "0", **grid, **sizes, "base_name": market.base,
        "quote_name": market.quote, **flags, "is_disabled": is_off, "status": "online" if not is_off else "delisted",
        "trading_disabled": is_off, "product_type": "SPOT", "quote_currency_id": market.quote,
        "base_currency_id": market.base, "fcm_trading_session_details": None, "alias_to": [],
        "base_display_symbol": market.base, "quote_display_symbol": market.quote, "display_name": product_id(market),
        "product_venue": "CBE", "approximate_quote_24h_volume": "0", "new_at": "2023-01-01T00:00:00Z",
        "is_alpha_testing": False, **dict.fromkeys(empty, ""),
    }  # fmt: skip


def account(asset: str, free: str, held: str) -> dict[str, Any]:
    """A wallet."""
    return {
        "uuid": str(UUID(int=int.from_bytes(asset.encode()))), "name": f"{asset} Wallet", "currency": asset,
        "available_balance": {"value": free, "currency": asset}, "default": True, "active": True,
        "created_at": "2021-05-31T09:59:59Z", "updated_at": "2021-05-31T09:59:59Z", "deleted_at": None,
        "type": "ACCOUNT_TYPE_CRYPTO", "ready": True, "hold": {"value": held, "currency": asset},
        "retail_portfolio_id": "main",
    }  # fmt: skip


def account_v2(asset: str, total: str) -> dict[str, Any]:
    """A wallet in the older dialect, which knows no holds."""
    kind = "fiat" if asset == "USD" else "crypto"
    return {
        "id": asset, "name": f"{asset} Wallet", "primary": False, "type": "wallet",
        "currency": {"code": asset, "name": asset, "exponent": 8, "type": kind},
        "balance": {"amount": total, "currency": asset}, "created_at": "2021-05-31T09:59:59Z",
        "updated_at": "2021-05-31T09:59:59Z", "resource": "account", "resource_path": f"/v2/accounts/{asset}",
        "allow_deposits": True, "allow_withdrawals": True,
    }  # fmt: skip


def configuration(order: Order) -> dict[str, Any]:
    """The terms of an order, under the venue's name of its kind."""
    new, market = order.new, order.market
    if new.budget:
        return {"market_market_ioc": {"quote_size": amount(new.budget, market.quote_decimals)}}
    size = {"base_size": plain(market.quantity(order.new.lots))}
    if new.price is None:
        return {"market_market_ioc": size}
    limit = size | {"limit_price": plain(market.price(new.price))}
    if new.stop is not None:
        upward = new.side == (BUY if not new.is_take_profit else -BUY)
        direction = "STOP_DIRECTION_STOP_UP" if upward else "STOP_DIRECTION_STOP_DOWN"
        return {
            "stop_limit_stop_limit_gtc": limit
            | {"stop_price": plain(market.price(new.stop)), "stop_direction": direction}
        }
    if new.tif == "gtc":
        return {"limit_limit_gtc": limit | {"post_only": new.post_only}}
    return {"sor_limit_ioc" if new.tif == "ioc" else "limit_limit_fok": limit}


def status(order: Order) -> str:
    """OPEN, FILLED, CANCELLED."""
    return {"pending": "OPEN", "open": "OPEN", "filled": "FILLED"}.get(order.status, "CANCELLED")


def _totals(order: Order) -> tuple[str, str, str, str]:
    """Average price, value, fees, value after fees."""
    market = order.market
    value = order.exact / 10**market.quote_decimals
    average = value / Fraction(market.quantity(order.filled)) if order.filled else Fraction(0)
    fees = Fraction(order.fees, 10**market.quote_decimals)
    return plain(average), plain(value), plain(fees), plain(value + fees if order.is_buy else value - fees)


TIF = {"gtc": "GOOD_UNTIL_CANCELLED", "ioc": "IMMEDIATE_OR_CANCEL", "fok": "FILL_OR_KILL"}


def tif(order: Order) -> str:
    """How long it lives."""
    return TIF["ioc" if order.new.price is None else order.new.tif]


def info(order: Order) -> dict[str, Any]:
    """An order over REST."""
    market = order.market
    average, value, fees, after = _totals(order)
    done = plain(Decimal(100 * order.filled) / Decimal(order.lots)) if order.lots else "0"
    kind = "STOP_LIMIT" if order.new.stop is not None else "MARKET" if order.new.price is None else "LIMIT"
    trigger = {True: "STOP_PENDING", False: "STOP_TRIGGERED"}[order.status == "pending"]
    empty = ("reject_message", "cancel_message", "leverage", "originating_order_id", "attached_order_id", "fee")
    return {
        "order_id": uuid(order.id), "product_id": product_id(market), "user_id": order.account,
        "order_configuration": configuration(order), "side": "BUY" if order.is_buy else "SELL",
        "client_order_id": order.new.client_id, "status": status(order), "time_in_force": tif(order),
        "created_time": stamp(order.created_ns), "completion_percentage": done,
        "filled_size": plain(market.quantity(order.filled)), "average_filled_price": average,
        "number_of_fills": str(len(order.fills)), "filled_value": value, "pending_cancel": False,
        "size_in_quote": bool(order.new.budget), "total_fees": fees, "size_inclusive_of_fees": bool(order.new.budget),
        "total_value_after_fees": after,
        "trigger_status": "INVALID_ORDER_TYPE" if order.new.stop is None else trigger, "order_type": kind,
        "reject_reason": "REJECT_REASON_UNSPECIFIED", "settled": order.status == "filled", "product_type": "SPOT",
        "order_placement_source": "RETAIL_ADVANCED",
        "outstanding_hold_amount": amount(order.locked, market.decimals(order.lock_asset)), "is_liquidation": False,
        "last_fill_time": stamp(order.fills[-1].time_ns) if order.fills else None,
        "margin_type": "UNKNOWN_MARGIN_TYPE", "retail_portfolio_id": "main", **dict.fromkeys(empty, ""),
    }  # fmt: skip


def told(order: Order) -> dict[str, Any]:
    """An order in the user channel."""
    market = order.market
    average, _, fees, after = _totals(order)
    kind = "Stop Limit" if order.new.stop is not None else "Market" if order.new.price is None else "Limit"
    terms = {
        "limit_price": plain(market.price(order.new.price or 0)),
        "stop_price": plain(market.price(order.new.stop or 0)),
    }
    return {
        "order_id": uuid(order.id), "client_order_id": order.new.client_id,
        "cumulative_quantity": plain(market.quantity(order.filled)),
        "leaves_quantity": plain(market.quantity(order.remaining if order.is_open else 0)), "avg_price": average,
        "total_fees": fees, "status": status(order), "product_id": product_id(market),
        "creation_time": stamp(order.created_ns), "order_side": "BUY" if order.is_buy else "SELL", "order_type": kind,
        "cancel_reason": order.reason, "reject_reason": "", "total_value_after_fees": after, **terms,
        "contract_expiry_type": "UNKNOWN_CONTRACT_EXPIRY_TYPE", "product_type": "SPOT",
        "risk_managed_by": "UNKNOWN_RISK_MANAGEMENT_TYPE", "time_in_force": tif(order),
        "trigger_status": "INVALID_ORDER_TYPE" if order.new.stop is None else "STOP_PENDING",
        "number_of_fills": str(len(order.fills)),
    }  # fmt: skip


def my_trade(fill: Fill) -> dict[str, Any]:
    """A fill over REST."""
    order, market = fill.order, fill.order.market
    return {
        "entry_id": f"entry-{order.id}-{fill.id}", "trade_id": str(fill.id), "order_id": uuid(order.id),
        "trade_time": stamp(fill.time_ns), "trade_type": "FILL", "price": plain(market.price(fill.price)),
        "size": plain(market.quantity(fill.lots)), "commission": amount(fill.fee, market.quote_decimals),
        "product_id": product_id(market), "sequence_timestamp": stamp(fill.time_ns),
        "liquidity_indicator": "MAKER" if fill.is_maker else "TAKER", "size_in_quote": False, "user_id": order.account,
        "side": "BUY" if order.is_buy else "SELL", "retail_portfolio_id": "main",
    }  # fmt: skip


def trade(event: TradeEvent) -> dict[str, Any]:
    """A public trade; the side is the resting order's."""
    market = event.market
    return {
        "trade_id": str(event.id), "product_id": product_id(market), "price": plain(market.price(event.price)),
        "size": plain(market.quantity(event.lots)), "side": "SELL" if event.taker_side == BUY else "BUY",
        "time": stamp(event.time_ns),
    }  # fmt: skip
