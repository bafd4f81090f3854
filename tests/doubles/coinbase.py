"""Coinbase Advanced Trade: REST and WebSocket with a JWT (ES256) in every signed message, one count per connection."""

import base64
import json
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.doubles import coinbase_shapes as shapes
from tests.doubles.book import BUY, SELL
from tests.doubles.clock import SECOND_NS
from tests.doubles.coinbase_shapes import REFUSALS, refuse
from tests.doubles.coinbase_streams import Socket
from tests.doubles.exchange import Exchange
from tests.doubles.faults import FaultPlan
from tests.doubles.orders import Market, NewOrder, Order, Reject, Rules
from tests.doubles.wire import Answer, Bucket, Double, Key, Params, Request, Response, Route, Session, route

RULES = Rules(4000, 6000, fee_in="quote", repeated_id="first order returned", late_stop="refused")
CONFIGURATIONS = {  # name: what it needs, what it may say
    "market_market_ioc": ((), ("base_size", "quote_size")),
    "limit_limit_gtc": (("base_size", "limit_price"), ("post_only",)),
    "sor_limit_ioc": (("base_size", "limit_price"), ()),
    "limit_limit_fok": (("base_size", "limit_price"), ()),
    "stop_limit_stop_limit_gtc": (("base_size", "limit_price", "stop_price", "stop_direction"), ()),
}
FAILURES = {
    "rate_limited": (429, "rate_limit_exceeded"),
    "banned": (429, "resource_exhausted"),
    "server_error": (500, "internal_server_error"),
    "bad_gateway": (502, ""),
    "unavailable": (503, ""),
    "maintenance": (503, ""),
    "unknown endpoint": (404, "not_found"),
}
BROKERAGE = "/api/v3/brokerage/"


def new_key(name: str = "organizations/demo/apiKeys/demo", **more: Any) -> Key:
    """A key of the kind the venue gives out."""
    private = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return Key(name, private.private_bytes(*form).decode(), **more)


class Coinbase(Double):
    """The venue's face."""

    name = "coinbase"

    def __init__(self, exchange: Exchange, plan: FaultPlan | None = None, keys: list[Key] | None = None):
        super().__init__(exchange, plan, keys)
        self.products = {shapes.product_id(market): market for market in exchange.markets.values()}
        self.calls = Bucket(30, 30.0)
        self.routes = self._routes()

    def _routes(self) -> dict[tuple[str, str], Route]:
        listed = "limit product_id product_ids order_status start_date"
        fills = "limit order_id order_ids product_id product_ids start_sequence_timestamp"
        v3 = {
            ("GET", "time"): route("time", self.time),
            ("GET", "market/products"): route("markets", self.list_products, more="limit product_type"),
            ("GET", "market/product_book"): route("book", self.book, "product_id", "limit"),
            ("GET", "market/products/*/ticker"): route("trades", self.ticker, "path", "limit"),
            ("GET", "accounts"): route("balance", self.accounts, more="limit", right="read"),
            ("GET", "transaction_summary"): route("fees", self.summary, right="read"),
            ("GET", "key_permissions"): route("rights", self.permissions, right="read"),
            ("POST", "orders"): route(
                "create", self.create, "client_order_id product_id side order_configuration", right="trade"
            ),
            ("POST", "orders/batch_cancel"): route("cancel", self.cancel, "order_ids", right="trade"),
            ("GET", "orders/historical/batch"): route("open_orders", self.orders, more=listed, right="read"),
            ("GET", "orders/historical/fills"): route("my_trades", self.fills, more=fills, right="read"),
            ("GET", "orders/historical/*"): route("order", self.query, "path", right="read"),
        }  # fmt: skip
        v2 = {
            "currencies": route("currencies", lambda key, params: {"data": self._currencies(is_fiat=True)}),
            "currencies/crypto": route("currencies", lambda key, params: {"data": self._currencies(is_fiat=False)}),
            "exchange-rates": route("currencies", lambda key, params: {"data": {"currency": "USD", "rates": {}}}),
            "time": route("time", self.time_v2),
            "accounts": route("balance", self.accounts_v2, more="limit", right="read"),
        }
        found = {(method, BROKERAGE + path): each for (method, path), each in v3.items()}
        return found | {("GET", f"/v2/{path}"): each for path, each in v2.items()}

    # From request to answer

    def find(self, request: Request) -> Route | None:
        exact = self.routes.get((request.method, request.path))
        return exact or self.routes.get((request.method, self._pattern(request.path)))

    @staticmethod
    def _pattern(path: str) -> str:
        parts = path.removeprefix(BROKERAGE).split("/")
        at = 2
        return BROKERAGE + "/".join("*" if index == at else part for index, part in enumerate(parts))

    def process(self, found: Route, request: Request) -> Response:
        params: dict[str, Any] = {**request.form(request.query)}
        if request.body:
            params |= json.loads(request.body)
        if "path" in found.needed:
            params["path"] = request.path.removeprefix(BROKERAGE).split("/")[2]
        self.asked.append((found.kind, params))
        key = self._key(found, request) if found.right else Key("", "")
        if unknown := params.keys() - found.allowed:
            self.complain(f"{request.method} {request.path}: parameters {sorted(unknown)}")
            raise refuse(400, "INVALID_ARGUMENT", f"unknown field {min(unknown)}")
        for name in sorted(found.needed - params.keys()):
            raise refuse(400, "INVALID_ARGUMENT", f"{name} is required")
        try:
            return Response(found.handler(key, params))
        except Reject as refusal:
            raise self._refused(refusal, params) from refusal

    def failure(self, name: str, detail: str = "") -> Response:
        status, error = FAILURES[name]
        tree = {"error": error, "error_details": detail, "message": detail} if error else None
        return Response(tree, status, {"Retry-After": "1"} if status == 429 else {})

    @staticmethod
    def _refused(refusal: Reject, params: dict[str, Any]) -> Answer:
        if refusal.code == "unknown_symbol":
            return refuse(400, "INVALID_ARGUMENT", "valid product_id is required")
        if refusal.code == "unknown_order":
            return refuse(404, "NOT_FOUND", "order with this orderID was not found")
        reason = REFUSALS[refusal.code]
        words = {"error": reason.removeprefix("PREVIEW_"), "message": refusal.detail, "error_details": ""}
        words |= {"preview_failure_reason": reason, "new_order_failure_reason": "UNKNOWN_FAILURE_REASON"}
        head = {"success": False, "failure_reason": "UNKNOWN_FAILURE_REASON", "order_id": ""}
        terms = {"order_configuration": params.get("order_configuration")}
        return Answer(Response(head | {"error_response": words} | terms))

    def _key(self, found: Route, request: Request) -> Key:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = self.authentic(
            token if scheme == "Bearer" else "", f"{request.method} {request.headers.get('host', '')}{request.path}"
        )
        if key is None:
            raise Answer(Response(status=401, raw="Unauthorized\n"))
        if found.right not in key.rights:
            raise refuse(403, "PERMISSION_DENIED", "Missing required scopes")
        if self.calls.take(found.weight, self.clock.now_ns()):
            raise Answer(self.failure("rate_limited"))
        return key

    def authentic(self, token: str, uri: str = "") -> Key | None:
        """Whose token it is: signed, of this minute, and for this request (``uri``; "" for a WebSocket)."""
        try:
            head, claims = (json.loads(_unpacked(part)) for part in token.split(".")[:2])
            signature = _unpacked(token.split(".")[2])
        except (ValueError, IndexError):
            return None
        key = self.keys.get(str(head.get("kid")))
        if (
            key is None
            or claims.get("sub") != key.api
            or head.get("alg") != "ES256"
            or claims.get("iss") not in ("cdp", "coinbase-cloud")
        ):
            return None
        private = serialization.load_pem_private_key(key.secret.encode(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        both = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        try:
            signed = token.rpartition(".")[0].encode()
            private.public_key().verify(encode_dss_signature(*both), signed, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return None
        now_s = self.clock.now_ns() / SECOND_NS
        is_timely = claims["nbf"] - 5 <= now_s < claims["exp"] <= claims["nbf"] + 120
        return key if is_timely and claims.get("uri", "").replace("http://", "") == uri else None

    # Public endpoints

    def time(self, key: Key, params: Params) -> Any:
        """The venue's clock."""
        now_ms = self.clock.now_ms()
        return {
            "iso": shapes.stamp(self.clock.now_ns()),
            "epochSeconds": str(now_ms // 1000),
            "epochMillis": str(now_ms),
        }

    def time_v2(self, key: Key, params: Params) -> Any:
        """The same in the older dialect."""
        return {"data": {"iso": shapes.stamp(self.clock.now_ns()), "epoch": self.clock.now_ms() // 1000}}

    def list_products(self, key: Key, params: Params) -> Any:
        """Products; none but spot."""
        markets = [
            each for each in self.products.values() if each.is_listed and params.get("product_type", "SPOT") == "SPOT"
        ]
        found = [shapes.product(market, self.exchange.last.get(market.symbol, 0)) for market in markets]
        return {"products": found, "num_products": len(found)}

    def book(self, key: Key, params: Params) -> Any:
        """A snapshot of the book."""
        market, book = (
            self._market(params["product_id"]),
            self.exchange.books[self._market(params["product_id"]).symbol],
        )
        sides = {
            name: [
                {"price": shapes.plain(market.price(price)), "size": shapes.plain(market.quantity(lots))}
                for price, lots in book.depth(side, int(params.get("limit", 250)))
            ]
            for name, side in (("bids", BUY), ("asks", SELL))
        }
        head = {"product_id": params["product_id"]} | sides | {"time": shapes.stamp(self.clock.now_ns())}
        return {"pricebook": head, "last": "", "mid_market": "", "spread_bps": "", "spread_absolute": ""}

    def ticker(self, key: Key, params: Params) -> Any:
        """The last trades, latest first, and the best prices."""
        market = self._market(params["path"])
        last = self.exchange.trades[market.symbol][::-1][: int(params.get("limit", 100))]
        more = {"bid": "", "ask": "", "exchange": "coinbase"}
        best = {
            name: shapes.plain(market.price(self.exchange.books[market.symbol].best(side) or 0))
            for name, side in (("best_bid", BUY), ("best_ask", SELL))
        }
        return {"trades": [shapes.trade(each) | more for each in last]} | best

    def _currencies(self, is_fiat: bool) -> list[dict[str, Any]]:
        if is_fiat:
            return [{"id": "USD", "name": "US Dollar", "min_size": "0.01"}]
        bases = dict.fromkeys(market.base for market in self.products.values())
        return [{"asset_id": base, "code": base, "name": base, "exponent": 8, "type": "crypto"} for base in bases]

    # The account

    def accounts(self, key: Key, params: Params) -> Any:
        """Wallets."""
        places = {
            asset: market.decimals(asset) for market in self.products.values() for asset in (market.base, market.quote)
        }
        found = []
        for asset, decimals in places.items():
            free, held = self.exchange.balance(key.account, asset)
            found.append(shapes.account(asset, *(shapes.amount(units, decimals) for units in (free, held))))
        return {"accounts": found, "has_next": False, "cursor": "", "size": len(found)}

    def accounts_v2(self, key: Key, params: Params) -> Any:
        """Wallets in the older dialect."""
        wallets = self.accounts(key, params)["accounts"]
        sums = {
            each["currency"]: Decimal(each["available_balance"]["value"]) + Decimal(each["hold"]["value"])
            for each in wallets
        }
        pages = dict.fromkeys(("ending_before", "starting_after", "previous_uri", "next_uri"))
        data = [shapes.account_v2(asset, shapes.plain(total)) for asset, total in sums.items()]
        return {"pagination": pages | {"limit": 250, "order": "desc"}, "data": data}

    def summary(self, key: Key, params: Params) -> Any:
        """Fees."""
        rates = {"taker_fee_rate": f"{RULES.taker_ppm / 1e6:g}", "maker_fee_rate": f"{RULES.maker_ppm / 1e6:g}"}
        tier = {"pricing_tier": "Advanced 1", "usd_from": "0", "usd_to": "1000"} | rates
        return {"total_volume": 0, "total_fees": 0, "fee_tier": tier, "margin_rate": None, "total_balance": ""}

    def permissions(self, key: Key, params: Params) -> Any:
        """What the key may do."""
        may = {
            "can_view": "read" in key.rights,
            "can_trade": "trade" in key.rights,
            "can_transfer": "withdraw" in key.rights,
        }
        return may | {"portfolio_uuid": "main", "portfolio_type": "DEFAULT"}

    # Orders

    def create(self, key: Key, params: Params) -> Any:
        """A new order; one of an id that was seen is answered with the first."""
        order = self.exchange.submit(key.account, self._new_order(params))
        own = {"order_id": shapes.uuid(order.id), "product_id": params["product_id"], "side": params["side"]}
        own |= {"client_order_id": order.new.client_id, "attached_order_id": ""}
        return {"success": True, "success_response": own, "order_configuration": shapes.configuration(order)}

    def _new_order(self, params: dict[str, Any]) -> NewOrder:
        ((name, terms),) = params["order_configuration"].items()
        market = self._market(params["product_id"])
        needed, possible = CONFIGURATIONS.get(name, ((), ()))
        if name not in CONFIGURATIONS or params["side"] not in ("BUY", "SELL"):
            self.complain(f"order of kind {name}")
            raise refuse(400, "UNSUPPORTED_ORDER_CONFIGURATION", name)
        if terms.keys() - {*needed, *possible} or set(needed) - terms.keys() or not params["client_order_id"]:
            raise refuse(400, "INVALID_ARGUMENT", f"{name} has {sorted(terms)}")
        side = BUY if params["side"] == "BUY" else SELL
        upward = terms.get("stop_direction") == "STOP_DIRECTION_STOP_UP"
        budget = self._decimal(terms["quote_size"]) * 10**market.quote_decimals if "quote_size" in terms else 0
        return NewOrder(
            market.symbol,
            side,
            market.lots(self._decimal(terms["base_size"])) if "base_size" in terms else 0,
            market.ticks(self._decimal(terms["limit_price"])) if "limit_price" in terms else None,
            params["client_order_id"],
            name.rpartition("_")[2] if name.startswith(("sor", "limit")) else "gtc",
            post_only=bool(terms.get("post_only")),
            stop=market.ticks(self._decimal(terms["stop_price"])) if "stop_price" in terms else None,
            is_take_profit=upward == (side == SELL),
            budget=int(budget),
        )

    def _decimal(self, text: str) -> Decimal:
        try:
            return Decimal(text)
        except InvalidOperation:
            raise refuse(400, "INVALID_ARGUMENT", f"{text} is no number") from None

    def cancel(self, key: Key, params: Params) -> Any:
        """Cancel orders; each has its own outcome."""
        results = []
        for text in params["order_ids"]:
            try:
                self.exchange.cancel(key.account, shapes.number_of(text))
                outcome = {"success": True, "failure_reason": "UNKNOWN_CANCEL_FAILURE_REASON"}
            except Reject:
                outcome = {"success": False, "failure_reason": "UNKNOWN_CANCEL_ORDER"}
            results.append(outcome | {"order_id": text})
        return {"results": results}

    def query(self, key: Key, params: Params) -> Any:
        """One order."""
        order = self.exchange.orders.get(shapes.number_of(params["path"]))
        if order is None or order.account != key.account:
            raise Reject("unknown_order", params["path"])
        return {"order": shapes.info(order)}

    def orders(self, key: Key, params: Params) -> Any:
        """Orders, latest first."""

        def is_asked(order: Order) -> bool:
            is_status = params.get("order_status", shapes.status(order)) == shapes.status(order)
            product = shapes.product_id(order.market)
            is_product = params.get("product_id", params.get("product_ids", product)) == product
            return (
                order.account == key.account
                and is_status
                and is_product
                and self._since(order.created_ns, params, "start_date")
            )

        found = [order for order in reversed(self.exchange.orders.values()) if is_asked(order)]
        page = found[: int(params.get("limit", 1000))]
        return {"orders": [shapes.info(order) for order in page], "sequence": "0", "has_next": False, "cursor": ""}

    def fills(self, key: Key, params: Params) -> Any:
        """Own executions, latest first."""
        mine = [fill for fill in self.exchange.fills[::-1] if fill.order.account == key.account]
        mine = [fill for fill in mine if self._since(fill.time_ns, params, "start_sequence_timestamp")]
        if product := params.get("product_id", params.get("product_ids")):
            mine = [fill for fill in mine if shapes.product_id(fill.order.market) == product]
        if wanted := params.get("order_id", params.get("order_ids")):
            mine = [fill for fill in mine if shapes.uuid(fill.order.id) == wanted]
        return {"fills": [shapes.my_trade(fill) for fill in mine[: int(params.get("limit", 100))]], "cursor": ""}

    @staticmethod
    def _since(ns: int, params: Params, name: str) -> bool:
        return name not in params or ns / SECOND_NS >= datetime.fromisoformat(params[name]).timestamp()

    def _market(self, name: str) -> Market:
        market = self.products.get(name)
        if market is None or not market.is_listed:
            raise Reject("unknown_symbol", name)
        return market

    # Streams

    def open(self, path: str) -> Session | None:
        return Socket(self, path) if path in ("", "/") else None

    def spoiled(self, tree: Any) -> Any:
        """The message's number is one too high."""
        return tree | {"sequence_num": tree["sequence_num"] + 1}


def _unpacked(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
