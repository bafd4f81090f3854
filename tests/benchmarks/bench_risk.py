"""What risk costs: work SMA and MM-1 with the chain and without: ``python -m tests.benchmarks.bench_risk --repeats 5``.

Without means a copy of the packages in a temporary folder whose ``core.rules.refusal`` approves everything and records
nothing; the orders and fills are the same, since no limit binds in either. Rounds alternate, so that what else the
machine does meets both. Needs the prepared inputs of the peers (``PEERS_WORK``, ``tests.benchmarks.bench_peers``).
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks.bench_peers import PEERS_WORK, ROOT

PACKAGES = ("core", "feeds", "features", "models", "evaluation")
JUDGED = "    first, now = box["
WORKS = {
    "SMA": ("sma", "bars.npz", "bars_per_s"),
    "MM-1, Binance x20": ("mm1", "tape_binancex.npy", "rows_per_s"),
}


def without_chain(folder: Path) -> Path:
    """A copy of the program in ``folder`` in which every order is approved."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    rules = folder / "core/rules.py"
    source = rules.read_text()
    if source.count(JUDGED) != 1:
        raise SystemExit(f"{rules}: the chain does not begin with {JUDGED!r} any more: adapt this benchmark")
    rules.write_text(source.replace(JUDGED, "    return 0\n" + JUDGED))
    return folder


def played(folder: Path, work: str, tape: str) -> dict[str, Any]:
    """The JSON line of one process of the program in ``folder``."""
    command = [sys.executable, "-m", "evaluation", "peer", work, "--tape", str(PEERS_WORK / tape), "--repeats", "5"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="rounds, each one process with and one without")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        bare = without_chain(Path(name))
        for title, (work, tape, rate) in WORKS.items():
            if not (PEERS_WORK / tape).exists():
                sys.stdout.write(f"{title}: {tape} is not in PEERS_WORK\n")
                continue
            pairs = [(played(ROOT, work, tape), played(bare, work, tape)) for _ in range(options.repeats + 1)][1:]
            ratios = sorted(checked["run_s"] / free["run_s"] for checked, free in pairs)
            rates = [statistics.median(pair[k][rate] for pair in pairs) for k in range(2)]
            same = all(checked["fills"] == free["fills"] and checked["pnl"] == free["pnl"] for checked, free in pairs)
            sys.stdout.write(
                f"{title}: {rates[0] / 1e6:.1f} M/s with the chain, {rates[1] / 1e6:.1f} M/s without, time x "
                f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); the same fills: {same}\n"
            )


if __name__ == "__main__":
    main()
