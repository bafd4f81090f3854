"""Tasks on processes: results in the order of the tasks, the first failure raised here."""

import time

import pytest

from core.errors import BadInput
from training.pool import Report, run_tasks


def slow_square(number: int, report: Report) -> int:
    time.sleep(0.2 if number == 1 else 0)
    report()
    return number * number


def refuse_two(number: int, report: Report) -> int:
    if number == 2:
        raise BadInput("task 2 cannot be done")
    return slow_square(number, report)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    assert run_tasks(slow_square, [1, 2, 3], steps=1, workers=workers, title="square") == [1, 4, 9]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failure_keeps_its_type_and_words(workers: int) -> None:
    with pytest.raises(BadInput, match="task 2 cannot be done"):
        run_tasks(refuse_two, [1, 2, 3], steps=1, workers=workers, title="square")
