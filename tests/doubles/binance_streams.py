"""Binance's WebSocket connections: market streams, and the WebSocket API that carries user data."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.doubles import binance_shapes as shapes
from tests.doubles.binance_shapes import refuse
from tests.doubles.book import BUY, SELL
from tests.doubles.orders import BalanceEvent, BookEvent, Event, OrderEvent, TradeEvent
from tests.doubles.wire import Answer, Session

if TYPE_CHECKING:
    from tests.doubles.binance import Binance

STREAMS = ("depth", "depth@100ms", "trade", "bookTicker")


class MarketStream(Session):
    """/ws/<names>: bare messages; /stream?streams=<names>: wrapped ones; more by SUBSCRIBE."""

    double: "Binance"

    def __init__(self, double: "Binance", path: str):
        super().__init__(double, path)
        where = urlsplit(path)
        self.is_wrapped = where.path.endswith("/stream")
        query = dict(parse_qsl(where.query))
        names = query.get("streams", "") if self.is_wrapped else unquote(where.path.rpartition("/ws")[2])
        self.names = {name for name in names.strip("/").split("/") if "@" in name}
        self.tops: dict[str, tuple[Any, ...]] = {}

    def receive(self, text: str) -> None:
        """SUBSCRIBE, UNSUBSCRIBE, LIST_SUBSCRIPTIONS."""
        message = json.loads(text)
        method, names, id_ = message.get("method"), message.get("params", []), message.get("id")
        bad = [name for name in names if not self._is_known(name)]
        if method not in ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS") or message.keys() - {
            "method",
            "params",
            "id",
        }:
            self.double.complain(f"market stream: {text}")
            self.push("ack", {"error": {"code": 2, "msg": "Invalid request: unknown variant"}, "id": id_})
        elif bad:
            self.double.complain(f"market stream: no stream {bad}")
            self.push("ack", {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": id_})
        else:
            self.names = self.names - set(names) if method == "UNSUBSCRIBE" else self.names | set(names)
            self.push("ack", {"result": sorted(self.names) if method == "LIST_SUBSCRIPTIONS" else None, "id": id_})

    def notice(self, event: Event) -> None:
        """Pass on what is subscribed."""
        if isinstance(event, TradeEvent):
            self._pass("trade", event.market.symbol, "trade", shapes.trade_message(event))
        if isinstance(event, BookEvent):
            for stream in ("depth", "depth@100ms"):
                self._pass("book", event.market.symbol, stream, self._update(event))
            self._top(event)

    def _update(self, event: BookEvent) -> dict[str, Any]:
        market, last = event.market, self.double.update_id[event.market.symbol]
        sides = {
            name: [
                [shapes.price(market, price), shapes.quantity(market, lots)]
                for (at, price), lots in event.levels.items()
                if at == side
            ]
            for name, side in (("b", BUY), ("a", SELL))
        }
        first = last - len(event.levels) + 1
        now_ms = shapes.milliseconds(event.time_ns)
        return {"e": "depthUpdate", "E": now_ms, "s": shapes.native(market), "U": first, "u": last} | sides

    def _top(self, event: BookEvent) -> None:
        market, book = event.market, self.double.exchange.books[event.market.symbol]
        bid, ask = book.depth(BUY, 1), book.depth(SELL, 1)
        if not bid or not ask or self.tops.get(market.symbol) == (bid, ask):
            return
        self.tops[market.symbol] = (bid, ask)
        best = {"u": self.double.update_id[market.symbol], "s": shapes.native(market)}
        for name, ((price, lots),) in (("b", bid), ("a", ask)):
            best |= {name: shapes.price(market, price), name.upper(): shapes.quantity(market, lots)}
        self._pass("top", market.symbol, "bookTicker", best)

    def _pass(self, kind: str, symbol: str, stream: str, tree: dict[str, Any]) -> None:
        name = f"{symbol.replace('/', '').lower()}@{stream}"
        if name in self.names:
            self.push(kind, {"stream": name, "data": tree} if self.is_wrapped else tree)

    def _is_known(self, name: str) -> bool:
        symbol, _, stream = name.partition("@")
        return symbol.upper() in self.double.symbols and stream in STREAMS


class UserApi(Session):
    """The WebSocket API, as far as user data needs it."""

    double: "Binance"

    def __init__(self, double: "Binance", path: str):
        super().__init__(double, path)
        self.accounts: dict[str, int] = {}  # account: subscription id

    def receive(self, text: str) -> None:
        """Answer one request."""
        message = json.loads(text)
        id_, method, params = message.get("id"), message.get("method"), message.get("params", {})
        try:
            result = self._result(method, params)
        except Answer as answer:
            self.push("ack", {"id": id_, "status": answer.response.status, "error": answer.response.tree})
        else:
            limits = [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 2}
            ]
            self.push("ack", {"id": id_, "status": 200, "result": result, "rateLimits": limits})

    def _result(self, method: str, params: dict[str, Any]) -> Any:
        if method == "time":
            return {"serverTime": self.double.clock.now_ms()}
        if method != "userDataStream.subscribe.signature":
            self.double.complain(f"WebSocket API: method {method}")
            raise refuse(400, -1000, "Unknown method")
        key = self.double.keys.get(str(params.get("apiKey")))
        if key is None or "read" not in key.rights:
            raise refuse(401, -2015, "Invalid API-key, IP, or permissions for action.")
        if unknown := params.keys() - {"apiKey", "timestamp", "recvWindow", "signature"}:
            self.double.complain(f"WebSocket API: parameters {sorted(unknown)}")
        signed = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
        self.double.authentic(key, signed, {name: str(value) for name, value in params.items()})
        self.accounts[key.account] = self.double.listening_users
        self.double.listening_users += 1
        return {"subscriptionId": self.accounts[key.account]}

    def notice(self, event: Event) -> None:
        """Reports, positions, balances changed by hand."""
        now_ms = self.double.clock.now_ms()
        if isinstance(event, OrderEvent):
            cancel_id = self.double.cancel_ids.get(event.order.id, "")
            kind = "fill" if event.kind == "trade" else "order"
            self._tell(kind, event.order.account, shapes.report(event, now_ms, cancel_id))
        elif isinstance(event, BalanceEvent) and event.by_hand:
            decimals = shapes.decimals(self.double.exchange, event.assets[0])
            delta = shapes.amount(event.by_hand, decimals)
            tree = {"e": "balanceUpdate", "E": now_ms, "a": event.assets[0], "d": delta, "T": now_ms}
            self._tell("balance", event.account, tree)
        elif isinstance(event, BalanceEvent):
            tree = shapes.position(self.double.exchange, event.account, event.assets, now_ms)
            self._tell("balance", event.account, tree)

    def _tell(self, kind: str, account: str, tree: dict[str, Any]) -> None:
        if account in self.accounts:
            self.push(kind, {"subscriptionId": self.accounts[account], "event": tree})
