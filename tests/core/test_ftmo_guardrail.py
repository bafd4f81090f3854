"""A funded account's two limits (requirements RISK-13, RISK-14): 4.5 % of the capital in a day, 9 % in all.

Losses are pushed to a unit below a limit, where everything goes on, and exactly to it, where everything is closed and
every strategy, however it enters, is refused. The venue's day begins at midnight in Prague.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import config as core_config
from core import days, exposure
from core.records import (
    CHECK,
    DAY_NS,
    PPM,
    RECORD,
    TRANSFER,
    Action,
    Command,
    FeeAsset,
    Kind,
    Metric,
    OrderState,
    Reason,
    RiskState,
    Side,
    TransferCause,
    Verdict,
)
from tests.core.book_desk import BookDesk, on_books
from tests.core.build import BTC, START_NS, STEP_NS, Desk, bars, command, fill, only, order_report, predict, trading

PRAGUE = ZoneInfo("Europe/Prague")
CLOSE = 1_000_000  # 10,000 USDT
LOTS = 500_000  # 5 BTC: half of the account
FTMO = {
    "day_boundary": "Europe/Prague",
    "daily_stop_ppm": 45_000,
    "daily_loss_limit_ppm": 45_000,
    "total_loss_limit_ppm": 90_000,
    "flatten_daily_loss_ppm": PPM,
    "caution_drawdown_ppm": 500_000,
    "halt_drawdown_ppm": 600_000,
    "flatten_drawdown_ppm": 700_000,
    "prediction_ttl_ns": 10**17,
    "price_band_ppm": 10**9,
}
ONLY_TOTAL = {"daily_loss_limit_ppm": 0, "daily_stop_ppm": PPM}
CLOSED = {int(Reason.KILL_SWITCH), int(Reason.DAILY_STOP), int(Reason.TOTAL_LOSS)}


def funded(**changes: object) -> Desk:
    """An account of 100,000 USDT that bought 5 BTC at 10,000 on a Wednesday at 00:05 UTC."""
    settings = trading(**{**FTMO, "fixed_lots": LOTS, "asset_cap_ppm": 950_000, **changes})
    desk = Desk(settings, (BTC,), venue=False)
    first = bars([CLOSE])
    desk.feed(first)
    (intent,) = only(desk.feed(predict(first[0], edge=5_000)), Kind.INTENT)
    desk.feed(order_report(intent, OrderState.NEW, int(intent["ts_known"]) + 1))
    desk.feed(fill(intent, CLOSE, LOTS, int(intent["ts_known"]) + 1))
    return desk


def marked(desk: Desk, price: int, at_ns: int = 0) -> np.ndarray:
    """The RISK records of a bar that closes at ``price``, ``at_ns`` or a step after the last."""
    last = int(desk.state[0]["positions"][0]["view"]["bar"]["ts_event"])
    return only(desk.feed(bars([price], start_ns=(at_ns or last + STEP_NS) - STEP_NS)), Kind.RISK)


def lose(desk: Desk | BookDesk, part_ppm: int, less: int = 0) -> np.ndarray:
    """Books that differ from the venue's by ``part_ppm`` of equity, less so many units: a loss like any other."""
    row, account = np.zeros(1, TRANSFER), desk.state[0]["account"]
    row["kind"], row["flags"], row["cause"] = Kind.TRANSFER, FeeAsset.QUOTE, TransferCause.ADJUSTMENT
    row["ts_event"] = row["ts_known"] = account["now_ns"]
    row["amount"] = less - int(account["equity"]) * part_ppm // PPM
    return desk.feed(row)


def test_a_day_may_lose_less_than_its_limit_and_at_the_limit_everything_is_closed() -> None:
    desk = funded()
    assert len(marked(desk, 910_200)) == 0, "4.49 %: 4,490 of 100,000"
    assert len(marked(desk, 910_001)) == 0, "a tick above the limit"
    stopped, breach = marked(desk, 910_000)
    assert (stopped["reason"], breach["reason"]) == (Reason.DAILY_STOP, Reason.DAILY_FLATTEN)
    assert (breach["metric"], breach["value"], breach["limit"]) == (Metric.DAILY_LOSS_PPM, 45_000, 45_000)
    assert breach["state_to"] == RiskState.FLATTEN
    (sale,) = only(desk.out[-1], Kind.INTENT)
    assert (sale["side"], sale["qty"], sale["reason"]) == (Side.SELL, LOTS, Reason.FLATTEN)


def test_several_days_may_lose_less_than_the_total_limit_and_no_resume_lifts_it() -> None:
    desk = funded(total_loss_limit_ppm=90_000)
    assert len(only(lose(desk, 44_000), Kind.RISK)) == 1, "the adjustment's own record"
    assert len(marked(desk, CLOSE, START_NS + DAY_NS)) == 0
    lose(desk, 44_000)  # of 95,600: in all 8.6 %
    assert len(marked(desk, CLOSE, START_NS + 2 * DAY_NS)) == 0
    equity = int(desk.state[0]["account"]["equity"])
    floor = 91_000 * 10**8
    row = lose(desk, 0, less=floor + 1 - equity)
    assert len(only(row, Kind.RISK)) == 1 and desk.state[0]["account"]["equity"] == floor + 1
    changes = only(lose(desk, 0, less=-1), Kind.RISK)
    assert [Reason(int(change["reason"])) for change in changes] == [
        Reason.ADJUSTMENT,
        Reason.DAILY_STOP,
        Reason.TOTAL_LOSS_FLATTEN,
    ]
    total = changes[2]
    assert (total["metric"], total["value"], total["limit"]) == (Metric.TOTAL_LOSS_PPM, 90_000, 90_000)
    desk.feed(command(Command.RESUME, START_NS + 3 * DAY_NS))
    marked(desk, CLOSE, START_NS + 3 * DAY_NS + STEP_NS)
    assert desk.state[0]["risk"]["total_stopped"] == 1 and desk.state[0]["risk"]["state"] >= RiskState.HALT


def test_the_days_loss_is_counted_from_its_first_balance_open_positions_apart() -> None:
    """Profit not yet realised at midnight is no room for losses; a loss not yet realised has used some up."""
    gained, lost = funded(), funded()
    tomorrow = START_NS + DAY_NS
    assert len(marked(gained, 1_100_000)) == 0 and len(marked(gained, 1_100_000, tomorrow)) == 0
    stop, breach = marked(gained, 910_000)  # 9,500 below the day's first equity, 4,500 below its first balance
    assert (stop["reason"], breach["reason"], breach["value"]) == (Reason.DAILY_STOP, Reason.DAILY_FLATTEN, 45_000)
    assert len(marked(lost, 920_000)) == 0 and len(marked(lost, 920_000, tomorrow)) == 0
    assert len(marked(lost, 910_001)) == 0
    *_, breach = marked(lost, 910_000)  # 500 below the day's first equity
    assert (breach["reason"], breach["value"]) == (Reason.DAILY_FLATTEN, 45_000)


def midnight(day: date) -> int:
    """When ``day`` begins in Prague by the system's time-zone database, ns."""
    start = datetime(day.year, day.month, day.day, tzinfo=PRAGUE).astimezone(UTC)
    return (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * 10**9


@pytest.mark.parametrize(
    ("day", "hour_utc"),
    [
        (date(2024, 1, 15), 23),
        (date(2024, 3, 30), 23),  # the next day has 23 hours
        (date(2024, 3, 31), 22),
        (date(2024, 7, 1), 22),
        (date(2024, 10, 26), 22),  # the next day has 25
        (date(2024, 10, 27), 23),
    ],
)
def test_a_day_ends_at_midnight_in_prague_on_both_sides_of_a_clock_change(day: date, hour_utc: int) -> None:
    after = midnight(day + timedelta(days=1))
    assert datetime.fromtimestamp(after // 10**9, UTC).hour == hour_utc
    desk = Desk(trading(**{**FTMO, "daily_stop_ppm": 20_000, "fixed_lots": 1_000}), (BTC,), venue=False)
    tape = bars([CLOSE] * 2, start_ns=after - STEP_NS)
    tape["ts_known"] = tape["ts_event"] = (after - 2 * 3600 * 10**9, after)
    desk.feed(tape[:1])
    assert desk.state[0]["risk"]["day_end_ns"] == after
    lose(desk, 20_000)
    early, due = (
        only(desk.feed(predict(tape[0], edge=5_000, ts_known=at, bar_ts=at)), Kind.DECISION)[0]["reason"]
        for at in (after - 1, after)
    )
    assert (early, due) == (Reason.DAILY_STOP, Reason.ENTRY)


@given(st.dates(date(2007, 1, 1), date(2037, 12, 30)), st.sampled_from([-1, 0, 1]))
def test_every_day_begins_when_the_time_zone_database_says(day: date, around: int) -> None:
    config = core_config.build(trading(day_boundary="Europe/Prague"), (BTC,))[0]
    number = (day - date(1970, 1, 1)).days
    start = midnight(day)
    assert days.day_start_ns(config, number) == start
    assert days.local_day(config, start + around) == number - (around < 0)


@given(st.integers(1, 2 * CLOSE), st.integers(1, 2 * CLOSE), st.integers(0, 44_999), st.sampled_from([1, 2]))
def test_a_size_within_the_days_loss_stopped_out_reaches_no_limit(price: int, stop: int, lost: int, side: int) -> None:
    """The helper's size, entered and stopped at slipped prices with both fees, leaves equity above every floor."""
    desk = Desk(trading(**FTMO), (BTC,), venue=False)
    desk.feed(bars([CLOSE]))
    lose(desk, lost)
    config, state = desk.config[0], desk.state[0]
    left = int(state["account"]["equity"]) - int(exposure.hard_floor(state["risk"]))
    if (stop < price) != (side == Side.BUY):
        return

    def loss(lots: int) -> int:
        """In whole quote units of 1e-8 USDT; a lot at a tick is worth ten."""
        up = 1 if side == Side.BUY else -1
        enter, leave = max(1, price + up * -(-price * 100 // PPM)), max(1, stop - up * -(-stop * 100 // PPM))
        return 10 * lots * up * (enter - leave) + 2 * -(-10 * lots * max(enter, leave) * 1000 // PPM)

    most = int(config["markets"][0]["lots_max"])
    lots = int(exposure.lots_within_loss(config, state, 0, side, price, stop, most))
    worth = 10 * (max(price, stop) * 101 // 100 + 1) * (lots + 1) <= int(config["equity_max"])
    assert loss(lots) < left
    assert int(exposure.lots_within_loss(config, state, 0, side, price, stop, max(0, lots - 1))) == max(0, lots - 1)
    assert lots == most or not worth or loss(lots + 1) >= left - 3, "and hardly one more would"


@pytest.mark.parametrize("lost", [0, 20_000, 44_000])
def test_an_entry_with_a_stop_is_no_larger_than_the_day_may_lose(lost: int) -> None:
    """A stop half the price away loses more than the day has left: the size is cut to what it has."""
    stop = {"stop_loss_ticks": CLOSE // 2, "fixed_lots": LOTS, "asset_cap_ppm": 950_000}
    desk = Desk(trading(**{**FTMO, **stop}), (BTC,), venue=False)
    bar = bars([CLOSE])
    desk.feed(bar)
    lose(desk, lost)
    config, state = desk.config[0], desk.state[0]
    most = int(exposure.lots_within_loss(config, state, 0, int(Side.BUY), CLOSE, CLOSE // 2, LOTS))
    assert most < LOTS
    made = desk.feed(predict(bar[0], edge=5_000))
    assert [int(intent["qty"]) for intent in only(made, Kind.INTENT)] == [most]


@dataclass(frozen=True)
class Emitter:
    """A strategy: how its account is made and warmed up, and what then makes it enter."""

    make: Callable[..., Desk | BookDesk]
    go: Callable[[Desk | BookDesk], np.ndarray]


def on_bars(closes: list[int], then: list[int], **strategy: object) -> Emitter:
    def make(**limits: object) -> Desk:
        desk = Desk(trading(**{**FTMO, "fixed_lots": 1_000, **strategy, **limits}), (BTC,), venue=False)
        for bar in bars(closes):
            desk.feed(bar.reshape(1))
        return desk

    def go(desk: Desk | BookDesk) -> np.ndarray:
        tape, out = bars(then, start_ns=START_NS + STEP_NS * len(closes)), []
        for bar in tape:
            out.append(desk.feed(bar.reshape(1)))
            if strategy["kind"] == "edge":
                out.append(desk.feed(predict(bar, edge=5_000)))
        return np.concatenate(out)

    return Emitter(make, go)


def on_a_book(go: Callable[[BookDesk], np.ndarray], **strategy: object) -> Emitter:
    def make(**limits: object) -> BookDesk:
        book = BookDesk(on_books(**{**FTMO, "fixed_lots": 10, **strategy, **limits}))
        book.touch(19_998, 20_002)
        return book

    return Emitter(make, go)  # type: ignore[arg-type]


def _predict(book: BookDesk) -> np.ndarray:
    return book.predict(9_000_000, 1_000)


def _fall(book: BookDesk) -> np.ndarray:
    """Decisions on a quiet book, then on one that has fallen by more than its spread."""
    quiet = [book.timer() for _ in range(4)]
    book.touch(19_900, 19_904)
    return np.concatenate([*quiet, book.timer()])


EMITTERS = {
    "edge": on_bars([CLOSE], [CLOSE], kind="edge"),
    "sma": on_bars([CLOSE] * 6, [CLOSE + 1_000 * k for k in range(1, 4)], kind="sma", fast=2, slow=4),
    "mean_revert": on_bars([CLOSE, CLOSE + 100] * 4, [CLOSE - 5_000], kind="mean_revert", fast=4),
    "mean_revert on a book": on_a_book(_fall, kind="mean_revert", fast=3),
    "mm1": on_a_book(BookDesk.timer, kind="mm1", order_lots=1),
    **{
        f"edge_ticks, {entry}": on_a_book(_predict, kind="edge_ticks", entry=entry)
        for entry in ("market", "cross", "post", "best")
    },
}
emitters = pytest.mark.parametrize("name", list(EMITTERS))


def opened(out: np.ndarray) -> list[int]:
    return [int(row["qty"]) for row in only(out, Kind.INTENT) if row["flags"] & 0xFF == Action.OPEN]


@emitters
@pytest.mark.parametrize(("limit_ppm", "limits"), [(45_000, {}), (90_000, ONLY_TOTAL)], ids=["daily", "total"])
@pytest.mark.parametrize("resumed", [False, True], ids=["halted", "resumed"])
def test_every_emitter_enters_below_a_limit_and_is_refused_at_it(
    name: str, limit_ppm: int, limits: dict[str, object], resumed: bool
) -> None:
    emitter = EMITTERS[name]
    below, at = emitter.make(**limits), emitter.make(**limits)
    lose(below, limit_ppm, less=1)
    assert opened(emitter.go(below)), "or nothing is proven"
    lose(at, limit_ppm)
    if resumed:
        at.feed(command(Command.RESUME, int(at.state[0]["account"]["now_ns"])))
    out = emitter.go(at)
    assert opened(out) == []
    refused = [row for row in only(out, Kind.CHECK).view(CHECK) if row["flags"] == Verdict.REFUSED]
    assert refused and {int(row["reason"]) for row in refused} <= CLOSED


def test_an_entry_that_follows_the_market_is_cancelled_by_the_loss_and_does_not_come_back() -> None:
    book = EMITTERS["edge_ticks, post"].make()
    assert isinstance(book, BookDesk)
    (post,) = only(_predict(book), Kind.INTENT)
    book.report(post, OrderState.NEW)
    (cancel,) = only(lose(book, 45_000), Kind.INTENT)
    assert (cancel["flags"] & 0xFF, cancel["order_id"]) == (Action.CANCEL, post["order_id"])
    book.touch(20_008, 20_012)
    out = [book.report(post, OrderState.CANCELED), *(book.timer() for _ in range(3))]
    assert opened(np.concatenate(out).view(RECORD)) == []


def test_the_total_limit_is_recorded_even_where_nothing_is_left_to_close() -> None:
    """Reached while the account is flat and halted, it still ends every entry, and the journal says so once."""
    desk = Desk(trading(**FTMO), (BTC,), venue=False)
    first = bars([CLOSE])
    desk.feed(first)
    desk.feed(command(Command.KILL_HALT, int(first["ts_known"][0])))
    (said,) = only(lose(desk, 90_000), Kind.RISK)[-1:]
    assert (said["state_to"], said["reason"]) == (RiskState.HALT, Reason.TOTAL_LOSS_FLATTEN)
    assert desk.state["risk"]["total_stopped"][0] == 1
    assert Reason.TOTAL_LOSS_FLATTEN not in only(lose(desk, 10), Kind.RISK)["reason"]


def test_no_quote_is_sent_while_margin_is_short() -> None:
    book = BookDesk(on_books(kind="mm1", order_lots=1, inventory_lots=5))
    book.touch(1000, 1002)
    book.state["risk"]["deleveraging"] = 1
    assert len(only(book.timer(), Kind.INTENT)) == 0
    book.state["risk"]["deleveraging"] = 0
    assert len(only(book.timer(), Kind.INTENT)) == 2
