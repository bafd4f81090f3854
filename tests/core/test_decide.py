"""What becomes of a want in each situation, one cell at a time, and the way in that settings and proposals name."""

import numpy as np
import pytest

from core import strategies
from core.records import Action, Kind, OrderFlag, OrderState, Reason, Side
from tests.core.book_desk import BookDesk, on_books
from tests.core.build import BTC, Desk, bars, only, predict, trading

HOLD, LONG, FLAT, SHORT = strategies.HOLD, strategies.LONG, strategies.FLAT, strategies.SHORT


def wanted(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """Wants what the prediction's p_down_ppm says, by the way its p_up_ppm says; asked at predictions only."""
    if view["event"] != strategies.ON_PREDICTION:
        return strategies.NO_OPINION
    proposal["entry"] = view["prediction"]["p_up_ppm"]
    return view["prediction"]["p_down_ppm"]


strategies.register("wanted", wanted)


def desk(**changes: object) -> BookDesk:
    book = BookDesk(on_books(**{"kind": "wanted", "fixed_lots": 10, **changes}))
    book.touch(1000, 1002)
    return book


def say(book: BookDesk, want: int, way: int = 0) -> np.ndarray:
    return book.predict(0, p_down_ppm=want, p_up_ppm=way)


def enter(book: BookDesk, want: int) -> np.void:
    (intent,) = only(say(book, want), Kind.INTENT)
    book.report(intent, OrderState.NEW)
    return intent


def held(want: int, **changes: object) -> BookDesk:
    book = desk(**changes)
    book.fill(enter(book, want), 10, 1002 if want == LONG else 1000)
    return book


def entering(want: int) -> BookDesk:
    book = desk()
    enter(book, want)
    return book


def leaving(want: int) -> BookDesk:
    book = held(want)
    book.report(only(say(book, FLAT), Kind.INTENT)[0], OrderState.NEW)
    return book


SITUATIONS = {
    "flat": desk,
    "long": lambda: held(LONG),
    "short": lambda: held(SHORT),
    "entering long": lambda: entering(LONG),
    "entering short": lambda: entering(SHORT),
    "leaving long": lambda: leaving(LONG),
    "waiting to leave long": lambda: held(LONG, take_profit_ticks=50),
}
BUY, SELL = Side.BUY, Side.SELL
OPEN, REDUCE, CANCEL = Action.OPEN, Action.REDUCE, Action.CANCEL
AT_ONCE = CANCEL | OrderFlag.STOP
TABLE = {
    ("flat", LONG): (Reason.ENTRY, (OPEN, BUY)),
    ("flat", SHORT): (Reason.ENTRY, (OPEN, SELL)),
    ("flat", FLAT): (Reason.ALREADY_FLAT, None),
    ("flat", HOLD): (Reason.NO_EDGE, None),
    ("long", LONG): (Reason.ALREADY_LONG, None),
    ("long", SHORT): (Reason.EXIT, (REDUCE, SELL)),
    ("long", FLAT): (Reason.EXIT, (REDUCE, SELL)),
    ("long", HOLD): (Reason.HOLD, None),
    ("short", LONG): (Reason.EXIT, (REDUCE, BUY)),
    ("short", SHORT): (Reason.ALREADY_SHORT, None),
    ("short", FLAT): (Reason.EXIT, (REDUCE, BUY)),
    ("short", HOLD): (Reason.HOLD, None),
    ("entering long", LONG): (Reason.ORDER_IN_FLIGHT, None),
    ("entering long", SHORT): (Reason.CANCEL_STALE, (CANCEL, BUY)),
    ("entering long", FLAT): (Reason.CANCEL_STALE, (CANCEL, BUY)),
    ("entering long", HOLD): (Reason.NO_EDGE, None),
    ("entering short", LONG): (Reason.CANCEL_STALE, (CANCEL, SELL)),
    ("entering short", SHORT): (Reason.ORDER_IN_FLIGHT, None),
    ("entering short", FLAT): (Reason.CANCEL_STALE, (CANCEL, SELL)),
    ("entering short", HOLD): (Reason.NO_EDGE, None),
    ("leaving long", LONG): (Reason.ORDER_IN_FLIGHT, None),
    ("leaving long", SHORT): (Reason.ORDER_IN_FLIGHT, None),
    ("leaving long", FLAT): (Reason.ORDER_IN_FLIGHT, None),
    ("leaving long", HOLD): (Reason.HOLD, None),
    ("waiting to leave long", LONG): (Reason.ALREADY_LONG, None),
    ("waiting to leave long", SHORT): (Reason.EXIT, (AT_ONCE, SELL)),
    ("waiting to leave long", FLAT): (Reason.EXIT, (AT_ONCE, SELL)),
    ("waiting to leave long", HOLD): (Reason.HOLD, None),
}


@pytest.mark.parametrize(("situation", "want"), TABLE)
def test_every_want_in_every_situation(situation: str, want: int) -> None:
    made = say(SITUATIONS[situation](), want)
    reason, order = TABLE[situation, want]
    (decision,) = only(made, Kind.DECISION)
    assert decision["reason"] == reason
    sent = [(int(row["flags"]), int(row["side"])) for row in only(made, Kind.INTENT)]
    assert sent == ([] if order is None else [(int(order[0]), int(order[1]))])


def test_a_spot_account_takes_short_for_flat() -> None:
    book = BookDesk(on_books(kind="wanted", fixed_lots=10, profile="spot"))
    book.touch(1000, 1002)
    assert only(say(book, SHORT), Kind.DECISION)["reason"][0] == Reason.ALREADY_FLAT
    book.fill(enter(book, LONG), 10, 1002)
    (exit_,) = only(say(book, SHORT), Kind.INTENT)
    assert (exit_["flags"], exit_["side"], exit_["qty"]) == (Action.REDUCE, Side.SELL, 10)


@pytest.mark.parametrize(
    ("setting", "proposed", "entry", "exit_"),
    [
        ("market", 0, (0, 0), (0, 0)),
        ("cross", 0, (1002, OrderFlag.IMMEDIATE), (1000, OrderFlag.IMMEDIATE)),
        ("post", 0, (1000, OrderFlag.POST_ONLY), (1000, OrderFlag.IMMEDIATE)),
        ("best", 0, (1002, OrderFlag.IMMEDIATE), (1000, OrderFlag.IMMEDIATE)),
        ("market", 2, (1002, OrderFlag.IMMEDIATE), (1000, OrderFlag.IMMEDIATE)),  # the proposal goes before
        ("cross", 1, (0, 0), (0, 0)),
        ("market", 3, (1000, OrderFlag.POST_ONLY), (1000, OrderFlag.IMMEDIATE)),
    ],
)
def test_the_way_in_and_out(
    setting: str, proposed: int, entry: tuple[int, OrderFlag], exit_: tuple[int, OrderFlag]
) -> None:
    book = desk(entry=setting)
    (intent,) = only(say(book, LONG, proposed), Kind.INTENT)
    assert (intent["price"], int(intent["flags"]) & ~0xFF) == entry
    book.report(intent, OrderState.NEW)
    book.fill(intent, 10, 1002)
    (intent,) = only(say(book, FLAT, proposed), Kind.INTENT)
    assert (intent["price"], int(intent["flags"]) & ~0xFF) == exit_


def test_without_a_best_price_it_crosses_at_market() -> None:
    desk_, tape = Desk(trading(entry="cross", fixed_lots=1000), (BTC,)), bars([100_000, 100_000])
    desk_.feed(tape[:1])
    (intent,) = only(desk_.feed(predict(tape[0], edge=5_000)), Kind.INTENT)
    assert (intent["price"], intent["flags"], intent["reason"]) == (0, Action.OPEN, Reason.ENTRY)
