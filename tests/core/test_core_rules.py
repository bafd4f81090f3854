"""The rule table, cell by cell, through the core: a violated rule refuses exactly the actions its row names."""

from collections.abc import Callable

import numpy as np
import pytest

from core import orders, portfolio, rules
from core.layout import ORDERS_MAX, OUTBOX
from core.records import Action, Kind, OrderState, Reason, RiskState, Side, Verdict
from core.rules import ALWAYS_SAID, RULES
from tests.core.build import BTC, ETH, MINUTE_NS, STEP_NS, Desk, bars, fill, only, order_report, predict, trading

Break = Callable[[Desk], dict[str, int]]
LOTS = 10_000  # 0.1 BTC
CLOSE = 1_000_000  # 10000 USDT


def now(desk: Desk) -> int:
    return int(desk.state[0]["account"]["now_ns"])


def desk_for(action: Action, **changes: int) -> tuple[Desk, np.ndarray]:
    """A desk in which the next prediction wants ``action`` in BTC, and that prediction's bar."""
    settings = {"fixed_lots": LOTS, "asset_cap_ppm": 950_000, "prediction_ttl_ns": 10**15, **changes}
    desk = Desk(trading(**settings), (BTC, ETH), venue=False)
    tape = bars([CLOSE] * 4)
    desk.feed(tape[:1])
    if action != Action.OPEN:
        intent = only(desk.feed(predict(tape[0], edge=5_000)), Kind.INTENT)[0]
        desk.feed(order_report(intent, OrderState.NEW, now(desk) + 1))
        if action == Action.REDUCE:
            desk.feed(fill(intent, CLOSE, LOTS, now(desk) + 1))
    desk.feed(tape[1:2])
    return desk, tape[1]


def risk_state(desk: Desk, **fields: int) -> dict[str, int]:
    for name, value in fields.items():
        desk.state[0]["risk"][name] = value
    return {}


def config_value(desk: Desk, **fields: int) -> dict[str, int]:
    for name, value in fields.items():
        desk.config[0][name] = value
    return {}


def account_value(desk: Desk, **fields: int) -> dict[str, int]:
    for name, value in fields.items():
        desk.state[0]["account"][name] = value
    return {}


def market_value(desk: Desk, **fields: int) -> dict[str, int]:
    market = desk.config[0]["markets"][0]
    for name, value in fields.items():
        where = market if name in market.dtype.names else market["instrument"]
        where[name] = value
    return {}


def position_value(desk: Desk, **fields: int) -> dict[str, int]:
    for name, value in fields.items():
        desk.state[0]["positions"][0][name] = value
    return {}


def other_order(desk: Desk, lots: int) -> dict[str, int]:
    """A live buy of ETH that reserves exposure and cash."""
    orders.open_slot(desk.state[0]["orders"][1], 99, Side.BUY, Action.OPEN, lots, 0, 100_000, 2**62)
    return {}


def busy_hour(desk: Desk) -> dict[str, int]:
    desk.config[0]["max_orders_per_hour"] = 2
    desk.state[0]["risk"]["submitted"] = 2
    desk.state[0]["risk"]["submit_ns"][:2] = [now(desk) - 59 * MINUTE_NS, now(desk)]
    return {}


def seen_before(desk: Desk) -> dict[str, int]:
    return position_value(desk, decided_ts=int(desk.state[0]["positions"][0]["view"]["bar"]["ts_event"]))


# How to violate each rule without touching another; returns changes of the prediction.
BREAK: dict[Reason, Break] = {
    Reason.NOT_WHITELISTED: lambda desk: market_value(desk, allowed=0),
    Reason.STALE: lambda desk: config_value(desk, prediction_ttl_ns=1),
    Reason.LOW_CONFIDENCE: lambda desk: config_value(desk, min_confidence_ppm=600_001),
    Reason.KILL_SWITCH: lambda desk: risk_state(desk, state=RiskState.HALT),
    Reason.CIRCUIT_OPEN: lambda desk: risk_state(desk, circuit_until_ns=now(desk) + STEP_NS),
    Reason.PRICE_BAND: lambda desk: position_value(desk, previous_close=CLOSE * 2),
    Reason.FILTER_LOT: lambda desk: market_value(desk, min_lots=LOTS + 1),
    Reason.FILTER_NOTIONAL: lambda desk: market_value(desk, min_notional=10**15),
    Reason.EXPOSURE_ASSET: lambda desk: config_value(desk, asset_cap_ppm=0),
    Reason.EXPOSURE_TOTAL: lambda desk: other_order(desk, 960_000),
    Reason.CASH: lambda desk: account_value(desk, cash=0),
    Reason.COOLDOWN: lambda desk: (config_value(desk, cooldown_ns=STEP_NS), position_value(desk, exit_ns=now(desk)))[0],
    Reason.DAILY_STOP: lambda desk: risk_state(desk, day_stopped=1),
    Reason.RATE_LIMIT: busy_hour,
    Reason.DUPLICATE: seen_before,
}


def outcome(desk: Desk, action: Action, bar: np.void, **fields: int) -> tuple[int, int]:
    """(reason of the decision, action of the intent or 0)."""
    out = desk.feed(predict(bar, edge=5_000 if action == Action.OPEN else -5_000, **fields))
    decision, intents = only(out, Kind.DECISION), only(out, Kind.INTENT)
    assert len(decision) == 1
    return int(decision[0]["reason"]), int(intents[0]["flags"]) if len(intents) else 0


DONE = {Action.OPEN: Reason.ENTRY, Action.REDUCE: Reason.EXIT, Action.CANCEL: Reason.CANCEL_STALE}


@pytest.mark.parametrize("action", list(Action))
def test_with_no_rule_violated_every_action_goes_through(action: Action) -> None:
    desk, bar = desk_for(action)
    assert outcome(desk, action, bar) == (DONE[action], action)


# Cells where something else speaks before the chain: a holding no venue would take is dust, and HALT itself has
# already cancelled the buy when the decision comes.
SPOKEN_BEFORE = {
    (Reason.FILTER_LOT, Action.REDUCE): (Reason.DUST, 0),
    (Reason.FILTER_NOTIONAL, Action.REDUCE): (Reason.DUST, 0),
    (Reason.KILL_SWITCH, Action.CANCEL): (Reason.ORDER_IN_FLIGHT, Action.CANCEL),
}


@pytest.mark.parametrize("action", list(Action))
@pytest.mark.parametrize("rule", list(BREAK), ids=lambda rule: rule.name)
def test_cell(rule: Reason, action: Action) -> None:
    desk, bar = desk_for(action)
    BREAK[rule](desk)
    blocks = next(row for row in RULES if row[0] == rule)[action]
    expected = (rule, 0) if blocks else (DONE[action], action)
    assert outcome(desk, action, bar) == SPOKEN_BEFORE.get((rule, action), expected)


def test_no_rule_blocks_a_cancel_and_only_the_documented_ones_a_reduction() -> None:
    assert not any(row[Action.CANCEL] for row in RULES)
    assert {row[0] for row in RULES if row[Action.REDUCE]} == {
        Reason.STALE,
        Reason.MARKET_HALTED,
        Reason.FILTER_TICK,
        Reason.FILTER_LOT,
        Reason.FILTER_NOTIONAL,
        Reason.ORDERS_MAX,
        Reason.LONG_ONLY,
        Reason.REDUCE_ONLY,
        Reason.DUPLICATE,
    }
    assert [row[0] for row in RULES if not row[Action.OPEN]] == [Reason.REDUCE_ONLY]
    assert len({row[0] for row in RULES}) == len(RULES) == 30


def judged(desk: Desk, action: Action, lots: int = LOTS) -> int:
    """The chain's own verdict on ``lots``, without the sizer before it."""
    config, state = desk.config[0], desk.state[0]
    position = state["positions"][0]
    age = int(state["account"]["now_ns"] - position["view"]["bar"]["ts_event"])
    repeated = bool(position["view"]["bar"]["ts_event"] <= position["decided_ts"])
    box, side = np.zeros(1, OUTBOX)[0], Side.BUY if action == Action.OPEN else Side.SELL
    return rules.refusal(config, state, box, 0, int(action), side, lots, 0, age, 600_000, repeated)


ORDERED = [row[0] for row in RULES if row[0] in BREAK]


@pytest.mark.parametrize("first", ORDERED, ids=lambda rule: rule.name)
def test_the_first_violated_rule_is_the_reason(first: Reason) -> None:
    desk, _ = desk_for(Action.OPEN)
    assert judged(desk, Action.OPEN) == 0
    for rule in ORDERED[ORDERED.index(first) :]:
        BREAK[rule](desk)
    assert judged(desk, Action.OPEN) == first


def test_the_chain_stands_without_the_sizer() -> None:
    desk, _ = desk_for(Action.REDUCE)
    assert judged(desk, Action.REDUCE, LOTS) == 0
    assert judged(desk, Action.REDUCE, LOTS + 1) == Reason.LONG_ONLY
    assert judged(desk, Action.REDUCE, 1) == Reason.FILTER_LOT
    assert judged(desk, Action.OPEN, 950_000) == Reason.EXPOSURE_ASSET
    assert judged(desk, Action.OPEN, 2**62) == Reason.FILTER_LOT
    position_value(desk, price=0)
    assert judged(desk, Action.REDUCE) == Reason.FILTER_TICK
    assert judged(desk, Action.CANCEL) == 0


@pytest.mark.parametrize("action", list(Action))
def test_an_order_more_than_there_are_slots_is_refused(action: Action) -> None:
    desk, _ = desk_for(Action.REDUCE)
    for number in range(ORDERS_MAX):
        assert judged(desk, action) == 0
        orders.open_slot(desk.state[0]["orders"][0], 90 + number, Side.BUY, Action.OPEN, 1, 0, 1, 2**62)
    assert judged(desk, action) == (0 if action == Action.CANCEL else Reason.ORDERS_MAX)


@pytest.mark.parametrize("action", list(Action))
def test_the_chain_is_recorded_rule_by_rule_before_what_it_led_to(action: Action) -> None:
    desk, bar = desk_for(action)
    out = desk.feed(predict(bar, edge=5_000 if action == Action.OPEN else -5_000))
    checks, intent = only(out, Kind.CHECK), only(out, Kind.INTENT)[0]
    if action == Action.CANCEL:
        assert [int(kind) for kind in out["kind"]] == [Kind.DECISION, Kind.INTENT]
        return
    assert [int(kind) for kind in out["kind"]] == [Kind.CHECK] * len(checks) + [Kind.DECISION, Kind.INTENT]
    asked = [row[0] for row in RULES if row[action]]
    assert [reason for reason in asked if reason in checks["reason"]] == checks["reason"].tolist()
    assert set(ALWAYS_SAID) <= set(checks["reason"].tolist())
    assert set(checks["flags"]) == {Verdict.PASS}
    assert set(checks["order_id"]) == {intent["order_id"]}
    assert set(zip(checks["side"], checks["qty"], checks["price"], strict=True)) == {
        (intent["side"], intent["qty"], intent["price"])
    }
    assert (checks["value"] <= checks["limit"]).all()
    assert (checks["value"].astype(bool) | checks["limit"].astype(bool)).all()


def test_a_refusal_is_recorded_as_the_rule_that_refused_and_no_other() -> None:
    desk, bar = desk_for(Action.OPEN)
    config_value(desk, min_confidence_ppm=700_000)
    out = desk.feed(predict(bar, edge=5_000))
    assert [int(kind) for kind in out["kind"]] == [Kind.CHECK, Kind.DECISION]
    check = only(out, Kind.CHECK)[0]
    assert (check["reason"], check["flags"], check["order_id"]) == (Reason.LOW_CONFIDENCE, Verdict.REFUSED, 0)
    assert (check["value"], check["limit"], check["qty"]) == (400_000, 300_000, LOTS)


def test_dust_is_flat_and_does_not_block_an_entry() -> None:
    desk, bar = desk_for(Action.OPEN)
    desk.state[0]["positions"][0]["base_units"] = 1_999  # below min_qty of 2 lots of 1000
    portfolio.hold(desk.config[0], desk.state[0], 0)
    assert outcome(desk, Action.REDUCE, bar) == (Reason.DUST, 0)
    desk.state[0]["positions"][0]["decided_ts"] = 0
    assert outcome(desk, Action.OPEN, bar) == (Reason.ENTRY, Action.OPEN)


def test_the_rate_limit_counts_a_rolling_hour_and_lets_exits_pass() -> None:
    desk, bar = desk_for(Action.OPEN, max_orders_per_hour=1)
    desk.state[0]["risk"]["submitted"] = 1
    due = now(desk) + 50_000_000  # when the decision will be made
    desk.state[0]["risk"]["submit_ns"][0] = due - 60 * MINUTE_NS + 1
    assert outcome(desk, Action.OPEN, bar) == (Reason.RATE_LIMIT, 0)
    desk.state[0]["positions"][0]["decided_ts"] = 0
    desk.state[0]["risk"]["submit_ns"][0] = due - 60 * MINUTE_NS
    assert outcome(desk, Action.OPEN, bar) == (Reason.ENTRY, Action.OPEN)
