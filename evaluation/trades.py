"""Round trips: what the fills of a session earned, exactly.

A trip opens with the first buy from flat and closes with the sale that leaves less than the venue's smallest order.
Every amount is an integer in quote units, rounded as the core rounds (a buy's cost up, a sale's proceeds down), so the
trips of a session that ends flat sum to its change of cash. Dust that stays behind was paid for by its trip.
A trip still open at the end is valued as if sold at the last close, less modelled slippage and taker fee.
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
        ("ts_entry", "<i8"),  # ns, first buy
        ("ts_exit", "<i8"),  # ns, last sale or, if open, the session's end
        ("entry_notional", "<i8"),  # quote units of all its buys
        ("exit_notional", "<i8"),  # quote units of all its sales
        ("fees", "<i8"),  # quote units; fees paid in base are valued at their fill's price
        ("pnl", "<i8"),  # quote units, after all costs
        ("closed", "<i8"),  # 1; 0: still open when the session ended
    ]
)


@dataclass(slots=True)
class _Open:
    """The trip being built for one instrument."""

    ts_entry: int
    entry_notional: int = 0
    exit_notional: int = 0
    fees: int = 0
    cash: int = 0  # quote units received less paid

    def trip(self, instrument: int, ts_exit: int, closed: bool) -> tuple[int, ...]:
        return (
            instrument,
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
    fills: np.ndarray, instruments: Sequence[Instrument], last_close: Sequence[int], ts_end: int, slippage_ppm: int
) -> np.ndarray:
    """The trips of one session in order of exit, dtype TRIP.

    ``fills``: FILL records in time order; ``last_close``: ticks per instrument, for trips still open at ``ts_end``.
    Raises BrokenInvariant for a sale of what was never bought.
    """
    require(fills.dtype == FILL, f"fills have dtype {fills.dtype}, FILL required")
    rows = [instrument.record() for instrument in instruments]
    held = [0] * len(rows)  # base units, dust included
    trips: list[tuple[int, ...]] = []
    opened: dict[int, _Open] = {}
    for fill in fills:
        index, ts = int(fill["instrument"]), int(fill["ts_event"])
        trip = opened.get(index) or opened.setdefault(index, _Open(ts))
        held[index] += _apply(trip, rows[index], fill)
        require(held[index] >= 0, f"{instruments[index].symbol}: a fill at {ts} sells more than was bought")
        if int(fill["side"]) == Side.SELL and not _tradable(rows[index], held[index], int(fill["price"])):
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


def _apply(trip: _Open, row: np.ndarray, fill: np.ndarray) -> int:
    """Book ``fill`` into ``trip`` and return the change of base units."""
    price, qty, fee = int(fill["price"]), int(fill["qty"]), int(fill["fee"])
    lot_units, buy = int(row["lot_units"]), int(fill["side"]) == Side.BUY
    in_base = int(fill["flags"]) == FeeAsset.BASE
    notional = quote_units(row, price, qty, up=buy)
    trip.cash += (-notional if buy else notional) - (0 if in_base else fee)
    trip.fees += quote_units(row, price, Fraction(fee, lot_units), up=True) if in_base else fee
    if buy:
        trip.entry_notional += notional
    else:
        trip.exit_notional += notional
    return (qty if buy else -qty) * lot_units - (fee if in_base else 0)


def _tradable(row: np.ndarray, held: int, price: int) -> bool:
    """Whether ``held`` base units can still be sold at ``price`` ticks: at least the venue's smallest order."""
    lots = held // int(row["lot_units"])
    enough = quote_units(row, price, lots, up=False) >= int(row["min_notional"])
    return lots >= max(1, int(row["min_lots"])) and enough


def _liquidate(trip: _Open, row: np.ndarray, held: int, close: int, slippage_ppm: int) -> None:
    price = Fraction(close * (PPM - slippage_ppm), PPM)
    proceeds = quote_units(row, price, held // int(row["lot_units"]), up=False)
    fee = -(-proceeds * int(row["taker_fee_ppm"]) // PPM)
    trip.exit_notional += proceeds
    trip.fees += fee
    trip.cash += proceeds - fee
