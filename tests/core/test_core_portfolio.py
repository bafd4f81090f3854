"""Cash, cost and what was earned, fill by fill, against fractions; every value rounded against us."""

from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import config as core_config
from core import engine, portfolio
from core.errors import BadInput, BrokenInvariant
from core.instruments import Instrument
from core.layout import FILL_SLOTS
from core.records import FILL, FeeAsset, Kind, Side
from tests.core.build import BTC, ETH, trading

# Cash in cents: a lot's value is a fraction of a unit. In USDT: whole units, and the largest numbers.
CENTS = tuple(Instrument(**{**item.as_json(), "quote_unit": "0.01"}) for item in (BTC, ETH))
MARKETS = (CENTS, (BTC, ETH))
PRICE = 1_000_000


class Holding:
    """One instrument's position in fractions."""

    def __init__(self, item: Instrument):
        self.lot_units = int(Fraction(item.lot) / Fraction(item.base_unit))
        self.worth = Fraction(item.tick) * Fraction(item.lot) / Fraction(item.quote_unit)  # of a lot at a tick
        self.units = self.cost = self.realised = self.mark2 = 0

    @property
    def value(self) -> int:
        return floor(Fraction(self.mark2, 2) * self.worth * self.units / self.lot_units)

    def change(self, moved: int, paid: int) -> None:
        """At average cost; what closes takes its share of the cost and of what is paid, both rounded up."""
        held, self.units = self.units, self.units + moved
        if held * moved < 0:
            closed = min(abs(held), abs(moved))
            closing, released = ceil(Fraction(paid * closed, abs(moved))), ceil(Fraction(self.cost * closed, abs(held)))
            self.realised -= closing + released
            self.cost += paid - closing - released
        else:
            self.cost += paid
        if self.units == 0:
            self.realised, self.cost = self.realised - self.cost, 0


class Account:
    """The core's account and the plain one."""

    def __init__(self, instruments: tuple[Instrument, ...]) -> None:
        row = core_config.build(trading(profile="margin"), instruments)
        self.config, self.state = row[0], engine.new_state(row)[0]
        self.cash = self.paid_in = int(self.state["account"]["cash"])
        self.holdings = [Holding(item) for item in instruments]

    def fill(self, k: int, side: int, price: int, qty: int, fee: int, asset: int, touch: tuple[int, int]) -> None:
        view, holding = self.state["positions"][k]["view"], self.holdings[k]
        view["bid"], view["ask"] = touch
        portfolio.book_fill(self.config, self.state, made(k, side, price, qty, fee, asset))
        sign = 1 if side == Side.BUY else -1
        exact, moved = price * qty * holding.worth, sign * qty * holding.lot_units
        paid = ceil(exact) if side == Side.BUY else -floor(exact)
        self.cash -= paid
        if asset == FeeAsset.BASE:
            moved -= fee
        else:
            self.cash -= fee
            holding.realised -= fee
        holding.change(moved, paid)
        holding.mark2 = sum(touch) if min(touch) > 0 else 2 * price
        self.compare()

    def mark(self, k: int, mark2: int) -> None:
        self.holdings[k].mark2 = mark2
        portfolio.mark(self.config, self.state, k, mark2)
        self.compare()

    def compare(self) -> None:
        account, values = self.state["account"], [holding.value for holding in self.holdings]
        for position, holding in zip(self.state["positions"], self.holdings, strict=False):
            told = [int(position[name]) for name in ("base_units", "cost", "realised", "value", "mark2", "price")]
            assert told[:4] == [holding.units, holding.cost, holding.realised, holding.value]
            assert told[4:] == [holding.mark2, holding.mark2 // 2]
            assert position["view"]["lots"] == int(Fraction(holding.units, holding.lot_units)), "whole lots, towards 0"
        assert account["cash"] == self.cash
        assert (account["holdings"], account["exposure"]) == (sum(values), sum(map(abs, values)))
        assert account["equity"] == self.cash + sum(values)
        balance = portfolio.balance(self.config, self.state)
        assert balance == self.cash + sum(holding.cost for holding in self.holdings)
        assert balance == self.paid_in + sum(holding.realised for holding in self.holdings), (
            "nothing comes from nowhere"
        )


def made(k: int, side: int, price: int, qty: int, fee: int = 0, asset: int = FeeAsset.QUOTE, exec_id: int = 1) -> Any:
    row = np.zeros(1, FILL)[0]
    row["kind"], row["instrument"], row["side"], row["flags"] = Kind.FILL, k, side, asset
    row["price"], row["qty"], row["fee"], row["exec_id"], row["order_id"] = price, qty, fee, exec_id, 1
    return row


FILLS = st.tuples(
    st.integers(0, 1),
    st.sampled_from([Side.BUY, Side.SELL]),
    st.sampled_from([1, 3, 999_983, PRICE]),
    st.sampled_from([1, 7, 10_000, 10_007, 123_457]),
    st.sampled_from([0, 1, -3, 999, 10_000_000]),
    st.sampled_from(list(FeeAsset)),
    st.sampled_from([(0, 0), (PRICE, PRICE + 1), (PRICE, 0), (0, PRICE), (1, 2), (1, 1)]),
)


@pytest.mark.parametrize("instruments", MARKETS, ids=["cents", "fine"])
@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(FILLS, st.tuples(st.integers(0, 1), st.integers(0, 3 * PRICE))), max_size=8))
def test_every_fill_moves_what_fractions_say(instruments: tuple[Instrument, ...], steps: list[tuple[Any, ...]]) -> None:
    account = Account(instruments)
    for step in steps:
        if len(step) == 2:
            account.mark(*step)
        else:
            account.fill(*step)


# (side, lots, fee in base): what one lot of 1,000 units moves with its fee, down to one unit and to nothing
MOVES = [(1, 1, 999), (1, 1, 1_000), (1, 1, 1_001), (1, 1, 0), (2, 1, 0), (2, 1, -999), (2, 1, -1_001)]


@pytest.mark.parametrize("first", MOVES)
def test_a_unit_held_or_moved_is_no_different(first: tuple[int, int, int]) -> None:
    for second in MOVES:
        account = Account(CENTS)
        for step, (side, qty, fee) in enumerate((first, second, second)):
            account.fill(0, side, PRICE + 12_347 * step, qty, fee, FeeAsset.BASE, (0, 0))
            for mark2 in (0, 3, 4 * 10**8 + 1, 2 * 10**8):  # a unit is worth nothing, 0.03, 2.00, and a cent
                account.mark(0, mark2)


@pytest.mark.parametrize("instruments", MARKETS, ids=["cents", "fine"])
@pytest.mark.parametrize(
    "units", [0, 1, -1, 500, -1_000, 10**6, 2 * 10**6, -3 * 10**6, 10**8, 10**8 + 1, -(10**8), 2**61]
)
def test_half_a_tick_is_multiplied_only_where_it_is_exact_and_fits(
    instruments: tuple[Instrument, ...], units: int
) -> None:
    account = Account(instruments)
    position, holding = account.state["positions"][0], account.holdings[0]
    position["per_mark"] = position["mark2_safe"] = 77
    position["base_units"] = units
    portfolio.hold(account.config, account.state, 0)
    exact = holding.worth * units / holding.lot_units / 2
    num = int(account.config["markets"][0]["instrument"]["value_num"])
    is_whole = units != 0 and exact.denominator == 1 and abs(units) * num < 2**63
    assert position["per_mark"] == (exact if is_whole else 0)
    assert position["mark2_safe"] == ((2**63 - 1) // abs(exact) if is_whole else 0)


def test_a_value_that_does_not_fit_is_refused_and_never_wrapped() -> None:
    account = Account((BTC,))
    account.state["positions"][0]["base_units"] = 2 * 10**18  # 10**16 quote units per half tick
    portfolio.hold(account.config, account.state, 0)
    with pytest.raises(BadInput, match="equity left the range"):
        portfolio.mark(account.config, account.state, 0, 922)
    with pytest.raises(BrokenInvariant, match="does not fit"):
        portfolio.mark(account.config, account.state, 0, 923)


def test_what_closes_exactly_leaves_nothing() -> None:
    """Bought in two parts, sold in three of which the last is what is left: the cost is gone, to the unit."""
    account = Account(CENTS)
    for side, qty in ((1, 7), (1, 10_007), (2, 13), (2, 5_000), (2, 5_001)):
        account.fill(1, side, PRICE - qty, qty, 1, FeeAsset.QUOTE, (0, 0))
    assert account.state["positions"][1]["cost"] == account.state["positions"][1]["base_units"] == 0
    account.fill(1, 2, PRICE, 7, 0, FeeAsset.QUOTE, (0, 0))
    account.fill(1, 1, PRICE + 1, 20, 0, FeeAsset.QUOTE, (0, 0))  # through flat


@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_a_fill_at_the_ends_of_its_range_is_booked_and_one_beyond_is_not(side: Side) -> None:
    def refused(price: int, qty: int, fee: int = 0) -> str:
        """What of the fill was refused; empty if it was booked, whatever equity came to be."""
        account = Account((BTC,))
        before = account.state.tobytes()
        try:
            portfolio.book_fill(account.config, account.state, made(0, side, price, qty, fee))
        except BadInput as error:
            if not str(error).startswith("a fill's"):
                return ""
            assert account.state.tobytes() == before
            return str(error).split()[2]
        return ""

    market = Account((BTC,)).config["markets"][0]
    most, lots_max, price_max = 100 * 10**13, int(market["lots_max"]), int(market["price_max"])
    assert [refused(price, 1) for price in (0, 1, price_max, price_max + 1)] == ["price", "", "", "price"]
    assert [refused(1, qty) for qty in (0, 1, lots_max, lots_max + 1)] == ["price", "", "value", "price"]
    assert [refused(PRICE, 1, fee) for fee in (-most - 1, -most, most, most + 1)] == ["fee", "", "", "fee"]
    lots = most // (10 * PRICE)  # worth exactly the bound
    assert [refused(PRICE, lots + more) for more in (0, 1)] == ["", "value"]


def test_an_execution_is_known_by_its_order_and_its_number() -> None:
    account = Account((BTC,))
    one = made(0, Side.BUY, PRICE, 1, exec_id=5)
    assert not portfolio.is_booked(account.state, one)
    portfolio.book_fill(account.config, account.state, one)
    for order_id, exec_id, known in ((1, 5, True), (2, 5, False), (1, 4, False), (1, 6, False)):
        asked = one.copy()
        asked["order_id"], asked["exec_id"] = order_id, exec_id
        assert portfolio.is_booked(account.state, asked) == known
    for number in range(FILL_SLOTS):
        portfolio.book_fill(account.config, account.state, made(0, Side.BUY, PRICE, 1, exec_id=1_000 - number))
        assert portfolio.is_booked(account.state, one) == (number < FILL_SLOTS - 1)
        assert portfolio.is_booked(account.state, made(0, Side.BUY, PRICE, 1, exec_id=1_000)) == (number < FILL_SLOTS)


def test_nothing_is_flat_that_a_venue_would_let_us_close() -> None:
    account = Account((BTC,))  # at least 2 lots and 5 USDT
    position, config, state = account.state["positions"][0], account.config, account.state
    for price, units, flat in (
        (PRICE, 0, True),
        (PRICE, 999, True),
        (PRICE, 49_999, True),  # 4.90 USDT
        (PRICE, 50_000, False),
        (PRICE, -49_999, True),
        (PRICE, -50_000, False),
        (PRICE * 100, 1_999, True),  # one lot, worth 10
        (PRICE * 100, 2_000, False),
        (PRICE - 1, 50_000, True),
    ):
        position["base_units"], position["price"] = units, price
        portfolio.hold(config, state, 0)
        assert portfolio.is_flat(config, state, 0) == flat, (price, units)
    config["markets"][0]["instrument"]["min_notional"] = config["markets"][0]["instrument"]["min_lots"] = 0
    for units, flat in ((999, True), (1_000, False), (-1_000, False)):
        position["base_units"], position["price"] = units, 1
        portfolio.hold(config, state, 0)
        assert portfolio.is_flat(config, state, 0) == flat


def test_a_notional_is_rounded_down_before_a_venue_judges_it() -> None:
    account = Account(CENTS)
    position, config, state = account.state["positions"][0], account.config, account.state
    position["base_units"], position["price"] = 50_000, 999_000  # 4.995 USDT
    portfolio.hold(config, state, 0)
    assert portfolio.is_flat(config, state, 0)
    config["markets"][0]["instrument"]["min_notional"] = 499
    assert not portfolio.is_flat(config, state, 0)
    position["price"], config["markets"][0]["instrument"]["min_notional"] = 1, 1  # worth less than a cent
    assert portfolio.is_flat(config, state, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_equity_at_its_bound_is_kept_and_beyond_it_is_refused(sign: int) -> None:
    account = Account((BTC,))
    state, most = account.state, int(account.config["equity_max"])
    state["positions"][0]["base_units"] = 1_000
    portfolio.hold(account.config, state, 0)
    state["account"]["cash"] = sign * most - 20
    portfolio.mark(account.config, state, 0, 4)  # 2 ticks: 20 units
    assert state["account"]["equity"] == sign * most
    state["account"]["cash"] += sign
    with pytest.raises(BadInput, match="equity left the range"):
        portfolio.mark(account.config, state, 0, 4)
