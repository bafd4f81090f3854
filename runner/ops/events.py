"""What is logged: one kind of line per kind of event, and the schema every line obeys.

Field names that the requirements fix (``pair``, ``tier``, ``conf``, ``lat_ms``, ``no_trade_reason``, ``reason_code``,
...) are theirs. ``market_ns`` is the market's time of an event, ``ts`` the wall clock's when it was written. Prices are
decimals in quote units and for people: what is exact is in the journal, at ``record``.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from core.errors import BadInput

Mode = Literal["paper", "shadow", "dryrun", "live"]
Level = Literal["info", "warning", "error"]
Severity = Literal["page", "warn"]
Outcome = Literal["finished", "stopped"]
Fate = Literal["sent", "retry", "given_up", "dropped"]
Count = Annotated[int, Meta(ge=0)]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="event"):
    """What every line has. ``ts`` and ``level`` are the log's to fill in."""

    LEVEL: ClassVar[str] = "info"

    mode: Mode
    run: Annotated[str, Meta(min_length=1)]
    ts: str = ""
    level: Level | Literal[""] = ""


class Started(Event, frozen=True, kw_only=True, tag="session_started"):
    """A process took the run up."""

    run_id: str
    bundle_id: str
    version: str
    pairs: list[str]
    records: Count  # that the journal held already


class Ended(Event, frozen=True, kw_only=True, tag="session_ended"):
    """The process is done with the run: ``finished``, or ``stopped`` by its operator."""

    outcome: Outcome
    records: Count


class Failed(Event, frozen=True, kw_only=True, tag="session_failed"):
    """The session ended with an error."""

    LEVEL: ClassVar[str] = "error"

    error: str  # the kind of error
    detail: str
    exception: str | None = None  # where it happened


class Cycle(Event, frozen=True, kw_only=True, tag="cycle"):
    """One moment at which the strategies decided."""

    market_ns: int
    universe: Count  # instruments that could be traded
    candidates: Count  # those for which the strategy wanted something
    proposals: Count  # orders that were sized and judged
    risk_decisions: dict[str, int]  # "approved", or the rule that refused -> how often
    no_trade_reason: str | None  # the most frequent reason where there was no order
    reasons: dict[str, int]  # of every decision


class Signal(Event, frozen=True, kw_only=True, tag="signal"):
    """An order that opens or reduces was approved and goes to the venue."""

    record: Count  # of its INTENT
    market_ns: int
    order_id: int
    pair: str
    side: str
    action: str
    quantity: float
    tier: str | None  # HIGH or STANDARD, by risk.high_confidence_ppm; None without a prediction
    conf: float | None
    entry: float  # the limit, or the price it was judged at
    tp: float | None  # where the settings place them; a strategy may propose others
    sl: float | None
    rr: float | None
    lat_ms: float  # from the bar or event to the decision, in market time
    spread_bps: float | None  # None without a book
    slip_bps: float  # the slippage assumed when it was judged
    reason_code: str
    edge_ticks: float
    cost_to_take: float  # ticks
    context_mult: float  # what the risk state multiplies sizes by
    inventory: float  # held before it
    latency_ms: float  # as lat_ms, under the action log's name


class Cancel(Event, frozen=True, kw_only=True, tag="cancel"):
    """A cancel goes to the venue."""

    record: Count
    market_ns: int
    order_id: int
    pair: str
    reason_code: str


class Refusal(Event, frozen=True, kw_only=True, tag="refusal"):
    """A rule refused an order."""

    record: Count  # of its DECISION
    market_ns: int
    pair: str
    side: str
    reason_code: str
    value: int | None  # against ``limit``, in the rule's unit
    limit: int | None


class Filled(Event, frozen=True, kw_only=True, tag="fill"):
    """The venue executed."""

    record: Count
    market_ns: int
    order_id: int
    exec_id: int
    pair: str
    side: str
    price: float
    quantity: float
    slip_bps: float | None  # against the price it was judged at; above 0: against us
    lat_ms: float | None  # from the intent to the execution


class OrderEnd(Event, frozen=True, kw_only=True, tag="order_end"):
    """An order ended at the venue."""

    record: Count
    market_ns: int
    order_id: int
    pair: str
    state: str
    reason_code: str


class RiskChange(Event, frozen=True, kw_only=True, tag="risk"):
    """The risk state changed, or a limit was reached."""

    LEVEL: ClassVar[str] = "warning"

    record: Count
    market_ns: int
    state_from: str
    state_to: str
    reason_code: str
    metric: str
    value: int
    limit: int


class Alerted(Event, frozen=True, kw_only=True, tag="alert"):
    """An alert was raised; ``muted``: it went nowhere but here."""

    LEVEL: ClassVar[str] = "warning"

    alert: str
    severity: Severity
    reason_code: str
    text: str
    muted: bool


class Delivery(Event, frozen=True, kw_only=True, tag="alert_delivery"):
    """What became of an alert at one sink."""

    alert: str
    sink: str
    outcome: Fate
    attempts: Count
    detail: str


class Problem(Event, frozen=True, kw_only=True, tag="problem"):
    """Something beside trading went wrong: the log, the web server, a library."""

    LEVEL: ClassVar[str] = "error"

    what: str
    detail: str
    exception: str | None = None


ANY = (
    Started | Ended | Failed | Cycle | Signal | Cancel | Refusal | Filled | OrderEnd | RiskChange | Alerted | Delivery
    | Problem
)  # fmt: skip
_DECODER: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ANY)


def parse_line(line: bytes | str) -> Event:
    """One line of a log as its event. Raises BadInput saying what does not fit the schema."""
    try:
        event: Event = _DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise BadInput(f"log line does not fit the schema: {error}: {line!r}") from None
    if not event.ts or not event.level:
        raise BadInput(f"log line without ts or level: {line!r}")
    return event
