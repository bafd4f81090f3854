"""Leases: one process at a time writes a run, and one compresses it.

The operating system releases a lease when its process dies, however.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.errors import Refused

WRITING: Final = ("lock", "one runner per run: stop it or use another --run")
RETENTION: Final = ("lock-segments", "one process at a time compresses or expires segments: wait for it and try again")


@contextmanager
def lease(folder: Path, kind: tuple[str, str] = WRITING) -> Iterator[None]:
    """Hold a lease on ``folder`` for the duration of the block. Raises Refused if another process holds it.

    ``kind``: the lease's file and the remedy for whoever finds it held.
    """
    name, remedy = kind
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with open(path, "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise Refused(f"{path}: held by process {holder}; {remedy}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
