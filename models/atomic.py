"""Writing so that a crash leaves the old content or the new one, never a part of either.

Every lasting write of bundles, registry, trials and decision log goes through ``rename``: the only instant at which
something changes for a reader.
"""

import os
import secrets
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> None:
    """Replace ``path`` by ``data``, durable when this returns; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        with open(partial, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def point(link: Path, target: str) -> None:
    """Make ``link`` a symbolic link to ``target``, replacing an earlier link in one step."""
    link.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(link)
    try:
        partial.symlink_to(target)
        rename(partial, link)
    finally:
        partial.unlink(missing_ok=True)


def rename(source: Path, target: Path) -> None:
    """Rename within one file system and make it durable."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def partial_name(path: Path) -> Path:
    """A name beside ``path`` that no reader looks at and no other writer uses."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
