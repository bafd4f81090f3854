"""The runner's home: everything that lasts, in one folder outside any checkout.

::

    <home>/trust/<key id>.pub     public keys whose signatures are believed
    <home>/runs/<run>/journal.db  the journal and its ledger
    <home>/runs/<run>/seal.json   what a finished run ended with (``runner.seal``)
    <home>/runs/<run>/about.json  measured and local things: where the bundle lay, latencies; outside every hash
    <home>/runs/<run>/lock        the lease of the process that writes the run
    <home>/runs/<run>/lock-segments   the lease of the process that compresses or expires its segments
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import BadInput
from runner import journal

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Run:
    """One run's folder."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def journal(self) -> Path:
        return self.folder / journal.NAME

    @property
    def seal(self) -> Path:
        return self.folder / "seal.json"

    @property
    def about(self) -> Path:
        return self.folder / "about.json"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder given as ``--home``."""

    folder: Path

    @property
    def trust(self) -> Path:
        return self.folder / "trust"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    def run(self, name: str) -> Run:
        """The run ``name``, which need not exist yet. Raises BadInput if it cannot be a folder's name."""
        if not _NAME.fullmatch(name):
            raise BadInput(f"run {name!r}: up to 64 letters, digits, - _ and . are a name, the first no dot")
        return Run(self.runs / name)

    def names(self) -> list[str]:
        """The runs that have a journal."""
        return sorted(path.parent.name for path in self.runs.glob(f"*/{journal.NAME}"))

    def latest(self) -> Run:
        """The run whose journal was written last. Raises BadInput if there is none."""
        journals = sorted(self.runs.glob(f"*/{journal.NAME}"), key=lambda path: path.stat().st_mtime_ns)
        if not journals:
            raise BadInput(f"{self.runs}: no run yet; `runner paper --home {self.folder}` makes one")
        return Run(journals[-1].parent)

    def existing(self, name: str | None) -> Run:
        """The run ``name``, or the latest. Raises BadInput if it does not exist."""
        if name is None:
            return self.latest()
        run = self.run(name)
        if not run.journal.exists():
            raise BadInput(f"{run.folder}: no such run; `runner status --home {self.folder}` lists them")
        return run
