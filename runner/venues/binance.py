"""Binance spot: endpoints, fields and rules. Field names and filters follow its public REST and WebSocket API."""

import asyncio
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from core.errors import BadInput
from core.instruments import Instrument
from core.records import FeeAsset, OrderFlag, OrderState, Reason, Side
from runner.venues.filters import Filters, Reference
from runner.venues.outbound import Execution, Order, Report
from runner.venues.rest import Budget, Denied, Endpoint, Rest, VenueError
from runner.venues.tables import Listed, Rights, plain, whole_units

UNIT: Final = "0.00000001"  # balances and fees have eight places
WEIGHT, WEIGHT_PER_S = 6000 * 0.9, 100 * 0.9  # of 6000 a minute
PAGE: Final = 1000
PREFIX: Final = "pc-"
STATES: Final = {
    "NEW": OrderState.NEW,
    "PENDING_NEW": OrderState.NEW,
    "PARTIALLY_FILLED": OrderState.PARTIAL,
    "PENDING_CANCEL": OrderState.PARTIAL,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
    "REJECTED": OrderState.REJECTED,
}
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
        self._numbers: dict[str, int] = {}  # the venue's name -> index

    def budget(self) -> Budget:
        """Nine tenths of what the venue allows."""
        return Budget(WEIGHT, WEIGHT_PER_S)

    def client_id(self, digits: str) -> str:
        """At most 36 of letters, digits, - and _."""
        return PREFIX + digits

    def digits(self, client_id: str) -> str:
        """ "" for an id without our prefix."""
        return client_id.removeprefix(PREFIX) if client_id.startswith(PREFIX) else ""

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

    async def time_ms(self, rest: Rest) -> int:
        """serverTime."""
        return int((await rest.query(TIME))["serverTime"])

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
        return self._report(k, tree)

    async def orders(self, rest: Rest, k: int, *, since_ms: int | None = None) -> list[Report]:
        """openOrders or allOrders, page by page."""
        params: dict[str, Any] = {"symbol": self.listed[k].name}
        if since_ms is None:
            return [self._report(k, each) for each in await rest.query(OPEN_ORDERS, params)]
        found = page = await rest.query(ALL_ORDERS, params | {"startTime": since_ms, "limit": PAGE})
        while len(page) == PAGE:
            page = await rest.query(ALL_ORDERS, params | {"orderId": int(page[-1]["orderId"]) + 1, "limit": PAGE})
            found = found + page
        return [self._report(k, each) for each in found]

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
        return [self._execution(k, each) for each in found]

    async def balances(self, rest: Rest) -> dict[str, int]:
        """Free and locked."""
        tree = await rest.query(ACCOUNT, {"omitZeroBalances": "true"})
        return {
            each["asset"]: whole_units(each["asset"], each["free"], UNIT)
            + whole_units(each["asset"], each["locked"], UNIT)
            for each in tree["balances"]
        }

    async def subscribe(self, api: Any, on_text: Callable[[str | bytes], bool]) -> tuple[Any, Any]:
        """User data on the WebSocket API, by signature. Reports never reach ccxt, which would keep them."""
        client = api.client(api.urls["api"]["ws"]["ws-api"]["spot"])
        forward = client.handle_text_or_binary_message
        client.handle_text_or_binary_message = lambda text: None if on_text(text) else forward(text)
        lost = client.future("the connection's end")
        await api.authenticate({"type": "spot"})
        return client, lost

    def reports(self, text: str | bytes) -> list[Report] | None:
        """Execution reports; balances are read from the account."""
        tree = json.loads(text)
        event = tree.get("event") if isinstance(tree, dict) else None
        if event is None:
            return None
        k = self._numbers.get(event.get("s", ""))
        if event.get("e") != "executionReport" or k is None:
            return []
        return [self._streamed(k, event)]

    def _report(self, k: int, tree: Any) -> Report:
        """GET order, openOrders, allOrders."""
        item = self.listed[k]
        return Report(
            tree["clientOrderId"], str(tree["orderId"]), k, Side.BUY if tree["side"] == "BUY" else Side.SELL,
            item.price(tree["price"]), item.lots(tree["origQty"]), STATES[tree["status"]],
            item.lots(tree["executedQty"]), int(tree["updateTime"]) * 1_000_000,
        )  # fmt: skip

    def _execution(self, k: int, tree: Any) -> Execution:
        """myTrades."""
        side = Side.BUY if tree["isBuyer"] else Side.SELL
        names = ("id", "orderId", "price", "qty", "quoteQty", "commission", "commissionAsset", "time")
        return _execution(self.listed[k], k, side, *(tree[name] for name in names))

    def _streamed(self, k: int, event: Any) -> Report:
        """An executionReport. Of a cancelled order ``c`` is the cancel's id and ``C`` the order's."""
        item, side = self.listed[k], Side.BUY if event["S"] == "BUY" else Side.SELL
        execution = None
        if event["x"] == "TRADE":
            before = item.lots(event["z"]) - item.lots(event["l"])
            names = ("t", "i", "L", "l", "Y", "n", "N", "T")
            execution = _execution(item, k, side, *(event[name] for name in names), before=before)
        return Report(
            event["C"] or event["c"], str(event["i"]), k, side, item.price(event["p"]), item.lots(event["q"]),
            STATES[event["X"]], item.lots(event["z"]), int(event["T"]) * 1_000_000, execution,
        )  # fmt: skip


def _execution(
    item: Listed, k: int, side: int, exec_id: int, venue_id: int, price: str, qty: str, value: str, fee: str,
    fee_asset: str, time_ms: int, *, before: int = -1,
) -> Execution:  # fmt: skip
    base, quote = item.instrument.base, item.instrument.quote
    sign = 1 if side == Side.BUY else -1
    moves = {base: sign * item.units(base, qty), quote: -sign * item.units(quote, value)}
    fee_units = whole_units(fee_asset, fee, UNIT)
    moves[fee_asset] = moves.get(fee_asset, 0) - fee_units
    asset = {quote: FeeAsset.QUOTE, base: FeeAsset.BASE}.get(fee_asset, 0)
    return Execution(
        int(exec_id), str(venue_id), k, side, item.price(price), item.lots(qty), fee_units, int(asset),
        int(time_ms) * 1_000_000, moves, before,
    )  # fmt: skip


def listed(symbol: Any, fees: Any) -> Listed:
    """An entry of exchangeInfo with the account's fees. Raises BadInput for what is missing: nothing is assumed."""
    name, filters = symbol["symbol"], {each["filterType"]: each for each in symbol["filters"]}
    if fees is None or "makerCommission" not in fees or "takerCommission" not in fees:
        raise BadInput(f"{name}: binance names no fees for it; it is not traded")
    for kind, key in (("PRICE_FILTER", "tickSize"), ("LOT_SIZE", "stepSize")):
        if not Decimal(filters.get(kind, {}).get(key, "0")):
            raise BadInput(f"{name}: binance gives no {key}; it is not traded")
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    if notional is None:
        raise BadInput(f"{name}: binance gives no minimum notional; it is not traded")
    tick, lot = filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]
    instrument = Instrument(
        symbol=f"{symbol['baseAsset']}-{symbol['quoteAsset']}",
        base=symbol["baseAsset"],
        quote=symbol["quoteAsset"],
        tick=plain(Decimal(tick)),
        lot=plain(Decimal(lot)),
        quote_unit=UNIT,
        base_unit=UNIT,
        min_qty=plain(Decimal(filters["LOT_SIZE"]["minQty"])),
        min_notional=plain(Decimal(notional["minNotional"])),
        maker_fee_ppm=_ppm(fees["makerCommission"]),
        taker_fee_ppm=_ppm(fees["takerCommission"]),
        fee_asset="received",
        venue="binance",
    )
    return Listed(name, instrument, _filters(symbol, filters, notional, Fraction(tick), Fraction(lot)))


def _filters(symbol: Any, filters: Any, notional: Any, tick: Fraction, lot: Fraction) -> Filters:
    price, lots = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    market = filters.get("MARKET_LOT_SIZE", {"minQty": "0", "maxQty": lots["maxQty"], "stepSize": "0"})
    both = filters.get("PERCENT_PRICE", {"multiplierDown": "0", "multiplierUp": "1000000"})
    band = filters.get("PERCENT_PRICE_BY_SIDE") or {
        f"{side}Multiplier{end}": both[f"multiplier{end}"] for side in ("bid", "ask") for end in ("Down", "Up")
    }
    return Filters(
        trading=symbol["status"] == "TRADING",
        price_min=-(-Fraction(price["minPrice"]) // tick),
        price_max=Fraction(price["maxPrice"]) // tick or 10**15,
        lots_min=max(1, -(-Fraction(lots["minQty"]) // lot)),
        lots_max=Fraction(lots["maxQty"]) // lot,
        market_lots_min=-(-Fraction(market["minQty"]) // lot),
        market_lots_max=Fraction(market["maxQty"]) // lot,
        market_lots_step=max(1, -(-Fraction(market["stepSize"]) // lot)),
        notional_min=Fraction(notional["minNotional"]),
        notional_max=Fraction(notional.get("maxNotional", "0")),
        notional_min_at_market=bool(notional.get("applyMinToMarket", notional.get("applyToMarket", True))),
        notional_max_at_market=bool(notional.get("applyMaxToMarket", True)),
        buy_band=(Fraction(band["bidMultiplierDown"]), Fraction(band["bidMultiplierUp"])),
        sell_band=(Fraction(band["askMultiplierDown"]), Fraction(band["askMultiplierUp"])),
        orders_max=int(filters.get("MAX_NUM_ORDERS", {"maxNumOrders": 200})["maxNumOrders"]),
        lot_value=tick * lot,
    )


def _ppm(rate: str) -> int:
    return -(-Fraction(str(rate)) * 1_000_000 // 1)
