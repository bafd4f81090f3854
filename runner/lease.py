"""The lease: at most one process writes a run. The operating system releases it when the process dies, however."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import Refused


@contextmanager
def lease(folder: Path) -> Iterator[None]:
    """Hold the lease on ``folder`` for the duration of the block. Raises Refused if another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Refused(
                f"{path}: held by process {holder}; one runner per run: stop it or use another --run"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
