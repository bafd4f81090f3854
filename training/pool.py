"""Folds on several processes, with one progress bar fed from all of them. Results never depend on the worker count."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from queue import Empty
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from core.errors import BadInput

Task = TypeVar("Task")
Result = TypeVar("Result")
Report = Callable[[], None]  # a task calls it once per finished step

_queue: Any = None  # in a worker: where it reports; a queue can only be inherited, so it arrives by the initialiser


def run_tasks(
    function: Callable[[Task, Report], Result], tasks: Sequence[Task], *, steps: int, workers: int, title: str
) -> list[Result]:
    """``[function(task, report) for task in tasks]`` on ``workers`` processes, in the order of ``tasks``.

    ``steps`` is how often each task calls ``report``. The first exception of a task is raised here and cancels the
    tasks not yet begun. Raises BadInput if a worker was killed, for which memory is the usual reason.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(title, total=steps * len(tasks))
        if workers == 1 or len(tasks) == 1:
            return [function(task, lambda: progress.advance(bar)) for task in tasks]
        # Forking this process would copy the locks of threads that the copy does not have; a server that has only
        # imported the task's module is forked instead, so that no worker imports it again.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([function.__module__])
        queue = context.Queue()
        pool = ProcessPoolExecutor(min(workers, len(tasks)), context, initializer=_initialise, initargs=(queue,))
        with pool:
            futures = [pool.submit(_run, function, task) for task in tasks]
            try:
                _follow(futures, queue, lambda: progress.advance(bar))
            except BrokenProcessPool:
                raise BadInput(
                    f"{title}: a worker process was killed, probably for memory; lower workers (now {workers}) or the "
                    "size of the task"
                ) from None
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            return [future.result() for future in futures]


def _follow(futures: list[Future], queue: Any, report: Report) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()  # raises what the task raised
        try:
            while True:
                queue.get_nowait()
                report()
        except Empty:
            pass


def _initialise(queue: Any) -> None:
    global _queue
    _queue = queue


def _run(function: Callable[[Task, Report], Result], task: Task) -> Result:
    return function(task, lambda: _queue.put(None))
