"""The finished files: BASE_QUOTE.parquet per symbol, what they are about in their metadata, and download.json beside.

The bytes of a file follow from its candles and what it is about, not from how they came: one download or ten refreshes,
in whatever order. A file is replaced whole, so a reader sees the old one or the new one.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadInput
from data import store
from data.download.venue import CANDLE, VALUES
from models.atomic import partial_name, rename, write_atomic

SUMMARY: Final = "download.json"
_KEY: Final = b"portcullis.download"
_NS_PER_MS: Final = 1_000_000
_ARROW: Final = pa.schema(
    [pa.field("time", pa.timestamp("ns", "UTC"), nullable=False)] + [pa.field(name, pa.float64()) for name in VALUES]
)


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a file holds: every candle that the venue had from ``since_ms`` on, up to the last one in it."""

    venue: str
    symbol: str  # in ccxt's spelling
    timeframe: str
    since_ms: int


def read_about(path: Path) -> About | None:
    """What ``path`` says about itself; None if it was not made by a download. Raises BadInput if it is damaged."""
    try:
        held = (pq.read_schema(path).metadata or {}).get(_KEY)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not readable as Parquet ({error}); delete it to download it again") from None
    return None if held is None else msgspec.json.decode(held, type=About)


def read_pages(path: Path) -> Iterator[np.ndarray]:
    """The candles of ``path``, dtype CANDLE, one row group at a time."""
    for frame in store.read_bars(path):
        candles = np.empty(len(frame), CANDLE)
        candles["time_ms"] = frame["time"].dt.epoch("ms").to_numpy()
        for name in VALUES:
            candles[name] = frame[name].to_numpy()
        yield candles


def tail(path: Path, count: int) -> np.ndarray:
    """The last ``count`` candles of ``path`` (fewer if it is shorter)."""
    last = np.empty(0, CANDLE)
    for page in read_pages(path):
        last = np.concatenate([last, page])[-count:]
    return last


def write(path: Path, about: About, pages: Iterable[np.ndarray]) -> None:
    """Replace ``path`` by ``pages``, in order; durable when this returns."""
    schema = _ARROW.with_metadata({_KEY: msgspec.json.encode(about)})
    partial = partial_name(path)
    try:
        with store.FrameWriter(partial, schema) as writer:
            for page in pages:
                writer.write(_frame(page))
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def summarise(folder: Path, interval_ms: int) -> dict[str, Any]:
    """Write download.json from the files themselves and return it."""
    symbols = {}
    venue = timeframe = ""
    for path in sorted(folder.glob("*.parquet")):
        if about := read_about(path):
            venue, timeframe = about.venue, about.timeframe
            symbols[path.stem] = {"symbol": about.symbol} | _range(path, about, interval_ms)
    found = {"venue": venue, "timeframe": timeframe, "symbols": symbols}
    write_atomic(folder / SUMMARY, (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
    return found


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """``folder`` for this process alone, without a killed one's half-written files. Raises BadInput if it is taken."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        for left in folder.glob(".*.parquet.*.partial"):
            left.unlink()
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BadInput(f"{folder}: another download writes to it; wait for it or use another --out") from None


def _frame(page: np.ndarray) -> pl.DataFrame:
    time = pl.Series("time", page["time_ms"] * _NS_PER_MS).cast(pl.Datetime("ns", "UTC"))
    return pl.DataFrame([time, *(pl.Series(name, page[name]) for name in VALUES)])


def _range(path: Path, about: About, interval_ms: int) -> dict[str, Any]:
    """Rows, first and last open time, and how many candles the venue lacks from the start asked for to the last."""
    rows, first_ms, last_ms = 0, 0, 0
    for page in read_pages(path):
        first_ms = first_ms if rows else int(page["time_ms"][0])
        rows, last_ms = rows + len(page), int(page["time_ms"][-1])
    return {
        "since": store.iso(about.since_ms * _NS_PER_MS),
        "first": store.iso(first_ms * _NS_PER_MS),
        "last": store.iso(last_ms * _NS_PER_MS),
        "rows": rows,
        "missing": (last_ms - about.since_ms) // interval_ms + 1 - rows,
    }
