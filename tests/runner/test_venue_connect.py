"""What the adapter asks before it trades, and what it refuses: keys, strange orders, tables, accounts."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.errors import BadConfig, BadInput, Refused
from core.records import INTENT, OrderState, Reason, Side
from core.settings import parse
from runner.venues.ccxt_venue import CcxtVenue
from runner.venues.profiles import PROFILES, Ids, Profile
from runner.venues.protocol import Venue
from runner.venues.settings import VenueSettings
from tests.doubles.book import BUY, SELL
from tests.doubles.orders import NewOrder
from tests.doubles.virtual import virtually
from tests.doubles.wire import Key
from tests.runner.venue_world import SYMBOL, TICKS, World, play, world


def run(script: Callable[[World], Awaitable[None]], **settings: Any) -> None:
    """Without connecting, and without the end's checks."""

    async def inside(now_ns: Callable[[], int]) -> None:
        async with world(now_ns, **settings) as made:
            await script(made)

    virtually(inside)


def with_key(made: World, *rights: str) -> None:
    key = Key("another", "secret", rights=frozenset(rights))
    made.double.keys[key.api] = key
    made.venue = made.adapter(key=key)


def test_a_key_that_can_withdraw_is_refused() -> None:
    async def script(made: World) -> None:
        with_key(made, "read", "trade", "withdraw")
        with pytest.raises(Refused, match="may withdraw"):
            await made.venue.connect()
        await made.venue.close()

    run(script)


def test_a_key_that_reads_never_sends() -> None:
    async def script(made: World) -> None:
        with_key(made, "read")
        await made.venue.connect()
        order = made.intend(Side.BUY, 49_000 * TICKS, 1000)
        for call in (lambda: made.submit(order), lambda: made.cancel(order)):
            with pytest.raises(Refused, match="may read only"):
                call()
        with pytest.raises(Refused, match="may read only"):
            await made.venue.cancel_all()
        await asyncio.sleep(1)
        assert not {"create", "cancel", "cancel_all"} & {kind for kind, _ in made.double.asked}
        assert (await made.venue.account()).balances == {"BTC": 10**8, "USDT": 10**14}

    run(script)


def test_orders_of_someone_else_refuse_the_start() -> None:
    async def script(made: World) -> None:
        made.exchange.submit("main", NewOrder(SYMBOL, BUY, 1000, 49_000 * TICKS, "theirs"))
        with pytest.raises(Refused, match="theirs"):
            await made.venue.connect()

    run(script)


def test_orders_of_someone_else_later_stop_new_exposure() -> None:
    async def script(made: World) -> None:
        await made.venue.connect()
        made.exchange.submit("main", NewOrder(SYMBOL, BUY, 1000, 49_000 * TICKS, "theirs"))
        made.exchange.set_book(SYMBOL, {}, {})
        made.exchange.trade(SYMBOL, SELL, 49_000 * TICKS, 100)
        await asyncio.sleep(1)
        assert not made.venue.health.may_trade
        order = made.buy(48_000 * TICKS)
        exit_ = made.sell()
        await asyncio.sleep(1)
        made.drain()
        assert made.states(order) == [(OrderState.REJECTED, Reason.CIRCUIT_OPEN)]
        assert made.states(exit_) == [(OrderState.NEW, Reason.NONE)]  # a reduction is tried all the same
        assert {finding.kind for finding in made.findings} == {"foreign order", "foreign fill"}

    run(script)


def test_an_order_of_this_run_that_nobody_knows_is_cancelled() -> None:
    async def script(made: World) -> None:
        await made.venue.connect()
        client_id = made.venue.ids.of(77, b"lost")
        made.exchange.submit("main", NewOrder(SYMBOL, BUY, 1000, 49_000 * TICKS, client_id))
        await asyncio.sleep(1)
        made.drain()
        assert [finding.kind for finding in made.findings] == ["orphan"]
        assert made.exchange.by_client_id("main", client_id).status == "canceled"
        assert made.venue.health.may_trade

    run(script)


def test_a_balance_that_nothing_explains_is_found_once() -> None:
    async def script(made: World) -> None:
        await made.venue.connect()
        await asyncio.sleep(1)
        made.exchange.deposit("main", "USDT", 500)
        await asyncio.sleep(60)
        made.drain()
        assert [(each.kind, each.subject, each.actual - each.expected) for each in made.findings] == [
            ("balance", "USDT", 500)
        ]

    run(script)


def test_instruments_are_the_venues_and_nothing_is_assumed() -> None:
    async def script(made: World) -> None:
        await made.venue.connect()
        (found,) = await made.venue.instruments()
        assert (found.symbol, found.tick, found.lot, found.min_qty, found.min_notional) == (
            "BTC-USDT", "0.01", "0.00001", "0.00001", "5",
        )  # fmt: skip
        assert (found.maker_fee_ppm, found.taker_fee_ppm, found.fee_asset) == (1000, 1000, "received")

    run(script)


@pytest.mark.parametrize(("missing", "named"), [("fees", "no fees"), ("tick", "tickSize"), ("notional", "notional")])
def test_a_missing_fee_or_grid_fails_closed(missing: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(made: World) -> None:
        routes = made.double.routes
        for (method, path), found in list(routes.items()):
            if path == "/sapi/v1/asset/tradeFee" and missing == "fees":
                monkeypatch.setitem(routes, (method, path), replace(found, handler=lambda key, params: []))
            if path == "/api/v3/exchangeInfo" and missing != "fees":
                monkeypatch.setitem(routes, (method, path), replace(found, handler=without(found.handler, missing)))
        with pytest.raises(BadInput, match=named):
            await made.venue.connect()

    run(script)


def without(handler: Any, missing: str) -> Any:
    def answer(key: Any, params: Any) -> Any:
        tree = handler(key, params)
        kind = {"tick": "PRICE_FILTER", "notional": "NOTIONAL"}[missing]
        for symbol in tree["symbols"]:
            symbol["filters"] = [each for each in symbol["filters"] if each["filterType"] != kind]
        return tree

    return answer


def test_a_table_that_is_too_old_sends_nothing() -> None:
    async def script(made: World) -> None:
        await made.venue.connect()
        made.venue._table._loaded_s -= 25 * 3600
        with pytest.raises(Refused, match="older than 24 h"):
            await made.venue.instruments()
        order = made.sell()
        await asyncio.sleep(1)
        made.drain()
        assert made.states(order) == [(OrderState.REJECTED, Reason.STALE)]

    run(script)


def test_a_kill_switch_cancels_everything() -> None:
    async def script(made: World) -> None:
        for k in range(5):
            made.buy((49_000 - k) * TICKS)
        await asyncio.sleep(1)
        made.double.plan.next("lost_ack", "cancel")
        await made.venue.cancel_all()
        assert made.exchange.open_orders("main") == []

    play(script)


def test_the_account_is_what_the_venue_says() -> None:
    async def script(made: World) -> None:
        made.buy(50_001 * TICKS, 10)
        made.buy()
        await asyncio.sleep(1)
        found = await made.venue.account()
        assert [(each.side, each.price, each.remaining) for each in found.open_orders] == [(1, 4_900_000, 1000)]
        assert found.balances["BTC"] == 10**8 + 10_000 - 10
        assert len(found.executions) == 1

    play(script)


def test_client_order_ids_are_the_same_for_the_same_journal_and_fit_the_venue() -> None:
    profile, intent = PROFILES["binance"](), np.zeros(1, INTENT).tobytes()
    one, other = Ids("one", profile), Ids("other", profile)
    made = {one.of(seq, intent) for seq in range(1000)}
    assert len(made) == 1000
    assert one.of(7, intent) in made
    assert one.of(7, intent) == Ids("one", PROFILES["binance"]()).of(7, intent) != other.of(7, intent)
    assert all(one.is_own(each) and not other.is_own(each) and len(each) <= 36 for each in made)
    assert not one.is_own("web_12345")


def test_settings_name_the_key() -> None:
    with pytest.raises(BadConfig, match="accept_ms"):
        parse(VenueSettings, {"venue": "binance", "symbols": [SYMBOL], "accept_ms": 70_000}, where="test")
    with pytest.raises(BadConfig, match="wait_first_ms"):
        parse(VenueSettings, {"venue": "binance", "symbols": [SYMBOL], "wait_first_ms": 60_000}, where="test")


@pytest.mark.parametrize(("contract", "made"), [(Venue, CcxtVenue), (Profile, PROFILES["binance"])])
def test_the_contract_is_kept(contract: type, made: type) -> None:
    names = [name for name, item in vars(contract).items() if inspect.isfunction(item) and not name.startswith("_")]
    assert len(names) >= 8
    for name in names:
        theirs, ours = (inspect.signature(getattr(each, name)).parameters for each in (contract, made))
        assert list(theirs) == list(ours), name
