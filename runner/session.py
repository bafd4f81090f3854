"""The session: one bar at a time through venue, core, model and core again, journaled in the order the core saw it.

For one bar the journal gets: the venue's ORDER and FILL records, the BAR, what the core made of both; then the
PREDICTION and what the core made of that (the order ``core.engine`` documents, so a replay needs nothing else). An
intent reaches the venue only when the journal holds it and every record before it. There is no branch for recovery: a
session that was interrupted is played again, the journal compares instead of writing until its stored records are
used up, and the simulated venue, which died with the process, comes to where it was.
"""

from collections.abc import Iterator
from time import perf_counter_ns
from typing import Final

import numpy as np

from core import engine
from core.records import BAR, RECORD, Kind
from models.stream import Stream
from runner.clock import Latency, Pacer
from runner.failpoints import Failpoints
from runner.journal import Journal
from runner.plan import Plan, header_core, session_record
from runner.venues.sim import SimVenue

STAGES: Final = ("venue", "core", "model", "journal", "total")
# A bar brings at most an acknowledgement, a fill and an end, then itself: four inputs, each with room for its outputs.
_OUT_RECORDS: Final = 4 * engine.OUT_PER_INPUT


class Session:
    """One paper session over one market."""

    def __init__(
        self, plan: Plan, stream: Stream | None, journal: Journal, *, pacer: Pacer, failpoints: Failpoints
    ) -> None:
        """``stream`` is None for a rule strategy."""
        self.config, self._strategy = header_core(plan.header)
        self.state = engine.new_state(self.config)
        self.venue = SimVenue(self.config)
        self.latency = {stage: Latency() for stage in STAGES}  # of one bar; the pacing is in none of them
        self.drawdown_max_ppm = 0
        self._plan, self._stream, self._journal = plan, stream, journal
        self._pacer, self._failpoints = pacer, failpoints
        self._out = np.zeros(_OUT_RECORDS, RECORD)
        self._drawdown = self.state["risk"]["drawdown_ppm"]  # views: they follow the state
        self._spent = dict.fromkeys(STAGES, 0)

    def play(self) -> Iterator[np.ndarray]:
        """Play the whole market; yields each bar, shape (1,) dtype BAR, once everything it caused is done."""
        self._journal.append(session_record(self._plan.header))
        for chunk in self._plan.feed.chunks():
            bars = chunk.view(BAR)
            for row in range(len(bars)):
                bar = bars[row : row + 1]
                self._pacer.wait(int(bar["ts_known"][0]))
                self._on_bar(bar)
                yield bar
        self._journal.finish()

    def _on_bar(self, bar: np.ndarray) -> None:
        started = perf_counter_ns()
        spent = self._spent = dict.fromkeys(STAGES, 0)
        events = self.venue.on_bar(bar)
        spent["venue"] = perf_counter_ns() - started
        self._take(events, bar.view(RECORD))
        if self._stream is not None:
            before = perf_counter_ns()
            prediction = self._stream.on_bar(bar)
            spent["model"] = perf_counter_ns() - before
            self._take(events[:0], prediction.view(RECORD))
        spent["total"] = perf_counter_ns() - started
        for stage, duration_ns in spent.items():
            self.latency[stage].add(duration_ns)

    def _take(self, events: np.ndarray, record: np.ndarray) -> None:
        """Feed the venue's ``events`` and then ``record`` to the core, journal all of it, and send what it intends."""
        started = perf_counter_ns()
        count = 0
        for index in range(len(events)):
            count += self._feed(events[index : index + 1], count)
            if events["kind"][index] == Kind.FILL:
                self._failpoints.hit("after-fill")
        count += self._feed(record, count)
        decided = perf_counter_ns()
        made = self._out[:count]
        self._journal.append(events, record, made)
        intents = np.flatnonzero(made["kind"] == Kind.INTENT)
        if len(intents):
            self._journal.commit()
            self._failpoints.hit("before-send")
        written = perf_counter_ns()
        for row in intents:
            self.venue.submit(made[row : row + 1])
        self._spent["core"] += decided - started
        self._spent["journal"] += written - decided
        self._spent["venue"] += perf_counter_ns() - written

    def _feed(self, record: np.ndarray, at: int) -> int:
        """One input to the core, its outputs into the buffer from ``at`` on; how many."""
        count = engine.on_core_record(self.config, self.state, record, self._out[at:], self._strategy)
        self.drawdown_max_ppm = max(self.drawdown_max_ppm, int(self._drawdown[0]))
        return count
