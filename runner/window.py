"""The rows of a feed of books that were received and that one of two clocks has yet to pass.

The exchange sees a row at its ``ts_event``, before we do at ``ts_known``. So at a time t it may have seen rows that we
receive only later: as much later as the feed's largest latency, ``latency_ns_max``. Rows are therefore held back for
that long, and no longer: what the window holds is what the feed brings within it. Every row received later is of an
event at or after ``until_ns``, and known at or after it.
"""

from typing import Final

import numpy as np

from core.errors import BadInput
from core.records import RECORD
from core.stepwise import NEVER

_NO_ROWS: Final = np.zeros(0, RECORD)


class Window:
    """``here``: rows by ts_known; ``there``: by ts_event. Both dtype RECORD, the rows taken so far in front."""

    def __init__(self, n_instruments: int, latency_ns_max: int) -> None:
        self.here = self.there = _NO_ROWS
        self.until_ns = -NEVER
        self._instruments, self._latency_ns_max = n_instruments, latency_ns_max
        self._received, self._last_ns = 0, -NEVER

    def receive(self, rows: np.ndarray, place: np.ndarray) -> None:
        """Append ``rows`` to both sides and let go of what was taken. ``place``: shape (1,), dtype PLACE; moved along.

        Raises BadInput naming the first row that is out of order, known before it happened, later than the bound or of
        an unknown instrument.
        """
        if not len(rows):
            return
        self._check(rows)
        self._drop(place)
        self.here = np.concatenate([self.here, rows])
        new = rows[rows["ts_event"] > place["there_ns"][0]]  # after a restart some were taken
        there = np.concatenate([self.there, new])
        times = there["ts_event"]
        if (times[1:] < times[:-1]).any():
            there = there[np.argsort(times, kind="stable")]
        self.there = there
        self._received += len(rows)
        self._last_ns = int(rows["ts_known"][-1])
        self.until_ns = self._last_ns - self._latency_ns_max

    def end(self) -> None:
        """There are no more rows."""
        self.until_ns = NEVER

    def known_there(self, place: np.ndarray) -> np.ndarray:
        """The rows that we have taken and the exchange has not: those of our last instant, if any."""
        left = self.there[int(place["there_row"][0]) :]
        return left[left["ts_known"] <= place["here_ns"][0]]

    def restore(self, known_there: np.ndarray, received: int) -> None:
        """Begin after ``received`` rows, with what ``known_there`` gave."""
        self.there, self._received = known_there, received

    def _drop(self, place: np.ndarray) -> None:
        self.here, self.there = self.here[int(place["here_row"][0]) :], self.there[int(place["there_row"][0]) :]
        place["here_row"] = place["there_row"] = 0

    def _check(self, rows: np.ndarray) -> None:
        known, event = rows["ts_known"], rows["ts_event"]
        late = known - event
        before = np.concatenate([[self._last_ns], known[:-1]])
        for wrong, what in (
            (known < before, "is known before the row in front of it: sort by ts_known"),
            (late < 0, "is known before it happened: correct the feed's clock offset"),
            (late > self._latency_ns_max, f"is known more than {self._latency_ns_max} ns after it happened, the most "
             "that the feed states"),
            (rows["instrument"] >= self._instruments, f"is of an instrument beyond the {self._instruments} of the "
             "account"),
        ):  # fmt: skip
            if wrong.any():
                raise BadInput(f"row {self._received + int(np.argmax(wrong))} of the feed {what}")
