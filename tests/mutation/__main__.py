"""``python -m tests.mutation --modules risk,orders,portfolio``: which small faults of the core no test notices.

Every mutant of the modules (or a sample) runs against the core's tests without the compiler. What survives is listed;
``argued.toml`` says of those that change no behaviour why. Exit code 10 if fewer than 95 % of a module's mutants were
killed, 30 if a test fails without any mutant.
"""

import argparse
import os
import random
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/core",)
# Those compare with another process, which has no mutant, or play hundreds of thousands of recorded rows.
_APART = ("core_compiled", "models_repeat", "mm1_truth", "sma_truth", "jit", "warm")
# Those are about parts that no order goes through: books, models of a market, files.
_OTHERS = ("book", "canonical", "chance", "exchange_models", "flow", "latency", "plain_yaml", "queue", "records")
LEFT_OUT = tuple(f"tests/core/test_{name}.py" for name in _APART + _OTHERS)
LEAST_KILLED = 0.95
LONGEST = 2.0  # seconds: what only a long test would notice counts as not noticed


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--modules", default="risk,orders,portfolio", help="names below core, with commas")
    parser.add_argument("--sample", type=int, default=0, help="at most so many mutants, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="mutants whose name contains this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tests", default=",".join(TESTS), help="files and folders of tests, with commas")
    parser.add_argument("--longest", type=float, default=LONGEST, help="seconds; longer tests judge no mutant")
    options = parser.parse_args()
    if os.environ.get("NUMBA_DISABLE_JIT") != "1":  # must be known before anything is imported
        os.environ["NUMBA_DISABLE_JIT"] = "1"
        os.execv(sys.executable, [sys.executable, "-m", "tests.mutation", *sys.argv[1:]])
    return judge(options)


def judge(options: argparse.Namespace) -> int:
    """Run what ``options`` ask for and print the results."""
    import pytest  # only now: the compiler is off

    from tests.mutation.mutants import mutants
    from tests.mutation.run import Mutation

    every = [mutant for module in options.modules.split(",") for mutant in mutants(module)]
    chosen = [mutant for mutant in every if options.only in mutant.name]
    if options.sample and options.sample < len(chosen):
        chosen = random.Random(options.seed).sample(chosen, options.sample)
    plugin = Mutation(chosen, jobs=options.jobs, longest=options.longest)
    left_out = [f"--ignore={name}" for name in LEFT_OUT]
    pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", *left_out, *options.tests.split(",")], [plugin])
    if plugin.broken or len(plugin.outcomes) < len(chosen):
        sys.stdout.write("\n".join(["these tests fail without any mutant:", *plugin.broken, ""]))
        return 30
    return report(plugin, options.modules.split(","))


def report(plugin: object, modules: list[str]) -> int:
    """Print the outcomes; the exit code."""
    from tests.mutation.run import KILLED, SURVIVED, TIMED_OUT, Mutation

    assert isinstance(plugin, Mutation)
    argued = tomllib.loads((Path(__file__).parent / "argued.toml").read_text())
    code = 0
    for module in modules:
        outcomes = [outcome for outcome in plugin.outcomes if outcome.mutant.module == module]
        if not outcomes:
            continue
        survived = [outcome.mutant for outcome in outcomes if outcome.result == SURVIVED]
        equal = sum(mutant.name in argued for mutant in survived)
        counts = {kind: sum(outcome.result == kind for outcome in outcomes) for kind in (KILLED, TIMED_OUT)}
        killed = len(outcomes) - len(survived)
        share = killed / len(outcomes)
        code = code if share >= LEAST_KILLED else 10
        sys.stdout.write(
            f"core/{module}.py: {len(outcomes)} mutants, {counts[KILLED]} killed, {counts[TIMED_OUT]} timed out, "
            f"{len(survived)} survived: {100 * share:.1f} % killed, "
            f"{100 * killed / max(1, len(outcomes) - equal):.1f} % without the {equal} argued to change nothing\n"
        )
        for mutant in survived:
            why = argued.get(mutant.name, "no test notices this")
            sys.stdout.write(f"  line {mutant.line}: {mutant.name.split(': ', 1)[1]} in {mutant.function}: {why}\n")
        noticed = {outcome.mutant.name for outcome in outcomes if outcome.result != SURVIVED}
        for name in sorted(noticed & set(argued)):
            sys.stdout.write(f"  argued to be equal, yet killed: {name}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
