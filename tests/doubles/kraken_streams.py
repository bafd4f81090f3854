"""Kraken's WebSocket v2: book (with checksum) and trades for all, executions and balances for who has a token."""

import json
from typing import TYPE_CHECKING, Any

from tests.doubles import kraken_shapes as shapes
from tests.doubles.book import BUY, SELL
from tests.doubles.orders import BalanceEvent, BookEvent, Event, OrderEvent, TradeEvent
from tests.doubles.wire import Session, number

if TYPE_CHECKING:
    from tests.doubles.kraken import Kraken

DEPTHS = (10, 25, 100, 500, 1000)
KNOWN = {  # channel: what a subscription may say
    "book": {"symbol", "depth", "snapshot"},
    "trade": {"symbol", "snapshot"},
    "executions": {"token", "snap_orders", "snap_trades", "order_status", "ratecounter"},
    "balances": {"token", "snapshot"},
}
Side = dict[int, int]


class Socket(Session):
    """One connection, public and private channels alike."""

    double: "Kraken"

    def __init__(self, double: "Kraken", path: str):
        super().__init__(double, path)
        self.depths: dict[str, int] = {}  # symbol: depth of the book subscribed to
        self.views: dict[str, dict[int, Side]] = {}  # symbol: what the client has by side
        self.trades: set[str] = set()
        self.accounts: dict[str, str] = {}  # account of the executions: their channel
        self.totals: dict[str, dict[str, int]] = {}  # account of the balances: asset: units last told
        self.sequence = 0

    def begin(self) -> None:
        """The venue speaks first."""
        about = {"api_version": "v2", "connection_id": id(self), "system": "online", "version": "2.0.10"}
        self.push("status", {"channel": "status", "type": "update", "data": [about]})

    def receive(self, text: str) -> None:
        """ping, subscribe, unsubscribe."""
        message = json.loads(text)
        method, params = message.get("method"), message.get("params", {})
        now = shapes.stamp(self.double.clock.now_ns())
        head = {"req_id": message["req_id"]} if "req_id" in message else {}
        if method == "ping":
            self.push("pong", {"method": "pong", "time_in": now, "time_out": now} | head)
            return
        channel, more = params.get("channel"), params.keys() - {"channel"}
        if method not in ("subscribe", "unsubscribe") or channel not in KNOWN or more - KNOWN[channel]:
            self.double.complain(f"WebSocket: {text}")
            self._answer(method, head, error="Malformed request")
        elif channel in ("book", "trade"):
            self._public(method, channel, params, head)
        else:
            self._private(method, channel, params, head)

    def _answer(self, method: str, head: dict[str, Any], error: str = "", **result: Any) -> None:
        now = shapes.stamp(self.double.clock.now_ns())
        outcome = {"error": error, "success": False} if error else {"result": result, "success": True}
        self.push("ack", {"method": method} | outcome | {"time_in": now, "time_out": now} | head)

    def _public(self, method: str, channel: str, params: dict[str, Any], head: dict[str, Any]) -> None:
        depth = params.get("depth", 10)
        for symbol in params.get("symbol", []):
            if symbol not in self.double.exchange.markets or depth not in DEPTHS:
                self._answer(method, head, error=f"Currency pair not supported {symbol}")
                continue
            extra = {"depth": depth} if channel == "book" else {}
            self._answer(method, head, channel=channel, symbol=symbol, snapshot=True, **extra)
            if method == "unsubscribe":
                self.depths.pop(symbol, None) if channel == "book" else self.trades.discard(symbol)
            elif channel == "book":
                self.depths[symbol], self.views[symbol] = depth, {BUY: {}, SELL: {}}
                self._book(symbol, "snapshot")
            else:
                self.trades.add(symbol)
                last = self.double.exchange.trades[symbol][-50:]
                data = [shapes.trade_message(each) for each in last]
                self.push("trade", {"channel": "trade", "type": "snapshot", "data": data})

    def _private(self, method: str, channel: str, params: dict[str, Any], head: dict[str, Any]) -> None:
        key, until_ns = self.double.tokens.get(str(params.get("token")), (None, 0))
        if key is None or until_ns < self.double.clock.now_ns():
            self._answer(method, head, error="EAccount:Invalid permissions: invalid token")
            return
        self._answer(method, head, channel=channel)
        if method == "unsubscribe":
            (self.accounts if channel == "executions" else self.totals).pop(key.account, None)
        elif channel == "executions":
            self.accounts[key.account] = channel
            orders = self.double.exchange.open_orders(key.account) if params.get("snap_orders", True) else []
            fills = [each for each in self.double.exchange.fills if each.order.account == key.account]
            data = [shapes.executions(OrderEvent("new", order), self.double.exchange)[-1] for order in orders]
            for fill in fills[-50:] if params.get("snap_trades") else []:
                data.append(shapes.executions(OrderEvent("trade", fill.order, fill), self.double.exchange)[0])
            self._tell("executions", "order", data, "snapshot")
        else:
            self.totals[key.account] = {}
            self._balances(key.account, self._assets(), "snapshot")

    def notice(self, event: Event) -> None:
        """Pass on what is subscribed."""
        if isinstance(event, BookEvent) and event.market.symbol in self.depths:
            self._book(event.market.symbol, "update")
        elif isinstance(event, TradeEvent) and event.market.symbol in self.trades:
            self.push("trade", {"channel": "trade", "type": "update", "data": [shapes.trade_message(event)]})
        elif isinstance(event, OrderEvent) and event.order.account in self.accounts:
            for each in shapes.executions(event, self.double.exchange):
                self._tell("executions", "fill" if each["exec_type"] == "trade" else "order", [each])
        elif isinstance(event, BalanceEvent) and event.account in self.totals:
            self._balances(event.account, event.assets, "update")

    def _book(self, symbol: str, kind: str) -> None:
        """What changed among the first levels; of those that others pushed out the venue says nothing."""
        market, book, view = (
            self.double.exchange.markets[symbol],
            self.double.exchange.books[symbol],
            self.views[symbol],
        )
        now = {side: dict(book.depth(side, self.depths[symbol])) for side in (BUY, SELL)}
        entries: dict[str, list[Any]] = {}
        for name, side in (("bids", BUY), ("asks", SELL)):
            gone = {price: 0 for price in view[side] if price not in now[side] and not book.total(side, price)}
            new = {price: lots for price, lots in now[side].items() if view[side].get(price) != lots}
            entries[name] = [shapes.level(market, *each) for each in (gone | new).items()]
        self.views[symbol] = now
        proof = shapes.checksum(market, list(now[BUY].items()), list(now[SELL].items()))
        stamp = shapes.stamp(self.double.clock.now_ns())
        if kind == "snapshot" or entries["bids"] or entries["asks"]:
            data = {"symbol": symbol, **entries, "checksum": proof, "timestamp": stamp}
            self.push("book", {"channel": "book", "type": kind, "data": [data]})

    def _assets(self) -> tuple[str, ...]:
        markets = self.double.exchange.markets.values()
        return tuple(dict.fromkeys(asset for market in markets for asset in (market.base, market.quote)))

    def _balances(self, account: str, assets: tuple[str, ...], kind: str) -> None:
        data: list[dict[str, Any]] = []
        for asset in assets:
            total = sum(self.double.exchange.balance(account, asset))
            before = self.totals[account].get(asset, 0)
            self.totals[account][asset] = total
            places = next(
                m.decimals(asset) for m in self.double.exchange.markets.values() if asset in (m.base, m.quote)
            )
            balance = number(f"{shapes.amount(total, places):f}")
            own = {"asset": asset, "asset_class": "currency", "balance": balance}
            if kind == "snapshot":
                data.append(own | {"wallets": [{"type": "spot", "id": "main", "balance": balance}]})
            elif total != before:
                change = number(f"{shapes.amount(total - before, places):f}")
                where = {"wallet_type": "spot", "wallet_id": "main", "type": "trade", "category": "trade", "fee": 0}
                data.append(own | {"amount": change} | where | {"timestamp": shapes.stamp(self.double.clock.now_ns())})
        if data:
            self._tell("balances", "balance", data, kind)

    def _tell(self, channel: str, kind: str, data: list[Any], type_: str = "update") -> None:
        self.sequence += 1
        self.push(kind, {"channel": channel, "type": type_, "data": data, "sequence": self.sequence})
