"""The finished files: BASE_QUOTE.parquet per symbol, what they are about in their metadata, and download.json beside.

The bytes of a file follow from its candles and what it is about, not from how they came: one download or ten refreshes,
in whatever order. A file is replaced whole, so a reader sees the old one or the new one.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadInput
from data import store
from data.download.venue import CANDLE, TRADE, VALUES
from models.atomic import partial_name, rename, write_atomic

SUMMARY: Final = "download.json"
_KEY: Final = b"portcullis.download"
_NS_PER_MS: Final = 1_000_000
_TIME: Final = pa.field("time", pa.timestamp("ns", "UTC"), nullable=False)


@dataclass(frozen=True, slots=True)
class Form:
    """The rows of a file: ``dtype`` begins with time_ms, the columns of the file with time; the rest is alike."""

    dtype: np.dtype
    columns: tuple[pa.Field, ...]
    key: str  # what tells rows apart, and orders them

    @property
    def schema(self) -> pa.Schema:
        """Of the file."""
        return pa.schema([_TIME, *self.columns])


CANDLES: Final = Form(CANDLE, tuple(pa.field(name, pa.float64()) for name in VALUES), "time_ms")
TRADES: Final = Form(
    TRADE,
    (
        pa.field("id", pa.int64()), pa.field("price", pa.float64()), pa.field("qty", pa.float64()),
        pa.field("side", pa.int8()),
    ),
    "id",
)  # fmt: skip


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


def read_pages(path: Path, form: Form = CANDLES) -> Iterator[np.ndarray]:
    """The rows of ``path``, one row group at a time."""
    for frame in store.read_bars(path):
        rows = np.empty(len(frame), form.dtype)
        rows["time_ms"] = frame["time"].dt.epoch("ms").to_numpy()
        for column in form.columns:
            rows[column.name] = frame[column.name].to_numpy()
        yield rows


def tail(path: Path, count: int, form: Form = CANDLES) -> np.ndarray:
    """The last ``count`` rows of ``path`` (fewer if it is shorter)."""
    last = np.empty(0, form.dtype)
    for page in read_pages(path, form):
        last = np.concatenate([last, page])[-count:]
    return last


def write(path: Path, about: About, pages: Iterable[np.ndarray], form: Form = CANDLES) -> None:
    """Replace ``path`` by ``pages``, in order; durable when this returns."""
    schema = form.schema.with_metadata({_KEY: msgspec.json.encode(about)})
    partial = partial_name(path)
    try:
        with store.FrameWriter(partial, schema) as writer:
            for page in pages:
                writer.write(_frame(page, form))
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        rename(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def summarise(folder: Path, interval_ms: int, form: Form = CANDLES) -> dict[str, Any]:
    """Write download.json from the files themselves and return it."""
    symbols = {}
    venue = timeframe = ""
    for path in sorted(folder.glob("*.parquet")):
        if about := read_about(path):
            venue, timeframe = about.venue, about.timeframe
            symbols[path.stem] = {"symbol": about.symbol} | _range(path, about, interval_ms, form)
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


def _frame(page: np.ndarray, form: Form) -> pl.DataFrame:
    time = pl.Series("time", page["time_ms"] * _NS_PER_MS).cast(pl.Datetime("ns", "UTC"))
    return pl.DataFrame([time, *(pl.Series(column.name, page[column.name]) for column in form.columns)])


def _range(path: Path, about: About, interval_ms: int, form: Form) -> dict[str, Any]:
    """Rows, first and last time, and how many rows the venue lacks: candles from the start asked for, trades by id."""
    rows, first, last = 0, np.zeros(1, form.dtype), np.zeros(1, form.dtype)
    for page in read_pages(path, form):
        first = first if rows else page[:1]
        rows, last = rows + len(page), page[-1:]
    key_from, step = (about.since_ms, interval_ms) if form is CANDLES else (int(first[form.key][0]), 1)
    return {
        "since": store.iso(about.since_ms * _NS_PER_MS),
        "first": store.iso(int(first["time_ms"][0]) * _NS_PER_MS),
        "last": store.iso(int(last["time_ms"][0]) * _NS_PER_MS),
        "rows": rows,
        "missing": (int(last[form.key][0]) - key_from) // step + 1 - rows,
    }
