"""Binance spot: REST with HMAC-SHA256 over the parameters as sent, market streams, user data on the WebSocket API."""

import hashlib
import hmac
import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.doubles import binance_shapes as shapes
from tests.doubles.binance_shapes import FAILURES, REFUSALS, refuse
from tests.doubles.binance_streams import MarketStream, UserApi
from tests.doubles.book import BUY, SELL
from tests.doubles.exchange import Exchange
from tests.doubles.faults import FaultPlan
from tests.doubles.orders import BookEvent, Event, Market, NewOrder, Order, Reject, Rules
from tests.doubles.wire import Answer, Bucket, Double, Key, Params, Request, Response, Route, Session, route

RULES = Rules(maker_ppm=1000, taker_ppm=1000, fee_in="received", repeated_id="refused while open", late_stop="refused")
CLIENT_ID = re.compile(r"[a-zA-Z0-9-_]{1,36}")
RECV_WINDOW_MS, RECV_WINDOW_MAX_MS, AHEAD_MS = 5000, 60_000, 1000
SIGNED = "timestamp signature recvWindow"
ORDER_NEEDS = {  # besides symbol, side, type
    "LIMIT": ("timeInForce", "quantity", "price"),
    "LIMIT_MAKER": ("quantity", "price"),
    "MARKET": (),
    "STOP_LOSS": ("quantity", "stopPrice"),
    "STOP_LOSS_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
    "TAKE_PROFIT": ("quantity", "stopPrice"),
    "TAKE_PROFIT_LIMIT": ("timeInForce", "quantity", "price", "stopPrice"),
}


class Binance(Double):
    """The venue's face."""

    name = "binance"

    def __init__(self, exchange: Exchange, plan: FaultPlan | None = None, keys: list[Key] | None = None):
        super().__init__(exchange, plan, keys)
        self.symbols = {shapes.native(market): market for market in exchange.markets.values()}
        self.update_id = dict.fromkeys(exchange.markets, 1000)  # of the last message about the book
        self.cancel_ids: dict[int, str] = {}  # what the client called its cancel
        self.weights = Bucket(6000, 100)
        self.orders = Bucket(100, 10)
        self.listening_users = 0
        self.routes = self._routes()

    def _routes(self) -> dict[tuple[str, str], Route]:
        by_id = "orderId origClientOrderId"
        api = {
            ("GET", "ping"): route("ping", lambda a, p: {}),
            ("GET", "time"): route("time", lambda a, p: {"serverTime": self.clock.now_ms()}),
            ("GET", "exchangeInfo"): route("markets", self.exchange_info, more="symbol symbols", weight=20),
            ("GET", "depth"): route("book", self.depth, "symbol", "limit", weight=5),
            ("GET", "trades"): route("trades", self.public_trades, "symbol", "limit", weight=25),
            ("GET", "aggTrades"): route(
                "trades", self.aggregated, "symbol", "startTime limit", weight=4
            ),
            ("GET", "ticker/bookTicker"): route("top", self.top, "symbol", weight=2),
            ("GET", "account"): route("balance", self.account, more="omitZeroBalances", right="read", weight=20),
            ("GET", "account/commission"): route("fees", self.commission, "symbol", right="read", weight=20),
            ("POST", "order"): route(
                "create", self.create, "symbol side type",
                "timeInForce quantity quoteOrderQty price stopPrice newClientOrderId newOrderRespType"
                " selfTradePreventionMode", right="trade",
            ),
            ("GET", "order"): route("order", self.query, "symbol", by_id, right="read", weight=4),
            ("DELETE", "order"): route("cancel", self.cancel, "symbol", f"{by_id} newClientOrderId", right="trade"),
            ("PUT", "order/amend/keepPriority"): route(
                "amend", self.amend, "symbol newQty", f"{by_id} newClientOrderId", right="trade", weight=4
            ),
            ("GET", "openOrders"): route("open_orders", self.open_orders, more="symbol", right="read", weight=6),
            ("DELETE", "openOrders"): route("cancel_all", self.cancel_all, "symbol", right="trade"),
            ("GET", "allOrders"): route(
                "orders", self.all_orders, "symbol", "orderId startTime endTime limit", right="read", weight=20
            ),
            ("GET", "myTrades"): route(
                "my_trades", self.my_trades, "symbol", "orderId startTime endTime fromId limit", right="read", weight=20
            ),
        }  # fmt: skip
        sapi = {
            ("GET", "capital/config/getall"): route("currencies", self.coins, right="read", weight=10),
            ("GET", "account/apiRestrictions"): route("rights", self.restrictions, right="read"),
            ("GET", "asset/tradeFee"): route("fees", self.trade_fee, more="symbol", right="read"),
        }
        for path in ("margin/allPairs", "margin/isolated/allPairs"):  # ccxt asks for them among the markets
            sapi["GET", path] = route("none", lambda a, p: [], right="read")
        futures = {
            ("GET", f"/{name}/v1/exchangeInfo"): route("none", lambda a, p: {"symbols": []})
            for name in ("fapi", "dapi")
        }
        return (
            {(method, f"/api/v3/{path}"): each for (method, path), each in api.items()}
            | {(method, f"/sapi/v1/{path}"): each for (method, path), each in sapi.items()}
            | futures
        )

    # From request to answer

    def process(self, found: Route, request: Request) -> Response:
        text = "&".join(part for part in (request.query, request.body) if part)
        params = dict(parse_qsl(text, keep_blank_values=True))
        self.asked.append((found.kind, params))
        self._limit(found)
        key = self._key(found, request, text, params) if found.right else Key("", "")
        if unknown := params.keys() - found.allowed - (set(SIGNED.split()) if found.right else set()):
            self.complain(f"{request.method} {request.path}: parameters {sorted(unknown)}")
            sent = len(params)
            raise refuse(
                400,
                -1104,
                f"Not all sent parameters were read; read '{sent - len(unknown)}' parameter(s) but was sent '{sent}'.",
            )
        for name in sorted(found.needed - params.keys()):
            raise refuse(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        try:
            tree = found.handler(key, params)
        except Reject as refusal:
            raise refuse(*REFUSALS[refusal.code]) from refusal
        return Response(tree, headers={"X-MBX-USED-WEIGHT-1M": str(round(self.weights.level))})

    def failure(self, name: str, detail: str = "") -> Response:
        status, code, message = FAILURES[name]
        headers = {"Retry-After": "1"} if status in (418, 429) else {}
        return Response({"code": code, "msg": message}, status, headers)

    def _limit(self, found: Route) -> None:
        wait_s = self.weights.take(found.weight, self.clock.now_ns())
        if wait_s:
            raise Answer(
                Response(
                    {"code": -1003, "msg": FAILURES["rate_limited"][2]}, 429, {"Retry-After": str(int(wait_s) + 1)}
                )
            )
        if found.kind == "create" and (wait_s := self.orders.take(1, self.clock.now_ns())):
            raise refuse(
                429,
                -1015,
                "Too many new orders; current limit is 100 orders per 10 SECOND.",
                **{"Retry-After": str(int(wait_s) + 1)},
            )

    def _key(self, found: Route, request: Request, text: str, params: Params) -> Key:
        key = self.keys.get(request.headers.get("x-mbx-apikey", ""))
        if key is None or found.right not in key.rights:
            raise refuse(401, -2015, "Invalid API-key, IP, or permissions for action.")
        self.authentic(key, text.rpartition("&signature=")[0], params)
        return key

    def authentic(self, key: Key, signed: str, params: Params) -> None:
        """Raise unless ``params`` carry the signature of ``signed`` and a time within their window."""
        for name in ("signature", "timestamp"):
            if name not in params:
                raise refuse(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        true = hmac.new(key.secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(true, str(params["signature"])):
            raise refuse(400, -1022, "Signature for this request is not valid.")
        sent_ms, window_ms = int(params["timestamp"]), int(params.get("recvWindow", RECV_WINDOW_MS))
        if window_ms > RECV_WINDOW_MAX_MS:
            raise refuse(400, -1131, "recvWindow must be less than 60000.")
        if sent_ms >= self.clock.now_ms() + AHEAD_MS:
            raise refuse(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if self.clock.now_ms() - sent_ms > window_ms:
            raise refuse(400, -1021, "Timestamp for this request is outside of the recvWindow.")

    # Public endpoints

    def exchange_info(self, key: Key, params: Params) -> Any:
        """Markets with their filters."""
        wanted = json.loads(params.get("symbols", "[]")) + [params[name] for name in ("symbol",) if name in params]
        for name in wanted:
            self._market({"symbol": name})
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
        ]
        markets = [market for name, market in self.symbols.items() if market.is_listed and name in (wanted or [name])]
        symbols = [shapes.symbol(market) for market in markets]
        head = {"timezone": "UTC", "serverTime": self.clock.now_ms(), "rateLimits": limits, "exchangeFilters": []}
        return head | {"symbols": symbols, "sors": []}

    def depth(self, key: Key, params: Params) -> Any:
        """A snapshot of the book."""
        market, levels = self._market(params), int(params.get("limit", 100))
        return {"lastUpdateId": self.update_id[market.symbol]} | self._sides(market, levels)

    def _sides(self, market: Market, levels: int) -> dict[str, Any]:
        book = self.exchange.books[market.symbol]
        return {
            name: [[shapes.price(market, at), shapes.quantity(market, lots)] for at, lots in book.depth(side, levels)]
            for name, side in (("bids", BUY), ("asks", SELL))
        }

    def public_trades(self, key: Key, params: Params) -> Any:
        """The last trades, oldest first."""
        return [
            shapes.trade(each)
            for each in self.exchange.trades[self._market(params).symbol][-int(params.get("limit", 500)) :]
        ]

    def aggregated(self, key: Key, params: Params) -> Any:
        """The last trades, each an aggregate of its own."""
        entries = [shapes.trade(each) for each in self.exchange.trades[self._market(params).symbol]]
        names = {
            "a": "id",
            "p": "price",
            "q": "qty",
            "f": "id",
            "l": "id",
            "T": "time",
            "m": "isBuyerMaker",
            "M": "isBestMatch",
        }
        since = [each for each in entries if each["time"] >= int(params.get("startTime", 0))]
        return [
            {ours: each[theirs] for ours, theirs in names.items()} for each in since[-int(params.get("limit", 500)) :]
        ]

    def top(self, key: Key, params: Params) -> Any:
        """Best bid and ask."""
        market = self._market(params)
        sides = self._sides(market, 1)
        bid, ask = (sides[name][0] if sides[name] else ["0.00000000"] * 2 for name in ("bids", "asks"))
        return {"symbol": params["symbol"], "bidPrice": bid[0], "bidQty": bid[1], "askPrice": ask[0], "askQty": ask[1]}

    # The account

    def account(self, key: Key, params: Params) -> Any:
        """Balances, fees and what the account may do."""
        maker, taker = RULES.maker_ppm // 100, RULES.taker_ppm // 100
        rates = {
            "maker": f"{maker / 1e4:.8f}",
            "taker": f"{taker / 1e4:.8f}",
            "buyer": "0.00000000",
            "seller": "0.00000000",
        }
        every = shapes.position(self.exchange, key.account, tuple(self.exchange.accounts.assets(key.account)), 0)["B"]
        balances = [{"asset": each["a"], "free": each["f"], "locked": each["l"]} for each in every]
        if params.get("omitZeroBalances") == "true":
            balances = [each for each in balances if Decimal(each["free"]) or Decimal(each["locked"])]
        return {
            "makerCommission": maker, "takerCommission": taker, "buyerCommission": 0, "sellerCommission": 0,
            "commissionRates": rates, "canTrade": "trade" in key.rights, "canWithdraw": True, "canDeposit": True,
            "brokered": False, "requireSelfTradePrevention": False, "preventSor": False,
            "updateTime": self.clock.now_ms(), "accountType": "SPOT", "balances": balances, "permissions": ["SPOT"],
            "uid": 1,
        }  # fmt: skip

    def restrictions(self, key: Key, params: Params) -> Any:
        """What the key may do."""
        may = dict.fromkeys(
            ("enableMargin", "enableFutures", "permitsUniversalTransfer", "enableVanillaOptions"), False
        )
        return may | {
            "ipRestrict": False, "createTime": 1_600_000_000_000, "enableInternalTransfer": False,
            "enableReading": "read" in key.rights, "enableWithdrawals": "withdraw" in key.rights,
            "enableSpotAndMarginTrading": "trade" in key.rights, "enablePortfolioMarginTrading": False,
        }  # fmt: skip

    def coins(self, key: Key, params: Params) -> Any:
        """The assets."""
        assets = {asset for market in self.symbols.values() for asset in (market.base, market.quote)}
        return [
            {
                "coin": asset, "name": asset, "depositAllEnable": True, "withdrawAllEnable": True, "free": "0",
                "locked": "0", "freeze": "0", "withdrawing": "0", "ipoing": "0", "ipoable": "0", "storage": "0",
                "isLegalMoney": False, "trading": True, "networkList": [],
            }
            for asset in sorted(assets)
        ]  # fmt: skip

    def trade_fee(self, key: Key, params: Params) -> Any:
        """Fees by market."""
        rates = {"makerCommission": f"{RULES.maker_ppm / 1e6:g}", "takerCommission": f"{RULES.taker_ppm / 1e6:g}"}
        return [{"symbol": name, **rates} for name in self.symbols if name in (params.get("symbol", name), "")]

    def commission(self, key: Key, params: Params) -> Any:
        """Fees of one market."""
        rates = {"maker": f"{RULES.maker_ppm / 1e6:.8f}", "taker": f"{RULES.taker_ppm / 1e6:.8f}"}
        standard = rates | {"buyer": "0.00000000", "seller": "0.00000000"}
        return {"symbol": shapes.native(self._market(params)), "standardCommission": standard}

    # Orders

    def create(self, key: Key, params: Params) -> Any:
        """A new order."""
        client_id = params.get("newClientOrderId") or f"venue-{len(self.exchange.orders)}"
        order = self.exchange.submit(key.account, self._new_order(params, client_id))
        default = "FULL" if params["type"] in ("MARKET", "LIMIT") else "ACK"
        return shapes.made(order, params.get("newOrderRespType", default))

    def _new_order(self, params: Params, client_id: str) -> NewOrder:
        kind, market = params["type"], self._market(params)
        for name in ORDER_NEEDS.get(kind, ()):
            if not params.get(name):
                raise refuse(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        if kind not in ORDER_NEEDS:
            raise refuse(400, -1116, "Invalid orderType.")
        if params["side"] not in ("BUY", "SELL"):
            raise refuse(400, -1117, "Invalid side.")
        if kind == "MARKET" and ("quantity" in params) == ("quoteOrderQty" in params):
            raise refuse(400, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
        if params.get("timeInForce", "GTC") not in ("GTC", "IOC", "FOK"):
            raise refuse(400, -1115, "Invalid timeInForce.")
        if not CLIENT_ID.fullmatch(client_id):
            raise refuse(
                400,
                -1100,
                "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'.",
            )
        if params.get("selfTradePreventionMode", "EXPIRE_TAKER") != "EXPIRE_TAKER":
            raise refuse(400, -1145, "This symbol only allows EXPIRE_TAKER.")
        if used := {"price", "stopPrice", "timeInForce"} & params.keys() - set(ORDER_NEEDS[kind]):
            raise refuse(400, -1106, f"Parameter '{min(used)}' sent when not required.")
        budget = self._decimal(params, "quoteOrderQty") if "quoteOrderQty" in params else Decimal(0)
        return NewOrder(
            market.symbol,
            BUY if params["side"] == "BUY" else SELL,
            market.lots(self._decimal(params, "quantity")) if "quantity" in params else 0,
            market.ticks(self._decimal(params, "price")) if "price" in params else None,
            client_id,
            params.get("timeInForce", "GTC").lower(),  # type: ignore[arg-type]
            post_only=kind == "LIMIT_MAKER",
            stop=market.ticks(self._decimal(params, "stopPrice")) if "stopPrice" in params else None,
            is_take_profit=kind.startswith("TAKE_PROFIT"),
            budget=int(budget * 10**market.quote_decimals),
        )

    def _decimal(self, params: Params, name: str) -> Decimal:
        try:
            value = Decimal(params[name])
        except InvalidOperation:
            raise refuse(400, -1100, f"Illegal characters found in parameter '{name}'.") from None
        if int(value.normalize().as_tuple().exponent) < -8:
            raise refuse(400, -1111, "Parameter '" + name + "' has too much precision.")
        return value

    def query(self, key: Key, params: Params) -> Any:
        """One order, by either id."""
        return shapes.queried(self._order(key, params, (400, -2013, "Order does not exist.")))

    def cancel(self, key: Key, params: Params) -> Any:
        """Cancel one order, by either id."""
        order = self._order(key, params, REFUSALS["unknown_order"])
        client_id = params.get("newClientOrderId") or f"venue-cancel-{order.id}"
        self.cancel_ids[order.id] = client_id
        return shapes.canceled(self.exchange.cancel(key.account, order.id), client_id)

    def cancel_all(self, key: Key, params: Params) -> Any:
        """Cancel every order of a market."""
        orders = self.exchange.cancel_all(key.account, self._market(params).symbol)
        if not orders:
            raise Reject("unknown_order", "none is open")
        return [shapes.canceled(order, f"venue{order.id}") for order in orders]

    def amend(self, key: Key, params: Params) -> Any:
        """Make an order smaller, its place kept."""
        order = self._order(key, params, REFUSALS["unknown_order"])
        order = self.exchange.reduce(key.account, order.id, order.market.lots(self._decimal(params, "newQty")))
        now = self.clock.now_ms()
        return {"transactTime": now, "executionId": order.id, "amendedOrder": shapes.core(order) | {"workingTime": now}}

    def open_orders(self, key: Key, params: Params) -> Any:
        """Open orders of one market or all."""
        symbol = self._market(params).symbol if "symbol" in params else None
        return [shapes.queried(order) for order in self.exchange.open_orders(key.account, symbol)]

    def all_orders(self, key: Key, params: Params) -> Any:
        """Orders of a market, whatever became of them."""
        market, start_ms, end_ms = (
            self._market(params),
            int(params.get("startTime", 0)),
            int(params.get("endTime", 1 << 62)),
        )
        mine = [each for each in self.exchange.orders.values() if each.account == key.account and each.market is market]
        found = [each for each in mine if start_ms <= shapes.milliseconds(each.created_ns) <= end_ms]
        found = [each for each in found if each.id >= int(params.get("orderId", 0))]
        return [shapes.queried(order) for order in found[-int(params.get("limit", 500)) :]]

    def my_trades(self, key: Key, params: Params) -> Any:
        """Own executions of a market."""
        market, start_ms, end_ms = (
            self._market(params),
            int(params.get("startTime", 0)),
            int(params.get("endTime", 1 << 62)),
        )
        mine = [
            each for each in self.exchange.fills if each.order.account == key.account and each.order.market is market
        ]
        found = [each for each in mine if start_ms <= shapes.milliseconds(each.time_ns) <= end_ms]
        if "orderId" in params:
            found = [each for each in found if each.order.id == int(params["orderId"])]
        if "fromId" in params:
            return [shapes.my_trade(each) for each in found if each.id >= int(params["fromId"])][
                : int(params.get("limit", 500))
            ]
        return [shapes.my_trade(each) for each in found[-int(params.get("limit", 500)) :]]

    def _market(self, params: Params) -> Market:
        market = self.symbols.get(params["symbol"])
        if market is None or not market.is_listed:
            raise Reject("unknown_symbol", params["symbol"])
        return market

    def _order(self, key: Key, params: Params, unknown: tuple[int, int, str]) -> Order:
        if not params.keys() & {"orderId", "origClientOrderId"}:
            raise refuse(400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        if "orderId" in params:
            order = self.exchange.orders.get(int(params["orderId"]))
        else:
            order = self.exchange.by_client_id(key.account, params["origClientOrderId"])
        if order is None or order.account != key.account or order.market is not self.symbols.get(params["symbol"]):
            raise refuse(*unknown)
        return order

    # Streams

    def open(self, path: str) -> Session | None:
        where = urlsplit(path)
        if where.path.endswith("/ws-api/v3"):
            return UserApi(self, path)
        return MarketStream(self, path) if "/ws" in where.path or where.path.endswith("/stream") else None

    def spoiled(self, tree: Any) -> Any:
        """The update's ids are five too high: a gap before it."""
        data = tree.get("data", tree)
        moved = {"U": data["U"] + 5, "u": data["u"] + 5} if "U" in data else {}
        return tree | {"data": data | moved} if "data" in tree else data | moved

    def _notice(self, event: Event) -> None:
        if isinstance(event, BookEvent):
            self.update_id[event.market.symbol] += len(event.levels)
        super()._notice(event)
