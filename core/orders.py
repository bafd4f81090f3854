"""Order life cycle (requirements C-33) as a table: state x report -> next state.

PENDING_NEW, PENDING_CANCEL and UNKNOWN are ours; the rest is what a venue reports. UNKNOWN means that a request went
out and its fate is not known: the order keeps its slot and its reserved exposure until the venue says. A report that
the table does not allow is a fault of this program or its adapter, never an event to trade on.

An instrument's orders are one record of dtype ORDERS: the live ones first, oldest first, then those that ended last,
which are kept so that what is said of them again can be told from what cannot be.
"""

from typing import Final

import numpy as np

from core.errors import BrokenInvariant
from core.jit import kernel
from core.layout import ORDERS_MAX
from core.records import OrderState

S = OrderState
_AFTER: Final = {
    S.NONE: {},
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
    # What is reported of an ended order was overtaken or is said again.
    S.FILLED: {S.NEW: S.FILLED, S.PARTIAL: S.FILLED, S.FILLED: S.FILLED},
    S.CANCELED: {S.NEW: S.CANCELED, S.PARTIAL: S.CANCELED, S.CANCELED: S.CANCELED},
    S.EXPIRED: {S.NEW: S.EXPIRED, S.PARTIAL: S.EXPIRED, S.EXPIRED: S.EXPIRED},
    S.REJECTED: {S.REJECTED: S.REJECTED},
}
IMPOSSIBLE: Final = -1
AFTER: Final = np.array([[_AFTER[state].get(to, IMPOSSIBLE) for to in OrderState] for state in OrderState], np.int64)

PENDING_NEW: Final = int(S.PENDING_NEW)
NEW: Final = int(S.NEW)
PARTIAL: Final = int(S.PARTIAL)
PENDING_CANCEL: Final = int(S.PENDING_CANCEL)
UNKNOWN: Final = int(S.UNKNOWN)
FILLED: Final = int(S.FILLED)


@kernel
def next_state(state: int, to: int) -> int:
    """The state after ``to`` was reported in ``state``. Raises BrokenInvariant if that cannot happen."""
    if not 0 <= to < len(AFTER):
        raise BrokenInvariant("an order report names no state of the life cycle")
    after = AFTER[state, to]
    if after == IMPOSSIBLE:
        raise BrokenInvariant("an order cannot move from its state to the reported one (table in core.orders)")
    return after


@kernel
def is_live(order: np.void) -> bool:
    """``order`` (dtype ORDER_SLOT) may still fill: its exposure is counted and its slot taken."""
    return PENDING_NEW <= order["state"] <= UNKNOWN


@kernel
def is_working(order: np.void) -> bool:
    """The venue has confirmed it and no cancel is under way."""
    return order["state"] == NEW or order["state"] == PARTIAL


@kernel
def remaining(order: np.void) -> int:
    """Lots that may still fill; 0 for an ended order."""
    if not is_live(order):
        return 0
    return max(0, order["qty"] - order["filled"])


@kernel
def find(orders: np.void, order_id: int) -> int:
    """The slot of order ``order_id`` > 0 in ``orders`` (dtype ORDERS); -1 if it is not remembered."""
    for k in range(ORDERS_MAX):
        if orders["slots"][k]["order_id"] == order_id:
            return k
    return -1


@kernel
def report(orders: np.void, k: int, to: int) -> int:
    """Move the order in slot ``k`` by what was reported; returns its state. Raises BrokenInvariant if it cannot be.

    An order that ends leaves its slot to the next one: ``k`` then names another order.
    """
    was_live = k < orders["live"]
    after = next_state(orders["slots"][k]["state"], to)
    orders["slots"][k]["state"] = after
    if was_live and after > UNKNOWN:
        _retire(orders, k)
    return after


@kernel
def _retire(orders: np.void, k: int) -> None:
    """Move the ended order in slot ``k`` behind the live ones; the last slot is scratch."""
    live = orders["live"] - 1
    orders["slots"][ORDERS_MAX] = orders["slots"][k]
    for i in range(k, live):
        orders["slots"][i] = orders["slots"][i + 1]
    orders["slots"][live] = orders["slots"][ORDERS_MAX]
    orders["live"] = live


@kernel
def open_slot(
    orders: np.void, order_id: int, side: int, action: int, qty: int, limit: int, price: int, deadline_ns: int
) -> None:
    """Add a new order after the live ones, forgetting one that ended before. Raises BrokenInvariant if none fits."""
    live = orders["live"]
    if live >= ORDERS_MAX:
        raise BrokenInvariant("an instrument has no free order slot: the chain must refuse this order")
    spare = ORDERS_MAX - 1 - live
    if spare > 0:  # the one that ended last takes the place of one that ended long ago, each place in turn
        orders["slots"][live + 1 + order_id % spare] = orders["slots"][live]
    order = orders["slots"][live]
    order["order_id"] = order_id
    order["side"] = side
    order["state"] = PENDING_NEW
    order["action"] = action
    order["qty"] = qty
    order["filled"] = 0
    order["limit"] = limit
    order["price"] = price
    order["deadline_ns"] = deadline_ns
    orders["live"] = live + 1


@kernel
def apply_fill(orders: np.void, k: int, fill: np.void) -> bool:
    """Count a FILL against the order in slot ``k``; False if it is beyond it: ended, another side, too much."""
    if k < 0 or k >= orders["live"] or orders["slots"][k]["side"] != fill["side"]:
        return False
    order = orders["slots"][k]
    order["filled"] += fill["qty"]
    within = order["filled"] <= order["qty"]
    report(orders, k, FILLED if order["filled"] >= order["qty"] else PARTIAL)
    return within
