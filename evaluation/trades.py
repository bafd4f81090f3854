"""Round trips: what the fills of a session earned, exactly.

A trip opens with the first fill from flat and closes with the one that leaves less than the venue's smallest order; a
fill that goes through flat ends one trip and begins the next. Every amount is an integer in quote units, rounded as the
core rounds (a buy's cost up, a sale's proceeds down), so the trips of a session that ends flat sum to its change of
cash. Dust that stays behind was paid for by its trip. A trip still open at the end is valued as if it were closed at
the last close, less modelled slippage and taker fee.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np

from core.errors import require
from core.instruments import Instrument
from core.records import FILL, PPM, FeeAsset, Side

TRIP: Final = np.dtype(
    [
        ("instrument", "<i8"),
        ("side", "<i8"),  # of its entry: Side.BUY, or Side.SELL for a short one
        ("ts_entry", "<i8"),  # ns, first fill
        ("ts_exit", "<i8"),  # ns, last fill or, if open, the session's end
        ("entry_notional", "<i8"),  # quote units of all fills on the side of the entry
        ("exit_notional", "<i8"),  # quote units of all the others
        ("fees", "<i8"),  # quote units; fees paid in base are valued at their fill's price
        ("pnl", "<i8"),  # quote units, after all costs
        ("closed", "<i8"),  # 1; 0: still open when the session ended
    ]
)


@dataclass(slots=True)
class _Open:
    """The trip being built for one instrument."""

    side: int
    ts_entry: int
    entry_notional: int = 0
    exit_notional: int = 0
    fees: int = 0
    cash: int = 0  # quote units received less paid

    def trip(self, instrument: int, ts_exit: int, closed: bool) -> tuple[int, ...]:
        return (
            instrument,
            self.side,
            self.ts_entry,
            ts_exit,
            self.entry_notional,
            self.exit_notional,
            self.fees,
            self.cash,
            int(closed),
        )


def quote_units(instrument: np.ndarray, price_ticks: int | Fraction, qty_lots: int | Fraction, *, up: bool) -> int:
    """``price_ticks`` x ``qty_lots`` in quote units of ``instrument`` (an INSTRUMENT row), rounded up or down."""
    exact = Fraction(price_ticks) * Fraction(qty_lots) * int(instrument["value_num"]) / int(instrument["value_den"])
    return -(-exact.numerator // exact.denominator) if up else exact.numerator // exact.denominator


def round_trips(
    fills: np.ndarray,
    instruments: Sequence[Instrument],
    last_close: Sequence[int],
    ts_end: int,
    slippage_ppm: int,
    *,
    may_be_short: bool = False,
) -> np.ndarray:
    """The trips of one session in order of exit, dtype TRIP.

    ``fills``: FILL records in time order; ``last_close``: ticks per instrument, for trips still open at ``ts_end``;
    ``may_be_short``: of an account on margin. Raises BrokenInvariant for a sale of what was never bought in any other.
    """
    require(fills.dtype == FILL, f"fills have dtype {fills.dtype}, FILL required")
    rows = [instrument.record() for instrument in instruments]
    held = [0] * len(rows)  # base units, dust included
    trips: list[tuple[int, ...]] = []
    opened: dict[int, _Open] = {}
    for fill in fills:
        index, ts, side = int(fill["instrument"]), int(fill["ts_event"]), int(fill["side"])
        for part in _parts(rows[index], fill, held[index]):
            trip = opened.get(index) or opened.setdefault(index, _Open(side, ts))
            held[index] += _apply(trip, rows[index], part)
            sells_too_much = held[index] < 0 and not may_be_short
            require(not sells_too_much, f"{instruments[index].symbol}: a fill at {ts} sells more than was bought")
            if side != trip.side and not _tradable(rows[index], abs(held[index]), part.price):
                trips.append(opened.pop(index).trip(index, ts, closed=True))
    for index, trip in sorted(opened.items()):
        _liquidate(trip, rows[index], held[index], int(last_close[index]), slippage_ppm)
        trips.append(trip.trip(index, ts_end, closed=False))
    return np.array(trips, TRIP)


def slippage_paid(fills: np.ndarray, instruments: Sequence[Instrument], slippage_ppm: int) -> int:
    """Quote units that ``fills`` lost to modelled slippage; for reporting, so the rounding to ticks is ignored."""
    rows = [instrument.record() for instrument in instruments]
    total = Fraction(0)
    for fill in fills:
        row = rows[int(fill["instrument"])]
        notional = quote_units(row, int(fill["price"]), int(fill["qty"]), up=False)
        against = slippage_ppm if int(fill["side"]) == Side.BUY else -slippage_ppm
        total += Fraction(notional * slippage_ppm, PPM + against)
    return int(total)


def fees_paid(fills: np.ndarray, instruments: Sequence[Instrument]) -> int:
    """Quote units of fees in ``fills`` (FILL); those paid in base are valued at their fill's price, rounded up."""
    in_base = fills["flags"] == FeeAsset.BASE
    total = int(fills["fee"][~in_base].sum())
    rows = [instrument.record() for instrument in instruments]
    for fill in fills[in_base]:
        row = rows[int(fill["instrument"])]
        qty_lots = Fraction(int(fill["fee"]), int(row["lot_units"]))
        total += quote_units(row, int(fill["price"]), qty_lots, up=True)
    return total


@dataclass(frozen=True, slots=True)
class _Part:
    """A fill, or its share in one trip."""

    side: int
    price: int
    qty: int
    fee: int
    fee_in_base: bool
    notional: int  # quote units


def _parts(row: np.ndarray, fill: np.ndarray, held: int) -> list[_Part]:
    """``fill`` as it is or, if it goes through flat, what closes and what opens: together exactly the fill."""
    side, price, qty, fee = (int(fill[name]) for name in ("side", "price", "qty", "fee"))
    in_base, notional = int(fill["flags"]) == FeeAsset.BASE, quote_units(row, price, qty, up=side == Side.BUY)
    closing = abs(held) // int(row["lot_units"])
    if (held > 0) == (side == Side.BUY) or not 0 < closing < qty:
        return [_Part(side, price, qty, fee, in_base, notional)]
    first = _Part(
        side, price, closing, fee * closing // qty, in_base, quote_units(row, price, closing, up=side == Side.BUY)
    )
    return [first, _Part(side, price, qty - closing, fee - first.fee, in_base, notional - first.notional)]


def _apply(trip: _Open, row: np.ndarray, part: _Part) -> int:
    """Book ``part`` into ``trip`` and return the change of base units."""
    lot_units, buy = int(row["lot_units"]), part.side == Side.BUY
    trip.cash += (-part.notional if buy else part.notional) - (0 if part.fee_in_base else part.fee)
    in_quote = quote_units(row, part.price, Fraction(part.fee, lot_units), up=True)
    trip.fees += in_quote if part.fee_in_base else part.fee
    if part.side == trip.side:
        trip.entry_notional += part.notional
    else:
        trip.exit_notional += part.notional
    return (part.qty if buy else -part.qty) * lot_units - (part.fee if part.fee_in_base else 0)


def _tradable(row: np.ndarray, held: int, price: int) -> bool:
    """Whether ``held`` base units can still be traded at ``price`` ticks: at least the venue's smallest order."""
    lots = held // int(row["lot_units"])
    enough = quote_units(row, price, lots, up=False) >= int(row["min_notional"])
    return lots >= max(1, int(row["min_lots"])) and enough


def _liquidate(trip: _Open, row: np.ndarray, held: int, close: int, slippage_ppm: int) -> None:
    is_short, lots = held < 0, abs(held) // int(row["lot_units"])
    price = Fraction(close * (PPM + (slippage_ppm if is_short else -slippage_ppm)), PPM)
    amount = quote_units(row, price, lots, up=is_short)
    fee = -(-amount * int(row["taker_fee_ppm"]) // PPM)
    trip.exit_notional += amount
    trip.fees += fee
    trip.cash += (-amount if is_short else amount) - fee
