"""What the core sends: the DECISION and INTENT records, and the reservation that goes with an intent."""

from typing import Final

import numpy as np

from core import orders, rules
from core.jit import kernel
from core.layout import RATE_SLOTS
from core.outbox import emit
from core.records import Action, Kind, OrderState, Side

DECISION: Final = int(Kind.DECISION)
INTENT: Final = int(Kind.INTENT)
OPEN: Final = int(Action.OPEN)
REDUCE: Final = int(Action.REDUCE)
CANCEL: Final = int(Action.CANCEL)
BUY: Final = int(Side.BUY)
SELL: Final = int(Side.SELL)
PENDING_CANCEL: Final = int(OrderState.PENDING_CANCEL)


@kernel
def decision(
    config: np.void,
    state: np.void,
    box: np.void,
    index: int,
    action: int,
    reason: int,
    bar_ts: int,
    target: int,
    lots: int,
    edge_ppm: int,
) -> None:
    """Record what was decided and why; ``action`` 0: nothing is sent."""
    now = state["account"]["now_ns"]
    cost = config["markets"][index]["params"]["cost_ppm"]
    held = state["positions"][index]["view"]["lots"]
    side = BUY if action == OPEN else (0 if action != REDUCE else (BUY if held < 0 else SELL))
    emit(box, now, now, DECISION, side, index, reason, action, bar_ts, target, lots, edge_ppm, cost)


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
    """Reserve, count and send an approved order: ``limit`` ticks, 0 at market; ``flags``: bits of OrderFlag."""
    account, position, risk_state = state["account"], state["positions"][index], state["risk"]
    now, order_id = account["now_ns"], account["next_order_id"]
    deadline, price = now + config["order_ttl_ns"], limit if limit > 0 else position["price"]
    account["next_order_id"] = order_id + 1
    orders.open_slot(state["orders"][index], order_id, side, action, lots, limit, price, deadline)
    risk_state["submit_ns"][risk_state["submitted"] % RATE_SLOTS] = now
    risk_state["submitted"] += 1
    approval = rules.token(config, order_id, index, side, action | flags, limit, lots, deadline)
    emit(box, now, now, INTENT, side, index, reason, action | flags, order_id, limit, lots, deadline, approval)


@kernel
def cancel(config: np.void, state: np.void, box: np.void, index: int, k: int, reason: int) -> None:
    """Ask for the cancellation of the live order in slot ``k``; nothing may refuse that."""
    orders.report(state["orders"][index], k, PENDING_CANCEL)
    order, now = state["orders"][index]["slots"][k], state["account"]["now_ns"]
    side, order_id, deadline = order["side"], order["order_id"], order["deadline_ns"]
    approval = rules.token(config, order_id, index, side, CANCEL, 0, 0, deadline)
    emit(box, now, now, INTENT, side, index, reason, CANCEL, order_id, 0, 0, deadline, approval)
