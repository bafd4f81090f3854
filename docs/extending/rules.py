"""Adding a rules engine: triggers say when to look, candidates what is worth it, proposals what to do about it.

The core asks a strategy at every event for every instrument of its universe (``symbols``, ``risk.whitelist``), so each
question is about one instrument; which proposals fit together is for the limits that all of them share. A proposal
states what it reckons with and how it would leave. ``tests/docs/test_docs_strategy.py`` runs it for a day.
"""

import numpy as np

from core import strategies
from core.jit import kernel

SEEN, MEAN_RANGE, HELD = 0, 1, 2  # words of its memory: bars, 16 x the average range in ticks, bars held


@kernel
def is_triggered(memory: np.void, bar: np.void) -> bool:
    """The bar's range is more than twice the average one: something has happened."""
    return memory["words"][SEEN] >= 16 and 16 * (bar["high"] - bar["low"]) > 2 * memory["words"][MEAN_RANGE]


@kernel
def is_candidate(bar: np.void) -> bool:
    """It closed in its lowest quarter: sold off, and perhaps too far."""
    return 4 * (bar["close"] - bar["low"]) < bar["high"] - bar["low"]


@kernel
def propose(params: np.void, bar: np.void, proposal: np.void) -> int:
    """Buy for half the range back, and give up when as much again is lost."""
    distance = max(1, (bar["high"] - bar["low"]) // 2)
    proposal["take_profit_ticks"], proposal["stop_loss_ticks"] = distance, distance
    proposal["edge"], proposal["cost"] = distance * 1_000_000 // bar["close"], params["cost_ppm"]
    return strategies.LONG if proposal["edge"] > proposal["cost"] else strategies.HOLD


def selloff(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """Triggers -> candidates -> proposals; FLAT after ``slow`` bars."""
    if view["event"] != strategies.ON_BAR:
        return strategies.NO_OPINION
    words, bar, want = memory["words"], view["bar"], strategies.HOLD
    words[HELD] = words[HELD] + 1 if view["lots"] > 0 else 0
    if words[HELD] >= params["slow"]:
        want = strategies.FLAT
    elif view["lots"] == 0 and is_triggered(memory, bar) and is_candidate(bar):
        want = propose(params, bar, proposal)
    words[MEAN_RANGE] += bar["high"] - bar["low"] - words[MEAN_RANGE] // 16
    words[SEEN] += 1
    return want


strategies.register("selloff", selloff)
