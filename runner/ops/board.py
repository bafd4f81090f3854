"""A run as it stands while another process writes it: read-only, a moment at a time.

Each ``refresh`` opens the database, reads what was committed since the last, and closes it again: a reader that stayed
would keep the writer from finishing. The account's state is the core's own, played on from the last snapshot. Nothing
is verified here: `runner status` without ``--watch`` and `runner replay` do that.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadInput, BadTape
from core.records import RECORD
from runner.database import DAMAGED, sqlite_errors
from runner.home import Run
from runner.ops.events import Alerted, Problem, parse_line
from runner.ops.log import NAME
from runner.paper import read_about
from runner.reader import Reader, open_run
from runner.replay import Replay
from runner.segments import snapshot_places
from runner.summary import Tally, summary

_TAIL_BYTES: Final = 262_144  # of the log, for its last alerts
_LAST_ALERTS: Final = 5


class Sums:
    """The sums of a ledger's entries, as ``runner.summary`` needs them."""

    def __init__(self, reader: Reader) -> None:
        with sqlite_errors(reader.run.journal, DAMAGED):
            rows = reader.connection.execute("SELECT account, asset, SUM(delta) FROM entry GROUP BY account, asset")
            self.balances: dict[tuple[str, str], int] = {(account, asset): int(units) for account, asset, units in rows}


class Follower:
    """Follows one run; ``refresh`` gives it as it is now."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._counts = Tally()
        self._replay: Replay | None = None
        self._counted = 0

    def refresh(self) -> dict[str, Any]:
        """The run as plain data, like ``runner.paper.describe``'s and with ``alerts``, ``writer`` and ``verified``.

        Raises BadTape if the journal cannot be read or does not replay.
        """
        with open_run(self._run) as reader:
            replay = self._advance(reader)
            found = summary(
                reader.header, self._counts, replay.state, int(replay.state["risk"]["drawdown_max_ppm"][0]),
                Sums(reader),
            )  # fmt: skip
            finished = reader.seal is not None
        about = {key: value for key, value in read_about(self._run).items() if key != "bundle"}
        found = {"run": self._run.name, "finished": finished} | found | {"records": replay.records}
        return found | about | extras(self._run)

    def _advance(self, reader: Reader) -> Replay:
        if self._replay is None:
            places = snapshot_places(reader.connection, reader.run.journal)
            start = reader.snapshot(places[-1]) if places else None
            self._replay = Replay(reader.header, start)
            for records in reader.batches():
                self._counts.add(records)
                self._counted += len(records)
            self._counted += reader.first
        for first, records in _after(reader, min(self._replay.records, self._counted)):
            self._take(first, records)
        return self._replay

    def _take(self, first: int, records: np.ndarray) -> None:
        """``records``, numbered from ``first`` on, as far as they were not taken yet."""
        if self._replay is None:
            return
        if first >= self._counted:
            self._counts.add(records)
            self._counted = first + len(records)
        if first >= self._replay.records and (difference := self._replay.feed(records)) is not None:
            raise BadTape(f"{self._run.journal}: does not replay: {difference}; `runner replay` tells more")


def _after(reader: Reader, record: int) -> list[tuple[int, np.ndarray]]:
    with sqlite_errors(reader.run.journal, DAMAGED):
        rows = reader.connection.execute(
            "SELECT first, records FROM block WHERE first >= ? ORDER BY first", (record,)
        ).fetchall()
    return [(first, np.frombuffer(records, RECORD)) for first, records in rows]


def extras(run: Run) -> dict[str, Any]:
    """What is known of a run beside its journal: who writes it, and its last alerts."""
    return {"writer": _writer(run.folder / "lock"), "alerts": last_alerts(run.folder / NAME)}


def _writer(lock: Path) -> int | None:
    """The process that holds the run, if it is alive."""
    with suppress(OSError, ValueError):
        process = int(lock.read_text())
        os.kill(process, 0)
        return process
    return None


def last_alerts(log: Path) -> list[dict[str, Any]]:
    """The last alerts and problems of a log, oldest first; lines of another program's log are passed over."""
    if not log.exists():
        return []
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        lines = file.read().splitlines()
    found: list[dict[str, Any]] = []
    for line in lines:
        with suppress(BadInput):
            event = parse_line(line)
            if isinstance(event, Alerted):
                found.append({"at": event.ts[:19], "severity": event.severity, "what": event.alert, "text": event.text})
            elif isinstance(event, Problem):
                found.append({"at": event.ts[:19], "severity": "problem", "what": event.what, "text": event.detail})
    return found[-_LAST_ALERTS:]
