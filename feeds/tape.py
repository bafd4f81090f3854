"""Tapes: market records in time order, one memory-mapped file, self-describing and hashed.

Layout: a 64 KiB head (magic, the JSON's own SHA-256, canonical JSON, padded with spaces), then records of 64 bytes.
One NumPy call reads it::

    bars = np.memmap(path, core.records.BAR, "r", offset=65536)

The head names the instruments, the bar interval, the row count and the SHA-256 of the records, so a truncated,
extended or altered tape is refused by ``Tape.open(verify=True)``. Its ``tape_id`` is the SHA-256 of the head's JSON.
A tape is written beside its final name and renamed at the end: no reader ever sees half of one.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.canonical import canonical_json, sha256_hex
from core.errors import BadTape
from core.instruments import Instrument, instrument_from_json
from core.records import RECORD, RECORD_BYTES, RECORD_VERSION

MAGIC: Final = b"PORTCULLIS-TAPE\n"
HEAD_BYTES: Final = 65_536
_REMEDY: Final = "copy it again from where it was made, or make it anew with `dvc repro`"


@dataclass(frozen=True, slots=True)
class Tape:
    """An open tape. ``records`` is a read-only memory map, shape (rows,), dtype ``core.records.RECORD``."""

    path: Path
    records: np.ndarray
    instruments: tuple[Instrument, ...]
    interval_ns: int  # bar length; 0 for tick tapes
    records_sha256: str
    tape_id: str
    meta: dict[str, Any]  # what the writer added: source, seed, fold, warm-up rows

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = True, holdout: bool = False) -> "Tape":
        """Open ``path``; with ``verify`` read it through once and compare its hash.

        Raises BadTape for a missing, truncated, extended, altered or foreign file, and for the final hold-out unless
        ``holdout`` says that it is meant: only ``data.holdout`` does, which logs it.
        """
        path = Path(path)
        head = _read_head(path)
        if head["meta"].get("holdout") and not holdout:
            raise BadTape(f"{path}: the final hold-out, which no stage reads; `python -m data holdout --help` opens it")
        size = path.stat().st_size
        expected = HEAD_BYTES + head["rows"] * RECORD_BYTES
        if size != expected:
            raise BadTape(
                f"{path}: {size} bytes, {expected} expected for {head['rows']} rows: truncated or extended; {_REMEDY}"
            )
        records = (
            np.memmap(path, RECORD, "r", offset=HEAD_BYTES, shape=(head["rows"],))
            if head["rows"]
            else np.zeros(0, RECORD)
        )
        if verify and (found := _records_sha256(path)) != head["records_sha256"]:
            raise BadTape(
                f"{path}: records hash to {found[:16]}, the head says {head['records_sha256'][:16]}: altered; {_REMEDY}"
            )
        return cls(
            path=path,
            records=records,
            instruments=tuple(instrument_from_json(item) for item in head["instruments"]),
            interval_ns=head["interval_ns"],
            records_sha256=head["records_sha256"],
            tape_id=sha256_hex(canonical_json(head)),
            meta=head["meta"],
        )


def write_tape(
    path: Path | str,
    chunks: Iterable[np.ndarray],
    *,
    instruments: Sequence[Instrument],
    interval_ns: int,
    meta: dict[str, Any] | None = None,
) -> str:
    """Write ``chunks`` (arrays of any record dtype, in order) as a tape and return its tape_id.

    Memory is bounded by the largest chunk. Raises BadTape if ``ts_known`` goes backwards, an instrument index is
    unknown, or the head does not fit its 64 KiB; then nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    digest, rows, last = hashlib.sha256(), 0, -(2**63)
    try:
        with open(partial, "wb") as file:
            file.write(b"\0" * HEAD_BYTES)
            for chunk in chunks:
                last = _check_order(path, chunk, rows, last, len(instruments))
                data = chunk.tobytes()
                digest.update(data)
                file.write(data)
                rows += len(chunk)
            head = {
                "version": RECORD_VERSION,
                "rows": rows,
                "records_sha256": digest.hexdigest(),
                "instruments": [item.as_json() for item in instruments],
                "interval_ns": interval_ns,
                "meta": meta or {},
            }
            body = canonical_json(head)
            packed = MAGIC + sha256_hex(body).encode() + body
            if len(packed) > HEAD_BYTES:
                raise BadTape(f"{path}: head of {len(packed)} bytes, {HEAD_BYTES} allowed: fewer instruments per tape")
            file.seek(0)
            file.write(packed.ljust(HEAD_BYTES))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return sha256_hex(body)


def _check_order(path: Path, chunk: np.ndarray, rows: int, last: int, instruments: int) -> int:
    if not len(chunk):
        return last
    known = chunk["ts_known"]
    back = np.flatnonzero(np.diff(known, prepend=last if rows else known[0]) < 0)
    if len(back):
        raise BadTape(
            f"{path}: row {rows + back[0]}: ts_known {known[back[0]]} goes backwards; sort and validate first"
        )
    if (top := int(chunk["instrument"].max())) >= instruments:
        raise BadTape(f"{path}: instrument index {top}, {instruments} instruments given")
    return int(known[-1])


def _read_head(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            packed = file.read(HEAD_BYTES)
    except OSError as error:
        raise BadTape(f"{path}: {error.strerror}; make it with `dvc repro ingest`") from None
    if len(packed) < HEAD_BYTES or not packed.startswith(MAGIC):
        raise BadTape(f"{path}: not a tape (no head of {HEAD_BYTES} bytes starting with {MAGIC!r}); {_REMEDY}")
    stated, body = packed[len(MAGIC) : len(MAGIC) + 64], packed[len(MAGIC) + 64 :].rstrip(b" ")
    if sha256_hex(body).encode() != stated:
        raise BadTape(f"{path}: the head does not match its own hash: altered; {_REMEDY}")
    head: dict[str, Any] = json.loads(body)
    if head["version"] != RECORD_VERSION:
        raise BadTape(f"{path}: record version {head['version']}, this program reads {RECORD_VERSION}; {_REMEDY}")
    return head


def _records_sha256(path: Path) -> str:
    """Read, not mapped: pages of a map would count as this process's memory as long as it lives."""
    with path.open("rb") as file:
        file.seek(HEAD_BYTES)
        return hashlib.file_digest(file, "sha256").hexdigest()
