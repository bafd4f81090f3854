"""A stage's output folder: it appears whole or not at all, and whoever reads it can tell that it still is.

A stage writes into a folder beside the final one, which takes its place at the end, so a stage that fails, is
interrupted or killed leaves the earlier results as they were. ``SHA256SUMS`` in it lists every file with its hash
(``sha256sum -c SHA256SUMS`` reads it too); the next stage compares before it believes any of them.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.errors import BadInput
from models.atomic import rename, write_atomic

SUMS: Final = "SHA256SUMS"


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; when the block ends without an error it is sealed and replaces ``folder``."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed attempt
    partial.mkdir(parents=True)
    try:
        yield partial
        seal(partial)
        if folder.exists():
            shutil.rmtree(folder)
        rename(partial, folder)
    except OSError as error:
        error.filename = error.filename or str(folder)  # a full disk does not say which file it stopped
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def seal(folder: Path) -> None:
    """Write ``folder``/SHA256SUMS over every other file in it."""
    lines = [f"{digest}  {name}\n" for name, digest in sorted(_hashes(folder).items())]
    write_atomic(folder / SUMS, "".join(lines).encode())


def verify_output(folder: Path, *, stage: str) -> str:
    """The id of ``folder``'s content. Raises BadInput unless it is exactly what ``stage`` sealed, byte for byte."""
    remedy = f"make it anew with `dvc repro {stage}`"
    try:
        sums = (folder / SUMS).read_bytes()
    except OSError as error:
        raise BadInput(f"{folder / SUMS}: {error.strerror}: {folder} is missing or incomplete; {remedy}") from None
    lines = sums.decode(errors="replace").splitlines()  # a damaged line names a file that is not there
    stated = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = _hashes(folder)
    for name in sorted(stated.keys() | found.keys()):
        if name not in found:
            raise BadInput(f"{folder / name}: missing; {remedy}")
        if name not in stated:
            raise BadInput(f"{folder / name}: not written by stage {stage}; remove it or {remedy}")
        if stated[name] != found[name]:
            raise BadInput(
                f"{folder / name}: altered: hash {stated[name][:16]} expected, {found[name][:16]} found; {remedy}"
            )
    return hashlib.sha256(sums).hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    hashes = {}
    for path in folder.rglob("*"):
        if path.is_file() and path.name != SUMS:
            with open(path, "rb") as file:
                hashes[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
