"""Laws every journal must obey, whatever made it. Checked after each replay, over the records alone."""

import numpy as np

from core.instruments import Instrument
from core.records import FILL, INTENT, Kind
from runner.ledger import Ledger


class Invariants:
    """Takes a session's records in order and collects what breaks a law."""

    def __init__(self, instruments: tuple[Instrument, ...], ledger: Ledger) -> None:
        self._instruments = instruments
        self._ledger = ledger  # empty; booked here, apart from the stored one
        self._sent: dict[int, np.ndarray] = {}  # order id -> its first INTENT
        self._filled: dict[int, int] = {}
        self._count = 0
        self._known = 0
        self.broken: list[str] = []

    def add(self, records: np.ndarray) -> None:
        """Take the next ``records``, dtype RECORD."""
        self._check_times(records)
        for row in np.flatnonzero(np.isin(records["kind"], (Kind.SESSION, Kind.INTENT, Kind.FILL))):
            record, at = records[row : row + 1], self._count + int(row)
            if record["kind"][0] == Kind.INTENT:
                intent = record.view(INTENT)
                self._sent.setdefault(int(intent["order_id"][0]), intent)
                continue
            if record["kind"][0] == Kind.FILL:
                if self._ledger.is_booked(record.view(FILL)[0]):
                    continue
                self._check_fill(record.view(FILL), at)
            self._book(record, at)
        self._count += len(records)

    def _check_times(self, records: np.ndarray) -> None:
        """No record says that it was known before it happened, and market data never goes back in time."""
        early = np.flatnonzero(records["ts_known"] < records["ts_event"])
        if len(early):
            self.broken.append(f"record {self._count + int(early[0])}: known before it happened")
        known = records["ts_known"][records["kind"] == Kind.BAR]
        if len(known):
            if known[0] < self._known or (np.diff(known) < 0).any():
                self.broken.append(f"records from {self._count}: bars go back in time")
            self._known = int(known[-1])

    def _check_fill(self, fill: np.ndarray, at: int) -> None:
        """No fill without, before, beside or beyond its order."""
        order_id = int(fill["order_id"][0])
        intent = self._sent.get(order_id)
        if intent is None:
            self.broken.append(f"record {at}: fill of order {order_id}, which was never sent")
            return
        if fill["ts_event"][0] <= intent["ts_known"][0]:
            self.broken.append(f"record {at}: order {order_id} was filled at or before its decision")
        if (fill["side"][0], fill["instrument"][0]) != (intent["side"][0], intent["instrument"][0]):
            self.broken.append(f"record {at}: order {order_id} was filled on another side or instrument")
        self._filled[order_id] = self._filled.get(order_id, 0) + int(fill["qty"][0])
        if self._filled[order_id] > intent["qty"][0]:
            self.broken.append(f"record {at}: order {order_id} was filled beyond its quantity")

    def _book(self, record: np.ndarray, at: int) -> None:
        """Cash and holdings continue, sum to zero and never go below it."""
        for transaction in self._ledger.transactions(at, record):
            sums: dict[str, int] = {}
            for entry in transaction.entries:
                sums[entry.asset] = sums.get(entry.asset, 0) + entry.delta
            if any(sums.values()):
                self.broken.append(f"record {at}: its entries sum to {sums}, zero required")
            for asset in sums:
                if (held := self._ledger.balances.get(("holdings", asset), 0)) < 0:
                    self.broken.append(f"record {at}: holdings of {asset} are {held}, below zero")

    def check_state(self, state: np.ndarray) -> None:
        """The core's cash and positions are the ledger's, to the unit. ``state``: shape (1,), dtype STATE."""
        quote = self._instruments[0].quote
        pairs = [(quote, int(state["account"]["cash"][0]))] + [
            (item.base, int(position["base_units"]))
            for item, position in zip(self._instruments, state["positions"][0], strict=False)
        ]
        for asset, held in pairs:
            booked = self._ledger.balances.get(("holdings", asset), 0)
            if held != booked:
                self.broken.append(f"{asset}: the core holds {held} units, the ledger {booked}")
