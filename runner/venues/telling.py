"""ORDER and FILL records of a venue: what the core is told, in the order in which it became known."""

from collections.abc import Callable

import numpy as np

from core.records import FILL, ORDER, RECORD, Kind, OrderState, Reason


def never_back(now_ns: Callable[[], int]) -> Callable[[], int]:
    """``now_ns``, never before what it was: records stay in order when a clock is set back."""
    latest_ns = 0

    def now() -> int:
        nonlocal latest_ns
        latest_ns = max(latest_ns, now_ns())
        return latest_ns

    return now


class Told:
    """Records waiting to be taken. An event of the venue's future happened now: its clock is ahead of ours."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._records: list[np.ndarray] = []

    def order(
        self, ts_ns: int, side: int, k: int, reason: Reason, order_id: int, state: OrderState, filled: int, left: int
    ) -> None:
        """What became of a request; ``k``: the instrument."""
        now_ns, row = self._now_ns(), np.zeros(1, ORDER)
        head = (min(ts_ns, now_ns), now_ns, Kind.ORDER, side, k, reason, 0)
        row[0] = (*head, order_id, state, filled, left, 0)
        self._records.append(row.view(RECORD))

    def fill(
        self, ts_ns: int, side: int, k: int, reason: Reason, fee_asset: int, order_id: int, price: int, qty: int,
        fee: int, exec_id: int,
    ) -> None:  # fmt: skip
        """An execution."""
        now_ns, row = self._now_ns(), np.zeros(1, FILL)
        head = (min(ts_ns, now_ns), now_ns, Kind.FILL, side, k, reason, fee_asset)
        row[0] = (*head, order_id, price, qty, fee, exec_id)
        self._records.append(row.view(RECORD))

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._records)

    def take(self) -> np.ndarray:
        """The records since the last call, in order, (n,) RECORD."""
        made, self._records = self._records, []
        return np.concatenate(made) if made else np.zeros(0, RECORD)
