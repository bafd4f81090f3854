"""What the core sends: the DECISION and INTENT records, and the reservation that goes with an intent."""

from typing import Final

import numpy as np

from core import orders, rules
from core.jit import kernel, rare
from core.layout import RATE_SLOTS
from core.outbox import emit
from core.records import Action, DecisionFlag, Kind, OrderFlag, OrderState

DECISION: Final = int(Kind.DECISION)
INTENT: Final = int(Kind.INTENT)
CANCEL: Final = int(Action.CANCEL)
STOP: Final = int(OrderFlag.STOP)
MILLITICKS: Final = int(DecisionFlag.MILLITICKS)
PENDING_CANCEL: Final = int(OrderState.PENDING_CANCEL)


@rare
def decision(
    config: np.void,
    state: np.void,
    box: np.void,
    index: int,
    action: int,
    side: int,
    reason: int,
    bar_ts: int,
    target: int,
    lots: int,
) -> None:
    """Record what was decided and why, with the edge and the cost it was weighed by; ``action`` 0: nothing is sent."""
    now, proposal = state["account"]["now_ns"], state["positions"][index]["proposal"]
    flags = action | MILLITICKS if proposal["in_milliticks"] == 1 else action
    edge, cost = proposal["edge"], proposal["cost"]
    emit(box, now, now, DECISION, side, index, reason, flags, bar_ts, target, lots, edge, cost)


@kernel
def submit(
    config: np.void,
    state: np.void,
    box: np.void,
    index: int,
    action: int,
    side: int,
    lots: int,
    limit: int,
    flags: int,
    reason: int,
) -> None:
    """``submit_until`` with the lifetime that the settings give an order."""
    deadline_ns = state["account"]["now_ns"] + config["order_ttl_ns"]
    submit_until(config, state, box, index, action, side, lots, limit, flags, reason, deadline_ns)


@rare
def submit_until(
    config: np.void,
    state: np.void,
    box: np.void,
    index: int,
    action: int,
    side: int,
    lots: int,
    limit: int,
    flags: int,
    reason: int,
    deadline: int,
) -> None:
    """Reserve, count and send an approved order: ``limit`` ticks, 0 at market; ``flags``: bits of OrderFlag."""
    account, position, risk_state = state["account"], state["positions"][index], state["risk"]
    now, order_id, orders_of = account["now_ns"], account["next_order_id"], state["orders"][index]
    price = limit if limit > 0 else position["price"]
    account["next_order_id"] = order_id + 1
    orders.open_slot(orders_of, order_id, side, action, lots, limit, price, deadline)
    order = orders_of["slots"][orders_of["live"] - 1]
    order["reason"] = reason
    order["stop"] = limit if flags & STOP != 0 else 0
    risk_state["submit_ns"][risk_state["submitted"] % RATE_SLOTS] = now
    risk_state["submitted"] += 1
    approval = rules.token(config, order_id, index, side, action | flags, limit, lots, deadline)
    emit(box, now, now, INTENT, side, index, reason, action | flags, order_id, limit, lots, deadline, approval)


@rare
def cancel(config: np.void, state: np.void, box: np.void, index: int, k: int, reason: int) -> None:
    """Ask for the cancellation of the live order in slot ``k``; nothing may refuse that."""
    orders.report(state["orders"][index], k, PENDING_CANCEL)
    _instruct(config, state, box, index, k, CANCEL, 0, reason)


@rare
def stop(config: np.void, state: np.void, box: np.void, index: int, k: int, price: int, reason: int) -> None:
    """Have what is left of the live order in slot ``k`` execute at market from ``price`` ticks on; 0: now.

    Like a cancel, nothing may refuse it: the order was approved, and this is how it ends.
    """
    order = state["orders"][index]["slots"][k]
    order["stop"] = price
    if price == 0:
        order["limit"] = 0
    _instruct(config, state, box, index, k, CANCEL | STOP, price, reason)


@kernel
def _instruct(
    config: np.void, state: np.void, box: np.void, index: int, k: int, flags: int, price: int, reason: int
) -> None:
    order, now = state["orders"][index]["slots"][k], state["account"]["now_ns"]
    side, order_id, deadline = order["side"], order["order_id"], order["deadline_ns"]
    approval = rules.token(config, order_id, index, side, flags, price, 0, deadline)
    emit(box, now, now, INTENT, side, index, reason, flags, order_id, price, 0, deadline, approval)
