"""How fast the feature kernel is: ``python tests/benchmarks/bench_features.py`` prints bars/s and microseconds a call.

Best of five runs over one million bars of three instruments, one thread, compiled beforehand.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from features import bars as kernel
from tests.features.walk import SPEC, interleave, walk

RUNS = 5


def main() -> None:
    bars = interleave(*(walk(333_334, seed, lost=0.001, instrument=seed) for seed in range(3)))
    out = np.zeros((len(bars), SPEC.n_features), np.float32)
    ready, sigma = np.zeros(len(bars), np.bool_), np.zeros(len(bars))
    seconds = []
    for _ in range(RUNS + 1):
        state = kernel.new_state(SPEC, 3)
        start = time.perf_counter()
        kernel.batch(state, bars, out, ready, sigma)
        seconds.append(time.perf_counter() - start)
    print(f"batch:  {len(bars) / min(seconds[1:]) / 1e6:5.2f} M bars/s ({SPEC.n_features} features)")

    state, one = kernel.new_state(SPEC, 3), np.zeros((1, SPEC.n_features), np.float32)
    rows = [bars[row : row + 1] for row in range(100_000)]
    calls = np.zeros(len(rows), np.int64)
    for row, bar in enumerate(rows):
        start = time.perf_counter_ns()
        kernel.update(state, bar, one)
        calls[row] = time.perf_counter_ns() - start
    p50, p99 = np.percentile(calls[1_000:], [50, 99]) / 1_000
    print(f"update: p50 {p50:.2f} us, p99 {p99:.2f} us a call")


if __name__ == "__main__":
    main()
