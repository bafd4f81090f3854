"""Raw frames on disk: gzip files of lines as ``data.source: binance_ws`` and its like read them, safe against kill -9.

A file is a chain of whole gzip members, one for each ``flush``: killed, a recorder loses what came since the last one,
and what is on disk is a gzip file like any other. A new file is begun by the clock or by size; its name sorts by time.
"""

import os
import zlib
from pathlib import Path
from typing import IO, Any, Final

LEVEL: Final = 3  # of compression: the time it takes is time in which nothing is received
GZIP: Final = 31  # zlib's window bits for a gzip stream


def put(file: IO[bytes], data: bytes | bytearray) -> None:
    """Write all of ``data`` to an unbuffered file. Raises OSError that names it."""
    view = memoryview(data)
    try:
        while view:  # a full disk takes a part of it, and then nothing
            view = view[file.write(view) :]
    except OSError as error:
        error.filename = file.name
        raise


class Pieces:
    """One instrument's recording in ``folder``; files are named ``stem``, ``run`` and a number.

    Raises OSError as the disk does.
    """

    def __init__(self, folder: Path, stem: str, run: str, *, piece_bytes: int) -> None:
        self._folder, self._stem, self._run, self._piece_bytes = folder, stem, run, piece_bytes
        self._file: IO[bytes] | None = None
        self._member: Any = None  # zlib names no type for it
        self._held = bytearray()
        self._in_piece = 0
        self.files: list[Path] = []
        self.bytes = 0

    def write(self, line: bytes) -> None:
        """Take one line, with its line end."""
        if self._member is None:
            self._member = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
        self._held += self._member.compress(line)

    def flush(self) -> None:
        """Hand everything so far to the operating system, as one whole member."""
        if self._member is None:
            return
        self._held += self._member.flush(zlib.Z_FINISH)
        self._member = None
        if self._file is None:
            self.files.append(self._folder / f"{self._stem}-{self._run}-{len(self.files):05d}.gz")
            self._file = open(self.files[-1], "xb", buffering=0)  # noqa: SIM115 (held open)
        put(self._file, self._held)
        self.bytes += len(self._held)
        self._in_piece += len(self._held)
        self._held = bytearray()
        if self._in_piece >= self._piece_bytes:
            self.end_piece()

    def end_piece(self) -> None:
        """The next line begins a file; this one is on the disk itself."""
        file, self._file, self._in_piece = self._file, None, 0
        if file is not None:
            with file:
                os.fsync(file.fileno())

    def release(self) -> None:
        """Let go of the file as it is, after an error."""
        if self._file is not None:
            self._file.close()

    def close(self) -> None:
        """Flush and end."""
        self.flush()
        self.end_piece()
