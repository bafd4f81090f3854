"""How long one exported step takes here: measured, so it is kept apart from everything that has to be reproducible."""

import time
from typing import Any, Final

import numpy as np

from models.manifest import Model
from models.predictor import Predictor

_WARMUP_STEPS: Final = 200


def measure_step(onnx_bytes: bytes, model: Model, *, steps: int = 5_000) -> dict[str, Any]:
    """p50 and p99 in microseconds of ``steps`` steps at batch 1 on one thread."""
    predictor = Predictor(onnx_bytes, model, 1)
    features = np.random.default_rng(0).standard_normal((steps + _WARMUP_STEPS, model.n_features), np.float32)
    taken_ns = np.zeros(len(features), np.int64)
    for row, x in enumerate(features):
        before = time.perf_counter_ns()
        predictor.step(0, x)
        taken_ns[row] = time.perf_counter_ns() - before
    p50, p99 = np.percentile(taken_ns[_WARMUP_STEPS:], (50, 99)) / 1_000
    return {"step_p50_us": float(p50), "step_p99_us": float(p99), "n": steps}
