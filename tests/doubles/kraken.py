"""Kraken spot: REST with HMAC-SHA512 and a nonce, WebSocket v2 with a checksum in every message about the book."""

import base64
import binascii
import hashlib
import hmac
import json
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from tests.doubles import kraken_shapes as shapes
from tests.doubles.book import BUY, SELL
from tests.doubles.clock import SECOND_NS
from tests.doubles.exchange import Exchange
from tests.doubles.faults import FaultPlan
from tests.doubles.kraken_shapes import REFUSALS, refuse
from tests.doubles.kraken_streams import Socket
from tests.doubles.orders import Market, NewOrder, Order, Reject, Rules
from tests.doubles.wire import Bucket, Double, Key, Params, Request, Response, Route, Session, route

RULES = Rules(2500, 4000, fee_in="quote", repeated_id="refused while open", late_stop="triggered")
TYPES = ("limit", "market", "stop-loss", "stop-loss-limit", "take-profit", "take-profit-limit")
TOKEN_S = 900
PERMISSIONS = {
    "read": ["query-funds", "query-open-trades", "query-closed-trades", "query-ledger"],
    "trade": ["modify-trades", "close-trades"],
    "withdraw": ["withdraw-funds"],
}
FAILURES = {
    "rate_limited": (200, "EAPI:Rate limit exceeded"),
    "banned": (200, "EGeneral:Temporary lockout"),
    "server_error": (500, "EGeneral:Internal error"),
    "bad_gateway": (502, "EService:Unavailable"),
    "unavailable": (503, "EService:Busy"),
    "maintenance": (200, "EService:Unavailable"),
    "unknown endpoint": (200, "EGeneral:Unknown method"),
}


class Kraken(Double):
    """The venue's face."""

    name = "kraken"

    def __init__(self, exchange: Exchange, plan: FaultPlan | None = None, keys: list[Key] | None = None):
        super().__init__(exchange, plan, keys)
        self.pairs = {
            name: market
            for market in exchange.markets.values()
            for name in (shapes.pair(market), shapes.altname(market), market.symbol)
        }
        self.nonces: dict[str, int] = {}  # by key: the last
        self.calls = {key.api: Bucket(20, 1.0) for key in keys or []}
        self.tokens: dict[str, tuple[Key, int]] = {}  # for the private WebSocket: whose, until when
        self.routes = self._routes()

    def _routes(self) -> dict[tuple[str, str], Route]:
        public = {
            "Time": route("time", self.time),
            "SystemStatus": route("status", self.system),
            "Assets": route("currencies", self.assets),
            "AssetPairs": route("markets", self.asset_pairs, more="pair"),
            "Depth": route("book", self.depth, "pair", "count"),
            "Trades": route("trades", self.public_trades, "pair", "count"),
        }
        private = {
            "BalanceEx": route("balance", self.balance, right="read"),
            "OpenOrders": route("open_orders", self.open_orders, more="trades cl_ord_id", right="read"),
            "ClosedOrders": route(
                "orders", self.closed_orders, more="trades cl_ord_id start ofs", right="read"
            ),
            "QueryOrders": route("order", self.query, "txid", "trades", right="read"),
            "TradesHistory": route("my_trades", self.my_trades, more="start ofs", right="read", weight=2),
            "AddOrder": route(
                "create", self.create, "pair type ordertype volume",
                "price price2 oflags timeinforce cl_ord_id deadline validate", right="trade", weight=0,
            ),
            "AmendOrder": route("amend", self.amend, "order_qty", "txid cl_ord_id deadline", right="trade", weight=0),
            "CancelOrder": route("cancel", self.cancel, more="txid cl_ord_id", right="trade", weight=0),
            "CancelAll": route("cancel_all", self.cancel_all, right="trade"),
            "CancelAllOrdersAfter": route("cancel_after", self.cancel_after, "timeout", right="trade"),
            "GetWebSocketsToken": route("token", self.token, right="read"),
            "GetApiKeyInfo": route("rights", self.key_info, right="any"),
        }  # fmt: skip
        found = {("GET", f"/0/public/{name}"): each for name, each in public.items()}
        return found | {("POST", f"/0/private/{name}"): each for name, each in private.items()}

    # From request to answer

    def process(self, found: Route, request: Request) -> Response:
        params = self._params(request)
        self.asked.append((found.kind, params))
        key = self._key(found, request, params) if found.right else Key("", "")
        if unknown := params.keys() - found.allowed - ({"nonce"} if found.right else set()):
            self.complain(f"{request.path}: parameters {sorted(unknown)}")
            raise refuse(f"EGeneral:Invalid arguments:{min(unknown)}")
        for name in sorted(found.needed - params.keys()):
            raise refuse(f"EGeneral:Invalid arguments:{name}")
        try:
            return Response({"error": [], "result": found.handler(key, params)})
        except Reject as refusal:
            raise refuse(REFUSALS[refusal.code]) from refusal

    def failure(self, name: str, detail: str = "") -> Response:
        status, error = FAILURES[name]
        return Response({"error": [error]}, status)

    def arrive(self, request: Request) -> None:
        api, nonce = request.headers.get("api-key", ""), self._params(request).get("nonce", "0")
        self.nonces[api] = max(int(nonce), self.nonces.get(api, 0))

    def _params(self, request: Request) -> Params:
        if request.headers.get("content-type") == "application/json":
            return {name: str(value) for name, value in json.loads(request.body).items()}
        return request.form(request.query) | request.form(request.body)

    def _key(self, found: Route, request: Request, params: Params) -> Key:
        key = self.keys.get(request.headers.get("api-key", ""))
        if key is None:
            raise refuse("EAPI:Invalid key")
        nonce = params.get("nonce", "")
        signed = request.path.encode() + hashlib.sha256((nonce + request.body).encode()).digest()
        true = hmac.new(base64.b64decode(key.secret), signed, hashlib.sha512).digest()
        try:
            sent = base64.b64decode(request.headers.get("api-sign", ""))
        except binascii.Error:
            sent = b""
        if not hmac.compare_digest(true, sent):
            raise refuse("EAPI:Invalid signature")
        if not nonce.isdigit() or (int(nonce) <= self.nonces.get(key.api, 0) and not self.is_late):
            raise refuse("EAPI:Invalid nonce")
        self.nonces[key.api] = max(int(nonce), self.nonces.get(key.api, 0))
        if found.right not in {*key.rights, "any"}:
            raise refuse("EGeneral:Permission denied")
        if self.calls.setdefault(key.api, Bucket(20, 1.0)).take(found.weight, self.clock.now_ns()):
            raise refuse("EAPI:Rate limit exceeded")
        return key

    # Public endpoints

    def time(self, key: Key, params: Params) -> Any:
        """The venue's clock."""
        now_s = self.clock.now_ns() // SECOND_NS
        return {"unixtime": now_s, "rfc1123": shapes.stamp(self.clock.now_ns())}

    def system(self, key: Key, params: Params) -> Any:
        """Online or not: what is asked during maintenance too."""
        is_off = self.clock.now_ns() < self.maintained_until_ns
        return {"status": "maintenance" if is_off else "online", "timestamp": shapes.stamp(self.clock.now_ns())}

    def assets(self, key: Key, params: Params) -> Any:
        """The assets under the venue's own names."""
        found = {}
        for market in self.exchange.markets.values():
            for asset in (market.base, market.quote):
                name, short = shapes.names(asset)
                places = {"decimals": market.decimals(asset), "display_decimals": min(5, market.decimals(asset))}
                found[name] = {"aclass": "currency", "altname": short, **places, "status": "enabled"}
        return found

    def asset_pairs(self, key: Key, params: Params) -> Any:
        """The pairs."""
        wanted = [self._market(name) for name in params.get("pair", "").split(",") if name]
        markets = wanted or [market for market in self.exchange.markets.values() if market.is_listed]
        rates = self.exchange.rules.maker_ppm, self.exchange.rules.taker_ppm
        return {shapes.pair(market): shapes.asset_pair(market, *rates) for market in markets}

    def depth(self, key: Key, params: Params) -> Any:
        """A snapshot of the book."""
        market, now_s = self._market(params["pair"]), self.clock.now_ns() // SECOND_NS
        levels = {
            name: [
                [f"{market.price(price):.5f}", f"{market.quantity(lots):.3f}", now_s]
                for price, lots in self.exchange.books[market.symbol].depth(side, int(params.get("count", 100)))
            ]
            for name, side in (("asks", SELL), ("bids", BUY))
        }
        return {shapes.pair(market): levels}

    def public_trades(self, key: Key, params: Params) -> Any:
        """The last trades, oldest first."""
        market = self._market(params["pair"])
        found = self.exchange.trades[market.symbol][-int(params.get("count", 1000)) :]
        last = str(found[-1].time_ns) if found else "0"
        return {shapes.pair(market): [shapes.trade(each) for each in found], "last": last}

    # The account

    def balance(self, key: Key, params: Params) -> Any:
        """Balances and what orders hold of them."""
        found = {}
        for market in self.exchange.markets.values():
            for asset in (market.base, market.quote):
                free, locked = self.exchange.balance(key.account, asset)
                places = market.decimals(asset)
                total, held = shapes.amount(free + locked, places), shapes.amount(locked, places)
                found[shapes.names(asset)[0]] = {"balance": f"{total:f}", "hold_trade": f"{held:f}"}
        return found

    def key_info(self, key: Key, params: Params) -> Any:
        """What the key may do."""
        rights = [each for right in ("read", "trade", "withdraw") if right in key.rights for each in PERMISSIONS[right]]
        unlimited = {"valid_until": "0", "query_from": "0", "query_to": "0", "ip_allowlist": []}
        used = {"created_time": "1600000000", "modified_time": "1600000000", "last_used": "1600000000"}
        own = {"api_key_name": key.api, "api_key": key.api, "nonce": str(self.nonces[key.api]), "nonce_window": "0"}
        return own | {"permissions": rights} | unlimited | used

    def token(self, key: Key, params: Params) -> Any:
        """A token for the private WebSocket."""
        text = f"token-{key.api}-{len(self.tokens)}"
        self.tokens[text] = key, self.clock.now_ns() + TOKEN_S * SECOND_NS
        return {"token": text, "expires": TOKEN_S}

    # Orders

    def create(self, key: Key, params: Params) -> Any:
        """A new order; nothing is done past its deadline."""
        new = self._new_order(params)
        deadline = params.get("deadline")
        if deadline and datetime.fromisoformat(deadline).timestamp() < self.clock.now_ns() / SECOND_NS:
            raise refuse("EService:Deadline elapsed")
        if params.get("validate") == "true":
            order = Order(0, key.account, new, self._market(params["pair"]), 0, 0, lots=new.lots)
            return {"descr": {"order": shapes.described(order)["order"]}}
        order = self.exchange.submit(key.account, new)
        own = {"cl_ord_id": order.new.client_id} if order.new.client_id else {}
        return {"descr": {"order": shapes.described(order)["order"]}, "txid": [shapes.txid(order)]} | own

    def _new_order(self, params: Params) -> NewOrder:
        kind, market = params["ordertype"], self._market(params["pair"])
        flags = set(params.get("oflags", "").split(",")) - {""}
        if kind not in TYPES or params["type"] not in ("buy", "sell"):
            raise refuse("EGeneral:Invalid arguments:ordertype")
        if unknown := flags - {"post", "fciq", "viqc"}:
            self.complain(f"AddOrder: flags {sorted(unknown)}")
            raise refuse("EGeneral:Invalid arguments:oflags")
        if ("post" in flags and kind != "limit") or len(params.get("cl_ord_id", "")) > 36:
            raise refuse("EGeneral:Invalid arguments")
        tif = params.get("timeinforce", "GTC").lower()
        if tif not in ("gtc", "ioc", "fok"):
            raise refuse("EGeneral:Invalid arguments:timeinforce")
        is_stop = kind not in ("limit", "market")
        limit_name = "price2" if is_stop else "price"
        is_quote = "viqc" in flags
        volume = self._decimal(params, "volume")
        return NewOrder(
            market.symbol,
            BUY if params["type"] == "buy" else SELL,
            0 if is_quote else market.lots(volume),
            market.ticks(self._decimal(params, limit_name)) if kind.endswith("limit") else None,
            params.get("cl_ord_id", ""),
            tif,  # type: ignore[arg-type]
            post_only="post" in flags,
            stop=market.ticks(self._decimal(params, "price")) if is_stop else None,
            is_take_profit=kind.startswith("take-profit"),
            budget=int(volume * 10**market.quote_decimals) if is_quote else 0,
        )

    def _decimal(self, params: Params, name: str) -> Decimal:
        try:
            return Decimal(params[name])
        except (KeyError, InvalidOperation):
            raise refuse(f"EGeneral:Invalid arguments:{name}") from None

    def amend(self, key: Key, params: Params) -> Any:
        """Make an order smaller, its place kept."""
        order = self._order(key, params)
        order = self.exchange.reduce(key.account, order.id, order.market.lots(self._decimal(params, "order_qty")))
        return {"amend_id": shapes.txid(order).replace("O", "T", 1)}

    def cancel(self, key: Key, params: Params) -> Any:
        """Cancel one order, by either id."""
        self.exchange.cancel(key.account, self._order(key, params).id)
        return {"count": 1}

    def cancel_all(self, key: Key, params: Params) -> Any:
        """Cancel every order of the account."""
        return {"count": len(self.exchange.cancel_all(key.account))}

    def cancel_after(self, key: Key, params: Params) -> Any:
        """Arm, renew or (0) disarm the dead man's switch."""
        due_ns = self.exchange.cancel_after(key.account, int(params["timeout"]))
        now = shapes.stamp(self.clock.now_ns())
        return {"currentTime": now, "triggerTime": shapes.stamp(due_ns) if due_ns else "0"}

    def query(self, key: Key, params: Params) -> Any:
        """Orders by their ids."""
        orders = [self.exchange.orders.get(shapes.order_id(text)) for text in params["txid"].split(",")]
        mine = [order for order in orders if order is not None and order.account == key.account]
        if len(mine) < len(orders):
            raise refuse("EOrder:Unknown order")
        return {shapes.txid(order): shapes.info(order, self._with_trades(params)) for order in mine}

    def open_orders(self, key: Key, params: Params) -> Any:
        """Open orders, those of one client id or all."""
        found = self._of_client(self.exchange.open_orders(key.account), params)
        return {"open": {shapes.txid(order): shapes.info(order, self._with_trades(params)) for order in found}}

    def closed_orders(self, key: Key, params: Params) -> Any:
        """Orders that have ended, latest first."""
        mine = [order for order in self.exchange.orders.values() if order.account == key.account and not order.is_open]
        since = float(params.get("start", 0))
        found = [order for order in self._of_client(mine[::-1], params) if order.updated_ns / SECOND_NS > since]
        page = found[int(params.get("ofs", 0)) :][:50]
        closed = {shapes.txid(order): shapes.info(order, self._with_trades(params)) for order in page}
        return {"closed": closed, "count": len(found)}

    def my_trades(self, key: Key, params: Params) -> Any:
        """Own executions, latest first."""
        since = float(params.get("start", 0))
        mine = [fill for fill in self.exchange.fills[::-1] if fill.order.account == key.account]
        found = [fill for fill in mine if fill.time_ns / SECOND_NS > since]
        page = found[int(params.get("ofs", 0)) :][:50]
        return {"trades": {shapes.trade_id(fill): shapes.my_trade(fill) for fill in page}, "count": len(found)}

    @staticmethod
    def _with_trades(params: Params) -> bool:
        return params.get("trades", "").lower() == "true"

    @staticmethod
    def _of_client(orders: list[Order], params: Params) -> list[Order]:
        return [order for order in orders if params.get("cl_ord_id", order.new.client_id) == order.new.client_id]

    def _market(self, name: str) -> Market:
        market = self.pairs.get(name)
        if market is None or not market.is_listed:
            raise Reject("unknown_symbol", name)
        return market

    def _order(self, key: Key, params: Params) -> Order:
        if "cl_ord_id" in params:
            order = self.exchange.by_client_id(key.account, params["cl_ord_id"])
        else:
            order = self.exchange.orders.get(shapes.order_id(params.get("txid", "")))
        if order is None or order.account != key.account:
            raise Reject("unknown_order", str(params))
        return order

    # Streams

    def open(self, path: str) -> Session | None:
        return Socket(self, path) if urlsplit(path).path == "/v2" else None

    def spoiled(self, tree: Any) -> Any:
        """The checksum is off by one."""
        data = [
            each | {"checksum": (each["checksum"] + 1) % 2**32} if "checksum" in each else each for each in tree["data"]
        ]
        return tree | {"data": data}
