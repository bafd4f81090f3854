"""Post and chase: it rests at the touch, follows at most a tick per update, ends at its time, and never overshoots."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.records import Action, Kind, OrderFlag, OrderState, Reason, Side
from tests.core.book_desk import MS, BookDesk, on_books
from tests.core.build import BTC, Desk, bars, only, predict, trading

TTL_NS = 1000 * MS
GOOD = 9_000_000  # a forecast worth any cost


def desk(**changes: object) -> BookDesk:
    made = BookDesk(
        on_books(**{"kind": "edge_ticks", "entry": "post", "fixed_lots": 10, "chase_ttl_ns": TTL_NS, **changes})
    )
    made.touch(1000, 1002)
    return made


def entered(book: BookDesk, side: int = 1) -> np.void:
    (intent,) = only(book.predict(side * GOOD), Kind.INTENT)
    book.report(intent, OrderState.NEW)
    return intent


def test_it_posts_at_its_own_side_and_expires_with_its_time() -> None:
    book = desk()
    intent = entered(book)
    assert (intent["price"], intent["side"], intent["reason"]) == (1000, Side.BUY, Reason.POST)
    assert intent["flags"] == Action.OPEN | OrderFlag.POST_ONLY
    assert intent["deadline_ns"] == book.now - MS + TTL_NS
    for _ in range(9):
        assert len(book.timer()) == 0, "the market has not moved"
    (late,) = only(book.timer(), Kind.INTENT)
    assert (late["flags"], late["order_id"], late["reason"]) == (Action.CANCEL, intent["order_id"], Reason.CANCEL_STALE)
    book.report(intent, OrderState.CANCELED)
    assert len(book.timer()) == 0, "it is over"


@pytest.mark.parametrize(("side", "away"), [(1, 1), (-1, -1)])
def test_it_follows_a_tick_per_update_and_never_twice_at_once(side: int, away: int) -> None:
    book = desk()
    intent = entered(book, side)
    until, price = intent["deadline_ns"], int(intent["price"])
    book.touch(1000 + 5 * away, 1002 + 5 * away)
    for _ in range(4):
        (cancel,) = only(book.timer(50 * MS), Kind.INTENT)
        assert (cancel["flags"], cancel["reason"]) == (Action.CANCEL, Reason.CHASE)
        assert len(book.timer(10 * MS)) == 0, "nothing before the cancel is confirmed"
        assert len(book.report(intent, OrderState.CANCELED)) == 0, "and nothing before the next update"
        (intent,) = only(book.timer(10 * MS), Kind.INTENT)
        assert intent["price"] == price + away and intent["qty"] == 10 and intent["reason"] == Reason.CHASE
        assert intent["flags"] == Action.OPEN | OrderFlag.POST_ONLY and intent["deadline_ns"] == until
        book.report(intent, OrderState.NEW)
        price += away


def test_what_filled_on_the_way_is_not_bought_again() -> None:
    book = desk()
    first = entered(book)
    assert len(only(book.fill(first, 4, 1000), Kind.INTENT)) == 0
    book.touch(1003, 1005)
    book.timer()
    book.report(first, OrderState.CANCELED)
    (second,) = only(book.timer(), Kind.INTENT)
    assert (second["qty"], second["price"]) == (6, 1001)
    book.report(second, OrderState.NEW)
    assert len(only(book.fill(second, 6, 1001), Kind.INTENT)) == 0
    assert book.lots == 10 and book.state[0]["positions"][0]["managed"] == 0
    assert len(book.timer()) == 0


def test_a_fill_that_overtakes_the_cancel_counts() -> None:
    book = desk()
    first = entered(book)
    book.touch(1003, 1005)
    book.timer()
    book.fill(first, 10, 1000)
    assert len(book.timer()) == 0 and book.lots == 10


def test_an_order_that_would_have_taken_comes_back_at_the_new_best_price() -> None:
    book = desk()
    intent = entered(book)
    book.report(intent, OrderState.EXPIRED, Reason.WOULD_CROSS)
    book.touch(990, 992)
    (again,) = only(book.timer(), Kind.INTENT)
    assert again["price"] == 990, "the market came to us: the best price is better than ours"


def test_a_changed_mind_ends_it() -> None:
    book = desk()
    intent = entered(book)
    left = book.predict(-GOOD)
    assert [Reason(int(row["reason"])) for row in only(left, Kind.DECISION)] == [Reason.CANCEL_STALE]
    (cancel,) = only(left, Kind.INTENT)
    assert (cancel["flags"], cancel["order_id"]) == (Action.CANCEL, intent["order_id"])
    book.report(intent, OrderState.CANCELED)
    book.touch(1010, 1012)
    assert len(book.timer()) == 0


def test_between_two_orders_a_wish_for_the_same_waits_and_a_wish_out_ends_it() -> None:
    book = desk()
    intent = entered(book)
    book.touch(1005, 1007)
    book.timer()
    book.report(intent, OrderState.CANCELED)
    (waits,) = only(book.predict(GOOD), Kind.DECISION)
    assert waits["reason"] == Reason.ORDER_IN_FLIGHT
    (out,) = only(book.predict(-GOOD), Kind.DECISION)
    assert out["reason"] == Reason.CANCEL_STALE
    assert len(book.timer()) == 0


def test_a_rejected_order_ends_it() -> None:
    book = desk()
    (intent,) = only(book.predict(GOOD), Kind.INTENT)
    book.report(intent, OrderState.REJECTED)
    book.touch(1005, 1007)
    assert len(book.timer()) == 0


def test_limits_bind_every_order_of_it() -> None:
    """A second order is approved like the first: what has become too much by then is refused and ends it."""
    book = desk(price_band_ppm=1_500)
    intent = entered(book)
    book.touch(1005, 1007)
    book.timer()
    book.report(intent, OrderState.CANCELED)
    refused = book.timer()
    assert [int(row["reason"]) for row in only(refused, Kind.DECISION)] == [Reason.PRICE_BAND]
    assert len(only(refused, Kind.INTENT)) == 0 and len(book.timer()) == 0


def test_an_entry_that_follows_the_market_is_one_signal_and_several_orders() -> None:
    """Requirements RISK-15: a signal is a decision to enter. A rate of one an hour does not stop it from following."""
    book = desk(max_signals_per_hour=1, max_signals_per_hour_high=1, high_confidence_ppm=600_000)
    intent, risk = entered(book), book.state[0]["risk"]
    for number in range(1, 4):
        book.touch(1000 + number, 1002 + number)
        book.timer()
        book.report(intent, OrderState.CANCELED)
        (intent,) = only(book.timer(), Kind.INTENT)
        assert (intent["reason"], intent["price"]) == (Reason.CHASE, 1000 + number)
        assert (risk["signals"], risk["signals_high"], risk["submitted"]) == (1, 1, 1 + number)
    book.report(intent, OrderState.REJECTED)
    (refused,) = only(book.predict(GOOD), Kind.DECISION)
    assert refused["reason"] == Reason.SIGNAL_RATE, "the next entry is a signal of its own"


def test_on_bars_it_posts_at_the_close_and_fills_when_a_bar_goes_through() -> None:
    account = Desk(trading(entry="post", fixed_lots=1000, chase_ttl_ns=10**13), (BTC,))
    tape = bars([100_000, 100_000, 100_300, 100_000, 99_000])
    account.feed(tape[:1])
    (post,) = only(account.feed(predict(tape[0], edge=5000)), Kind.INTENT)
    assert (post["price"], post["reason"]) == (100_000, Reason.POST)
    account.feed(tape[1:2])
    (cancel,) = only(account.feed(tape[2:3]), Kind.INTENT)
    assert (cancel["flags"], cancel["reason"]) == (Action.CANCEL, Reason.CHASE)
    (again,) = only(account.feed(tape[3:4]), Kind.INTENT)
    assert again["price"] == 100_000, "back where it was: there is nothing to follow"
    (fill,) = only(account.feed(tape[4:5]), Kind.FILL)
    assert (fill["price"], fill["order_id"]) == (100_000, again["order_id"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-4, 4), st.sampled_from(["none", "confirm", "part", "all"])), max_size=30))
def test_laws_of_a_chase_on_any_market(moves: list[tuple[int, str]]) -> None:
    """One order at a time, no step of more than a tick after the market, never more than was wanted, an end."""
    book = desk()
    live = entered(book)
    until, bid, price = int(live["deadline_ns"]), 1000, 1000
    orders: dict[int, np.void] = {int(live["order_id"]): live}
    for move, answer in moves:
        bid += move
        book.touch(bid, bid + 2)
        made = [*only(book.timer(), Kind.INTENT)]
        for intent in made:
            if intent["flags"] & 0xFF == Action.CANCEL:
                continue
            assert not orders and intent["price"] <= price + 1 and intent["qty"] == 10 - book.lots
            assert book.now < until
            price = int(intent["price"])
            orders[int(intent["order_id"])] = intent
            book.report(intent, OrderState.NEW)
        for intent in list(orders.values()):
            slot = next(s for s in book.state[0]["orders"][0]["slots"] if s["order_id"] == intent["order_id"])
            if answer == "confirm" and slot["state"] == OrderState.PENDING_CANCEL:
                book.report(intent, OrderState.CANCELED)
                del orders[int(intent["order_id"])]
            elif answer in ("part", "all"):
                left = int(slot["qty"] - slot["filled"])
                qty = left if answer == "all" else max(1, left // 2)
                book.fill(intent, qty, int(intent["price"]))
                if qty == left:
                    del orders[int(intent["order_id"])]
        assert book.lots <= 10
