"""A venue's market on disk: raw frames as ingest reads them, and the tape that was seen while they came.

A folder holds ``market.yaml`` (instruments and grids, for ``data.market``), ``<symbol>-<start>-<number>.gz`` and
``<start>.tape``. The tape is what ingest makes of that start's files, to the byte; killed, a recorder leaves none, and
ingest still does. Recording again into the folder adds to it.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import yaml

from core.errors import BadInput
from core.records import RECORD, RECORD_BYTES
from core.settings import as_json
from feeds import market as markets
from feeds.dialects import Rule
from feeds.market import Market
from feeds.tape import write_tape
from runner.lease import lease
from runner.live.feed import LiveFeed
from runner.live.pieces import Pieces, put
from runner.live.settings import Live

FLUSH_S: Final = 1.0  # what a kill -9 may cost
PIECE_BYTES: Final = 256 * 2**20
PIECE_S: Final = 3600.0
CHUNK_ROWS: Final = 65_536
RECORDING: Final = ("recording", "one recorder per folder: stop it or use another --to")
MISSED: Final = (Rule.GAP, Rule.CHECKSUM)
HEADER: Final = """\
# What {venue} said of its instruments when this folder was begun; use it as data.market. The fees are ccxt's defaults:
# put yours in their place.
"""

Found = dict[str, Any]


class Recorder:
    """Writes one run of the recorder into ``folder``. ``open``, then ``line`` and ``tick``, then ``close``."""

    def __init__(self, feed: LiveFeed, folder: Path, venue: str, *, with_tape: bool = True) -> None:
        self._feed, self._folder, self._venue, self._with_tape = feed, folder, venue, with_tape
        self._run = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._pieces: list[Pieces] = []
        self._spool: IO[bytes] | None = None
        self._delay_ms, self.records = 0.0, 0
        self.tape: Path | None = None
        self.tape_id = ""

    def open(self, market: Market) -> None:
        """Begin the files. Raises BadInput if the folder was begun with other instruments."""
        _keep_market(self._folder / "market.yaml", market)
        for left in self._folder.glob("*.records"):
            left.unlink()  # of a recorder that was killed: ingest makes its tape
        if self._with_tape:
            self._spool = open(self._folder / f"{self._run}.records", "xb", buffering=0)  # noqa: SIM115 (held open)
        for listing in market.listings:
            self._pieces.append(Pieces(self._folder, listing.symbol, self._run, piece_bytes=PIECE_BYTES))
        self._feed.sink = self.line

    def line(self, instrument: int, line: bytes) -> None:
        """One line of an instrument."""
        self._pieces[instrument].write(line)

    def flush(self) -> None:
        """Bring the lines that came to the disk."""
        for pieces in self._pieces:
            pieces.flush()

    def tick(self) -> None:
        """Bring what came to the disk."""
        self.flush()
        self._keep(self._feed.take())

    def end_pieces(self) -> None:
        """The next lines begin new files."""
        for pieces in self._pieces:
            pieces.end_piece()

    def close(self) -> None:
        """After the feed's end: the last lines, and the tape."""
        for pieces in self._pieces:
            pieces.close()
        self._keep(self._feed.take(all_of_it=True))
        for link in self._feed.links:
            link.follower.on_end()
        self.release()
        if not self._with_tape:
            return
        spool = self._folder / f"{self._run}.records"
        if self.records:
            self.tape = self._folder / f"{self._run}.tape"
            meta = {"source": f"{self._venue}_ws", "has_depth": True, "asset_class": self._feed.market.asset_class}
            self.tape_id = write_tape(
                self.tape, _chunks(spool), instruments=self._feed.market.instruments(), interval_ns=0, meta=meta
            )
        spool.unlink()

    def release(self) -> None:
        """Let go of every file as it is: after an error, what is on the disk is what can be had."""
        for pieces in self._pieces:
            pieces.release()
        if self._spool is not None:
            self._spool.close()

    def found(self) -> Found:
        """What was recorded so far, as plain data."""
        links = self._feed.links
        return {
            "venue": self._venue,
            "folder": str(self._folder),
            "messages": sum(link.counts.frames for link in links),
            "records": self.records,
            "bytes": sum(pieces.bytes for pieces in self._pieces),
            "files": sum(len(pieces.files) for pieces in self._pieces),
            "gaps": sum(link.follower.findings.counts[rule] for link in links for rule in MISSED),
            "breaks": sum(link.counts.breaks for link in links),
            "full": self._feed.full_times,
            "delay_ms": round(self._delay_ms, 1),
            "tape": str(self.tape) if self.tape else None,
            "tape_id": self.tape_id or None,
            "symbols": {
                link.symbol: {
                    "messages": link.counts.frames,
                    "records": link.counts.records,
                    "breaks": link.counts.breaks,
                    "snapshots": link.counts.snapshots,
                    "has_book": link.is_up,
                    "reasons": dict(Counter(link.counts.reasons).most_common(8)),
                    "findings": {rule.value: n for rule, n in sorted(link.follower.findings.counts.items()) if n},
                }
                for link in links
            },
        }

    def _keep(self, records: np.ndarray) -> None:
        if not len(records):
            return
        if self._spool is not None:
            put(self._spool, records.tobytes())
        self.records += len(records)
        self._delay_ms = float(np.mean(records["ts_known"] - records["ts_event"])) / 1e6


async def record(
    settings: Live,
    folder: Path,
    *,
    seconds: float | None,
    with_tape: bool = True,
    progress: Callable[[Found], None] = lambda found: None,
) -> Found:
    """Record until ``seconds`` are over or a signal (Ctrl-C, SIGTERM) comes; what was recorded, as plain data.

    Raises BadInput for an unknown symbol and without a connection, OSError as the disk does, Refused if another
    process records into ``folder``.
    """
    with lease(folder, RECORDING):
        feed = LiveFeed(settings)
        recorder = Recorder(feed, folder, settings.venue, with_tape=with_tape)
        try:
            try:
                recorder.open(await feed.load())
                feed.start()
                await _follow(recorder, seconds, progress)
            finally:
                await feed.close()
            recorder.close()
        finally:
            recorder.release()
        return recorder.found()


async def _follow(recorder: Recorder, seconds: float | None, progress: Callable[[Found], None]) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        end_s = loop.time() + seconds if seconds is not None else float("inf")
        next_piece_s = loop.time() + PIECE_S
        while not stop.is_set() and (now_s := loop.time()) < end_s:
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(FLUSH_S, end_s - now_s))
            recorder.tick()
            if loop.time() > next_piece_s:
                recorder.end_pieces()
                next_piece_s += PIECE_S
            progress(recorder.found())
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _keep_market(path: Path, market: Market) -> None:
    if path.exists():
        known = markets.from_yaml(path.read_text(encoding="utf-8"), where=str(path))
        if (known.venue, known.listings) != (market.venue, market.listings):
            raise BadInput(f"{path}: begun with other instruments or grids than {market.venue}'s now; record them into "
                           "another folder")  # fmt: skip
        return
    told = {key: value for key, value in as_json(market).items() if value is not None}
    text = HEADER.format(venue=market.venue) + yaml.safe_dump(told, sort_keys=False)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _chunks(spool: Path) -> Iterator[np.ndarray]:
    with open(spool, "rb") as file:
        while data := file.read(CHUNK_ROWS * RECORD_BYTES):
            yield np.frombuffer(data, RECORD)
