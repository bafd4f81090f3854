"""How fast the core is: ``python -m tests.benchmarks.bench_core`` prints one JSON line.

``bars_per_s``: one instrument, SMA, every risk check on. ``rows_per_s``: two instruments, one bar and one prediction a
row. CPU time of the one thread, best of several, so that a busy machine disturbs less. ``call_us``: one ``on_record``
from Python. ``first_call_s``: a new process from import to the end of a first short session, kernels on disk.
"""

import json
import subprocess
import sys
import time

import numpy as np

from core import config, engine, strategies
from core.records import BAR, PREDICTION, RECORD, Kind
from tests.core.build import BTC, ETH, bars, predict, trading

REPEATS = 7


def tape_of(rows: int, instruments: int) -> np.ndarray:
    """A seeded walk of 0.1 % steps, bars of all instruments interleaved."""
    rng = np.random.default_rng(5)
    tape = np.zeros(rows * instruments, BAR)
    for index in range(instruments):
        closes = (1_000_000 * np.exp(np.cumsum(rng.normal(0, 0.001, rows)))).astype(np.int64)
        tape[index::instruments] = bars(closes, instrument=index)
    return tape


def best_rate(built: np.ndarray, tape: np.ndarray, predictions: np.ndarray, rows: np.ndarray, kind: str) -> float:
    """Rows a second of ``run``, by the CPU clock."""
    out, marks = np.zeros(4 * len(tape), RECORD), np.zeros(len(tape), engine.MARK)
    seconds = []
    for _ in range(REPEATS):
        state, venue = engine.new_state(built), engine.new_venue(built)
        began = time.thread_time()
        done = engine.run(built, state, venue, tape, predictions, rows, 0, out, marks, strategies.get(kind))
        seconds.append(time.thread_time() - began)
        assert done[0] == len(tape)
    return len(tape) / min(seconds)


def call_us(built: np.ndarray, tape: np.ndarray) -> dict[str, float]:
    """Wall time of single ``on_record`` calls with bars, in microseconds."""
    state, venue, out = engine.new_state(built), engine.new_venue(built), np.zeros(engine.OUT_PER_INPUT, RECORD)
    strategy, records = strategies.get("edge"), [tape[row : row + 1] for row in range(20_000)]
    took = np.zeros(len(records))
    for row, record in enumerate(records):
        began = time.perf_counter_ns()
        engine.on_record(built, state, venue, record, out, strategy)
        took[row] = time.perf_counter_ns() - began
    return {"p50": float(np.percentile(took, 50)) / 1000, "p99": float(np.percentile(took, 99)) / 1000}


def first_call_s() -> float:
    """Import, load the kernels from disk and run three bars in a new process."""
    code = (
        "from tests.benchmarks.bench_core import *\n"
        "engine.session(config.build(trading(kind='sma'), (BTC,)), tape_of(3, 1), np.zeros(0, PREDICTION), "
        "np.zeros(0, np.int64), strategies.get('sma'))"
    )
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main() -> None:
    sma = config.build(trading(kind="sma", prediction_ttl_ns=10**12), (BTC,))
    one = tape_of(500_000, 1)
    edge = config.build(trading(), (BTC, ETH))
    two = tape_of(50_000, 2)
    predictions = np.concatenate([predict(two[0])] * len(two))
    predictions["instrument"], predictions["ts_known"] = two["instrument"], two["ts_known"]
    predictions["bar_ts"], predictions["kind"] = two["ts_event"], Kind.PREDICTION
    predictions["edge_ppm"] = np.random.default_rng(6).integers(-1500, 1500, len(two))
    none = np.zeros(0, PREDICTION), np.zeros(0, np.int64)
    result = {
        "bars_per_s": round(best_rate(sma, one, *none, "sma")),
        "rows_per_s": round(best_rate(edge, two, predictions, np.arange(len(two)), "edge")),
        "call_us": call_us(config.build(trading(), (BTC,)), one),
        "first_call_s": round(first_call_s(), 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
