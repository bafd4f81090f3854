"""The venue protocol: everything the runner may ask of a place that trades. Eight methods, no base class.

``sim`` drives the core's own simulator over a tape; ``ccxt`` (later) speaks to an exchange. Replay has no venue: the
journal already holds what a venue said.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec
import numpy as np

from core.instruments import Instrument


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order the venue knows."""

    client_order_id: str
    instrument: int
    side: int
    price: int  # ticks; 0 for a market order
    remaining: int  # lots


class AccountSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the venue says the account holds, in units of each asset, and its open orders."""

    balances: dict[str, int]
    open_orders: tuple[OpenOrder, ...]


class Venue(Protocol):
    """A venue. Submitting returns when the request is sent, never when it is filled: outcomes arrive as events."""

    async def connect(self) -> None:
        """Open sessions. Raises Refused for keys with more rights than the mode needs."""

    async def instruments(self) -> tuple[Instrument, ...]:
        """The tradable instruments with their grids and fees, in index order."""

    def market(self) -> AsyncIterator[np.ndarray]:
        """Market records in order, arrays of dtype RECORD."""

    def events(self) -> AsyncIterator[np.ndarray]:
        """Order and fill records in order, arrays of dtype RECORD."""

    async def submit(self, intent: np.ndarray, client_order_id: str) -> None:
        """Send an approved intent. The caller has made it durable first."""

    async def cancel(self, intent: np.ndarray, client_order_id: str) -> None:
        """Ask for an order's cancellation."""

    async def account(self) -> AccountSnapshot:
        """Balances and open orders, for reconciliation."""

    async def close(self) -> None:
        """Close sessions; open orders stay as they are."""
