"""A gate of your own, from a number to a reason for refusal, in three steps.

1. Measure it: a function that gives an entry {value, lower, upper, n, unit}. Null means "not defined on this sample".
   The one below is the share of test folds that lost money. Add its entry to the table that ``measure`` in
   ``evaluation/metrics.py`` makes, and it is in ``metrics.json``.
2. Limit it: a line in ``gates/gates.yaml`` under the profile it belongs to. The name is the metric's with ``_min`` or
   ``_max``; say why, for the person whose model it stops. From then on a run that does not measure it stops, exit 30.
3. Prove that it can fail, as ``tests/docs/test_docs_gate_metric.py`` does: a value on the limit, one beyond it, too
   few observations. ``python -m gates explain`` shows it like every other gate.
"""

from collections.abc import Mapping, Sequence
from typing import Any

GATE = """
    losing_folds_max:
      limit: 0.25
      min_n: 4
      why: A model that earns everything in one lucky month is not a model of the market.
"""


def losing_folds(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The share of ``folds`` (rows of ``metrics.json``) whose net return is below zero."""
    lost = sum(fold["return"] < 0 for fold in folds)
    share = lost / len(folds) if folds else None
    return {"value": share, "lower": None, "upper": None, "n": len(folds), "unit": "share"}
