"""The words between a strategy and the core: what it may want, what may wake it, and how it is called."""

from collections.abc import Callable
from typing import Final

import numpy as np

from core.records import Kind

NO_OPINION: Final = 0  # this event is none of its business
HOLD: Final = 1  # stay as you are
LONG: Final = 2
FLAT: Final = 3
QUOTE: Final = 4  # the resting orders in the proposal, and no others
SHORT: Final = 5  # an account that may not be short takes it for FLAT

ON_BAR: Final = int(Kind.BAR)
ON_PREDICTION: Final = int(Kind.PREDICTION)
ON_TIMER: Final = int(Kind.TIMER)

# How an entry reaches the market (PARAMS.entry, PROPOSAL.entry).
BY_SETTINGS: Final = 0  # of a proposal: as the settings say
MARKET: Final = 1
CROSS: Final = 2  # a limit at the other side's best price; what does not fill at once is cancelled
POST: Final = 3  # a resting order at our side's best price that follows it, a tick at a time
BEST: Final = 4  # cross if the edge pays for it, else post if it pays for that

StrategyFunction = Callable[[np.void, np.void, np.void, np.void], int]
