"""A slow, obvious model of cash, positions, fees and of what the simulated venue may fill: fractions, no kernels."""

from fractions import Fraction
from math import ceil, floor

import numpy as np

from core.instruments import Instrument
from core.records import PPM, Action, FeeAsset, Kind, Side
from core.settings import Trading


class Ledger:
    """Cash and holdings of one account, moved by fills and bars alone."""

    def __init__(self, trading: Trading, instruments: tuple[Instrument, ...]):
        self.trading, self.instruments = trading, instruments
        self.cash = int(Fraction(trading.account.initial_cash) / Fraction(instruments[0].quote_unit))
        self.units = [0] * len(instruments)
        self.price = [0] * len(instruments)
        self.pending = [(0, 0)] * len(instruments)  # lots and price of a live buy
        self.peak = self.cash

    def value(self, index: int, price: int, lots: Fraction) -> Fraction:
        """Exact value in quote units."""
        item = self.instruments[index]
        return price * lots * Fraction(item.tick) * Fraction(item.lot) / Fraction(item.quote_unit)

    def lot_units(self, index: int) -> int:
        return int(Fraction(self.instruments[index].lot) / Fraction(self.instruments[index].base_unit))

    def book(self, fill: np.void) -> None:
        """Apply a FILL; its fee must be what the instrument's rule says."""
        index, lots, price = int(fill["instrument"]), int(fill["qty"]), int(fill["price"])
        item, moved, amount = self.instruments[index], lots * self.lot_units(index), self.value(index, price, lots)
        rate = Fraction(item.taker_fee_ppm, PPM)
        if fill["side"] == Side.BUY:
            self.cash -= ceil(amount)
            self.units[index] += moved
            in_base = item.fee_asset == "received"
            fee = ceil(moved * rate) if in_base else ceil(ceil(amount) * rate)
            if in_base:
                self.units[index] -= fee
            else:
                self.cash -= fee
            self.pending[index] = (self.pending[index][0] - lots, self.pending[index][1])
        else:
            in_base = False
            fee = ceil(floor(amount) * rate)
            self.cash += floor(amount) - fee
            self.units[index] -= moved
        assert fill["fee"] == fee
        assert fill["flags"] == (FeeAsset.BASE if in_base else FeeAsset.QUOTE)
        self.price[index] = price
        self._marked()

    def close(self, bar: np.void) -> None:
        self.price[int(bar["instrument"])] = int(bar["close"])
        self._marked()

    def _marked(self) -> None:
        self.peak = max(self.peak, self.equity)

    @property
    def exposures(self) -> list[int]:
        """Value of each position in quote units, rounded down."""
        return [
            floor(self.value(index, price, Fraction(units, self.lot_units(index))))
            for index, (units, price) in enumerate(zip(self.units, self.price, strict=True))
        ]

    @property
    def equity(self) -> int:
        return self.cash + sum(self.exposures)

    @property
    def drawdown_ppm(self) -> int:
        return ceil(Fraction(self.peak - self.equity, self.peak) * PPM)

    def approve(self, intent: np.void) -> None:
        """An opening INTENT must fit every cap with everything pending counted; a sell what is held."""
        index, lots = int(intent["instrument"]), int(intent["qty"])
        if intent["flags"] == Action.REDUCE:
            assert 0 < lots * self.lot_units(index) <= self.units[index]
        if intent["flags"] != Action.OPEN:
            return
        self.pending[index] = (lots, self.price[index])
        reserved = [ceil(self.value(i, price, Fraction(n))) for i, (n, price) in enumerate(self.pending)]
        exposures, risk = self.exposures, self.trading.risk
        assert exposures[index] + reserved[index] <= self.equity * risk.asset_cap_ppm // PPM
        assert sum(exposures) + sum(reserved) <= self.equity * risk.total_cap_ppm // PPM
        assert sum(reserved) <= self.cash

    def ended(self, order: np.void) -> None:
        """An ORDER record ended a live order: nothing is pending any more."""
        if order["side"] == Side.BUY:
            self.pending[int(order["instrument"])] = (0, 0)


def check_fill(trading: Trading, fill: np.void, bar: np.void, intent: np.void, before: int, opened: int) -> None:
    """A fill must follow the bar rules: ``before`` lots of its order filled earlier, the bar opened at ``opened``."""
    slip = Fraction(trading.execution.slippage_ppm, PPM)
    worse = ceil(bar["open"] * slip)
    price = bar["open"] + worse if fill["side"] == Side.BUY else max(1, bar["open"] - worse)
    allowed = int(bar["volume"]) * trading.execution.participation_ppm // PPM
    if trading.execution.participation_ppm == 0 and bar["volume"] > 0:
        allowed = int(intent["qty"])  # unlimited, but not without any trade
    arrival = int(intent["ts_known"]) + trading.execution.order_latency_ns
    assert fill["kind"] == Kind.FILL
    assert fill["price"] == price
    assert 0 < fill["qty"] <= allowed
    assert before + fill["qty"] <= intent["qty"]
    assert intent["ts_known"] < arrival <= fill["ts_event"] < intent["deadline_ns"]
    assert fill["ts_event"] == max(opened, arrival)
    assert fill["ts_event"] < bar["ts_event"]
    assert fill["ts_known"] == bar["ts_known"]
