"""Failpoints: named places where a test makes the process die as if the power had gone.

``PORTCULLIS_FAILPOINT=after-commit:3`` kills this process with SIGKILL the third time it passes ``after-commit``:
nothing is flushed, no handler runs. Without the variable a failpoint is one comparison. They can only end the process
that carries them.
"""

import os
import signal
from collections.abc import Mapping
from typing import Final

from core.errors import BadConfig

VARIABLE: Final = "PORTCULLIS_FAILPOINT"
NAMES: Final = (
    "before-commit",  # records are buffered, none of them on disk
    "inside-commit",  # between the statements of the transaction: records written, ledger not
    "inside-snapshot",  # a snapshot is written, its transaction not ended
    "after-commit",  # durable, not yet acted upon
    "before-send",  # an intent is durable, the venue has not seen it
    "after-fill",  # a fill is applied to the core, not yet durable
)


class Failpoints:
    """Counts how often the armed name is passed; ``Failpoints()`` is never armed."""

    def __init__(self, name: str | None = None, countdown: int = 1) -> None:
        if name is not None and name not in NAMES:
            raise BadConfig(f"{VARIABLE}: unknown failpoint {name!r}; known are {', '.join(NAMES)}")
        self._name = name
        self._countdown = countdown

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Failpoints":
        """The failpoint named by the environment. Raises BadConfig for an unknown name or a count below 1."""
        text = environment.get(VARIABLE)
        if not text:
            return cls()
        name, _, count = text.partition(":")
        if not (count or "1").isdigit() or int(count or "1") < 1:
            raise BadConfig(f"{VARIABLE}: count {count!r} of {text!r} must be a whole number from 1 up")
        return cls(name, int(count or "1"))

    def hit(self, name: str) -> None:
        """Pass the place ``name``; does not return if it is the one armed and its count is reached."""
        if name != self._name:
            return
        self._countdown -= 1
        if self._countdown == 0:
            os.kill(os.getpid(), signal.SIGKILL)
