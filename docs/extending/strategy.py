"""Adding a strategy: a breakout of the last bars' range, in a file of your own.

A strategy is one plain function of records and integers. It says what it wants; sizing, limits and orders are the
core's. Register it under a name and use that name as ``strategy.kind``; ``tests/docs/test_docs_strategy.py`` does.
"""

import numpy as np

from core import strategies

HIGH, LOW = 1, 2  # words of this strategy's memory, per instrument; word 0 counts bars


def breakout(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """LONG above the highest close of the last ``slow`` bars, FLAT below the lowest of the last ``fast``."""
    if view["event"] != strategies.ON_BAR:
        return strategies.NO_OPINION  # predictions are none of its business
    words, want = memory["words"], strategies.HOLD
    seen, close = words[0], view["bar"]["close"]
    if seen > 0 and seen % params["slow"] != 0 and close > words[HIGH]:
        want = strategies.LONG
    if seen > 0 and seen % params["fast"] != 0 and close < words[LOW]:
        want = strategies.FLAT
    words[HIGH] = close if seen % params["slow"] == 0 else max(words[HIGH], close)
    words[LOW] = close if seen % params["fast"] == 0 else min(words[LOW], close)
    words[0] = seen + 1
    return want


strategies.register("breakout", breakout)
