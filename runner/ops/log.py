"""The log of a run: JSON lines, each with mode and run, none with a secret."""

import logging
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import msgspec
import structlog

from runner.ops.events import Event, Failed, Mode, Problem
from runner.ops.redact import Redaction

NAME: Final = "log.jsonl"


class Log:
    """Writes events as JSON lines. Usable from any thread.

    A log that cannot be written stops nobody from trading: ``lost`` counts its lines, ``/metrics`` shows them.
    """

    def __init__(self, file: BinaryIO, redaction: Redaction, mode: Mode, run: str) -> None:
        self.lost = 0
        self.listener: Callable[[Event], None] | None = None  # is told of each line, too
        self.mode, self.run = mode, run
        self._file = file
        self._adopted: list[tuple[logging.Logger, logging.Handler]] = []
        self._log = structlog.wrap_logger(
            structlog.BytesLogger(file),
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
                structlog.processors.add_log_level,
                redaction,
                structlog.processors.JSONRenderer(serializer=_encode),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=True,
        )

    @classmethod
    def open(cls, path: Path, redaction: Redaction, mode: Mode, run: str) -> Self:
        """A log that goes on at the end of the file ``path``, which its owner alone may read.

        What a crash cut off in the middle of a line stays a line of its own.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_off = path.is_file() and _last_byte(path) not in (b"", b"\n")
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        file = os.fdopen(descriptor, "ab")
        if cut_off:
            file.write(b"\n")
        return cls(file, redaction, mode, run)

    def emit(self, event: Event) -> None:
        """Write ``event``."""
        if self.listener is not None:
            self.listener(event)
        fields = msgspec.to_builtins(event)
        name = fields.pop("event")
        for filled_in_here in ("ts", "level"):
            fields.pop(filled_in_here, None)
        try:
            getattr(self._log, event.LEVEL)(name, **fields)
        except (OSError, ValueError):  # a full disk; a file that is closed
            self.lost += 1

    def problem(self, what: str, detail: str, error: BaseException | None = None) -> None:
        """Write that something beside trading went wrong."""
        self.emit(Problem(mode=self.mode, run=self.run, what=what, detail=detail, exception=_where(error)))

    def failed(self, error: BaseException) -> Failed:
        """Write that the session ended with ``error``; what was written."""
        kind, text = type(error).__name__, str(error)
        event = Failed(mode=self.mode, run=self.run, error=kind, detail=text, exception=_where(error))
        self.emit(event)
        return event

    def adopt(self, name: str, level: int = logging.WARNING) -> None:
        """What the library ``name`` logs becomes lines of this log, and goes nowhere else."""
        handler, library = _Adopted(self), logging.getLogger(name)
        handler.setLevel(level)
        library.addHandler(handler)
        library.propagate = False
        self._adopted.append((library, handler))

    def close(self) -> None:
        """Write no more."""
        for library, handler in self._adopted:
            library.removeHandler(handler)
            library.propagate = True
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class _Adopted(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log.problem(record.name, record.getMessage(), error)


def _last_byte(path: Path) -> bytes:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 1))
        return file.read()


def _encode(value: Any, **_: Any) -> bytes:
    return msgspec.json.encode(value)


def _where(error: BaseException | None) -> str | None:
    return None if error is None else "".join(traceback.format_exception(error))
