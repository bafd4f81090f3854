"""Do features of two instruments look alike? The population stability index, field by field (requirements FEAT-24).

    PSI = sum over bins (a - e) ln(a / e)

with e and a the shares of the two instruments in bins that hold a tenth of the first one each. Below 0.1 two
distributions are the same for most purposes, above 0.25 they are not: a model trained on one has not seen the other.
"""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadInput
from data import lanes
from features.market_state import EXTRA, MARKET_STATE

BINS: Final = 10
LIMIT: Final = 0.25
_SHARE_MIN: Final = 1e-4  # of an empty bin: its logarithm must exist
_IDENTITIES: Final = ("ts", "seq", "has_depth", "session_id", "liquidity_id", "venue_id", "mid2")


def psi(expected: np.ndarray, actual: np.ndarray) -> float:
    """The index of ``actual`` (m,) against ``expected`` (n,). Raises BadInput for an empty array."""
    if not len(expected) or not len(actual):
        raise BadInput("a stability index needs values of both instruments: is any row ready?")
    edges = np.unique(np.quantile(expected, np.arange(1, BINS) / BINS))
    shares = [
        np.maximum(np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1) / len(values), _SHARE_MIN)
        for values in (expected, actual)
    ]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def between_instruments(folder: Path) -> list[dict[str, Any]]:
    """Per pair of instruments and field of ``folder``'s lanes the index, the largest first. Ready rows only.

    Raises BadInput unless there are two instruments.
    """
    columns: dict[str, dict[str, list[np.ndarray]]] = {}
    for lane in lanes.read(folder):
        own = columns.setdefault(lane.symbol, {})
        for name, values in _fields(lane):
            own.setdefault(name, []).append(values[lane.ready])
    if len(columns) < 2:
        raise BadInput(f"{folder}: lanes of {len(columns)} instruments; a comparison needs two: widen data.symbols")
    whole = {symbol: {name: np.concatenate(parts) for name, parts in own.items()} for symbol, own in columns.items()}
    rows = [
        {"field": name, "of": actual, "against": expected, "psi": round(psi(values, whole[actual][name]), 4)}
        for expected, actual in permutations(whole, 2)
        for name, values in whole[expected].items()
    ]
    return sorted(rows, key=lambda row: (-row["psi"], row["field"], row["of"]))


def _fields(lane: lanes.Lane) -> Iterator[tuple[str, np.ndarray]]:
    for array, dtype in ((lane.states, MARKET_STATE), (lane.extra, EXTRA)):
        for name in dtype.names or ():
            if name in _IDENTITIES:
                continue
            for place in range(dtype[name].shape[0] if dtype[name].shape else 1):
                yield (f"{name}_{place}", array[name][:, place]) if dtype[name].shape else (name, array[name])
