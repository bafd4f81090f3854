"""The prepared files of the peer benchmarks as records of this project, converted once.

A tape of work MM-1 is an array in hftbacktest's event layout (fields ``ev``, ``exch_ts``, ``local_ts``, ``px``,
``qty``; others are ignored), as ``.npy`` or under the key ``tape`` of an ``.npz``. Bars of work SMA are an ``.npz``
with ``time_ns`` (open times) and ``open``, ``high``, ``low``, ``close`` as floats.

Prices and quantities become whole ticks and lots. What is not on the grid, below zero, without a side or known before
it happened is refused with its file and row: a result of altered data would compare nothing.
"""

import hashlib
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadInput
from core.layout import PRICE_TICKS_MAX
from core.records import BAR, MINUTE_NS, RECORD, Kind, MarketFlag, Side
from models.atomic import partial_name, rename

CHUNK_ROWS: Final = 1 << 19
LARGE_ROWS: Final = 1 << 20  # from here on the records are kept in a file and mapped
LOTS_MAX: Final = 2**41
TIME_MAX_NS: Final = 2**61
CONVERTER: Final = 1  # part of a kept file's name: raise it when a row is converted differently
FIELDS: Final = ("ev", "exch_ts", "local_ts", "px", "qty")
PRICES: Final = ("open", "high", "low", "close")

DEPTH, DEAL, WIPE, SNAPSHOT = 1, 2, 3, 4  # the low byte of ``ev``
KINDS: Final = np.zeros(256, np.uint8)
KINDS[[DEPTH, DEAL, WIPE, SNAPSHOT]] = [Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.LEVEL]
EXCHANGE_SHIFT, LOCAL_SHIFT, BUY_SHIFT, SELL_SHIFT = (np.uint64(bit) for bit in (31, 30, 29, 28))


def load(path: Path, tick: str, lot: str, cache: Path) -> np.ndarray:
    """The tape at ``path`` as (n,) RECORD sorted by ``ts_known``; a large one is a map of a file in ``cache``.

    A kept file is named by a hash of what it was made from, so it is never stale. Raises BadInput naming file and row.
    """
    events = read_events(path)
    if len(events) < LARGE_ROWS:
        return np.concatenate([np.zeros(0, RECORD), *converted(events, tick, lot, str(path))])
    kept = cache / f"{path.stem}-{_digest(path, tick, lot)}.npy"
    if not kept.exists():
        _keep(kept, len(events), converted(events, tick, lot, str(path)))
    mapped: np.ndarray = np.load(kept, mmap_mode="r", allow_pickle=False)
    return mapped


def read_events(path: Path) -> np.ndarray:
    """The rows of a prepared tape as they lie in the file; an ``.npy`` is mapped. Raises BadInput for another file."""
    events = _read(path)
    if not isinstance(events, np.ndarray):
        if "tape" not in events:
            raise BadInput(f"{path}: has no array 'tape' but {', '.join(events) or 'nothing'}")
        events = events["tape"]
    names = events.dtype.names or ()
    missing = [name for name in FIELDS if name not in names]
    if events.ndim != 1 or missing:
        what = f"fields {', '.join(missing)} are missing" if missing else f"its shape is {events.shape}"
        raise BadInput(f"{path}: not one row per event in hftbacktest's layout: {what}")
    fractional = [name for name in FIELDS[:3] if events.dtype[name].kind not in "iu"]
    if fractional:
        raise BadInput(f"{path}: {', '.join(fractional)} must be whole numbers, as in hftbacktest's event_dtype")
    return events


def converted(events: np.ndarray, tick: str, lot: str, where: str) -> Iterator[np.ndarray]:
    """``events`` as RECORDs, chunk by chunk, in the order we learn of them.

    The last row of each instant is flagged LAST: there the book is whole again. Raises BadInput naming the row.
    """
    order = _local_order(events, where)
    known = events["local_ts"]
    for first in range(0, len(order), CHUNK_ROWS):
        numbers = order[first : first + CHUNK_ROWS]
        in_place = numbers[-1] - numbers[0] == len(numbers) - 1 and bool((np.diff(numbers) == 1).all())
        chunk = events[numbers[0] : numbers[-1] + 1] if in_place else events[numbers]
        part = _records(chunk, tick, lot, _Rows(where, numbers))
        last = np.ones(len(part), bool)
        last[:-1] = part["ts_known"][1:] != part["ts_known"][:-1]
        after = first + len(numbers)
        last[-1] = after == len(order) or known[order[after]] != part["ts_known"][-1]
        part["flags"][last] |= int(MarketFlag.LAST)
        yield part


def _local_order(events: np.ndarray, where: str) -> np.ndarray:
    """The rows of all events in the order we learn of them, (events,) int64.

    Where the two clocks order events differently, the layout gives an event twice, once for each clock; the row for
    the exchange says nothing that the other does not. Raises BadInput for an event that one of the clocks never sees.
    """
    there, here = _bit(events["ev"], EXCHANGE_SHIFT), _bit(events["ev"], LOCAL_SHIFT)
    rows = np.arange(len(events))
    if (there != here).any():
        halves = [np.flatnonzero(there & ~here), np.flatnonzero(here & ~there)]
        keys = [np.sort(_key(events[half])) for half in halves]
        if len(keys[0]) != len(keys[1]) or (keys[0] != keys[1]).any():
            raise BadInput(
                f"{where}: {len(halves[0])} rows are for the exchange's clock only and do not pair off with "
                f"the {len(halves[1])} for the local one: each event must reach both"
            )
        rows = np.flatnonzero(here | ~there)
    known = events["local_ts"][rows]
    in_order = len(known) < 2 or bool((known[1:] >= known[:-1]).all())
    return rows if in_order else rows[np.argsort(known, kind="stable")]


def _key(events: np.ndarray) -> np.ndarray:
    """What an event says, without its clocks, as bytes that can be compared."""
    said = np.zeros(len(events), [(name, "<i8") for name in FIELDS])
    said["ev"] = events["ev"].astype(np.uint64) & np.uint64(0x3FFF_FFFF)
    said["exch_ts"], said["local_ts"] = events["exch_ts"], events["local_ts"]
    said["px"], said["qty"] = (events[name].astype("<f8").view("<i8") for name in ("px", "qty"))
    return said.view(f"V{said.dtype.itemsize}")


def read_bars(path: Path, tick: str) -> np.ndarray:
    """The bars at ``path`` as (n,) BAR of instrument 0, prices in ticks, known 1 ns after their close.

    A bar's length is the shortest distance of two open times. Volume is 1 lot: the work has no limit of size. High and
    low are widened to hold open and close, which recorded ones do not always. Raises BadInput naming file and row.
    """
    held = _read(path)
    missing = [name for name in ("time_ns", *PRICES) if isinstance(held, np.ndarray) or name not in held]
    if missing:
        raise BadInput(f"{path}: not prepared bars: {', '.join(missing)} missing")
    opened = held["time_ns"]
    if opened.dtype.kind not in "iu" or any(held[name].shape != (len(opened),) for name in PRICES):
        raise BadInput(f"{path}: time_ns must be whole numbers, and every price has one value per bar")
    rows, places = np.zeros(len(opened), BAR), _Rows(str(path), np.arange(len(opened)))
    places.refuse(np.append(False, opened[1:] <= opened[:-1])[: len(opened)], "does not open after the bar before it")
    for name in PRICES:
        rows[name] = _on_grid(held[name].astype(float), tick, name, places, 1, PRICE_TICKS_MAX)
    rows["high"] = np.maximum.reduce([rows[name] for name in ("open", "high", "close")])
    rows["low"] = np.minimum.reduce([rows[name] for name in ("open", "low", "close")])
    rows["kind"], rows["volume"] = Kind.BAR, 1
    rows["ts_event"] = opened + (int(np.diff(opened).min()) if len(opened) > 1 else MINUTE_NS)
    rows["ts_known"] = rows["ts_event"] + 1
    return rows


@dataclass(frozen=True)
class _Rows:
    """Which rows of which file an array is about."""

    where: str
    numbers: np.ndarray  # (n,) int64, from 0

    def refuse(self, wrong: np.ndarray, complaint: str) -> None:
        """Raise BadInput for the first row at which ``wrong`` (n,) is true."""
        if wrong.any():
            raise BadInput(f"{self.where}: row {self.numbers[int(np.argmax(wrong))]} {complaint}")


def _records(chunk: np.ndarray, tick: str, lot: str, rows: _Rows) -> np.ndarray:
    ev = chunk["ev"].astype(np.uint64)
    kind = (ev & np.uint64(0xFF)).astype(np.uint8)
    buys, sells = _bit(ev, BUY_SHIFT), _bit(ev, SELL_SHIFT)
    rows.refuse(KINDS[kind] == 0, "is of a kind other than depth (1), trade (2), clear (3) and snapshot (4)")
    rows.refuse(buys == sells, "must be of one side: exactly one of the flags buy and sell")
    rows.refuse((chunk["exch_ts"] < 0) | (chunk["local_ts"] > TIME_MAX_NS), "has a time outside 0..2**61 ns")
    rows.refuse(chunk["local_ts"] < chunk["exch_ts"], "is known before it happened: local_ts is below exch_ts")
    part = np.zeros(len(chunk), RECORD)
    part["kind"] = KINDS[kind]
    part["side"] = np.where(buys, int(Side.BUY), int(Side.SELL))
    part["ts_event"], part["ts_known"] = chunk["exch_ts"], chunk["local_ts"]
    part["flags"] = (kind == SNAPSHOT) * int(MarketFlag.SNAPSHOT)
    wipes = kind == WIPE
    price = chunk["px"].astype(float)
    whole_side = wipes & ~(price >= 0)  # NaN as well
    ticks = _on_grid(np.where(whole_side, 0.0, price), tick, "px", rows, 0, PRICE_TICKS_MAX)
    rows.refuse((ticks < 1) & ~wipes, f"has a px below one tick of {tick}")
    ticks[wipes & ~whole_side & ~buys] = np.maximum(1, ticks[wipes & ~whole_side & ~buys])  # asks up to 0: none
    part["a"] = ticks
    part["b"] = _on_grid(np.where(wipes, 0.0, chunk["qty"]), lot, "qty", rows, 0, LOTS_MAX)
    return part


def _bit(ev: np.ndarray, shift: np.uint64) -> np.ndarray:
    return (ev.astype(np.uint64) >> shift) & np.uint64(1) == 1


def _on_grid(values: np.ndarray, step: str, name: str, rows: _Rows, low: int, high: int) -> np.ndarray:
    """``values`` (n,) float in whole steps, int64. A quotient of rounded decimals misses by parts in 1e15."""
    with np.errstate(invalid="ignore"):
        steps = values / float(step)
        whole = np.rint(steps)
        on = np.abs(steps - whole) <= np.minimum(0.25, 1e-6 + 1e-12 * np.abs(steps))
    rows.refuse(~on, f"has a {name} that is not a multiple of {step}: see --tick and --lot")
    rows.refuse((whole < low) | (whole > high), f"has a {name} outside {low}..{high} steps of {step}")
    return whole.astype(np.int64)


def _read(path: Path) -> Any:
    """The array of an ``.npy``, mapped, or the arrays of an ``.npz`` by name."""
    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
        return held if isinstance(held, np.ndarray) else {name: held[name] for name in held.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path}: not a whole .npy or .npz file ({error})") from None


def _digest(path: Path, tick: str, lot: str) -> str:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{CONVERTER} {tick} {lot}".encode())
    return digest.hexdigest()[:16]


def _keep(kept: Path, rows: int, parts: Iterator[np.ndarray]) -> None:
    """Write the records to ``kept``; it appears whole or not at all."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(kept)
    try:
        with open(partial, "wb") as file:
            head = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False, "shape": (rows,)}
            np.lib.format.write_array_header_1_0(file, head)
            for part in parts:
                part.tofile(file)
            file.flush()
            os.fsync(file.fileno())
        rename(partial, kept)
    finally:
        partial.unlink(missing_ok=True)
