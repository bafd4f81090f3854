"""The laws of the doubles' engine: nobody pays for what he did not get, and nothing comes from nowhere."""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles.accounts import Accounts
from tests.doubles.book import BUY, SELL
from tests.doubles.clock import Clock
from tests.doubles.exchange import Exchange
from tests.doubles.orders import Event, Market, NewOrder, Order, OrderEvent, Reject, Rules, TradeEvent

SYMBOL = "BTC/USD"
RULES = [
    Rules(maker_ppm=700, taker_ppm=1300),
    Rules(maker_ppm=2500, taker_ppm=4000, fee_in="quote", late_stop="triggered", self_trade="oldest"),
    Rules(maker_ppm=0, taker_ppm=6000, fee_in="quote", repeated_id="first order returned"),
]


def venue(rules: Rules = RULES[0], **changes: Any) -> Exchange:
    values = {"tick": Decimal("0.1"), "step": Decimal("0.001"), "quote_decimals": 3} | changes
    exchange = Exchange(Clock(), [Market(SYMBOL, **values)], rules)
    for account in ("ann", "bob"):
        exchange.deposit(account, "BTC", 2 * 10**8)
        exchange.deposit(account, "USD", 500_000)
    exchange.set_book(SYMBOL, {998: 50, 999: 30}, {1001: 40, 1002: 60})
    return exchange


def order(side: int, lots: int, price: int | None = None, **more: Any) -> NewOrder:
    return NewOrder(SYMBOL, side, lots, price, **more)


PRICES = st.integers(990, 1010)
LOTS = st.integers(1, 90)
SIDES = st.sampled_from((BUY, SELL))
ACTIONS = st.one_of(
    st.tuples(st.just("level"), SIDES, PRICES, st.integers(0, 90)),
    st.tuples(st.just("trade"), SIDES, PRICES, LOTS),
    st.tuples(
        st.just("order"),
        st.sampled_from(("ann", "bob")),
        st.builds(
            NewOrder,
            symbol=st.just(SYMBOL),
            side=SIDES,
            lots=LOTS,
            price=st.one_of(st.none(), PRICES),
            tif=st.sampled_from(("gtc", "ioc", "fok")),
            post_only=st.booleans(),
            stop=st.one_of(st.none(), st.none(), PRICES),
            is_take_profit=st.booleans(),
            client_id=st.sampled_from(("", "", "x", "y")),
        ),
    ),
    st.tuples(st.just("budget"), st.sampled_from(("ann", "bob")), st.integers(1, 20_000)),
    st.tuples(st.just("cancel"), st.sampled_from(("ann", "bob")), st.integers(0, 5)),
    st.tuples(st.just("reduce"), st.sampled_from(("ann", "bob")), st.integers(0, 5), LOTS),
)


def act(exchange: Exchange, action: tuple[Any, ...]) -> None:
    kind, *rest = action
    if kind == "level":
        exchange.set_level(SYMBOL, *rest)
    elif kind == "trade":
        exchange.trade(SYMBOL, *rest)
    elif kind == "order":
        exchange.submit(*rest)
    elif kind == "budget":
        exchange.submit(rest[0], NewOrder(SYMBOL, BUY, 0, budget=rest[1]))
    else:
        mine = exchange.open_orders(rest[0])
        if mine and kind == "cancel":
            exchange.cancel(rest[0], mine[rest[1] % len(mine)].id)
        elif mine:
            exchange.reduce(rest[0], mine[rest[1] % len(mine)].id, rest[2])


@settings(max_examples=150)
@given(st.sampled_from(RULES), st.lists(ACTIONS, max_size=40))
def test_no_course_of_actions_breaks_a_law(rules: Rules, actions: list[tuple[Any, ...]]) -> None:
    exchange = venue(rules)
    events: list[Event] = []
    exchange.listeners.append(events.append)
    for action in actions:
        exchange.clock.advance(1)
        before = {**exchange.accounts.free}, {**exchange.accounts.locked}, len(exchange.orders), len(events)
        try:
            act(exchange, action)
        except Reject:
            after = {**exchange.accounts.free}, {**exchange.accounts.locked}, len(exchange.orders), len(events)
            assert before == after, "a refused request changed something"
        exchange.check()
        for event in events[before[-1] :]:
            assert not isinstance(event, OrderEvent) or event.order.updated_ns == exchange.clock.now_ns()
    for order in exchange.orders.values():
        check_order(order, rules)
    for trade in exchange.trades[SYMBOL]:
        sides = [fill.order for fill in exchange.fills if fill.id == trade.id]
        assert len({each.account for each in sides}) == len(sides), "an account traded with itself"
    for account in ("ann", "bob"):
        check_balances(exchange, account)


def check_order(order: Order, rules: Rules) -> None:
    """What holds of each order by itself, reckoned anew from its fills."""
    limit, fills, market = order.new.price, order.fills, order.market
    assert all(limit is None or (limit - fill.price) * order.side >= 0 for fill in fills), "a fill beyond the limit"
    rested = order.new.post_only and limit is not None and order.new.stop is None
    assert not rested or all(fill.is_maker for fill in fills), "a post-only order took"
    assert order.new.tif != "fok" or order.filled in (0, order.lots) or order.reason == "self trade"
    exact = sum((fill.price * fill.lots * market.value for fill in fills), Fraction(0))
    assert order.cost == sum(fill.cost for fill in fills) == (ceil(exact) if order.is_buy else floor(exact))
    in_quote = 0
    for fill in fills:
        is_base = order.is_buy and rules.fee_in == "received"
        charged = fill.lots * market.base_units if is_base else fill.cost
        ppm = rules.maker_ppm if fill.is_maker else rules.taker_ppm
        assert (fill.fee, fill.fee_asset) == (charged * ppm // 10**6, market.base if is_base else market.quote)
        in_quote += 0 if is_base else fill.fee
    assert not order.new.budget or order.cost + in_quote <= order.new.budget


def check_balances(exchange: Exchange, account: str) -> None:
    """What an account has is what it had, and its fills."""
    has = {"BTC": 2 * 10**8, "USD": 500_000}
    for fill in exchange.fills:
        if fill.order.account == account:
            has["BTC"] += fill.order.side * fill.lots * fill.order.market.base_units
            has["USD"] -= fill.order.side * fill.cost
            has[fill.fee_asset] -= fill.fee
    assert {asset: sum(exchange.balance(account, asset)) for asset in has} == has


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(995, 998), LOTS), min_size=1, max_size=8), st.integers(1, 400))
def test_price_then_time_decide_who_trades(bids: list[tuple[int, int]], lots: int) -> None:
    exchange = venue()
    exchange.set_book(SYMBOL, {}, {})
    placed = [exchange.submit(("ann", "bob")[i % 2], order(BUY, size, price)) for i, (price, size) in enumerate(bids)]
    exchange.trade(SYMBOL, SELL, 990, lots)
    for each in sorted(placed, key=lambda item: (-(item.new.price or 0), item.id)):
        expected = min(each.lots, lots)
        assert each.filled == expected
        lots -= expected


def test_the_outside_market_ahead_trades_first_and_its_cancels_do_not_help() -> None:
    exchange = venue()
    mine = exchange.submit("ann", order(BUY, 10, 999))
    exchange.set_level(SYMBOL, BUY, 999, 45)  # 15 more, behind
    exchange.set_level(SYMBOL, BUY, 999, 30)  # and gone: from behind
    assert exchange.trade(SYMBOL, SELL, 999, 30) == 30
    assert mine.filled == 0
    assert exchange.trade(SYMBOL, SELL, 999, 6) == 6
    assert (mine.filled, mine.status) == (6, "open")
    exchange.set_level(SYMBOL, SELL, 997, 100)  # crosses what is left, and its own other side yields
    assert mine.status == "filled"
    assert mine.fills[-1].price == 999
    assert exchange.books[SYMBOL].best(SELL) == 997
    assert exchange.books[SYMBOL].best(BUY) is None
    exchange.check()


def test_a_taker_pays_level_by_level_and_the_fee_in_what_it_receives() -> None:
    exchange = venue()
    done = exchange.submit("ann", order(BUY, 50, 1002))
    assert [(fill.price, fill.lots, fill.cost) for fill in done.fills] == [(1001, 40, 4004), (1002, 10, 1002)]
    assert exchange.balance("ann", "USD") == (500_000 - 5006, 0)
    assert exchange.balance("ann", "BTC") == (2 * 10**8 + 50 * 10**5 - 5200 - 1300, 0)


def test_a_stop_waits_with_its_funds_locked_and_triggers_on_the_last_price() -> None:
    exchange = venue()
    exchange.trade(SYMBOL, BUY, 1001, 1)
    stop = exchange.submit("ann", order(SELL, 20, 990, stop=998))
    assert stop.status == "pending"
    assert exchange.balance("ann", "BTC")[1] == 20 * 10**5
    exchange.trade(SYMBOL, SELL, 999, 30)
    assert stop.status == "pending"
    exchange.trade(SYMBOL, SELL, 998, 1)
    assert (stop.status, stop.fills[0].price) == ("filled", 998)
    with pytest.raises(Reject, match="stop"):
        exchange.submit("ann", order(SELL, 20, stop=999))


@pytest.mark.parametrize(
    ("side", "is_take_profit", "stop", "triggering"),
    [(SELL, False, 998, 998), (SELL, True, 1003, 1003), (BUY, False, 1003, 1003), (BUY, True, 998, 998)],
)
def test_stops_trigger_from_the_side_they_are_for(side: int, is_take_profit: bool, stop: int, triggering: int) -> None:
    exchange = venue()
    exchange.trade(SYMBOL, BUY, 1001, 1)
    waiting = exchange.submit("ann", order(side, 1, 1000, stop=stop, is_take_profit=is_take_profit))
    exchange.trade(SYMBOL, SELL, 999, 1)
    assert waiting.status == "pending"
    exchange.set_book(SYMBOL, {998: 50, 997: 50}, {1003: 50})
    exchange.trade(SYMBOL, BUY if triggering > 1000 else SELL, triggering, 1)
    assert waiting.status != "pending"


@pytest.mark.parametrize("rules", RULES)
def test_a_budget_is_spent_to_less_than_another_lot_and_never_exceeded(rules: Rules) -> None:
    exchange = venue(rules)
    with pytest.raises(Reject, match=r"^funds:"):
        exchange.submit("ann", NewOrder(SYMBOL, BUY, 0, budget=500_001))
    spent = exchange.submit("ann", NewOrder(SYMBOL, BUY, 0, budget=7000))
    after = spent.cost + sum(fill.fee for fill in spent.fills if fill.fee_asset == "USD")
    assert spent.status == "filled"
    assert 7000 - 102 < after <= 7000


def test_an_accounts_own_orders_never_meet() -> None:
    for rules, gone in ((RULES[0], 1), (RULES[1], 0)):
        exchange = venue(rules)
        both = [exchange.submit("ann", order(SELL, 5, 1000)), exchange.submit("ann", order(BUY, 5, 1000))]
        assert (both[gone].status, both[gone].reason) == ("expired", "self trade")
        assert both[1 - gone].status == "open"


def test_money_that_is_not_there_cannot_be_paid() -> None:
    accounts = Accounts()
    accounts.issue("ann", "USD", 5)
    with pytest.raises(AssertionError, match="ann lacks USD"):
        accounts.pay("ann", "USD", 6)
    accounts.free["ann", "USD"] += 1
    with pytest.raises(AssertionError, match="differ"):
        accounts.check()


def test_refusals_name_their_filter() -> None:
    exchange = venue(notional_min=Decimal(1), band_ppm=50_000, orders_max=1, lots_max=5000)
    exchange.trade(SYMBOL, BUY, 1001, 1)
    cases = {
        "lots": order(BUY, 5001, 999),
        "notional": order(BUY, 9, 999),
        "band": order(BUY, 20, 900),
        "post_only": order(BUY, 20, 1001, post_only=True),
        "funds": order(BUY, 4999, 1001),
        "unknown_symbol": NewOrder("ETH/USD", BUY, 1),
    }
    for code, new in cases.items():
        with pytest.raises(Reject, match=f"^{code}:"):
            exchange.submit("ann", new)
    exchange.submit("ann", order(BUY, 20, 999, client_id="a"))
    with pytest.raises(Reject, match=r"^duplicate:"):
        exchange.submit("ann", order(BUY, 20, 999, client_id="a"))
    with pytest.raises(Reject, match=r"^max_orders:"):
        exchange.submit("ann", order(BUY, 20, 999, client_id="b"))
    for text, code in (("100.05", "tick"), ("NaN", "tick")):
        with pytest.raises(Reject, match=code):
            exchange.markets[SYMBOL].ticks(text)
    exchange.delist(SYMBOL)
    assert not exchange.open_orders("ann")
    with pytest.raises(Reject, match=r"^unknown_symbol:"):
        exchange.submit("ann", order(BUY, 20, 999))


def test_a_repeated_client_id_returns_the_first_order_where_the_venue_does_so() -> None:
    exchange = venue(RULES[2])
    first = exchange.submit("ann", order(BUY, 20, 999, client_id="a"))
    assert exchange.submit("ann", order(BUY, 90, 990, client_id="a")) is first
    assert exchange.submit("bob", order(BUY, 90, 990, client_id="a")) is not first


def test_cancel_after_fires_once_unless_it_is_renewed() -> None:
    exchange = venue()
    mine, other = exchange.submit("ann", order(BUY, 20, 999)), exchange.submit("bob", order(BUY, 20, 999))
    exchange.cancel_after("ann", 60)
    exchange.clock.advance(59)
    exchange.cancel_after("ann", 60)
    exchange.clock.advance(59)
    assert mine.is_open
    exchange.clock.advance(1)
    assert (mine.status, mine.reason, other.status) == ("canceled", "cancel after", "open")
    again = exchange.submit("ann", order(BUY, 20, 999))
    exchange.cancel_after("ann", 60)
    exchange.cancel_after("ann", 0)
    exchange.clock.advance(1000)
    assert again.is_open


def test_a_smaller_order_keeps_its_place() -> None:
    exchange = venue()
    exchange.set_book(SYMBOL, {}, {})
    first, second = exchange.submit("ann", order(BUY, 20, 999)), exchange.submit("bob", order(BUY, 20, 999))
    exchange.reduce("ann", first.id, 5)
    exchange.trade(SYMBOL, SELL, 999, 6)
    assert (first.status, second.filled) == ("filled", 1)
    with pytest.raises(Reject, match="amend"):
        exchange.reduce("bob", second.id, 30)


def test_events_tell_a_listener_all_it_needs_to_know() -> None:
    exchange = venue()
    events: list[Event] = []
    exchange.listeners.append(events.append)
    exchange.submit("ann", order(BUY, 50, 1001))
    told = [event.kind if isinstance(event, OrderEvent) else type(event).__name__ for event in events]
    assert told == ["new", "trade", "TradeEvent", "BalanceEvent", "BookEvent"]
    assert [event.lots for event in events if isinstance(event, TradeEvent)] == [40]
    assert events[-1].levels == {(BUY, 1001): 10, (SELL, 1001): 0}  # type: ignore[union-attr]
