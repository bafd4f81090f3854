"""Text files of a venue: plain, gzip or zip, line by line, so that memory does not grow with the file.

Where the venue's ``<name>.CHECKSUM`` lies beside a file, the file must have that SHA-256.
"""

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pyarrow as pa

from core.errors import BadInput

SUFFIXES: Final = (".csv", ".csv.gz", ".csv.zip", ".zip")
CHECKSUM: Final = ".CHECKSUM"
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")  # how UTF-8 and UTF-16 may begin a file


def text_lines(path: Path) -> Iterator[bytes]:
    """The lines of ``path`` without their ends. Raises BadInput, once it is met, for whatever cannot be read."""
    check_sum(path)
    with readable(path), _opened(path) as file:
        for number, line in enumerate(file):
            if number == 0 and line.startswith(_MARKS):
                raise BadInput(f"{path}: line 1 begins with a byte-order mark; save it as plain UTF-8 without one")
            yield line.rstrip(b"\r\n")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what a damaged file raises into BadInput that names it."""
    try:
        yield
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, io.UnsupportedOperation, pa.ArrowException) as error:
        raise BadInput(f"{path}: cannot be read to its end ({error}); it may be truncated: fetch it again") from None


def check_sum(path: Path) -> None:
    """Raise BadInput unless ``path`` has the SHA-256 that the venue's file beside it says; none: nothing is known."""
    beside = path.with_name(path.name + CHECKSUM)
    if not beside.is_file():
        return
    with readable(beside):
        said = beside.read_text(encoding="utf-8", errors="replace").split()[:1]
    if not said or not _SHA256.fullmatch(said[0]):
        raise BadInput(f"{beside}: line 1 is no SHA-256 and file name; fetch it again, or delete it to go without")
    if (held := sha256_of(path)) != said[0].lower():
        raise BadInput(f"{path}: its SHA-256 is {held}, {beside.name} says {said[0].lower()}; fetch both again")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with readable(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.name.endswith(".gz"):
        with gzip.open(path, "rb") as file:
            yield file  # type: ignore[misc]  # GzipFile is a binary file
    elif path.name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            if len(names := archive.namelist()) != 1:
                raise BadInput(f"{path}: holds {len(names)} files, one CSV per archive is expected; fetch it again")
            try:
                member = archive.open(names[0])
            except (RuntimeError, NotImplementedError) as error:  # encrypted, or compressed in another way
                raise BadInput(f"{path}: {names[0]} cannot be opened ({error}); pack it as a plain zip") from None
            with io.BufferedReader(member, 1 << 16) as file:  # type: ignore[type-var]  # its iterator is compiled
                yield file
    else:
        with open(path, "rb") as file:
            yield file
