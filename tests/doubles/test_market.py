"""The doubles' markets: a walk that repeats, and recorded books and trades with an order among them."""

import gzip
import json
from decimal import Decimal
from itertools import islice
from typing import Any

from tests.core.recorded import SHARED, needs
from tests.doubles.book import BUY, SELL
from tests.doubles.clock import Clock
from tests.doubles.exchange import Exchange
from tests.doubles.market import Walk, replay
from tests.doubles.orders import Market, NewOrder
from tests.doubles.venues import build

RECORDING = SHARED / "market-data/lob/binance-ws/spot-btcusdt-20240808.gz"
LINES = 2500
MARKET = Market("BTC/USDT", Decimal("0.01"), Decimal("0.00000001"), quote_decimals=10)


def recording() -> list[bytes]:
    """Its first lines."""
    with gzip.open(RECORDING) as file:
        return list(islice(file, LINES))


def test_a_walk_repeats_trades_and_keeps_the_laws() -> None:
    def walked(seed: int) -> list[Any]:
        double = build("binance")
        Walk(double, "BTC/USDT", seed).start()
        for _ in range(200):
            double.clock.advance(0.25)
        double.verify()
        return [double.exchange.books["BTC/USDT"].depth(BUY), double.exchange.trades["BTC/USDT"]]

    first, again, other = walked(1), walked(1), walked(2)
    assert [each.price for each in first[1]] == [each.price for each in again[1]] != [each.price for each in other[1]]
    assert first[0] == again[0]
    assert len(first[1]) > 100


def recorded_book(lines: list[bytes]) -> dict[str, dict[str, str]]:
    """The book at the end of a recording, by the venue's own rule."""
    book: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    at = 0
    for line in lines:
        tree = json.loads(line.partition(b" ")[2])
        data = tree.get("data", tree)
        if "lastUpdateId" in data:
            at, book = data["lastUpdateId"], {"b": dict(data["bids"]), "a": dict(data["asks"])}
        elif at and data.get("e") == "depthUpdate" and data["u"] > at:
            for side in ("b", "a"):
                book[side] |= dict(data[side])
    return book


@needs(RECORDING)
def test_a_recorded_book_is_the_doubles() -> None:
    lines, exchange = recording(), Exchange(Clock(), [MARKET])
    assert replay(exchange, "BTC/USDT", lines) > 500
    for side, name in ((BUY, "b"), (SELL, "a")):
        true = {MARKET.ticks(p): MARKET.lots(q) for p, q in recorded_book(lines)[name].items() if Decimal(q)}
        assert dict(exchange.books["BTC/USDT"].depth(side)) == true
    exchange.check()


@needs(RECORDING)
def test_an_order_in_a_recorded_book_trades_when_its_turn_has_come() -> None:
    exchange = Exchange(Clock(), [MARKET])
    exchange.deposit("main", "USDT", 10**16)
    lines = recording()
    start = next(at for at, line in enumerate(lines) if b"lastUpdateId" in line)
    replay(exchange, "BTC/USDT", lines[: start + 1])
    best = exchange.books["BTC/USDT"].best(BUY)
    assert best is not None
    order = exchange.submit("main", NewOrder("BTC/USDT", BUY, 1_000_000, best))
    reached = sold = 0
    for line in lines[start + 1 :]:
        data = json.loads(line.partition(b" ")[2]).get("data", {})
        before = order.filled
        replay(exchange, "BTC/USDT", [line], at=1)
        is_sale = data.get("e") == "trade" and data["m"] and MARKET.ticks(data["p"]) <= best
        sold += MARKET.lots(data["q"]) if is_sale else 0
        reached += MARKET.lots(data["q"]) if is_sale and MARKET.ticks(data["p"]) < best else 0
        assert order.filled == before or is_sale or data.get("e") == "depthUpdate"
        assert order.filled <= sold or data.get("e") == "depthUpdate"
        assert order.status == "filled" or reached < order.lots, "others sold for less than we bid"
    assert order.status == "filled"
    exchange.check()
