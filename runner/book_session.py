"""The session on books: instants through exchange, core and kernel, journaled in the order in which the core saw them.

``core.stepwise`` takes rows until there is an intent, or as far as rows were received, and puts out what the journal
gets: each row, TIMER and report in front of what the core made of it. Where nothing is to be sent that is many instants
at once, so a record costs little. An intent reaches the exchange only when the journal holds it and every record
before it; no later instant is looked at before that.

The MarketState kernel runs over the same rows, as research runs it over the tape; its digest says whether the two saw
the same. Resuming is that of ``runner.session``: from the last snapshot the session plays on, and the journal compares.
"""

from collections.abc import Iterator
from time import perf_counter_ns
from typing import Any, Final

import numpy as np

from core import book, engine, stepwise
from core.layout import BOOK, STATE
from core.records import RECORD, Kind
from features.market_stream import MarketStates, as_one
from runner import snapshot as snapshots
from runner.clock import Latency, Pacer
from runner.failpoints import Failpoints
from runner.journal import Journal
from runner.plan import Plan, header_core, session_record
from runner.snapshot import Snapshot
from runner.venues.books import BookVenue
from runner.window import Window

STAGES: Final = ("core", "features", "journal", "venue", "total")
OUT_RECORDS: Final = 32_768  # 2 MiB: the most that is journaled at once
_PLACE: Final = "place"
_FEED: Final = "feed"
_KNOWN_THERE: Final = "known_there"
_MARKET_STATE: Final = "market_state"


class BookSession:
    """One paper session over one market of books, by a rule strategy."""

    def __init__(
        self,
        plan: Plan,
        journal: Journal,
        *,
        pacer: Pacer,
        failpoints: Failpoints,
        by_instant: bool = False,
        out_records: int = OUT_RECORDS,
    ) -> None:
        """``by_instant``: never take more than one instant at once, as a live feed brings them; so does a pacer that
        waits. ``out_records``: how many are journaled at once, at most.
        """
        self.config, self._strategy = header_core(plan.header)
        count = int(self.config[0]["n_instruments"])
        self.state, self.books = engine.new_state(self.config), book.new_books(count)
        self.venue, self.place = BookVenue(self.config), stepwise.new_place()
        self.states = MarketStates(plan.feed.book_specs) if plan.feed.book_specs else None
        self.latency = {stage: Latency() for stage in STAGES}  # of one step; the pacing is in none of them
        self._plan, self._journal, self._pacer, self._failpoints = plan, journal, pacer, failpoints
        self._by_instant = by_instant or pacer.waits
        self._window = Window(count, plan.feed.latency_ns_max)
        self._out = np.zeros(out_records + stepwise.OUT_PER_INPUT, RECORD)
        self._intents: list[np.ndarray] = []  # made within an instant that is not whole yet
        self._rows = 0  # of the feed, played
        self._waiting = False
        self.stopping = False

    def play(self) -> Iterator[np.ndarray]:
        """Play the market to its end; yields the rows of each step, dtype RECORD, once all they caused is done.

        Ends early, with a snapshot to go on from, after ``stop``.
        """
        if self._journal.resume is None:
            self._journal.append(session_record(self._plan.header))
        else:
            self._restore(self._journal.resume)
        for until_ns in self._times():
            is_done = False
            while not is_done:
                if self.stopping and self._is_whole():
                    self._journal.snapshot(self._parts())
                    return
                rows, is_done = self._step(until_ns)
                yield rows
                if self._journal.snapshot_due and self._is_whole():
                    self._journal.snapshot(self._parts())
        self._journal.finish()

    def stop(self) -> None:
        """End ``play`` before the next instant. Called by a signal handler: a wait for it is broken off."""
        self.stopping = True
        if self._waiting:
            raise KeyboardInterrupt

    def _times(self) -> Iterator[int]:
        """The times up to which everything is received, one after the other; the last is NEVER."""
        for rows in self._chunks():
            self._window.receive(rows, self.place)
            if self._by_instant:
                yield from self._instants()
            yield self._window.until_ns
        self._window.end()
        if self._by_instant:
            yield from self._instants()
        yield stepwise.NEVER

    def _instants(self) -> Iterator[int]:
        """Right after each of our instants that is whole; not the feed's very last, after which no decision is due."""
        window, at = self._window, self.place
        while int(at["here_row"][0]) < len(window.here) and not self.stopping:
            known_ns = int(window.here["ts_known"][int(at["here_row"][0])])
            if known_ns >= window.until_ns:
                return
            self._wait(known_ns)
            if known_ns == int(window.here["ts_known"][-1]):
                return
            yield known_ns + 1

    def _wait(self, ts_ns: int) -> None:
        """Wait until ``ts_ns`` is due, or until the session is stopped."""
        try:
            self._waiting = True
            if not self.stopping:
                self._pacer.wait(ts_ns)
        except KeyboardInterrupt:
            self.stopping = True
        finally:
            self._waiting = False

    def _chunks(self) -> Iterator[np.ndarray]:
        """The rows that were not played yet."""
        done, skip = 0, self._rows
        for chunk in self._plan.feed.chunks():
            yield chunk[max(0, skip - done) :]
            done += len(chunk)

    def _step(self, until_ns: int) -> tuple[np.ndarray, bool]:
        """Go on to ``until_ns`` or to the next intent: (rows of the feed taken, whether ``until_ns`` is reached)."""
        started = perf_counter_ns()
        at, window, first = self.place, self._window, int(self.place["here_row"][0])
        count = stepwise.advance(
            self.config, self.state, self.venue.exchange, self.books, self.venue.books, window.here, window.there,
            until_ns, at, self._out, self._strategy,
        )  # fmt: skip
        rows, made = window.here[first : int(at["here_row"][0])], self._out[:count]
        self._rows += len(rows)
        for _ in range(int(at["fills"][0])):
            self._failpoints.hit("after-fill")
        stepped = perf_counter_ns()
        if self.states is not None and len(rows):
            self.states.add(rows)
        seen = perf_counter_ns()
        self._journal.append(made)
        is_full = count > len(self._out) - stepwise.OUT_PER_INPUT
        is_done = not is_full and at["intents"][0] == 0
        sent = perf_counter_ns()
        if at["intents"][0]:
            self._intents.append(made[made["kind"] == Kind.INTENT].copy())
            if not at["torn"][0]:
                sent = self._send()
        written = perf_counter_ns()
        figures = (stepped - started, seen - stepped, sent - seen, written - sent, written - started)
        for stage, duration_ns in zip(STAGES, figures, strict=True):
            self.latency[stage].add(duration_ns)
        return rows, is_done

    def _send(self) -> int:
        """Send the intents of an instant, which the journal holds by then; when it did."""
        self._journal.commit()
        self._failpoints.hit("before-send")
        written = perf_counter_ns()
        self.venue.submit(np.concatenate(self._intents), self.place)
        self._intents.clear()
        return written

    def _is_whole(self) -> bool:
        """No instant is half taken."""
        return not self.place["torn"][0]

    def _parts(self) -> dict[str, bytes]:
        """All that this session is made of, for a snapshot."""
        place = self.place.copy()
        place["here_row"] = place["there_row"] = 0
        parts = {
            snapshots.STATE: self.state.tobytes(),
            snapshots.BOOKS: self.books.tobytes(),
            _PLACE: place.tobytes(),
            _FEED: self._rows.to_bytes(8, "little"),
            _KNOWN_THERE: self._window.known_there(self.place).tobytes(),
        }
        kept = {} if self.states is None else {_MARKET_STATE: self.states.dump()}
        return parts | self.venue.parts() | kept

    def _restore(self, snapshot: Snapshot) -> None:
        """Take up what ``_parts`` gave. Raises BadTape if it is another program's."""
        self.state = snapshot.array(snapshots.STATE, STATE)
        self.books = snapshot.array(snapshots.BOOKS, BOOK, len(self.books))
        self.place = snapshot.array(_PLACE, stepwise.PLACE)
        self.venue.restore(snapshot)
        self._rows = int.from_bytes(snapshot.parts[_FEED], "little")
        self._window.restore(np.frombuffer(snapshot.parts[_KNOWN_THERE], RECORD), self._rows)
        if self.states is not None:
            self.states.load(snapshot.parts[_MARKET_STATE])

    def about(self) -> dict[str, Any]:
        """What is said of the session beside its journal."""
        return {"market_state": as_one(self.states.digests)} if self.states is not None else {}
