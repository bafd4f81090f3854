"""Any walk of equity from one limit's boundary to another's: the same changes, to the unit, as a plain reading of them.

The core measures a limit only when one may be reached; the plain reading measures all of them at every step. Nothing
is held, so what FLATTEN demands is done at once.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.records import DAY_NS, PPM, TRANSFER, Command, FeeAsset, Kind, Metric, Reason, RiskState, TransferCause
from tests.core.build import BTC, START_NS, Desk, bars, command, only, trading

CASH = 1_234_567_890_123_457  # quote units: no limit is a whole number of them
CLOSE = 1_000_000
LIMITS: tuple[dict[str, int], ...] = (
    {"caution_drawdown_ppm": 30_001, "halt_drawdown_ppm": 60_000, "flatten_drawdown_ppm": 90_000},
    {"caution_drawdown_ppm": 1, "halt_drawdown_ppm": 2, "flatten_drawdown_ppm": PPM},
    {"daily_stop_ppm": 20_003, "flatten_daily_loss_ppm": 50_000},
    {"daily_stop_ppm": 1, "flatten_daily_loss_ppm": 1},
    {"daily_stop_ppm": 20_000, "weekly_stop_ppm": 33_333},
    {"daily_stop_ppm": 45_000, "daily_loss_limit_ppm": 45_000, "total_loss_limit_ppm": 90_000},
    {"daily_stop_ppm": PPM, "flatten_daily_loss_ppm": PPM, "total_loss_limit_ppm": 1},
)
WIDE = {
    "profile": "margin",
    "initial_cash": str(CASH // 10**8) + "." + str(CASH % 10**8).zfill(8),
    "caution_drawdown_ppm": 700_000,
    "halt_drawdown_ppm": 800_000,
    "flatten_drawdown_ppm": 900_000,
    "daily_stop_ppm": 500_000,
    "flatten_daily_loss_ppm": 600_000,
}
Change = tuple[int, ...]  # state from, to, reason, metric, value, limit


@dataclass
class Plain:
    """Every limit, measured at every step."""

    limits: dict[str, int]
    equity: int = CASH
    peak: int = CASH
    worst: int = 0
    state: RiskState = RiskState.NORMAL
    day: int = CASH
    week: int = CASH
    day_stopped: bool = False
    week_stopped: bool = False
    total_stopped: bool = False
    said: list[Change] = field(default_factory=list)

    def move(self, to: RiskState, reason: Reason, metric: Metric, value: int, limit: int) -> None:
        self.said.append((self.state, to, reason, metric, value, limit))
        self.state = to

    def lost(self, base: int, of: int, limit: str) -> bool:
        return self.limits[limit] > 0 and (base - self.equity) * PPM >= self.limits[limit] * of

    def mark(self, equity: int) -> None:
        self.equity, self.peak = equity, max(self.peak, equity)
        drawdown = min(-((equity - self.peak) * PPM // self.peak), 10**12)
        self.worst = max(self.worst, drawdown)
        self.tiers(drawdown)
        if self.lost(self.day, self.day, "daily_stop_ppm"):
            self.stop_day()
        if self.lost(self.week, self.week, "weekly_stop_ppm") and not self.week_stopped:
            self.week_stopped = True
            self.stop(Reason.WEEKLY_STOP, Metric.WEEKLY_LOSS_PPM, self.week, self.week, "weekly_stop_ppm")
        self.sell_out()
        if self.state == RiskState.FLATTEN:
            self.move(RiskState.HALT, Reason.ALREADY_FLAT, Metric.NONE, 0, 0)

    def tiers(self, drawdown: int) -> None:
        caution, now = self.limits["caution_drawdown_ppm"], self.state
        for name in ("flatten", "halt"):
            limit = self.limits[f"{name}_drawdown_ppm"]
            if now < RiskState.HALT and drawdown >= limit:
                to, reason = RiskState[name.upper()], Reason[f"DRAWDOWN_{name.upper()}"]
                self.move(to, reason, Metric.DRAWDOWN_PPM, drawdown, limit)
                return
        if now == RiskState.NORMAL and drawdown >= caution:
            self.move(RiskState.CAUTION, Reason.DRAWDOWN_CAUTION, Metric.DRAWDOWN_PPM, drawdown, caution)
        elif now == RiskState.CAUTION and drawdown <= caution // 2:
            self.move(RiskState.NORMAL, Reason.RECOVERED, Metric.DRAWDOWN_PPM, drawdown, caution // 2)

    def stop(self, reason: Reason, metric: Metric, base: int, of: int, limit: str, to: RiskState | None = None) -> None:
        value = min(max(0, base - self.equity) * PPM // max(1, of), 10**12)
        self.move(self.state if to is None else to, reason, metric, value, self.limits[limit])

    def stop_day(self) -> None:
        if not self.day_stopped:
            self.day_stopped = True
            self.stop(Reason.DAILY_STOP, Metric.DAILY_LOSS_PPM, self.day, self.day, "daily_stop_ppm")

    def sell_out(self) -> None:
        """The account's balance is its equity: nothing is held."""
        total = self.lost(CASH, CASH, "total_loss_limit_ppm")
        of_capital = self.lost(self.day, CASH, "daily_loss_limit_ppm")
        if not total and not of_capital and not self.lost(self.day, self.day, "flatten_daily_loss_ppm"):
            return
        is_news = total and not self.total_stopped
        self.total_stopped |= total
        self.stop_day()
        if self.state >= RiskState.HALT and not is_news:
            return
        to = self.state if self.state >= RiskState.HALT else RiskState.FLATTEN
        if total:
            self.stop(Reason.TOTAL_LOSS_FLATTEN, Metric.TOTAL_LOSS_PPM, CASH, CASH, "total_loss_limit_ppm", to)
        elif of_capital:
            self.stop(Reason.DAILY_FLATTEN, Metric.DAILY_LOSS_PPM, self.day, CASH, "daily_loss_limit_ppm", to)
        else:
            self.stop(Reason.DAILY_FLATTEN, Metric.DAILY_LOSS_PPM, self.day, self.day, "flatten_daily_loss_ppm", to)

    def next_day(self, is_monday: bool) -> None:
        self.day = max(0, self.equity)
        if self.day_stopped:
            self.day_stopped = False
            self.move(self.state, Reason.NEW_DAY, Metric.DAILY_LOSS_PPM, 0, self.limits["daily_stop_ppm"])
        if is_monday:
            self.week = max(0, self.equity)
            if self.week_stopped:
                self.week_stopped = False
                self.move(self.state, Reason.NEW_WEEK, Metric.WEEKLY_LOSS_PPM, 0, self.limits["weekly_stop_ppm"])
        self.mark(self.equity)

    def resume(self) -> None:
        self.peak = max(1, self.equity)
        self.move(RiskState.NORMAL, Reason.OPERATOR_RESUME, Metric.OPERATOR, int(Command.RESUME), 0)
        self.mark(self.equity)

    def boundaries(self) -> list[int]:
        """Equities at which a limit is just reached, and peaks just and far above the last."""
        tiers = [self.limits[f"{name}_drawdown_ppm"] for name in ("caution", "halt", "flatten")]
        # ceil((p - e) 10^6 / p) >= L holds for (p - e) 10^6 > (L - 1) p
        ends = [self.peak - (limit - 1) * self.peak // PPM - 1 for limit in (*tiers, tiers[0] // 2 + 1, self.worst + 1)]
        for base, of, name in (
            (self.day, self.day, "daily_stop_ppm"),
            (self.day, self.day, "flatten_daily_loss_ppm"),
            (self.day, CASH, "daily_loss_limit_ppm"),
            (self.week, self.week, "weekly_stop_ppm"),
            (CASH, CASH, "total_loss_limit_ppm"),
        ):
            if self.limits[name] > 0:
                ends.append(base + -of * self.limits[name] // PPM)
        ends = [max(end, -CASH) for end in ends]  # after a RESUME at next to nothing the worst drawdown is a multiple
        return [*ends, self.peak, self.peak + (self.peak >> 10), self.peak + (self.peak >> 9), 60 * CASH, 0]


class Walk:
    """The core and the plain reading, step by step."""

    def __init__(self, limits: dict[str, int]):
        made = trading(**{**WIDE, **limits})
        self.desk = Desk(made, (BTC,), venue=False)
        self.plain = Plain(
            {name: int(getattr(made.risk, name)) for name in made.risk.__struct_fields__ if "ppm" in name}
        )
        self.desk.feed(bars([CLOSE]))
        self.days = 0

    def transfer(self, amount: int, at_ns: int) -> np.ndarray:
        row = np.zeros(1, TRANSFER)
        row["kind"], row["flags"], row["cause"] = Kind.TRANSFER, FeeAsset.QUOTE, TransferCause.ADJUSTMENT
        row["ts_event"] = row["ts_known"] = at_ns
        row["amount"] = amount
        return self.desk.feed(row)

    def step(self, what: str, number: int, off: int) -> None:
        plain, account = self.plain, self.desk.state[0]["account"]
        plain.said, at = [], int(account["now_ns"])
        if what == "day":
            self.days += 1
            at = START_NS + self.days * DAY_NS
            plain.next_day((at // DAY_NS + 3) % 7 == 0)
            out = self.transfer(0, at)
            plain.said.append((plain.state, plain.state, Reason.ADJUSTMENT, Metric.LEDGER, 0, 0))
        elif what == "resume":
            plain.resume()
            out = self.desk.feed(command(Command.RESUME, at))
        else:
            ends = plain.boundaries()
            amount = (number if what == "to" else ends[number % len(ends)] + off) - plain.equity
            plain.said.append((plain.state, plain.state, Reason.ADJUSTMENT, Metric.LEDGER, amount, 0))
            plain.mark(plain.equity + amount)
            out = self.transfer(amount, at)
        told: list[Change] = []
        for row in only(out, Kind.RISK):
            assert (row["ts_event"], row["ts_known"], row["side"], row["instrument"], row["flags"]) == (at, at, 0, 0, 0)
            names: Any = ("state_from", "state_to", "reason", "metric", "value", "limit")
            told.append(tuple(int(row[name]) for name in names))
        assert told == plain.said
        risk = self.desk.state[0]["risk"]
        assert (account["equity"], risk["state"], risk["peak_equity"]) == (plain.equity, plain.state, plain.peak)
        assert risk["drawdown_max_ppm"] == plain.worst
        assert (risk["day_equity"], risk["week_equity"], risk["start_equity"]) == (plain.day, plain.week, CASH)


STEPS = st.lists(
    st.tuples(st.sampled_from(["mark"] * 6 + ["day", "resume"]), st.integers(0, 14), st.sampled_from([0, 1, -1])),
    max_size=16,
)


@pytest.mark.parametrize("limits", LIMITS, ids=lambda limits: next(iter(limits)))
@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_any_walk_changes_what_a_plain_reading_changes(
    limits: dict[str, int], steps: list[tuple[str, int, int]]
) -> None:
    walk = Walk(limits)
    for step in steps:
        walk.step(*step)


@pytest.mark.parametrize("limits", LIMITS, ids=lambda limits: next(iter(limits)))
def test_every_boundary_after_every_other(limits: dict[str, int]) -> None:
    count = len(Plain(Walk(limits).plain.limits).boundaries())
    for first in range(count):
        walk = Walk(limits)
        for second in range(count):
            walk.step("mark", first, 0)
            walk.step("mark", second, 1)
            walk.step("mark", second, 0)
            walk.step("resume", 0, 0)


@pytest.mark.parametrize("limits", LIMITS, ids=lambda limits: next(iter(limits)))
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_days_of_an_account_that_has_nothing_left(limits: dict[str, int], off: int) -> None:
    walk, nothing = Walk(limits), -1
    for step in ("mark", "day", "mark", "resume", "day", "day", "day", "day", "resume", "day"):
        walk.step(step, nothing, off)


@pytest.mark.parametrize("off", [1, 0])
def test_a_limit_within_a_known_drawdown_is_noticed(off: int) -> None:
    """The worst drawdown lies behind: no new one says that the day's, then the week's limit is reached."""
    walk = Walk({"daily_stop_ppm": 20_000, "weekly_stop_ppm": 33_333})
    days, week = CASH + -CASH * 20_000 // PPM, CASH + -CASH * 33_333 // PPM
    for what, number in [("to", CASH // 2), ("to", CASH), *[("day", 0)] * 5, ("to", days + 1), ("to", days)]:
        walk.step(what, number, 0)
    walk.step("to", week + off, 0)
    assert (walk.plain.day_stopped, walk.plain.week_stopped) == (True, off == 0)


def test_a_day_and_a_week_begin_afresh() -> None:
    walk = Walk({"backoff_losses": 3})
    risk, state = walk.desk.state[0]["risk"], int(RiskState.NORMAL)
    for day in range(1, 6):  # the session begins on a Wednesday
        risk["backed_off"], risk["day_fees"], risk["trips_week"] = day % 2, 5, 7
        at = START_NS + day * DAY_NS
        said = only(walk.transfer(0, at), Kind.RISK).tolist()
        changes = [row for row in said if row[5] == Reason.NEW_DAY]
        lifted = (at, at, Kind.RISK, 0, 0, Reason.NEW_DAY, 0, state, state, Metric.LOSSES, 0, 3)
        assert changes == [lifted] * (day % 2)
        assert (risk["backed_off"], risk["day_fees"], risk["trips_week"]) == (0, 0, 0 if day == 5 else 7)
