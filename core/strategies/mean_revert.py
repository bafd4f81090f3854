"""``mean_revert``: the simple comparator beside a model (requirements EVAL-28): fade a move of one spread.

It knows nothing but that prices swing around a short mean. A model that does not beat it has learnt nothing that is
worth its cost.
"""

from typing import Final

import numpy as np

from core.jit import kernel
from core.layout import MEMORY_WORDS
from core.strategies.wants import FLAT, HOLD, LONG, NO_OPINION, ON_BAR, ON_TIMER, SHORT

SEEN: Final = 0  # words of its memory: values seen, at most ``fast``
SLOT: Final = 1  # of the oldest value
SUM: Final = 2  # of the last ``fast`` prices, half ticks
SUM_RANGE: Final = 3  # of the last ``fast`` bars' ranges, half ticks; unused on books
WANT: Final = 4  # what it wanted last
RING: Final = 5  # prices, then ranges
WINDOW_MAX: Final = (MEMORY_WORDS - RING) // 2


def mean_revert(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """LONG one spread below the mean of the last ``fast`` prices, SHORT one above it, FLAT once back at the mean.

    On books the price is the mid at each decision and the spread is the one shown; on bars the price is the close, and
    the mean range of the last ``fast`` bars stands for the spread, which bars do not show. Exact in integers.
    """
    if view["event"] == ON_TIMER:
        if view["bid"] == 0 or view["ask"] <= view["bid"]:
            return NO_OPINION
        price, width = view["bid"] + view["ask"], 2 * (view["ask"] - view["bid"])
    elif view["event"] == ON_BAR:
        price, width = 2 * view["bar"]["close"], 2 * (view["bar"]["high"] - view["bar"]["low"])
    else:
        return NO_OPINION
    words, window = memory["words"], params["fast"]
    is_ready, slot = words[SEEN] == window, words[SLOT]
    moved = price * window - words[SUM]
    spread = words[SUM_RANGE] if view["event"] == ON_BAR else width * window
    words[SUM] += price - words[RING + slot]
    words[SUM_RANGE] += width - words[RING + window + slot]
    words[RING + slot] = price
    words[RING + window + slot] = width
    words[SLOT] = slot + 1 if slot + 1 < window else 0
    if not is_ready:
        words[SEEN] += 1
        return NO_OPINION
    words[WANT] = fade(moved, spread, view["lots"])
    return words[WANT]


@kernel
def fade(moved: int, spread: int, lots: int) -> int:
    """What to want ``moved`` above the mean, both in one unit, with ``lots`` held."""
    if spread > 0 and moved <= -spread:
        return LONG
    if spread > 0 and moved >= spread:
        return SHORT
    is_back = (lots > 0 and moved >= 0) or (lots < 0 and moved <= 0)
    return FLAT if is_back else HOLD
