"""``sma``: a crossover of two simple moving averages of closes. For bars."""

from typing import Final

import numpy as np

from core.layout import MEMORY_WORDS
from core.strategies.wants import FLAT, LONG, NO_OPINION, ON_BAR

SMA_GAP: Final = 0  # words of ``sma``'s memory
SMA_SEEN: Final = 1
SMA_SLOT: Final = 2
SMA_RING: Final = 3
SMA_WINDOW_MAX: Final = MEMORY_WORDS - SMA_RING


def sma(params: np.void, memory: np.void, view: np.void, proposal: np.void) -> int:
    """Crossover of two simple moving averages of closes, exact in integers: LONG while fast > slow, else FLAT."""
    if view["event"] != ON_BAR:
        return NO_OPINION
    # slow x (sum of the last fast closes) - fast x (sum of the last slow ones); bars still missing; slot of the oldest
    # close; ring of slow closes, zero where there was none, so that a young sum is the sum of what there is
    words, close = memory["words"], view["bar"]["close"]
    fast, slow, slot = params["fast"], params["slow"], words[SMA_SLOT]
    back = slot - fast if slot >= fast else slot - fast + slow
    gap = words[SMA_GAP] + slow * (close - words[SMA_RING + back]) - fast * (close - words[SMA_RING + slot])
    words[SMA_RING + slot] = close
    words[SMA_GAP] = gap
    words[SMA_SLOT] = slot + 1 if slot + 1 < slow else 0
    if words[SMA_SEEN] < slow:
        words[SMA_SEEN] += 1
    return NO_OPINION if words[SMA_SEEN] < slow else (LONG if gap > 0 else FLAT)
