"""How fast a journal is replayed: ``python -m tests.benchmarks.bench_replay [--bars 400000]`` prints one JSON line.

A generated session of bars and predictions, every risk check on, is written as the runner writes it (a commit for each
intent, a snapshot now and then) and read back. Records a second, by the wall clock, best of several:

``core``: the compiled loop over records in memory; ``hash``: the chain over every byte, from the database;
``verified``: both, from the database, which is what the budget of a million records a second is about; ``laws``: the
invariants; ``archived``: ``verified`` from an .xz archive. ``recovery_s``: open a journal of that size after a kill,
ready to append. ``judge_s``: the whole of ``runner replay``, the ledger made again and compared row by row included.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from core import engine
from core.records import BAR, PREDICTION, RECORD, Kind
from models.statement import verify_bundle
from runner.failpoints import Failpoints
from runner.feed import builtin_feed
from runner.home import Run
from runner.invariants import Invariants
from runner.journal import Journal, Policy
from runner.plan import header_core, header_ledger, make_plan, session_record
from runner.reader import open_run, replay_run
from runner.replay import Replay
from runner.retention import compress
from runner.segments import verified_batches
from runner.venues.sim import SimVenue
from runner.verdict import judge
from tests.runner.bundles import MINUTE_NS, make_bundle, make_home

REPEATS = 3


def header_of(folder: Path) -> dict:
    """The header of a session on the built-in market."""
    home = make_home(folder / "home")
    bundle, _ = verify_bundle(make_bundle(folder / "bundle"), home / "trust")
    return make_plan(bundle, builtin_feed(1, 1, 1.0, 0), bundle.manifest.trading).header


def market(n_bars: int, instruments: int) -> tuple[np.ndarray, np.ndarray]:
    """Seeded walks and a prediction for each bar."""
    rng = np.random.default_rng(5)
    rows = n_bars // instruments
    bars = np.zeros((rows, instruments), BAR)
    close = 1_000_000 * np.exp(np.cumsum(rng.normal(0, 0.001, (rows, instruments)), axis=0))
    bars["close"] = close.astype(np.int64)
    bars["open"] = np.vstack([bars["close"][:1], bars["close"][:-1]])
    bars["high"] = np.maximum(bars["open"], bars["close"]) + 50
    bars["low"] = np.minimum(bars["open"], bars["close"]) - 50
    bars["volume"], bars["kind"], bars["instrument"] = 10**9, Kind.BAR, np.arange(instruments)
    bars["ts_event"] = ((1 + np.arange(rows)) * 5 * MINUTE_NS)[:, None]
    bars["ts_known"] = bars["ts_event"] + 1
    flat = bars.reshape(-1)
    made = np.zeros(len(flat), PREDICTION)
    made["kind"], made["instrument"], made["sigma_ppm"] = Kind.PREDICTION, flat["instrument"], 2_000
    made["ts_event"], made["ts_known"], made["bar_ts"] = flat["ts_event"], flat["ts_known"] + 1, flat["ts_event"]
    made["edge_ppm"] = rng.integers(-4_000, 4_000, len(flat))
    made["p_up_ppm"], made["p_down_ppm"] = 600_000, 200_000
    return flat, made


def write(run: Run, header: dict, n_bars: int) -> int:
    """Play a session into a journal as ``runner.session`` does, without model and clock; how many records."""
    config, strategy = header_core(header)
    state, venue = engine.new_state(config), SimVenue(config)
    bars, predictions = market(n_bars, len(header["instruments"]))
    out = np.zeros(4 * engine.OUT_PER_INPUT, RECORD)
    policy = Policy(segment_records=2 * n_bars)
    with Journal(run.journal, header, header_ledger(header), Failpoints(), policy) as journal:
        journal.append(session_record(header))
        for row in range(len(bars)):
            events = venue.on_bar(bars[row : row + 1])
            for inputs, record in ((events, bars), (events[:0], predictions)):
                count = 0
                for event in [*(inputs[k : k + 1] for k in range(len(inputs))), record[row : row + 1].view(RECORD)]:
                    count += engine.on_core_record(config, state, event, out[count:], strategy)
                made = out[:count]
                journal.append(inputs, record[row : row + 1], made)
                intents = np.flatnonzero(made["kind"] == Kind.INTENT)
                if len(intents):
                    journal.commit()
                for k in intents:
                    venue.submit(made[k : k + 1])
            if journal.snapshot_due:
                journal.snapshot({"state": state.tobytes(), "venue": venue.dump()})
        journal.commit()
        return journal.count


def best(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The shortest of several runs, in seconds."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


def hashed(run: Run) -> None:
    with open_run(run) as reader:
        for segment in reader.kept:
            with closing(verified_batches(reader.connection, run.journal, segment)) as batches:
                for _ in batches:
                    pass


def replayed(run: Run) -> None:
    with open_run(run) as reader:
        assert replay_run(reader).difference is None


def recover(run: Run, header: dict) -> None:
    with Journal(run.journal, header, header_ledger(header), Failpoints()) as journal:
        assert journal.resume is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bars", type=int, default=400_000)
    n_bars = parser.parse_args().bars
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header, run = header_of(folder), Run(folder / "home" / "runs" / "bench")
        run.folder.mkdir(parents=True)
        count = write(run, header, n_bars)
        with open_run(run) as reader:
            pieces = list(reader.batches())
            kinds = np.concatenate([piece["kind"] for piece in pieces])
            n_batches = reader.connection.execute("SELECT COUNT(*) FROM batch").fetchone()[0]

        def core() -> None:
            again = Replay(header)
            for piece in pieces:
                assert again.feed(piece) is None

        def laws() -> None:
            watching = Invariants(header)
            for piece in pieces:
                watching.add(piece)
            assert watching.broken == []

        def verified() -> None:
            hashed(run)
            replayed(run)

        core()  # compiles, or loads what was compiled
        result: dict[str, object] = {
            "records": count,
            "batches": n_batches,
            "fills": int((kinds == Kind.FILL).sum()),
            "intents": int((kinds == Kind.INTENT).sum()),
            "core_per_s": round(count / best(core)),
            "hash_per_s": round(count / best(lambda: hashed(run))),
            "verified_per_s": round(count / best(verified)),
            "laws_per_s": round(count / best(laws)),
            "recovery_s": round(best(lambda: recover(run, header)), 3),
            "judge_s": round(best(lambda: judge(run, folder, model=False, bundle=None), 1), 2),
        }
        assert compress(run, keep=0)
        result["archived_per_s"] = round(count / best(verified, 1))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
