"""Numbered pieces of work on forked processes: what was opened and loaded before the fork is there for all of them.

A worker takes the next number as soon as it is done with one, so no process waits for another until the last piece.
Nothing is imported, compiled or opened twice; of each piece only its result travels, through the worker's own pipe.

Workers never see Ctrl-C, which reaches every process of a terminal: the parent hears it and kills them. One whose
parent is gone ends at its next result. Fork before threads are started: a child has only the thread that forked.
"""

import multiprocessing
import os
import signal
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Final, TypeVar

from core.errors import BadInput

Result = TypeVar("Result")

HEARD_S: Final = 0.1  # the longest that ``report`` hears nothing
_FORK: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class _Failed:
    """What a worker sends in place of a result."""

    error: BaseException


def numbered(
    count: int, jobs: int, work: Callable[[int], Result], report: Callable[[int], None], what: str
) -> list[Result]:
    """``work`` of 0 to ``count`` - 1, in that order, on ``jobs`` processes; ``report`` hears how many more are done.

    An error of ``work`` is raised here, with the worker's traceback as a note. Whatever is raised, no worker is left.
    Raises BadInput naming ``what`` if a worker was killed, for which memory is the usual reason.
    """
    following = _FORK.Value("q", 0)
    workers: list[ForkProcess] = []
    readers: list[Connection] = []
    done: dict[int, Result] = {}
    try:
        _fork(min(jobs, count), (count, following, work), workers, readers)
        left = dict(zip(readers, workers, strict=True))
        while left:
            before = len(done)
            heard = wait(list(left), HEARD_S)
            for reader in [reader for reader in left if reader in heard]:
                try:
                    index, result = reader.recv()
                except (EOFError, OSError):  # OSError: within a result
                    _require_ended(left.pop(reader), what, jobs)
                    continue
                if isinstance(result, _Failed):
                    raise result.error
                done[index] = result
            report(len(done) - before)
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()
        for reader in readers:
            reader.close()
    return [done[index] for index in range(count)]


def _fork(jobs: int, task: tuple[Any, ...], workers: list[ForkProcess], readers: list[Connection]) -> None:
    """Start ``jobs`` workers with SIGINT blocked, which they inherit: none is ever interrupted half started."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(jobs):
            reader, writer = _FORK.Pipe(duplex=False)
            readers.append(reader)
            worker = _FORK.Process(target=_work, args=(*task, writer, tuple(readers)), daemon=True)
            with warnings.catch_warnings():  # Python 3.12 warns of threads; the idle ones of a BLAS hold nothing
                warnings.simplefilter("ignore", DeprecationWarning)
                worker.start()
            writer.close()  # the worker's alone: its end is the end of the pipe
            workers.append(worker)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _work(
    count: int, following: Any, work: Callable[[int], Any], writer: Connection, readers: tuple[Connection, ...]
) -> None:
    """A worker: the next number, its result, until there is none or nobody listens."""
    for reader in readers:
        reader.close()  # the parent's alone: with it a pipe has no reader any more
    with suppress(BrokenPipeError):
        while (index := _take(following)) < count:
            try:
                writer.send((index, work(index)))
            except BrokenPipeError:
                raise
            except BaseException as error:
                error.add_note(f"in worker {os.getpid()}:\n{traceback.format_exc()}")
                writer.send((index, _Failed(error)))


def _take(following: Any) -> int:
    with following.get_lock():
        following.value += 1
        return int(following.value) - 1


def _require_ended(worker: ForkProcess, what: str, jobs: int) -> None:
    worker.join()
    if worker.exitcode != 0:
        raise BadInput(
            f"{what}: a worker process was killed (exit code {worker.exitcode}), probably for memory; give fewer "
            f"--jobs (now {jobs})"
        )
