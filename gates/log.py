"""The decision log ``gates/decisions.jsonl``: every promotion, rejection and rollback, in order, hash-chained.

One line of canonical JSON per decision: {"decision": {...}, "hash": SHA-256 of the decision's canonical JSON}. A
decision holds the hash of the one before it, so an altered, missing or moved line is found and named. The file is
rewritten whole in one step: it has few lines, and a crash can leave no torn one. That the last lines were not cut off
is seen by the registry, which follows from the log (``gates.state``).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from core.canonical import canonical_json, hash_json
from core.errors import BadConfig, Refused, require
from core.settings import Section, as_json, parse
from models.atomic import write_atomic
from models.registry import Entry

GENESIS: Final = "0" * 64


class Decision(Section, frozen=True, kw_only=True):
    """One decision. ``promote`` carries the registry's new entry; ``rollback`` and ``promote`` the tag now in use."""

    version: int = 1
    number: int  # from 1
    previous: str  # hash of the decision before it
    at: str  # ISO 8601, UTC
    action: Literal["promote", "reject", "rollback"]
    bundle_id: str
    tag: str | None
    reason: str
    verdict: str
    metrics_sha256: str
    gates_sha256: str
    trials: int
    entry: Entry | None = None


def read_log(path: Path) -> tuple[Decision, ...]:
    """All decisions, oldest first; a missing file is an empty log.

    Raises Refused naming the first line that is not what was written there.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ()
    *lines, rest = data.split(b"\n")
    if rest:
        raise Refused(f"{path}: line {len(lines) + 1}: cut off; restore the file with git")
    decisions: list[Decision] = []
    previous = GENESIS
    for number, line in enumerate(lines, start=1):
        decision, digest = _parse(f"{path}: line {number}", line)
        if decision.previous != previous or decision.number != number:
            raise Refused(
                f"{path}: line {number}: follows {decision.previous[:16]} as decision {decision.number}, but line "
                f"{number - 1} hashes to {previous[:16]}: a line was removed, moved or replaced"
            )
        decisions.append(decision)
        previous = digest
    return tuple(decisions)


def next_decision(decisions: Sequence[Decision], **fields: Any) -> Decision:
    """The decision that comes after ``decisions``."""
    previous = hash_json(as_json(decisions[-1])) if decisions else GENESIS
    return Decision(number=len(decisions) + 1, previous=previous, **fields)


def write_log(path: Path, decisions: Sequence[Decision]) -> None:
    """Replace the log. Raises BrokenInvariant unless ``decisions`` continues what is there."""
    before = read_log(path)
    require(tuple(decisions[: len(before)]) == before, f"{path}: the log only grows")
    write_atomic(path, b"".join(_line(decision) for decision in decisions))


def _line(decision: Decision) -> bytes:
    fields = as_json(decision)
    return canonical_json({"decision": fields, "hash": hash_json(fields)}) + b"\n"


def _parse(where: str, line: bytes) -> tuple[Decision, str]:
    try:
        fields: Any = msgspec.json.decode(line)
        expected, found = fields["hash"], hash_json(fields["decision"])
        if expected != found or canonical_json(fields) != line:
            raise Refused(f"{where}: altered: hash {expected} expected, {found} found; restore the file with git")
        return parse(Decision, fields["decision"], where=where), found
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError, BadConfig) as error:
        raise Refused(f"{where}: altered: not a decision ({error}); restore the file with git") from None
