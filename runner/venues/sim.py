"""The simulated venue at the runner's edge: the core's own simulator, one record in, its reports out.

It stands where an exchange would stand: the session hands it an intent only after the journal holds it, and what it
says comes back as ORDER and FILL records. The rules of filling are those of ``core.simulator``, the ones the backtest
uses; nothing is decided here.
"""

import numpy as np

from core import engine, simulator
from core.jit import entry
from core.layout import OUTBOX, OUTBOX_SLOTS
from core.outbox import flush
from core.records import BAR, INTENT, RECORD


class SimVenue:
    """The venue of one paper session; ``config`` is the core's, shape (1,)."""

    def __init__(self, config: np.ndarray) -> None:
        self._config = config
        self._venue = engine.new_venue(config)
        self._outbox = np.zeros(1, OUTBOX)
        self._out = np.zeros(OUTBOX_SLOTS, RECORD)
        self._bar = np.zeros(1, BAR)  # writable copies: one compiled signature, whatever memory the records lie in
        self._intent = np.zeros(1, INTENT)

    def on_bar(self, bar: np.ndarray) -> np.ndarray:
        """What became of the instrument's orders in ``bar``, shape (1,): ORDER and FILL records, to be used at once."""
        self._bar[0] = bar.view(BAR)[0]
        count = _settle(self._config, self._venue, self._outbox, self._bar, self._out)
        return self._out[:count]

    def submit(self, intent: np.ndarray) -> None:
        """Take one INTENT, shape (1,). Raises BrokenInvariant unless risk approved exactly this one."""
        self._intent[0] = intent.view(INTENT)[0]
        _submit(self._config, self._venue, self._intent)

    def dump(self) -> bytes:
        """The orders at work and the numbering of executions."""
        return self._venue.tobytes()

    def load(self, venue: np.ndarray) -> None:
        """Take up what ``dump`` gave, shape (1,), dtype VENUE."""
        self._venue[:] = venue


@entry
def _settle(config: np.ndarray, venue: np.ndarray, outbox: np.ndarray, bar: np.ndarray, out: np.ndarray) -> int:
    simulator.on_bar(config[0], venue[0], outbox[0], bar[0])
    return flush(outbox[0], out, 0)


@entry
def _submit(config: np.ndarray, venue: np.ndarray, intent: np.ndarray) -> None:
    simulator.submit(config[0], venue[0], intent[0])
