"""The venue protocol: everything the runner may ask of a place that trades. Eight methods, no base class.

``sim`` drives the core's own simulator over a tape; ``ccxt_venue`` speaks to an exchange. Replay has no venue: the
journal already holds what a venue said. Market data is not a venue's business: it comes from ``runner.live``.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec
import numpy as np

from core.instruments import Instrument
from core.records import OrderState


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order the venue knows."""

    client_order_id: str
    venue_order_id: str
    instrument: int
    side: int
    price: int  # ticks; 0 for a market order
    remaining: int  # lots


class AccountSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says the account holds, in units of each asset, its open orders, and its latest executions."""

    balances: dict[str, int]
    open_orders: tuple[OpenOrder, ...]
    executions: tuple[tuple[str, int], ...]  # the venue's order id, execution id


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """An order that the journal holds and whose end it does not: the venue is asked what became of it."""

    intent: np.ndarray  # shape (1,), dtype INTENT
    client_order_id: str
    state: OrderState = OrderState.PENDING_NEW  # the journal's: a PENDING_CANCEL is asked for again
    executions: dict[int, int] = {}  # booked already: execution id -> lots


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something at the venue that our books do not explain. ``kind`` is one of:

    balance (an asset's units differ), foreign order, foreign fill, orphan (an order of this run that nobody knows),
    returned (an order that had ended for us), fee asset (a fee in neither asset of its pair), instrument (changed).
    """

    kind: str
    subject: str
    expected: int = 0
    actual: int = 0


class Venue(Protocol):
    """A venue. Submitting returns at once: what becomes of an order arrives as records."""

    async def connect(self, known: Sequence[Known] = ()) -> None:
        """Open sessions and find out what became of ``known``. Raises Refused for a key with more rights than it may
        have, and for open orders that are nobody's.
        """

    async def instruments(self) -> tuple[Instrument, ...]:
        """The tradable instruments with their grids and fees, in index order. Raises BadInput if one is missing."""

    def submit(self, intent: np.ndarray, client_order_id: str) -> None:
        """Send an approved intent, shape (1,). The caller has made it durable first. Raises Refused for a key that
        cannot trade.
        """

    def cancel(self, intent: np.ndarray) -> None:
        """Have the order named by a cancelling intent cancelled."""

    async def cancel_all(self) -> None:
        """Have every open order of the instruments cancelled; returns when the venue has been told."""

    async def account(self) -> AccountSnapshot:
        """Balances, open orders and latest executions, for reconciliation."""

    def events(self) -> AsyncIterator[np.ndarray]:
        """ORDER and FILL records in order, arrays of dtype RECORD, each fill once."""

    async def close(self) -> None:
        """Close sessions; open orders stay as they are."""
