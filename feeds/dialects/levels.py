"""The two sides of a message about a book: what they may not be, and their records."""

from itertools import compress

import numpy as np

from core.records import Kind, MarketFlag, Side
from feeds.dialects import BadFrame, Rule, head


def level_rows(index: int, prices: list[int], lots: list[int], n_bids: int, update: int, flags: int) -> np.ndarray:
    """LEVEL records without times, the first ``n_bids`` of bids, (n, 8) int64; the last one completes the book."""
    rows = np.zeros((len(prices), 8), "<i8")
    rows[:n_bids, 2] = head(int(Kind.LEVEL), int(Side.BUY), index, 0, flags)
    rows[n_bids:, 2] = head(int(Kind.LEVEL), int(Side.SELL), index, 0, flags)
    rows[-1:, 2] |= int(MarketFlag.LAST) << 48
    rows[:, 3], rows[:, 4], rows[:, 5] = prices, lots, update
    return rows


def check_sides(bids: list[int], asks: list[int], lots: list[int]) -> None:
    """Every level has a price, no price comes twice, what is set does not cross; ``lots``: of both. Raises BadFrame."""
    for side in (bids, asks):
        if 0 in side:
            raise BadFrame(Rule.NOT_POSITIVE, "a level at a price of 0")
        if len(set(side)) != len(side):
            raise BadFrame(Rule.DUPLICATE_LEVEL, f"{len(side) - len(set(side))} prices twice")
    check_spread(max(compress(bids, lots), default=0), min(compress(asks, lots[len(bids) :]), default=0))


def check_order(bids: list[int], asks: list[int]) -> None:
    """A snapshot's levels get worse from row to row. Raises BadFrame."""
    if bids != sorted(bids, reverse=True) or asks != sorted(asks):
        raise BadFrame(Rule.UNORDERED, "levels of a snapshot that do not get worse")


def check_spread(bid: int, ask: int) -> None:
    """The best bid is below the best ask; 0: there is none. Raises BadFrame."""
    if 0 < ask <= bid:
        raise BadFrame(Rule.CROSSED if ask < bid else Rule.LOCKED, f"bid {bid}, ask {ask} ticks")
