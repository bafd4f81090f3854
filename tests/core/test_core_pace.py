"""How often, how much and after which losses: every time limit to the nanosecond, every window against a slow sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import exposure
from core.records import CHECK, DAY_NS, HOUR_NS, MINUTE_NS, Action, Kind, Metric, OrderState, Reason, RiskState, Verdict
from tests.core.book_desk import BookDesk, on_books
from tests.core.build import BTC, ETH, START_NS, Desk, bars, fill, only, order_report, predict, trading

CLOSE = 1_000_000  # 10000 USDT
LOTS = 10_000  # 0.1 BTC: 1000 USDT, 1 % of the account
SECOND_NS = MINUTE_NS // 60
MONDAY_NS = START_NS + 5 * DAY_NS  # the session begins on a Wednesday
WIDE = {"max_orders_per_hour": 0, "prediction_ttl_ns": 10**17, "circuit_failures": 1000, "price_band_ppm": 10**9}


class Trader(Desk):
    """An account that has seen a bar of each instrument; the test says when it wants what, and what the venue did."""

    def __init__(self, **changes: object) -> None:
        super().__init__(trading(**{"fixed_lots": LOTS, **WIDE, **changes}), (BTC, ETH), venue=False)
        self.last = [bars([CLOSE])[0], bars([CLOSE // 10], instrument=1)[0]]
        for bar in self.last:
            self.feed(bar.reshape(1))
        self.start, self.executions = int(self.last[0]["ts_known"]), 0

    @property
    def risk(self) -> np.void:
        return self.state[0]["risk"]

    def want(self, edge: int, after_ns: int, *, p_up: int = 600_000, index: int = 0) -> tuple[Reason, np.void | None]:
        """(reason of the decision, the intent it made) of a prediction known ``after_ns`` after the first bars."""
        at = self.start + after_ns
        out = self.feed(predict(self.last[index], edge=edge, p_up=p_up, ts_event=at, ts_known=at, bar_ts=at))
        (decision,), intents = only(out, Kind.DECISION), only(out, Kind.INTENT)
        return Reason(int(decision["reason"])), intents[0] if len(intents) else None

    def enter(self, after_ns: int, **of: int) -> tuple[Reason, np.void | None]:
        return self.want(5_000, after_ns, **of)

    def report(self, intent: np.void, state: OrderState, after_ns: int) -> np.ndarray:
        return self.feed(order_report(intent, state, self.start + after_ns))

    def execute(self, intent: np.void, after_ns: int, price: int = CLOSE) -> np.ndarray:
        self.executions += 1
        done = fill(intent, price, int(intent["qty"]), self.start + after_ns)
        done["exec_id"] = self.executions
        return self.feed(done)

    def entered(self, after_ns: int) -> int:
        """Enter, buy and sell at the same price, all at one instant; the lots bought."""
        reason, buy = self.enter(after_ns)
        assert reason == Reason.ENTRY and buy is not None
        self.round(buy, after_ns, CLOSE)
        return int(buy["qty"])

    def round(self, buy: np.void, after_ns: int, price: int) -> None:
        """Fill ``buy`` at the close and sell at ``price``."""
        self.execute(buy, after_ns)
        _, sell = self.want(-5_000, after_ns + 1)
        assert sell is not None
        self.execute(sell, after_ns + 1, price)

    def lose(self, after_ns: int) -> None:
        """A round trip that ends at a loss ``after_ns``."""
        reason, buy = self.enter(after_ns - 1)
        assert reason == Reason.ENTRY and buy is not None
        self.round(buy, after_ns - 1, CLOSE - 1)


def approved(trader: Trader, after_ns: int, **of: int) -> Reason:
    """Ask for an entry; if it is sent it ends at once unfilled, so that the next may be asked for."""
    reason, intent = trader.enter(after_ns, **of)
    if intent is not None:
        trader.report(intent, OrderState.CANCELED, after_ns)
    return reason


def test_the_eleventh_signal_of_an_hour_waits_for_the_first_to_be_an_hour_old() -> None:
    trader = Trader(max_signals_per_hour=10)
    assert [approved(trader, k * MINUTE_NS) for k in range(10)] == [Reason.ENTRY] * 10
    assert approved(trader, 10 * MINUTE_NS) == Reason.SIGNAL_RATE
    assert approved(trader, HOUR_NS - 1) == Reason.SIGNAL_RATE
    assert approved(trader, HOUR_NS) == Reason.ENTRY
    assert approved(trader, HOUR_NS + MINUTE_NS - 1) == Reason.SIGNAL_RATE, "the second is not an hour old"


def test_the_sixth_signal_of_high_confidence_is_refused_and_others_are_not() -> None:
    trader = Trader(max_signals_per_hour=10, max_signals_per_hour_high=5, high_confidence_ppm=700_000)
    assert [approved(trader, k * MINUTE_NS, p_up=700_000) for k in range(5)] == [Reason.ENTRY] * 5
    assert approved(trader, 5 * MINUTE_NS, p_up=700_000) == Reason.SIGNAL_RATE_HIGH
    assert approved(trader, 6 * MINUTE_NS, p_up=699_999) == Reason.ENTRY
    assert approved(trader, HOUR_NS - 1, p_up=700_000) == Reason.SIGNAL_RATE_HIGH
    assert approved(trader, HOUR_NS, p_up=700_000) == Reason.ENTRY


def test_what_was_refused_and_what_reduces_are_no_signals() -> None:
    trader = Trader(max_signals_per_hour=2, cooldown_ns=MINUTE_NS)
    trader.entered(0)
    assert approved(trader, SECOND_NS) == Reason.COOLDOWN
    assert trader.risk["signals"] == 1 and trader.risk["submitted"] == 2
    assert approved(trader, 2 * MINUTE_NS) == Reason.ENTRY


def test_the_cool_down_is_exact_to_the_nanosecond_and_of_one_instrument() -> None:
    trader = Trader(cooldown_ns=MINUTE_NS)
    trader.entered(0)  # the exit fills a nanosecond later
    assert approved(trader, MINUTE_NS, index=1) == Reason.ENTRY, "another instrument does not wait"
    assert approved(trader, MINUTE_NS) == Reason.COOLDOWN
    assert approved(trader, MINUTE_NS + 1) == Reason.ENTRY


def test_a_weekly_loss_stops_entries_until_monday() -> None:
    trader = Trader(
        fixed_lots=500_000, asset_cap_ppm=950_000, weekly_stop_ppm=20_000, caution_drawdown_ppm=500_000,
        halt_drawdown_ppm=600_000, flatten_drawdown_ppm=700_000,
    )  # fmt: skip
    _, buy = trader.enter(0)
    assert buy is not None
    trader.execute(buy, 0)  # 5 BTC: 50,000 of 100,000 USDT
    lost = bars([CLOSE - 40_000], start_ns=int(trader.last[0]["ts_event"]))  # 4 % of that: exactly 2 % of the account
    (day, week) = only(trader.feed(lost), Kind.RISK)
    assert (day["reason"], week["reason"], week["metric"]) == (
        Reason.DAILY_STOP,
        Reason.WEEKLY_STOP,
        Metric.WEEKLY_LOSS_PPM,
    )
    assert (week["value"], week["limit"]) == (20_000, 20_000)
    _, sell = trader.want(-5_000, HOUR_NS)
    assert sell is not None, "an exit is never refused"
    trader.execute(sell, HOUR_NS, CLOSE - 40_000)
    to_monday = MONDAY_NS - trader.start
    assert approved(trader, DAY_NS) == Reason.WEEKLY_STOP, "the daily stop is over, the weekly one is not"
    assert approved(trader, to_monday - 1) == Reason.WEEKLY_STOP
    assert approved(trader, to_monday) == Reason.ENTRY


@pytest.mark.parametrize(("second_ns", "lots"), [(59, 7_000), (60, 7_000), (61, LOTS)])
def test_two_losses_within_the_hour_cut_sizes_for_the_day(second_ns: int, lots: int) -> None:
    trader = Trader(backoff_losses=2, backoff_window_ns=HOUR_NS, backoff_cut_ppm=300_000)
    trader.lose(MINUTE_NS)
    trader.lose(MINUTE_NS + second_ns * MINUTE_NS)
    assert trader.entered(2 * HOUR_NS + 2 * MINUTE_NS) == lots
    said = [Reason(int(row["reason"])) for row in only(np.concatenate(trader.out), Kind.RISK)]
    assert said.count(Reason.BACK_OFF) == (lots != LOTS)
    assert trader.entered(DAY_NS) == LOTS, "the next day is a new one"


def test_a_profit_between_two_losses_does_not_count_and_one_loss_is_not_two() -> None:
    trader = Trader(backoff_losses=2, backoff_window_ns=HOUR_NS, backoff_cut_ppm=300_000)
    trader.lose(MINUTE_NS)
    assert trader.entered(2 * MINUTE_NS) == LOTS
    trader.lose(3 * MINUTE_NS)
    assert trader.entered(4 * MINUTE_NS) == 7_000


def test_an_open_circuit_lets_one_probe_through_and_its_fate_decides() -> None:
    trader = Trader(circuit_failures=2, circuit_open_ns=MINUTE_NS)
    for k in range(2):
        _, intent = trader.enter(k)
        assert intent is not None
        trader.report(intent, OrderState.REJECTED, k)
    assert trader.enter(MINUTE_NS)[0] == Reason.CIRCUIT_OPEN  # opened a nanosecond after the start
    reason, probe = trader.enter(MINUTE_NS + 1)
    assert reason == Reason.ENTRY and probe is not None
    assert trader.enter(MINUTE_NS + 2, index=1)[0] == Reason.CIRCUIT_OPEN, "its fate is not known"
    trader.report(probe, OrderState.REJECTED, MINUTE_NS + 3)
    assert (trader.risk["trips"], trader.risk["trips_week"]) == (2, 2)
    assert trader.enter(2 * MINUTE_NS + 2, index=1)[0] == Reason.CIRCUIT_OPEN
    reason, probe = trader.enter(2 * MINUTE_NS + 3, index=1)
    assert reason == Reason.ENTRY and probe is not None
    (closed,) = only(trader.report(probe, OrderState.NEW, 2 * MINUTE_NS + 4), Kind.RISK)
    assert (closed["reason"], closed["metric"]) == (Reason.RECOVERED, Metric.VENUE_FAILURES)
    assert approved(trader, 2 * MINUTE_NS + 5) == Reason.ENTRY
    assert (trader.risk["trips"], trader.risk["failures"]) == (2, 0)
    approved(trader, MONDAY_NS - trader.start)
    assert (trader.risk["trips"], trader.risk["trips_week"]) == (2, 0)


def test_a_cap_on_turnover_lets_exits_pass_and_ends_with_its_window() -> None:
    trader = Trader(turnover_minute_ppm=20_000)  # 2000 USDT, two trades of 0.1 BTC
    trader.entered(0)
    assert approved(trader, SECOND_NS) == Reason.TURNOVER
    _, buy = Trader(turnover_minute_ppm=10_000).enter(0)
    assert buy is not None, "one at its limit passes"
    assert approved(trader, 60 * SECOND_NS) == Reason.TURNOVER
    assert approved(trader, 61 * SECOND_NS) == Reason.ENTRY


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 25), st.sampled_from([1_000, 4_000, 9_000])), min_size=5, max_size=25))
def test_no_window_ever_trades_more_than_its_cap_by_entries(steps: list[tuple[int, int]]) -> None:
    """Against a list of everything traded: an approval fits the true window, a refusal one a bucket longer."""
    trader, at, traded = Trader(turnover_minute_ppm=30_000, turnover_hour_ppm=90_000), 0, list[tuple[int, int]]()
    for seconds, lots in steps:
        at += seconds * SECOND_NS + 2
        trader.config[0]["markets"][0]["params"]["fixed_lots"] = lots
        value = lots * 10**7
        reason, buy = trader.enter(at)
        room = {True: True, False: True}
        for wider in (False, True):
            for window, bucket, cap in ((60, 1, 3_000), (3600, 60, 9_000)):
                start = at - (window + bucket * wider) * SECOND_NS
                used = sum(amount for when, amount in traded if when > start)
                room[wider] &= used + value <= cap * 10**8
        if buy is None:
            assert reason == Reason.TURNOVER and not room[True]
        else:
            assert room[False]
            trader.round(buy, at, CLOSE)
            traded += [(at, value), (at + 1, value)]


def leveraged(**changes: object) -> Trader:
    """A margin account of 100,000 USDT that holds 8 BTC at 10,000: 80.0 % of its margin."""
    wide = dict.fromkeys(("daily_stop_ppm", "flatten_daily_loss_ppm"), 1_000_000)
    trader = Trader(profile="margin", fixed_lots=800_000, asset_cap_ppm=1_000_000, total_cap_ppm=1_000_000,
                    **{**wide, **changes})  # fmt: skip
    _, buy = trader.enter(0)
    assert buy is not None
    trader.execute(buy, 0)
    return trader


def marked(trader: Trader, price: int) -> np.ndarray:
    return trader.feed(bars([price], start_ns=int(trader.state[0]["positions"][0]["view"]["bar"]["ts_event"])))


def margin_ppm(trader: Trader) -> float:
    account = trader.state[0]["account"]
    return 1e6 * int(account["exposure"]) / int(account["equity"])


def test_margin_at_its_limit_is_left_alone_and_above_it_reduced_to_it() -> None:
    trader = leveraged()
    assert margin_ppm(trader) == 800_000 and len(marked(trader, CLOSE)) == 0
    price = 1_006_281  # 80.1 % of the equity it makes
    out = marked(trader, price)
    assert margin_ppm(trader) == pytest.approx(801_000, abs=1)
    (short,), (sale,) = only(out, Kind.RISK), only(out, Kind.INTENT)
    assert (short["reason"], short["metric"], short["limit"]) == (Reason.DELEVERAGE, Metric.MARGIN_PPM, 800_000)
    assert short["value"] == pytest.approx(801_000, abs=2)
    assert (sale["flags"], sale["reason"]) == (Action.REDUCE, Reason.DELEVERAGE)
    assert len(marked(trader, price)) == 0, "what is under way counts"
    (over,) = only(trader.execute(sale, 3 * HOUR_NS, price), Kind.RISK)
    assert over["reason"] == Reason.RECOVERED
    assert 799_000 < margin_ppm(trader) <= 800_000, "and no more than was needed"
    assert trader.risk["state"] == RiskState.NORMAL


def test_a_spot_account_has_no_margin_to_be_short_of() -> None:
    trader = Trader(fixed_lots=900_000, asset_cap_ppm=950_000, daily_stop_ppm=1_000_000,
                    flatten_daily_loss_ppm=1_000_000)  # fmt: skip
    _, buy = trader.enter(0)
    assert buy is not None
    trader.execute(buy, 0)
    assert margin_ppm(trader) > 800_000 and len(marked(trader, CLOSE)) == 0
    assert exposure.margin_total(trader.config[0], 10**10) == 10**10


@pytest.mark.parametrize(("shown", "capacity", "lots"), [(5_000, 0, 100), (5_049, 0, 100), (5_000, 60, 60), (49, 0, 0)])
def test_an_entry_takes_at_most_its_share_of_what_is_shown_and_its_capacity(
    shown: int, capacity: int, lots: int
) -> None:
    limit = {"capacity_lots": {"COIN": capacity}} if capacity else {}
    book = BookDesk(on_books(kind="edge_ticks", fixed_lots=1_000, depth_share_ppm=20_000, entry="cross", **limit))
    book.touch(19_998, 20_002, shown)
    out = book.predict(9_000_000, 1_000)
    (decision,) = only(out, Kind.DECISION)
    assert (decision["target_lots"], decision["size_lots"]) == ((1_000, lots) if lots else (1_000, 0))
    if lots == 0:
        assert decision["reason"] == Reason.DEPTH
        return
    (check,) = [row for row in only(out, Kind.CHECK).view(CHECK) if row["reason"] == Reason.DEPTH]
    assert (check["value"], check["limit"], check["flags"]) == (lots, lots, Verdict.PASS)
