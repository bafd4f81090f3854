"""This engine beside others on the same work: ``python -m tests.benchmarks.bench_peers [--only sma] [--repeats 3]``.

Every round runs each engine once, in a process of its own and one after the other, so that what else the machine does
meets all of them; a ratio is of two runs of one round. An engine times its own run, without loading its input. A
figure counts only if the engine's fills and profit are the true ones; nautilus_trader has no queue position, so on MM-1
only its rate compares.

Environment: ``PEERS_DIR`` (the peers' scripts; default ../shared/peers), ``PEERS_VENVS`` (a folder of virtual
environments, one per peer) and ``PEERS_WORK`` (prepared inputs), by default ``venvs`` and ``work`` inside it. A README
beside the scripts says how to make both.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PEERS_DIR = Path(os.environ.get("PEERS_DIR") or ROOT.parent / "shared/peers")
PEERS_VENVS = Path(os.environ.get("PEERS_VENVS") or PEERS_DIR / "venvs")
PEERS_WORK = Path(os.environ.get("PEERS_WORK") or PEERS_DIR / "work")
OURS = "this engine"
SESSIONS = 3  # of ours in one process: the first from cache, then the better of two, as hftbacktest's script does


@dataclass(frozen=True)
class Job:
    """One engine on one piece of work. ``venv`` "": ours."""

    engine: str
    venv: str
    script: str
    least: float = 0  # how many times faster ours has to be
    is_exact: bool = True  # its rules are the work's own


@dataclass(frozen=True)
class Work:
    """Jobs with one input and one true result."""

    group: str
    name: str
    fills: int
    pnl: float
    jobs: tuple[Job, ...]


WORKS = (
    Work(
        "sma",
        "SMA, 520,499 bars",
        7_593,
        -60_524.46192,
        (
            Job(OURS, "", f"sma --tape {{work}}/bars.npz --repeats {SESSIONS}"),
            Job("vectorbt", "vectorbt", "bars_vectorbt.py", 8),
            Job("backtesting.py", "backtesting", "bars_backtesting.py", 200),
            Job("nautilus_trader", "nautilus_trader", "bars_nautilus.py --fill next_open", 200),
            Job("freqtrade", "freqtrade", "bars_freqtrade.py", 200),
        ),
    ),
    Work(
        "mm1",
        "MM-1, Binance x20, timer",
        8_955,
        -158.984474,
        (
            Job(OURS, "", f"mm1 --tape {{work}}/tape_binancex.npy --repeats {SESSIONS}"),
            Job("hftbacktest, ROI vector", "hftbacktest", "lob_hftbacktest.py --tape binancex --depth roivec", 2),
            Job("hftbacktest, hash map", "hftbacktest", "lob_hftbacktest.py --tape binancex", 2),
            Job("nautilus_trader, single tape", "nautilus_trader", "lob_nautilus.py", 30, is_exact=False),
        ),
    ),
    Work(
        "mm1",
        "MM-1, Binance x20, event",
        18_955,
        -360.765960,
        (
            Job(OURS, "", f"mm1 --tape {{work}}/tape_binancex.npy --clock event --repeats {SESSIONS}"),
            Job(
                "hftbacktest, ROI vector",
                "hftbacktest",
                "lob_hftbacktest.py --tape binancex --clock event --depth roivec",
                2,
            ),
        ),
    ),
    Work(
        "mm1",
        "MM-1, LOBSTER x5, timer",
        4_600,
        -24_497.43,
        (
            Job(OURS, "", f"mm1 --tape {{work}}/tape_lobsterx.npy --repeats {SESSIONS}"),
            Job("hftbacktest, hash map", "hftbacktest", "lob_hftbacktest.py --tape lobsterx"),
        ),
    ),
)


def command(job: Job) -> tuple[list[str], Path]:
    """The process of ``job`` and the folder it runs in."""
    if not job.venv:
        return [sys.executable, "-m", "evaluation", "peer", *job.script.format(work=PEERS_WORK).split()], ROOT
    return [str(PEERS_VENVS / job.venv / "bin/python"), *job.script.split()], PEERS_DIR


def missing(work: Work) -> Iterator[str]:
    """Why some of ``work`` cannot be run here; without its input nothing of it can."""
    prepared = Path(work.jobs[0].script.format(work=PEERS_WORK).split()[2])
    if not prepared.exists():
        yield f"{OURS}: {prepared.name} is not in PEERS_WORK"
    for job in work.jobs:
        python, script = PEERS_VENVS / job.venv / "bin/python", PEERS_DIR / job.script.split()[0]
        if job.venv and not (python.exists() and script.exists()):
            yield f"{job.engine}: {job.venv} is not in PEERS_VENVS, or {script.name} not in PEERS_DIR"


def measure(job: Job, work: Work) -> dict[str, Any] | str:
    """The engine's JSON line, or what went wrong."""
    arguments, folder = command(job)
    environment = os.environ | {"PEERS_WORK": str(PEERS_WORK), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        return f"exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if job.is_exact and (figures["fills"] != work.fills or abs(figures["pnl"] - work.pnl) > 0.005):
        return f"another result: {figures['fills']} fills, PnL {figures['pnl']}"
    figures["rate"] = figures.get("bars_per_s") or figures["rows_per_s"]
    walls = ("wall_from_start_s", "wall_from_start_to_first_result_s")
    figures["wall"] = next(figures[name] for name in walls if name in figures)
    return figures


def compare(work: Work, repeats: int) -> list[tuple[str, ...]]:
    """One row per engine: rate, ratio, seconds to the first result, memory; medians with ranges."""
    absent = {line.split(":")[0] for line in missing(work)}
    if OURS in absent:
        return [(work.name, job.engine, "-", "-", "-", "-", "-", "no prepared input") for job in work.jobs]
    taken: dict[str, list[dict[str, Any] | str]] = {job.engine: [] for job in work.jobs if job.engine not in absent}
    for number in range(repeats):
        for job in work.jobs:
            if job.engine in taken:
                taken[job.engine].append(measure(job, work))
                print(f"{work.name}, round {number + 1}: {job.engine}", file=sys.stderr, flush=True)
    return [row(work, job, taken) for job in work.jobs if job.engine in taken]


def row(work: Work, job: Job, taken: dict[str, list[dict[str, Any] | str]]) -> tuple[str, ...]:
    """One engine's line of the table."""
    pairs = list(zip(taken[OURS], taken[job.engine], strict=True))
    whole = [(ours, theirs) for ours, theirs in pairs if isinstance(ours, dict) and isinstance(theirs, dict)]
    if len(whole) < len(pairs):
        failed = next((item for pair in pairs for item in pair if isinstance(item, str)), "")
        return (work.name, job.engine, "-", "-", "-", "-", "-", failed)
    theirs = [pair[1] for pair in whole]
    ratios = [pair[0]["rate"] / pair[1]["rate"] for pair in whole]
    ratio = "" if job.engine == OURS else spread(ratios, "{:.1f}")
    least = f"{job.least:g}" if job.least else ""
    verdict = "" if not job.least else ("met" if statistics.median(ratios) >= job.least else "missed")
    rate = spread([item["rate"] / 1e6 for item in theirs], "{:.3g}")
    wall = spread([item["wall"] for item in theirs], "{:.1f}")
    memory = spread([item["peak_rss_mb"] for item in theirs], "{:.0f}")
    return (
        work.name,
        job.engine,
        rate,
        ratio,
        least,
        wall,
        memory,
        verdict if job.is_exact else f"{verdict}, own fills",
    )


def spread(values: list[float], form: str) -> str:
    """Median, and the range in brackets if there is one to speak of."""
    middle, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low}-{high})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="sma,mm1", help="groups of work, separated by commas")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; a table's figures are their medians")
    arguments = parser.parse_args()
    groups = arguments.only.split(",")
    if unknown := set(groups) - {work.group for work in WORKS}:
        parser.error(f"--only names {', '.join(sorted(unknown))}; there is sma, mm1")
    works = [work for work in WORKS if work.group in groups]
    for line in sorted({line for work in works for line in missing(work)}):
        print(f"missing: {line}", file=sys.stderr)
    print("| Work | Engine | Million rows/s | Ours is faster by | Needed | First result s | Peak MB | |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for work in works:
        for line in compare(work, arguments.repeats):
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    main()
