"""The risk state machine: NORMAL, CAUTION, HALT, FLATTEN, the daily limits, the circuit breaker and the kill switch.

One definition of drawdown: (peak equity - equity) / peak equity, rounded up, the peak being the highest equity seen
since the start or the last RESUME. Tiers only tighten by themselves, with two exceptions:

- CAUTION returns to NORMAL when the drawdown has fallen to half its limit (no flicker at the limit);
- FLATTEN becomes HALT when nothing is left to sell and no order is live.

HALT ends by RESUME alone. RESUME measures drawdown from the present equity on, or the same loss would halt again at
once; it lifts neither the daily stop nor an open circuit, and is refused (recorded, nothing changes) while FLATTEN is
under way. Every change is one RISK record with metric, value and limit.
"""

from typing import Final

import numpy as np

from core import portfolio
from core.jit import inlined, kernel
from core.outbox import emit
from core.records import DAY_NS, Command, Kind, Metric, Reason, RiskState
from core.units import DOWN, INT64_MAX, UP, ratio_ppm, share_ppm

RISK: Final = int(Kind.RISK)
NORMAL: Final = int(RiskState.NORMAL)
CAUTION: Final = int(RiskState.CAUTION)
HALT: Final = int(RiskState.HALT)
FLATTEN: Final = int(RiskState.FLATTEN)

NO_METRIC: Final = int(Metric.NONE)
DRAWDOWN: Final = int(Metric.DRAWDOWN_PPM)
DAILY_LOSS: Final = int(Metric.DAILY_LOSS_PPM)
OPERATOR: Final = int(Metric.OPERATOR)
VENUE_FAILURES: Final = int(Metric.VENUE_FAILURES)
LEDGER: Final = int(Metric.LEDGER)

DRAWDOWN_CAUTION: Final = int(Reason.DRAWDOWN_CAUTION)
DRAWDOWN_HALT: Final = int(Reason.DRAWDOWN_HALT)
DRAWDOWN_FLATTEN: Final = int(Reason.DRAWDOWN_FLATTEN)
DAILY_STOP: Final = int(Reason.DAILY_STOP)
DAILY_FLATTEN: Final = int(Reason.DAILY_FLATTEN)
NEW_DAY: Final = int(Reason.NEW_DAY)
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


@kernel
def move(state: np.void, box: np.void, to: int, reason: int, metric: int, value: int, limit: int) -> None:
    """Enter risk state ``to`` (perhaps the present one) and record why."""
    risk, now = state["risk"], state["account"]["now_ns"]
    emit(box, now, now, RISK, 0, 0, reason, 0, risk["state"], to, metric, value, limit)
    risk["state"] = to


@kernel
def start(config: np.void, state: np.void) -> None:
    """The risk state of an account that begins with the equity it has now."""
    risk, equity = state["risk"], state["account"]["equity"]
    risk["peak_equity"] = equity
    risk["day_equity"] = equity
    risk["day_floor"] = equity - share_ppm(equity, config["daily_stop_ppm"], UP)
    _watch(config, risk, equity)


@kernel
def new_day(config: np.void, state: np.void, box: np.void) -> None:
    """At the first record of a UTC day: measure the day's loss from the equity last marked, lift the daily stop."""
    risk, account = state["risk"], state["account"]
    day = account["now_ns"] // DAY_NS
    if day <= risk["day"]:
        return
    equity = max(0, account["equity"])
    risk["day"] = day
    risk["day_end_ns"] = (day + 1) * DAY_NS
    risk["day_equity"] = equity
    risk["day_floor"] = equity - share_ppm(equity, config["daily_stop_ppm"], UP)
    _watch(config, risk, risk["peak_bound"])
    if risk["day_stopped"] == 1:
        risk["day_stopped"] = 0
        move(state, box, risk["state"], NEW_DAY, DAILY_LOSS, 0, config["daily_stop_ppm"])


@inlined
def is_due(state: np.void) -> bool:
    """``update`` has something to do: a new peak, equity where a limit may be, or a halted account to look after."""
    risk, equity = state["risk"], state["account"]["equity"]
    return equity > risk["peak_equity"] or equity <= risk["attention"] or risk["state"] >= HALT


@kernel
def update(config: np.void, state: np.void, box: np.void) -> None:
    """Drawdown, its tiers and the daily stop, after every mark."""
    risk, equity = state["risk"], state["account"]["equity"]
    if equity > risk["peak_equity"]:
        risk["peak_equity"] = equity
        if equity > risk["peak_bound"]:
            _watch(config, risk, equity + (equity >> 10))
    if equity <= risk["attention"]:
        _measure(config, state, box)


@kernel
def _measure(config: np.void, state: np.void, box: np.void) -> None:
    """Equity is where a limit may be: see which one is."""
    risk, equity = state["risk"], state["account"]["equity"]
    drawdown = drawdown_ppm(state)
    risk["drawdown_max_ppm"] = max(risk["drawdown_max_ppm"], drawdown)
    _tiers(config, state, box, drawdown)
    if equity <= risk["day_floor"]:
        _daily_loss(config, state, box, ratio_ppm(risk["day_equity"] - equity, max(1, risk["day_equity"]), DOWN))
    _watch(config, risk, risk["peak_equity"])


@kernel
def drawdown_ppm(state: np.void) -> int:
    """The one definition: (peak equity - equity) / peak equity in ppm, rounded up."""
    peak, equity = state["risk"]["peak_equity"], state["account"]["equity"]
    return 0 if equity >= peak else ratio_ppm(peak - equity, max(1, peak), UP)


@kernel
def _watch(config: np.void, risk: np.void, peak: int) -> None:
    """Set the equity above which, from any peak up to ``peak``, no limit and no new worst drawdown is possible.

    ceil((p - e) 10^6 / p) >= L holds exactly for e < p - floor((L - 1) p / 10^6), and that grows with p. In CAUTION
    every mark is measured: the way back is watched too.
    """
    least = min(config["caution_drawdown_ppm"], risk["drawdown_max_ppm"] + 1)
    risk["peak_bound"] = peak
    attention = max(peak - share_ppm(max(0, peak), least - 1, DOWN) - 1, risk["day_floor"])
    risk["attention"] = INT64_MAX if risk["state"] == CAUTION else attention


@kernel
def _daily_loss(config: np.void, state: np.void, box: np.void, loss: int) -> None:
    """At the daily stop no more entries today; at the daily loss limit sell out (requirements RISK-03, RISK-12)."""
    risk = state["risk"]
    if risk["day_stopped"] == 0:
        risk["day_stopped"] = 1
        move(state, box, risk["state"], DAILY_STOP, DAILY_LOSS, loss, config["daily_stop_ppm"])
    sell_out = loss >= config["flatten_daily_loss_ppm"]
    if sell_out and risk["state"] != FLATTEN and (risk["state"] != HALT or holds_anything(config, state)):
        move(state, box, FLATTEN, DAILY_FLATTEN, DAILY_LOSS, loss, config["flatten_daily_loss_ppm"])


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
        _watch(config, risk, risk["peak_equity"])
        move(state, box, NORMAL, OPERATOR_RESUME, OPERATOR, number, 0)
    else:
        move(state, box, max(HALT, risk["state"]), OPERATOR_HALT, OPERATOR, number, 0)


@kernel
def venue_reject(config: np.void, state: np.void, box: np.void) -> None:
    """Count a venue's reject; at the limit, and at every further one, open the circuit for a while."""
    risk = state["risk"]
    risk["failures"] += 1
    if risk["failures"] >= config["circuit_failures"]:
        risk["circuit_until_ns"] = state["account"]["now_ns"] + config["circuit_open_ns"]
        move(state, box, risk["state"], CIRCUIT_OPEN, VENUE_FAILURES, risk["failures"], config["circuit_failures"])


@kernel
def venue_accept(config: np.void, state: np.void, box: np.void) -> None:
    """An accepted order ends the series of rejects."""
    risk = state["risk"]
    if risk["failures"] >= config["circuit_failures"]:
        move(state, box, risk["state"], RECOVERED, VENUE_FAILURES, 0, config["circuit_failures"])
    risk["failures"] = 0


@kernel
def fact_beyond_limit(state: np.void, box: np.void, value: int, limit: int) -> None:
    """A fact contradicts what was approved: it stands, and trading stops."""
    move(state, box, max(HALT, state["risk"]["state"]), FACT_BEYOND_LIMIT, LEDGER, value, limit)
