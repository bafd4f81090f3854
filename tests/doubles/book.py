"""A limit order book in price-time priority: at each price a queue, the outside market in it."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

BUY, SELL = 1, -1
OUTSIDE = 0  # whose quantity is nobody's order: the recorded or made market around the accounts


@dataclass(slots=True)
class Entry:
    """A place in a queue."""

    owner: int  # order id, or OUTSIDE
    lots: int


class Book:
    """Both sides of one market."""

    def __init__(self) -> None:
        self._queues: dict[int, dict[int, deque[Entry]]] = {BUY: {}, SELL: {}}
        self._prices: dict[int, list[int]] = {BUY: [], SELL: []}  # ascending
        self.changed: set[tuple[int, int]] = set()  # (side, price) since it was last emptied

    def best(self, side: int) -> int | None:
        """The best price of ``side``, in ticks."""
        prices = self._prices[side]
        return None if not prices else prices[-1] if side == BUY else prices[0]

    def front(self, side: int) -> tuple[int, Entry] | None:
        """Best price and the first in its queue."""
        price = self.best(side)
        return None if price is None else (price, self._queues[side][price][0])

    def rest(self, side: int, price: int, owner: int, lots: int) -> None:
        """Put ``lots`` at the end of a queue."""
        queue = self._queues[side].get(price)
        if queue is None:
            queue = self._queues[side][price] = deque()
            insort(self._prices[side], price)
        if owner == OUTSIDE and queue and queue[-1].owner == OUTSIDE:
            queue[-1].lots += lots
        else:
            queue.append(Entry(owner, lots))
        self.changed.add((side, price))

    def take(self, side: int, lots: int) -> None:
        """Take ``lots`` from the first in the best queue."""
        price, entry = self.front(side) or (0, Entry(OUTSIDE, 0))
        entry.lots -= lots
        if entry.lots < 0:
            raise AssertionError(f"took {lots} lots at {price} where {entry.lots + lots} are")
        if entry.lots == 0:
            self._queues[side][price].popleft()
        self._tidy(side, price)

    def reduce(self, side: int, price: int, owner: int, lots: int) -> None:
        """Take ``lots`` from an order where it stands; it keeps its place, and at 0 leaves."""
        queue = self._queues[side][price]
        entry = next(entry for entry in queue if entry.owner == owner)
        entry.lots -= lots
        if entry.lots == 0:
            queue.remove(entry)
        self._tidy(side, price)

    def outside(self, side: int, price: int) -> int:
        """Lots of the outside market at a price."""
        return sum(entry.lots for entry in self._queues[side].get(price, ()) if entry.owner == OUTSIDE)

    def set_outside(self, side: int, price: int, lots: int) -> None:
        """Make the outside market's quantity ``lots``: more joins the end of the queue, less leaves from the end."""
        excess = self.outside(side, price) - lots
        if excess < 0:
            self.rest(side, price, OUTSIDE, -excess)
        if excess <= 0:
            return
        queue = self._queues[side][price]
        for entry in [entry for entry in reversed(queue) if entry.owner == OUTSIDE]:
            gone = min(excess, entry.lots)
            entry.lots -= gone
            excess -= gone
        self._queues[side][price] = deque(entry for entry in queue if entry.lots)
        self._tidy(side, price)

    def total(self, side: int, price: int) -> int:
        """All lots at a price."""
        return sum(entry.lots for entry in self._queues[side].get(price, ()))

    def depth(self, side: int, levels: int = 1 << 30) -> list[tuple[int, int]]:
        """(price, lots) from the best on."""
        prices = self._prices[side][::-1] if side == BUY else self._prices[side]
        return [(price, self.total(side, price)) for price in prices[:levels]]

    def entries(self, side: int, limit: int | None) -> Iterator[tuple[int, Entry]]:
        """What a taker would meet on ``side``, in the order it would meet it, no price worse than ``limit``."""
        prices = list(self._prices[side])[:: 1 if side == SELL else -1]
        for price in prices:
            if limit is not None and (limit - price) * side > 0:
                return
            for entry in self._queues[side][price]:
                yield price, entry

    def outside_until(self, side: int, price: int) -> list[int]:
        """Prices of ``side`` that an order of the other side at ``price`` meets, where the outside market stands."""
        met = takewhile(lambda at: (price - at) * side <= 0, self._prices[side][:: 1 if side == SELL else -1])
        return [at for at in met if self.outside(side, at)]

    def _tidy(self, side: int, price: int) -> None:
        self.changed.add((side, price))
        if not self._queues[side][price]:
            del self._queues[side][price]
            del self._prices[side][bisect_left(self._prices[side], price)]
