"""Which reader of books, trades and quotes ``data.source`` names."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from data.settings import DataParams
from data.sources import bulk, events
from data.sources.events import EventLog, Reader, Reading
from data.sources.trades import trade_files
from feeds import book_market
from feeds.dialects import venues
from feeds.market import Market

# name -> reader, and whether the records have depth
READERS: Final[dict[str, tuple[Reader, bool]]] = {
    **{f"{exchange}_ws": (events.recordings(exchange), True) for exchange in venues.EXCHANGES},
    "binance_bulk": (bulk.trades_and_quotes, False),
    "binance_depth": (bulk.depth, True),
    "lobster": (events.lobster_days, True),
    "trades": (trade_files, False),
    "quotes": (events.quote_files, False),
}


def open_reader(params: DataParams, market: Market, seed: int) -> tuple[Reader, bool]:
    """The reader that ``params`` asks for, and whether its records have depth. ``seed`` is a simulation's."""
    return (simulated_books(market, params, seed), True) if params.is_simulated else READERS[params.source]


def simulated_books(market: Market, params: DataParams, seed: int) -> Reader:
    """The built-in market of order books as a reader that needs no files."""

    def read(reading: Reading, log: EventLog) -> Iterator[np.ndarray]:
        log.begin(params.market)
        for records in book_market.instrument(
            market,
            reading.listing.symbol,
            days=params.days,
            seed=seed,
            strength=float(params.strength),
            feed_latency_ns=reading.feed_latency_ns,
        ):
            log.rows += len(records)
            yield records

    return read
