"""Lots, first in first out: what is held, what it cost, and what closing it earned.

A lot is what one fill (or transfer) added to a position: base units and the quote units paid for them, a fee in quote
included; a fee taken out of the base makes the lot smaller. Sold short, both are negative. A trade is the closing of a
lot, or of a part of it, by a later fill: realised = proceeds - cost, fees taken off on both sides.

A part takes its share of the lot's cost as the difference of two cumulated shares, each rounded down, so the parts of a
lot sum to its cost exactly, whatever the parts are. A fill's proceeds are divided among the lots it closes, and the
rest that it opens, in the same way. So at any time::

    cash = paid in - cost of open lots + realised + funding received
    equity - paid in = realised + unrealised + funding received       unrealised = value - cost of open lots

Dust is part of its lot like everything else.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from runner.store.contract import Row


@dataclass(slots=True)
class OpenLot:
    """A lot that is not closed: ``units`` and ``cost`` when it was opened, and how much of both is closed."""

    id: int
    units: int
    cost: int
    closed: int = 0
    cost_closed: int = 0

    @property
    def left(self) -> int:
        """Base units still held, negative for a short lot."""
        return self.units - self.closed

    @property
    def cost_left(self) -> int:
        """Quote units they cost."""
        return self.cost - self.cost_closed


@dataclass(frozen=True, slots=True)
class Closing:
    """A part of a lot that was closed; ``units`` have the lot's sign."""

    id: int
    lot: int
    units: int
    closed: int
    cost: int
    cost_closed: int
    proceeds: int

    @property
    def realised(self) -> int:
        return self.proceeds - self.cost


@dataclass(frozen=True, slots=True)
class Opening:
    """A new lot."""

    id: int
    units: int
    cost: int


class Lots:
    """The open lots of every instrument of one account, oldest first."""

    def __init__(self) -> None:
        self._open: dict[int, deque[OpenLot]] = {}
        self._held: dict[int, list[int]] = {}  # units and cost of the open lots
        self.lot_count = 0
        self.trade_count = 0
        self.realised: dict[int, int] = {}  # by instrument, quote units

    def change(self, instrument: int, units: int, paid: int, *, at_cost: bool = False) -> Iterator[Closing | Opening]:
        """``units`` more (or, negative, less) of ``instrument`` for ``paid`` quote units (negative: received).

        What they close comes first, oldest lot first; what is left opens one lot. ``at_cost``: what is closed leaves
        for what it cost, so nothing is realised, and ``paid`` is not asked (a withdrawal).
        """
        lots, held = self._open.setdefault(instrument, deque()), self._held.setdefault(instrument, [0, 0])
        done = 0
        while done != units and lots and (lots[0].units > 0) != (units > 0):
            lot = lots[0]
            part = min(abs(lot.left), abs(units - done))
            signed = part if lot.units > 0 else -part
            cost = _share(lot.cost, lot.closed + signed, lot.units) - lot.cost_closed
            before, done = done, done - signed
            proceeds = cost if at_cost else _share(-paid, done, units) - _share(-paid, before, units)
            lot.closed += signed
            lot.cost_closed += cost
            held[0] -= signed
            held[1] -= cost
            if lot.left == 0:
                lots.popleft()
            self.trade_count += 1
            self.realised[instrument] = self.realised.get(instrument, 0) + proceeds - cost
            yield Closing(self.trade_count, lot.id, signed, lot.closed, cost, lot.cost_closed, proceeds)
        if done != units:
            self.lot_count += 1
            cost = paid - _share(paid, done, units) if not at_cost else paid
            lots.append(OpenLot(self.lot_count, units - done, cost))
            held[0] += units - done
            held[1] += cost
            yield Opening(self.lot_count, units - done, cost)

    def rows(
        self, txn: int, instrument: int, units: int, paid: int, at_ns: int, *, at_cost: bool = False
    ) -> Iterator[Row]:
        """The rows of ``lot`` and ``trade`` that a ``change`` by transaction ``txn`` makes."""
        for made in self.change(instrument, units, paid, at_cost=at_cost):
            if isinstance(made, Closing):
                yield "trade", (
                    made.id, made.lot, txn, instrument, made.units, made.closed, made.cost, made.cost_closed,
                    made.proceeds, made.realised, at_ns,
                )  # fmt: skip
            else:
                yield "lot", (made.id, txn, instrument, made.units, made.cost, at_ns)

    def open_lots(self, instrument: int) -> list[OpenLot]:
        """The lots of ``instrument`` that are not closed, oldest first."""
        return list(self._open.get(instrument, ()))

    def units(self, instrument: int) -> int:
        """Base units held of ``instrument``."""
        return self._held.get(instrument, (0, 0))[0]

    def cost(self, instrument: int) -> int:
        """Quote units paid for what is held of ``instrument``."""
        return self._held.get(instrument, (0, 0))[1]


def _share(amount: int, part: int, whole: int) -> int:
    """``amount`` x part / whole, rounded towards zero; ``part`` and ``whole`` have one sign."""
    shared = abs(amount) * abs(part) // abs(whole)
    return shared if amount >= 0 else -shared
