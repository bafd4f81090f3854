"""Take-profit and stop-loss: one order, two prices; never both legs, never more than is held, told by the records."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import strategies, ticks
from core.records import Action, Kind, OrderFlag, OrderState, Reason, Side
from tests.core.book_desk import COIN, MS, BookDesk, forecast, market, on_books
from tests.core.build import BTC, START_NS, Desk, bars, only, predict, trading

STOP = int(OrderFlag.STOP)
PLAN = {"take_profit_ticks": 500, "stop_loss_ticks": 300}


def story(records: np.ndarray) -> list[tuple[str, str, int]]:
    """(kind, reason, price) of intents and fills, (kind, reason, state) of reports: what happened, in order."""
    told = []
    for row in records:
        kind, reason = Kind(int(row["kind"])), Reason(int(row["reason"])).name
        if kind in (Kind.INTENT, Kind.FILL) or kind == Kind.ORDER:
            told.append((kind.name, reason, int(row["b"])))
    return told


def play(closes: list[int], *, gap: dict[int, int] | None = None, **changes: object) -> tuple[Desk, np.ndarray]:
    """Enter after the first bar, hold, and watch; ``gap``: the open of some bars."""
    desk = Desk(trading(**{"fixed_lots": 1000, **PLAN, **changes}), (BTC,))
    tape = bars(closes)
    for row, opened in (gap or {}).items():
        tape["open"][row] = opened
        tape["high"][row], tape["low"][row] = max(opened, tape["high"][row]), min(opened, tape["low"][row])
    for k, bar in enumerate(tape):
        desk.feed(tape[k : k + 1])
        desk.feed(predict(bar, edge=5000 if k == 0 else 100))
    return desk, np.concatenate(desk.out)


@pytest.mark.parametrize(
    ("closes", "gap", "leg", "price"),
    [
        ([100_000, 100_000, 100_200, 100_600], {}, Reason.TAKE_PROFIT, 100_500),
        ([100_000, 100_000, 99_900, 99_600], {}, Reason.STOP_LOSS, 99_690),  # 99,700 slipped by 100 ppm
        ([100_000, 100_000, 99_900, 98_000], {3: 98_500}, Reason.STOP_LOSS, 98_490),  # through the stop: at the gap
        ([100_000, 100_000, 99_900, 101_000], {3: 99_000}, Reason.STOP_LOSS, 98_990),  # both in one bar: the stop
    ],
)
def test_one_leg_ends_the_position_and_the_records_tell_which_and_when(
    closes: list[int], gap: dict[int, int], leg: Reason, price: int
) -> None:
    desk, out = play([*closes, 100_000, 100_000], gap=gap)
    entry, exit_ = only(out, Kind.FILL)
    assert exit_["price"] == price and desk.state[0]["positions"][0]["base_units"] == 0
    assert exit_["ts_event"] == START_NS + 4 * 300 * 10**9 and entry["ts_event"] == START_NS + (300 * 10**9 + 200 * MS)
    sent = [row for row in only(out, Kind.INTENT) if row["order_id"] == exit_["order_id"]]
    assert [int(row["reason"]) for row in sent] == [Reason.TAKE_PROFIT, Reason.STOP_LOSS]
    reached = [row for row in only(out, Kind.ORDER) if row["reason"] == Reason.STOP_LOSS]
    assert len(reached) == (leg == Reason.STOP_LOSS), "that report is what tells the legs apart"
    assert desk.state[0]["positions"][0]["managed"] == 0 and desk.state[0]["orders"][0]["live"] == 0


def test_a_trade_is_told_in_full() -> None:
    _, out = play([100_000, 100_000, 99_900, 99_600])
    assert story(out) == [
        ("INTENT", "ENTRY", 0),
        ("ORDER", "NONE", OrderState.NEW),
        ("FILL", "FILLED", 100_010),
        ("INTENT", "TAKE_PROFIT", 100_500),  # from the price of the decision, not of the fill
        ("INTENT", "STOP_LOSS", 99_700),
        ("ORDER", "NONE", OrderState.NEW),
        ("ORDER", "STOP_LOSS", OrderState.NEW),
        ("FILL", "FILLED", 99_690),
    ]


@pytest.mark.parametrize(
    ("changes", "take", "stop"),
    [
        ({}, 0, 0),
        ({"take_profit_ticks": 500}, 100_500, 0),
        ({"stop_loss_ticks": 300}, 0, 99_700),
        ({"stop_loss_ticks": 300, "reward_risk_ppm": 1_500_000}, 100_450, 99_700),
        # sigma 2000 ppm of 100,000 ticks = 200
        ({"stop_loss_sigma_ppm": 1_500_000, "take_profit_sigma_ppm": 2_000_000}, 100_400, 99_700),
        ({"stop_loss_sigma_ppm": 500_000, "reward_risk_ppm": 333_333}, 100_034, 99_900),  # 33.3333 rounded up
    ],
)
def test_levels(changes: dict[str, int], take: int, stop: int) -> None:
    desk, out = play([100_000, 100_000], **{"take_profit_ticks": 0, "stop_loss_ticks": 0, **changes})
    position = desk.state[0]["positions"][0]
    assert (position["take_profit"], position["stop_loss"]) == (take, stop)
    sent = [(int(row["flags"]), int(row["price"])) for row in only(out, Kind.INTENT)[1:]]
    alone = [(Action.REDUCE | STOP, stop)] if stop else []
    assert sent == ([(Action.REDUCE, take)] + ([(Action.CANCEL | STOP, stop)] if stop else []) if take else alone)


def test_a_stop_below_every_price_is_at_the_lowest_and_its_order_is_judged_there() -> None:
    desk, out = play([100_000, 100_000], take_profit_ticks=0, stop_loss_ticks=2**40)
    assert desk.state[0]["positions"][0]["stop_loss"] == 1
    refused = [int(row["reason"]) for row in only(out, Kind.CHECK) if row["order_id"] == 0]
    assert refused == [Reason.FILTER_NOTIONAL], "said once, though it is tried at every bar"


def test_an_exit_for_another_reason_turns_the_waiting_order_into_a_market_order() -> None:
    desk = Desk(trading(fixed_lots=1000, **PLAN), (BTC,))
    tape = bars([100_000] * 4)
    desk.feed(tape[:1])
    desk.feed(predict(tape[0], edge=5000))
    desk.feed(tape[1:2])
    made = desk.feed(predict(tape[1], edge=-1))
    (decision,) = only(made, Kind.DECISION)
    assert (decision["reason"], decision["flags"], decision["size_lots"]) == (Reason.EXIT, Action.CANCEL, 1000)
    assert story(made) == [("INTENT", "EXIT", 0)]
    assert len(only(desk.feed(predict(tape[1], edge=-1, bar_ts=START_NS + 10**15)), Kind.INTENT)) == 0, "it is leaving"
    (fill,) = only(desk.feed(tape[2:3]), Kind.FILL)
    assert fill["price"] == 99_990 and desk.state[0]["positions"][0]["view"]["lots"] == 0
    assert desk.state[0]["positions"][0]["managed"] == 0


def short_desk(side: int, **changes: object) -> tuple[BookDesk, np.void]:
    book = BookDesk(on_books(**{"kind": "edge_ticks", "entry": "cross", "fixed_lots": 10, **PLAN, **changes}))
    book.touch(19_998, 20_002)
    (intent,) = only(book.predict(side * 9_000_000), Kind.INTENT)
    book.report(intent, OrderState.NEW)
    return book, intent


@pytest.mark.parametrize(("side", "price", "take", "stop"), [(1, 20_002, 20_502, 19_702), (-1, 19_998, 19_498, 20_298)])
def test_on_books_both_directions_follow_what_is_held(side: int, price: int, take: int, stop: int) -> None:
    book, intent = short_desk(side)
    assert len(only(book.fill(intent, 4, price), Kind.INTENT)) == 0, "the entry ends in a moment: wait for it"
    made = book.report(intent, OrderState.EXPIRED)
    waits, attached = only(made, Kind.INTENT)
    assert (waits["price"], waits["qty"], waits["side"], waits["flags"]) == (take, 4, 3 - intent["side"], Action.REDUCE)
    assert (attached["price"], attached["order_id"], attached["flags"]) == (
        stop,
        waits["order_id"],
        Action.CANCEL | STOP,
    )


def test_a_position_that_changes_replaces_the_order_one_after_the_other() -> None:
    book, intent = short_desk(1, entry="post", chase_ttl_ns=10**12)
    waits = only(book.fill(intent, 4, 19_998), Kind.INTENT)[0]
    assert waits["qty"] == 4, "a resting entry may take long: what has filled is protected at once"
    book.report(waits, OrderState.NEW)
    (cancel,) = only(book.fill(intent, 6, 19_998), Kind.INTENT)
    assert (cancel["flags"], cancel["order_id"], cancel["reason"]) == (Action.CANCEL, waits["order_id"], Reason.REQUOTE)
    assert len(book.timer()) == 0, "never two"
    again = only(book.report(waits, OrderState.CANCELED), Kind.INTENT)[0]
    assert (again["qty"], again["price"], again["reason"]) == (10, waits["price"], Reason.TAKE_PROFIT)


def test_a_refused_or_rejected_one_is_tried_again_and_a_standing_refusal_said_once() -> None:
    book, intent = short_desk(1)
    book.fill(intent, 10, 20_002)
    slot = book.state[0]["orders"][0]["slots"][0]
    assert slot["reason"] == Reason.TAKE_PROFIT
    waits = {"order_id": slot["order_id"], "side": slot["side"]}
    assert len(only(book.report(waits, OrderState.REJECTED), Kind.INTENT)) == 0
    assert len(only(book.timer(), Kind.INTENT)) == 2, "at the next update"
    highest, book.config[0]["markets"][0]["price_max"] = int(book.config[0]["markets"][0]["price_max"]), 1
    slot = book.state[0]["orders"][0]["slots"][0]
    book.report({"order_id": slot["order_id"], "side": slot["side"]}, OrderState.CANCELED)
    assert [len(book.timer()) for _ in range(3)] == [0, 0, 0], "the refusal was recorded with the report"
    book.config[0]["markets"][0]["price_max"] = highest
    assert len(only(book.timer(), Kind.INTENT)) == 2


def run_ticks(rows: list[np.ndarray], **changes: object) -> ticks.Run:
    trading_ = on_books(**{"kind": "edge_ticks", "entry": "cross", "fixed_lots": 10, **PLAN, **changes})
    book = BookDesk(trading_)
    tape = np.concatenate(rows)
    return ticks.session(
        book.config, tape[np.argsort(tape["ts_known"], kind="stable")], strategies.of(trading_, (COIN,))
    )


def levels(at_ms: int, *changes: tuple[Side, int, int]) -> list[np.ndarray]:
    """One message: (side, price, lots) of several levels."""
    last = len(changes) - 1
    return [
        market(Kind.LEVEL, side, price, qty, START_NS + at_ms * MS, is_last=k == last)
        for k, (side, price, qty) in enumerate(changes)
    ]


OPENING = levels(0, (Side.BUY, 19_998, 50), (Side.SELL, 20_002, 50))
ENTER = [forecast(9_000_000, 100, START_NS + 10 * MS)]


@pytest.mark.parametrize(
    ("rows", "price"),
    [
        # the best bid falls to the stop: what is shown there is what it gets
        (levels(500, (Side.BUY, 19_702, 50), (Side.BUY, 19_998, 0)), 19_702),
        # a gap past it
        (levels(500, (Side.BUY, 19_000, 50), (Side.BUY, 19_998, 0)), 19_000),
        # within one message the best price means nothing
        (levels(500, (Side.BUY, 19_998, 0), (Side.BUY, 19_000, 50), (Side.BUY, 19_999, 50)), None),
        (levels(500, (Side.BUY, 19_703, 50), (Side.BUY, 19_998, 0)), None),
        # a trade at the take-profit with nobody in front of us
        ([market(Kind.TRADE, Side.BUY, 20_503, 5, START_NS + 500 * MS)], 20_502),
        (levels(500, (Side.BUY, 20_502, 50)), 20_502),
    ],
)
def test_on_books_the_exchange_holds_both_prices(rows: list[np.ndarray], price: int | None) -> None:
    later = levels(900, (Side.BUY, 19_000, 60), (Side.SELL, 20_003, 60))
    run = run_ticks([*OPENING, *ENTER, *rows, *later])
    fills = only(run.out, Kind.FILL)
    assert [int(row["price"]) for row in fills] == [20_002] + ([] if price is None else [price])
    assert int(run.state[0]["positions"][0]["view"]["lots"]) == (10 if price is None else 0)
    if price is not None:
        assert fills["ts_event"][1] == START_NS + 500 * MS
        told = [Reason(int(row["reason"])) for row in only(run.out, Kind.ORDER)]
        assert (Reason.STOP_LOSS in told) == (price < 20_000)
        assert run.exchange[0]["matching"][0]["count"] == run.exchange[0]["matching"][0]["stops"] == 0


def test_a_stop_that_the_book_cannot_fill_expires_and_is_tried_again() -> None:
    thin = levels(500, (Side.BUY, 19_600, 4), (Side.BUY, 19_998, 0))
    run = run_ticks([*OPENING, *ENTER, *thin, *levels(1500, (Side.SELL, 20_002, 51))])
    fills = only(run.out, Kind.FILL)
    parts = [(20_002, 10), (19_600, 4), (19_600, 4), (19_600, 2)]  # a recorded book does not shrink by our taking
    assert [(int(row["price"]), int(row["qty"])) for row in fills] == parts
    assert len(set(fills["order_id"])) == 4 and run.state[0]["positions"][0]["base_units"] == 0


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-60, 60), st.integers(-40, 40), st.booleans()), min_size=3, max_size=40),
    st.sampled_from([{}, {"participation_ppm": 50_000}, {"entry": "post", "chase_ttl_ns": 10**13}]),
)
def test_laws_on_any_bars(moves: list[tuple[int, int, bool]], changes: dict[str, object]) -> None:
    """Both legs never fill: what is sold is what was bought; a long account never owes; no two exits are at work."""
    desk = Desk(trading(**{"fixed_lots": 1000, "take_profit_ticks": 40, "stop_loss_ticks": 30, **changes}), (BTC,))
    price, closes = 10_000, []
    for move, _, _ in moves:
        price = max(100, price + move)
        closes.append(price)
    tape = bars(closes, volume=15_000)
    for k, (_, jump, wants) in enumerate(moves):
        tape["open"][k] = max(1, tape["open"][k] + jump)
        tape["high"][k], tape["low"][k] = max(tape["open"][k], tape["high"][k]), min(tape["open"][k], tape["low"][k])
        desk.feed(tape[k : k + 1])
        orders = desk.state[0]["orders"][0]
        exits = [s for s in orders["slots"][: orders["live"]] if s["action"] == Action.REDUCE]
        held = int(desk.state[0]["positions"][0]["view"]["lots"])
        assert len(exits) <= 1 and held >= 0 and sum(int(s["qty"] - s["filled"]) for s in exits) <= held
        desk.feed(predict(tape[k], edge=5000 if wants else -1))
    fills = only(np.concatenate(desk.out), Kind.FILL)
    bought, sold = (int(fills["qty"][fills["side"] == side].sum()) for side in (Side.BUY, Side.SELL))
    assert bought - sold == int(desk.state[0]["positions"][0]["view"]["lots"])
    for row in fills[fills["side"] == Side.SELL]:
        mine = fills[fills["order_id"] == row["order_id"]]
        sent = next(i for i in only(np.concatenate(desk.out), Kind.INTENT) if i["order_id"] == row["order_id"])
        assert mine["qty"].sum() <= sent["qty"]
