"""How a sweep grows with processes: ``python -m tests.benchmarks.bench_sweep`` prints wall times and their ratio.

A grid of crossovers on 400 days of the built-in market, three instruments: one session of the core with a prediction
per bar each. The kernels are compiled and loaded beforehand. The times hold the start of the workers and the sessions;
computing sigma comes before them, once, whatever the number of processes. The machine must do nothing else: with both
processors busy the second process has nothing to run on. Processor seconds, of all processes together, say what the
processes cost one another even then.
"""

import argparse
import hashlib
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from evaluation.grid import grid
from evaluation.inputs import neutral
from evaluation.rules import SMA_SIZED
from evaluation.sweep import Market, Point, Study, run
from feeds import market, synthetic
from feeds.tape import Tape, write_tape

ROOT = Path(__file__).parents[2]
DAYS = 400
INTERVAL_NS = 300_000_000_000
LATENCY_NS = 50_000_000


def prepare(folder: Path, points: int) -> Study:
    """The tape, its sigma and a grid of ``points`` crossovers."""
    spec = market.from_yaml((ROOT / "data/markets/builtin.yaml").read_text(), where="builtin")
    bars = synthetic.market(spec, days=DAYS, seed=7)
    write_tape(folder / "market.tape", bars, instruments=spec.instruments(), interval_ns=INTERVAL_NS)
    np.save(folder / "sigma.npy", neutral(Tape.open(folder / "market.tape"), {}, 15, LATENCY_NS))
    fast = ",".join(map(str, range(5, 15)))
    slow = ",".join(map(str, range(20, 20 + points // 10)))
    sets = [f"strategy.fast={fast}", f"strategy.slow={slow}"]
    made = grid({"strategy": {"kind": SMA_SIZED}}, sets, where="benchmark")
    return Study(folder / "market.tape", folder / "sigma.npy", LATENCY_NS, made)


def timed(study: Study, jobs: int) -> tuple[float, float, list[Point]]:
    """(wall time, processor time of all processes, both in seconds; the points)."""
    began, used = time.perf_counter(), _used_s()
    points = run(study, jobs, lambda done: None)
    return time.perf_counter() - began, _used_s() - used, points


def _used_s() -> float:
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=200, help="points of the grid, a multiple of 10")
    parser.add_argument("--jobs", type=int, default=2, help="processes to compare with one")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; each times one process, then several")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        study = prepare(Path(scratch), arguments.points)
        rows = len(Tape.open(study.tape, verify=False).records)
        Market(study).load()
        for _ in range(arguments.repeats):
            alone, alone_used, points = timed(study, 1)
            together, together_used, same = timed(study, arguments.jobs)
            digest = hashlib.sha256(repr(same).encode()).hexdigest()[:16]
            print(
                f"{len(points)} points of {rows:,} bars: 1 process {alone:6.2f} s, {arguments.jobs} processes "
                f"{together:6.2f} s, {alone / together:.2f} times as fast, {together_used / alone_used:.3f} of the "
                f"processor seconds; {len(points) * rows / together / 1e6:.1f} M bars/s; "
                f"{'equal' if points == same else 'DIFFERENT'} results {digest}; load {os.getloadavg()[0]:.1f}"
            )


if __name__ == "__main__":
    main()
