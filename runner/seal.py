"""The seal of a finished run: what it ended with, kept beside the journal.

A hash chain cannot show that its own tail is missing, and SQLite leaves bytes of a page unused. The seal names the
number of records, both heads and the SHA-256 of the whole file, so either is found. Copy it off the machine (it is one
line) and nobody can rewrite the run unseen.
"""

import hashlib
from pathlib import Path

import msgspec

from core.canonical import canonical_json
from core.errors import BadConfig, BadTape
from core.settings import Section, as_json, parse
from models.atomic import write_atomic


class Seal(Section, frozen=True, kw_only=True):
    """What a run ended with. Hashes are hexadecimal SHA-256."""

    version: int = 1
    run_id: str
    records: int
    head: str
    ledger_head: str
    file_sha256: str


def write_seal(path: Path, seal: Seal) -> None:
    """Write ``seal`` durably, in one step."""
    write_atomic(path, canonical_json(as_json(seal)) + b"\n")


def reseal(path: Path, seal: Seal, journal: Path) -> None:
    """Write ``seal`` for a ``journal`` file whose records moved to an archive: only the file's own hash is new."""
    write_seal(path, msgspec.structs.replace(seal, file_sha256=file_sha256(journal)))


def read_seal(path: Path) -> Seal | None:
    """The seal at ``path``, None if the run is not finished. Raises BadTape if it is damaged."""
    if not path.exists():
        return None
    try:
        return parse(Seal, msgspec.json.decode(path.read_bytes()), where=str(path))
    except (msgspec.DecodeError, UnicodeDecodeError, BadConfig) as error:
        raise BadTape(f"{path}: altered: {error}") from None


def file_sha256(path: Path) -> str:
    """SHA-256 of the file at ``path``."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
