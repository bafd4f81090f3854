"""Seconds and peak memory of every stage on the built-in market, and on twice the rows.

    python -m tests.benchmarks.bench_pipeline

Both runs have the same number of folds: 200 days in windows of 90 / 15 days, 400 days in windows of 180 / 30. Each
stage is a process of its own, as under `dvc repro`; its peak memory is that of the largest process it started. A ratio
above 2 would mean that a stage's cost is not linear in rows.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.pipelines import reduced

RUNS = {
    200: {"data.days": 200, "splits.train_days": 90, "splits.calibrate_days": 8, "splits.test_days": 15},
    400: {},
}


def measure(checkout: reduced.Checkout, stage: str) -> tuple[float, float]:
    """Wall seconds and peak MB of one stage."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"pipelines.{stage}"],
        cwd=checkout.path,
        env=checkout.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"stage {stage} ended with {os.waitstatus_to_exitcode(status)} in {checkout.path}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def main() -> None:
    """Run both sizes, print a table and one JSON line."""
    found: dict[int, dict[str, tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for days, changes in RUNS.items():
            checkout = reduced.make(Path(folder) / str(days), changes)
            found[days] = {stage: measure(checkout, stage) for stage in reduced.STAGES}
    small, large = found[200], found[400]
    print(f"{'stage':12}{'200 days s':>12}{'400 days s':>12}{'ratio':>8}{'200 MB':>9}{'400 MB':>9}")
    for stage in reduced.STAGES:
        (a, m), (b, n) = small[stage], large[stage]
        print(f"{stage:12}{a:12.1f}{b:12.1f}{b / a:8.2f}{m:9.0f}{n:9.0f}")
    print(json.dumps({"days": found}))


if __name__ == "__main__":
    main()
