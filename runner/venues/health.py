"""Whether new exposure may be taken at a venue, and why not: NO_TRADE while anything stands in the way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

VENUE: Final = "venue"  # what stands in the way, by name: queries fail
TABLE: Final = "table"  # the instruments are out of date, or changed
ACCOUNT: Final = "account"  # someone else trades on it, or it holds what our books do not explain
START: Final = "start"


@dataclass(frozen=True, slots=True)
class Change:
    """From ``ts_ns`` on the account may trade, or may not."""

    ts_ns: int
    may_trade: bool
    reason: str


class Health:
    """Blocks by name; NO_TRADE while there is one. Reductions and cancels are tried all the same."""

    def __init__(self, now_ns: Callable[[], int], failures_max: int) -> None:
        self._now_ns, self._failures_max = now_ns, failures_max
        self._blocks: dict[str, str] = {START: "not connected"}
        self.failures = 0
        self.changes: list[Change] = []  # the session's to take

    @property
    def may_trade(self) -> bool:
        """False: NO_TRADE."""
        return not self._blocks

    @property
    def reason(self) -> str:
        """Why it is NO_TRADE."""
        return "; ".join(f"{name}: {reason}" for name, reason in self._blocks.items())

    def block(self, name: str, reason: str) -> None:
        """Something stands in the way."""
        was = self.may_trade
        self._blocks[name] = reason
        if was:
            self.changes.append(Change(self._now_ns(), False, self.reason))

    def clear(self, name: str) -> None:
        """It no longer does."""
        if self._blocks.pop(name, None) is not None and self.may_trade:
            self.changes.append(Change(self._now_ns(), True, ""))

    def failed(self, reason: str) -> None:
        """A query failed."""
        self.failures += 1
        if self.failures >= self._failures_max:
            self.block(VENUE, f"{self.failures} failures in a row, last: {reason}")

    def succeeded(self) -> None:
        """A query was answered. The block stays until everything has been compared (``clear``)."""
        self.failures = 0
