"""The final hold-out: the last days, cut off at ingest, which no stage can open. Reading it is logged.

A hold-out tells the truth once: whoever looks twice has fitted to it. So its tape refuses to be opened, and the one
command that opens it first writes down who, when and why. The log is canonical JSON, a line per reading, each holding
the hash of the line before; it is git-tracked and no stage's dependency.
"""

import getpass
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from core.canonical import canonical_json, sha256_hex
from core.errors import BadInput, Refused
from core.settings import Section, as_json
from feeds.tape import Tape, write_tape
from models.atomic import write_atomic

LOG: Final = Path("trials/holdout_reads.jsonl")
GENESIS: Final = "0" * 64
_CHUNK_ROWS: Final = 65_536


class Reading(Section, frozen=True, kw_only=True):
    """One time that a hold-out was opened."""

    number: int  # from 1
    previous: str  # SHA-256 of the line before
    at: str  # ISO 8601, UTC
    who: str
    why: str
    tape_id: str  # of the hold-out as ingest cut it off


def open_holdout(path: Path, out: Path, log: Path = LOG, *, why: str) -> Reading:
    """Log a reading of the hold-out ``path`` and write a tape that opens to ``out``; first the one, then the other.

    Raises BadTape for an altered tape, BadInput for one that is no hold-out or a reason of nothing, and Refused for a
    log that is not what was written there.
    """
    tape = Tape.open(path, holdout=True)
    if not tape.meta.get("holdout"):
        raise BadInput(f"{path}: no hold-out; set data.holdout and run `dvc repro ingest`")
    if not why.strip():
        raise BadInput("--why is empty; say for which release or question the hold-out is read")
    readings = read_log(log)
    reading = Reading(
        number=len(readings) + 1,
        previous=_last_hash(log),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        who=getpass.getuser(),
        why=why.strip(),
        tape_id=tape.tape_id,
    )
    before = log.read_bytes() if log.is_file() else b""
    log.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(log, before + canonical_json(as_json(reading)) + b"\n")
    meta = {name: value for name, value in tape.meta.items() if name != "holdout"} | {"holdout_reading": reading.number}
    write_tape(out, _chunks(tape), instruments=tape.instruments, interval_ns=tape.interval_ns, meta=meta)
    return reading


def read_log(log: Path) -> list[Reading]:
    """All readings, oldest first; no file is none. Raises Refused naming the first line that was altered or cut."""
    readings, previous = [], GENESIS
    for number, line in enumerate(_lines(log), start=1):
        try:
            reading = msgspec.json.decode(line, type=Reading)
        except msgspec.MsgspecError as error:
            raise Refused(f"{log}: line {number}: {error}; restore the file with git") from None
        if reading.number != number or reading.previous != previous or canonical_json(as_json(reading)) != line:
            raise Refused(f"{log}: line {number} is not what was written there; restore the file with git")
        readings.append(reading)
        previous = sha256_hex(line)
    return readings


def _last_hash(log: Path) -> str:
    lines = _lines(log)
    return sha256_hex(lines[-1]) if lines else GENESIS


def _lines(log: Path) -> list[bytes]:
    if not log.is_file():
        return []
    *lines, rest = log.read_bytes().split(b"\n")
    if rest:
        raise Refused(f"{log}: line {len(lines) + 1}: cut off; restore the file with git")
    return lines


def _chunks(tape: Tape) -> Iterator[np.ndarray]:
    for start in range(0, len(tape.records), _CHUNK_ROWS):
        yield tape.records[start : start + _CHUNK_ROWS]
