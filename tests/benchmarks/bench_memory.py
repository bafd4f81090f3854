"""Memory of ingest and featurize on tapes of three sizes, the largest of them above the memory it may take.

    python -m tests.benchmarks.bench_memory [--days 1 4 10] [--keep FOLDER]

The built-in market of order books, all its instruments. Each stage is a process of its own, as under `dvc repro`. Two
figures: the most memory a stage has allocated itself (anonymous), which is what must not grow, and its largest resident
size, which counts the pages of mapped files that the kernel keeps while nobody else needs them. The exponent is the
slope of log memory over log records, 0 for memory that does not grow. A stage may allocate 1 GB: RLIMIT_DATA ends it
beyond that.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from feeds.tape import Tape
from tests.pipelines import reduced

STAGES = ("ingest", "featurize")
ALLOWED_BYTES = 1_000_000_000
SETTINGS = {
    "data.source": "synthetic_book",
    "data.path": "data/markets/builtin_book.yaml",
    "data.market": "data/markets/builtin_book.yaml",
    "workers": 1,
}


def peaks_mb(process: subprocess.Popen[bytes]) -> tuple[float, float]:
    """The most anonymous and the most resident memory of ``process`` until it ends, MB."""
    most = {"RssAnon": 0, "VmHWM": 0}
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            break
        for name, _, value in (line.partition(":") for line in lines):
            if name in most:
                most[name] = max(most[name], int(value.split()[0]))
        time.sleep(0.01)
    return most["RssAnon"] / 1024, most["VmHWM"] / 1024


def limit() -> None:
    """No more private writable memory than allowed; called in the child."""
    resource.setrlimit(resource.RLIMIT_DATA, (ALLOWED_BYTES, ALLOWED_BYTES))


def measure(checkout: reduced.Checkout, stage: str) -> tuple[float, float, float]:
    """Wall seconds, and both peaks in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"pipelines.{stage}"],
        cwd=checkout.path,
        env=checkout.env,
        preexec_fn=limit,
        stdout=subprocess.DEVNULL,
    )
    anonymous, resident = peaks_mb(process)
    if process.wait():
        raise SystemExit(f"stage {stage} ended with {process.returncode} in {checkout.path}")
    return time.perf_counter() - begun, anonymous, resident


def main() -> None:
    """Run the sizes, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, nargs="+", default=[1, 4, 10], help="lengths of the market")
    days, found = parser.parse_args().days, []
    print(f"{'days':>6}{'records':>14}{'tape MB':>10}  {'stage':12}{'s':>8}{'allocated MB':>14}{'resident MB':>13}")
    for length in days:
        with tempfile.TemporaryDirectory() as folder:
            checkout = reduced.make(Path(folder) / "checkout", SETTINGS | {"data.days": length})
            for stage in STAGES:
                seconds, anonymous, resident = measure(checkout, stage)
                records = len(Tape.open(checkout.path / "artifacts/data/market.tape", verify=False).records)
                found.append({"days": length, "records": records, "stage": stage, "s": seconds, "mb": anonymous})
                row = f"{length:6}{records:14,}{records * 64 / 1e6:10,.0f}  {stage:12}{seconds:8.1f}"
                print(f"{row}{anonymous:14.0f}{resident:13.0f}", flush=True)
    for stage in STAGES:
        own = [item for item in found if item["stage"] == stage]
        slope = np.polyfit(*(np.log([item[name] for item in own]) for name in ("records", "mb")), 1)[0]
        print(f"{stage}: memory grows with records to the power of {slope:.3f}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
