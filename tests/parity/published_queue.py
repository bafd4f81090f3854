"""The published queue formula in floats, in place of ``core.queue``'s: what is left of a difference to hftbacktest.

``NUMBA_DISABLE_JIT=1 python -m tests.parity.published_queue lobster logarithm`` prints orders and fills as a JSON line,
in about a minute; on the recorded tapes they are hftbacktest's. As published, cancellations may take more lots from in
front of an order than stand there, and the logarithm of what is then negative is no number: the order is put back
behind everything shown. ``core.queue`` does neither.
"""

import json
import math
import sys
from typing import Any

import numpy as np

from core import queue
from core.records import ACTION_MASK, Action, Kind
from tests.parity import test_queue_hftbacktest as parity

STATE: dict[int, list[float]] = {}  # order id -> lots in front, lots traded since the last change


def on_new(order: Any, shown: int) -> None:
    STATE[int(order["order_id"])] = [float(shown), 0.0]


def on_trade(order: Any, lots: int) -> None:
    state = STATE[int(order["order_id"])]
    state[0] -= lots
    state[1] += lots


def on_depth(model: Any, order: Any, before: int, after: int) -> None:
    state, unit = STATE[int(order["order_id"])], float(model["unit_lots"])

    def weight(lots: float) -> float:
        return math.log1p(lots / unit) if lots > -unit else math.nan

    front, cancelled = state[0], before - after - state[1]
    if cancelled >= 0:
        behind = before - front
        total = weight(behind) + weight(front)
        chance = weight(behind) / total if total != 0 else (math.nan if weight(behind) == 0 else 1.0)
        front = front - (1 - chance) * cancelled + min(behind - chance * cancelled, 0.0)
    state[0], state[1] = float(after) if math.isnan(front) else min(front, float(after)), 0.0


def take_filled(order: Any, left: int, partial: bool) -> int:
    state = STATE[int(order["order_id"])]
    beyond = math.floor(0.5 - state[0])
    if beyond <= 0:
        return 0
    state[0] = 0.0
    return min(left, beyond) if partial else left


if __name__ == "__main__":
    market, model = sys.argv[1:]
    for function in (on_new, on_trade, on_depth, take_filled):
        setattr(queue, function.__name__, function)
    out = parity.play(market, model, partial=False).out
    sent = out[out["kind"] == Kind.INTENT]
    orders = int((sent["flags"] & ACTION_MASK != Action.CANCEL).sum())
    print(json.dumps({"orders": orders, "fills": int(np.sum(out["kind"] == Kind.FILL))}))
