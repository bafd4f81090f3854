"""Order life cycle (requirements C-33) as a table: state x report -> next state.

PENDING_NEW, PENDING_CANCEL and UNKNOWN are ours; the rest is what a venue reports. UNKNOWN means that a request went
out and its fate is not known: the order keeps its slot and its reserved exposure until the venue says. A report that
the table does not allow is a fault of this program or its adapter, never an event to trade on.
"""

from typing import Final

import numpy as np

from core.errors import BrokenInvariant
from core.jit import kernel
from core.records import OrderState

S = OrderState
_AFTER: Final = {
    S.NONE: {S.PENDING_NEW: S.PENDING_NEW},
    S.PENDING_NEW: {
        S.NEW: S.NEW,
        S.PARTIAL: S.PARTIAL,  # a fill may overtake the acknowledgement
        S.PENDING_CANCEL: S.PENDING_CANCEL,
        S.UNKNOWN: S.UNKNOWN,
        S.FILLED: S.FILLED,
        S.CANCELED: S.CANCELED,
        S.EXPIRED: S.EXPIRED,
        S.REJECTED: S.REJECTED,
    },
    S.NEW: {
        S.NEW: S.NEW,
        S.PARTIAL: S.PARTIAL,
        S.PENDING_CANCEL: S.PENDING_CANCEL,
        S.UNKNOWN: S.UNKNOWN,
        S.FILLED: S.FILLED,
        S.CANCELED: S.CANCELED,
        S.EXPIRED: S.EXPIRED,
    },
    S.PARTIAL: {
        S.NEW: S.PARTIAL,  # the acknowledgement, overtaken
        S.PARTIAL: S.PARTIAL,
        S.PENDING_CANCEL: S.PENDING_CANCEL,
        S.UNKNOWN: S.UNKNOWN,
        S.FILLED: S.FILLED,
        S.CANCELED: S.CANCELED,
        S.EXPIRED: S.EXPIRED,
    },
    S.PENDING_CANCEL: {
        S.NEW: S.PENDING_CANCEL,
        S.PARTIAL: S.PENDING_CANCEL,
        S.UNKNOWN: S.UNKNOWN,
        S.FILLED: S.FILLED,
        S.CANCELED: S.CANCELED,
        S.EXPIRED: S.EXPIRED,
        S.REJECTED: S.REJECTED,
    },
    S.UNKNOWN: {
        S.NEW: S.NEW,
        S.PARTIAL: S.PARTIAL,
        S.PENDING_CANCEL: S.PENDING_CANCEL,
        S.UNKNOWN: S.UNKNOWN,
        S.FILLED: S.FILLED,
        S.CANCELED: S.CANCELED,
        S.EXPIRED: S.EXPIRED,
        S.REJECTED: S.REJECTED,
    },
    # An ended order frees its slot for the next. What is reported of it later was overtaken or is said again.
    S.FILLED: {S.PENDING_NEW: S.PENDING_NEW, S.NEW: S.FILLED, S.PARTIAL: S.FILLED, S.FILLED: S.FILLED},
    S.CANCELED: {S.PENDING_NEW: S.PENDING_NEW, S.NEW: S.CANCELED, S.PARTIAL: S.CANCELED, S.CANCELED: S.CANCELED},
    S.EXPIRED: {S.PENDING_NEW: S.PENDING_NEW, S.NEW: S.EXPIRED, S.PARTIAL: S.EXPIRED, S.EXPIRED: S.EXPIRED},
    S.REJECTED: {S.PENDING_NEW: S.PENDING_NEW, S.REJECTED: S.REJECTED},
}
IMPOSSIBLE: Final = -1
AFTER: Final = np.array([[_AFTER[state].get(to, IMPOSSIBLE) for to in OrderState] for state in OrderState], np.int64)

PENDING_NEW: Final = int(S.PENDING_NEW)
PARTIAL: Final = int(S.PARTIAL)
PENDING_CANCEL: Final = int(S.PENDING_CANCEL)
UNKNOWN: Final = int(S.UNKNOWN)
FILLED: Final = int(S.FILLED)


@kernel
def report(order: np.void, to: int) -> None:
    """Move ``order`` (dtype ORDER_SLOT) by what was reported. Raises BrokenInvariant if that cannot happen."""
    if not 0 <= to < AFTER.shape[1]:
        raise BrokenInvariant("an order report names no state of the life cycle")
    after = AFTER[order["state"], to]
    if after == IMPOSSIBLE:
        raise BrokenInvariant("an order cannot move from its state to the reported one (table in core.orders)")
    order["state"] = after


@kernel
def is_live(order: np.void) -> bool:
    """It may still fill: its exposure is counted and its slot taken."""
    return PENDING_NEW <= order["state"] <= UNKNOWN


@kernel
def remaining(order: np.void) -> int:
    """Lots that may still fill; 0 for an ended order."""
    if not is_live(order):
        return 0
    return max(0, order["qty"] - order["filled"])


@kernel
def open_slot(order: np.void, order_id: int, side: int, qty: int, price: int, deadline_ns: int) -> None:
    """Put a new order into a free slot. Raises BrokenInvariant if the slot's order is still live."""
    report(order, PENDING_NEW)
    order["order_id"] = order_id
    order["side"] = side
    order["qty"] = qty
    order["filled"] = 0
    order["price"] = price
    order["deadline_ns"] = deadline_ns


@kernel
def apply_fill(order: np.void, fill: np.void) -> bool:
    """Count a FILL against ``order``; False if it is beyond it: another order, another side, or more than remained."""
    if fill["order_id"] != order["order_id"] or not is_live(order) or fill["side"] != order["side"]:
        return False
    order["filled"] += fill["qty"]
    report(order, FILLED if order["filled"] >= order["qty"] else PARTIAL)
    return order["filled"] <= order["qty"]
