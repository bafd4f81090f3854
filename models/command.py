"""How every command line of this program ends: what went wrong is one line on standard error and an exit code.

It lies here because ``models`` is the lowest layer that may do I/O and that every command line imports.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from core.errors import BadInput, BrokenInvariant, PortcullisError

INTERRUPTED: Final = 130  # as a shell counts a process that Ctrl-C ended
_REMEDIES: Final = {
    errno.ENOSPC: "make room and run the same command again",
    errno.EDQUOT: "make room and run the same command again",
    errno.EFBIG: "raise the limit on file sizes and run the same command again",
    errno.EROFS: "make it writable or use another folder",
    errno.EACCES: "give this user access to it",
    errno.EPERM: "give this user access to it",
    errno.ENOENT: "check the path",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOTDIR: "a part of the path is a file where a folder is needed",
    errno.EEXIST: "move what is there away",
}


def run(command: Callable[[], int | None]) -> NoReturn:
    """Call ``command`` and end the process with its exit code; an error ends it with the code of its kind.

    What nobody expected is a fault of this program: it keeps its traceback and ends with BrokenInvariant's code.
    """
    try:
        code = command() or 0
    except BrokenPipeError:  # the reader of our output went away, as `head` does; nothing is left to tell anyone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        code = _fail("stopped; nothing half-written is left, the same command starts again", INTERRUPTED)
    except BrokenInvariant as error:
        traceback.print_exception(error)
        code = error.exit_code
    except PortcullisError as error:
        code = _fail(str(error), error.exit_code)
    except OSError as error:
        code = _fail(describe(error), BadInput.exit_code)
    except MemoryError as error:
        text = f"out of memory ({error}); lower workers, training.lanes or model.hidden, or use a larger machine"
        code = _fail(text, BadInput.exit_code)
    except Exception as error:  # the supervisor of a process: see above
        traceback.print_exception(error)
        code = _fail("this is a fault of the program; report it with the lines above", BrokenInvariant.exit_code)
    sys.exit(code)


def describe(error: OSError) -> str:
    """The file, what the system said about it, and what to do."""
    remedy = _REMEDIES.get(error.errno or 0, "check the file and its disk")
    return f"{error.filename or 'input/output'}: {error.strerror or error}; {remedy}"


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"error: {message}\n")
    return code
