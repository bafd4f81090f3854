"""A day of LOBSTER's two files, some of whose lines are damaged."""

import random
from collections import Counter

from core.errors import BadInput
from core.instruments import Instrument
from feeds.dialects import Findings, lobster
from tests.fuzz.damage import bytes_damaged
from tests.fuzz.laws import Records, require
from tests.fuzz.venues import BEST_FIRST, BUY, SELL, Book

STOCK = Instrument(symbol="XYZ", base="XYZ", quote="USD", tick="0.01", lot="1")
MIDNIGHT_NS = 1_340_251_200_000_000_000
PLACES, ROWS = 3, 60
PRICES = {BUY: range(9_980, 10_000), SELL: range(10_001, 10_021)}
EMPTY = {BUY: "-9999999999,0", SELL: "9999999999,0"}
ODD_CELLS = (
    b"", b"0", b"-1", b"1", b"7", b"8", b"0.5", b"nan", b"inf", b"-inf", b"1e5", b"1e400", b"-0", b"9999999999",
    b"-9999999999", b"9" * 30, b"1_0", b" 5", b"0x10", b"x", b"\xff", b"\x00", b"\xd9\xa1", b"#1", b"'1'", b"86399.9",
    b"86400", b"34200", b"2", b"5", b"1000050", b"4398046511104000", b"9007199254740993", b"1,2", b"\r", b"\n1",
)  # fmt: skip


def session(rng: random.Random, seen: Counter[str]) -> int:
    """One day; how many lines were damaged. Raises Broken."""
    said, shown, book = day(rng)
    inputs, share = 0, rng.choice((0.05, 0.2, 0.5))
    for row in range(ROWS):
        for lines in (said, shown):
            if rng.random() < share:
                lines[row] = damaged(rng, lines, row)
                inputs += 1
    records, findings = Records(), Findings()
    try:
        for part in lobster.records(said, shown, STOCK, findings, midnight_ns=MIDNIGHT_NS, latency_ns=1_000):
            rows = part.copy()
            records.is_valid = True  # it is one day: its book begins with the first row that can be used
            records.take(rows)
    except BadInput:
        require((shown[0].count(b",") + 1) % 4 != 0, "only a first row that has no levels is an error")
        seen["lobster not a file"] += 1
        return inputs
    columns = shown[0].count(b",") + 1
    if (
        columns == 4 * PLACES
        and not any(finding.row == ROWS for finding in findings.examples)
        and is_complete(findings)
    ):
        require(ladder(records.levels) == ladder(book), "the last good row is the book's", records.levels, book)
        seen["lobster books compared"] += 1
    seen.update({f"lobster {rule}": count for rule, count in findings.counts.items()})
    return inputs


def is_complete(findings: Findings) -> bool:
    """Whether every finding is named, not only counted."""
    return len(findings.examples) == findings.counts.total()


def ladder(book: Book) -> list[list[tuple[int, int]]]:
    """The first places of both sides."""
    return [
        sorted(
            ((price, lots) for (at, price), lots in book.items() if at == side),
            key=lambda one: BEST_FIRST[side] * one[0],
        )[:PLACES]
        for side in (BUY, SELL)
    ]


def day(rng: random.Random) -> tuple[list[bytes], list[bytes], Book]:
    """ROWS + 1 lines of each file, and the book after the last."""
    book, said, shown, seconds = Book(), list[bytes](), list[bytes](), 34_200.0
    for side, prices in PRICES.items():
        for price in rng.sample(prices, 4):
            book[side, price] = rng.randrange(1, 500)
    for row in range(ROWS + 1):
        seconds += rng.random()
        side = rng.choice((BUY, SELL))
        price, kind, lots = rng.choice(PRICES[side]), 1, rng.randrange(1, 100)
        if book.get((side, price), 0) > lots:
            kind = rng.choice((1, 2, 3, 4))
        if kind == 4 and ladder(book)[side == SELL][0][0] != price:
            kind = 3
        book[side, price] = book.get((side, price), 0) + (lots if kind == 1 else -lots)
        direction = 1 if side == BUY else -1
        said.append(f"{seconds:.9f},{kind},{row + 1},{lots},{price * 100},{direction}\n".encode())
        shown.append(line_of(book))
    return said, shown, book


def line_of(book: Book) -> bytes:
    """A row of the orderbook file."""
    bids, asks = ladder(book)
    cells = []
    for place in range(PLACES):
        for side, levels in ((SELL, asks), (BUY, bids)):
            cells.append(f"{levels[place][0] * 100},{levels[place][1]}" if place < len(levels) else EMPTY[side])
    return (",".join(cells) + "\n").encode()


def damaged(rng: random.Random, lines: list[bytes], row: int) -> bytes:
    """Some bytes, some cells, or another line."""
    what = rng.random()
    if what < 0.4:
        return bytes_damaged(rng, lines[row])
    if what < 0.5:
        return rng.choice(lines)
    cells = lines[row].strip().split(b",")
    one, two = rng.randrange(len(cells)), rng.randrange(len(cells))
    if what < 0.8:
        cells[one] = rng.choice(ODD_CELLS)
    elif what < 0.9:
        cells[one], cells[two] = cells[two], cells[one]
    else:
        cells.insert(one, cells[two])
    return b",".join(cells) + b"\n"
