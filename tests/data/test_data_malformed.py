"""Every format with every defect: the real ingest says what is wrong, where, and what to do; or nothing is lost.

``TABLE`` has a cell for each pair, so that a new source or a new defect cannot pass this file by. What a cell says:

``Found``  a finding of that rule in that file and row; the run goes on
``Fails``  BadInput that names the file, the line where it has one, and a remedy
``Same``   the very tape of the valid file, and no finding: it is no defect of this format
``Absent`` the defect cannot be had, and why
"""

import re
import typing
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.errors import BadInput
from data.settings import SYNTHETIC, DataParams
from feeds.tape import Tape
from tests.data import candles as bars
from tests.data import malformed as formats
from tests.data import test_data_events as events
from tests.data.malformed import DEFECTS, Damaged, Lines, Table, damaged

ANYWHERE = -1


@dataclass(frozen=True)
class Found:
    rule: str
    row: int  # ANYWHERE: what is left of a file depends on how it was packed
    file: str = ""  # the format's own


@dataclass(frozen=True)
class Fails:
    remedy: str
    line: int = 0  # 0: the fault has none
    file: str = ""


@dataclass(frozen=True)
class Same:
    why: str


@dataclass(frozen=True)
class Absent:
    why: str


Cell = Found | Fails | Same | Absent
FORMATS: dict[str, Lines | Table] = {
    "kline_csv": formats.KLINES,
    "parquet": formats.CANDLES,
    "binance_ws": formats.BINANCE_WS,
    "binance_bulk aggTrades": formats.AGG_TRADES,
    "binance_bulk trades": formats.TRADES,
    "binance_bulk bookTicker": formats.BOOK_TICKER,
    "binance_depth": formats.DEPTH,
    "kraken_ws": formats.KRAKEN_WS,
    "coinbase_ws": formats.COINBASE_WS,
    "lobster": formats.LOBSTER,
    "trades": formats.TRADE_TABLE,
    "quotes": formats.QUOTES,
}
NO_BOOK, NO_HEADER = Absent("no book is built from updates"), Absent("the format has no header")
NO_LINES, NOT_ZIP = Absent("a table has no lines"), Absent("the format is no zip")
ONE_TYPE = Absent("a column has one type, and a time states its unit")
AGAIN, MARKS, UNIT = "fetch it again", "byte-order mark; save it", "the file began in ms"


TABLE: dict[str, dict[str, Cell]] = {
    "kline_csv": {
        "cut mid-line": Fails(AGAIN, 301),
        "wrong separator": Fails(AGAIN, 101),
        "unexpected header": Fails(AGAIN, 1),
        "missing header": Same("published with and without"),
        "header in the middle": Fails(AGAIN, 101),
        "byte-order mark": Fails(MARKS, 1),
        "CRLF": Same("both line ends are read"),
        "mixed time units": Fails(UNIT, 101),
        "times a thousandth": Fails("neither ms nor us", 2),
        "another unit than the file before": Found("time_unit", 0, formats.KLINES.second),
        "a symbol twice": Fails("check the files", file=formats.KLINES.second),
        "updates without a snapshot": NO_BOOK,
        "empty": Fails(AGAIN),
        "time backward": Found("backward_time", 100),
        "NaN": Found("not_a_number", 100),
        "price of zero": Found("not_positive", 100),
        "negative price": Found("not_positive", 100),
        "binary garbage": Fails(AGAIN, 101),
        "truncated gzip": Fails(AGAIN, file="BTCUSDT-5m-2025-01.csv.gz"),
        "truncated zip": Fails(AGAIN, file="BTCUSDT-5m-2025-01.zip"),
        "wrong column count": Fails(AGAIN, 101),
        "duplicate row": Found("duplicate_time", 101),
    },
    "parquet": {
        "cut mid-line": NO_LINES,
        "wrong separator": NO_LINES,
        "unexpected header": Fails("needed are time"),
        "missing header": Fails("needed are time"),
        "header in the middle": NO_LINES,
        "byte-order mark": NO_LINES,
        "CRLF": NO_LINES,
        "mixed time units": ONE_TYPE,
        "times a thousandth": Fails("needed are time (UTC timestamp)"),
        "another unit than the file before": ONE_TYPE,
        "a symbol twice": Absent("a symbol has one file, by its name"),
        "updates without a snapshot": NO_BOOK,
        "empty": Fails(AGAIN),
        "time backward": Found("backward_time", 100),
        "NaN": Found("not_a_number", 100),
        "price of zero": Found("not_positive", 100),
        "negative price": Found("not_positive", 100),
        "binary garbage": Fails(AGAIN),
        "truncated gzip": Fails(AGAIN),
        "truncated zip": NOT_ZIP,
        "wrong column count": Fails("needed are time"),
        "duplicate row": Found("duplicate_time", 101),
    },
    "lobster": {
        "cut mid-line": Found("garbage", 4),
        "wrong separator": Found("garbage", 2),
        "unexpected header": Found("garbage", 0),
        "missing header": NO_HEADER,
        "header in the middle": Found("backward", 2),
        "byte-order mark": Found("garbage", 0),
        "CRLF": Same("both line ends are read"),
        "mixed time units": Found("bad_time", 2),
        "times a thousandth": Fails("check data.source", 1),
        "another unit than the file before": Absent("times are seconds in every file"),
        "a symbol twice": Fails("leave one of them out", file=formats.LOBSTER.second),
        "updates without a snapshot": Absent("every row shows the book"),
        "empty": Fails("check data.source"),
        "time backward": Found("backward", 2),
        "NaN": Found("not_finite", 2),
        "price of zero": Found("not_positive", 2),
        "negative price": Found("negative", 2),
        "binary garbage": Found("garbage", 2),
        "truncated gzip": Absent("a day is a zip"),
        "truncated zip": Fails(AGAIN),
        "wrong column count": Found("garbage", 2),
        "duplicate row": Found("disagrees", 3),
    },
    "quotes": {
        "cut mid-line": NO_LINES,
        "wrong separator": NO_LINES,
        "unexpected header": Fails("needed are time (UTC), bid and ask"),
        "missing header": Fails("needed are time (UTC), bid and ask"),
        "header in the middle": NO_LINES,
        "byte-order mark": NO_LINES,
        "CRLF": NO_LINES,
        "mixed time units": ONE_TYPE,
        "times a thousandth": Fails("give it as UTC timestamps"),
        "another unit than the file before": ONE_TYPE,
        "a symbol twice": Found("backward", 0, formats.QUOTES.second),
        "updates without a snapshot": NO_BOOK,
        "empty": Fails("check data.source"),
        "time backward": Found("backward", 4),
        "NaN": Found("not_finite", 4),
        "price of zero": Found("not_positive", 4),
        "negative price": Found("not_positive", 4),
        "binary garbage": Fails(AGAIN),
        "truncated gzip": Fails(AGAIN),
        "truncated zip": NOT_ZIP,
        "wrong column count": Fails("needed are time (UTC), bid and ask"),
        "duplicate row": Found("duplicate", 5),
    },
}
_BULK: dict[str, Cell] = {
    "cut mid-line": Found("garbage", 8),
    "wrong separator": Found("garbage", 4),
    "unexpected header": Fails(AGAIN, 1),
    "missing header": Same("published with and without"),
    "header in the middle": Found("garbage", 4),
    "byte-order mark": Fails(MARKS, 1),
    "CRLF": Same("both line ends are read"),
    "mixed time units": Found("bad_time", 4),
    "times a thousandth": Fails("check data.source", 2),
    "another unit than the file before": Found("time_unit", 0),
    "a symbol twice": Found("backward", 1),
    "updates without a snapshot": NO_BOOK,
    "empty": Fails("check data.source"),
    "time backward": Found("backward", 4),
    "NaN": Found("not_finite", 4),
    "price of zero": Found("not_positive", 4),
    "negative price": Found("negative", 4),
    "binary garbage": Found("garbage", 4),
    "truncated gzip": Fails(AGAIN),
    "truncated zip": Fails(AGAIN),
    "wrong column count": Found("garbage", 4),
    "duplicate row": Found("duplicate", 5),
}
_NEEDED = "needed are time, id, price, qty, side"
TABLE["trades"] = TABLE["quotes"] | {
    "unexpected header": Fails(_NEEDED),
    "missing header": Fails(_NEEDED),
    "times a thousandth": Fails("give UTC timestamps"),
    "a symbol twice": Found("backward", 0, formats.TRADE_TABLE.second),
    "wrong column count": Fails(_NEEDED),
}
_WS: dict[str, Cell] = {
    "cut mid-line": Found("garbage", 5),
    "wrong separator": Found("garbage", 3),
    "unexpected header": Found("garbage", 0),
    "missing header": NO_HEADER,
    "header in the middle": NO_HEADER,
    "byte-order mark": Found("garbage", 0),
    "CRLF": Same("both line ends are read"),
    "mixed time units": Found("bad_time", 3),
    "times a thousandth": Fails("check data.source", 1),
    "another unit than the file before": Absent("times are ns in every recording"),
    "a symbol twice": Found("backward", 0),
    "updates without a snapshot": Found("no_snapshot", 0),
    "empty": Fails("check data.source"),
    "time backward": Found("bad_time", 3),
    "NaN": Found("not_finite", 3),
    "price of zero": Found("not_positive", 3),
    "negative price": Found("negative", 3),
    "binary garbage": Found("garbage", 3),
    "truncated gzip": Found("cut", ANYWHERE),
    "truncated zip": Absent("recordings are gzip"),
    "wrong column count": Found("garbage", 3),
    "duplicate row": Found("duplicate", 4),
}
for _name in ("aggTrades", "trades", "bookTicker"):
    _file = FORMATS[f"binance_bulk {_name}"]
    TABLE[f"binance_bulk {_name}"] = _BULK | {
        "another unit than the file before": Found("time_unit", 0, _file.second),
        "a symbol twice": Found("backward", 1, _file.second),
        "truncated zip": Fails(AGAIN, file=_file.file.replace(".csv", ".zip")),
    }
_DEPTH = formats.DEPTH
TABLE["binance_depth"] = _BULK | {
    "cut mid-line": Found("garbage", 16),
    "wrong separator": Found("garbage", 6),
    "header in the middle": Found("garbage", 6),
    "mixed time units": Found("bad_time", 6),
    "times a thousandth": Found("bad_time", 1),  # the snapshot's file is whole
    "another unit than the file before": Found("time_unit", 0, _DEPTH.second),
    "a symbol twice": Found("backward", 1, _DEPTH.second),
    "updates without a snapshot": Fails("check data.source", 2),
    "empty": Found("empty", 0),
    "time backward": Found("backward", 6),
    "NaN": Found("not_finite", 6),
    "price of zero": Found("not_positive", 6),
    "negative price": Found("negative", 6),
    "binary garbage": Found("garbage", 6),
    "truncated zip": Fails(AGAIN, file=_DEPTH.file.replace(".csv", ".zip")),
    "wrong column count": Found("garbage", 6),
    "duplicate row": Found("duplicate", 7),
}
for _name in ("binance_ws", "kraken_ws", "coinbase_ws"):
    TABLE[_name] = _WS | {"a symbol twice": Found("backward", 0, FORMATS[_name].second)}
TABLE["kraken_ws"] |= {"NaN": Found("garbage", 3)}  # its numbers are JSON's, which has none
CELLS = [pytest.param(name, defect, id=f"{name}-{defect}") for name in FORMATS for defect in DEFECTS]


def ingest(raw: Path, files: Damaged, format_: Lines | Table, out: Path) -> Path:
    """Write ``files`` and ingest them as a user's settings would; the folder that holds ``data``."""
    formats.write(raw, files)
    if DataParams(source=format_.source).has_events:
        events.ingest(raw, format_.market, out, format_.source)
    else:
        bars.ingest(out, market=format_.market, source_name=format_.source, path=str(raw))
    return out


def test_every_source_and_every_defect_has_a_cell() -> None:
    sources = set(typing.get_args(typing.get_type_hints(DataParams)["source"])) - set(SYNTHETIC)
    assert {format_.source for format_ in FORMATS.values()} == sources
    assert TABLE.keys() == FORMATS.keys()
    assert {name: sorted(set(DEFECTS) ^ set(cells)) for name, cells in TABLE.items() if set(DEFECTS) ^ set(cells)} == {}
    for name, cells in TABLE.items():
        if isinstance(FORMATS[name], Table):
            had = {defect for defect, cell in cells.items() if not isinstance(cell, Absent)}
            assert had <= set(formats.TABLES)


@pytest.mark.parametrize("name", FORMATS)
def test_the_valid_file_gives_no_finding(tmp_path: Path, name: str) -> None:
    out = ingest(tmp_path / "raw", FORMATS[name].valid(), FORMATS[name], tmp_path / "out")
    assert formats.findings(out) == []
    assert len(Tape.open(out / "data/market.tape").records) > 4


@pytest.mark.parametrize(("name", "defect"), CELLS)
def test_every_defect_is_named_with_its_place(tmp_path: Path, name: str, defect: str) -> None:
    cell, format_ = TABLE[name][defect], FORMATS[name]
    if isinstance(cell, Absent):
        return
    files = damaged(format_, defect)
    assert files != format_.valid()
    if isinstance(cell, Fails):
        with pytest.raises(BadInput) as raised:
            ingest(tmp_path / "raw", files, format_, tmp_path / "out")
        told = str(raised.value)
        assert (cell.file or format_.file) in told and cell.remedy in told, told
        assert not cell.line or re.search(rf"line {cell.line}\b", told), told
        return
    out = ingest(tmp_path / "raw", files, format_, tmp_path / "out")
    if isinstance(cell, Found):
        told = [found if cell.row != ANYWHERE else (found[0], ANYWHERE, found[2]) for found in formats.findings(out)]
        assert (cell.file or format_.told or format_.file, cell.row, cell.rule) in told
        return
    assert formats.findings(out) == []
    valid = ingest(tmp_path / "valid", format_.valid(), format_, tmp_path / "same")
    tapes = [Tape.open(folder / "data/market.tape").records.tobytes() for folder in (out, valid)]
    assert tapes[0] == tapes[1]
