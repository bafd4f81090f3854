"""A paper session on books, journal on: ``python -m tests.benchmarks.bench_book_session [--rows 300000]``.

One JSON line per strategy on the built-in books: ``quiet`` never sends an order (what a row costs), ``mm1`` quotes on
both sides, one durable commit for each instant with an order. ``rows_per_s``: rows of the tape, as ``--speed max``
plays them; ``records_per_s``: records journaled. ``instant_us``: one instant at a time, as a live feed brings them, by
whether it sent an order. ``anonymous_mb``: memory of the process that is no file's, after a tenth and at the end.
"""

import argparse
import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from core.records import RECORD
from core.settings import Strategy, Trading
from feeds import book_market
from runner.book_session import BookSession
from runner.clock import Latency, Pacer
from runner.failpoints import Failpoints
from runner.home import Run
from runner.journal import BOOK_SNAPSHOT_RECORDS, Journal, Policy
from runner.plan import header_ledger
from tests.runner.book_tapes import MAKER, Place, make_place

DAYS_MAX = 30
MARKET = book_market.BUILTIN_BOOK.select(("BTC-USDT", "SOL-USDT"))
TIMED = msgspec.structs.replace(MAKER.execution, decision_clock="timer")
STRATEGIES = {
    "quiet": msgspec.structs.replace(MAKER, execution=TIMED, strategy=Strategy(kind="edge_ticks")),
    "mm1": msgspec.structs.replace(MAKER, execution=TIMED),
}


def tape_rows(rows: int) -> np.ndarray:
    """The first ``rows`` rows of the market after the night."""
    parts, count = [np.zeros(0, RECORD)], 0
    for chunk in book_market.market(MARKET, days=DAYS_MAX, seed=3):
        parts.append(chunk)
        count += len(chunk)
        if count > rows + 2:
            break
    return np.concatenate(parts)[2 : rows + 2]


def anonymous_mb() -> float:
    """Memory of this process that no file stands behind."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return round(int(found[1]) / 1024, 1) if found else 0.0


def played(place: Place, name: str, **options: Any) -> tuple[float, int, dict[str, Any], list[float]]:
    """Seconds, records journaled, latencies of instants in us, and memory on the way."""
    plan, _ = place.plan()
    run = Run(place.home.folder / "runs" / name)
    run.folder.mkdir(parents=True)
    policy, memory, done, sent = Policy(snapshot_records=BOOK_SNAPSHOT_RECORDS), [], 0, 0
    latency = {"quiet": Latency(), "sent": Latency()}
    with Journal(run.journal, plan.header, header_ledger(plan.header), Failpoints(), policy) as journal:
        session = BookSession(plan, journal, pacer=Pacer(None), failpoints=Failpoints(), **options)
        began = before = time.perf_counter_ns()
        for rows in session.play():
            now, done = time.perf_counter_ns(), done + len(rows)
            requests = int(session.venue.exchange["request_tail"][0])
            latency["quiet" if requests == sent else "sent"].add(now - before)
            sent = requests
            if not memory and done * 10 >= (plan.feed.rows or 0):
                memory.append(anonymous_mb())
            before = time.perf_counter_ns()
        seconds = (time.perf_counter_ns() - began) / 1e9
        memory.append(anonymous_mb())
        return seconds, journal.count, {name: item.as_json() for name, item in latency.items()}, memory


def measure(folder: Path, name: str, trading: Trading, rows: np.ndarray) -> dict[str, Any]:
    """Both ways of playing ``rows``."""
    place = make_place(folder / name, [rows], instruments=MARKET.instruments(), trading=trading)
    played(place, "warm")
    seconds, records, _, memory = played(place, "fast")
    _, _, latency, _ = played(place, "instants", by_instant=True)
    return {
        "strategy": name,
        "rows": len(rows),
        "records": records,
        "rows_per_s": round(len(rows) / seconds),
        "records_per_s": round(records / seconds),
        "instant_us": latency,
        "anonymous_mb": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=300_000)
    rows = tape_rows(parser.parse_args().rows)
    with tempfile.TemporaryDirectory() as folder:
        for name, trading in STRATEGIES.items():
            (Path(folder) / name).mkdir()
            print(json.dumps(measure(Path(folder), name, trading, rows)), flush=True)


if __name__ == "__main__":
    main()
