"""Every cell of the rule table, at its boundary: rule x {open, reduce, cancel} x {spot, margin}.

Each rule is put exactly at its limit, where everything must pass, and one unit beyond it, where exactly the actions of
its row are refused with its reason. The account holds 0.1 BTC worth 1,000 of its 100,000 USDT; the order is for 100.
"""

from collections.abc import Callable

import numpy as np
import pytest

from core import config as core_config
from core import engine, exposure, orders, pace, portfolio, rules, units
from core.layout import OUTBOX, zeros
from core.records import CHECK, HOUR_NS, MINUTE_NS, Action, Kind, MarketStatus, Reason, RiskState, Side, Verdict
from core.rules import ALWAYS_SAID, RULES
from core.settings import Group
from tests.core.build import BTC, ETH, START_NS, trading

CLOSE = 1_000_000  # 10,000 USDT
HELD = 10_000  # lots
LOTS = 1_000
VALUE = 100 * 10**8  # of the order, quote units
CONFIDENCE = 600_000
NOW = START_NS + HOUR_NS
ACTIONS = (Action.OPEN, Action.REDUCE)
GROUPS = (
    Group(name="coins", kind="theme", symbols=("BTCUSDT", "ETHUSDT"), cap_ppm=1_000_000),
    Group(name="majors", kind="cluster", symbols=("BTCUSDT",), cap_ppm=1_000_000),
)


class Account:
    """A small account, and one order that every rule lets through."""

    def __init__(self, action: Action, profile: str = "spot") -> None:
        settings = trading(
            profile=profile, asset_cap_ppm=1_000_000, total_cap_ppm=1_000_000, groups=GROUPS, deleverage_ppm=1_000_000
        )
        self.config = core_config.build(settings, (BTC, ETH))[0]
        self.state = engine.new_state(core_config.build(settings, (BTC, ETH)))[0]
        self.action = action
        self.side = Side.SELL if action == Action.REDUCE else Side.BUY
        self.qty, self.limit, self.age_ns, self.repeated = LOTS, 0, 0, False
        self.account, self.risk = self.state["account"], self.state["risk"]
        self.market, self.position = self.config["markets"][0], self.state["positions"][0]
        self.account["now_ns"] = NOW
        self.account["cash"] -= 10 * VALUE
        self.position["base_units"] = HELD * int(self.market["instrument"]["lot_units"])
        self.position["view"]["bar"]["close"] = self.position["previous_close"] = CLOSE
        portfolio.hold(self.config, self.state, 0)
        portfolio.mark(self.config, self.state, 0, 2 * CLOSE)
        self.risk["day_equity"] = self.account["equity"]
        self.box = zeros(1, OUTBOX)[0]

    def refusal(self) -> int:
        return int(
            rules.refusal(
                self.config, self.state, self.box, 0, int(self.action), int(self.side), self.qty, self.limit,
                self.age_ns, CONFIDENCE, self.repeated,
            )
        )  # fmt: skip

    def measure(self, rule: Reason) -> tuple[int, int]:
        number = [row[0] for row in RULES].index(rule)
        value, most = rules.measure(
            self.config, self.state, 0, number, int(self.side), self.qty, self.limit, self.age_ns, CONFIDENCE,
            self.repeated,
        )  # fmt: skip
        return int(value), int(most)


At = Callable[[Account, int], None]


def cap(account: Account, where: np.void, beyond: int, name: str = "cap_ppm") -> None:
    """A cap of 1,100 or 900 USDT: what is held and the order, in the direction of the order."""
    reach = 1_100 if account.action == Action.OPEN else 1_000
    where[name] = reach * 10
    account.position["value"] += beyond


def whitelist(account: Account, beyond: int) -> None:
    account.market["allowed"] = 1 - beyond


def stale(account: Account, beyond: int) -> None:
    account.age_ns = int(account.config["prediction_ttl_ns"]) + beyond


def confidence(account: Account, beyond: int) -> None:
    account.config["min_confidence_ppm"] = CONFIDENCE + beyond


def kill_switch(account: Account, beyond: int) -> None:
    account.risk["state"] = RiskState.CAUTION + beyond


def circuit(account: Account, beyond: int) -> None:
    account.risk["failures"] = account.config["circuit_failures"]
    account.risk["circuit_until_ns"] = NOW + beyond


def band(account: Account, beyond: int) -> None:
    account.position["view"]["bar"]["close"] = CLOSE + CLOSE // 10 + beyond


def halted(account: Account, beyond: int) -> None:
    account.position["status"], account.position["status_until_ns"] = MarketStatus.HALT, NOW + beyond


def tick(account: Account, beyond: int) -> None:
    account.position["price"] = 1 - beyond
    account.market["instrument"]["min_notional"] = 0


def lot(account: Account, beyond: int) -> None:
    account.market["instrument"]["min_lots"] = account.qty + beyond


def notional(account: Account, beyond: int) -> None:
    account.market["instrument"]["min_notional"] = VALUE + beyond


def slots(account: Account, beyond: int) -> None:
    for number in range(7 + beyond):
        orders.open_slot(account.state["orders"][0], 90 + number, Side.BUY, Action.OPEN, 1, 0, 1, NOW * 2)


def asset(account: Account, beyond: int) -> None:
    cap(account, account.config, beyond, "asset_cap_ppm")


def theme(account: Account, beyond: int) -> None:
    cap(account, account.config["groups"][0], beyond)


def cluster(account: Account, beyond: int) -> None:
    cap(account, account.config["groups"][1], beyond)


def total(account: Account, beyond: int) -> None:
    cap(account, account.config, beyond, "total_cap_ppm")


def margin(account: Account, beyond: int) -> None:
    cap(account, account.config, beyond, "deleverage_ppm")


def cash(account: Account, beyond: int) -> None:
    account.account["cash"] = exposure.buy_cost(account.config, 0, CLOSE, LOTS) - beyond


def held(account: Account, beyond: int) -> None:
    account.side, account.qty = Side.SELL, HELD + beyond


def fees(account: Account, beyond: int) -> None:
    account.config["fee_budget_day_ppm"] = 1_000
    fee = VALUE // 1_000
    account.risk["day_fees"] = 100 * 10**8 - fee + beyond


def depth(account: Account, beyond: int) -> None:
    account.market["capacity_lots"] = LOTS - beyond


def turnover(account: Account, beyond: int) -> None:
    account.config["turnover_minute_ppm"] = 1_000
    account.risk["seconds"]["number"][0] = (NOW - 60 * pace.SECOND_NS) // pace.SECOND_NS
    account.risk["seconds"]["amount"][0] = beyond


def cooldown(account: Account, beyond: int) -> None:
    account.config["cooldown_ns"] = MINUTE_NS
    account.position["exit_ns"] = NOW - MINUTE_NS + beyond


def an_hour_ago(account: Account, beyond: int, limit: str, count: str, times: str) -> None:
    account.config[limit], account.risk[count] = 1, 1
    account.risk[times][0] = NOW - HOUR_NS + beyond


def orders_rate(account: Account, beyond: int) -> None:
    an_hour_ago(account, beyond, "max_orders_per_hour", "submitted", "submit_ns")


def signal_rate(account: Account, beyond: int) -> None:
    an_hour_ago(account, beyond, "max_signals_per_hour", "signals", "signal_ns")


def signal_rate_high(account: Account, beyond: int) -> None:
    account.config["high_confidence_ppm"] = CONFIDENCE
    an_hour_ago(account, beyond, "max_signals_per_hour_high", "signals_high", "signal_high_ns")


def stopped(name: str) -> At:
    def at(account: Account, beyond: int) -> None:
        account.risk[name] = beyond

    return at


def duplicate(account: Account, beyond: int) -> None:
    account.repeated = beyond == 1


AT: dict[Reason, At] = {
    Reason.NOT_WHITELISTED: whitelist,
    Reason.STALE: stale,
    Reason.LOW_CONFIDENCE: confidence,
    Reason.KILL_SWITCH: kill_switch,
    Reason.CIRCUIT_OPEN: circuit,
    Reason.PRICE_BAND: band,
    Reason.MARKET_HALTED: halted,
    Reason.FILTER_TICK: tick,
    Reason.FILTER_LOT: lot,
    Reason.FILTER_NOTIONAL: notional,
    Reason.ORDERS_MAX: slots,
    Reason.EXPOSURE_ASSET: asset,
    Reason.EXPOSURE_THEME: theme,
    Reason.EXPOSURE_CLUSTER: cluster,
    Reason.EXPOSURE_TOTAL: total,
    Reason.MARGIN: margin,
    Reason.CASH: cash,
    Reason.LONG_ONLY: held,
    Reason.REDUCE_ONLY: held,
    Reason.FEE_GUARD: fees,
    Reason.DEPTH: depth,
    Reason.TURNOVER: turnover,
    Reason.COOLDOWN: cooldown,
    Reason.RATE_LIMIT: orders_rate,
    Reason.SIGNAL_RATE: signal_rate,
    Reason.SIGNAL_RATE_HIGH: signal_rate_high,
    Reason.DAILY_STOP: stopped("day_stopped"),
    Reason.WEEKLY_STOP: stopped("week_stopped"),
    Reason.TOTAL_LOSS: stopped("total_stopped"),
    Reason.DUPLICATE: duplicate,
}
TWINS = (Reason.LONG_ONLY, Reason.REDUCE_ONLY)
PROFILE_OF = {Reason.CASH: "spot", Reason.LONG_ONLY: "spot", Reason.MARGIN: "margin", Reason.REDUCE_ONLY: "margin"}
rule_ids = pytest.mark.parametrize("rule", list(AT), ids=lambda rule: rule.name)
profiles = pytest.mark.parametrize("profile", ["spot", "margin"])


def test_every_rule_is_put_to_the_test() -> None:
    assert list(AT) == [row[0] for row in RULES]


def blocks(rule: Reason, action: Action, profile: str) -> bool:
    row = next(row for row in RULES if row[0] == rule)
    return bool(row[action]) and PROFILE_OF.get(rule, profile) == profile


@profiles
@rule_ids
@pytest.mark.parametrize("action", ACTIONS)
def test_at_its_limit_it_passes_and_beyond_it_the_row_decides(rule: Reason, action: Action, profile: str) -> None:
    at, beyond = Account(action, profile), Account(action, profile)
    AT[rule](at, 0)
    AT[rule](beyond, 1)
    if blocks(rule, action, profile):
        value, most = at.measure(rule)
        assert value == most or rule == Reason.FILTER_TICK  # the one rule with a least and a most
        value, most = beyond.measure(rule)
        assert value == most + 1
    assert at.refusal() == 0
    if rule in TWINS:  # of which one speaks on spot, the other on margin
        rule = Reason.LONG_ONLY if profile == "spot" else Reason.REDUCE_ONLY
    assert beyond.refusal() == (rule if blocks(rule, action, profile) else 0)


@profiles
@rule_ids
def test_nothing_stops_a_cancel(rule: Reason, profile: str) -> None:
    account = Account(Action.CANCEL, profile)
    AT[rule](account, 1)
    assert account.refusal() == 0
    assert account.box["count"] == 0


@profiles
def test_the_first_violated_rule_of_two_is_the_reason(profile: str) -> None:
    """For every pair that can be violated at once; the order of the table is the order of evaluation."""
    alone = {Reason.LONG_ONLY, Reason.REDUCE_ONLY, Reason.FILTER_TICK, Reason.FILTER_LOT}  # they change the order
    names = [rule for rule in AT if blocks(rule, Action.OPEN, profile) and rule not in alone]
    for k, first in enumerate(names):
        for second in names[k + 1 :]:
            account = Account(Action.OPEN, profile)
            AT[second](account, 1)
            AT[first](account, 1)
            assert account.refusal() == first, (first.name, second.name)


def test_what_is_recorded_is_the_chain_in_order_or_the_rule_that_refused() -> None:
    account = Account(Action.OPEN)
    assert account.refusal() == 0
    said = account.box["records"][: account.box["count"]].view(CHECK)
    measured = [account.measure(rule[0]) for rule in RULES if rule[Action.OPEN]]
    asked = [rule[0] for rule in RULES if rule[Action.OPEN]]
    told = [(rule, *pair) for rule, pair in zip(asked, measured, strict=True) if pair != (0, 0)]
    assert said[["reason", "value", "limit"]].tolist() == told
    assert {rule for rule, _, _ in told} >= set(ALWAYS_SAID) and len(told) < len(asked)
    assert set(said["kind"]) == {int(Kind.CHECK)} and set(said["order_id"]) == {1}
    assert all(value <= limit for value, limit in zip(said["value"], said["limit"], strict=True))
    account.config["asset_cap_ppm"] = 10_999
    account.box["count"] = 0
    assert account.refusal() == Reason.EXPOSURE_ASSET
    (refused,) = account.box["records"][: account.box["count"]].view(CHECK)
    assert (refused["reason"], refused["flags"], refused["order_id"]) == (Reason.EXPOSURE_ASSET, Verdict.REFUSED, 0)
    assert (refused["value"], refused["limit"]) == (1_100 * 10**8, 100_000 * 10**8 * 10_999 // 10**6)


def test_the_worth_of_the_order_is_what_it_says() -> None:
    account = Account(Action.OPEN)
    assert units.notional(account.market["instrument"], CLOSE, LOTS, 1) == VALUE
    assert account.account["equity"] == 100_000 * 10**8
