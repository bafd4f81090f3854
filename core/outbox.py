"""The outbox: where a step puts the records it makes, in order, before they are copied to the caller's array."""

import numpy as np

from core.jit import kernel


@kernel
def emit(
    box: np.void,
    ts_event: int,
    ts_known: int,
    kind: int,
    side: int,
    instrument: int,
    reason: int,
    flags: int,
    a: int,
    b: int,
    c: int,
    d: int,
    e: int,
) -> None:
    """Append one record; ``a`` to ``e`` are the body in the order of the kind's dtype in ``core.records``."""
    record = box["records"][box["count"]]
    record["ts_event"] = ts_event
    record["ts_known"] = ts_known
    record["kind"] = kind
    record["side"] = side
    record["instrument"] = instrument
    record["reason"] = reason
    record["flags"] = flags
    record["a"] = a
    record["b"] = b
    record["c"] = c
    record["d"] = d
    record["e"] = e
    box["count"] += 1


@kernel
def flush(box: np.void, out: np.ndarray, n_out: int) -> int:
    """Move everything to ``out`` from index ``n_out`` on; returns the new end."""
    for k in range(box["count"]):
        out[n_out + k] = box["records"][k]
    n_out += box["count"]
    box["count"] = 0
    return n_out
