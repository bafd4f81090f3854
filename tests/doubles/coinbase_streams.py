"""Coinbase's WebSocket: every message of a connection is counted, whatever its channel."""

import json
from typing import TYPE_CHECKING, Any

from tests.doubles import coinbase_shapes as shapes
from tests.doubles.book import BUY, SELL
from tests.doubles.orders import BookEvent, Event, Market, OrderEvent, TradeEvent
from tests.doubles.wire import Session

if TYPE_CHECKING:
    from tests.doubles.coinbase import Coinbase

CHANNELS = ("level2", "market_trades", "user", "heartbeats")
BEAT_S = 1.0


class Socket(Session):
    """One connection."""

    double: "Coinbase"

    def __init__(self, double: "Coinbase", path: str):
        super().__init__(double, path)
        self.subscribed: dict[str, set[str]] = {}  # channel: product ids
        self.accounts: dict[str, str] = {}  # account whose orders are told
        self.number, self.beats = 0, 0

    def receive(self, text: str) -> None:
        """subscribe and unsubscribe."""
        message = json.loads(text)
        kind, channel, products = message.get("type"), message.get("channel"), message.get("product_ids", [])
        unknown = message.keys() - {"type", "channel", "product_ids", "jwt"}
        if kind not in ("subscribe", "unsubscribe") or channel not in CHANNELS or unknown:
            self.double.complain(f"WebSocket: {text}")
            self.push("ack", {"type": "error", "message": "malformed request"})
            return
        if any(product not in self.double.products for product in products):
            self.push("ack", {"type": "error", "message": f"no such product: {products}"})
            return
        key = self.double.authentic(message["jwt"]) if "jwt" in message else None
        if (channel == "user" or "jwt" in message) and key is None:
            self.push("ack", {"type": "error", "message": "authentication failure"})
            return
        if kind == "unsubscribe":
            self.subscribed.pop(channel, None)
        else:
            self.subscribed.setdefault(channel, set()).update(products)
        self._tell(
            "ack", "subscriptions", {"subscriptions": {name: sorted(ids) for name, ids in self.subscribed.items()}}
        )
        if kind == "subscribe":
            self._begin(channel, products, key.account if key and channel == "user" else "")

    def _begin(self, channel: str, products: list[str], account: str) -> None:
        """What a subscription brings first."""
        if channel == "heartbeats":
            self._beat()
        if account:
            self.accounts[account] = channel
            orders = [shapes.told(order) for order in self.double.exchange.open_orders(account)]
            self._tell("order", "user", {"type": "snapshot", "orders": orders})
        for product in products:
            market = self.double.products[product]
            if channel == "level2":
                book = self.double.exchange.books[market.symbol]
                levels = {(side, price): lots for side in (BUY, SELL) for price, lots in book.depth(side)}
                self._levels("snapshot", market, levels)
            elif channel == "market_trades":
                last = self.double.exchange.trades[market.symbol][-50:]
                self._tell(
                    "trade", channel, {"type": "snapshot", "trades": [shapes.trade(each) for each in last[::-1]]}
                )

    def _beat(self) -> None:
        if "heartbeats" in self.subscribed and self in self.double.sessions:
            now = shapes.stamp(self.double.clock.now_ns()).replace("T", " ").replace("Z", " +0000 UTC")
            self._tell("beat", "heartbeats", {"current_time": now, "heartbeat_counter": self.beats})
            self.beats += 1
            self.double.later(BEAT_S, self._beat)

    def notice(self, event: Event) -> None:
        """Pass on what is subscribed."""
        if isinstance(event, BookEvent) and self._has("level2", event.market):
            self._levels("update", event.market, event.levels)
        elif isinstance(event, TradeEvent) and self._has("market_trades", event.market):
            self._tell("trade", "market_trades", {"type": "update", "trades": [shapes.trade(event)]})
        elif isinstance(event, OrderEvent) and event.order.account in self.accounts:
            kind = "fill" if event.kind == "trade" else "order"
            self._tell(kind, "user", {"type": "update", "orders": [shapes.told(event.order)]})

    def _has(self, channel: str, market: Market) -> bool:
        return shapes.product_id(market) in self.subscribed.get(channel, ())

    def _levels(self, kind: str, market: Market, levels: dict[tuple[int, int], int]) -> None:
        now = shapes.stamp(self.double.clock.now_ns())
        updates = [
            {
                "side": "bid" if side == BUY else "offer", "event_time": now,
                "price_level": shapes.plain(market.price(price)), "new_quantity": shapes.plain(market.quantity(lots)),
            }
            for (side, price), lots in levels.items()
        ]  # fmt: skip
        self._tell("book", "l2_data", {"type": kind, "product_id": shapes.product_id(market), "updates": updates})

    def _tell(self, kind: str, channel: str, event: dict[str, Any]) -> None:
        now = shapes.stamp(self.double.clock.now_ns())
        head = {"channel": channel, "client_id": "", "timestamp": now, "sequence_num": self.number}
        self.number += 1
        self.push(kind, head | {"events": [event]})
