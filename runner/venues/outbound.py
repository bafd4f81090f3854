"""The life of an order at the boundary, without any I/O: what was sent, what is known of it, what the core is told.

    NEW -> SENT -> ACKED -> ENDED
             |  -> REJECTED           the venue said no, or our own checks did
             |  -> UNKNOWN -> ACKED   it is there after all
                           -> ABSENT  past the venue's acceptance deadline and in none of its lists

A create whose answer is missing is UNKNOWN: its exposure stays reserved in the core, and it is never sent again. An
order is NEW only before its first byte leaves; one taken up from a journal may have left, so it begins as UNKNOWN.

Each execution becomes one FILL, known by (order, execution id), in the order in which the venue counts them; an order's
end is told after its last fill, since a fill of an order that has ended halts the core.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

import numpy as np

from core.errors import require
from core.records import INTENT, FeeAsset, OrderState, Reason
from runner.venues.protocol import Finding, Known
from runner.venues.telling import Told


class Stage(IntEnum):
    """How far an order has come."""

    NEW = 0
    SENT = 1
    ACKED = 2
    UNKNOWN = 3
    REJECTED = 4
    ABSENT = 5
    ENDED = 6


S = Stage
AFTER: Final = {
    S.NEW: (S.SENT, S.REJECTED, S.UNKNOWN),
    S.SENT: (S.ACKED, S.REJECTED, S.UNKNOWN),
    S.UNKNOWN: (S.ACKED, S.REJECTED, S.ABSENT),
    S.ACKED: (S.ENDED,),
    S.REJECTED: (),
    S.ABSENT: (),
    S.ENDED: (),
}
OVER_KEPT: Final = 10_000  # of which something may still be said
OVER: Final = (S.REJECTED, S.ABSENT, S.ENDED)
ENDS: Final = (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED)
END_REASONS: Final = {OrderState.CANCELED: Reason.CANCEL_STALE, OrderState.EXPIRED: Reason.EXPIRED}


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill as the venue tells of it."""

    exec_id: int
    venue_id: str
    instrument: int
    side: int
    price: int  # ticks
    qty: int  # lots
    fee: int  # units of the asset named by ``fee_asset``
    fee_asset: int  # FeeAsset; 0: neither of the pair's
    ts_ns: int
    moves: dict[str, int]  # asset -> units it moved the account by, fee included
    before: int = -1  # lots of the order filled before it; -1: not said


@dataclass(frozen=True, slots=True)
class Report:
    """What the venue says of an order."""

    client_id: str
    venue_id: str
    instrument: int
    side: int
    price: int  # ticks; 0: at market
    qty: int  # lots
    state: OrderState  # NEW, PARTIAL, FILLED, CANCELED, EXPIRED, REJECTED
    filled: int  # lots
    ts_ns: int
    execution: Execution | None = None


@dataclass(slots=True)
class Order:
    """One order of ours."""

    order_id: int
    client_id: str
    instrument: int
    side: int
    qty: int
    price: int
    flags: int
    deadline_ns: int
    made_ns: int
    stage: Stage = Stage.NEW
    venue_id: str = ""
    accept_until_ms: int = 0  # by the venue's clock: a create that it has not taken by then, it never will
    filled: int = 0  # told to the core, lots
    said: int = 0  # the most that the venue has said is filled
    seen: dict[int, int] = field(default_factory=dict)  # execution id -> lots, told
    held: dict[int, Execution] = field(default_factory=dict)  # overtook an execution before it
    end: tuple[OrderState, int] | None = None  # how it ended, and its time
    cancel_wanted: bool = False
    was_acked: bool = False  # by what the journal holds: the core would not believe that it was rejected

    @property
    def is_over(self) -> bool:
        """Nothing more is expected of it."""
        return self.stage in OVER

    @property
    def lacks_fills(self) -> bool:
        """The venue has said of more fills than it has told."""
        return self.stage == Stage.ACKED and (bool(self.held) or self.said > self.filled)

    @property
    def needs_care(self) -> bool:
        """The venue must be asked something about it."""
        return self.stage == Stage.UNKNOWN or self.lacks_fills or (self.cancel_wanted and self.stage == Stage.ACKED)


class Outbound:
    """Every order of a run, and the records that tell of them. ``now_ns`` stamps when something became known."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns, self.told = now_ns, Told(now_ns)
        self.orders: dict[int, Order] = {}
        self.findings: list[Finding] = []
        self._live: dict[int, Order] = {}
        self._over: deque[Order] = deque()  # oldest first
        self._by_client_id: dict[str, Order] = {}
        self._by_venue_id: dict[str, Order] = {}

    def add(self, intent: np.ndarray, client_id: str) -> Order:
        """Take an INTENT, shape (1,), about to be sent."""
        row = intent.view(INTENT)[0]
        instrument, side, qty = (int(row[name]) for name in ("instrument", "side", "qty"))
        price, flags, deadline_ns = (int(row[name]) for name in ("price", "flags", "deadline_ns"))
        made_ns = int(row["ts_known"])
        order = Order(int(row["order_id"]), client_id, instrument, side, qty, price, flags, deadline_ns, made_ns)
        require(order.order_id not in self.orders, f"order {order.order_id} is submitted twice")
        require(client_id not in self._by_client_id, f"client order id {client_id} is used twice")
        self.orders[order.order_id] = self._live[order.order_id] = self._by_client_id[client_id] = order
        return order

    def resume(self, known: Known, accept_until_ms: int) -> Order:
        """Take an order from a journal, with the executions booked already; nobody knows whether it was sent."""
        order = self.add(known.intent, known.client_order_id)
        order.stage, order.accept_until_ms = Stage.UNKNOWN, accept_until_ms
        order.seen = dict(known.executions)
        order.filled = sum(known.executions.values())
        order.was_acked = bool(order.filled) or known.state in (OrderState.NEW, OrderState.PARTIAL)
        order.cancel_wanted = known.state == OrderState.PENDING_CANCEL
        return order

    def find(self, client_id: str, venue_id: str) -> Order | None:
        """The order with either id."""
        return self._by_venue_id.get(venue_id) or self._by_client_id.get(client_id)

    def sent(self, order: Order, accept_until_ms: int) -> None:
        """The request is about to leave."""
        order.accept_until_ms = accept_until_ms
        self._move(order, Stage.SENT)

    def acked(self, order: Order, venue_id: str, ts_ns: int) -> None:
        """The venue has the order. Said again, it says nothing."""
        order.venue_id = venue_id
        self._by_venue_id[venue_id] = order
        if order.stage in (Stage.SENT, Stage.UNKNOWN):
            self._move(order, Stage.ACKED)
            _tell(self.told, order, OrderState.NEW, Reason.NONE, ts_ns)

    def unknown(self, order: Order) -> None:
        """No answer says whether the venue has it. Nothing changes if it is known by another way."""
        if order.stage == Stage.SENT:
            self._move(order, Stage.UNKNOWN)
            _tell(self.told, order, OrderState.UNKNOWN, Reason.NONE, self._now_ns())

    def refused(self, order: Order, reason: Reason) -> None:
        """The venue refused it, or it was never sent. A post-only order that would have taken expires."""
        if order.stage == Stage.ACKED:
            return  # it was seen: an answer that denies it says less
        self._move(order, Stage.REJECTED)
        expires = reason == Reason.WOULD_CROSS or order.was_acked
        state = OrderState.EXPIRED if expires else OrderState.REJECTED
        _tell(self.told, order, state, reason, self._now_ns())

    def absent(self, order: Order) -> None:
        """The venue does not have it and never will."""
        if order.stage == Stage.UNKNOWN:
            self._move(order, Stage.ABSENT)
            state = OrderState.EXPIRED if order.was_acked else OrderState.REJECTED
            _tell(self.told, order, state, Reason.EXPIRED, self._now_ns())

    def report(self, report: Report) -> Order | None:
        """What the venue says of an order; None if it is none of ours."""
        order = self.find(report.client_id, report.venue_id)
        if order is None:
            return None
        if order.stage in (Stage.REJECTED, Stage.ABSENT) and not order.venue_id:
            self.findings.append(Finding(kind="returned", subject=f"{order.order_id} as {report.venue_id}"))
            order.venue_id = report.venue_id
            self._by_venue_id[report.venue_id] = order
        if report.state == OrderState.REJECTED and order.stage in (Stage.SENT, Stage.UNKNOWN):
            self.refused(order, Reason.VENUE_REJECT)
            return order
        if order.stage in (Stage.SENT, Stage.UNKNOWN):
            self.acked(order, report.venue_id, report.ts_ns)
        order.said = max(order.said, report.filled)
        if report.state in ENDS and order.end is None:
            order.end = (report.state, report.ts_ns)
        if report.execution is not None:
            self._take_in(order, report.execution)
        self._settle(order)
        return order

    def executions(self, order: Order, found: Iterable[Execution]) -> int:
        """Executions of ``order`` from the venue's list, all of them up to the last; how many were new."""
        before = len(order.seen)
        for each in sorted(found, key=lambda execution: execution.exec_id):
            if each.exec_id not in order.seen:
                self._fill(order, each)
        self._settle(order)
        return len(order.seen) - before

    def live(self) -> list[Order]:
        """Orders that are not over."""
        return list(self._live.values())

    def _move(self, order: Order, to: Stage) -> None:
        require(to in AFTER[order.stage], f"order {order.order_id} cannot go from {order.stage.name} to {to.name}")
        order.stage = to
        if order.is_over:
            del self._live[order.order_id]
            self._over.append(order)
        while len(self._over) > OVER_KEPT:
            oldest = self._over.popleft()
            del self.orders[oldest.order_id], self._by_client_id[oldest.client_id]
            self._by_venue_id.pop(oldest.venue_id, None)

    def _take_in(self, order: Order, execution: Execution) -> None:
        if execution.exec_id in order.seen:
            return
        if execution.before > order.filled:
            order.held[execution.exec_id] = execution
        else:
            self._fill(order, execution)

    def _fill(self, order: Order, execution: Execution) -> None:
        order.held.pop(execution.exec_id, None)
        order.seen[execution.exec_id] = execution.qty
        order.filled += execution.qty
        if execution.fee_asset == 0 and execution.fee:
            self.findings.append(Finding(kind="fee asset", subject=str(order.order_id), actual=execution.fee))
        reason = Reason.FILLED if order.filled >= order.qty else Reason.PARTIAL
        self.told.fill(
            execution.ts_ns, order.side, order.instrument, reason, execution.fee_asset or FeeAsset.QUOTE,
            order.order_id, execution.price, execution.qty, execution.fee if execution.fee_asset else 0,
            execution.exec_id,
        )  # fmt: skip

    def _settle(self, order: Order) -> None:
        """Tell the fills that were held and are due, and the end once no fill is missing before it."""
        while due := [each for each in order.held.values() if each.before <= order.filled]:
            self._fill(order, min(due, key=lambda each: each.exec_id))
        if order.stage != Stage.ACKED or order.said > order.filled:
            return
        if order.filled >= order.qty:
            self._move(order, Stage.ENDED)
        elif order.end is not None and order.end[0] in END_REASONS:
            self._move(order, Stage.ENDED)
            _tell(self.told, order, order.end[0], END_REASONS[order.end[0]], order.end[1])


def _tell(told: Told, order: Order, state: OrderState, reason: Reason, ts_ns: int) -> None:
    left = order.qty - order.filled
    told.order(ts_ns, order.side, order.instrument, reason, order.order_id, state, order.filled, left)
