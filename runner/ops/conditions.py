"""When somebody must be told: conditions over the structured log's events, and nothing else.

Two conditions page and cannot be muted: a signal against a kill switch, and an attempt to go through a loss limit.
Whoever is paged for more learns to sleep through it. One thing pages beside them that is no event of a session: that
there is no journal any more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runner.ops.events import Cycle, Event, Failed, OrderEnd, Refusal, RiskChange, Severity


@dataclass(frozen=True, slots=True)
class Alert:
    """One message to the operator. Alerts of one name and reason are one condition: it is not repeated at once."""

    name: str
    severity: Severity
    reason_code: str
    text: str


# name -> severity and what it says; docs/operating.md has a line on what to do about each.
ALERTS: Final[dict[str, tuple[Severity, str]]] = {
    "kill_switch_signal": ("page", "a signal was attempted while trading is halted"),
    "guardrail_breach": ("page", "a loss limit was reached, or an entry was attempted beyond it"),
    "journal_lost": ("page", "the journal cannot be written: trading stopped"),
    "drawdown": ("warn", "a drawdown limit changed the risk state"),
    "kill_switch": ("warn", "the operator halted or flattened"),
    "daily_stop": ("warn", "a daily or weekly stop: no entries until the next day or week"),
    "hash_mismatch": ("warn", "something is not what its hash says: trading stopped or was refused"),
    "execution_failure": ("warn", "the venue rejected an order"),
    "reconcile_mismatch": ("warn", "the venue's books or the ledger are not ours"),
    "api_failures": ("warn", "the venue failed repeatedly: the circuit is open"),
    "market_data": ("warn", "the market's book is invalid"),
    "empty_universe": ("warn", "no instrument could be traded for several cycles in a row"),
    "session_failed": ("warn", "the session ended with an error"),
}
UNMUTABLE: Final = ("kill_switch_signal", "guardrail_breach")

_OF_RISK: Final = {
    "DRAWDOWN_CAUTION": "drawdown",
    "DRAWDOWN_HALT": "drawdown",
    "DRAWDOWN_FLATTEN": "drawdown",
    "OPERATOR_HALT": "kill_switch",
    "OPERATOR_FLATTEN": "kill_switch",
    "DAILY_STOP": "daily_stop",
    "WEEKLY_STOP": "daily_stop",
    "DAILY_FLATTEN": "guardrail_breach",
    "TOTAL_LOSS_FLATTEN": "guardrail_breach",
    "FACT_BEYOND_LIMIT": "reconcile_mismatch",
    "ADJUSTMENT": "reconcile_mismatch",
    "CIRCUIT_OPEN": "api_failures",
    "BOOK_INVALID": "market_data",
}
_OF_REFUSAL: Final = {
    "KILL_SWITCH": "kill_switch_signal",
    "DAILY_STOP": "guardrail_breach",
    "WEEKLY_STOP": "guardrail_breach",
    "TOTAL_LOSS": "guardrail_breach",
}
_ABOUT_HASHES: Final = ("hash", "altered", "head ", "signature", "checksum")


class Conditions:
    """Takes a run's events in order; gives the alerts they are worth."""

    def __init__(self, empty_universe_cycles: int) -> None:
        """``empty_universe_cycles``: how many cycles in a row without a tradable instrument are a condition."""
        self._empty_cycles, self._streak = empty_universe_cycles, 0

    def on(self, event: Event) -> Iterator[Alert]:
        """The alerts that ``event`` is worth."""
        if isinstance(event, RiskChange):
            yield from _risk(event)
        elif isinstance(event, Refusal) and event.reason_code in _OF_REFUSAL:
            told = f"{event.pair} {event.side}: value {event.value}, limit {event.limit}, record {event.record}"
            yield alert(_OF_REFUSAL[event.reason_code], event.reason_code, told)
        elif isinstance(event, OrderEnd) and event.state == "REJECTED":
            told = f"order {event.order_id} {event.pair}, record {event.record}"
            yield alert("execution_failure", event.reason_code, told)
        elif isinstance(event, Failed):
            yield alert(failure(event), event.error, event.detail)
        elif isinstance(event, Cycle):
            yield from self._on_cycle(event)

    def _on_cycle(self, cycle: Cycle) -> Iterator[Alert]:
        if cycle.universe:
            self._streak = 0
            return
        if cycle.no_trade_reason == "WARMUP":  # a model that has not seen enough yet is no surprise
            return
        self._streak += 1
        if self._streak == self._empty_cycles:
            told = f"{self._streak} cycles in a row, last {cycle.reasons}"
            yield alert("empty_universe", cycle.no_trade_reason or "NONE", told)


def alert(name: str, reason_code: str, told: str) -> Alert:
    """The alert ``name``, whose text is what it means and ``told``."""
    severity, meaning = ALERTS[name]
    return Alert(name, severity, reason_code, f"{meaning}: {told}")


def _risk(event: RiskChange) -> Iterator[Alert]:
    if (name := _OF_RISK.get(event.reason_code)) is not None:
        told = (
            f"{event.state_from} -> {event.state_to}, {event.metric} {event.value}, limit {event.limit}, "
            f"record {event.record}"
        )
        yield alert(name, event.reason_code, told)


def failure(event: Failed) -> str:
    """Which alert an error that ended a session is."""
    if event.error == "LedgerBroken":
        return "reconcile_mismatch"
    if any(word in event.detail for word in _ABOUT_HASHES):
        return "hash_mismatch"
    if event.error in ("BadTape", "OSError"):
        return "journal_lost"
    return "session_failed"
