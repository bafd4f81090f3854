"""How a command line ends: one line, the documented code, and a traceback for faults of the program only."""

import errno
from collections.abc import Callable

import pytest

from core.errors import BadConfig, BadInput, BadTape, BrokenInvariant, Refused
from models import command


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def ended(call: Callable[[], int | None]) -> int:
    with pytest.raises(SystemExit) as caught:
        command.run(call)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BadInput("market.csv: empty; fetch it again"), 30, "market.csv: empty; fetch it again"),
        (BadTape("a.tape: altered"), 31, "a.tape: altered"),
        (BadConfig("params.yaml: sed"), 32, "params.yaml: sed"),
        (Refused("unsigned"), 40, "unsigned"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out"),
            30,
            "out: No space left on device; make room and run",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 30, "out: Permission denied; give this user"),
        (OSError("9917 requested and 4794 written"), 30, "4794 written; check the file and its disk"),
        (MemoryError("3 TiB"), 30, "out of memory (3 TiB); lower"),
        (KeyboardInterrupt(), 130, "the same command"),
    ],
)
def test_an_expected_error_is_one_line_and_its_code(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(raising(error)) == code
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and words in printed and printed.count("\n") == 1


@pytest.mark.parametrize("error", [BrokenInvariant("cash is below 0"), ZeroDivisionError("division by zero")])
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(raising(error)) == 70
    printed = capsys.readouterr().err
    assert "Traceback" in printed and str(error) in printed


def test_a_command_s_own_code_is_kept() -> None:
    assert ended(lambda: None) == 0
    assert ended(lambda: 20) == 20
