"""Instruments: what one integer of price, quantity and cash is worth, exactly.

Money never becomes a float. A venue states its grid in decimals (tick 0.01, lot 0.00001, cash to 8 digits); this
module turns that into the integers the core computes with and refuses a grid it cannot hold exactly.
"""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

import numpy as np

from core.errors import BadConfig
from core.settings import decimal

INT64_MAX: Final = 2**63 - 1
STEP_MIN: Final = "1e-18"  # as fine as any asset is divided
DECIMAL_MAX: Final = "1e12"

INSTRUMENT: Final = np.dtype(
    [
        ("value_num", "<i8"),  # quote units of one lot at a price of one tick = value_num / value_den
        ("value_den", "<i8"),
        ("lot_units", "<i8"),  # base units of one lot
        ("min_lots", "<i8"),
        ("min_notional", "<i8"),  # quote units
        ("maker_fee_ppm", "<i8"),
        ("taker_fee_ppm", "<i8"),
        ("fee_in_received", "<i8"),  # 1: a buy's fee comes out of the base bought; 0: always quote
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable pair with its venue's grid and fees. Decimals are strings, as the venue writes them.

    ``fee_asset`` is "quote" (every fee in quote) or "received" (a buy pays in base, a sell in quote).
    """

    symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    quote_unit: str = "0.00000001"
    base_unit: str = "0.00000001"
    min_qty: str = "0"
    min_notional: str = "0"
    maker_fee_ppm: int = 0
    taker_fee_ppm: int = 0
    fee_asset: str = "quote"
    calendar: str = "24x7"
    venue: str = "builtin"

    def __post_init__(self) -> None:
        for name, least in (
            *dict.fromkeys(("tick", "lot", "quote_unit", "base_unit"), STEP_MIN).items(),
            ("min_qty", "0"),
            ("min_notional", "0"),
        ):
            decimal(f"{self.symbol}: {name}", getattr(self, name), least, DECIMAL_MAX)
        if self.fee_asset not in ("quote", "received"):
            raise BadConfig(f"{self.symbol}: fee_asset is {self.fee_asset!r}; use 'quote' or 'received'")
        if Fraction(self.lot) % Fraction(self.base_unit):
            raise BadConfig(f"{self.symbol}: lot {self.lot} is not a whole number of base units {self.base_unit}")
        for name in ("maker_fee_ppm", "taker_fee_ppm"):
            if not -100_000 <= getattr(self, name) <= 100_000:
                raise BadConfig(f"{self.symbol}: {name} is {getattr(self, name)}; it must lie within +-100000 (10 %)")

    def record(self) -> np.ndarray:
        """This instrument as one element of dtype INSTRUMENT, shape ().

        Raises BadConfig if a value does not fit int64.
        """
        value = Fraction(self.tick) * Fraction(self.lot) / Fraction(self.quote_unit)
        row = np.zeros((), INSTRUMENT)
        fields = {
            "value_num": value.numerator,
            "value_den": value.denominator,
            "lot_units": int(Fraction(self.lot) / Fraction(self.base_unit)),
            "min_lots": -(-Fraction(self.min_qty) // Fraction(self.lot)),
            "min_notional": -(-Fraction(self.min_notional) // Fraction(self.quote_unit)),
            "maker_fee_ppm": self.maker_fee_ppm,
            "taker_fee_ppm": self.taker_fee_ppm,
            "fee_in_received": int(self.fee_asset == "received"),
        }
        for name, item in fields.items():
            if not -INT64_MAX <= item <= INT64_MAX:
                raise BadConfig(f"{self.symbol}: {name} is {item}; it does not fit 64 bits")
            row[name] = int(item)
        return row

    def price_ticks(self, price: str | Decimal) -> int:
        """``price`` in ticks. Raises BadConfig if it is off the grid."""
        return _whole(self.symbol, "price", price, self.tick)

    def qty_lots(self, qty: str | Decimal) -> int:
        """``qty`` in lots. Raises BadConfig if it is off the grid."""
        return _whole(self.symbol, "quantity", qty, self.lot)

    def as_json(self) -> dict[str, Any]:
        """The fields as a JSON object, the form in a tape's header and a manifest."""
        return {name: getattr(self, name) for name in self.__slots__}


def _whole(symbol: str, what: str, value: str | Decimal, grid: str) -> int:
    steps = Fraction(value) / Fraction(grid)
    if steps.denominator != 1:
        raise BadConfig(f"{symbol}: {what} {value} is not on its grid of {grid}")
    return steps.numerator


def instrument_from_json(fields: dict[str, Any]) -> Instrument:
    """The inverse of ``Instrument.as_json``. Raises BadConfig for unknown or missing fields."""
    try:
        return Instrument(**fields)
    except TypeError as error:
        raise BadConfig(f"instrument {fields.get('symbol', '?')}: {error}") from None
