"""Snapshots: everything a session is made of after a certain record, so that it can go on from there.

A snapshot is written in the transaction that makes its last record durable. It consists of named parts, raw bytes:
``state`` is the core's, ``books`` the order books it knows (only if it trades any), ``ledger`` the ledger's balances;
what else a session needs (its simulated venue, its model's recurrent state, its place in the feed) is the session's
own. They are stored compressed: most of a state is zeros.
"""

import hashlib
import zlib
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from core.errors import BadTape

STATE: Final = "state"
BOOKS: Final = "books"
LEDGER: Final = "ledger"
_LEVEL: Final = 1  # zlib's fastest: 116 KiB of state take about a millisecond
_RAW_BYTES_MAX: Final = 1 << 28


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a session was after ``records`` records of its run."""

    records: int
    link: bytes  # the chain's digest after the last whole block of the segment before that record
    parts: dict[str, bytes]

    def pack(self) -> bytes:
        """The parts in order of their names, compressed."""
        return zlib.compress(msgspec.msgpack.encode(dict(sorted(self.parts.items()))), _LEVEL)

    def sha256(self) -> bytes:
        """Of the number, the link and the parts before compression."""
        digest = hashlib.sha256(self.records.to_bytes(8, "little") + self.link)
        for name, data in sorted(self.parts.items()):
            digest.update(f"{name} {len(data)}\n".encode() + data)
        return digest.digest()

    @property
    def state_hash(self) -> str:
        """SHA-256 of the core's state and books, 64 hexadecimal digits."""
        return state_hash(self.parts[STATE], self.parts.get(BOOKS, b""))

    def array(self, part: str, dtype: np.dtype, count: int | None = 1) -> np.ndarray:
        """A part as an array of ``count`` elements, of any number if None. Raises BadTape if it is not one."""
        data = self.parts.get(part, b"")
        if not data or len(data) % dtype.itemsize or count not in (None, len(data) // dtype.itemsize):
            raise BadTape(
                f"snapshot after {self.records} records: {part} has {len(data)} bytes, this program's has "
                f"{dtype.itemsize}: go on with the program that wrote it"
            )
        return np.frombuffer(data, dtype).copy()


def unpack(records: int, link: bytes, packed: bytes, stated: bytes, *, where: str) -> Snapshot:
    """The snapshot stored as ``packed``. Raises BadTape naming ``where`` unless it hashes to ``stated``."""
    try:
        inflate = zlib.decompressobj()
        raw = inflate.decompress(packed, _RAW_BYTES_MAX)
        parts = msgspec.msgpack.decode(raw, type=dict[str, bytes])
    except (zlib.error, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadTape(f"{where}: snapshot after {records} records is not readable ({error}): altered") from None
    found = Snapshot(records, link, parts)
    if STATE not in parts or found.sha256() != stated:
        raise BadTape(
            f"{where}: snapshot after {records} records hashes to {found.sha256().hex()[:16]}, "
            f"{stated.hex()[:16]} stored: altered"
        )
    return found


def state_hash(state: bytes, books: bytes) -> str:
    """SHA-256 of a core's state and the books it knows, 64 hexadecimal digits."""
    return hashlib.sha256(state + books).hexdigest()
