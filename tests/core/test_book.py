"""The book against a dict per side: any sequence of levels and clears, near, far and jumping, and what is refused."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from core import book as books
from core.errors import BadInput
from core.jit import entry
from core.layout import BOOK, BOOK_TICKS, FAR_LEVELS, PRICE_TICKS_MAX

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = int(os.environ.get("BOOK_EXAMPLES", "20"))
BID, ASK = True, False


@entry
def set_level(held: np.ndarray, is_bid: bool, price: int, qty: int) -> None:
    books.set_level(held[0], is_bid, price, qty)


@entry
def set_levels(held: np.ndarray, rows: np.ndarray) -> None:
    """``rows`` (n, 3) int64: side (1: bid), price, lots."""
    for k in range(len(rows)):
        books.set_level(held[0], rows[k, 0] == 1, rows[k, 1], rows[k, 2])


@entry
def clear(held: np.ndarray, is_bid: bool, price: int) -> None:
    books.clear(held[0], is_bid, price)


@entry
def look(held: np.ndarray, is_bid: bool, price: int) -> tuple[int, int]:
    return books.qty_at(held[0], is_bid, price), books.next_price(held[0], is_bid, price)


class Model:
    """The rules in a few lines: price -> lots per side."""

    def __init__(self) -> None:
        self.sides: dict[bool, dict[int, int]] = {BID: {}, ASK: {}}

    def set_level(self, is_bid: bool, price: int, qty: int) -> None:
        if qty > 0:
            self.sides[is_bid][price] = qty
            self.clear(not is_bid, price)
        else:
            self.sides[is_bid].pop(price, None)

    def clear(self, is_bid: bool, price: int) -> None:
        kept = self.sides[is_bid].items()
        beyond = {p: q for p, q in kept if (p < price if is_bid else p > price)}
        self.sides[is_bid] = beyond if price > 0 else {}

    def best(self, is_bid: bool) -> int:
        return (max if is_bid else min)(self.sides[is_bid], default=0)

    def next_price(self, is_bid: bool, price: int) -> int:
        side = self.sides[is_bid]
        return (
            max((p for p in side if p < price), default=0) if is_bid else min((p for p in side if p > price), default=0)
        )


def levels_of(book: np.void) -> dict[int, int]:
    """Price -> signed lots of everything the record holds, wherever it lies; its counts and its order are checked."""
    floor, n_far = int(book["floor"]), int(book["n_far"])
    cells = np.flatnonzero(book["levels"])
    prices = floor + 1 + (cells - floor - 1) % BOOK_TICKS
    near = dict(zip(prices.tolist(), book["levels"][cells].tolist(), strict=True))
    assert (book["n_bids"], book["n_asks"]) == (sum(q > 0 for q in near.values()), sum(q < 0 for q in near.values()))
    far = dict(zip(book["far_prices"][:n_far].tolist(), book["far_lots"][:n_far].tolist(), strict=True))
    assert len(far) == n_far == np.count_nonzero(book["far_index"])
    bids, asks = [p for p, q in far.items() if q > 0], [p for p, q in far.items() if q < 0]
    assert (book["far_bid"], book["far_ask"]) == (max(bids, default=0), min(asks, default=0))
    assert not any(floor < price <= floor + BOOK_TICKS for price in far)
    return near | far


def expect(held: np.ndarray, model: Model, *probes: int) -> None:
    """``held`` says what ``model`` says."""
    book = held[0]
    assert (book["bid"], book["ask"]) == (model.best(BID), model.best(ASK))
    assert book["bid"] < book["ask"] or book["ask"] == 0
    for is_bid in (BID, ASK):
        for price in probes:
            assert look(held, is_bid, price) == (model.sides[is_bid].get(price, 0), model.next_price(is_bid, price))


lots = st.integers(1, 5) | st.just(2**62)
sides = st.booleans()
distances = st.integers(-3, 3) | st.integers(-300, 300) | st.integers(-2 * BOOK_TICKS, 2 * BOOK_TICKS)
jumps = st.sampled_from([1, -1, 7, 5_000, -5_000, BOOK_TICKS // 4, -BOOK_TICKS // 2, BOOK_TICKS, 10**6, -(10**7)])
stubs = st.sampled_from([1, 2, BOOK_TICKS, BOOK_TICKS + 1, 199_999_900, PRICE_TICKS_MAX - BOOK_TICKS, PRICE_TICKS_MAX])


class AnyMarket(RuleBasedStateMachine):
    """Levels around a middle that jumps, and stub quotes at the ends of all prices."""

    def __init__(self) -> None:
        super().__init__()
        self.held, self.model, self.middle, self.last = books.new_books(1), Model(), 60_000, 1
        self.used = [1]

    def _set(self, is_bid: bool, price: int, qty: int) -> None:
        self.last = min(max(price, 1), PRICE_TICKS_MAX)
        self.used.append(self.last)
        set_level(self.held, is_bid, self.last, qty)
        self.model.set_level(is_bid, self.last, qty)

    @rule(is_bid=sides, away=distances, qty=lots)
    def level(self, is_bid: bool, away: int, qty: int) -> None:
        self._set(is_bid, self.middle + away, qty)

    @rule(is_bid=sides, away=st.integers(1, 40), qty=lots, count=st.integers(1, 30))
    def ladder(self, is_bid: bool, away: int, qty: int, count: int) -> None:
        for k in range(1, count + 1):
            self._set(is_bid, self.middle + (-away if is_bid else away) * k, qty)

    @rule(is_bid=sides, price=stubs, qty=lots | st.just(0))
    def stub(self, is_bid: bool, price: int, qty: int) -> None:
        self._set(is_bid, price, qty)

    @rule(is_bid=sides, which=st.integers(0, 10**6))
    def delete(self, is_bid: bool, which: int) -> None:
        self._set(is_bid, self.used[which % len(self.used)], 0)

    @rule(is_bid=sides)
    def delete_best(self, is_bid: bool) -> None:
        self._set(is_bid, self.model.best(is_bid) or 1, 0)

    @rule(is_bid=sides, qty=lots)
    def improve(self, is_bid: bool, qty: int) -> None:
        self._set(is_bid, self.model.best(is_bid) + (1 if is_bid else -1), qty)

    @rule(is_bid=sides, away=distances)
    def clear_to(self, is_bid: bool, away: int) -> None:
        self.last = max(self.middle + away, 1)
        clear(self.held, is_bid, self.last)
        self.model.clear(is_bid, self.last)

    @rule(is_bid=sides)
    def clear_side(self, is_bid: bool) -> None:
        clear(self.held, is_bid, 0)
        self.model.clear(is_bid, 0)

    @rule(by=jumps)
    def jump(self, by: int) -> None:
        self.middle = max(self.middle + by, 1)

    @invariant()
    def agrees(self) -> None:
        expect(self.held, self.model, self.last, self.used[len(self.used) // 2], self.middle)
        bids, asks = self.model.sides[BID], self.model.sides[ASK]
        assert levels_of(self.held[0]) == bids | {price: -qty for price, qty in asks.items()}


def test_any_sequence_equals_a_dict_per_side() -> None:
    run_state_machine_as_test(
        AnyMarket, settings=settings(max_examples=EXAMPLES, stateful_step_count=50, deadline=None, derandomize=True)
    )


@given(st.lists(st.tuples(sides, st.integers(1, 12), st.integers(0, 3)), max_size=40))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_dozen_prices_exhaust_the_rules(rows: list[tuple[bool, int, int]]) -> None:
    """So few prices that sides meet, pass and hide one another at almost every step."""
    held, model = books.new_books(1), Model()
    for is_bid, price, qty in rows:
        set_level(held, is_bid, price, qty)
        model.set_level(is_bid, price, qty)
        expect(held, model, *range(1, 14))


def test_a_level_removes_what_it_meets_and_passes() -> None:
    held = books.new_books(1)
    for price, qty in ((101, 5), (102, 6), (104, 7)):
        set_level(held, ASK, price, qty)
    set_level(held, BID, 99, 1)
    set_level(held, BID, 102, 2)
    assert (held[0]["bid"], held[0]["ask"]) == (102, 104)
    assert [look(held, ASK, price)[0] for price in (101, 102, 104)] == [0, 0, 7]
    set_level(held, ASK, 99, 3)
    assert (held[0]["bid"], held[0]["ask"]) == (0, 99)


def test_deleting_what_is_not_there_changes_nothing() -> None:
    held = books.new_books(1)
    set_level(held, BID, 100, 5)
    set_level(held, ASK, 10**9, 5)
    before = held.tobytes()
    for is_bid, price in ((ASK, 100), (BID, 99), (BID, 10**9), (ASK, 10**9 + 1), (BID, 10**8)):
        set_level(held, is_bid, price, 0)
    assert held.tobytes() == before


def test_zero_bytes_are_an_empty_book() -> None:
    held = books.new_books(3)
    assert held.dtype == BOOK and held.shape == (3,) and not any(held.tobytes())
    assert (held[1]["bid"], held[1]["ask"]) == (0, 0)
    assert look(held, BID, 5) == (0, 0) and look(held, ASK, 5) == (0, 0)


def test_the_window_follows_the_touch() -> None:
    """A market that wanders over five windows keeps the levels near its touch in the window, and all others."""
    held, model = books.new_books(1), Model()
    for step in range(0, 5 * BOOK_TICKS, 120):
        for is_bid, price in ((BID, 100_000 + step), (ASK, 100_003 + step)):
            set_level(held, is_bid, price, 1)
            model.set_level(is_bid, price, 1)
    expect(held, model, 100_000, 100_000 + BOOK_TICKS)
    bid, floor = int(held[0]["bid"]), int(held[0]["floor"])
    assert floor < bid <= floor + BOOK_TICKS
    assert len(levels_of(held[0])) == len(model.sides[BID]) + len(model.sides[ASK])
    assert held[0]["n_far"] > 2_000 and held[0]["n_bids"] < 600
    set_level(held, ASK, floor + BOOK_TICKS + 1, 1)  # outside, and yet near the touch: the window moves on
    assert held[0]["floor"] > floor and held[0]["n_asks"] == 2


@pytest.mark.parametrize("price", [0, -1, -(2**62), PRICE_TICKS_MAX + 1, 2**62])
def test_a_price_beyond_all_prices_is_refused(price: int) -> None:
    held = books.new_books(1)
    for is_bid in (BID, ASK):
        for qty in (0, 1):
            with pytest.raises(BadInput, match="price must be at least 1 tick"):
                set_level(held, is_bid, price, qty)
    assert not any(held.tobytes())


def test_a_negative_quantity_is_refused() -> None:
    held = books.new_books(1)
    for price in (5, 10**9):
        with pytest.raises(BadInput, match="less than 0 lots"):
            set_level(held, BID, price, -1)
    with pytest.raises(BadInput, match="price below 0"):
        clear(held, ASK, -1)
    assert not any(held.tobytes())


def test_a_book_that_does_not_fit_is_refused() -> None:
    held, price = books.new_books(1), 10**6
    set_level(held, BID, price, 1)
    for _ in range(FAR_LEVELS):
        price += BOOK_TICKS
        set_level(held, ASK, price, 1)
    assert held[0]["n_far"] >= FAR_LEVELS - 1 and len(levels_of(held[0])) == FAR_LEVELS + 1
    with pytest.raises(BadInput, match="FAR_LEVELS"):
        for _ in range(3):
            price += BOOK_TICKS
            set_level(held, ASK, price, 1)


def test_levels_far_from_the_touch_may_move_the_window_before_anything_is_refused() -> None:
    """More levels at one far place than the far store holds: the window goes there, and the touch stays exact."""
    held, model = books.new_books(1), Model()
    rows = [(ASK, 10**8, 1), (BID, 10**8 - 1, 1), *((BID, price, price) for price in range(1, FAR_LEVELS + 500))]
    for is_bid, price, qty in rows:
        set_level(held, is_bid, price, qty)
        model.set_level(is_bid, price, qty)
    expect(held, model, 1, FAR_LEVELS, FAR_LEVELS + 499, 10**8 - 1)


def test_thousands_of_far_levels_come_and_go() -> None:
    """Enough of them that the table's entries collide and are moved up whenever one is dropped."""
    rng, held, model = np.random.default_rng(29), books.new_books(1), Model()
    touch = np.array([[1, 10**7, 1], [0, 10**7 + 1, 1]])
    away = rng.integers(BOOK_TICKS // 2, 40 * BOOK_TICKS, 30_000)
    is_bid = rng.integers(0, 2, len(away))
    steps = rng.choice([1, 100, 10_000], len(away))  # round prices are what people like
    prices = (10**7 + np.where(is_bid == 1, -away, away)) // steps * steps
    rows = np.column_stack([is_bid, prices, rng.integers(1, 9, len(away))])
    gone = rows[rng.permutation(len(rows))[:24_000]] * [1, 1, 0]
    for part in (touch, rows[:16_000], gone, rows[16_000:]):
        set_levels(held, part)
        for side, price, qty in part.tolist():
            if qty:
                model.sides[side == 1][price] = qty  # nothing crosses
            else:
                model.sides[side == 1].pop(price, None)
        bids, asks = model.sides[BID], model.sides[ASK]
        assert levels_of(held[0]) == bids | {price: -qty for price, qty in asks.items()}
        assert all(look(held, BID, price)[0] == qty for price, qty in list(bids.items())[:500])
    assert held[0]["n_far"] > 10_000


def played() -> str:
    """SHA-256 over a book after each of some hundred seeded steps."""
    rng, held, digest = np.random.default_rng(23), books.new_books(1), hashlib.sha256()
    middle = 60_000
    for step in range(300):
        if step % 50 == 49:
            middle = max(1, middle + int(rng.choice([300, -BOOK_TICKS, 10**6, -(10**6)])))
        is_bid, away, qty = bool(rng.integers(2)), int(rng.exponential(3_000 if step % 7 == 0 else 4)), rng.integers(3)
        price = max(1, middle - away if is_bid else middle + away)
        if step % 40 == 7:
            clear(held, is_bid, price)
        else:
            set_level(held, is_bid, price, int(qty))
        digest.update(repr([int(x) for side in (BID, ASK) for x in look(held, side, price)]).encode())
        digest.update(np.array([held[0][name] for name in ("bid", "ask", "floor", "n_far")]).tobytes())
    digest.update(held.tobytes())
    return digest.hexdigest()


def test_without_a_compiler_the_bytes_are_the_same() -> None:
    environment: dict[str, Any] = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    code = "from tests.core.test_book import played; print(played())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == played()
