"""What goes wrong, by plan: which fault strikes which request or message, the same for the same seed.

A request's kind is what it is for (``create``, ``cancel``, ``balance``, ...), a message's what it carries
(``ws.order``, ``ws.fill``, ``ws.balance``, ``ws.book``, ``ws.trade``). A rule strikes the n-th of its kind, or each
with a probability.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

REFUSED = {  # the request is not handled
    "refused": "the connection closes without an answer",
    "unanswered": "no answer ever comes",
    "rate_limited": "429, or the venue's own way of saying so",
    "banned": "418, or the venue's own way of saying so",
    "server_error": "HTTP 500",
    "bad_gateway": "HTTP 502",
    "unavailable": "HTTP 503",
}
HANDLED = {  # the request is handled, and the answer is not what it should be
    "lost_ack": "handled, and the connection closes without an answer",
    "timeout": "handled, and no answer ever comes",
    "error_after": "handled, and the answer is HTTP 500",
    "slow": "handled at once, answered `seconds` later",
    "late": "handled `seconds` later, no answer ever comes",
    "garbled": "handled, and the answer is cut in half",
}
STREAM = {  # of messages
    "drop": "not sent: a lost fill, or a gap in a book's sequence",
    "duplicate": "sent twice",
    "delay": "sent `seconds` later",
    "reorder": "sent after the next of its kind, or `seconds` later",
    "wrong_checksum": "a book whose proof, or sequence, does not hold",
    "half_open": "from here on the connection is silent, pings included, and stays open",
    "disconnect": "the connection closes instead",
}
VENUE = {  # strike when a request comes in, and last
    "restart": "all connections close, and for `seconds` none is taken; orders stay",
    "maintenance": "for `seconds` every request is refused as the venue does it",
    "delist": "the market `text` is taken off with its orders",
    "skew": "the venue's clock jumps by `seconds`",
    "by_hand": "`units` of the asset `text` are added to the balance",
}
REQUEST = REFUSED | HANDLED | VENUE
FAULTS = REQUEST | STREAM


@dataclass(frozen=True)
class Fault:
    """One rule of a plan."""

    name: str
    kind: str  # of request or message; "*" is any
    nth: int = 0  # the n-th of its kind, from 1; 0: any, by chance
    ppm: int = 0
    seconds: float = 1.0
    units: int = 0
    text: str = ""

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise ValueError(f"no fault {self.name!r}; there are {', '.join(FAULTS)}")
        if not self.nth and not self.ppm:
            raise ValueError(f"{self.name} of {self.kind} never strikes: give nth or ppm")


@dataclass
class FaultPlan:
    """Rules, and what has struck so far."""

    rules: list[Fault] = field(default_factory=list)
    seed: int = 0
    struck: list[tuple[str, str, int]] = field(default_factory=list)  # fault, kind, which of its kind
    seen: Counter[str] = field(default_factory=Counter)

    def of(self, kind: str, possible: dict[str, str]) -> dict[str, Fault]:
        """Count one of ``kind``; the faults that strike it, by name."""
        self.seen[kind] += 1
        number = self.seen[kind]
        found = {}
        for index, rule in enumerate(self.rules):
            if rule.name in possible and rule.kind in (kind, "*") and self._strikes(rule, index, kind, number):
                found[rule.name] = rule
                self.struck.append((rule.name, kind, number))
        return found

    def next(self, name: str, kind: str, **values: float | str) -> None:
        """Let the next of ``kind`` be struck."""
        self.rules.append(Fault(name, kind, self.seen[kind] + 1, **values))  # type: ignore[arg-type]

    def _strikes(self, rule: Fault, index: int, kind: str, number: int) -> bool:
        if rule.nth:
            return rule.nth == number
        return random.Random(f"{self.seed}/{index}/{kind}/{number}").randrange(1_000_000) < rule.ppm
