"""The risk state machine: NORMAL, CAUTION, HALT, FLATTEN; loss limits, margin, circuit breaker, kill switch.

One definition of drawdown: (peak equity - equity) / peak equity, rounded up, the peak being the highest equity seen
since the start or the last RESUME. Tiers only tighten by themselves, with two exceptions:

- CAUTION returns to NORMAL when the drawdown has fallen to half its limit (no flicker at the limit);
- FLATTEN becomes HALT when nothing is left to sell and no order is live.

HALT ends by RESUME alone. RESUME measures drawdown from the present equity on, or the same loss would halt again at
once; it lifts neither a daily or weekly stop, nor the total loss limit, nor an open circuit, and is refused (recorded,
nothing changes) while FLATTEN is under way. Every change is one RISK record with metric, value and limit.

Every loss limit is turned into the equity at which it is reached when its day, week or account begins. After a mark a
few comparisons see that nothing is near; only otherwise is anything measured (``core.forced.react``).
"""

from typing import Final

import numpy as np

from core import days, exposure, portfolio
from core.jit import inlined, kernel
from core.outbox import emit
from core.records import PPM, Command, Kind, Metric, Reason, RiskState
from core.units import DOWN, INT64_MAX, UP, mul_div, ratio_ppm, share_ppm

PEAK_MAX: Final = 2**61  # far above any equity, and what divides by it still fits
RISK: Final = int(Kind.RISK)
NORMAL: Final = int(RiskState.NORMAL)
CAUTION: Final = int(RiskState.CAUTION)
HALT: Final = int(RiskState.HALT)
FLATTEN: Final = int(RiskState.FLATTEN)

NO_METRIC: Final = int(Metric.NONE)
DRAWDOWN: Final = int(Metric.DRAWDOWN_PPM)
DAILY_LOSS: Final = int(Metric.DAILY_LOSS_PPM)
WEEKLY_LOSS: Final = int(Metric.WEEKLY_LOSS_PPM)
TOTAL_LOSS: Final = int(Metric.TOTAL_LOSS_PPM)
MARGIN: Final = int(Metric.MARGIN_PPM)
LOSSES: Final = int(Metric.LOSSES)
OPERATOR: Final = int(Metric.OPERATOR)
VENUE_FAILURES: Final = int(Metric.VENUE_FAILURES)
LEDGER: Final = int(Metric.LEDGER)

DRAWDOWN_CAUTION: Final = int(Reason.DRAWDOWN_CAUTION)
DRAWDOWN_HALT: Final = int(Reason.DRAWDOWN_HALT)
DRAWDOWN_FLATTEN: Final = int(Reason.DRAWDOWN_FLATTEN)
DAILY_STOP: Final = int(Reason.DAILY_STOP)
WEEKLY_STOP: Final = int(Reason.WEEKLY_STOP)
DAILY_FLATTEN: Final = int(Reason.DAILY_FLATTEN)
TOTAL_LOSS_FLATTEN: Final = int(Reason.TOTAL_LOSS_FLATTEN)
DELEVERAGE: Final = int(Reason.DELEVERAGE)
NEW_DAY: Final = int(Reason.NEW_DAY)
NEW_WEEK: Final = int(Reason.NEW_WEEK)
RECOVERED: Final = int(Reason.RECOVERED)
FACT_BEYOND_LIMIT: Final = int(Reason.FACT_BEYOND_LIMIT)
CIRCUIT_OPEN: Final = int(Reason.CIRCUIT_OPEN)
ALREADY_FLAT: Final = int(Reason.ALREADY_FLAT)
OPERATOR_HALT: Final = int(Reason.OPERATOR_HALT)
OPERATOR_FLATTEN: Final = int(Reason.OPERATOR_FLATTEN)
OPERATOR_RESUME: Final = int(Reason.OPERATOR_RESUME)

KILL_HALT: Final = int(Command.KILL_HALT)
KILL_FLATTEN: Final = int(Command.KILL_FLATTEN)
RESUME: Final = int(Command.RESUME)

NO_FLOOR: Final = -(2**62)  # below any equity
WHOLES_MAX: Final = 1_000_000  # a ratio above that many wholes is counted as that many


@kernel
def move(state: np.void, box: np.void, to: int, reason: int, metric: int, value: int, limit: int) -> None:
    """Enter risk state ``to`` (perhaps the present one) and record why."""
    risk, now = state["risk"], state["account"]["now_ns"]
    emit(box, now, now, RISK, 0, 0, reason, 0, risk["state"], to, metric, value, limit)
    risk["state"] = to


def start(state: np.void) -> None:
    """The risk state of an account that begins with the equity it has now; the first record begins its first day."""
    risk, equity = state["risk"], state["account"]["equity"]
    risk["peak_equity"] = risk["start_equity"] = equity


@kernel
def _floor(base: int, of: int, limit_ppm: int) -> int:
    """The equity at which the loss since ``base`` is ``limit_ppm`` of ``of``; far below everything for no limit."""
    return base - share_ppm(max(0, of), limit_ppm, UP) if limit_ppm > 0 else NO_FLOOR


@kernel
def _measure_day(config: np.void, state: np.void) -> None:
    """From here on the day's losses count.

    FTMO's daily limit is a share of the initial capital below the balance at midnight, which is what is realised,
    without the profit or loss of open positions (FTMO Academy, "Maximum Daily Loss").
    """
    risk, equity = state["risk"], max(0, state["account"]["equity"])
    risk["day_equity"] = equity
    risk["day_balance"] = portfolio.balance(config, state)
    risk["day_fees"] = 0
    risk["day_floor"] = _floor(equity, equity, config["daily_stop_ppm"])
    risk["day_sell_floor"] = _floor(equity, equity, config["flatten_daily_loss_ppm"])
    risk["day_limit_floor"] = _floor(risk["day_balance"], risk["start_equity"], config["daily_loss_limit_ppm"])


@kernel
def _measure_week(config: np.void, state: np.void) -> None:
    risk, equity = state["risk"], max(0, state["account"]["equity"])
    risk["week_equity"] = equity
    risk["week_floor"] = _floor(equity, equity, config["weekly_stop_ppm"])


@kernel
def new_day(config: np.void, state: np.void, box: np.void) -> None:
    """At the first record of a day of the venue's calendar: measure from the equity last marked, lift what it lifts."""
    risk, now = state["risk"], state["account"]["now_ns"]
    day = days.local_day(config, now)
    if risk["day_end_ns"] == 0:
        risk["total_floor"] = _floor(risk["start_equity"], risk["start_equity"], config["total_loss_limit_ppm"])
    risk["day_end_ns"] = days.day_start_ns(config, day + 1)
    _measure_day(config, state)
    if risk["day_stopped"] == 1:
        risk["day_stopped"] = 0
        move(state, box, risk["state"], NEW_DAY, DAILY_LOSS, 0, config["daily_stop_ppm"])
    if risk["backed_off"] == 1:
        risk["backed_off"] = 0
        move(state, box, risk["state"], NEW_DAY, LOSSES, 0, config["backoff_losses"])
    week = days.week_of(day)
    if week > risk["week"]:
        risk["week"] = week
        risk["trips_week"] = 0
        _measure_week(config, state)
        if risk["week_stopped"] == 1:
            risk["week_stopped"] = 0
            move(state, box, risk["state"], NEW_WEEK, WEEKLY_LOSS, 0, config["weekly_stop_ppm"])
    _watch(config, risk, risk["peak_bound"])


@inlined
def is_due(state: np.void) -> bool:
    """After every mark: note a new peak, and say whether any limit may be reached. Almost always four comparisons."""
    risk, account = state["risk"], state["account"]
    equity = account["equity"]
    if equity > risk["peak_equity"]:
        risk["peak_equity"] = equity
        if equity > risk["peak_bound"]:
            return True
    return equity <= risk["attention"] or account["exposure"] > risk["exposure_bound"] or risk["state"] >= HALT


@inlined
def is_closing(state: np.void) -> bool:
    """Positions are being closed whatever a strategy wants: in FLATTEN, and while margin is short."""
    return state["risk"]["state"] == FLATTEN or state["risk"]["deleveraging"] == 1


@kernel
def update(config: np.void, state: np.void, box: np.void) -> None:
    """Every limit on equity and exposure, if one may be reached."""
    risk, account = state["risk"], state["account"]
    equity = account["equity"]
    if equity > risk["peak_bound"]:
        _watch(config, risk, equity + (equity >> 10))
    if equity <= risk["attention"] or account["exposure"] > risk["exposure_bound"]:
        _measure(config, state, box)


@kernel
def _measure(config: np.void, state: np.void, box: np.void) -> None:
    """Equity or exposure is where a limit may be: see which one is."""
    risk, equity = state["risk"], state["account"]["equity"]
    drawdown = drawdown_ppm(state)
    risk["drawdown_max_ppm"] = max(risk["drawdown_max_ppm"], drawdown)
    _tiers(config, state, box, drawdown)
    if equity <= risk["day_floor"] and risk["day_stopped"] == 0:
        _stop_day(config, state, box)
    if equity <= risk["week_floor"] and risk["week_stopped"] == 0:
        risk["week_stopped"] = 1
        loss = _loss_ppm(risk["week_equity"], equity, risk["week_equity"])
        move(state, box, risk["state"], WEEKLY_STOP, WEEKLY_LOSS, loss, config["weekly_stop_ppm"])
    if equity <= exposure.hard_floor(risk):
        _sell_out(config, state, box)
    if config["is_margin"] == 1:
        _margin(config, state, box)
    _watch(config, risk, risk["peak_equity"])


@kernel
def drawdown_ppm(state: np.void) -> int:
    """The one definition: (peak equity - equity) / peak equity in ppm, rounded up."""
    peak, equity = state["risk"]["peak_equity"], state["account"]["equity"]
    return 0 if equity >= peak else _ratio(peak - equity, peak, UP)


@kernel
def _ratio(part: int, whole: int, up: int) -> int:
    """``part`` >= 0 in ppm of ``whole``, which counts as one unit at least; ``WHOLES_MAX`` wholes at most."""
    whole = max(1, whole)
    return WHOLES_MAX * PPM if part // whole >= WHOLES_MAX else ratio_ppm(part, whole, up)


@kernel
def _loss_ppm(base: int, equity: int, of: int) -> int:
    """The loss since ``base`` in ppm of ``of``, rounded down; ``equity`` is at or below a floor, so below ``base``."""
    return _ratio(base - equity, of, DOWN)


@kernel
def _watch(config: np.void, risk: np.void, peak: int) -> None:
    """Set the equity above which, from any peak up to ``peak``, no limit and no new worst drawdown is possible.

    ceil((p - e) 10^6 / p) >= L holds exactly for e < p - floor((L - 1) p / 10^6), and that grows with p. On margin also
    the exposure up to which, above that equity, margin is no matter. In CAUTION and while margin is short every mark is
    measured: the way back is watched too.
    """
    least = min(config["caution_drawdown_ppm"], risk["drawdown_max_ppm"] + 1)
    floor = max(peak - share_ppm(peak, least - 1, DOWN) - 1, exposure.hard_floor(risk))
    if risk["day_stopped"] == 0:
        floor = max(floor, risk["day_floor"])
    if risk["week_stopped"] == 0:
        floor = max(floor, risk["week_floor"])
    risk["peak_bound"] = peak
    risk["attention"] = INT64_MAX if risk["state"] == CAUTION or risk["deleveraging"] == 1 else floor
    risk["exposure_bound"] = exposure.margin_allowed(config, floor) if config["is_margin"] == 1 else INT64_MAX


@kernel
def _stop_day(config: np.void, state: np.void, box: np.void) -> None:
    """No more entries today (requirements RISK-12)."""
    risk = state["risk"]
    risk["day_stopped"] = 1
    loss = _loss_ppm(risk["day_equity"], state["account"]["equity"], risk["day_equity"])
    move(state, box, risk["state"], DAILY_STOP, DAILY_LOSS, loss, config["daily_stop_ppm"])


@kernel
def _sell_out(config: np.void, state: np.void, box: np.void) -> None:
    """A loss limit is reached: close everything (requirements RISK-03, RISK-13); the total limit for good."""
    risk, equity = state["risk"], state["account"]["equity"]
    is_news = equity <= risk["total_floor"] and risk["total_stopped"] == 0
    if equity <= risk["total_floor"]:
        risk["total_stopped"] = 1
        reason, metric, limit = TOTAL_LOSS_FLATTEN, TOTAL_LOSS, config["total_loss_limit_ppm"]
        loss = _loss_ppm(risk["start_equity"], equity, risk["start_equity"])
    elif equity <= risk["day_limit_floor"]:
        reason, metric, limit = DAILY_FLATTEN, DAILY_LOSS, config["daily_loss_limit_ppm"]
        loss = _loss_ppm(risk["day_balance"], equity, risk["start_equity"])
    else:
        reason, metric, limit = DAILY_FLATTEN, DAILY_LOSS, config["flatten_daily_loss_ppm"]
        loss = _loss_ppm(risk["day_equity"], equity, risk["day_equity"])
    if risk["day_stopped"] == 0:
        _stop_day(config, state, box)
    if risk["state"] != FLATTEN and (risk["state"] != HALT or holds_anything(config, state)):
        move(state, box, FLATTEN, reason, metric, loss, limit)
    elif is_news:  # nothing to close, and said all the same: no RESUME will let anything be opened again
        move(state, box, risk["state"], reason, metric, loss, limit)


@kernel
def _margin(config: np.void, state: np.void, box: np.void) -> None:
    """Too much margin in use: positions are reduced until it is not (requirements RISK-24)."""
    risk, account = state["risk"], state["account"]
    short = account["exposure"] > exposure.margin_allowed(config, account["equity"])
    if short != (risk["deleveraging"] == 1):
        risk["deleveraging"] = 1 if short else 0
        used = _ratio(account["exposure"], exposure.margin_total(config, account["equity"]), UP)
        move(state, box, risk["state"], DELEVERAGE if short else RECOVERED, MARGIN, used, config["deleverage_ppm"])


@kernel
def _tiers(config: np.void, state: np.void, box: np.void, drawdown: int) -> None:
    now = state["risk"]["state"]
    sell_out = drawdown >= config["flatten_drawdown_ppm"]
    if sell_out and (now < HALT or (now == HALT and holds_anything(config, state))):
        move(state, box, FLATTEN, DRAWDOWN_FLATTEN, DRAWDOWN, drawdown, config["flatten_drawdown_ppm"])
    elif drawdown >= config["halt_drawdown_ppm"] and now < HALT:
        move(state, box, HALT, DRAWDOWN_HALT, DRAWDOWN, drawdown, config["halt_drawdown_ppm"])
    elif drawdown >= config["caution_drawdown_ppm"] and now == NORMAL:
        move(state, box, CAUTION, DRAWDOWN_CAUTION, DRAWDOWN, drawdown, config["caution_drawdown_ppm"])
    elif drawdown <= config["caution_drawdown_ppm"] // 2 and now == CAUTION:
        move(state, box, NORMAL, RECOVERED, DRAWDOWN, drawdown, config["caution_drawdown_ppm"] // 2)


@kernel
def holds_anything(config: np.void, state: np.void) -> bool:
    """Something is left to sell, or an order may still fill."""
    for index in range(config["n_instruments"]):
        if state["orders"][index]["live"] > 0 or not portfolio.is_flat(config, state, index):
            return True
    return False


@kernel
def end_flatten(config: np.void, state: np.void, box: np.void) -> None:
    """FLATTEN has done its work when nothing is held: from there on HALT."""
    if state["risk"]["state"] == FLATTEN and not holds_anything(config, state):
        move(state, box, HALT, ALREADY_FLAT, NO_METRIC, state["account"]["exposure"], 0)


@kernel
def command(config: np.void, state: np.void, box: np.void, number: int) -> None:
    """The operator's kill switch (requirements C-20). An unknown command halts: fail closed."""
    risk = state["risk"]
    if number == KILL_FLATTEN:
        move(state, box, FLATTEN, OPERATOR_FLATTEN, OPERATOR, number, 0)
    elif number == RESUME:
        if risk["state"] == FLATTEN:
            move(state, box, FLATTEN, OPERATOR_RESUME, OPERATOR, number, 0)
            return
        risk["peak_equity"] = max(1, state["account"]["equity"])
        move(state, box, NORMAL, OPERATOR_RESUME, OPERATOR, number, 0)
    else:
        move(state, box, max(HALT, risk["state"]), OPERATOR_HALT, OPERATOR, number, 0)


@kernel
def venue_reject(config: np.void, state: np.void, box: np.void) -> None:
    """Count a venue's reject; enough of them in a row open the circuit for a while, and so does a rejected probe.

    What is rejected while it is open was sent before, or is an exit: it neither counts nor keeps the circuit open.
    """
    risk, now = state["risk"], state["account"]["now_ns"]
    if risk["failures"] >= config["circuit_failures"] and now < risk["circuit_until_ns"]:
        return
    risk["failures"] += 1
    if risk["failures"] >= config["circuit_failures"]:
        risk["circuit_until_ns"] = now + config["circuit_open_ns"]
        risk["probe_id"] = 0
        risk["trips"] += 1
        risk["trips_week"] += 1
        move(state, box, risk["state"], CIRCUIT_OPEN, VENUE_FAILURES, risk["failures"], config["circuit_failures"])


@kernel
def venue_accept(config: np.void, state: np.void, box: np.void) -> None:
    """An accepted order ends the series of rejects, and closes a circuit whose time is over."""
    risk = state["risk"]
    if risk["failures"] >= config["circuit_failures"]:
        if state["account"]["now_ns"] < risk["circuit_until_ns"]:
            return
        move(state, box, risk["state"], RECOVERED, VENUE_FAILURES, 0, config["circuit_failures"])
    risk["failures"] = 0


@kernel
def transferred(config: np.void, state: np.void, amount: int) -> None:
    """``amount`` quote units came from outside (below 0: went out), and equity has changed by it: nothing was earned.

    Losses stay what they are in money, and so does what may still be lost. Drawdown stays what it is as a ratio: the
    peak moves with equity, or a withdrawal would make a small loss of a large account a large loss of a small one.
    """
    risk, equity = state["risk"], state["account"]["equity"]
    before = equity - amount
    if before > 0 and equity > 0 and risk["peak_equity"] // before >= PEAK_MAX // equity:
        risk["peak_equity"] = PEAK_MAX  # almost everything was lost, and still is: the ratio no longer fits
    elif before > 0 and equity > 0:
        risk["peak_equity"] = max(equity, mul_div(risk["peak_equity"], equity, before, UP))
    else:
        risk["peak_equity"] = max(1, max(equity, risk["peak_equity"] + amount))
    risk["start_equity"] += amount
    risk["day_equity"] = max(0, risk["day_equity"] + amount)
    risk["day_balance"] += amount
    risk["week_equity"] = max(0, risk["week_equity"] + amount)
    risk["day_floor"] = _moved(risk["day_floor"], amount)
    risk["day_sell_floor"] = _moved(risk["day_sell_floor"], amount)
    risk["day_limit_floor"] = _moved(risk["day_limit_floor"], amount)
    risk["week_floor"] = _moved(risk["week_floor"], amount)
    risk["total_floor"] = _moved(risk["total_floor"], amount)
    _watch(config, risk, risk["peak_equity"])


@kernel
def _moved(floor: int, amount: int) -> int:
    return floor if floor == NO_FLOOR else floor + amount


@kernel
def fact_beyond_limit(state: np.void, box: np.void, value: int, limit: int) -> None:
    """A fact contradicts what was approved: it stands, and trading stops."""
    move(state, box, max(HALT, state["risk"]["state"]), FACT_BEYOND_LIMIT, LEDGER, value, limit)
