"""Between the decimals of a file and the integers of a tape, exactly.

A price x read from a file is the double nearest to some decimal. It is on the grid if and only if the whole number of
ticks nearest to it, written as a decimal again, has that same nearest double: no tolerance is involved.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from feeds.market import Listing

WHOLE_MAX: Final = 2**53  # above it doubles skip integers


@dataclass(frozen=True, slots=True)
class Grid:
    """Tick and lot of one instrument."""

    tick: Fraction
    lot: Fraction

    @classmethod
    def of(cls, listing: Listing) -> "Grid":
        """The grid of ``listing``."""
        return cls(Fraction(listing.tick), Fraction(listing.lot))

    def ticks(self, prices: np.ndarray) -> np.ndarray:
        """``prices`` in ticks, rounded to the nearest, still float64."""
        return np.rint(prices * self.tick.denominator / self.tick.numerator)

    def lots(self, quantities: np.ndarray) -> np.ndarray:
        """``quantities`` in lots, rounded to the nearest, half to even, still float64.

        Rounded, because a venue's volume may count trades in finer steps than it accepts orders.
        """
        return np.rint(quantities * self.lot.denominator / self.lot.numerator)

    def price(self, ticks: np.ndarray) -> np.ndarray:
        """Ticks as the doubles nearest to their decimals."""
        return ticks * self.tick.numerator / self.tick.denominator

    def quantity(self, lots: np.ndarray) -> np.ndarray:
        """Lots as the doubles nearest to their decimals."""
        return lots * self.lot.numerator / self.lot.denominator

    def off(self, prices: np.ndarray) -> np.ndarray:
        """Which ``prices`` are off the grid, bool.

        In NumPy, whose division is exact to the last bit: a dataframe engine may multiply by a reciprocal.
        """
        return self.price(self.ticks(prices)) != prices
