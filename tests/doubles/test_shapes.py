"""What the doubles say has the keys and types of recorded and documented payloads."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.core.recorded import SHARED, needs
from tests.doubles import binance_shapes, coinbase_shapes, kraken_shapes
from tests.doubles.book import BUY
from tests.doubles.orders import NewOrder, Order, OrderEvent
from tests.doubles.venues import build
from tests.doubles.wire import Double, encode

PAYLOADS = SHARED / "market-data/payloads/nautilus"
BINANCE, KRAKEN, COINBASE = PAYLOADS / "binance/spot", PAYLOADS / "kraken", PAYLOADS / "coinbase"


def traded(name: str) -> tuple[Double, Order]:
    """A double with an order that was filled."""
    double = build(name)
    exchange = double.exchange
    (symbol,) = exchange.markets
    market = exchange.markets[symbol]
    client_id = "11111111-2222-4333-8444-555555555555"
    order = exchange.submit("main", NewOrder(symbol, BUY, market.lots("0.1"), market.ticks("50001"), client_id))
    return double, order


def shape(tree: Any) -> Any:
    """Names and types; of a list, or of entries named by ids, that of the first."""
    if isinstance(tree, dict):
        return {name: shape(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [shape(tree[0])] if tree else []
    return "number" if isinstance(tree, int | float) and not isinstance(tree, bool) else type(tree).__name__


def differences(ours: Any, theirs: Any, at: str = "") -> list[str]:
    """Where two shapes differ; null and empty lists fit anything."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = [f"{at}.{name} is {'ours' if name in ours else 'theirs'} only" for name in ours.keys() ^ theirs.keys()]
        for name in ours.keys() & theirs.keys():
            found += differences(ours[name], theirs[name], f"{at}.{name}")
        return sorted(found)
    if isinstance(ours, list) and isinstance(theirs, list):
        return differences(ours[0], theirs[0], f"{at}[]") if ours and theirs else []
    return [] if ours == theirs or "NoneType" in (ours, theirs) else [f"{at} is {ours}, recorded {theirs}"]


def first(tree: dict[str, Any]) -> Any:
    """The first entry of those named by ids."""
    return next(iter(tree.values()))


B, K, C = binance_shapes, kraken_shapes, coinbase_shapes
SIDES = ("long", "short")
Made = Callable[[Any, Order], Any]
BTCUSDT = {"symbol": "BTCUSDT"}


def key_of(double: Double) -> Any:
    """Its key."""
    return next(iter(double.keys.values()))


def binance_says(double: Any, order: Order) -> dict[str, Any]:
    """By file: what the double says."""
    exchange = double.exchange
    return {
        "account_response": double.account(key_of(double), {}),
        "account_trades_response": [B.my_trade(order.fills[0])],
        "order_response": B.queried(order),
        "open_orders_response": [B.queried(order)],
        "new_order_full_response": B.made(order, "FULL"),
        "cancel_order_response": B.canceled(order, "c"),
        "depth_response": double.depth(None, BTCUSDT),
        "trades_response": double.public_trades(None, BTCUSDT),
        "exchange_info_response": double.exchange_info(None, {}),
        "book_ticker_response": double.top(None, BTCUSDT),
        "execution_report_wrapped": B.report(OrderEvent("new", order), 1),
        "account_position": B.position(exchange, "main", ("BTC",), 1),
        "ws_spot_trade": B.trade_message(exchange.trades["BTC/USDT"][0]),
    }


def kraken_says(double: Any, order: Order) -> dict[str, Any]:
    """By file: what the double says."""
    pair = {"pair": "XBTUSD"}
    return {
        "http_open_orders": K.info(order),
        "http_closed_orders": K.info(order),
        "http_trades_history": K.my_trade(order.fills[0]),
        "http_asset_pairs": first(double.asset_pairs(None, {})),
        "http_trades": first(double.public_trades(None, pair)),
        "http_server_time": double.time(None, {}),
        "http_system_status": double.system(None, {}),
        "http_order_book": first(double.depth(None, pair)),
        "ws_trade_update": K.trade_message(double.exchange.trades["BTC/USD"][0]),
    }


def coinbase_says(double: Any, order: Order) -> dict[str, Any]:
    """By file: what the double says."""
    return {
        "http_order": C.info(order),
        "http_orders_list": C.info(order),
        "http_fills": [C.my_trade(order.fills[0])],
        "http_accounts": double.accounts(key_of(double), {}),
        "http_product": C.product(order.market, 1),
        "http_product_book": double.book(None, {"product_id": "BTC-USD"}),
        "http_ticker": double.ticker(None, {"path": "BTC-USD"}),
        "ws_user": C.told(order),
    }


PART: dict[str, Callable[[Any], Any]] = {  # of the recorded document
    "execution_report_wrapped": lambda tree: tree["event"],
    "ws_spot_trade": lambda tree: tree.get("data", tree),
    "http_open_orders": lambda tree: first(tree["result"]["open"]),
    "http_closed_orders": lambda tree: first(tree["result"]["closed"]),
    "http_trades_history": lambda tree: first(tree["result"]["trades"]),
    "http_asset_pairs": lambda tree: first(tree["result"]),
    "http_trades": lambda tree: first(tree["result"]),
    "http_server_time": lambda tree: tree["result"],
    "http_system_status": lambda tree: tree["result"],
    "http_order_book": lambda tree: first(tree["result"]),
    "ws_trade_update": lambda tree: tree["data"][0],
    "http_order": lambda tree: tree["order"],
    "http_orders_list": lambda tree: tree["orders"][0],
    "http_fills": lambda tree: tree["fills"],
    "ws_user": lambda tree: tree["events"][0]["orders"][0],
}
KNOWN = {  # differences that are meant: what the venue added or dropped since, and margin
    "ws_spot_trade": {".a is theirs only", ".b is theirs only"},
    "http_open_orders": {f".{name} is ours only" for name in ("cl_ord_id", "reason", "closetm", "descr.aclass")},
    "http_closed_orders": {".cl_ord_id is ours only", ".descr.aclass is ours only"},
    "http_trades_history": {".aclass is ours only", ".leverage is ours only"},
    "http_asset_pairs": {
        ".execution_venue is ours only",
        *(f".{side}_position_limit is theirs only" for side in SIDES),
    },
    "ws_user": {f".{name} is ours only" for name in ("limit_price", "stop_price", "number_of_fills")},
}
SAID: dict[str, tuple[Made, tuple[Any, ...]]] = {
    "binance": (
        binance_says,
        (BINANCE / "http_json", BINANCE / "user_data_json", PAYLOADS / "binance/integration/ws_messages"),
    ),
    "kraken": (kraken_says, (KRAKEN,)),
    "coinbase": (coinbase_says, (COINBASE,)),
}


@needs(BINANCE, KRAKEN, COINBASE)
@pytest.mark.parametrize("name", SAID)
def test_answers_have_the_keys_and_types_of_recorded_ones(name: str) -> None:
    says, folders = SAID[name]
    for file, ours in says(*traded(name)).items():
        (path,) = (folder / f"{file}.json" for folder in folders if (folder / f"{file}.json").exists())
        theirs = PART.get(file, lambda tree: tree)(json.loads(path.read_text()))
        found = set(differences(shape(json.loads(encode(ours))), shape(theirs)))
        assert found <= KNOWN.get(file, set()), file


@needs(KRAKEN, COINBASE)
def test_messages_have_the_keys_and_types_of_recorded_ones() -> None:
    cases = [
        ("kraken", "/v2", {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}, "req_id": 1},
         {"ws_subscribe_response": 1, "ws_book_snapshot": 2, "ws_book_update": -1}),
        ("kraken", "/v2", {"method": "ping", "req_id": 1}, {"ws_pong": 1}),
        ("coinbase", "/", {"type": "subscribe", "channel": "level2", "product_ids": ["BTC-USD"]},
         {"ws_subscriptions": 0, "ws_l2_data_snapshot": 1, "ws_l2_data_update": -1}),
        ("coinbase", "/", {"type": "subscribe", "channel": "market_trades", "product_ids": ["BTC-USD"]},
         {"ws_market_trades": 1}),
        ("coinbase", "/", {"type": "subscribe", "channel": "heartbeats", "product_ids": []}, {"ws_heartbeats": 1}),
    ]  # fmt: skip
    for name, path, message, files in cases:
        double, texts = build(name), list[str]()
        session = double.connect(path)
        assert session is not None
        session.carry = texts.append
        session.begin()
        session.receive(json.dumps(message))
        (symbol,) = double.exchange.markets
        double.exchange.set_level(symbol, BUY, double.exchange.markets[symbol].ticks("49999"), 7)
        for file, at in files.items():
            recorded = json.loads((PAYLOADS / name / f"{file}.json").read_text())
            found = set(differences(shape(json.loads(texts[at])), shape(recorded)))
            depth = {".result.depth is ours only"} if file == "ws_subscribe_response" else set()
            names = {each for each in found if file == "ws_subscriptions" and "subscriptions.market_trades" in each}
            assert found <= depth | names, f"{file}: {found}"
