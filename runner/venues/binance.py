"""Binance spot: endpoints and rules, as its public REST and WebSocket API state them."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from core.errors import BadInput
from core.records import OrderFlag, Reason, Side
from runner.venues.binance_fields import UNIT, execution, listed, report, streamed
from runner.venues.filters import Reference
from runner.venues.outbound import Execution, Order, Report
from runner.venues.rest import Budget, Denied, Endpoint, Rest, VenueError
from runner.venues.tables import Listed, Rights, whole_units

WEIGHT, WEIGHT_PER_S = 6000 * 0.9, 100 * 0.9  # of 6000 a minute
PAGE: Final = 1000
PREFIX: Final = "pc-"
FILTER_REASONS: Final = {
    "PRICE_FILTER": Reason.FILTER_TICK,
    "LOT_SIZE": Reason.FILTER_LOT,
    "MARKET_LOT_SIZE": Reason.FILTER_LOT,
    "NOTIONAL": Reason.FILTER_NOTIONAL,
    "MIN_NOTIONAL": Reason.FILTER_NOTIONAL,
    "PERCENT_PRICE": Reason.PRICE_BAND,
    "PERCENT_PRICE_BY_SIDE": Reason.PRICE_BAND,
    "MAX_NUM_ORDERS": Reason.ORDERS_MAX,
}
CLOCK, MISSING, REFUSED = "-1021", ("-2013", "-2011"), "-2010"

CREATE = Endpoint("private_post_order", 1, True)
CANCEL = Endpoint("private_delete_order", 1, True)
ORDER = Endpoint("private_get_order", 4)
OPEN_ORDERS = Endpoint("private_get_openorders", 6)
ALL_ORDERS = Endpoint("private_get_allorders", 20)
MY_TRADES = Endpoint("private_get_mytrades", 20)
ACCOUNT = Endpoint("private_get_account", 20)
INFO = Endpoint("public_get_exchangeinfo", 20)
TIME = Endpoint("public_get_time")
TRADES = Endpoint("public_get_trades", 25)
TOP = Endpoint("public_get_ticker_bookticker", 2)
RIGHTS = Endpoint("sapi_get_account_apirestrictions")
FEES = Endpoint("sapi_get_asset_tradefee")


class Binance:
    """The profile (``profiles.Profile``)."""

    def __init__(self) -> None:
        self.listed: tuple[Listed, ...] = ()
        self.budget = Budget(WEIGHT, WEIGHT_PER_S)
        self._numbers: dict[str, int] = {}  # the venue's name -> index

    def client_id(self, digits: str) -> str:
        """At most 36 of letters, digits, - and _."""
        return PREFIX + digits

    def judge(self, status: int, tree: Any) -> VenueError | None:
        """4xx says that the request was not carried out."""
        if status < 400:
            return None
        code, text = (
            (str(tree.get(name, "")) for name in ("code", "msg")) if isinstance(tree, dict) else ("", str(tree))
        )
        return Denied(code, text, is_clock=code == CLOCK)

    async def rights(self, rest: Rest, tries: int) -> Rights:
        """A key that can move assets to another account can withdraw."""
        tree = await rest.query(RIGHTS, tries=tries)
        moves = (tree.get("enableWithdrawals", True), tree.get("enableInternalTransfer", True))
        return Rights(tree.get("enableSpotAndMarginTrading") is True, any(each is not False for each in moves))

    async def load(self, rest: Rest, symbols: Sequence[str], tries: int) -> tuple[Listed, ...]:
        """Grids and filters from exchangeInfo, fees from the account's own."""
        names = [symbol.replace("/", "") for symbol in symbols]
        info = await rest.query(INFO, tries=tries)
        fees = {each["symbol"]: each for each in await rest.query(FEES, tries=tries)}
        found = {each["symbol"]: each for each in info["symbols"]}
        if missing := [name for name in names if name not in found]:
            raise BadInput(f"binance does not list {', '.join(missing)}; check the symbols")
        self.listed = tuple(listed(found[name], fees.get(name)) for name in names)
        self._numbers = {name: k for k, name in enumerate(names)}
        return self.listed

    async def time_ms(self, rest: Rest, tries: int = 0) -> int:
        """serverTime."""
        return int((await rest.query(TIME, tries=tries))["serverTime"])

    async def reference(self, rest: Rest, k: int) -> Reference:
        """From the last trade and the best bid and offer."""
        item = self.listed[k]
        trades, top = await asyncio.gather(
            rest.query(TRADES, {"symbol": item.name, "limit": 1}), rest.query(TOP, {"symbol": item.name})
        )
        last = item.price(trades[-1]["price"]) if trades else 0
        return Reference(last, item.price(top["bidPrice"]), item.price(top["askPrice"]))

    async def create(self, rest: Rest, order: Order) -> str:
        """ACK only: fills come from the stream or the list of trades, never from here."""
        item = self.listed[order.instrument]
        params = {
            "symbol": item.name,
            "side": "BUY" if order.side == Side.BUY else "SELL",
            "quantity": item.lots_text(order.qty),
            "newClientOrderId": order.client_id,
            "newOrderRespType": "ACK",
        }
        if order.flags & OrderFlag.STOP:
            params |= {"type": "STOP_LOSS", "stopPrice": item.price_text(order.price)}
        elif order.price == 0:
            params |= {"type": "MARKET"}
        elif order.flags & OrderFlag.POST_ONLY:
            params |= {"type": "LIMIT_MAKER", "price": item.price_text(order.price)}
        else:
            tif = "IOC" if order.flags & OrderFlag.IMMEDIATE else "GTC"
            params |= {"type": "LIMIT", "timeInForce": tif, "price": item.price_text(order.price)}
        tree = await rest.send(CREATE, params)
        return str(tree.get("orderId", "")) if isinstance(tree, dict) else ""

    def refusal(self, denied: Denied) -> Reason | None:
        """By code and the words of the filter."""
        if denied.code == REFUSED and "Duplicate" in denied.text:
            return None
        if denied.code == REFUSED and "immediately match" in denied.text:
            return Reason.WOULD_CROSS
        if denied.code == REFUSED and "insufficient balance" in denied.text:
            return Reason.CASH
        return FILTER_REASONS.get(denied.text.removeprefix("Filter failure: "), Reason.VENUE_REJECT)

    async def cancel(self, rest: Rest, k: int, client_id: str) -> None:
        """By our id."""
        await rest.send(CANCEL, {"symbol": self.listed[k].name, "origClientOrderId": client_id})

    async def order(self, rest: Rest, k: int, *, client_id: str = "", venue_id: str = "") -> Report | None:
        """GET order."""
        name = {"orderId": venue_id} if venue_id else {"origClientOrderId": client_id}
        try:
            tree = await rest.query(ORDER, {"symbol": self.listed[k].name} | name)
        except Denied as denied:
            if denied.code in MISSING:
                return None
            raise
        return report(self.listed[k], k, tree)

    async def orders(self, rest: Rest, k: int, *, since_ms: int | None = None) -> list[Report]:
        """openOrders or allOrders, page by page."""
        params: dict[str, Any] = {"symbol": self.listed[k].name}
        if since_ms is None:
            return [report(self.listed[k], k, each) for each in await rest.query(OPEN_ORDERS, params)]
        found = page = await rest.query(ALL_ORDERS, params | {"startTime": since_ms, "limit": PAGE})
        while len(page) == PAGE:
            page = await rest.query(ALL_ORDERS, params | {"orderId": int(page[-1]["orderId"]) + 1, "limit": PAGE})
            found = found + page
        return [report(self.listed[k], k, each) for each in found]

    async def executions(self, rest: Rest, k: int, *, venue_id: str = "", after: int = -1) -> list[Execution]:
        """myTrades, page by page; ids ascend."""
        params: dict[str, Any] = {"symbol": self.listed[k].name, "limit": PAGE}
        if venue_id:
            params |= {"orderId": venue_id}
        elif after >= 0:
            params |= {"fromId": after + 1}
        else:
            params |= {"limit": 1}
        found = page = await rest.query(MY_TRADES, params)
        while len(page) == params["limit"] and (venue_id or after >= 0):
            page = await rest.query(MY_TRADES, params | {"fromId": int(page[-1]["id"]) + 1})
            found = found + page
        return [execution(self.listed[k], k, each) for each in found]

    async def balances(self, rest: Rest) -> dict[str, int]:
        """Free and locked."""
        tree = await rest.query(ACCOUNT, {"omitZeroBalances": "true"})
        return {
            each["asset"]: whole_units(each["asset"], each["free"], UNIT)
            + whole_units(each["asset"], each["locked"], UNIT)
            for each in tree["balances"]
        }

    async def subscribe(self, api: Any, opened: Callable[[Any], None]) -> None:
        """User data on the WebSocket API, by signature."""
        opened(api.client(api.urls["api"]["ws"]["ws-api"]["spot"]))
        await api.authenticate({"type": "spot"})

    def reports(self, text: str | bytes) -> list[Report] | None:
        """Execution reports; balances are read from the account."""
        tree = json.loads(text)
        event = tree.get("event") if isinstance(tree, dict) else None
        if event is None:
            return None
        k = self._numbers.get(event.get("s", ""))
        if event.get("e") != "executionReport" or k is None:
            return []
        return [streamed(self.listed[k], k, event)]
