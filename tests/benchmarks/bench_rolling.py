"""Twenty rolling columns of ten million rows, ours beside Polars: ``python -m tests.benchmarks.bench_rolling``.

Work D of the peer benchmarks: a seeded walk x and volume v in memory; for windows of 10, 30, 100 and 300 rows the mean,
sample standard deviation, minimum and maximum of x and the sum of v, full windows only, as twenty new columns. A figure
counts only if all twenty checksums agree.

Every round runs each engine in a process of its own, one after the other: ours on one core, Polars with one thread
and with one per core. A ratio is of two processes of one round. A process works RUNS times: its first time, which also
waits for fresh memory, and the fastest of the others are told apart, and both have to be fast enough. Seconds of the
processor (``time.process_time``, all threads) hold beside other work on the machine, those of the clock only without.

All processes run with NUMPY_MADVISE_HUGEPAGE=0. By default NumPy asks for huge pages; where a virtual machine has none
at hand, the first time then waits seconds for them, whatever the kernel does.
"""

import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features import rolling

ROOT = Path(__file__).resolve().parents[2]
ROWS = 10_000_000
WINDOWS = (10, 30, 100, 300)
RUNS = 3
LEAST = 2.0  # how many times faster than Polars on one core ours has to be
OURS, ONE_CORE, ALL_CORES = "this engine", "Polars, one thread", "Polars, every core"
THREADS = {OURS: "1", ONE_CORE: "1", ALL_CORES: ""}
SECONDS = {"wall": "s", "cpu": "CPU s", "first_wall": "first s", "first_cpu": "first CPU s"}
AGREEMENT = 1e-9  # of checksums, as a fraction

Values = Callable[[str], np.ndarray]


def ours(x: np.ndarray, v: np.ndarray) -> Values:
    out = np.empty((len(x), len(rolling.columns(WINDOWS))), order="F")
    rolling.batch(rolling.new_state(WINDOWS), x, v, out)
    return lambda name: out[:, rolling.columns(WINDOWS).index(name)]


def polars(frame: pl.DataFrame) -> Values:
    x, v = pl.col("x"), pl.col("v")
    columns = []
    for window in WINDOWS:
        columns += [
            x.rolling_mean(window).alias(f"mean{window}"),
            x.rolling_std(window).alias(f"std{window}"),
            x.rolling_min(window).alias(f"min{window}"),
            x.rolling_max(window).alias(f"max{window}"),
            v.rolling_sum(window).alias(f"sum{window}"),
        ]
    out = frame.select(columns)
    return lambda name: out[name].drop_nulls().to_numpy()


def work(engine: str) -> dict[str, Any]:
    """What a process of ``engine`` measures: seconds of its first and of its fastest later time, and checksums."""
    rng = np.random.default_rng(7)
    x = 10_000 + np.cumsum(rng.standard_normal(ROWS)) * 0.1
    v = rng.exponential(size=ROWS)
    frame = pl.DataFrame({"x": x, "v": v})
    ours(x[:1000], v[:1000])  # so that its kernels are loaded
    wall, cpu = [], []
    for _ in range(RUNS):
        values: Values | None = None  # the memory of the run before is given back before the next one's is taken
        start, start_cpu = time.perf_counter(), time.process_time()
        values = ours(x, v) if engine == OURS else polars(frame)
        cpu.append(time.process_time() - start_cpu)
        wall.append(time.perf_counter() - start)
    return {
        "first_wall": wall[0],
        "first_cpu": cpu[0],
        "wall": min(wall[1:]),
        "cpu": min(cpu[1:]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "checksums": {name: float(np.nansum(values(name))) for name in rolling.columns(WINDOWS)},
    }


def measure(engine: str) -> dict[str, Any]:
    """``work`` in a process of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "POLARS_MAX_THREADS"}
    environment["NUMPY_MADVISE_HUGEPAGE"] = "0"
    if THREADS[engine]:
        environment["POLARS_MAX_THREADS"] = THREADS[engine]
    arguments = [sys.executable, "-m", "tests.benchmarks.bench_rolling", "--engine", engine]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def differing(mine: dict[str, float], theirs: dict[str, float]) -> list[str]:
    return [name for name in mine if not math.isclose(mine[name], theirs[name], rel_tol=AGREEMENT)]


def row(engine: str, taken: dict[str, list[dict[str, Any]]]) -> tuple[str, ...]:
    """One engine's line of the table: medians of the rounds, ranges in brackets."""
    pairs = list(zip(taken[OURS], taken[engine], strict=True))
    ratios = {name: [theirs[name] / mine[name] for mine, theirs in pairs] for name in SECONDS}
    verdict = ""
    if engine == ONE_CORE:
        verdict = "met" if min(statistics.median(values) for values in ratios.values()) >= LEAST else "missed"
    if wrong := differing(pairs[0][0]["checksums"], pairs[0][1]["checksums"]):
        verdict = f"another result: {', '.join(wrong)}"
    return (
        "rolling, 10 M rows, 20 columns",
        engine,
        spread([ROWS / figures["wall"] / 1e6 for figures in taken[engine]], "{:.3g}"),
        *(spread([figures[name] for figures in taken[engine]], "{:.2f}") for name in SECONDS),
        *("" if engine == OURS else spread(ratios[name], "{:.1f}") for name in SECONDS),
        spread([figures["peak_mb"] for figures in taken[engine]], "{:.0f}"),
        verdict,
    )


def spread(values: list[float], form: str) -> str:
    """Median, and the range in brackets if there is one to speak of."""
    middle, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="a table's figures are their medians")
    parser.add_argument("--engine", choices=THREADS, help="only this one, as a JSON line")
    arguments = parser.parse_args()
    if arguments.engine:
        print(json.dumps(work(arguments.engine)))
        return
    taken: dict[str, list[dict[str, Any]]] = {engine: [] for engine in THREADS}
    for number in range(arguments.rounds):
        for engine in THREADS:
            taken[engine].append(measure(engine))
            print(f"round {number + 1}: {engine}", file=sys.stderr, flush=True)
    seconds = [f"{what} {clock}".strip() for what in ("", "Faster by,") for clock in SECONDS.values()]
    heads = ["Work", "Engine", "Million rows/s", *seconds, "Peak MB", f"At least {LEAST:g}"]
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for engine in THREADS:
        print(f"| {' | '.join(row(engine, taken))} |")


if __name__ == "__main__":
    main()
