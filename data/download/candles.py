"""A folder of candles or trades brought up to date: which ranges are lacking, fetching them side by side, joining them.

Each symbol has at most two lacking ranges: before its file begins (an earlier --since) and after it ends. A range goes
into a journal page by page and from there into the file, so a killed download goes on at its last page. The range
after the end begins OVERLAP candles early: what the venue says about those must be what it said before.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from core.errors import BadInput
from data.download import files
from data.download.files import About, Form
from data.download.journal import Journal
from data.download.venue import Pair, Venue, iso

TRADES: Final = "trades"  # instead of a timeframe
WINDOW_MS: Final = 3_600_000  # how far venues look for trades from a time
OVERLAP: Final = 10  # candles or trades before the end of a file that a refresh asks for again
Report = Callable[[str, int, int], None]  # symbol, candles covered, candles in the range


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: candles that open, or trades, in [since_ms, until_ms). None: where the file begins; now."""

    symbols: list[str]
    timeframe: str  # or TRADES
    since_ms: int | None
    until_ms: int | None
    folder: Path


@dataclass(frozen=True, slots=True)
class _Job:
    """One symbol's part: times are on the grid of the timeframe (of trades: ms), [since_ms, end_ms) has ended."""

    pair: Pair
    path: Path
    about: About
    stored: About | None  # of the file that is there
    interval_ms: int
    end_ms: int

    @property
    def form(self) -> Form:
        """What its rows are."""
        return files.TRADES if self.about.timeframe == TRADES else files.CANDLES


async def download(venue: Venue, request: Request, report: Report) -> dict[str, Any]:
    """Bring ``request.folder`` up to date and return its summary, with the candles added and found changed per file.

    Symbols are independent: one that fails leaves the others complete. Raises BadInput for those that failed.
    """
    with files.only_writer(request.folder):
        jobs = await _plan(venue, request)
        updates = (_update(venue, job, report) for job in jobs)
        results = await asyncio.gather(*updates, return_exceptions=True)
        found = files.summarise(request.folder, jobs[0].interval_ms, jobs[0].form)
        faults: list[str] = []
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, BadInput):
                faults.append(str(result))
            elif isinstance(result, BaseException):
                raise result
            else:
                found["symbols"][job.pair.stem] |= {"added": result[0], "changed": result[1]}
        if faults:
            raise BadInput("; ".join(faults))
        return found


async def _plan(venue: Venue, request: Request) -> list[_Job]:
    interval_ms = 1 if request.timeframe == TRADES else venue.interval_ms(request.timeframe)
    pairs = await venue.pairs(request.symbols)
    now_ms = await venue.now_ms()
    until_ms = now_ms if request.until_ms is None else min(request.until_ms, now_ms)
    end_ms = until_ms // interval_ms * interval_ms  # a candle that ends later is still open
    _check_folder(request.folder, venue.name, request.timeframe)
    return [_job(venue.name, pair, request, interval_ms, end_ms) for pair in pairs]


def _job(venue: str, pair: Pair, request: Request, interval_ms: int, end_ms: int) -> _Job:
    path = request.folder / f"{pair.stem}.parquet"
    stored = files.read_about(path) if path.exists() else None
    if path.exists() and (stored is None or stored.symbol != pair.symbol):
        held = f"holds {stored.symbol}" if stored else "was not made by a download"
        raise BadInput(f"{path} {held}; use another --out for {pair.symbol}")
    since_ms = stored.since_ms if stored and request.since_ms is None else request.since_ms
    if since_ms is None:
        raise BadInput(f"{path} does not exist yet; say with --since where {pair.symbol} is to begin")
    since_ms = -(-since_ms // interval_ms) * interval_ms
    if since_ms >= end_ms:
        raise BadInput(
            f"{pair.symbol} is to begin at {iso(since_ms)}, the last candle asked for ends at {iso(end_ms)}; "
            "choose an earlier --since or a later --until"
        )
    first_ms = min(since_ms, stored.since_ms) if stored else since_ms
    about = About(venue=venue, symbol=pair.symbol, timeframe=request.timeframe, since_ms=first_ms)
    return _Job(pair, path, about, stored, interval_ms, end_ms)


def _check_folder(folder: Path, venue: str, timeframe: str) -> None:
    """Raises BadInput if a file in ``folder`` is another venue's or timeframe's: the summary states one of each."""
    for path in sorted(folder.glob("*.parquet")):
        about = files.read_about(path)
        if about and (about.venue, about.timeframe) != (venue, timeframe):
            raise BadInput(
                f"{path} holds {about.timeframe} of {about.venue}, not {timeframe} of {venue}; use another --out"
            )


async def _update(venue: Venue, job: _Job, report: Report) -> tuple[int, list[str]]:
    """Fetch what ``job`` lacks and rewrite its file. Returns the candles added and what was found changed."""
    if job.stored is None:
        return await _begin(venue, job, report), []
    added = 0
    if job.about.since_ms < job.stored.since_ms:
        added = await _extend_back(venue, job, job.stored.since_ms, report)
    more, changed = await _extend(venue, job, report)
    return added + more, changed


async def _begin(venue: Venue, job: _Job, report: Report) -> int:
    """The first download of a symbol."""
    with _journal(job, job.about.since_ms) as journal:
        await _fetch(venue, job, journal, job.end_ms, report)
        if not (count := sum(map(len, journal.pages()))):
            journal.remove()
            what = TRADES if job.form is files.TRADES else f"{job.about.timeframe} candles"
            raise BadInput(
                f"{venue.name} has no {what} of {job.pair.symbol} "
                f"from {iso(job.about.since_ms)} to {iso(job.end_ms)}; choose other dates or leave the symbol out"
            )
        files.write(job.path, job.about, journal.pages(), job.form)
        journal.remove()
    return count


async def _extend_back(venue: Venue, job: _Job, end_ms: int, report: Report) -> int:
    """Add the candles before the file's first: [since_ms, end_ms)."""
    with _journal(job, job.about.since_ms) as journal:
        await _fetch(venue, job, journal, end_ms, report)
        stored = files.read_pages(job.path, job.form)
        files.write(job.path, job.about, chain(journal.pages(), stored), job.form)
        journal.remove()
        return sum(map(len, journal.pages()))


async def _extend(venue: Venue, job: _Job, report: Report) -> tuple[int, list[str]]:
    """Add the rows after the file's last; compare those before it that the venue is asked for again."""
    last = files.tail(job.path, OVERLAP, job.form)
    start_ms, last_key = int(last["time_ms"][0]), int(last[job.form.key][-1])
    if start_ms >= job.end_ms:  # an --until before the end of the file
        return 0, []
    with _journal(job, start_ms) as journal:
        await _fetch(venue, job, journal, job.end_ms, report)
        changed = _changes(job, last, journal)
        if added := sum(map(len, _after(journal, job.form.key, last_key))):
            stored = files.read_pages(job.path, job.form)
            files.write(job.path, job.about, chain(stored, _after(journal, job.form.key, last_key)), job.form)
        journal.remove()
    return added, changed


def _after(journal: Journal, key: str, last: int) -> Iterator[np.ndarray]:
    """The journal's rows behind ``last``."""
    for page in journal.pages():
        if len(rest := page[page[key] > last]):
            yield rest


def _journal(job: _Job, start_ms: int) -> Journal:
    about = msgspec.structs.replace(job.about, since_ms=start_ms)
    path, step_ms = job.path.with_name(f".{job.pair.stem}.journal"), 0 if job.form is files.TRADES else job.interval_ms
    return Journal(path, msgspec.to_builtins(about), step_ms, job.form.dtype)  # a ms may have more trades than a page


async def _fetch(venue: Venue, job: _Job, journal: Journal, end_ms: int, report: Report) -> None:
    """Fill ``journal`` up to ``end_ms``. Where the venue has nothing the cursor moves on by a page."""
    if job.form is files.TRADES:
        await _fetch_trades(venue, job, journal, end_ms, report)
        return
    total = (end_ms - journal.start_ms) // job.interval_ms
    cursor = journal.next_ms
    while cursor < end_ms:
        report(job.pair.symbol, (cursor - journal.start_ms) // job.interval_ms, total)
        page = await venue.candles(job.pair.symbol, job.about.timeframe, cursor)
        if len(page := page[page["time_ms"] < end_ms]):
            journal.append(page)
            cursor = journal.next_ms
        else:
            cursor += venue.page_candles(job.pair.symbol) * job.interval_ms
    report(job.pair.symbol, total, total)


async def _fetch_trades(venue: Venue, job: _Job, journal: Journal, end_ms: int, report: Report) -> None:
    """The same for trades, which are asked for from the last one's time on: several may have it."""
    total, symbol = (end_ms - journal.start_ms) // 1000, job.pair.symbol
    last_id = max((int(page["id"][-1]) for page in journal.pages()), default=-1)
    cursor = journal.next_ms
    while cursor < end_ms:
        report(symbol, (cursor - journal.start_ms) // 1000, total)
        page = await venue.trades(symbol, cursor)
        news = page[(page["id"] > last_id) & (page["time_ms"] < end_ms)]
        if len(news):
            journal.append(news)
            last_id, cursor = int(news["id"][-1]), journal.next_ms
        elif len(page) >= venue.page_trades(symbol) and page["time_ms"][-1] == cursor:
            raise BadInput(
                f"{venue.name}: {symbol} has {len(page)} trades or more at {cursor} ms, a page; the venue cannot be "
                "asked for the rest by time: take its bulk files, or another --since"
            )
        else:
            cursor += WINDOW_MS
    report(symbol, total, total)


def _changes(job: _Job, last: np.ndarray, journal: Journal) -> list[str]:
    """What the venue now says differently about the rows ``last``, one line each. The stored ones stay."""
    key = job.form.key
    first_key, last_key = int(last[key][0]), int(last[key][-1])
    again = (page[(page[key] >= first_key) & (page[key] <= last_key)] for page in journal.pages())
    now = np.concatenate([np.empty(0, job.form.dtype), *again])
    stored, told = ({int(row[key]): row for row in rows if row["time_ms"] < job.end_ms} for rows in (last, now))
    lines = []
    for place in sorted(stored.keys() | told.keys()):
        pair = stored.get(place), told.get(place)
        if pair[0] is None or pair[1] is None or pair[0].tobytes() != pair[1].tobytes():
            texts = ["none" if row is None else str(row.tolist()[1:]) for row in pair]
            name = iso(place) if key == "time_ms" else f"trade {place}"
            lines.append(f"{job.pair.symbol} {name}: stored {texts[0]}, the venue now says {texts[1]}")
    return lines
