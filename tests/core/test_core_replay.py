"""The compiled replay: a stream that the core made is accepted however it is cut, any other is stopped at the row.

The sessions here trade books with a two-sided strategy: levels, trades, timers, reports and fills are the inputs. Those
on bars are in ``tests/runner/test_runner_replay.py``.
"""

import itertools

import msgspec
import numpy as np
import pytest

from core import book, config, engine, replay, strategies
from core.errors import BadInput
from core.records import INTENT, RECORD, Action, Kind, OrderState
from tests.core.build import BTC, ETH, book_tape, fill, order_report, trading

STRATEGY = strategies.get("mm1")


def settings() -> np.ndarray:
    base = trading(profile="margin", kind="mm1", order_lots=500, inventory_lots=1_400, max_orders_per_hour=0)
    return config.build(msgspec.structs.replace(base), (BTC, ETH))


class Stream:
    """A journal in the making: inputs go in, what the core makes of them is appended."""

    def __init__(self) -> None:
        self.config = settings()
        self.state, self.books = engine.new_state(self.config), book.new_books(2)
        self.records: list[np.ndarray] = []
        self._out = np.zeros(4 * engine.OUT_PER_INPUT, RECORD)

    def feed(self, *inputs: np.ndarray) -> np.ndarray:
        """Inputs that came together: their outputs follow the last one."""
        count = 0
        for record in inputs:
            count += engine.on_core_record(
                self.config, self.state, record.view(RECORD), self._out[count:], STRATEGY, self.books
            )
        made = self._out[:count].copy()
        self.records += [record.view(RECORD) for record in inputs] + [made]
        return made


def session(seed: int, rows: int = 400) -> Stream:
    """Books and timers; orders are acknowledged, cancelled, and filled by chance."""
    rng, stream = np.random.default_rng(seed), Stream()
    tape = book_tape(rng, rows, 2)
    for row in range(rows):
        record = tape[row : row + 1].copy()
        stream.feed(record)
        if row % 5:
            continue
        timer = np.zeros(1, RECORD)
        timer["kind"], timer["ts_event"], timer["ts_known"] = Kind.TIMER, record["ts_known"], record["ts_known"]
        answer(stream, stream.feed(timer), int(record["ts_known"][0]), rng)
    return stream


def answer(stream: Stream, made: np.ndarray, now: int, rng: np.random.Generator) -> None:
    """What the venue says to each intent, sometimes two reports before the input they came with."""
    for row in np.flatnonzero(made["kind"] == Kind.INTENT):
        intent = made[row : row + 1].view(INTENT)
        is_cancel = intent["flags"][0] & 0xFF == Action.CANCEL
        report = order_report(intent[0], OrderState.CANCELED if is_cancel else OrderState.NEW, now)
        if is_cancel or rng.random() < 0.5:
            stream.feed(report)
        else:
            stream.feed(report, fill(intent[0], int(intent["price"][0]), int(intent["qty"][0]) // 2, now))


def again(stream: Stream, records: np.ndarray, cuts: list[int]) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Replay ``records`` in pieces: (where it stopped, state, books, place)."""
    state, books = engine.new_state(stream.config), book.new_books(2)
    place, due = replay.new_place(), replay.new_due()
    bounds = sorted({0, len(records), *(cut % (len(records) + 1) for cut in cuts)})
    for low, high in itertools.pairwise(bounds):
        row = replay.advance(stream.config, state, books, records[low:high], place, due, STRATEGY)
        if row < high - low:
            return low + row, state, books, place
    return len(records), state, books, place


@pytest.fixture(scope="module")
def made() -> Stream:
    return session(3)


@pytest.fixture(scope="module")
def records(made: Stream) -> np.ndarray:
    found = np.concatenate(made.records)
    kinds = set(found["kind"])
    assert {Kind.LEVEL, Kind.TRADE, Kind.TIMER, Kind.INTENT, Kind.CHECK, Kind.ORDER, Kind.FILL} <= kinds
    found.flags.writeable = False
    return found


@pytest.mark.parametrize("pieces", [0, 1, 40])
def test_what_the_core_made_is_accepted_however_it_is_cut(made: Stream, records: np.ndarray, pieces: int) -> None:
    cuts = np.random.default_rng(pieces).integers(0, len(records), pieces).tolist()
    row, state, books, place = again(made, records, cuts)
    assert row == len(records) and place["fault"][0] == replay.NONE
    assert place["head"][0] == place["count"][0]  # nothing is due
    assert state.tobytes() == made.state.tobytes()
    assert books.tobytes() == made.books.tobytes()


def test_any_changed_byte_of_an_output_stops_it_there(made: Stream, records: np.ndarray) -> None:
    rng = np.random.default_rng(8)
    outputs = np.flatnonzero(records["kind"] >= Kind.DECISION)
    for row in rng.choice(outputs, 30, replace=False).tolist():
        copy = records.copy()
        copy[row : row + 1].view(np.uint8)[rng.integers(64)] ^= 1 << rng.integers(8)
        stopped, _, _, place = again(made, copy, [row])
        if copy["kind"][row] >= Kind.DECISION:
            assert (stopped, place["fault"][0]) == (row, replay.OUTPUT_DIFFERS)
        else:  # it now says that it is an input
            assert stopped == row


def test_a_missing_output_stops_it_at_the_next_input(made: Stream, records: np.ndarray) -> None:
    row = int(np.flatnonzero((records["kind"][:-1] >= Kind.DECISION) & (records["kind"][1:] < Kind.DECISION))[5])
    stopped, _, _, place = again(made, np.delete(records, row), [])
    assert (stopped, place["fault"][0]) == (row, replay.INPUT_EARLY)


def test_an_output_too_many_stops_it_there(made: Stream, records: np.ndarray) -> None:
    row = int(np.flatnonzero((records["kind"][:-1] >= Kind.DECISION) & (records["kind"][1:] < Kind.DECISION))[5])
    stopped, _, _, place = again(made, np.insert(records, row + 1, records[row]), [])
    assert (stopped, place["fault"][0]) == (row + 1, replay.OUTPUT_UNDUE)


def test_an_input_the_core_refuses_is_named_by_its_row(made: Stream, records: np.ndarray) -> None:
    copy, row = records.copy(), int(np.flatnonzero(records["kind"] == Kind.LEVEL)[50])
    copy["instrument"][row] = 9
    state, books = engine.new_state(made.config), book.new_books(2)
    place, due = replay.new_place(), replay.new_due()
    with pytest.raises(BadInput, match="instrument"):
        replay.advance(made.config, state, books, copy, place, due, STRATEGY)
    assert place["row"][0] == row


def test_outputs_of_reports_may_wait_for_their_input_and_no_other(made: Stream, records: np.ndarray) -> None:
    """A fill that fills up a kill switch's account: its outputs come after the level it arrived with, or at once."""
    stream = Stream()
    tape = book_tape(np.random.default_rng(1), 60, 2)
    for row in range(59):
        stream.feed(tape[row : row + 1].copy())
    timer = np.zeros(1, RECORD)
    timer["kind"], timer["ts_event"], timer["ts_known"] = Kind.TIMER, tape["ts_known"][58], tape["ts_known"][58]
    sent = stream.feed(timer)
    intent = sent[sent["kind"] == Kind.INTENT][:1].view(INTENT)
    too_much = fill(intent[0], int(intent["price"][0]), int(intent["qty"][0]) + 1, int(tape["ts_known"][58]))
    last = tape[59:60].copy()
    halted = stream.feed(too_much, last)  # beyond its order: HALT, and every order is cancelled
    assert len(halted) > 1
    whole = np.concatenate(stream.records)
    at = len(whole) - len(halted)  # of the first output; the level is right before it
    assert again(stream, whole, [])[0] == len(whole)
    at_once = np.concatenate([whole[: at - 1], whole[at:], whole[at - 1 : at]])
    assert again(stream, at_once, [])[0] == len(whole)
    split = np.concatenate([whole[: at - 1], whole[at : at + 1], whole[at - 1 : at], whole[at + 1 :]])
    stopped, _, _, place = again(stream, split, [])
    assert (stopped, place["fault"][0]) == (at, replay.INPUT_EARLY)
