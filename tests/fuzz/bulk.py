"""Binance's bulk files, some of whose lines are damaged: each kind's rows through ``binance_bulk.Table``."""

import random
from collections import Counter

from core.instruments import Instrument
from feeds.dialects.binance import Market
from feeds.dialects.binance_bulk import Kind, Table
from tests.fuzz.damage import bytes_damaged
from tests.fuzz.laws import Records, require
from tests.fuzz.lobster import ODD_CELLS
from tests.fuzz.venues import BUY, SELL, Book

PAIR = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick="0.01", lot="0.001")
START_MS = 1_735_689_600_000
MESSAGES = 40
LATENCY_NS = 1_000


def session(rng: random.Random, seen: Counter[str]) -> int:
    """One file of each kind; how many lines were damaged. Raises Broken."""
    return sum(one_kind(rng, kind, seen) for kind in Kind)


def one_kind(rng: random.Random, kind: Kind, seen: Counter[str]) -> int:
    """Rows of ``kind``, damaged ones among them, each of which leaves a trace; then, of depth, the true book."""
    table = Table(kind, PAIR, Market.FUTURES, symbol="BTCUSDT", latency_ns=LATENCY_NS)
    records, book, row, inputs = Records(), Book(), 0, 0
    share = rng.choice((0.05, 0.2, 0.5))
    for number in range(1, MESSAGES + 1):
        for line in rows(rng, kind, number, book):
            is_damaged = rng.random() < share
            traces = trace(table)
            table.on_row(0, row, damaged(rng, line) if is_damaged else line)
            require(trace(table) != traces, "each line leaves a trace", kind, line)
            row, inputs = row + 1, inputs + is_damaged
        records.take(table.take())
    if kind is Kind.DEPTH:
        compare(table, records, book, row, seen)
    table.end()
    records.take(table.take())
    seen.update({f"binance_bulk {rule}": count for rule, count in table.findings.counts.items()})
    return inputs


def trace(table: Table) -> tuple[int, int, int, int]:
    """What a line may change: records, findings, rows of a message that goes on, updates that wait."""
    return table.pending, table.findings.counts.total(), len(table._message), table.waiting


def rows(rng: random.Random, kind: Kind, number: int, book: Book) -> list[bytes]:
    """The lines of one message; ``book`` is brought up to date."""
    ms, price = START_MS + number, f"{rng.randrange(9_900, 10_000) / 100:.2f}"
    if kind is Kind.AGG_TRADES:
        return [f"{number},{price},0.005,{number},{number},{ms},true".encode()]
    if kind is Kind.TRADES:
        return [f"{number},{price},0.005,0.5,{ms},False,True".encode()]
    if kind is Kind.BOOK_TICKER:
        return [f"{number},{price},0.005,100.05,1.000,{ms},{ms}".encode()]
    if number == 1 or rng.random() < 0.1:
        return snapshot(number, book)
    lines = []
    for side in rng.sample("ba", rng.randrange(1, 3)):
        ticks = rng.randrange(9_980, 10_000) if side == "b" else rng.randrange(10_001, 10_020)
        lots = rng.choice((0, rng.randrange(1, 500)))
        book[BUY if side == "b" else SELL, ticks] = lots
        lines.append(level(number, side, "set", ticks, lots))
    return lines


def level(number: int, side: str, what: str, ticks: int, lots: int) -> bytes:
    before = -1 if what == "snap" else number - 1
    return (
        f"BTCUSDT,{START_MS + number},{number},{number},{side},{what},{ticks / 100:.2f},{lots / 1000:.3f},{before}"
    ).encode()


def snapshot(number: int, book: Book) -> list[bytes]:
    """The book as rows, best first; one level a side at least."""
    book.setdefault((BUY, 9_979), 5)
    book.setdefault((SELL, 10_021), 5)
    held = {key: lots for key, lots in book.items() if lots}
    bids = sorted((ticks for side, ticks in held if side == BUY), reverse=True)
    asks = sorted(ticks for side, ticks in held if side == SELL)
    return [level(number, "b", "snap", ticks, held[BUY, ticks]) for ticks in bids] + [
        level(number, "a", "snap", ticks, held[SELL, ticks]) for ticks in asks
    ]


def compare(table: Table, records: Records, book: Book, row: int, seen: Counter[str]) -> None:
    """A snapshot and an update after everything else make the true book. Raises Broken."""
    number = MESSAGES + 10
    for file, lines in ((0, snapshot(number, book)), (0, [level(number + 1, "b", "set", 9_979, 6)])):
        for line in lines:
            table.on_row(file, row, line)
            row += 1
    table.end()
    records.take(table.take())
    book[BUY, 9_979] = 6
    if table.book_id != number + 1:  # a damaged id or time that was believed is ahead of these
        require(table.findings.counts.total() > 0, "a book that is not there has a reason")
        seen["binance_bulk books behind a damaged id"] += 1
        return
    require(records.levels == {key: lots for key, lots in book.items() if lots}, "a snapshot is the book")
    seen["binance_bulk books compared"] += 1


def damaged(rng: random.Random, line: bytes) -> bytes:
    """Some bytes or some cells."""
    what = rng.random()
    if what < 0.4:
        return bytes_damaged(rng, line)
    cells = line.split(b",")
    one, two = rng.randrange(len(cells)), rng.randrange(len(cells))
    if what < 0.8:
        cells[one] = rng.choice(ODD_CELLS)
    elif what < 0.9:
        cells[one], cells[two] = cells[two], cells[one]
    else:
        cells.insert(one, cells[two])
    return b",".join(cells)
