"""Run mutants: each in a forked process against the tests that call its function, the likeliest killers first.

A pytest plugin. Once the tests are collected it runs them as they are, notes which functions of the mutated modules
each one calls and how long it takes, and then forks once per mutant: the child puts the fault into the loaded module,
runs those tests until one fails, and ends. A fork costs milliseconds, so a thousand mutants are a matter of minutes.
"""

import importlib
import os
import random
import select
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import Mutant

TIMEOUT_MORE = 20.0  # seconds of processor time beyond five times what the tests take
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
    functions: set[tuple[str, str]]  # (module, function) it calls


@dataclass
class Mutation:
    """The plugin: judges ``mutants``; ``outcomes`` holds the results when pytest has ended."""

    mutants: list[Mutant]
    jobs: int = 2
    outcomes: list[Outcome] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # tests that fail without any mutant
    kills: Counter[str] = field(default_factory=Counter)

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
        tests = [self._baseline(item, modules) for item in session.items if isinstance(item, pytest.Function)]
        if self.broken:
            return True
        _say(f"{len(tests)} tests in {sum(test.seconds for test in tests):.0f} s; {len(self.mutants)} mutants")
        waiting, running = list(reversed(self.mutants)), dict[int, tuple[int, Mutant]]()
        while waiting or running:
            while waiting and len(running) < self.jobs:
                mutant = waiting.pop()
                pid, pipe = self._start(mutant, self._order(mutant, tests))
                running[pid] = pipe, mutant
            self._collect(running)
        return True

    def _baseline(self, item: pytest.Function, modules: list[str]) -> Baseline:
        files = {os.path.realpath(_module(name).__file__ or ""): name for name in modules}
        called: set[tuple[str, str]] = set()

        def note(frame: Any, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_filename in files:
                called.add((files[frame.f_code.co_filename], frame.f_code.co_name))

        started = time.process_time()
        sys.setprofile(note)
        reports = runtestprotocol(item, log=False, nextitem=None)
        sys.setprofile(None)
        if any(report.failed for report in reports):
            self.broken.append(item.nodeid)
        return Baseline(item, time.process_time() - started, called)

    def _order(self, mutant: Mutant, tests: list[Baseline]) -> list[Baseline]:
        """The tests that may notice ``mutant``: past killers first, then the quick ones."""
        called = [test for test in tests if not mutant.function or (mutant.module, mutant.function) in test.functions]
        return sorted(called, key=lambda test: (-self.kills[test.item.nodeid], test.seconds))

    def _start(self, mutant: Mutant, tests: list[Baseline]) -> tuple[int, int]:
        read, write = os.pipe()
        pid = os.fork()
        if pid:
            os.close(write)
            return pid, read
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        signal.setitimer(signal.ITIMER_PROF, TIMEOUT_MORE + 5 * sum(test.seconds for test in tests))
        try:
            killer = _first_failure(mutant, tests)
            os.write(write, killer.encode())
        finally:
            os._exit(0)

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
            self.kills[test] += 1
            self.outcomes.append(Outcome(mutant, result, test))
            if result == SURVIVED:
                _say(f"survived: {mutant.name} (line {mutant.line})")
            if len(self.outcomes) % 50 == 0:
                _say(f"{len(self.outcomes)} of {len(self.mutants)}")


def _first_failure(mutant: Mutant, tests: list[Baseline]) -> str:
    """The first of ``tests`` that fails with ``mutant`` put in; empty if none does."""
    random.seed(0)
    try:
        put_in(mutant)
    except Exception:
        return "(the module cannot be loaded)"
    for test in tests:
        test.item._initrequest()
        if any(report.failed for report in runtestprotocol(test.item, log=False, nextitem=None)):
            return test.item.nodeid
    return ""


def put_in(mutant: Mutant) -> None:
    """Change the loaded module, also for those who have imported its functions and tables."""
    module = _module(mutant.module)
    code = compile(mutant.tree, module.__file__ or mutant.module, "exec")
    made = {"__name__": module.__name__, "__file__": module.__file__}
    exec(code, made)  # the module's own code, with one fault
    for name, new in made.items():
        old = module.__dict__.get(name)
        if isinstance(new, FunctionType) and isinstance(old, FunctionType) and old.__module__ == module.__name__:
            if not _same(old.__code__, new.__code__):
                old.__code__ = new.__code__
        elif isinstance(new, np.ndarray) and isinstance(old, np.ndarray):
            if old.shape != new.shape:
                raise ValueError(f"{name} has another shape")
            old[...] = new
        elif isinstance(new, int | tuple | dict) and name != "__builtins__":
            module.__dict__[name] = new


def _same(old: CodeType, new: CodeType) -> bool:
    return old.co_code == new.co_code and old.co_consts == new.co_consts and old.co_names == new.co_names


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"core.{name}")


def _say(text: str) -> None:
    os.write(2, f"{text}\n".encode())
