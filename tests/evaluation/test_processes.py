"""Work on forked processes: each piece once and in its place; what fails is told; nothing is left running."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadInput, BrokenInvariant
from evaluation.processes import numbered

ROOT = Path(__file__).parents[2]


def quiet(done: int) -> None:
    """Hear a report and say nothing."""


@settings(max_examples=20, deadline=None)
@given(count=st.integers(0, 40), jobs=st.integers(1, 5))
def test_every_piece_is_done_once_and_lies_in_its_place(count: int, jobs: int) -> None:
    heard: list[int] = []
    assert numbered(count, jobs, lambda index: index * index, heard.append, "squares") == [k * k for k in range(count)]
    assert sum(heard) == count


def test_the_pieces_are_spread_over_as_many_processes_as_asked(tmp_path: Path) -> None:
    def work(index: int) -> int:
        (tmp_path / f"{index}").touch()
        _wait_until(lambda: len(list(tmp_path.iterdir())) == 3)  # each of three is under way at the same time
        return os.getpid()

    assert len(Counter(numbered(3, 3, work, quiet, "pieces"))) == 3


def test_an_error_is_raised_with_the_place_in_the_worker() -> None:
    def work(index: int) -> int:
        if index == 3:
            raise BrokenInvariant("three")
        time.sleep(0.01)
        return index

    with pytest.raises(BrokenInvariant, match="three") as raised:
        numbered(1000, 2, work, quiet, "pieces")
    assert 'raise BrokenInvariant("three")' in raised.value.__notes__[0]
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_told_with_the_remedy() -> None:
    def work(index: int) -> int:
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return index

    with pytest.raises(
        BadInput, match=r"pieces: a worker process was killed \(exit code -9\), .* fewer --jobs \(now 2\)"
    ):
        numbered(10, 2, work, quiet, "pieces")
    assert not multiprocessing.active_children()


def test_an_interrupted_parent_leaves_no_worker() -> None:
    def interrupt(done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        numbered(2, 2, lambda index: time.sleep(3600), interrupt, "pieces")
    assert not multiprocessing.active_children()


ENDLESS = """
import os, pathlib, sys, time
from evaluation.processes import numbered

def work(index):
    (pathlib.Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(0.01)

numbered(10**6, 2, work, lambda done: None, "pieces")
"""


def test_workers_whose_parent_is_gone_end(tmp_path: Path) -> None:
    """A process of its own: forked from here, a child that failed would go on as a second copy of the tests."""
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], cwd=ROOT) as parent:
        try:
            _wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        finally:
            parent.kill()
    _wait_until(lambda: not any(_runs(int(path.name)) for path in tmp_path.iterdir()))


def _wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
