"""Laws of the ledger under arbitrary facts, and what splitting a quantity into fills may change (ORD-06, LEDG-05, 07).

**The rounding rule.** Every fill is rounded once, against us: a buy's cost up, a sale's proceeds down, a fee up. So a
quantity in n fills at one price gives exactly the same position. Its amounts leave us at most n - 1 units of cash worse
off than one fill, never better, and not at all where tick x lot is a whole number of cash units. Its fees are at most n
units higher; a sale's may be a unit lower, as its proceeds are.
"""

import msgspec
import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.instruments import Instrument
from core.records import FeeAsset, Side, TransferCause
from runner.ledger import Ledger
from tests.runner.books import (
    BTC,
    ETH,
    RISK_LIMITS,
    Books,
    bar,
    fill,
    funding,
    order,
    order_end,
    session,
    trading,
    transfer,
)  # fmt: skip

ODD = Instrument(
    symbol="ODDUSDT", base="ODD", quote="USDT", tick="0.003", lot="0.7", base_unit="0.1", quote_unit="0.01"
)
FEE_PPM = 1_000


def cash_and_position(instrument: Instrument, side: int, price: int, parts: list[int]) -> tuple[int, int, int]:
    """(cash moved by amounts, cash moved by fees, base units) of a quantity that fills in ``parts``."""
    ledger = Ledger((instrument,), "USDT", 10**15)
    market = ledger.markets[0]
    records = [session()]
    for number, qty in enumerate(parts):
        fee = -(-market.notional(price, qty, up=side == Side.BUY) * FEE_PPM // 1_000_000)
        records.append(fill(side, price, qty, exec_id=number, fee=fee))
    ledger.transactions(0, np.concatenate(records))
    fees = ledger.balances.get(("fees", "USDT"), 0)
    return ledger.balances["holdings", "USDT"] - 10**15 + fees, -fees, ledger.balances["holdings", instrument.base]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([BTC, ODD]),
    st.sampled_from([Side.BUY, Side.SELL]),
    st.integers(1, 10**7),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=12),
)
@example(ODD, Side.BUY, 1, [1, 1, 1, 1])
@example(ODD, Side.SELL, 1, [1, 1, 1, 1])
def test_a_partition_costs_at_most_a_unit_a_fill_more(
    instrument: Instrument, side: int, price: int, parts: list[int]
) -> None:
    whole = cash_and_position(instrument, side, price, [sum(parts)])
    split = cash_and_position(instrument, side, price, parts)
    assert split[2] == whole[2]
    assert 0 <= whole[0] - split[0] <= len(parts) - 1
    assert (-1 if side == Side.SELL else 0) <= whole[1] - split[1] <= len(parts)
    exact = Ledger((instrument,), "USDT", 1).markets[0].grid["value_den"] == 1
    assert not exact or split[0] == whole[0]


def test_the_bound_is_reached() -> None:
    """Four fills of a lot worth 0.21 units each: 4 units instead of 1."""
    assert cash_and_position(ODD, Side.BUY, 1, [4])[0] == -1
    assert cash_and_position(ODD, Side.BUY, 1, [1, 1, 1, 1])[0] == -4


SIDES, MARKETS = st.sampled_from([Side.BUY, Side.SELL]), st.integers(0, 1)
EVENTS = st.one_of(
    st.tuples(st.just("fill"), SIDES, MARKETS, st.integers(1, 10**7), st.integers(1, 10**4), st.integers(-50, 5000)),
    st.tuples(st.just("again")),
    st.tuples(st.just("bar"), MARKETS, st.integers(1, 10**7)),
    st.tuples(st.just("transfer"), MARKETS, st.sampled_from(list(FeeAsset)), st.integers(1, 10**6)),
    st.tuples(st.just("withdraw"), MARKETS, st.sampled_from(list(FeeAsset)), st.integers(1, 10**6)),
    st.tuples(st.just("funding"), MARKETS, st.integers(1, 10**7), st.integers(-(10**6), 10**6)),
    st.tuples(st.just("order"), MARKETS, st.integers(1, 500)),
    st.tuples(st.just("part"), st.integers(0, 3), st.integers(1, 400)),
    st.tuples(st.just("cancel"), st.integers(0, 3)),
    st.tuples(st.just("restart")),
)


class Unwritten(Books):
    """Books whose rows are made and not stored."""

    def post(self, *parts: np.ndarray) -> None:
        new = np.concatenate(parts)
        self.ledger.transactions(self.count, new)
        self.count += len(new)


class Life:
    """An account that takes facts as they come, and a plain account of its pending orders beside it."""

    def __init__(self, books: type[Books] = Books) -> None:
        limits = msgspec.structs.replace(RISK_LIMITS, max_orders_per_hour=0)
        self.books = books(BTC, ETH, settings=msgspec.structs.replace(trading(), risk=limits))
        self.books.post(session(), bar(6_000_000), bar(300_000, instrument=1))
        self.last: np.ndarray | None = None  # the last fill of no order
        self.price = [6_000_000, 300_000]
        self.open: dict[int, list[int]] = {}  # order id -> instrument, price, lots left
        self.number = 0

    def next(self) -> int:
        self.number += 1
        return self.number

    def take(self, kind: str, *said: int) -> None:
        getattr(self, "on_" + kind)(*said)

    def on_fill(self, side: int, k: int, price: int, qty: int, fee: int) -> None:
        asset = FeeAsset.BASE if fee % 2 else FeeAsset.QUOTE
        self.price[k] = price
        self.last = fill(side, price, qty, order_id=10**6 + self.next(), exec_id=self.number, fee=fee, fee_asset=asset,
                         instrument=k)  # fmt: skip
        self.books.post(self.last)

    def on_again(self) -> None:
        if self.last is not None:
            self.books.post(self.last)

    def on_bar(self, k: int, close: int) -> None:
        self.price[k] = close
        self.books.post(bar(close, instrument=k))

    def on_transfer(self, k: int, asset: int, amount: int) -> None:
        self.books.post(transfer(amount, TransferCause.DEPOSIT, self.next(), asset, k))

    def on_withdraw(self, k: int, asset: int, amount: int) -> None:
        self.books.post(transfer(-amount, TransferCause.WITHDRAWAL, self.next(), asset, k))

    def on_funding(self, k: int, price: int, rate: int) -> None:
        self.books.post(funding(price, rate, k))

    def on_order(self, k: int, qty: int) -> None:
        """A buy, if the account is such that the rules of the database let it pass."""
        standing, market = self.books.ledger.standing, self.books.ledger.markets[k]
        equity = self.books.ledger.balances["holdings", "USDT"] + sum(self.values())
        worth = market.notional(self.price[k], qty, up=True)
        calm = abs(self.closes()[k][1] - self.closes()[k][0]) * 10 <= self.closes()[k][0] or not self.closes()[k][0]
        busy = sum(abs(value) for value in self.values()) + sum(lots[1] for lots in standing.sides.values())
        if worth < 500 or 3 * (worth + busy) > equity or standing.live[k] >= 8 or not calm:
            return
        if equity > 2 * self.books.ledger.balances["holdings", "USDT"] - 2 * standing.account_cost:
            return
        order_id = self.next()
        self.books.post(*order(order_id, Side.BUY, qty, self.price[k], instrument=k))
        self.open[order_id] = [k, self.price[k], qty]

    def on_part(self, which: int, qty: int) -> None:
        """A fill of an open order, at its price."""
        if which >= len(self.open):
            return
        order_id = list(self.open)[which]
        k, price, left = self.open[order_id]
        self.price[k] = price
        self.books.post(fill(Side.BUY, price, min(qty, left), order_id=order_id, exec_id=self.next(), instrument=k))
        self.open[order_id][2] -= min(qty, left)
        if self.open[order_id][2] == 0:
            del self.open[order_id]

    def on_cancel(self, which: int) -> None:
        if which < len(self.open):
            order_id = list(self.open)[which]
            self.books.post(order_end(order_id, instrument=self.open.pop(order_id)[0]))

    def on_restart(self) -> None:
        """The process is gone; a new ledger is made from the journal, compared with the database, and goes on."""
        self.books.ledger = self.books.verify()

    def closes(self) -> list[list[int]]:
        return self.books.ledger.standing.closes

    def values(self) -> list[int]:
        ledger = self.books.ledger
        return [
            market.value(ledger.standing.marks2[k], ledger.lots.units(k)) for k, market in enumerate(ledger.markets)
        ]

    def check(self) -> None:
        ledger = self.books.ledger
        for asset in ("USDT", "BTC", "ETH"):
            assert sum(units for (_, name), units in ledger.balances.items() if name == asset) == 0
        for k, market in enumerate(ledger.markets):
            assert ledger.lots.units(k) == ledger.balances.get(("holdings", market.base), 0)
            assert ledger.standing.marks2[k] == 2 * self.price[k]
            mine = [(price, lots) for index, price, lots in self.open.values() if index == k]
            assert ledger.standing.sides[k, Side.BUY] == [
                sum(lots for _, lots in mine),
                sum(market.notional(price, lots, up=True) for price, lots in mine),
            ]
            assert ledger.standing.live[k] == len(mine)
        equity = ledger.balances["holdings", "USDT"] + sum(self.values())
        earned = sum(ledger.lots.realised.values())
        unrealised = sum(self.values()) - sum(ledger.lots.cost(k) for k in range(2))
        assert equity - ledger.paid_in == earned + unrealised - ledger.balances.get(("funding", "USDT"), 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_any_facts_in_any_order_with_restarts(events: list[tuple]) -> None:
    """After each event: sums are zero, lots are holdings, pending is brute force, profit adds up; at the end all of
    it is found again from the journal."""
    life = Life()
    for event in events:
        life.take(*event)
        life.check()
    again = life.books.verify()
    assert (again.head(), again.balances, again.paid_in) == (
        life.books.ledger.head(), life.books.ledger.balances, life.books.ledger.paid_in,
    )  # fmt: skip


def test_ten_thousand_events_of_one_account() -> None:
    """One long life: the aggregates equal the brute-force recomputation after each event (LEDG-07)."""
    rng, life = np.random.default_rng(11), Life(Unwritten)
    for number in range(10_000):
        kind = ("order", "order", "part", "part", "cancel", "bar", "fill")[rng.integers(7)]
        k, price = int(rng.integers(2)), int(rng.integers(280_000, 320_000))
        price = price * 20 if k == 0 else price
        said = {
            "order": (k, int(rng.integers(1, 200))),
            "part": (int(rng.integers(4)), int(rng.integers(1, 400))),
            "cancel": (int(rng.integers(4)),),
            "bar": (k, price),
            "fill": (Side.SELL if number % 2 else Side.BUY, k, price, int(rng.integers(1, 50)), 10),
        }[kind]
        life.take(kind, *said)
        life.check()
    assert len(life.books.ledger.standing.known) > 1_000
