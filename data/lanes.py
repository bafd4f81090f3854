"""Lanes: the MarketStates of one instrument and UTC day, contiguous and memory-mapped, as training reads them.

A folder per instrument, a folder per day in it, and in that one array per quantity, all of the same length::

    <symbol>/<2024-08-08>/states.npy  extra.npy  ready.npy  delta_hat.npy  label_known_at.npy

``write`` makes them from a tape, instrument by instrument with memory for a chunk; ``read`` maps them. The day is
that of ``ts``.
"""

import mmap
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadInput
from core.records import DAY_NS, Kind, MarketFlag
from features import book
from features.market_state import EXTRA, MARKET_STATE, BookSpec, specs_of
from features.market_stream import RowsDigest
from feeds.tape import Tape

CHUNK_ROWS: Final = 65_536
EVENT_KINDS: Final = (Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.TOP)


@dataclass(frozen=True, slots=True)
class Lane:
    """One instrument's day. Arrays are memory maps of equal length, read-only when they were ``read``."""

    symbol: str
    day: str  # ISO date
    folder: Path
    states: np.ndarray  # (n,) MARKET_STATE
    extra: np.ndarray  # (n,) EXTRA
    ready: np.ndarray  # (n,) bool

    def array(self, name: str) -> np.ndarray:
        """Another quantity of the lane, as ``delta_hat``; mapped, not read."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")


def write(tape: Tape, folder: Path, instruments: Iterable[int] | None = None) -> tuple[list[Lane], list[RowsDigest]]:
    """The lanes of ``tape`` in ``folder``, in order of instrument and day, and a digest of each one's ready rows.

    Of ``instruments`` only, if given: an instrument's lanes are made of its own records alone, so they are the same
    whichever others are made, and where. Raises BadInput for a tape of bars, BadConfig for a venue or class without a
    token.
    """
    if tape.interval_ns != 0:
        raise BadInput(f"{tape.path}: a tape of bars; lanes are made from books, trades and quotes")
    specs = specs_of(tape.instruments, tape.meta)
    made, digests = [], []
    for index in range(len(specs)) if instruments is None else instruments:
        digests.append(RowsDigest())
        made += _write_one(tape, folder, specs, index, digests[-1])
    return made, digests


def _write_one(tape: Tape, folder: Path, specs: list[BookSpec], index: int, digest: RowsDigest) -> list[Lane]:
    symbol, counts = tape.instruments[index].symbol, _count(tape, specs[index], index)
    lanes = {day: _create(folder, symbol, _iso_day(day), rows) for day, rows in sorted(counts.items())}
    state, held = book.new_state(specs)
    filled = dict.fromkeys(lanes, 0)
    out, extra = np.zeros(CHUNK_ROWS, MARKET_STATE), np.zeros(CHUNK_ROWS, EXTRA)
    ready = np.zeros(CHUNK_ROWS, bool)
    for start, rows, records in _records_of(tape, index):
        made = book.batch(state, held, records, 0, out, extra, ready)
        out["seq"][:made] = start + rows[out["seq"][:made]]
        digest.add(out[:made][ready[:made]], extra[:made][ready[:made]])
        days, begins = np.unique(out["ts"][:made] // DAY_NS, return_index=True)
        for day, low, high in zip(days.tolist(), begins, [*begins[1:], made], strict=True):
            lane, at = lanes[day], filled[day]
            filled[day] = at + high - low
            for array, part in ((lane.states, out), (lane.extra, extra), (lane.ready, ready)):
                array[at : filled[day]] = part[low:high]
            forget(lane.states, lane.extra, lane.ready)
    for lane in lanes.values():
        flush(lane.states, lane.extra, lane.ready)
    return list(lanes.values())


def _records_of(tape: Tape, index: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """One instrument's records, chunk by chunk: where the chunk starts in the tape, their rows in it, themselves."""
    for start in range(0, len(tape.records), CHUNK_ROWS):
        chunk = tape.records[start : start + CHUNK_ROWS]
        rows = np.flatnonzero(chunk["instrument"] == index)
        yield start, rows, np.asarray(chunk[rows])
        forget(tape.records)


def read(folder: Path) -> Iterator[Lane]:
    """The lanes in ``folder``, by instrument and day; memory-mapped."""
    for path in sorted(folder.glob("*/*/states.npy")):
        arrays = [np.load(path.with_name(f"{name}.npy"), mmap_mode="r") for name in ("states", "extra", "ready")]
        yield Lane(path.parent.parent.name, path.parent.name, path.parent, *arrays)


def create(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap:
    """A new array in the file ``path``, its room on the disk taken now: writing a map to a full disk is a SIGBUS."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def flush(*maps: np.ndarray) -> None:
    """Bring what was written into memory maps to the disk."""
    for array in maps:
        if isinstance(array, np.memmap):
            array.flush()


def forget(*maps: np.ndarray) -> None:
    """Give the pages of memory maps back that are in memory now: what was written stays written, and is read again."""
    for array in maps:
        if isinstance(array.base, mmap.mmap):
            array.base.madvise(mmap.MADV_DONTNEED)


def _create(folder: Path, symbol: str, day: str, rows: int) -> Lane:
    place = folder / symbol / day
    place.mkdir(parents=True)
    kinds = (("states", MARKET_STATE), ("extra", EXTRA), ("ready", np.bool_))
    return Lane(symbol, day, place, *(create(place / f"{name}.npy", dtype, (rows,)) for name, dtype in kinds))


def _count(tape: Tape, spec: BookSpec, index: int) -> dict[int, int]:
    """One instrument's events per UTC day, by the kernel's rule that a message's last record ends one."""
    counts: dict[int, int] = {}
    for _, _, records in _records_of(tape, index):
        ends = (records["flags"] & MarketFlag.LAST != 0) & np.isin(records["kind"], EVENT_KINDS)
        ends &= (records["kind"] != Kind.TOP) | (not spec.has_depth)
        days, found = np.unique(records["ts_known"][ends] // DAY_NS, return_counts=True)
        for day, count in zip(days.tolist(), found.tolist(), strict=True):
            counts[day] = counts.get(day, 0) + count
    return counts


def _iso_day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_NS // 1_000_000_000, UTC).date().isoformat()
