"""The journal: durable, hashed, append-only, and never half-written."""

import itertools
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import BadTape, PortcullisError, Refused
from core.instruments import Instrument
from core.records import FILL, RECORD, FeeAsset, Kind, Side
from runner.database import check_schema, connect
from runner.failpoints import Failpoints
from runner.journal import Journal
from runner.lease import lease
from runner.ledger import Ledger
from runner.segments import read_segments, verified_batches

BTC = Instrument(symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001", taker_fee_ppm=1000)
HEADER = {"run": "ab", "config": {"x": 1}}


def stream(n: int, seed: int = 1) -> np.ndarray:
    """A SESSION record and then ``n - 1`` records, every tenth a fill, all other bytes arbitrary."""
    words = np.random.default_rng(seed).integers(0, 1 << 40, size=(n, 8), dtype=np.int64)
    records = words.view(RECORD)[:, 0].copy()
    records["kind"] = Kind.BAR
    records["kind"][0] = Kind.SESSION
    fills = records[5::10].view(FILL)
    fills["kind"], fills["side"], fills["instrument"], fills["flags"] = Kind.FILL, Side.BUY, 0, FeeAsset.QUOTE
    fills["price"], fills["qty"], fills["fee"] = 6_000_000, 100 + np.arange(len(fills)), 60_000_000
    return records


def ledger() -> Ledger:
    return Ledger((BTC,), "USDT", 10**13)


def write(path: Path, records: np.ndarray, cuts: tuple[int, ...] = (), header: dict | None = None) -> str:
    bounds = sorted({0, len(records), *cuts})
    with Journal(path, header or HEADER, ledger(), Failpoints()) as journal:
        for low, high in itertools.pairwise(bounds):
            journal.append(records[low:high])
            journal.commit()
        journal.finish()
        return journal.head()


def verify(path: Path) -> int:
    """Read everything the way the command line does; the number of records."""
    connection = connect(path, write=False)
    try:
        check_schema(connection, path)
        segments = read_segments(connection, path)
        book, count = ledger(), 0
        book.start(segments[0].start)
        with book.checking(connection) as check:
            for segment in segments:
                for batch in verified_batches(connection, path, segment):
                    check(batch.first, batch.records)
                    count = batch.first + len(batch.records)
        return count
    finally:
        connection.close()


def test_one_call_reads_it(tmp_path: Path) -> None:
    records = stream(2500)
    write(tmp_path / "journal.db", records, (1, 700, 701))
    rows = sqlite3.connect(tmp_path / "journal.db").execute("SELECT records FROM block ORDER BY first")
    assert np.frombuffer(b"".join(row[0] for row in rows), RECORD).tobytes() == records.tobytes()


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 2499), max_size=6))
def test_head_and_ledger_do_not_depend_on_batches(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    folder, records = tmp_path_factory.mktemp("run"), stream(2500)
    assert write(folder / "a.db", records) == write(folder / "b.db", records, tuple(cuts))
    tables = [
        sqlite3.connect(folder / name).execute("SELECT * FROM entry JOIN txn ON txn.id = entry.txn").fetchall()
        for name in ("a.db", "b.db")
    ]
    assert tables[0] == tables[1]
    assert len(tables[0]) > 100


def test_resuming_appends_only_what_is_missing(tmp_path: Path) -> None:
    records, path = stream(3000), tmp_path / "journal.db"
    whole = write(tmp_path / "whole.db", records)
    with Journal(path, HEADER, ledger(), Failpoints()) as journal:
        journal.append(records[:1234])
        journal.commit()
        journal.append(records[1234:1300])  # never committed: lost with the process
    with Journal(path, HEADER, ledger(), Failpoints()) as journal:
        assert journal.durable == 1234
        for low in range(0, 3000, 7):
            journal.append(records[low : low + 7])
        journal.finish()
        assert journal.head() == whole
    assert verify(path) == 3000


def test_resuming_with_another_record_names_it(tmp_path: Path) -> None:
    records, path = stream(100), tmp_path / "journal.db"
    write(path, records)
    records["b"][42] += 1
    with Journal(path, HEADER, ledger(), Failpoints()) as journal:
        journal.append(records[:40])
        with pytest.raises(BadTape, match=r"record 42 \(BAR\) high: expected"):
            journal.append(records[40:])


def test_a_session_shorter_than_the_journal_is_refused(tmp_path: Path) -> None:
    records, path = stream(100), tmp_path / "journal.db"
    write(path, records)
    with Journal(path, HEADER, ledger(), Failpoints()) as journal:
        journal.append(records[:99])
        with pytest.raises(BadTape, match="holds 100 records, the session made 99"):
            journal.finish()


def test_another_header_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "journal.db", stream(10))
    with pytest.raises(Refused, match="another config"):
        Journal(tmp_path / "journal.db", HEADER | {"config": {"x": 2}}, ledger(), Failpoints())


FLIPS = [
    ("segment", "header"),
    ("segment", "sha256"),
    ("batch", "first"),
    ("batch", "count"),
    ("batch", "head"),
    ("block", "first"),
    ("block", "records"),
    ("entry", "id"),
    ("entry", "txn"),
    ("entry", "account"),
    ("entry", "asset"),
    ("entry", "delta"),
    ("entry", "balance_before"),
    ("entry", "balance_after"),
    ("txn", "id"),
    ("txn", "seq"),
    ("txn", "cause"),
    ("txn", "entries"),
    ("txn", "sha256"),
]


@pytest.mark.parametrize(("table", "column"), FLIPS)
@pytest.mark.parametrize("which", ["MIN", "MAX"])
def test_a_changed_value_in_any_column_is_found(tmp_path: Path, table: str, column: str, which: str) -> None:
    path = tmp_path / "journal.db"
    write(path, stream(300), (100, 200))
    tamper(path, table, column, which)
    with pytest.raises(PortcullisError) as caught:
        verify(path)
    assert caught.value.exit_code in (31, 51)
    assert any(word in str(caught.value) for word in (table, "ledger:", "record"))
    with pytest.raises(PortcullisError):
        Journal(path, HEADER, ledger(), Failpoints())


def tamper(path: Path, table: str, column: str, which: str) -> None:
    """Change one value in place as someone with a database shell would: constraints off, triggers put back."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("BEGIN")
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    key = "first" if table in ("batch", "block") else "id"
    row = f"{key} = (SELECT {which}({key}) FROM {table})"
    (value,) = connection.execute(f"SELECT {column} FROM {table} WHERE {row}").fetchone()
    if isinstance(value, int):
        changed: object = value + 1_000_003
    elif isinstance(value, str):
        changed = value[:-1] + chr(ord(value[-1]) ^ 1)
    else:
        changed = value[:-1] + bytes([value[-1] ^ 1])
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE {row}", (changed,))
    for _, sql in triggers:
        connection.execute(sql)
    connection.execute("COMMIT")
    connection.close()


def test_a_flipped_byte_of_the_file_is_found_or_says_nothing(tmp_path: Path) -> None:
    """Bytes that SQLite itself does not use may change unseen here; the seal covers those (test_runner_seal)."""
    path = tmp_path / "journal.db"
    write(path, stream(300), (100, 200))
    intact = path.read_bytes()
    dump = list(sqlite3.connect(path).iterdump())
    rng, found = np.random.default_rng(3), 0
    for position in rng.integers(0, len(intact), size=150):
        data = bytearray(intact)
        data[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(data))
        try:
            verify(path)
        except PortcullisError:
            found += 1
        else:
            assert list(sqlite3.connect(path).iterdump()) == dump
    assert found > 50


def test_rows_cannot_be_updated_or_deleted(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    write(path, stream(50))
    connection = sqlite3.connect(path)
    for table, column in (
        ("segment", "header"),
        ("batch", "head"),
        ("block", "records"),
        ("entry", "asset"),
        ("txn", "cause"),
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(f"UPDATE {table} SET {column} = {column}")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(f"DELETE FROM {table}")


def test_a_removed_trigger_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    write(path, stream(10))
    sqlite3.connect(path).execute("DROP TRIGGER entry_no_update")
    with pytest.raises(BadTape, match="entry_no_update"):
        verify(path)


def test_a_full_disk_stops_trading_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    records, path = stream(6000), tmp_path / "journal.db"
    with Journal(path, HEADER, ledger(), Failpoints()) as journal:
        journal.append(records[:1000])
        journal.commit()
        pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        with pytest.raises(BadTape, match=r"full; trading stopped: 1000 records are durable.*Make room"):
            journal.append(records[1000:4000])
        with pytest.raises(BadTape):
            journal.append(records[4000:])
            journal.commit()
    assert verify(path) == 1000
    with Journal(path, HEADER, ledger(), Failpoints()) as journal:
        journal.append(records)
        journal.finish()
        head = journal.head()
    assert head == write(tmp_path / "whole.db", records)


def test_missing_or_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadTape, match="no journal there"):
        connect(tmp_path / "none.db", write=False)
    (tmp_path / "text.db").write_text("not a database " * 100)
    with pytest.raises(BadTape):
        verify(tmp_path / "text.db")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)")
    with pytest.raises(BadTape):
        verify(tmp_path / "other.db")


def test_one_writer_per_run(tmp_path: Path) -> None:
    with lease(tmp_path), pytest.raises(Refused, match="one runner per run"), lease(tmp_path):
        pass
    with lease(tmp_path):
        pass
