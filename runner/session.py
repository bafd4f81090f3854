"""The session: one bar at a time through venue, core, model and core again, journaled in the order the core saw it.

For one bar the journal gets: the venue's ORDER and FILL records, the BAR, what the core made of both; then the
PREDICTION and what the core made of that (the order ``core.engine`` documents, so a replay needs nothing else). An
intent reaches the venue only when the journal holds it and every record before it. Between two bars the journal may
take a snapshot of all that the session is made of. A session that was interrupted starts from the last one and plays
on: the journal compares instead of writing until its stored records are used up, and the simulated venue, which died
with the process, comes to where it was.
"""

from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any, Final

import numpy as np

from core import engine
from core.layout import STATE, VENUE
from core.records import BAR, RECORD, Kind
from models.stream import Stream
from runner.clock import Latency, Pacer
from runner.failpoints import Failpoints
from runner.journal import Journal
from runner.plan import Plan, header_core, session_record
from runner.snapshot import Snapshot
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
        self._plan, self._stream, self._journal = plan, stream, journal
        self._pacer, self._failpoints = pacer, failpoints
        self._out = np.zeros(_OUT_RECORDS, RECORD)
        self._spent = dict.fromkeys(STAGES, 0)
        self._rows = 0  # of the feed, played
        self._waiting = False
        self.stopping = False

    def play(self) -> Iterator[np.ndarray]:
        """Play the market to its end; yields each bar, shape (1,) dtype BAR, once everything it caused is done.

        Ends early, with a snapshot to go on from, after ``stop``.
        """
        if self._journal.resume is None:
            self._journal.append(session_record(self._plan.header))
        else:
            self._restore(self._journal.resume)
        for bar in self._bars():
            if not self._wait(bar):
                self._journal.snapshot(self._parts())
                return
            self._on_bar(bar)
            self._rows += 1
            yield bar
            if self._journal.snapshot_due:
                self._journal.snapshot(self._parts())
        self._journal.finish()

    def stop(self) -> None:
        """End ``play`` before the next bar. Called by a signal handler: a wait for that bar is broken off."""
        self.stopping = True
        if self._waiting:
            raise KeyboardInterrupt

    def _wait(self, bar: np.ndarray) -> bool:
        """Wait until ``bar`` is due; False: stop instead."""
        try:
            self._waiting = True
            if not self.stopping:
                self._pacer.wait(int(bar["ts_known"][0]))
        except KeyboardInterrupt:
            self.stopping = True
        finally:
            self._waiting = False
        return not self.stopping

    def _bars(self) -> Iterator[np.ndarray]:
        """The bars that were not played yet, one by one."""
        done, skip = 0, self._rows
        for chunk in self._plan.feed.chunks():
            bars = chunk.view(BAR)
            for row in range(min(len(bars), max(0, skip - done)), len(bars)):
                yield bars[row : row + 1]
            done += len(bars)

    def _parts(self) -> dict[str, bytes]:
        """All that this session is made of, for a snapshot."""
        parts = {"state": self.state.tobytes(), "venue": self.venue.dump(), "feed": self._rows.to_bytes(8, "little")}
        return parts | ({"stream": self._stream.dump()} if self._stream is not None else {})

    def _restore(self, snapshot: Snapshot) -> None:
        """Take up what ``_parts`` gave. Raises BadTape if it is another program's."""
        self.state = snapshot.array("state", STATE)
        self.venue.load(snapshot.array("venue", VENUE))
        self._rows = int.from_bytes(snapshot.parts["feed"], "little")
        if self._stream is not None:
            self._stream.load(snapshot.parts["stream"])

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
        return engine.on_core_record(self.config, self.state, record, self._out[at:], self._strategy)

    def about(self) -> dict[str, Any]:
        """What is said of the session beside its journal: nothing."""
        return {}

    @property
    def drawdown_max_ppm(self) -> int:
        """The largest drawdown so far."""
        return int(self.state["risk"]["drawdown_max_ppm"][0])
