"""A core beside the plain model of ``account``: what is said to both, and the laws that each answer is held to.

The process restarts from its saved bytes, or from its inputs.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from core import book as core_book
from core import config, engine, strategies
from core.errors import BrokenInvariant
from core.records import RECORD, Kind, Reason
from tests.properties.account import Account
from tests.properties.holding import SLOTS, Order, after, hold
from tests.properties.judge import HALT, Judge
from tests.properties.scenarios import START_NS, WORLDS


class Session:
    """The core's state, the model beside it, and everything that was said."""

    def __init__(self, number: int):
        self.trading, self.instruments = WORLDS[number % len(WORLDS)]
        self.config = config.build(self.trading, self.instruments)
        self.strategy = strategies.get("puppet")
        self.books = core_book.new_books(len(self.instruments))
        self.account = Account(self.trading, self.instruments)
        self.judge, self.initial_cash = Judge(self.account, self.config), self.account.cash
        self.levels: list[dict[int, dict[int, int]]] = [{1: {}, 2: {}} for _ in self.instruments]
        self.buffer = np.zeros(engine.OUT_PER_INPUT, RECORD)
        self.inputs: list[np.ndarray] = []
        self.outputs: list[np.ndarray] = []
        self.said: list[np.ndarray] = []  # by the venue
        self.now_ns, self.exec_id = START_NS, 0
        self.bar_ns = [START_NS] * len(self.instruments)
        self.state = engine.new_state(self.config)

    def restart(self, how: str) -> None:
        """Go on from the saved bytes, or from a state made by hearing all inputs again."""
        if how == "bytes":
            kept, books = self.state.tobytes(), self.books.tobytes()
            self.state = np.frombuffer(bytearray(kept), self.state.dtype)
            self.books = np.frombuffer(bytearray(books), self.books.dtype)
            return
        self.replay()

    def replay(self) -> None:
        """Every input again, to a fresh state: the same answers, the same bytes."""
        state, books, told = engine.new_state(self.config), core_book.new_books(len(self.instruments)), []
        for row in self.inputs:
            count = engine.on_core_record(self.config, state, row, self.buffer, self.strategy, books)
            told.append(self.buffer[:count].copy())
        same = [a.tobytes() == b.tobytes() for a, b in zip(told, self.outputs, strict=True)]
        hold("a replay answers the same", all(same), [k for k, equal in enumerate(same) if not equal][:1])
        hold("a replay ends in the same state", state.tobytes() == self.state.tobytes())
        self.state = state
        self.books = books

    def at(self, k: int, wait: int) -> tuple[int, int]:
        self.now_ns += wait
        return k % len(self.instruments), self.now_ns

    def live(self, n: int) -> Order | None:
        live = [order for holding in self.account.holdings for order in holding.live]
        return live[n % len(live)] if live else None

    def say(self, row: np.ndarray) -> None:
        """A report of the venue; one that cannot be must stop the core, which then starts again from its last state."""
        record = row[0].item()
        side, index, asset, number = record[3], record[4], record[6], record[7]
        if record[2] == Kind.FILL:
            heard = partial(
                self.account.take_fill, index, side, number, record[8], record[9], record[10], asset, record[11]
            )
        else:
            known = self.account.holdings[index].orders.get(number)
            if known is not None and after(known.state, record[8]) is None and self._stops(row, known):
                return
            heard = partial(self._reported, index, number, record[8], record[5])
        self.said.append(row)
        self.feed(row, heard)

    def _reported(self, index: int, number: int, to: int, reason: int) -> bool:
        if reason == Reason.STOP_LOSS:
            self.account.take_reached(index, number, to)
            return True
        return self.account.take_report(index, number, to)

    def _stops(self, row: np.ndarray, order: Order) -> bool:
        """An impossible report stops the core, which starts again from its last state.

        False: the order has ended and the core, which remembers a few such, knows it no longer.
        """
        before = self.state.copy()
        try:
            self._call(row)
        except BrokenInvariant:
            self.judge.seen["impossible report"] += 1
            self.state = before
            return True
        self.state = before
        slots = before[0]["orders"][order.index]["slots"][:SLOTS]
        hold("an impossible report stops the core", order.number not in slots["order_id"], row, order)
        return False

    def _call(self, row: np.ndarray) -> list[tuple[int, ...]]:
        count = engine.on_core_record(self.config, self.state, row, self.buffer, self.strategy, self.books)
        return self.buffer[:count].tolist()

    def feed(self, row: np.ndarray, model: Callable[[], object] = lambda: None) -> None:
        """One input for the core and for the model; then every law."""
        answers = self._call(row)
        self.inputs.append(row.view(RECORD))
        self.outputs.append(self.buffer[: len(answers)].copy())
        if row["kind"][0] != Kind.LEVEL or row["flags"][0]:  # a torn book tells no time
            self.account.take_time(int(row["ts_known"][0]))
        within = model() is not False
        self.account.measure()
        self.judge.hear(row, answers)
        hold("a fact beyond its order halts", within or self.account.risk_state >= HALT, row)
        self.judge.compare(self.state, int(row["kind"][0]))
