"""Lanes: the MarketStates of one instrument and UTC day, contiguous and memory-mapped, as training reads them.

A folder per instrument, a folder per day in it, and in that one array per quantity, all of the same length::

    <symbol>/<2024-08-08>/states.npy  extra.npy  ready.npy  delta_hat.npy  label_known_at.npy

``write`` makes them from a tape in one pass, with memory for a chunk; ``read`` maps them. The day is that of ``ts``.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadInput
from core.records import DAY_NS, Kind, MarketFlag
from features.market_state import EXTRA, MARKET_STATE, BookSpec, specs_of
from features.market_stream import MarketStates, RowsDigest
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


def write(tape: Tape, folder: Path) -> tuple[list[Lane], RowsDigest]:
    """The lanes of ``tape`` in ``folder``, in order of instrument and day, and the digest of all their ready rows.

    Raises BadInput for a tape of bars, BadConfig for a venue or class without a token.
    """
    if tape.interval_ns != 0:
        raise BadInput(f"{tape.path}: a tape of bars; lanes are made from books, trades and quotes")
    specs = specs_of(tape.instruments, tape.meta)
    lanes = {
        key: _create(folder, tape.instruments[key[0]].symbol, _iso_day(key[1]), rows)
        for key, rows in sorted(_count(tape, specs).items())
    }
    stream, filled = MarketStates(specs), dict.fromkeys(lanes, 0)
    for start in range(0, len(tape.records), CHUNK_ROWS):
        chunk = tape.records[start : start + CHUNK_ROWS]
        out, extra, ready = stream.add(chunk)
        index = chunk["instrument"][out["seq"] - start]
        days = out["ts"] // DAY_NS
        for key in np.unique(np.stack([index, days]), axis=1).T.tolist():
            rows = (index == key[0]) & (days == key[1])
            lane, at = lanes[tuple(key)], filled[tuple(key)]
            place = slice(at, at + int(rows.sum()))
            for array, part in ((lane.states, out), (lane.extra, extra), (lane.ready, ready)):
                array[place] = part[rows]
            filled[tuple(key)] = place.stop
    for lane in lanes.values():
        for array in (lane.states, lane.extra, lane.ready):
            array.flush()
    return list(lanes.values()), stream.digest


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


def _create(folder: Path, symbol: str, day: str, rows: int) -> Lane:
    place = folder / symbol / day
    place.mkdir(parents=True)
    kinds = (("states", MARKET_STATE), ("extra", EXTRA), ("ready", np.bool_))
    return Lane(symbol, day, place, *(create(place / f"{name}.npy", dtype, (rows,)) for name, dtype in kinds))


def _count(tape: Tape, specs: list[BookSpec]) -> dict[tuple[int, int], int]:
    """Events per (instrument, UTC day), by the kernel's rule that a message's last record ends one."""
    has_depth = np.array([spec.has_depth for spec in specs])
    counts: dict[tuple[int, int], int] = {}
    for start in range(0, len(tape.records), CHUNK_ROWS):
        chunk = tape.records[start : start + CHUNK_ROWS]
        ends = (chunk["flags"] & MarketFlag.LAST != 0) & np.isin(chunk["kind"], EVENT_KINDS)
        ends &= (chunk["kind"] != Kind.TOP) | ~has_depth[chunk["instrument"]]
        pairs = np.stack([chunk["instrument"][ends], chunk["ts_known"][ends] // DAY_NS])
        keys, found = np.unique(pairs, axis=1, return_counts=True)
        for (index, day), count in zip(keys.T.tolist(), found.tolist(), strict=True):
            counts[index, day] = counts.get((index, day), 0) + count
    return counts


def _iso_day(day: int) -> str:
    return datetime.fromtimestamp(day * DAY_NS // 1_000_000_000, UTC).date().isoformat()
