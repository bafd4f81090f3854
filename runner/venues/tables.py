"""What a venue lists, and how its decimal strings become integers: exactly, or not at all."""

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from core.errors import BadInput
from core.instruments import Instrument
from runner.venues.filters import Filters


@dataclass(frozen=True, slots=True)
class Listed:
    """One instrument, with the venue's name of it."""

    name: str
    instrument: Instrument
    filters: Filters

    def price(self, text: str) -> int:
        """Ticks. Raises BadConfig off the grid."""
        return self.instrument.price_ticks(text)

    def lots(self, text: str) -> int:
        """Lots. Raises BadConfig off the grid."""
        return self.instrument.qty_lots(text)

    def units(self, asset: str, text: str) -> int:
        """Units of one of the pair's assets. Raises BadInput for a fraction of a unit."""
        unit = self.instrument.base_unit if asset == self.instrument.base else self.instrument.quote_unit
        return whole_units(asset, text, unit)

    def price_text(self, ticks: int) -> str:
        """A price as the venue reads it."""
        return plain(Decimal(self.instrument.tick) * ticks)

    def lots_text(self, lots: int) -> str:
        """A quantity as the venue reads it."""
        return plain(Decimal(self.instrument.lot) * lots)


@dataclass(frozen=True, slots=True)
class Rights:
    """What a key may do."""

    can_trade: bool
    can_withdraw: bool


def whole_units(asset: str, text: str, unit: str) -> int:
    """``text`` in units. Raises BadInput for a fraction of a unit."""
    units = Fraction(text) / Fraction(unit)
    if units.denominator != 1:
        raise BadInput(f"{text} {asset} is not a whole number of units of {unit}; raise the asset's precision")
    return units.numerator


def plain(value: Decimal) -> str:
    """Without exponent and trailing zeros."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Table:
    """A venue's instruments and their age. A change of grid or fees is a matter for a new start."""

    def __init__(self, hours_max: int) -> None:
        self._most_s = hours_max * 3600.0
        self._instruments: tuple[Instrument, ...] = ()
        self._loaded_s = 0.0

    def loaded(self, instruments: tuple[Instrument, ...]) -> tuple[str, ...]:
        """The venue's list was read now; which of its instruments are not what they were."""
        before, self._instruments = self._instruments, instruments
        self._loaded_s = asyncio.get_running_loop().time()
        return tuple(old.symbol for old, new in zip(before, instruments, strict=False) if old != new)

    def age(self) -> float:
        """In parts of the age up to which it may be used."""
        return (asyncio.get_running_loop().time() - self._loaded_s) / self._most_s

    @property
    def is_stale(self) -> bool:
        """Nothing is sent by it."""
        return not self._instruments or self.age() > 1
