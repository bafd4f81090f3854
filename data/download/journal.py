"""What a download has so far: pages of candles or trades in one hidden file per symbol, appended, with checksums.

A head line says what is downloaded, then each page is its number of rows, its CRC-32 and the rows. A process that
is killed leaves whole pages and at most one torn one, which opening cuts off. No reader of candles looks at this file.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from data.download.venue import CANDLE

_PAGE: Final = struct.Struct("<II")  # candles, CRC-32 of their bytes


class Journal:
    """The pages of one unfinished range. ``next_ms`` is where it goes on: after the last candle."""

    def __init__(self, path: Path, about: dict[str, Any], interval_ms: int, dtype: np.dtype = CANDLE) -> None:
        """Go on with ``path`` if it is about ``about``; otherwise begin it. Rows are ``dtype``, with ``time_ms``."""
        self.path = path
        self.start_ms = self.next_ms = int(about["since_ms"])
        self._interval_ms, self._dtype = interval_ms, dtype
        self._head = json.dumps(about, sort_keys=True).encode() + b"\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b")  # noqa: SIM115 closed by __exit__
        self._resume()

    def append(self, page: np.ndarray) -> None:
        """Add rows, in order, later than all before."""
        data = page.tobytes()
        self._file.write(_PAGE.pack(len(page), zlib.crc32(data)) + data)
        self._file.flush()
        self.next_ms = int(page["time_ms"][-1]) + self._interval_ms

    def pages(self) -> Iterator[np.ndarray]:
        """The rows from the start, page by page."""
        self._file.seek(len(self._head))
        while (page := self._read()) is not None:
            yield page

    def remove(self) -> None:
        """Delete the file: its candles lie elsewhere now."""
        self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _resume(self) -> None:
        self._file.seek(0)
        if self._file.readline() != self._head:
            self._file.truncate(0)
            self._file.write(self._head)
            self._file.flush()
        end = len(self._head)
        for page in self.pages():
            self.next_ms = int(page["time_ms"][-1]) + self._interval_ms
            end += _PAGE.size + page.nbytes
        self._file.truncate(end)

    def _read(self) -> np.ndarray | None:
        """The page at the file's position; None where there is no whole one."""
        head = self._file.read(_PAGE.size)
        if len(head) < _PAGE.size:
            return None
        count, crc = _PAGE.unpack(head)
        data = self._file.read(count * self._dtype.itemsize)
        if not count or len(data) < count * self._dtype.itemsize or zlib.crc32(data) != crc:
            return None
        return np.frombuffer(data, self._dtype)
