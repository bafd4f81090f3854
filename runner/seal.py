"""The seal of a finished run: what it ended with, kept beside the journal.

A hash chain cannot show that its own tail is missing, and SQLite leaves bytes of a page unused. The seal names the
number of records, both heads and the SHA-256 of the whole file, so either is found. Copy it off the machine (it is one
line) and nobody can rewrite the run unseen.

While records of a finished run move to archives, the seal says that the file is being changed. So an interruption is
told from an alteration, and a file that was altered is not sealed again.
"""

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from core.canonical import canonical_json
from core.errors import BadConfig, BadTape
from core.settings import Section, as_json, parse
from models.atomic import write_atomic

_CHANGING: Final = "changing"  # in place of the file's hash


class Seal(Section, frozen=True, kw_only=True):
    """What a run ended with. Hashes are hexadecimal SHA-256."""

    version: int = 1
    run_id: str
    records: int
    head: str
    ledger_head: str
    file_sha256: str

    @property
    def is_changing(self) -> bool:
        """Whether its journal's records are being moved, or were when that was interrupted."""
        return self.file_sha256 == _CHANGING


def write_seal(path: Path, seal: Seal) -> None:
    """Write ``seal`` durably, in one step."""
    write_atomic(path, canonical_json(as_json(seal)) + b"\n")


def check_file(seal: Seal, journal: Path) -> None:
    """Raise BadTape unless ``journal`` is the file that was sealed, byte for byte."""
    if seal.is_changing:
        raise BadTape(
            f"{journal}: its segments are being compressed or expired, or that was interrupted: run the same command "
            "again"
        )
    if (found := file_sha256(journal)) != seal.file_sha256:
        raise BadTape(
            f"{journal}: the file hashes to {found[:16]}, {seal.file_sha256[:16]} sealed: altered outside its records"
        )


def unseal(path: Path, seal: Seal, journal: Path) -> None:
    """Say in the seal that ``journal`` is being changed. Raises BadTape if it is not the file that was sealed."""
    if not seal.is_changing:
        check_file(seal, journal)
        write_seal(path, msgspec.structs.replace(seal, file_sha256=_CHANGING))


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
