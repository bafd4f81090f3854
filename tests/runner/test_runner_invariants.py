"""The laws of a journal: each has a session that keeps it and a planted violation that is found (RUN-20, RUN-27)."""

from collections.abc import Callable

import numpy as np
import pytest

from core.records import CHECK, FILL, INTENT, PREDICTION, Kind, Reason
from runner.invariants import Invariants
from runner.plan import header_ledger
from runner.replay import replay


def broken(header: dict, records: np.ndarray, piece: int = 500) -> str:
    laws = Invariants(header)
    for low in range(0, len(records), piece):
        laws.add(records[low : low + piece])
    return "\n".join(laws.broken)


def first(records: np.ndarray, kind: Kind, nth: int = 0) -> int:
    return int(np.flatnonzero(records["kind"] == kind)[nth])


def without_a_check(records: np.ndarray) -> np.ndarray:
    """One CHECK of a rule that always compares something is gone."""
    of_lots = (records["kind"] == Kind.CHECK) & (records["reason"] == Reason.FILTER_LOT) & (records["a"] > 0)
    return np.delete(records, np.flatnonzero(of_lots)[0])


def moved(records: np.ndarray, source: int, target: int) -> np.ndarray:
    order = np.insert(np.delete(np.arange(len(records)), source), target, source)
    return records[order]


def put(dtype: np.dtype, field: str, value: int) -> Callable[[np.ndarray, int], np.ndarray]:
    def plant(records: np.ndarray, row: int) -> np.ndarray:
        copy = records.copy()
        copy[row : row + 1].view(dtype)[field] = value
        return copy

    return plant


@pytest.mark.parametrize("piece", [1, 3, 500, 10**6])
def test_kept_by_a_session_however_it_is_cut(header: dict, records: np.ndarray, piece: int) -> None:
    assert broken(header, records[:3000] if piece < 10 else records, piece) == ""


PLANTED: dict[str, tuple[Kind, Callable[[np.ndarray, int], np.ndarray], str]] = {
    "a fill of an order that was never sent": (Kind.FILL, put(FILL, "order_id", 999), "FILL of order 999, which was"),
    "a fill of an impossible order": (Kind.FILL, put(FILL, "order_id", 10**18), "which was never sent before"),
    "a fill before its intent": (Kind.FILL, lambda r, i: moved(r, i, 5), "FILL of order 1, which was never"),
    "a report before its intent": (
        Kind.ORDER, lambda r, i: moved(r, i, 5), "ORDER of order 1, which was never",
    ),
    "a fill at its decision": (Kind.FILL, put(FILL, "ts_event", 0), "filled at or before its decision"),
    "a fill on the other side": (Kind.FILL, put(FILL, "side", 2), "filled on another side"),
    "a fill beyond its order": (Kind.FILL, put(FILL, "qty", 10**9), "filled beyond its quantity"),
    "a fill that cannot be paid": (Kind.FILL, put(FILL, "price", 10**12), "below zero"),
    "a fill of another account": (Kind.FILL, put(FILL, "instrument", 9), "an instrument of another account"),
    "a quantity that overflows": (Kind.INTENT, put(INTENT, "qty", 2**61), "beyond what the account's arithmetic"),
    "an intent without its checks": (
        Kind.CHECK, lambda r, i: without_a_check(r), "an order is sent that not every rule was asked about",
    ),
    "a check after its intent": (Kind.INTENT, lambda r, i: moved(r, i, i - 5), "an order is judged after it was sent"),
    "a check that refused": (Kind.CHECK, put(CHECK, "flags", 1), "an order is sent that a rule refused"),
    "a check that should have": (Kind.CHECK, put(CHECK, "value", 2**62), "passed what is above its limit"),
    "an intent sent twice": (Kind.INTENT, lambda r, i: np.insert(r, i, r[i]), "an order is sent twice"),
    "an intent out of sequence": (Kind.INTENT, put(INTENT, "order_id", 10**18), "an order id out of sequence"),
    "a prediction of the future": (
        Kind.PREDICTION, put(PREDICTION, "bar_ts", 2**62), "a prediction from a bar that is still to come",
    ),
    "a prediction before its bar": (
        Kind.BAR, lambda r, i: moved(r, i, i + 1), "a prediction from a bar that is still to come",
    ),
    "a record known before it happened": (Kind.BAR, put(FILL, "ts_known", 5), "known before it happened"),
    "market data out of order": (Kind.BAR, put(FILL, "ts_known", 2**61), "market data goes back in time"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_named(header: dict, records: np.ndarray, name: str) -> None:
    kind, plant, law = PLANTED[name]
    for piece in (500, 10**6):
        assert law in broken(header, plant(records, first(records, kind)), piece)


def test_trading_on_the_warm_up_prefix_is_named(header: dict, records: np.ndarray) -> None:
    """Walk-forward separation: nothing up to the first test bar may be traded on."""
    later = header | {"trade_from_ns": int(records["ts_event"].max())}
    assert "a prediction of the warm-up prefix that may be traded on" in broken(later, records)


def test_kept_by_a_fill_delivered_again(header: dict, records: np.ndarray) -> None:
    """Said again at once and at the end: the core, its ledger and the laws take it for one fill."""
    row = first(records, Kind.FILL)
    again = records[row : row + 1].copy()
    again["ts_known"] = records["ts_known"].max()
    copy = np.concatenate([records[: row + 1], records[row : row + 1], records[row + 1 :], again])
    assert broken(header, copy) == ""
    ledger, clean = header_ledger(header), header_ledger(header)
    ledger.transactions(0, copy)
    clean.transactions(0, records)
    assert ledger.balances == clean.balances
    replayed, undisturbed = replay(header, iter([copy])), replay(header, iter([records]))
    assert replayed.difference is None
    assert replayed.state.tobytes() == undisturbed.state.tobytes()


def test_broken_by_a_state_that_is_not_the_records(header: dict, records: np.ndarray) -> None:
    laws, state = Invariants(header), replay(header, iter([records])).state
    laws.add(records)
    laws.check_state(state)
    assert laws.broken == []
    state["account"]["cash"] += 1
    laws.check_state(state)
    assert "cash: the core holds" in laws.broken[0]
