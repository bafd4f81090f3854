"""One small valid file of every format that ``data.source`` reads, and the ways in which it can be damaged.

A format of lines says where its times and prices stand, so that one set of damages serves all of them; Parquet has a
set of its own. ``Damaged`` is what lies in the folder afterwards: names and bytes.
"""

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from feeds.market import Listing, Market
from tests.data.candles import BTC as BTC_BARS
from tests.data.candles import candles, kline_text
from tests.feeds import test_dialect_binance as binance
from tests.feeds import test_dialect_coinbase as coinbase
from tests.feeds import test_dialect_kraken as kraken

Damaged = dict[str, bytes]
START_MS = 1_735_689_600_000  # 2025-01-01
TWO_HOURS_NS = 7_200_000_000_000


def market(venue: str, listing: Listing, asset_class: str = "crypto_spot") -> Market:
    return Market(venue=venue, maker_fee_ppm=0, taker_fee_ppm=0, asset_class=asset_class, listings=(listing,))


BARS = market("binance", BTC_BARS)
PERP = market("binance", Listing(symbol="BTC-USDT", base="BTC", quote="USDT", tick="0.1", lot="0.001"), "crypto_perp")
KRAKEN = market("kraken", Listing(symbol="BTC-USD", base="BTC", quote="USD", tick="0.1", lot="0.00000001"))
COINBASE = market("coinbase", Listing(symbol="BTC-USD", base="BTC", quote="USD", tick="0.01", lot="0.00000001"))
FX = market("spot_agg", Listing(symbol="EUR-USD", base="EUR", quote="USD", tick="0.00001", lot="1000"), "fx_spot")
NASDAQ = market("nasdaq", Listing(symbol="XYZ-USD", base="XYZ", quote="USD", tick="0.01", lot="1"), "equity")


def cells(row: bytes, **changes: Any) -> bytes:
    """A CSV row with cells ``c<index>`` replaced."""
    parts = row.split(b",")
    for name, value in changes.items():
        parts[int(name[1:])] = value if isinstance(value, bytes) else str(value).encode()
    return b",".join(parts)


@dataclass(frozen=True)
class Lines:
    """A format of lines. ``at`` is the row that is damaged; row r is line r + 1."""

    source: str
    market: Market
    file: str
    rows: list[bytes]
    at: int
    times: tuple[int, ...] = ()  # columns
    ns: int = 1_000_000  # of the unit that its times are in
    price: Callable[[bytes, str], bytes] = lambda row, text: row  # its price replaced
    header: bool = False  # the first row is one
    separator: bytes = b","
    snapshot: int = 0  # rows from 0 up to this one are the snapshot; 0: it is in a file beside
    wrap: Callable[[bytes], bytes] = lambda data: data
    beside: Damaged = field(default_factory=dict)  # further files of the valid folder
    second: str = ""  # the name of a file that comes after this one
    told: str = ""  # what findings call the file, if not ``file``

    def packed(self, rows: list[bytes], end: bytes = b"\n") -> Damaged:
        return {**self.beside, self.file: self.wrap(b"".join(row + end for row in rows))}

    def valid(self) -> Damaged:
        return self.packed(self.rows)

    def with_row(self, row: bytes) -> Damaged:
        return self.packed([*self.rows[: self.at], row, *self.rows[self.at + 1 :]])

    def timed(self, row: bytes, change: Callable[[int], int | str]) -> bytes:
        """``row`` with its times changed, which are given and taken in the file's unit."""
        if self.separator == b" ":
            stamp, _, message = row.partition(b" ")
            return str(change(int(stamp))).encode() + b" " + message
        parts = row.split(b",")
        return cells(row, **{f"c{column}": change(int(parts[column])) for column in self.times})


def cut(file: Lines) -> Damaged:
    return {**file.beside, file.file: file.wrap(b"\n".join(file.rows)[: -len(file.rows[-1]) // 2])}


def separator(file: Lines) -> Damaged:
    return file.with_row(file.rows[file.at].replace(file.separator, b";", 1 if file.separator == b" " else -1))


def header(file: Lines) -> Damaged:
    return file.packed([b"alpha,beta,gamma,delta", *file.rows[file.header :]])


def no_header(file: Lines) -> Damaged:
    return file.packed(file.rows[1:])


def header_again(file: Lines) -> Damaged:
    return file.with_row(file.rows[0])


def mark(file: Lines) -> Damaged:
    return file.packed([b"\xef\xbb\xbf" + file.rows[0], *file.rows[1:]])


def crlf(file: Lines) -> Damaged:
    return file.packed(file.rows, b"\r\n")


def mixed_units(file: Lines) -> Damaged:
    change = (lambda ns: ns // 1000) if file.ns == 1 else (lambda stamp: stamp * 1000)
    return file.with_row(file.timed(file.rows[file.at], change))


def wrong_unit(file: Lines) -> Damaged:
    """Every time a thousandth of what it should be: us for ns, s for ms."""
    first = int(file.header)
    return file.packed([*file.rows[:first], *(file.timed(row, lambda at: at // 1000) for row in file.rows[first:])])


def next_unit(file: Lines) -> Damaged:
    """A second file, days later, whose times are in us."""
    later = [file.timed(row, lambda ms: (ms + 3 * 86_400_000) * 1000) for row in file.rows[file.header :]]
    return file.valid() | {file.second: file.wrap(b"".join(row + b"\n" for row in later))}


def twice(file: Lines) -> Damaged:
    """The same rows in a second file."""
    return file.valid() | {file.second: file.valid()[file.file]}


def no_snapshot(file: Lines) -> Damaged:
    return {file.file: file.packed(file.rows[file.snapshot :])[file.file]}


def empty(file: Lines) -> Damaged:
    return {**file.beside, file.file: file.wrap(b"")}


def backward(file: Lines) -> Damaged:
    return file.with_row(file.timed(file.rows[file.at], lambda at: at - TWO_HOURS_NS // file.ns))


def priced(text: str) -> Callable[[Lines], Damaged]:
    return lambda file: file.with_row(file.price(file.rows[file.at], text))


def garbage(file: Lines) -> Damaged:
    noise = random.Random(1).randbytes(80).replace(b"\n", b"?").replace(b"\r", b"?")
    return file.with_row(noise)


def truncated(file: Lines) -> Damaged:
    """As an archive if it is none yet, without its end."""
    name, data = file.file, file.valid()[file.file]
    if not name.endswith((".gz", ".zip")):
        name, data = name + ".gz", gzip.compress(data, mtime=0)
    return {**file.beside, name: data[: len(data) * 2 // 3]}


def truncated_zip(file: Lines) -> Damaged:
    packed = zipped({file.file: file.valid()[file.file]})
    return {**file.beside, file.file.replace(".csv", ".zip"): packed[: len(packed) * 2 // 3]}


def columns(file: Lines) -> Damaged:
    return file.with_row(file.rows[file.at] + file.separator + b"1")


def duplicate(file: Lines) -> Damaged:
    return file.packed([*file.rows[: file.at + 1], *file.rows[file.at :]])


def zipped(files: Damaged) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return packed.getvalue()


LINES = {
    "cut mid-line": cut,
    "wrong separator": separator,
    "unexpected header": header,
    "missing header": no_header,
    "header in the middle": header_again,
    "byte-order mark": mark,
    "CRLF": crlf,
    "mixed time units": mixed_units,
    "times a thousandth": wrong_unit,
    "another unit than the file before": next_unit,
    "a symbol twice": twice,
    "updates without a snapshot": no_snapshot,
    "empty": empty,
    "time backward": backward,
    "NaN": priced("NaN"),
    "price of zero": priced("0.0"),
    "negative price": priced("-100.0"),
    "binary garbage": garbage,
    "truncated gzip": truncated,
    "truncated zip": truncated_zip,
    "wrong column count": columns,
    "duplicate row": duplicate,
}
DEFECTS = tuple(LINES)


# ---- Binance's bulk files


def csv_price(column: int) -> Callable[[bytes, str], bytes]:
    return lambda row, text: cells(row, **{f"c{column}": text})


HEADS = {
    "klines": "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore",
    "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
    "trades": "id,price,qty,quote_qty,time,is_buyer_maker",
    "bookTicker": "update_id,best_bid_price,best_bid_qty,best_ask_price,best_ask_qty,transaction_time,event_time",
    "depth": "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu",
}


def bulk(kind: str, rows: list[str]) -> list[bytes]:
    return [HEADS[kind].encode(), *(row.encode() for row in rows)]


KLINES = Lines(
    "kline_csv", BARS, "BTCUSDT-5m-2025-01.csv", bulk("klines", kline_text(candles(300)).decode().splitlines()), 100,
    times=(0, 6), price=csv_price(4), header=True, second="BTCUSDT-5m-2025-02.csv",
)  # fmt: skip
AGG_TRADES = Lines(
    "binance_bulk", PERP, "BTCUSDT-aggTrades-2025-01.csv",
    bulk("aggTrades", [f"{n},100.{n % 5},0.005,{2 * n},{2 * n + 1},{START_MS + n},true" for n in range(1, 9)]), 4,
    times=(5,), price=csv_price(1), header=True, second="BTCUSDT-aggTrades-2025-02.csv",
)  # fmt: skip
TRADES = Lines(
    "binance_bulk", PERP, "BTCUSDT-trades-2025-01.csv",
    bulk("trades", [f"{n},100.{n % 5},0.005,0.5,{START_MS + n},false" for n in range(1, 9)]), 4,
    times=(4,), price=csv_price(1), header=True, second="BTCUSDT-trades-2025-02.csv",
)  # fmt: skip
BOOK_TICKER = Lines(
    "binance_bulk", PERP, "BTCUSDT-bookTicker-2025-01.csv",
    bulk("bookTicker", [f"{n},100.0,0.5,100.{n},1.5,{START_MS + n},{START_MS + n + 1}" for n in range(1, 9)]), 4,
    times=(5, 6), price=csv_price(1), header=True, second="BTCUSDT-bookTicker-2025-02.csv",
)  # fmt: skip
SNAP = [f"BTCUSDT,{START_MS},10,10,{side},snap,{price},1.5,-1" for side, price in (("b", "100.0"), ("a", "100.5"))]
DEPTH = Lines(
    "binance_depth", PERP, "BTCUSDT_T_DEPTH_2025-01-01_depth_update.csv",
    bulk("depth", [
        f"BTCUSDT,{START_MS + n},{9 + 2 * n},{10 + 2 * n},b,set,{price},0.{n},{8 + 2 * n}"
        for n in range(1, 9) for price in ("99.8", "99.9")
    ]), 6,
    times=(1,), price=csv_price(6), header=True, second="BTCUSDT_T_DEPTH_2025-01-02_depth_update.csv",
    beside={"BTCUSDT_T_DEPTH_2025-01-01_depth_snap.csv": "\n".join([HEADS["depth"], *SNAP, ""]).encode()},
)  # fmt: skip

# ---- recordings


def recorded(messages: list[bytes]) -> list[bytes]:
    """A line per message, a second apart from the time that the messages tell."""
    return [b"%d %s" % (binance.NOW + number, message) for number, message in enumerate(messages)]


def ws(source: str, listed: Market, file: str, messages: list[bytes], at: int, price: str, snapshot: int = 1) -> Lines:
    return Lines(
        source, listed, file, recorded(messages), at, ns=1, separator=b" ", snapshot=snapshot,
        price=lambda row, text: row.replace(price.encode(), text.encode()),
        wrap=lambda data: gzip.compress(data, mtime=0), second=file.replace(".gz", ".x.gz"),
    )  # fmt: skip


BINANCE_WS = ws(
    "binance_ws", PERP, "btcusdt-1.gz",
    [
        binance.snapshot(10), binance.depth(10, 12, [("99.9", "1.000")]), binance.trade(1),
        binance.depth(12, 13, [("99.7", "2.000")]), binance.trade(2), binance.depth(13, 14, [("99.6", "2.000")]),
    ], 3, "99.7",
)  # fmt: skip
_BOOKS = [{"100.0": "0.5", "99.9": "1.0"}]
for _price in ("99.8", "99.7", "99.6"):
    _BOOKS.append(_BOOKS[-1] | {_price: "2.0"})
_ASKS = {"100.1": "0.25"}
KRAKEN_WS = ws(
    "kraken_ws", KRAKEN, "BTC-USD.gz",
    [
        kraken.book("snapshot", _BOOKS[0], _ASKS, kraken.checksum(_BOOKS[0], _ASKS)),
        kraken.book("update", {"99.8": "2.0"}, {}, kraken.checksum(_BOOKS[1], _ASKS)),
        kraken.trades((1, "buy", "100.1", "0.1")),
        kraken.book("update", {"99.7": "2.0"}, {}, kraken.checksum(_BOOKS[2], _ASKS)),
        kraken.trades((2, "buy", "100.1", "0.1")),
        kraken.book("update", {"99.6": "2.0"}, {}, kraken.checksum(_BOOKS[3], _ASKS)),
    ], 3, "99.7",
)  # fmt: skip
COINBASE_WS = ws(
    "coinbase_ws", COINBASE, "BTC-USD.gz",
    [
        coinbase.snapshot(0), coinbase.update(1, [("99.98", "1")]), coinbase.trades(2, coinbase.trade(1)),
        coinbase.update(3, [("99.97", "1")]), coinbase.trades(4, coinbase.trade(2)),
        coinbase.update(5, [("99.96", "1")]),
    ], 3, "99.97",
)  # fmt: skip

# ---- LOBSTER

_DAY = "XYZ_2012-06-21_34200000_57600000_message_1.csv"
_BOOK = b"1000200,3,999800,7\n1000200,3,999900,2\n1000200,2,999900,2\n1000200,2,999900,1\n1000100,5,999900,1\n"


def lobster_day(messages: bytes) -> bytes:
    return zipped({_DAY: messages, _DAY.replace("message", "orderbook"): _BOOK})


LOBSTER = Lines(
    "lobster", NASDAQ, "XYZ.zip",
    [
        b"34200.5,1,11,3,1000200,-1", b"34200.6,1,12,2,999900,1", b"34200.7,4,11,1,1000200,-1",
        b"34200.8,2,12,1,999900,1", b"34200.9,1,13,5,1000100,-1",
    ], 2, price=csv_price(4), wrap=lobster_day, second="XYZ2.zip", told=_DAY,
)  # fmt: skip


def lobster_time(factor: float, rows: slice, shift: float = 0) -> Callable[[Lines], Damaged]:
    def damage(file: Lines) -> Damaged:
        changed = list(file.rows)
        changed[rows] = [cells(row, c0=f"{float(row.split(b',')[0]) * factor + shift:.1f}") for row in changed[rows]]
        return file.packed(changed)

    return damage


LOBSTER_LINES = LINES | {
    "mixed time units": lobster_time(1e3, slice(2, 3)),
    "times a thousandth": lobster_time(1e9, slice(None)),  # ns for s
    "time backward": lobster_time(1, slice(2, 3), -7200),
    "truncated zip": truncated,
}

# ---- Parquet


@dataclass(frozen=True)
class Table:
    """A format of columns."""

    source: str
    market: Market
    file: str
    frame: pl.DataFrame
    at: int
    price: str  # a column
    second: str = ""
    told: str = ""

    def packed(self, frame: pl.DataFrame, name: str = "") -> Damaged:
        data = io.BytesIO()
        frame.write_parquet(data)
        return {name or self.file: data.getvalue()}

    def valid(self) -> Damaged:
        return self.packed(self.frame)

    def with_value(self, column: str, value: Any) -> Damaged:
        here = pl.int_range(pl.len()) == self.at
        return self.packed(
            self.frame.with_columns(
                pl.when(here).then(pl.lit(value, self.frame.schema[column])).otherwise(pl.col(column)).alias(column)
            )
        )


def table_time(table: Table) -> Damaged:
    return table.with_value("time", table.frame["time"][table.at] - timedelta(hours=2))


def half(table: Table) -> Damaged:
    data = table.valid()[table.file]
    return {table.file: data[: len(data) // 2]}


def noise(table: Table) -> Damaged:
    return {table.file: random.Random(1).randbytes(4_000)}


TABLES: dict[str, Callable[[Table], Damaged]] = {
    "unexpected header": lambda table: table.packed(table.frame.rename({table.price: table.price.title()})),
    "missing header": lambda table: table.packed(
        table.frame.rename({name: f"column_{place}" for place, name in enumerate(table.frame.columns)})
    ),
    "times a thousandth": lambda table: table.packed(table.frame.with_columns(pl.col("time").dt.epoch("us"))),
    "a symbol twice": lambda table: table.valid() | table.packed(table.frame, table.second),
    "empty": lambda table: table.packed(table.frame.head(0)),
    "time backward": table_time,
    "NaN": lambda table: table.with_value(table.price, float("nan")),
    "price of zero": lambda table: table.with_value(table.price, 0.0),
    "negative price": lambda table: table.with_value(table.price, -1.0),
    "binary garbage": noise,
    "truncated gzip": half,
    "wrong column count": lambda table: table.packed(table.frame.drop(table.price)),
    "duplicate row": lambda table: table.packed(pl.concat([table.frame[: table.at + 1], table.frame[table.at :]])),
}
_QUOTES = pl.DataFrame(
    {
        "time": [datetime(2024, 8, 8, tzinfo=UTC) + timedelta(seconds=n) for n in range(8)],
        "bid": [1.1 + n / 100_000 for n in range(8)],
        "ask": [1.10002 + n / 100_000 for n in range(8)],
    }
).with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC")), pl.col("bid", "ask").round(5))
QUOTES = Table("quotes", FX, "EURUSD-1.parquet", _QUOTES, 4, "bid", second="EURUSD-2.parquet")
_TRADES = pl.DataFrame(
    {
        "time": [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=n) for n in range(8)],
        "id": list(range(10, 18)),
        "price": [100.0 + n / 10 for n in range(8)],
        "qty": [0.125] * 8,
        "side": [1 + n % 2 for n in range(8)],
    }
).with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC")), pl.col("price").round(1))
TRADE_TABLE = Table("trades", PERP, "BTC_USDT.parquet", _TRADES, 4, "price", second="BTC_USDT.x.parquet")
CANDLES = Table("parquet", BARS, "BTC_USDT.parquet", candles(300), 100, "close")


def damaged(format_: Lines | Table, defect: str) -> Damaged:
    """The files of ``format_`` with ``defect``."""
    if isinstance(format_, Table):
        return TABLES[defect](format_)
    return (LOBSTER_LINES if format_ is LOBSTER else LINES)[defect](format_)


def write(folder: Path, files: Damaged) -> Path:
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def findings(out: Path) -> list[tuple[str, int, str]]:
    return [(row["file"], row["row"], row["rule"]) for row in json.loads((out / "data/findings.json").read_text())]
