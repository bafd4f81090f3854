"""A run's database as a file: opening it, its errors, and the check that its definitions are ours."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from core.errors import BadTape
from runner.schema import FORMAT, OBJECTS

DAMAGED: Final = "the database itself is damaged; restore the run's folder"
_BUSY_TIMEOUT_MS: Final = 5_000


@contextmanager
def sqlite_errors(path: Path, remedy: str) -> Iterator[None]:
    """SQLite's errors inside the block become BadTape naming ``path`` and ``remedy``.

    A damaged file can make its message or a text column undecodable: that is the same fault.
    """
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise BadTape(f"{path}: {' '.join(str(error).split())}; {remedy}") from error


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """A connection to a run's database, in autocommit mode. Raises BadTape if it cannot be opened."""
    if not write and not path.exists():
        raise BadTape(f"{path}: no journal there; `runner paper` writes one")
    with sqlite_errors(path, "it cannot be opened as a journal; restore the run's folder"):
        mode = "rwc" if write else "ro"
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None)
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA trusted_schema = OFF")
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """The block is one transaction: all of it is durable at its end, or, if it raises, nothing is.

    The connection is then closed. That rolls back; a ROLLBACK could itself fail on a full disk.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise


def is_new(connection: sqlite3.Connection) -> bool:
    """Whether the database is still empty."""
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None


def create(connection: sqlite3.Connection) -> None:
    """Define everything, inside the caller's transaction."""
    for sql in OBJECTS.values():
        connection.execute(sql)
    connection.execute(f"PRAGMA user_version = {FORMAT}")


def check_schema(connection: sqlite3.Connection, path: Path, *, whole: bool = True) -> None:
    """Raise BadTape unless ``connection`` holds exactly our tables, triggers and indexes.

    ``whole``: and unless every page of the file is sound, which reads all of it.
    """
    with sqlite_errors(path, DAMAGED):
        rows = connection.execute("SELECT name, type, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        damage = connection.execute("PRAGMA integrity_check(1)").fetchone()[0] if whole else "ok"
    if version != FORMAT:
        raise BadTape(f"{path}: journal format {version}, this program reads {FORMAT}")
    found = {name: (kind, sql) for name, kind, sql in rows}
    ours = {name: (sql.split(maxsplit=2)[1].lower(), sql) for name, sql in OBJECTS.items()}
    for name in sorted(ours.keys() | found.keys()):
        if ours.get(name) != found.get(name):
            raise BadTape(f"{path}: {name}: its definition was altered, added or removed")
    if damage != "ok":
        raise BadTape(f"{path}: {' '.join(damage.split())}: {DAMAGED}")
