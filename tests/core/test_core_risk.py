"""Risk states: every tier fires at its limit, releases by its rule only, and is journaled with metric, value, limit."""

import numpy as np
import pytest

from core import risk
from core.records import Action, Command, Kind, Metric, OrderState, Reason, RiskState
from tests.core.build import BTC, STEP_NS, Desk, bars, command, fill, only, order_report, predict, trading

LOTS = 950_000  # 9.5 BTC at 10000 USDT: 95 % of the account
CLOSE = 1_000_000


def holding(**changes: int) -> tuple[Desk, int]:
    """A desk that is 95 % long at 10000 USDT, and the time."""
    settings = {
        "fixed_lots": LOTS,
        "asset_cap_ppm": 950_000,
        "daily_stop_ppm": 1_000_000,
        "flatten_daily_loss_ppm": 1_000_000,
        "prediction_ttl_ns": 10**17,
        **changes,
    }
    desk = Desk(trading(**settings), (BTC,), venue=False)
    first = bars([CLOSE])
    desk.feed(first)
    intent = only(desk.feed(predict(first[0], edge=5_000)), Kind.INTENT)[0]
    at = int(intent["ts_known"]) + 1
    desk.feed(order_report(intent, OrderState.NEW, at))
    desk.feed(fill(intent, CLOSE, LOTS, at))
    return desk, int(first[0]["ts_event"])


def close_at(desk: Desk, start_ns: int, price: int, step: int = 1) -> np.ndarray:
    """Feed the bar ``step`` steps after ``start_ns`` closing at ``price``; the RISK records it made."""
    bar = bars([price], start_ns=start_ns + (step - 1) * STEP_NS)
    return only(desk.feed(bar), Kind.RISK)


def price_for(drawdown_ppm: int) -> int:
    """The lowest close at which the account of ``holding`` is down by at most ``drawdown_ppm``."""
    loss = 100_000 * drawdown_ppm // 1_000_000  # USDT
    return CLOSE - loss * 100 * 100_000 // LOTS


@pytest.mark.parametrize(
    ("drawdown_ppm", "state", "reason"),
    [
        (30_000, RiskState.CAUTION, Reason.DRAWDOWN_CAUTION),
        (60_000, RiskState.HALT, Reason.DRAWDOWN_HALT),
        (90_000, RiskState.FLATTEN, Reason.DRAWDOWN_FLATTEN),
    ],
)
def test_each_tier_fires_at_its_limit_and_not_before(drawdown_ppm: int, state: int, reason: int) -> None:
    desk, start = holding()
    assert len(close_at(desk, start, price_for(drawdown_ppm - 200))) == (1 if drawdown_ppm > 30_000 else 0)
    (change,) = close_at(desk, start, price_for(drawdown_ppm) - 1, step=2)
    assert (change["state_to"], change["reason"], change["metric"]) == (state, reason, Metric.DRAWDOWN_PPM)
    assert change["limit"] == drawdown_ppm <= change["value"] < drawdown_ppm + 200


def test_caution_scales_size_and_recovers_at_half_its_limit() -> None:
    desk, start = holding()
    assert close_at(desk, start, price_for(31_000))[0]["state_to"] == RiskState.CAUTION
    assert len(close_at(desk, start, price_for(16_000), step=2)) == 0
    (change,) = close_at(desk, start, price_for(14_000), step=3)
    assert (change["state_to"], change["reason"]) == (RiskState.NORMAL, Reason.RECOVERED)

    small = Desk(trading(fixed_lots=1_000), (BTC,), venue=False)
    small.state[0]["risk"]["state"] = RiskState.CAUTION
    small.state[0]["risk"]["peak_equity"] = 10_200_000_000_000  # a drawdown of 2 %
    bar = bars([CLOSE])
    small.feed(bar)
    decision = only(small.feed(predict(bar[0], edge=5_000)), Kind.DECISION)[0]
    assert (decision["target_lots"], decision["size_lots"]) == (1_000, 500)


def test_halt_is_sticky_until_resume_which_starts_a_new_measurement() -> None:
    desk, start = holding()
    close_at(desk, start, price_for(61_000))
    close_at(desk, start, CLOSE, step=2)
    assert desk.state[0]["risk"]["state"] == RiskState.HALT
    (change,) = only(desk.feed(command(Command.RESUME, start + 2 * STEP_NS + 1)), Kind.RISK)
    assert (change["state_to"], change["reason"], change["metric"]) == (
        RiskState.NORMAL,
        Reason.OPERATOR_RESUME,
        Metric.OPERATOR,
    )
    assert risk.drawdown_ppm(desk.state[0]) == 0
    assert desk.state[0]["risk"]["drawdown_max_ppm"] >= 61_000


def test_flatten_sells_everything_then_halts_and_resume_waits_for_that() -> None:
    desk, start = holding()
    bar = bars([price_for(91_000)], start_ns=start)
    out = desk.feed(bar)
    (sale,) = only(out, Kind.INTENT)
    assert (sale["flags"], sale["reason"], sale["qty"]) == (Action.REDUCE, Reason.FLATTEN, LOTS)
    at = start + STEP_NS + 1
    (refused,) = only(desk.feed(command(Command.RESUME, at)), Kind.RISK)
    assert (refused["state_from"], refused["state_to"]) == (RiskState.FLATTEN, RiskState.FLATTEN)
    desk.feed(order_report(sale, OrderState.NEW, at))
    desk.feed(fill(sale, CLOSE, LOTS - 100_000, at))
    assert desk.state[0]["risk"]["state"] == RiskState.FLATTEN
    out = desk.feed(order_report(sale, OrderState.EXPIRED, at + 1))
    (again,) = only(out, Kind.INTENT)
    assert again["qty"] == 100_000
    (done,) = only(desk.feed(fill(again, CLOSE, 100_000, at + 2)), Kind.RISK)
    assert (done["state_from"], done["state_to"]) == (RiskState.FLATTEN, RiskState.HALT)


def test_daily_stop_blocks_entries_until_the_next_utc_day() -> None:
    desk, start = holding(daily_stop_ppm=20_000)
    (stop,) = close_at(desk, start, price_for(21_000))
    assert (stop["reason"], stop["metric"], stop["limit"]) == (Reason.DAILY_STOP, Metric.DAILY_LOSS_PPM, 20_000)
    assert stop["state_from"] == stop["state_to"]
    assert stop["value"] >= 20_000
    assert len(close_at(desk, start, CLOSE, step=2)) == 0  # recovering within the day does not lift it
    assert desk.state[0]["risk"]["day_stopped"] == 1
    (lifted,) = close_at(desk, start, CLOSE, step=287)  # closes 23:55 + 5 min, known after midnight
    assert lifted["reason"] == Reason.NEW_DAY
    assert desk.state[0]["risk"]["day_stopped"] == 0


def test_the_daily_loss_limit_sells_out_and_halts() -> None:
    desk, start = holding(daily_stop_ppm=20_000, flatten_daily_loss_ppm=50_000)
    assert [int(r["reason"]) for r in close_at(desk, start, price_for(49_000))] == [
        Reason.DRAWDOWN_CAUTION,
        Reason.DAILY_STOP,
    ]
    out = desk.feed(bars([price_for(51_000)], start_ns=start + STEP_NS))
    (breach,) = only(out, Kind.RISK)
    assert (breach["reason"], breach["metric"], breach["limit"]) == (
        Reason.DAILY_FLATTEN,
        Metric.DAILY_LOSS_PPM,
        50_000,
    )
    assert breach["state_to"] == RiskState.FLATTEN and breach["value"] >= 50_000
    (sale,) = only(out, Kind.INTENT)
    assert (sale["flags"], sale["reason"], sale["qty"]) == (Action.REDUCE, Reason.FLATTEN, LOTS)
    at = start + 2 * STEP_NS + 1
    desk.feed(order_report(sale, OrderState.NEW, at))
    (done,) = only(desk.feed(fill(sale, CLOSE, LOTS, at)), Kind.RISK)
    assert done["state_to"] == RiskState.HALT


@pytest.mark.parametrize(
    ("number", "state"),
    [(Command.KILL_HALT, RiskState.HALT), (Command.KILL_FLATTEN, RiskState.FLATTEN), (77, RiskState.HALT)],
)
def test_the_kill_switch_blocks_entries_and_lets_exits_pass(number: int, state: int) -> None:
    desk, start = holding()
    out = desk.feed(command(number, start + 1))
    assert desk.state[0]["risk"]["state"] == state
    if state == RiskState.HALT:
        bar = bars([CLOSE], start_ns=start)
        desk.feed(bar)
        out = desk.feed(predict(bar[0], edge=-5_000))
    assert [int(i["flags"]) for i in only(out, Kind.INTENT)] == [Action.REDUCE]


def test_halt_cancels_a_live_buy_and_a_pending_cancel_is_not_repeated() -> None:
    desk = Desk(trading(), (BTC,), venue=False)
    bar = bars([CLOSE])
    desk.feed(bar)
    (buy,) = only(desk.feed(predict(bar[0], edge=5_000)), Kind.INTENT)
    (cancel,) = only(desk.feed(command(Command.KILL_HALT, int(buy["ts_known"]) + 1)), Kind.INTENT)
    assert (cancel["flags"], cancel["order_id"]) == (Action.CANCEL, buy["order_id"])
    assert len(only(desk.feed(bars([CLOSE], start_ns=int(bar[0]["ts_event"]))), Kind.INTENT)) == 0


def test_flatten_waits_for_an_order_that_may_still_fill() -> None:
    desk = Desk(trading(), (BTC,), venue=False)
    bar = bars([CLOSE])
    desk.feed(bar)
    (buy,) = only(desk.feed(predict(bar[0], edge=5_000)), Kind.INTENT)
    at = int(buy["ts_known"]) + 1
    (change,) = only(desk.feed(command(Command.KILL_FLATTEN, at)), Kind.RISK)
    assert change["state_to"] == RiskState.FLATTEN
    assert len(only(desk.feed(bars([CLOSE], start_ns=int(bar[0]["ts_event"]))), Kind.RISK)) == 0
    (done,) = only(desk.feed(order_report(buy, OrderState.CANCELED, at)), Kind.RISK)
    assert (done["reason"], done["state_to"]) == (Reason.ALREADY_FLAT, RiskState.HALT)


def test_rejects_in_a_row_open_the_circuit_and_one_more_reopens_it() -> None:
    desk = Desk(trading(circuit_failures=2, circuit_open_ns=5 * STEP_NS // 2), (BTC,), venue=False)
    seen: list[int] = []
    tape = bars([CLOSE] * 12)
    for row in range(12):
        desk.feed(tape[row : row + 1])
        out = desk.feed(predict(tape[row], edge=5_000))
        for intent in only(out, Kind.INTENT):
            desk.feed(order_report(intent, OrderState.REJECTED, int(intent["ts_known"]) + 1))
        seen.append(int(only(out, Kind.DECISION)[0]["reason"]))
    tried = [reason == Reason.ENTRY for reason in seen]
    # two rejects, two bars of silence, one probe, silence again
    assert tried == [True, True, False, False, True, False, False, True, False, False, True, False]
    assert set(np.array(seen)[~np.array(tried)]) == {Reason.CIRCUIT_OPEN}
    opened = only(np.concatenate(desk.out), Kind.RISK)
    assert [int(r["value"]) for r in opened] == [2, 3, 4, 5]
    assert set(opened["metric"]) == {Metric.VENUE_FAILURES}


@pytest.mark.parametrize("beyond", ["quantity", "order", "side", "cash", "holdings"])
def test_facts_beyond_a_limit_are_booked_then_trading_halts(beyond: str) -> None:
    desk, start = holding()
    position, account = desk.state[0]["positions"][0], desk.state[0]["account"]
    units, cash = int(position["base_units"]), int(account["cash"])
    bar = bars([CLOSE], start_ns=start)
    desk.feed(bar)
    (sale,) = only(desk.feed(predict(bar[0], edge=-5_000)), Kind.INTENT)
    fact = fill(sale, CLOSE, LOTS if beyond != "holdings" else LOTS + 1, start + STEP_NS + 10**9)
    if beyond == "quantity":
        fact["qty"] = LOTS + 5
    elif beyond == "order":
        fact["order_id"] = 12345
    elif beyond == "side":
        fact["side"] = 1
    elif beyond == "cash":
        fact["fee"] = 200_000 * 10**8
    changes = only(desk.feed(fact), Kind.RISK)
    assert changes[0]["state_to"] == RiskState.HALT
    assert (changes[0]["reason"], changes[0]["metric"]) == (Reason.FACT_BEYOND_LIMIT, Metric.LEDGER)
    sign = 1 if beyond == "side" else -1
    assert position["base_units"] == units + sign * int(fact["qty"][0]) * 1000
    assert account["cash"] == cash - sign * int(fact["qty"][0]) * CLOSE * 10 - int(fact["fee"][0])


def test_an_unknown_order_holds_its_exposure_and_its_slot() -> None:
    desk = Desk(trading(asset_cap_ppm=950_000, fixed_lots=500_000), (BTC,), venue=False)
    tape = bars([CLOSE] * 3)
    desk.feed(tape[:1])
    (buy,) = only(desk.feed(predict(tape[0], edge=5_000)), Kind.INTENT)
    desk.feed(order_report(buy, OrderState.UNKNOWN, int(buy["ts_known"]) + 1))
    desk.feed(tape[1:2])
    out = desk.feed(predict(tape[1], edge=5_000))
    assert only(out, Kind.DECISION)[0]["reason"] == Reason.ORDER_IN_FLIGHT
    assert len(only(out, Kind.INTENT)) == 0
    desk.feed(fill(buy, CLOSE, 500_000, int(tape[1]["ts_known"]) + 10**9))
    orders = desk.state[0]["orders"][0]
    assert (orders["live"], orders["slots"][0]["state"]) == (0, OrderState.FILLED)
    assert desk.state[0]["risk"]["state"] == RiskState.NORMAL


def test_an_order_that_outlives_its_deadline_is_cancelled() -> None:
    desk = Desk(trading(order_ttl_ns=2 * STEP_NS), (BTC,), venue=False)
    tape = bars([CLOSE] * 5)
    desk.feed(tape[:1])
    (buy,) = only(desk.feed(predict(tape[0], edge=5_000)), Kind.INTENT)
    cancels = [len(only(desk.feed(tape[row : row + 1]), Kind.INTENT)) for row in range(1, 5)]
    assert cancels == [0, 0, 1, 0]
    assert only(np.concatenate(desk.out), Kind.INTENT)[-1]["order_id"] == buy["order_id"]
