"""An order book's levels: one BOOK record, prices in ticks, sizes in lots, best prices always current.

A level that arrives at or beyond the other side's best removes every level there that it passes or meets, so a book is
never crossed or locked and one signed number per price is enough: bids above 0, asks below.

Near the touch a price is one look-up away: the window holds the prices ``floor`` < price <= ``floor`` + BOOK_TICKS in a
ring, the lots of a price in the cell price modulo BOOK_TICKS, so that moving the window copies only what enters or
leaves it. Levels outside lie in the far store (``core.far``). The window follows the touch; where the sides are so wide
apart that it cannot hold both, it stays with the one it has. Nothing is ever forgotten: what does not fit into the far
store raises BadInput, and the book is not to be used after that.

All zeros is an empty book. Prices are 1 to PRICE_TICKS_MAX.
"""

from typing import Final

import numpy as np

from core import far
from core.errors import BadInput
from core.jit import inlined, kernel, rare
from core.layout import BOOK, BOOK_TICKS, FAR_LEVELS, PRICE_TICKS_MAX, zeros

CELL: Final = BOOK_TICKS - 1  # price & CELL is the price's cell
HALF: Final = BOOK_TICKS // 2
NEAR: Final = BOOK_TICKS // 8  # so close to its side's best a level ought to be in the window


def new_books(count: int) -> np.ndarray:
    """``count`` empty books, (count,) BOOK."""
    return zeros(count, BOOK)


@inlined
def set_level(book: np.void, is_bid: bool, price: int, qty: int) -> bool:
    """The side's level at ``price`` is now ``qty`` lots; 0: there is none. Returns whether a best price may differ.

    Raises BadInput for a price outside 1 to PRICE_TICKS_MAX, a negative quantity, and a far store that is full.
    """
    best = book["bid"] if is_bid else book["ask"]
    behind = best - price if is_bid else price - best  # ticks from its side's best, away from the other side
    above = price - book["floor"]
    if best > 0 and behind >= int(qty == 0) and qty >= 0 and 1 <= above <= BOOK_TICKS:
        # The touch stays as it is, so the cell holds the side's own level or none. Without a branch on ``qty``, which
        # nothing can predict.
        was, lots = book["levels"][price & CELL], qty if is_bid else -qty
        more = int(lots != 0) - int(was != 0)
        if is_bid:
            book["n_bids"] += more
        else:
            book["n_asks"] += more
        book["levels"][price & CELL] = lots
        return False
    _change_touch(book, is_bid, price, qty)
    return True


@rare
def _change_touch(book: np.void, is_bid: bool, price: int, qty: int) -> None:
    """Any other level: at the touch or beyond it, or outside the window."""
    if qty < 0:
        raise BadInput("a level of less than 0 lots: the feed or its conversion is wrong, stop using this book")
    if not _in_window(book, price):
        _set_far(book, is_bid, price, qty)
    elif is_bid:
        _set_bid(book, price, qty)
    else:
        _set_ask(book, price, qty)


@rare
def clear(book: np.void, is_bid: bool, price: int) -> None:
    """Remove the side's levels from its best to ``price`` inclusive; 0: all. Raises BadInput for a negative price."""
    if price < 0:
        raise BadInput("a book cannot be cleared to a price below 0; 0 clears the whole side")
    if is_bid:
        _remove_bids(book, price)
    else:
        _remove_asks(book, price if price > 0 else PRICE_TICKS_MAX)
    best = book["bid"] if is_bid else book["ask"]
    if best > 0 and not _in_window(book, best):
        _follow(book, best)


@kernel
def qty_at(book: np.void, is_bid: bool, price: int) -> int:
    """Lots the side shows at ``price``; 0 where it has no level."""
    lots = 0
    if _in_window(book, price):
        lots = book["levels"][price & CELL]
    elif 1 <= price <= PRICE_TICKS_MAX:
        lots = far.lots_at(book, price)
    if not is_bid:
        lots = -lots
    return lots if lots > 0 else 0


@kernel
def next_price(book: np.void, is_bid: bool, price: int) -> int:
    """The side's best level that is worse than ``price`` (bids below it, asks above), in ticks; 0: there is none."""
    return _next_bid(book, price) if is_bid else _next_ask(book, price)


@inlined
def _in_window(book: np.void, price: int) -> bool:
    above = price - book["floor"]
    return 1 <= above <= BOOK_TICKS


@kernel
def _set_bid(book: np.void, price: int, qty: int) -> None:
    """A bid inside the window."""
    if qty > 0:
        if price > book["bid"]:
            ask = book["ask"]
            if ask > 0 and price >= ask:
                _remove_asks(book, price)
            book["bid"] = price
        book["n_bids"] += int(book["levels"][price & CELL] == 0)
        book["levels"][price & CELL] = qty
    else:
        gone = max(0, book["levels"][price & CELL])  # an ask in that cell stays
        book["levels"][price & CELL] -= gone
        book["n_bids"] -= int(gone > 0)
        if price == book["bid"]:
            _lose_bid(book, price)


@kernel
def _set_ask(book: np.void, price: int, qty: int) -> None:
    """An ask inside the window."""
    if qty > 0:
        ask = book["ask"]
        if price < ask or ask == 0:
            if price <= book["bid"]:
                _remove_bids(book, price)
            book["ask"] = price
        book["n_asks"] += int(book["levels"][price & CELL] == 0)
        book["levels"][price & CELL] = -qty
    else:
        gone = min(0, book["levels"][price & CELL])  # a bid in that cell stays
        book["levels"][price & CELL] -= gone
        book["n_asks"] -= int(gone < 0)
        if price == book["ask"]:
            _lose_ask(book, price)


@rare
def _lose_bid(book: np.void, price: int) -> None:
    """The best bid, inside the window, is gone: the next one is below it."""
    if book["n_bids"] > 0:
        price -= 1
        while book["levels"][price & CELL] <= 0:
            price -= 1
        book["bid"] = price
    else:
        book["bid"] = book["far_bid"]
        if book["bid"] > 0:
            _follow(book, book["bid"])


@rare
def _lose_ask(book: np.void, price: int) -> None:
    """The best ask, inside the window, is gone: the next one is above it."""
    if book["n_asks"] > 0:
        price += 1
        while book["levels"][price & CELL] >= 0:
            price += 1
        book["ask"] = price
    else:
        book["ask"] = book["far_ask"]
        if book["ask"] > 0:
            _follow(book, book["ask"])


@kernel
def _next_bid(book: np.void, price: int) -> int:
    """The best bid below ``price``; 0: there is none."""
    floor = book["floor"]
    outside = book["far_bid"] if book["far_bid"] < price else far.bid_below(book, price)
    if outside > floor:  # above the window, since it is not in it
        return outside
    if book["n_bids"] > 0:
        price = min(price - 1, floor + BOOK_TICKS)
        while price > floor:
            if book["levels"][price & CELL] > 0:
                return price
            price -= 1
    return outside


@kernel
def _next_ask(book: np.void, price: int) -> int:
    """The best ask above ``price``; 0: there is none."""
    top = book["floor"] + BOOK_TICKS
    outside = book["far_ask"] if book["far_ask"] > price else far.ask_above(book, price)
    if 0 < outside <= top:  # below the window, since it is not in it
        return outside
    if book["n_asks"] > 0:
        price = max(price + 1, book["floor"] + 1)
        while price <= top:
            if book["levels"][price & CELL] < 0:
                return price
            price += 1
    return outside


@rare
def _remove_bids(book: np.void, price: int) -> None:
    """Remove the bids at ``price`` and above it."""
    best, floor = book["bid"], book["floor"]
    if best == 0 or best < price:
        return
    at, last = min(best, floor + BOOK_TICKS), max(price, floor + 1)
    while at >= last and book["n_bids"] > 0:
        if book["levels"][at & CELL] > 0:
            book["levels"][at & CELL] = 0
            book["n_bids"] -= 1
        at -= 1
    far.drop_bids(book, price)
    book["bid"] = _next_bid(book, price)


@rare
def _remove_asks(book: np.void, price: int) -> None:
    """Remove the asks at ``price`` and below it."""
    best, floor = book["ask"], book["floor"]
    if best == 0 or best > price:
        return
    at, last = max(best, floor + 1), min(price, floor + BOOK_TICKS)
    while at <= last and book["n_asks"] > 0:
        if book["levels"][at & CELL] < 0:
            book["levels"][at & CELL] = 0
            book["n_asks"] -= 1
        at += 1
    far.drop_asks(book, price)
    book["ask"] = _next_ask(book, price)


@rare
def _set_far(book: np.void, is_bid: bool, price: int, qty: int) -> None:
    """A level outside the window."""
    if price < 1 or price > PRICE_TICKS_MAX:
        raise BadInput("a price must be at least 1 tick and at most PRICE_TICKS_MAX: check the instrument's tick size")
    if qty == 0:
        _delete_far(book, is_bid, price)
        return
    bid, ask = book["bid"], book["ask"]
    if is_bid and price > bid:
        if ask > 0 and price >= ask:
            _remove_asks(book, price)
        book["bid"] = price
    elif not is_bid and (price < ask or ask == 0):
        if price <= bid:
            _remove_bids(book, price)
        book["ask"] = price
    distance = book["bid"] - price if is_bid else price - book["ask"]
    if distance < NEAR:
        _follow(book, price)
    if not _in_window(book, price) and book["n_far"] >= FAR_LEVELS and far.lots_at(book, price) == 0:
        _move(book, _floor_around(price))  # there may be more room where this level is
        if not _in_window(book, price):
            raise BadInput(
                "a book has too many levels far from its touch: raise core.layout.FAR_LEVELS or cut the depth"
            )
    if not _in_window(book, price):
        far.put(book, price, qty if is_bid else -qty)
    elif is_bid:
        _set_bid(book, price, qty)
    else:
        _set_ask(book, price, qty)


@kernel
def _delete_far(book: np.void, is_bid: bool, price: int) -> None:
    """Take a level out of the far store if the side has it there."""
    lots = far.lots_at(book, price)
    if lots == 0 or (lots > 0) != is_bid:
        return
    far.drop(book, price)
    if is_bid and price == book["bid"]:
        book["bid"] = _next_bid(book, price)
    elif not is_bid and price == book["ask"]:
        book["ask"] = _next_ask(book, price)
    best = book["bid"] if is_bid else book["ask"]
    if best > 0 and not _in_window(book, best):
        _follow(book, best)


@kernel
def _floor_around(price: int) -> int:
    """Where the window begins that has ``price`` in its middle, as far as prices go."""
    return min(max(price - HALF, 0), PRICE_TICKS_MAX - BOOK_TICKS)


@rare
def _follow(book: np.void, price: int) -> None:
    """Bring the touch into the middle of the window; ``price`` is where something has happened outside it."""
    bid, ask = book["bid"], book["ask"]
    middle = price
    if bid > 0 and ask > 0:
        if ask - bid < HALF:
            middle = bid + ((ask - bid) >> 1)
        elif _in_window(book, bid) or _in_window(book, ask):
            return
    _move(book, _floor_around(middle))


@kernel
def _move(book: np.void, floor: int) -> None:
    """Let the window begin at ``floor``, unless the far store has no room for what would leave it."""
    old = book["floor"]
    if floor > old:
        first, end = old + 1, min(floor, old + BOOK_TICKS) + 1  # prices that leave
    else:
        first, end = max(floor + BOOK_TICKS, old) + 1, old + BOOK_TICKS + 1
    n_leaving, left, at = 0, book["n_bids"] + book["n_asks"], first
    while at < end and n_leaving < left:
        n_leaving += book["levels"][at & CELL] != 0
        at += 1
    if book["n_far"] + n_leaving - far.count_within(book, floor, floor + BOOK_TICKS) > FAR_LEVELS:
        return
    _leave(book, first, n_leaving)
    book["floor"] = floor
    for k in range(book["n_far"] - 1, -1, -1):  # from the end: what fills a gap has been looked at
        price, lots = book["far_prices"][k], book["far_lots"][k]
        if _in_window(book, price):
            book["levels"][price & CELL] = lots
            if lots > 0:
                book["n_bids"] += 1
            else:
                book["n_asks"] += 1
            far.take(book, price)
    book["far_bid"], book["far_ask"] = far.bid_below(book, PRICE_TICKS_MAX + 1), far.ask_above(book, 0)


@kernel
def _leave(book: np.void, price: int, count: int) -> None:
    """Move the first ``count`` levels of the window from ``price`` on to the far store."""
    for _ in range(count):
        lots = book["levels"][price & CELL]
        while lots == 0:
            price += 1
            lots = book["levels"][price & CELL]
        book["levels"][price & CELL] = 0
        far.put(book, price, lots)
        if lots > 0:
            book["n_bids"] -= 1
        else:
            book["n_asks"] -= 1
