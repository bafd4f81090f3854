"""What the core takes: one record of any kind, dtype RECORD, each to the step that knows it."""

from typing import Any, Final

import numpy as np

from core import book as books
from core import step
from core.cast import (
    as_bar,
    as_clear,
    as_command,
    as_fill,
    as_funding,
    as_level,
    as_order,
    as_prediction,
    as_status,
    as_trade,
    as_transfer,
)
from core.errors import BadInput
from core.jit import inlined, kernel, rare
from core.records import Kind

IS_BAR: Final = int(Kind.BAR)
IS_PREDICTION: Final = int(Kind.PREDICTION)
IS_ORDER: Final = int(Kind.ORDER)
IS_FILL: Final = int(Kind.FILL)
IS_COMMAND: Final = int(Kind.COMMAND)
IS_LEVEL: Final = int(Kind.LEVEL)
IS_TRADE: Final = int(Kind.TRADE)
IS_CLEAR: Final = int(Kind.CLEAR)
IS_TIMER: Final = int(Kind.TIMER)
IS_STATUS: Final = int(Kind.STATUS)
IS_FUNDING: Final = int(Kind.FUNDING)
IS_TRANSFER: Final = int(Kind.TRANSFER)


@kernel
def is_of_book(kind: int) -> bool:
    """A record of ``kind`` is for ``market_input``, with its book; any other for ``core_input``."""
    return kind in (IS_LEVEL, IS_TRADE, IS_CLEAR)


@kernel
def check_book(record: np.void, n_books: int) -> None:
    """Raise BadInput unless there is a book for a record of one."""
    if record["instrument"] >= n_books:
        raise BadInput("a book record's instrument index is not one of this account's books")


@kernel
def sees_depth(kind: int) -> bool:
    """A record of ``kind`` leads to a decision, which may look at the depth: ``see_depth`` comes before it.

    That is the caller's: an array handed to ``core_input`` would cost the compiler minutes (``core.jit``).
    """
    return kind in (IS_PREDICTION, IS_TIMER)


@kernel
def core_input(config: np.void, state: np.void, record: np.void, box: np.void, handles: Any) -> None:
    """Feed one input, dtype RECORD, to the core; what it makes is in ``box``.

    ``handles``: the record of ``Compiled.handle``. Raises BadInput for a record that cannot be used.
    """
    kind = record["kind"]
    if kind == IS_BAR:
        bar = as_bar(record)
        step.check_bar(config, state, bar)
        step.on_bar(config, state, box, bar, handles)
    elif kind == IS_PREDICTION:
        step.on_prediction(config, state, box, as_prediction(record), handles)
    elif kind == IS_ORDER:
        step.on_order(config, state, box, as_order(record))
    elif kind == IS_FILL:
        step.on_fill(config, state, box, as_fill(record))
    elif kind == IS_COMMAND:
        step.on_command(config, state, box, as_command(record))
    elif kind == IS_TIMER:
        step.on_timer(config, state, box, record["ts_known"], handles)
    elif kind in (IS_STATUS, IS_FUNDING, IS_TRANSFER):
        _venue_input(config, state, record, box)
    else:
        raise BadInput("the core takes inputs only: a record of kind below 32 that its version knows")


@inlined
def market_input(config: np.void, state: np.void, book: np.void, record: np.void, box: np.void, handles: Any) -> None:
    """Feed a row of a tape of books, dtype RECORD, to the core: of ``book``, or of any other kind it takes."""
    if record["kind"] == IS_LEVEL:
        step.on_level(config, state, box, book, as_level(record))
    else:
        _seldom(config, state, book, record, box, handles)


@rare
def _seldom(config: np.void, state: np.void, book: np.void, record: np.void, box: np.void, handles: Any) -> None:
    """Any row that is no LEVEL."""
    kind = record["kind"]
    if kind == IS_TRADE:
        step.on_trade(config, state, box, book, as_trade(record))
    elif kind == IS_CLEAR:
        step.on_clear(config, state, box, book, as_clear(record))
    elif kind == IS_PREDICTION:
        step.on_prediction(config, state, box, as_prediction(record), handles)
    else:
        _venue_input(config, state, record, box)


@kernel
def _venue_input(config: np.void, state: np.void, record: np.void, box: np.void) -> None:
    """Feed one STATUS, FUNDING or TRANSFER to the core."""
    kind = record["kind"]
    if kind == IS_STATUS:
        step.on_status(config, state, box, as_status(record))
    elif kind == IS_FUNDING:
        step.on_funding(config, state, box, as_funding(record))
    elif kind == IS_TRANSFER:
        step.on_transfer(config, state, box, as_transfer(record))
    else:
        raise BadInput(
            "a tape of books holds LEVEL, CLEAR, TRADE, PREDICTION, STATUS, FUNDING and TRANSFER records only"
        )


@kernel
def see_depth(state: np.void, book: np.void, index: int) -> None:
    """Show what the best prices hold, before a decision: only then, since it changes with almost every row."""
    view = state["positions"][index]["view"]
    view["bid_qty"] = books.qty_at(book, True, view["bid"]) if view["bid"] > 0 else 0
    view["ask_qty"] = books.qty_at(book, False, view["ask"]) if view["ask"] > 0 else 0
