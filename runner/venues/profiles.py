"""What one adapter needs to know of a venue: its endpoints, its fields, its rules. One profile per exchange.

A profile asks through ``Rest`` and returns the core's integers, read from the venue's own strings. The adapter
(``ccxt_venue``) knows no venue; a profile knows no order's life.

Acceptance deadlines, after which a create that was not taken never will be (so that "absent" can be concluded):
Binance: the signed ``timestamp`` plus ``recvWindow``. Kraken: the ``deadline`` parameter of AddOrder. Coinbase: the JWT
that signs a request expires after 120 s, and a repeated ``client_order_id`` returns the first order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from core.canonical import sha256_hex
from core.records import Reason
from runner.venues.binance import Binance
from runner.venues.filters import Reference
from runner.venues.outbound import Execution, Order, Report
from runner.venues.rest import Budget, Denied, Rest, VenueError
from runner.venues.tables import Listed, Rights

RUN_DIGITS: Final = 8
INTENT_DIGITS: Final = 24


class Profile(Protocol):
    """One venue. ``k`` is an instrument's index; times named ``_ms`` are the venue's."""

    listed: tuple[Listed, ...]
    budget: Budget  # the account's limit of requests

    def client_id(self, digits: str) -> str:
        """32 hexadecimal digits in the venue's format; of the first of them, the first of it."""

    def judge(self, status: int, tree: Any) -> VenueError | None:
        """What an answer below 500 means; None: carried out."""

    async def rights(self, rest: Rest, tries: int) -> Rights:
        """What the key may do."""

    async def load(self, rest: Rest, symbols: Sequence[str], tries: int) -> tuple[Listed, ...]:
        """The instruments. Raises BadInput for a symbol, tick or fee that is missing."""

    async def time_ms(self, rest: Rest, tries: int = 0) -> int:
        """The venue's clock."""

    async def reference(self, rest: Rest, k: int) -> Reference:
        """The last price and the best ones."""

    async def create(self, rest: Rest, order: Order) -> str:
        """Send an order once; the venue's id, "" if the answer names none. Raises VenueError."""

    def refusal(self, denied: Denied) -> Reason | None:
        """Why a create was refused; None: it was not, the venue has an order with this id."""

    async def cancel(self, rest: Rest, k: int, client_id: str) -> None:
        """Ask once for an order's cancellation. Raises VenueError."""

    async def order(self, rest: Rest, k: int, *, client_id: str = "", venue_id: str = "") -> Report | None:
        """One order by either id; None: the venue knows none."""

    async def orders(self, rest: Rest, k: int, *, since_ms: int | None = None) -> list[Report]:
        """Open orders, or with ``since_ms`` all orders made since, whatever became of them."""

    async def executions(self, rest: Rest, k: int, *, venue_id: str = "", after: int = -1) -> list[Execution]:
        """All of an order's, or the account's beyond execution ``after``, or, without either, the last one."""

    async def balances(self, rest: Rest) -> dict[str, int]:
        """Units of each asset, what open orders hold included."""

    async def subscribe(self, api: Any, opened: Callable[[Any], None]) -> None:
        """Open the private stream; ``opened`` is given ccxt's client before anything is sent or received."""

    def reports(self, text: str | bytes) -> list[Report] | None:
        """A frame's reports; None: it is not about orders, ccxt waits for it."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Client order ids of one run: H(run), then H(run, seq, intent), so that own orders are known by their ids."""

    run_id: str
    profile: Profile

    def of(self, seq: int, intent: bytes) -> str:
        """The id of the INTENT record that stands at ``seq`` in the journal. The same for the same journal."""
        digest = sha256_hex(b"%s/%d/%s" % (self.run_id.encode(), seq, intent))
        return self.profile.client_id(self._prefix + digest[:INTENT_DIGITS])

    def is_own(self, client_id: str) -> bool:
        """Whether the id is of this run."""
        return client_id.startswith(self.profile.client_id(self._prefix))

    @property
    def _prefix(self) -> str:
        return sha256_hex(self.run_id.encode())[:RUN_DIGITS]


PROFILES: Final[dict[str, Callable[[], Profile]]] = {"binance": Binance}
