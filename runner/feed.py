"""Where records come from: a recorded tape, or a built-in market. Each is known by an id that fixes every byte.

A feed of bars brings dtype BAR, one of books dtype RECORD, both by ``ts_known``. A feed of books states the most that
a row's ``ts_known`` lies behind its ``ts_event``: so long a simulated exchange has to wait for what it saw first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from core.canonical import hash_json
from core.errors import BrokenInvariant, Refused
from core.instruments import Instrument
from core.records import BAR, MINUTE_NS, RECORD, RECORD_BYTES
from core.settings import as_json
from features.market_state import BookSpec, specs_of
from feeds import market, synthetic
from feeds.tape import HEAD_BYTES, Tape
from models.manifest import Manifest

_CHUNK_ROWS: Final = 8_192
_BOOK_CHUNK_ROWS: Final = 32_768


@dataclass(frozen=True, slots=True)
class Feed:
    """A market to play: what it is and its records in order."""

    id: str
    source: dict[str, Any]  # for the journal's header
    instruments: tuple[Instrument, ...]
    interval_ns: int  # 0: books
    rows: int | None  # how many, if that is known
    trade_from_ns: int  # bars up to this ts_event are warm-up
    chunks: Callable[[], Iterator[np.ndarray]]  # arrays of dtype BAR or RECORD, from the first row on
    latency_ns_max: int = 0  # books: the largest ts_known - ts_event
    book_specs: tuple[BookSpec, ...] = ()  # what MarketStates are made with; none: the tape does not say


def tape_feed(path: Path) -> Feed:
    """The tape at ``path``, every byte of it checked. Raises BadTape if it is not intact."""
    tape = Tape.open(path)
    if tape.interval_ns == 0:
        return _book_tape_feed(tape)
    bars = np.asarray(tape.records).view(BAR)  # rows of a memory map's own class cost 2 µs each to take
    return Feed(
        id=tape.tape_id,
        source={"kind": "tape", "tape_id": tape.tape_id},
        instruments=tape.instruments,
        interval_ns=tape.interval_ns,
        rows=len(bars),
        trade_from_ns=int(tape.meta.get("trade_from_ns", 0)),
        chunks=lambda: (bars[low : low + _CHUNK_ROWS] for low in range(0, len(bars), _CHUNK_ROWS)),
    )


def _book_tape_feed(tape: Tape) -> Feed:
    """A tape of books, read piece by piece: what was read of a map would stay in memory."""
    rows, path, latency_ns_max = len(tape.records), tape.path, 0
    for low in range(0, rows, _BOOK_CHUNK_ROWS):
        chunk = tape.records[low : low + _BOOK_CHUNK_ROWS]
        latency_ns_max = max(latency_ns_max, int((chunk["ts_known"] - chunk["ts_event"]).max()))

    def chunks() -> Iterator[np.ndarray]:
        for low in range(0, rows, _BOOK_CHUNK_ROWS):
            count = min(_BOOK_CHUNK_ROWS, rows - low)
            yield np.fromfile(path, RECORD, count, offset=HEAD_BYTES + low * RECORD_BYTES)

    return Feed(
        id=tape.tape_id,
        source={"kind": "tape", "tape_id": tape.tape_id},
        instruments=tape.instruments,
        interval_ns=0,
        rows=rows,
        trade_from_ns=0,
        chunks=chunks,
        latency_ns_max=latency_ns_max,
        book_specs=tuple(specs_of(tape.instruments, tape.meta)) if "asset_class" in tape.meta else (),
    )


def builtin_feed(days: int, seed: int, strength: float, feed_latency_ns: int) -> Feed:
    """The built-in market. Raises BadConfig for arguments out of bounds."""
    spec = market.BUILTIN
    if spec.dynamics is None:
        raise BrokenInvariant("the built-in market has no dynamics")
    source = {
        "kind": "builtin",
        "market_hash": hash_json(as_json(spec)),
        "days": days,
        "seed": seed,
        "strength": repr(strength),
        "feed_latency_ns": feed_latency_ns,
    }
    return Feed(
        id=hash_json(source),
        source=source,
        instruments=spec.instruments(),
        interval_ns=spec.dynamics.interval_minutes * MINUTE_NS,
        rows=None,
        trade_from_ns=0,
        chunks=lambda: synthetic.market(spec, days=days, seed=seed, strength=strength, feed_latency_ns=feed_latency_ns),
    )


def check_feed(feed: Feed, manifest: Manifest) -> None:
    """Raise Refused unless ``feed`` has the instruments, grids, fees and bar length of the bundle's ``manifest``."""
    if feed.interval_ns != manifest.interval_ns:
        it, other = (f"bars of {ns} ns" if ns else "books" for ns in (feed.interval_ns, manifest.interval_ns))
        raise Refused(f"{it}, the bundle is for {other}: use a tape of its interval")
    ours = [item.as_json() for item in feed.instruments]
    if len(ours) != len(manifest.instruments):
        raise Refused(
            f"{len(ours)} instruments ({', '.join(item['symbol'] for item in ours)}), the bundle was trained on "
            f"{len(manifest.instruments)}: use a tape of its market"
        )
    for index, (have, want) in enumerate(zip(ours, manifest.instruments, strict=True)):
        for key in sorted(have.keys() | want.keys()):
            if have.get(key) != want.get(key):
                raise Refused(
                    f"instrument {index} ({have['symbol']}): {key} is {have.get(key)!r}, the bundle was trained and "
                    f"judged with {want.get(key)!r}: use a tape of its market"
                )
