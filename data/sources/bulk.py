"""Binance's bulk files: trades, quotes and books of one instrument, several kinds of file side by side.

A file's name says what it holds: ``BTCUSDT-aggTrades-2025-01.zip``, ``BTCUSDT-trades-...``, ``BTCUSDT-bookTicker-...``,
``BTCUSDT_T_DEPTH_2022-11-01_depth_snap.csv``, ``..._depth_update.csv``. Each kind's files are read in the order of
their names, one line at a time; the kinds are merged by time. What the venue publishes besides is refused by its name.
"""

import heapq
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from core.errors import BadInput
from data.sources.events import EMPTY, EventLog, Reading
from data.sources.protocol import CHUNK_ROWS
from data.sources.text import SUFFIXES, text_lines
from feeds.dialects import binance
from feeds.dialects.binance_bulk import HEADERS, Kind, Table, is_header, knows_header
from feeds.merging import by_time

FILE_ROWS: Final = 2**40  # rows that a file may have: findings of files that are read side by side keep their place
_KIND: Final = re.compile(
    r"(.+?)[-_](aggTrades|trades|bookTicker|(?:T_DEPTH[-_].*)?depth[-_](?:snap|update))[-_.].*", re.I
)
_CANDLES: Final = re.compile(r".+-\d+(?:s|m|h|d|w|mo)-.*", re.I)
_REFUSED: Final = {
    "bookDepth": "sums of depth within a few per cent of the price, twice a minute: no book can be made of them",
    "metrics": "open interest and ratios",
    "fundingRate": "funding rates",
    "liquidationSnapshot": "liquidation orders, not the market's",
    "BVOLIndex": "a volatility index",
    "EOHSummary": "an options summary",
}

Place = tuple[int, int, bytes]  # file, row among all files' rows, line


def trades_and_quotes(reading: Reading, log: EventLog) -> Iterator[np.ndarray]:
    """aggTrades or trades, and bookTicker: TRADE and TOP records."""
    return _merged(reading, log, {Kind.AGG_TRADES, Kind.TRADES, Kind.BOOK_TICKER})


def depth(reading: Reading, log: EventLog) -> Iterator[np.ndarray]:
    """The futures' T_DEPTH, and aggTrades or trades: LEVEL, CLEAR and TRADE records."""
    return _merged(reading, log, {Kind.AGG_TRADES, Kind.TRADES, Kind.DEPTH})


def _merged(reading: Reading, log: EventLog, offered: set[Kind]) -> Iterator[np.ndarray]:
    symbol = f"{reading.listing.base}{reading.listing.quote}"
    by_kind: dict[Kind, list[Path]] = {}
    for path in reading.paths:
        by_kind.setdefault(_kind(path, symbol, offered), []).append(path)
    if {Kind.AGG_TRADES, Kind.TRADES} <= by_kind.keys():
        names = f"{by_kind[Kind.AGG_TRADES][0].name} and {by_kind[Kind.TRADES][0].name}"
        raise BadInput(f"{reading.paths[0].parent}: {names} tell the same trades; choose one kind with data.files")
    numbers = {path: number for number, path in enumerate(reading.paths)}
    for path in reading.paths:
        log.files.append((path.name, numbers[path] * FILE_ROWS))
    streams = []
    for kind in (kind for kind in Kind if kind in by_kind):  # at one time: trades, then quotes or books
        paths = by_kind[kind]
        table = Table(
            kind,
            reading.instrument,
            binance.Market.FUTURES if reading.is_perpetual else binance.Market.SPOT,
            symbol=symbol,
            latency_ns=reading.feed_latency_ns,
            index=reading.index,
        )
        lines = _in_turn(kind, paths, numbers, log)
        if kind is Kind.DEPTH:  # snapshots and updates lie in files of their own
            snaps = [path for path in paths if "snap" in path.name.lower()]
            updates = [path for path in paths if path not in snaps]
            turns = [_stamped(_in_turn(kind, some, numbers, log)) for some in (snaps, updates)]
            lines = (place for _, place in heapq.merge(*turns, key=lambda item: item[0]))
        streams.append(_records(table, lines, log))
    return by_time(streams)


def _kind(path: Path, symbol: str, offered: set[Kind]) -> Kind:
    """What ``path`` holds, by its name. Raises BadInput for what is not offered here."""
    if path.name.endswith(SUFFIXES) and (match := _KIND.fullmatch(path.name)):
        name = match[2].lower()
        kind = Kind.DEPTH if "depth" in name else next(kind for kind in Kind if kind.lower() == name)
        if match[1].upper() != symbol:
            raise BadInput(f"{path}: holds {match[1]}, not {symbol}; leave it out with data.files")
        if kind in offered:
            return kind
        source = "binance_depth" if kind is Kind.DEPTH else "binance_bulk"
        raise BadInput(f"{path}: holds {kind}; read it with data.source {source}, or leave it out with data.files")
    for name, what in _REFUSED.items():
        if f"-{name}-" in path.name:
            raise BadInput(f"{path}: {name} holds {what}; leave it out with data.files")
    if _CANDLES.fullmatch(path.name):
        raise BadInput(f"{path}: holds candles; read them with data.source kline_csv, or leave it out with data.files")
    raise BadInput(
        f"{path}: its name says none of {', '.join(sorted(offered))}; name it as the venue does, such as "
        f"{symbol}-aggTrades-2025-01.zip, or leave it out with data.files"
    )


def _in_turn(kind: Kind, paths: Sequence[Path], numbers: dict[Path, int], log: EventLog) -> Iterator[Place]:
    """The rows of ``paths``, file after file."""
    for path in paths:
        number, row = numbers[path], -1
        for row, line in enumerate(text_lines(path)):
            log.rows += 1
            if row or not is_header(kind, line):
                yield number, number * FILE_ROWS + row, line
            elif not knows_header(kind, line):
                raise BadInput(
                    f"{path}: line 1 is {line[:80]!r}, a row or the header {HEADERS[kind]} is expected; bring the "
                    "columns into that order, or fetch it again"
                )
        if row < 0:
            log.note(path.name, 0, EMPTY, "no row")


def _stamped(places: Iterator[Place]) -> Iterator[tuple[int, Place]]:
    """Rows of depth with their times; one without keeps that of the row before it."""
    stamp = 0
    for place in places:
        text = place[2].split(b",", 2)[1:2]
        stamp = int(text[0]) if text and text[0].isdigit() and len(text[0]) < 20 else stamp
        yield stamp, place


def _records(table: Table, places: Iterator[Place], log: EventLog) -> Iterator[np.ndarray]:
    """What ``table`` makes of the rows, never an empty array."""
    for file, row, line in places:
        table.on_row(file, row, line)
        if table.pending >= CHUNK_ROWS:
            yield table.take()
    table.end()
    if table.pending:
        yield table.take()
    log.add(table.findings)
