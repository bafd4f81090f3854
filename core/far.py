"""A book's far store: the levels outside its window, in no order, found by price through a hash table.

``far_prices`` and ``far_lots`` hold ``n_far`` levels without gaps; ``far_index`` is an open table of positions plus 1,
0 where it is empty, probed one slot after the other. To set, find or drop a level costs the same however many there
are; what asks for the best of them looks at all, so the best of each side is kept. Arrays and table have room for twice
FAR_LEVELS, since a moving window stores what leaves it before it takes what enters.
"""

from typing import Final

import numpy as np

from core.jit import inlined, kernel
from core.layout import FAR_SLOTS

SLOT: Final = FAR_SLOTS - 1
SPREAD: Final = 1_540_483  # odd and below 2**21: times any price it fits 64 bits, and neighbours end up far apart


@inlined
def _home(price: int) -> int:
    """Where the table begins to look for ``price``."""
    return ((price * SPREAD) >> 12) & SLOT


@kernel
def _slot(book: np.void, price: int) -> int:
    """The slot of ``price``, or the empty one it would take."""
    slot = _home(price)
    at = book["far_index"][slot]
    while at > 0 and book["far_prices"][at - 1] != price:
        slot = (slot + 1) & SLOT
        at = book["far_index"][slot]
    return slot


@kernel
def lots_at(book: np.void, price: int) -> int:
    """Signed lots of the level at ``price``; 0: none."""
    at = book["far_index"][_slot(book, price)]
    return book["far_lots"][at - 1] if at > 0 else 0


@kernel
def put(book: np.void, price: int, lots: int) -> None:
    """Set the level at ``price``; the caller sees to it that there is room."""
    slot = _slot(book, price)
    at = book["far_index"][slot]
    if at == 0:
        at = book["n_far"] + 1
        book["n_far"] = at
        book["far_index"][slot] = at
        book["far_prices"][at - 1] = price
    book["far_lots"][at - 1] = lots
    if lots > 0:
        book["far_bid"] = max(book["far_bid"], price)
    elif price < book["far_ask"] or book["far_ask"] == 0:
        book["far_ask"] = price


@kernel
def drop(book: np.void, price: int) -> None:
    """Take out the level at ``price``, which must be there."""
    take(book, price)
    if price == book["far_bid"]:
        book["far_bid"] = bid_below(book, price)
    elif price == book["far_ask"]:
        book["far_ask"] = ask_above(book, price)


@kernel
def drop_bids(book: np.void, price: int) -> None:
    """Take out the bids at ``price`` and above it."""
    if book["far_bid"] < price or book["far_bid"] == 0:
        return
    for k in range(book["n_far"] - 1, -1, -1):  # from the end: what fills a gap has been looked at
        if book["far_lots"][k] > 0 and book["far_prices"][k] >= price:
            take(book, book["far_prices"][k])
    book["far_bid"] = bid_below(book, price)


@kernel
def drop_asks(book: np.void, price: int) -> None:
    """Take out the asks at ``price`` and below it."""
    if book["far_ask"] > price or book["far_ask"] == 0:
        return
    for k in range(book["n_far"] - 1, -1, -1):
        if book["far_lots"][k] < 0 and book["far_prices"][k] <= price:
            take(book, book["far_prices"][k])
    book["far_ask"] = ask_above(book, price)


@kernel
def bid_below(book: np.void, price: int) -> int:
    """The best bid below ``price``; 0: none."""
    best = 0
    for k in range(book["n_far"]):
        if book["far_lots"][k] > 0 and best < book["far_prices"][k] < price:
            best = book["far_prices"][k]
    return best


@kernel
def ask_above(book: np.void, price: int) -> int:
    """The best ask above ``price``; 0: none."""
    best = 0
    for k in range(book["n_far"]):
        at = book["far_prices"][k]
        if book["far_lots"][k] < 0 and at > price and (at < best or best == 0):
            best = at
    return best


@kernel
def count_within(book: np.void, floor: int, top: int) -> int:
    """How many levels have floor < price <= top."""
    count = 0
    for k in range(book["n_far"]):
        count += floor < book["far_prices"][k] <= top
    return count


@kernel
def take(book: np.void, price: int) -> None:
    """``drop`` without a look at the best prices, for many levels at a time; the last level fills the gap."""
    gap = _slot(book, price)
    at, last = book["far_index"][gap], book["n_far"]
    if at != last:
        book["far_index"][_slot(book, book["far_prices"][last - 1])] = at
        book["far_prices"][at - 1] = book["far_prices"][last - 1]
        book["far_lots"][at - 1] = book["far_lots"][last - 1]
    book["far_prices"][last - 1] = 0
    book["far_lots"][last - 1] = 0
    book["n_far"] = last - 1
    slot = (gap + 1) & SLOT
    while book["far_index"][slot] > 0:  # nothing that is looked for past the gap may stay behind it
        home = _home(book["far_prices"][book["far_index"][slot] - 1])
        if (slot - home) & SLOT >= (slot - gap) & SLOT:
            book["far_index"][gap] = book["far_index"][slot]
            gap = slot
        slot = (slot + 1) & SLOT
    book["far_index"][gap] = 0
