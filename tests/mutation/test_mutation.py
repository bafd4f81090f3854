"""The mutation command itself: a fault reaches everyone who holds what it changes, and no fault is no kill."""

import os
import subprocess
import sys

import pytest

from tests.mutation.mutants import ROOT, mutants

# Run in a process of its own: a mutant stays in.
PUT_IN = """
import ast, sys
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.run import put_in
from core import limits, config, orders, risk
module, change = sys.argv[1:]
chosen = [mutant for mutant in mutants(module) if mutant.name == change]
if change == "nothing":
    chosen = [Mutant(module, "", range(0), change, ast.parse(open(f"core/{module}.py").read()))]
before = limits.TIME_NS_MAX, config.TIME_NS_MAX, orders.AFTER.copy(), risk.start.__code__
put_in(chosen[0])
print(config.TIME_NS_MAX - before[1], limits.TIME_NS_MAX - before[0], int((orders.AFTER != before[2]).sum()))
"""


def change_of(module: str, change: str) -> str:
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PUT_IN, module, change], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_fault_in_a_number_reaches_who_imported_it_by_name() -> None:
    assert change_of("limits", "limits.(module): 17 -> 16") == f"{10**16 - 10**17} {10**16 - 10**17} 0"


def test_a_fault_in_a_table_changes_the_table() -> None:
    assert change_of("orders", "orders.(module): {S.REJECTED: S.REJECTED} -> without S.REJECTED") == "0 0 1"


@pytest.mark.parametrize("module", ["limits", "orders"])
def test_the_module_as_it_is_changes_nothing(module: str) -> None:
    assert change_of(module, "nothing") == "0 0 0"


def test_mutants_have_names_of_their_own_and_the_lines_of_their_statement() -> None:
    every = mutants("risk")
    assert len({mutant.name for mutant in every}) == len(every)
    source = (ROOT / "core" / "risk.py").read_text().splitlines()
    (chosen,) = [mutant for mutant in every if mutant.name == "risk.drawdown_ppm: equity >= peak -> equity > peak"]
    assert len(chosen.lines) == 1 and "0 if equity >= peak" in source[chosen.line - 1]
