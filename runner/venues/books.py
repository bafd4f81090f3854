"""The simulated exchange of books at the runner's edge: its state, its books, and the requests it was sent.

``core.stepwise`` moves it together with the core, since the two share one order of events. What is the session's is
when a request leaves: ``submit`` is called once the journal holds the intent.
"""

import numpy as np

from core import book, stepwise
from core.layout import BOOK, EXCHANGE
from runner.snapshot import Snapshot

_EXCHANGE = "exchange"
_BOOKS = "exchange_books"


class BookVenue:
    """The exchange of one paper session; ``config`` is the core's, shape (1,)."""

    def __init__(self, config: np.ndarray) -> None:
        self._config = config
        self.exchange = stepwise.new_exchange()  # (1,) EXCHANGE
        self.books = book.new_books(int(config[0]["n_instruments"]))  # (instruments,) BOOK, as the exchange knows them

    def submit(self, intents: np.ndarray, place: np.ndarray) -> None:
        """Take the INTENTs that ``stepwise.advance`` stopped at. Raises BrokenInvariant unless risk approved them."""
        stepwise.send(self._config, self.exchange, intents, place)

    def parts(self) -> dict[str, bytes]:
        """For a snapshot."""
        return {_EXCHANGE: self.exchange.tobytes(), _BOOKS: self.books.tobytes()}

    def restore(self, snapshot: Snapshot) -> None:
        """Take up what ``parts`` gave. Raises BadTape if it is another program's."""
        self.exchange[:] = snapshot.array(_EXCHANGE, EXCHANGE)
        self.books[:] = snapshot.array(_BOOKS, BOOK, len(self.books))
