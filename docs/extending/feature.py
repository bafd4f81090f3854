"""A feature of your own, from formula to proof, in three steps.

1. Write the update: one bar in, one dimensionless, finite, clipped number out, state in a record. The one below is the
   share of a bar's height that lies above its body (the upper wick), smoothed.
2. Hold it to the rules with ``tests/causality/checker.py``, as ``tests/docs/test_docs_feature.py`` does: a batch is a
   loop over the update, and nothing after t changes a value known at t.
3. Make it a column: add a ``Feature`` row to ``FEATURES`` in ``features/spec.py``, its state to ``STATE``, ``_restart``
   and ``_step`` and one line to ``_write`` in ``features/bars.py``, its formula to ``tests/features/reference.py``, and
   raise ``KERNEL_VERSION``. Bundles made before are then refused, because their model never saw the column.
"""

import numpy as np

from core.jit import entry, kernel

STATE = np.dtype([("bars", "<i8"), ("mean", "<f8")])
ALPHA = 1.0 - 0.5 ** (1.0 / 12)  # half-life 12 bars


@kernel
def upper_wick(own: np.void, bar: np.void) -> float:
    """Mean of (high - max(open, close)) / (high - low), within 0..1, half-life 12 bars."""
    height = bar["high"] - bar["low"]
    share = (bar["high"] - max(bar["open"], bar["close"])) / height if height > 0 else 0.0
    own["bars"] += 1
    own["mean"] += max(1.0 / own["bars"], ALPHA) * (share - own["mean"])
    return own["mean"]


@entry
def batch(state: np.ndarray, bars: np.ndarray, out: np.ndarray) -> None:
    """``upper_wick`` over ``bars`` (rows,) of dtype BAR into ``out`` (rows,) float32; ``state`` (n_instruments,)."""
    for row in range(len(bars)):
        out[row] = upper_wick(state[bars[row]["instrument"]], bars[row])
