"""Truth from outside for books: recorded files say what a book must be, row by row and id by id.

LOBSTER gives the book after each message, Binance its best bid and offer beside the updates. Nothing of a dialect is
used where its own output is judged. Recorded data lies beside the checkout; where it is missing that is said.
"""

import gzip
import io
import zipfile
from collections.abc import Iterator

import numpy as np
import pytest

from core import book as books
from core.instruments import Instrument
from core.jit import entry
from core.records import RECORD, Kind, MarketFlag, Side
from evaluation import peer, peer_tape
from feeds.dialects import Findings, Rule, binance, frames, lobster
from tests.core.recorded import ENGINES, SHARED, needs

LOB = SHARED / "market-data/lob"
GOOG = LOB / "lobster/LOBSTER_SampleFile_GOOG_2012-06-21_10.zip"
AAPL = LOB / "lobster/LOBSTER_SampleFile_AAPL_2012-06-21_1.zip"
FUTURES = (LOB / "binance-ws/usdm-btcusdt-20240808.gz",)
SPOT = (LOB / "binance-ws/spot-btcusdt-20240808.gz", LOB / "binance-ws/spot-btcusdt-20240809.gz")
RECORDER_BEHIND_NS = 1_300_000_000  # the recorder's clock was 1.27 s behind the venue's
NEVER = 2**62
LEVEL, CLEAR = int(Kind.LEVEL), int(Kind.CLEAR)
BUY, LAST = int(Side.BUY), int(MarketFlag.LAST)


def lobster_lines(path: object) -> tuple[list[bytes], list[bytes]]:
    """The lines of the message file and of the orderbook file."""
    with zipfile.ZipFile(str(path)) as archive:
        names = archive.namelist()
        said, shown = (next(name for name in names if what in name) for what in ("_message_", "_orderbook_"))
        return archive.read(said).splitlines(), archive.read(shown).splitlines()


def ladders(lines: list[bytes]) -> np.ndarray:
    """(n, 2, places, 2) int64: bids then asks; ticks and lots, 0 where there is no level. Read without a dialect."""
    numbers = np.loadtxt(io.BytesIO(b"\n".join(lines)), np.int64, delimiter=",")
    numbers = numbers.reshape(len(numbers), -1, 2, 2)[:, :, ::-1].transpose(0, 2, 1, 3)
    there = numbers[..., 1] > 0
    assert (numbers[..., 0][there] % 100 == 0).all()
    return np.ascontiguousarray(np.where(there[..., None], numbers // [100, 1], 0))


@entry
def message_makes_row(held: np.ndarray, before: np.ndarray, after: np.ndarray, message: np.ndarray) -> bool:
    """Whether ``before`` (2, places, 2) with the message (type, lots, ticks, direction) gives ``after`` (both see)."""
    book, kind, is_bid, price = held[0], message[0], message[3] == 1, message[2]
    for side in range(2):
        books.clear(book, side == 0, 0)
        for place in range(before.shape[1]):
            if before[side, place, 0] > 0:
                books.set_level(book, side == 0, before[side, place, 0], before[side, place, 1])
    if kind <= 4:
        was = books.qty_at(book, is_bid, price)
        now = was + message[1] if kind == 1 else was - message[1]
        if now < 0:
            return False
        books.set_level(book, is_bid, price, now)
    for side in range(2):
        sign, last, price = 1 - 2 * (side == 0), before.shape[1] - 1, book["bid"] if side == 0 else book["ask"]
        ends = [sign * row[side, last, 0] if row[side, last, 0] > 0 else NEVER for row in (before, after)]
        for place in range(last + 1):
            shown = after[side, place, 0]
            if shown == 0 or sign * shown > min(ends):
                break
            if price != shown or books.qty_at(book, side == 0, price) != after[side, place, 1]:
                return False
            price = books.next_price(book, side == 0, price)
        if price > 0 and sign * price <= min(ends):
            return False  # the book has a level that the row does not show
    return True


@entry
def rows_made(held: np.ndarray, before: np.ndarray, after: np.ndarray, messages: np.ndarray) -> int:
    made = 0
    for k in range(len(messages)):
        made += message_makes_row(held, before[k], after[k], messages[k])
    return made


@entry
def rows_shown(held: np.ndarray, records: np.ndarray, ends: np.ndarray, rows: np.ndarray) -> int:
    """After the records in front of ends[k] the book's first levels are rows[k]: for how many k."""
    book, at, equal = held[0], 0, 0
    for k in range(len(ends)):
        while at < ends[k]:
            apply_one(book, records[at])
            at += 1
        same = True
        for side in range(2):
            price = book["bid"] if side == 0 else book["ask"]
            for place in range(rows.shape[2]):
                same = same and price == rows[k, side, place, 0]
                if price > 0:
                    same = same and books.qty_at(book, side == 0, price) == rows[k, side, place, 1]
                    price = books.next_price(book, side == 0, price)
        equal += same
    return equal


@entry
def apply_one(book: np.void, record: np.void) -> None:
    if record["kind"] == LEVEL:
        books.set_level(book, record["side"] == BUY, record["a"], record["b"])
    elif record["kind"] == CLEAR:
        books.clear(book, record["side"] == BUY, record["a"])


@entry
def touches(held: np.ndarray, records: np.ndarray, out: np.ndarray) -> int:
    """(update id, bid, lots, ask, lots) after each whole update, in ``out`` (n, 5); returns how many."""
    book, n = held[0], 0
    for k in range(len(records)):
        apply_one(book, records[k])
        if records[k]["kind"] == LEVEL and records[k]["flags"] & LAST != 0:
            bid, ask = book["bid"], book["ask"]
            out[n, 0], out[n, 1], out[n, 3] = records[k]["c"], bid, ask
            out[n, 2], out[n, 4] = books.qty_at(book, True, bid), books.qty_at(book, False, ask)
            n += 1
    return n


def lobster_records(path: object, symbol: str, **more: bool) -> tuple[np.ndarray, Findings]:
    findings, stock = Findings(), Instrument(symbol=symbol, base=symbol, quote="USD", tick="0.01", lot="1")
    parts = lobster.records(*lobster_lines(path), stock, findings, midnight_ns=0, latency_ns=1_000_000, **more)
    return np.concatenate(list(parts)), findings


@needs(GOOG, AAPL)
@pytest.mark.parametrize(("path", "cases"), [(GOOG, 147_915), (AAPL, 118_496)], ids=["GOOG", "AAPL"])
def test_each_message_makes_its_row_of_the_row_before(path: object, cases: int) -> None:
    said, shown = lobster_lines(path)
    rows = ladders(shown)
    messages = np.loadtxt(io.BytesIO(b"\n".join(said)), delimiter=",", usecols=(1, 3, 4, 5)).astype(np.int64)
    messages[:, 2] //= 100
    held = books.new_books(1)
    assert rows_made(held, rows[:-1], rows[1:], messages[1:]) == cases == len(rows) - 1
    changed = rows[1:].copy()
    changed[::7, 0, 0, 1] += 1
    assert rows_made(held, rows[:-1], changed, messages[1:]) < cases - cases // 8  # and it can fail


@needs(GOOG, AAPL)
@pytest.mark.parametrize(("path", "symbol"), [(GOOG, "GOOG"), (AAPL, "AAPL")], ids=["GOOG", "AAPL"])
def test_the_records_of_a_day_show_every_row(path: object, symbol: str) -> None:
    """At the last message of each instant, since rows of one instant cannot be told apart by their time."""
    said, shown = lobster_lines(path)
    records, findings = lobster_records(path, symbol)
    assert set(findings.counts) == {Rule.OFF_GRID}  # hidden executions between ticks; no message disagrees
    seconds = np.loadtxt(io.BytesIO(b"\n".join(said)), delimiter=",", usecols=0)
    times = np.rint(seconds * 1e9).astype(np.int64)
    last = np.flatnonzero(np.append(np.diff(times) > 0, True))
    ends = np.searchsorted(records["ts_event"], times[last], "right")
    assert rows_shown(books.new_books(1), records, ends, ladders(shown)[last]) == len(last)


@needs(GOOG, ENGINES)
def test_the_records_of_a_day_are_the_golden_tape() -> None:
    """What other engines were run on, made from the same files by other code: the same rows at each instant."""
    records, _ = lobster_records(GOOG, "GOOG", hidden=False)
    tick, lot, *_ = peer.MARKETS["lobster"]
    events = peer_tape.read_events(ENGINES / "tape_lobster.npz")
    golden = np.concatenate(list(peer_tape.converted(events, tick, lot, "tape_lobster")))
    names = ["ts_event", "ts_known", "kind", "side", "a", "b"]
    mine, theirs = (np.sort(rows[rows["kind"] != CLEAR][names]) for rows in (records, golden))
    assert len(mine) == 160_119 and (mine == theirs).all()


def binance_records(paths: tuple, market: binance.Market, tick: str, lot: str) -> tuple[np.ndarray, Findings]:
    pair = Instrument(symbol="BTC/USDT", base="BTC", quote="USDT", tick=tick, lot=lot)
    made = binance.Normaliser(pair, market, clock_offset_ns=RECORDER_BEHIND_NS, tops=True)

    def lines() -> Iterator[bytes]:
        for path in paths:
            with gzip.open(path) as file:
                yield from file

    return np.concatenate(list(frames.recorded(lines(), made))), made.findings


@needs(*FUTURES, *SPOT)
@pytest.mark.parametrize(
    ("paths", "market", "tick", "lot", "common", "stale"),
    [
        (FUTURES, binance.Market.FUTURES, "0.1", "0.001", 629, 4),
        (SPOT, binance.Market.SPOT, "0.01", "0.00000001", 1_072, 2),
    ],
    ids=["futures", "spot"],
)
def test_the_rebuilt_book_is_the_venues_best_bid_and_offer(
    paths: tuple, market: binance.Market, tick: str, lot: str, common: int, stale: int
) -> None:
    """``common``: the ids that both streams have, counted in the raw messages."""
    records, findings = binance_records(paths, market, tick, lot)
    assert dict(findings.counts) == {Rule.STALE: stale}
    assert (np.diff(records["ts_known"]) >= 0).all() and (records["ts_known"] >= records["ts_event"]).all()
    held, out = books.new_books(1), np.zeros((len(records), 5), np.int64)
    after = out[: touches(held, records, out)]
    tops = records[records["kind"] == Kind.TOP]
    _, ours, theirs = np.intersect1d(after[:, 0], tops["e"], return_indices=True)
    venue = np.column_stack([tops[name][theirs] for name in ("a", "b", "c", "d")])
    assert len(ours) == common
    assert (after[ours, 1:] == venue).all()
    assert (after[:, 1] < after[:, 3]).all() and (after[:, 1] > 0).all()
    expect_plain(held[0], records)


def expect_plain(book: np.void, records: np.ndarray) -> None:
    """The book's levels are the last ones said: no level had to be removed because another crossed it."""
    rows = records[np.isin(records["kind"], (LEVEL, CLEAR))]
    assert (rows["kind"][:2] == CLEAR).all() and (rows["kind"][2:] == LEVEL).all()
    last: dict[tuple[int, int], int] = {}
    for side, price, qty in rows[["side", "a", "b"]][2:].tolist():
        last[side, price] = qty
    expected = {price: qty if side == BUY else -qty for (side, price), qty in last.items() if qty}
    floor = int(book["floor"])
    cells = np.flatnonzero(book["levels"])
    near = dict(
        zip(
            (floor + 1 + (cells - floor - 1) % len(book["levels"])).tolist(),
            book["levels"][cells].tolist(),
            strict=True,
        )
    )
    far = dict(zip(book["far_prices"].tolist(), book["far_lots"].tolist(), strict=True))
    assert near | {price: qty for price, qty in far.items() if price} == expected


def test_record_layout_is_what_the_helpers_above_read() -> None:
    assert RECORD.names is not None and RECORD.names[7:] == ("a", "b", "c", "d", "e")
