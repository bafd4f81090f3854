"""The documented example of a feature runs, is right, and keeps the rules it states."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.causality.checker import Known, assert_causal, random_times
from tests.features.walk import interleave, walk

EXAMPLE = Path(__file__).parents[2] / "docs" / "extending" / "feature.py"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("example_feature", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_feature(example) -> None:
    bars = interleave(walk(300, 1), walk(300, 2, instrument=1))

    def compute(bars: np.ndarray, t: int) -> dict[str, Known]:
        out = np.zeros(len(bars), np.float32)
        example.batch(np.zeros(2, example.STATE), bars, out)
        return {"upper_wick": Known(out, bars["ts_known"])}

    assert_causal(compute, bars, random_times(bars, 100))
    out = compute(bars, 0)["upper_wick"].values
    assert np.isfinite(out).all() and out.min() >= 0 and out.max() <= 1
    own = bars[bars["instrument"] == 1][:12]
    share = (own["high"] - np.maximum(own["open"], own["close"])) / (own["high"] - own["low"])
    assert out[bars["instrument"] == 1][11] == pytest.approx(share.mean(), rel=1e-6)  # a plain mean while young
