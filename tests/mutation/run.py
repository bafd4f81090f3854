"""Run mutants: each in a forked process against the tests that run its lines, the likeliest killers first.

A pytest plugin. Once the tests are collected it runs them as they are, notes which lines of the mutated modules each
one runs and how long it takes, and then forks once per mutant: the child puts the fault into the loaded module, runs
those tests until one fails, and ends. A fork costs milliseconds, so a thousand mutants are a matter of minutes.
"""

import ast
import functools
import gc
import importlib
import os
import random
import select
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import ROOT, Mutant

TIMEOUT_MORE = 5.0  # seconds of processor time a test may take beyond five times what it takes without a mutant
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"


@dataclass(frozen=True)
class Outcome:
    """What became of one mutant, and by which test."""

    mutant: Mutant
    result: str
    test: str = ""


@dataclass
class Baseline:
    """One test as it is without a mutant."""

    item: pytest.Function
    seconds: float
    lines: set[tuple[str, int]]  # (module, line) it runs


@dataclass
class Mutation:
    """The plugin: judges ``mutants``; ``outcomes`` holds the results when pytest has ended."""

    mutants: list[Mutant]
    jobs: int = 2
    longest: float = float("inf")  # seconds; longer tests judge no mutant
    outcomes: list[Outcome] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # tests that fail without any mutant
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)  # by function and test

    def pytest_configure(self) -> None:
        """Hypothesis tries the same examples for every mutant, and does not shrink what it finds."""
        from hypothesis import HealthCheck, Phase, settings

        few = (Phase.explicit, Phase.generate)
        checks = list(HealthCheck)
        settings.register_profile(
            "mutation", derandomize=True, database=None, deadline=None, phases=few, suppress_health_check=checks
        )
        settings.load_profile("mutation")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Instead of pytest's own loop over the collected tests."""
        modules = sorted({mutant.module for mutant in self.mutants})
        tests = [_baseline(item, modules) for item in session.items if isinstance(item, pytest.Function)]
        self.broken = [test.item.nodeid for test in tests if test.seconds < 0]
        if self.broken:
            return True
        used = [test for test in tests if test.seconds <= self.longest]
        _say(f"{len(used)} of {len(tests)} tests in {sum(test.seconds for test in used):.0f} s")
        waiting, running = list(reversed(self.mutants)), dict[int, tuple[int, Mutant]]()
        gc.freeze()  # or every child would copy what its collector looks at
        while waiting or running:
            while waiting and len(running) < self.jobs:
                mutant = waiting.pop()
                pid, pipe = _start(mutant, self._order(mutant, used))
                running[pid] = pipe, mutant
            self._collect(running)
        return True

    def _order(self, mutant: Mutant, tests: list[Baseline]) -> list[Baseline]:
        """The tests that may notice ``mutant``: the quick ones first, and those that killed in this function before."""
        lines = {(mutant.module, line) for line in mutant.lines}
        reached = [test for test in tests if not mutant.function or lines & test.lines]
        return sorted(reached, key=lambda test: test.seconds / (1 + 20 * self.kills[mutant.function, test.item.nodeid]))

    def _collect(self, running: dict[int, tuple[int, Mutant]]) -> None:
        """Wait for one child and note what it found."""
        ready = {pipe for pipe, _ in running.values()}
        select.select(list(ready), [], [])
        for pid, (pipe, mutant) in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if not done:
                continue
            test = os.read(pipe, 4096).decode()
            os.close(pipe)
            del running[pid]
            timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
            result = TIMED_OUT if timed_out else (KILLED if test or status else SURVIVED)
            self.kills[mutant.function, test] += 1
            self.outcomes.append(Outcome(mutant, result, test))
            if result == SURVIVED:
                _say(f"survived: {mutant.name} (line {mutant.line})")
            if len(self.outcomes) % 50 == 0:
                _say(f"{len(self.outcomes)} of {len(self.mutants)}")


def _baseline(item: pytest.Function, modules: list[str]) -> Baseline:
    """Run ``item`` and note what it runs; below 0 seconds if it fails."""
    files = {os.path.realpath(module.__file__ or ""): name for name in modules for module in [_module(name)]}
    lines: set[tuple[str, int]] = set()
    unseen: dict[CodeType, set[int]] = {}

    def trace(frame: Any, _: str, __: object) -> Callable[..., object] | None:
        code = frame.f_code
        if code.co_filename not in files:
            return None
        left = unseen.setdefault(code, {line for _, _, line in code.co_lines() if line})
        return note if left else None

    def note(frame: Any, event: str, _: object) -> Callable[..., object]:
        if event == "line":
            unseen[frame.f_code].discard(frame.f_lineno)
            lines.add((files[frame.f_code.co_filename], frame.f_lineno))
        return note

    started = time.process_time()
    sys.settrace(trace)
    reports = runtestprotocol(item, log=False, nextitem=None)
    sys.settrace(None)
    failed = any(report.failed for report in reports)
    return Baseline(item, -1 if failed else time.process_time() - started, lines)


def _start(mutant: Mutant, tests: list[Baseline]) -> tuple[int, int]:
    """A child that judges ``mutant``, and the pipe on which it names the test that failed."""
    importers(mutant.module)  # looked up once, not in every child
    read, write = os.pipe()
    pid = os.fork()
    if pid:
        os.close(write)
        return pid, read
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        os.write(write, _first_failure(mutant, tests).encode())
    finally:
        os._exit(0)


def _first_failure(mutant: Mutant, tests: list[Baseline]) -> str:
    """The first of ``tests`` that fails with ``mutant`` put in; empty if none does."""
    random.seed(0)
    try:
        put_in(mutant)
    except Exception:
        return "(the module cannot be loaded)"
    for test in tests:
        signal.setitimer(signal.ITIMER_PROF, TIMEOUT_MORE + 5 * test.seconds)
        test.item._initrequest()
        if any(report.failed for report in runtestprotocol(test.item, log=False, nextitem=None)):
            return test.item.nodeid
    return ""


def put_in(mutant: Mutant) -> None:
    """Change the loaded module, also for those who have imported its functions, tables and numbers by name."""
    module = _module(mutant.module)
    made = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(mutant.tree, module.__file__ or mutant.module, "exec"), made)  # the module's own code, with one fault
    for name, new in made.items():
        old = module.__dict__.get(name)
        if isinstance(new, FunctionType) and isinstance(old, FunctionType) and old.__module__ == module.__name__:
            old.__code__ = new.__code__
        elif isinstance(new, np.ndarray) and isinstance(old, np.ndarray):
            if old.shape != new.shape:
                raise ValueError(f"{name} has another shape")
            old[...] = new
        elif isinstance(new, int | tuple | dict) and name != "__builtins__":
            module.__dict__[name] = new
            for other, local in importers(mutant.module).get(name, []):
                other.__dict__[local] = new


@functools.cache
def importers(name: str) -> dict[str, list[tuple[ModuleType, str]]]:
    """Who imports what from ``core/<name>.py`` by name: (module, its name for it) of every loaded module of ours."""
    found: dict[str, list[tuple[ModuleType, str]]] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or not file.endswith(".py") or not Path(file).is_relative_to(ROOT) or "site-packages" in file:
            continue
        for node in ast.walk(ast.parse(Path(file).read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == f"core.{name}":
                for alias in node.names:
                    found.setdefault(alias.name, []).append((module, alias.asname or alias.name))
    return found


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"core.{name}")


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())
