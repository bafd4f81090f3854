"""Which dialect an exchange's recordings and live frames are read by: one place, so that both are read alike."""

from collections.abc import Collection
from decimal import Decimal
from typing import Final

from core.instruments import Instrument
from feeds.dialects import binance, coinbase, kraken
from feeds.dialects.frames import Follower

EXCHANGES: Final = ("binance", "kraken", "coinbase")


def follower(
    exchange: str,
    instrument: Instrument,
    *,
    others: Collection[Instrument] = (),
    index: int = 0,
    clock_offset_ns: int = 0,
    is_perpetual: bool = False,
) -> Follower:
    """The normaliser of one instrument's frames from ``exchange``, one of EXCHANGES.

    ``others`` may be told of in the same frames (Kraken, Coinbase). Kraken's checksums need the pair's digits, which
    are the grid's.
    """
    base, quote = instrument.base, instrument.quote
    if exchange == "kraken":
        return kraken.Normaliser(
            instrument,
            price_digits=_digits(instrument.tick),
            qty_digits=_digits(instrument.lot),
            symbol=f"{base}/{quote}",
            others=[f"{other.base}/{other.quote}" for other in others],
            index=index,
            clock_offset_ns=clock_offset_ns,
        )
    if exchange == "coinbase":
        return coinbase.Normaliser(
            instrument,
            symbol=f"{base}-{quote}",
            others=[f"{other.base}-{other.quote}" for other in others],
            index=index,
            clock_offset_ns=clock_offset_ns,
        )
    market = binance.Market.FUTURES if is_perpetual else binance.Market.SPOT
    return binance.Normaliser(instrument, market, symbol=f"{base}{quote}", index=index, clock_offset_ns=clock_offset_ns)


def _digits(step: str) -> int:
    """Decimal places of a grid's step: 0.10 has one."""
    return max(0, -int(Decimal(step).normalize().as_tuple().exponent))
