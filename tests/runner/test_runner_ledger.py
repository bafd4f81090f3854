"""The ledger: every transaction sums to zero per asset, every balance continues, nothing can be slipped in."""

import sqlite3
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.instruments import Instrument
from core.records import FILL, RECORD, FeeAsset, Kind, Side
from runner.failpoints import Failpoints
from runner.journal import Journal
from runner.ledger import Ledger, LedgerBroken, fill_deltas
from runner.standing import Market, grid_of

BTC = Instrument(symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001", quote_unit="0.01")
ETH = Instrument(symbol="ETHUSDT", base="ETH", quote="USDT", tick="0.001", lot="0.0001", quote_unit="0.01")

FILLS = st.tuples(
    st.sampled_from([Side.BUY, Side.SELL]),
    st.integers(0, 1),
    st.integers(1, 10**8),
    st.integers(1, 10**8),
    st.integers(-5, 10**6),
    st.sampled_from([FeeAsset.QUOTE, FeeAsset.BASE]),
)


def fill(side: int, instrument: int, price: int, qty: int, fee: int, flags: int, exec_id: int = 1) -> np.ndarray:
    row = np.zeros(1, FILL)
    row["exec_id"] = exec_id
    row["kind"], row["side"], row["instrument"], row["flags"] = Kind.FILL, side, instrument, flags
    row["price"], row["qty"], row["fee"] = price, qty, fee
    return row


def book() -> Ledger:
    made = Ledger((BTC, ETH), "USDT", 10**12)
    made.start(b"\0" * 32)
    return made


def deltas_of(row: np.void, instrument: Instrument) -> list[tuple[str, str, int]]:
    market = Market(instrument.symbol, instrument.base, instrument.quote, grid_of(instrument, None))
    return fill_deltas(tuple(int(word) for word in row.item()), market)


@given(FILLS)
def test_a_fill_sums_to_zero_per_asset_and_is_rounded_against_us(item: tuple) -> None:
    row = fill(*item)[0]
    instrument = (BTC, ETH)[item[1]]
    deltas = deltas_of(row, instrument)
    for asset in ("USDT", instrument.base):
        assert sum(delta for _, name, delta in deltas if name == asset) == 0
    exact = Fraction(instrument.tick) * Fraction(instrument.lot) / Fraction(instrument.quote_unit) * item[2] * item[3]
    quote = next(delta for account, name, delta in deltas if (account, name) == ("holdings", "USDT"))
    signed = -exact if item[0] == Side.BUY else exact
    assert quote <= signed < quote + 1


def test_a_buy_by_hand() -> None:
    """0.5 BTC at 60,000.00: 30,000 USDT and a fee of 30 USDT."""
    deltas = deltas_of(fill(Side.BUY, 0, 6_000_000, 50_000, 3_000, FeeAsset.QUOTE)[0], BTC)
    assert deltas == [
        ("holdings", "USDT", -3_000_000),
        ("venue", "USDT", 3_000_000),
        ("holdings", "BTC", 50_000_000),
        ("venue", "BTC", -50_000_000),
        ("holdings", "USDT", -3_000),
        ("fees", "USDT", 3_000),
    ]


@given(st.lists(FILLS, max_size=20))
def test_balances_are_the_sum_of_the_deltas(items: list[tuple]) -> None:
    made, expected = book(), {("holdings", "USDT"): 10**12, ("equity", "USDT"): -(10**12)}
    session = np.zeros(1, RECORD)
    session["kind"] = Kind.SESSION
    records = np.concatenate([session, *(fill(*item, number).view(RECORD) for number, item in enumerate(items))])
    transactions = made.transactions(0, records)
    for item in items:
        for account, asset, delta in deltas_of(fill(*item)[0], (BTC, ETH)[item[1]]):
            expected[account, asset] = expected.get((account, asset), 0) + delta
    assert made.balances == {key: value for key, value in expected.items() if key in made.balances}
    assert all(value == 0 for key, value in expected.items() if key not in made.balances)
    assert [item.seq for item in transactions] == list(range(len(items) + 1))
    assert len({item.sha256 for item in transactions}) == len(transactions)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "journal.db"
    session = np.zeros(1, RECORD)
    session["kind"] = Kind.SESSION
    rows = [
        fill(Side.BUY, 0, 6_000_000, 1_000, 60, FeeAsset.BASE),
        fill(Side.SELL, 0, 6_100_000, 900, 60, FeeAsset.QUOTE, exec_id=2),
    ]
    with Journal(path, {"run": "x"}, Ledger((BTC, ETH), "USDT", 10**12), Failpoints()) as journal:
        journal.append(np.concatenate([session, *(row.view(RECORD) for row in rows)]))
        journal.finish()
    return path


def test_the_database_refuses_what_breaks_a_law(written: Path) -> None:
    connection = sqlite3.connect(written, isolation_level=None)
    top, txn = connection.execute("SELECT (SELECT MAX(id) FROM entry), (SELECT MAX(id) FROM txn)").fetchone()
    cash = connection.execute(
        "SELECT balance_after FROM entry WHERE account = 'holdings' AND asset = 'USDT' ORDER BY id DESC LIMIT 1"
    ).fetchone()[0]
    venue = connection.execute(
        "SELECT balance_after FROM entry WHERE account = 'venue' AND asset = 'USDT' ORDER BY id DESC LIMIT 1"
    ).fetchone()[0]
    entry = "INSERT INTO entry VALUES (1, ?, ?, ?, ?, ?, ?, ?)"
    seal = "INSERT INTO txn VALUES (1, ?, ?, 'FILL', ?, zeroblob(32))"
    for bad in (
        (top + 1, txn + 1, "holdings", "USDT", 5, cash, cash + 6),  # arithmetic
        (top + 1, txn + 1, "holdings", "USDT", 5, cash + 1, cash + 6),  # continuity
        (top + 2, txn + 1, "holdings", "USDT", 5, cash, cash + 5),  # a hole
        (top + 1, txn, "holdings", "USDT", 5, cash, cash + 5),  # a sealed transaction
        (top + 1, txn + 1, "bonus", "USDT", 5, 0, 5),  # an unknown account
        (top + 1, txn + 1, "holdings", "USDT", 0, cash, cash),  # nothing
        (top + 1, txn + 1, "holdings", "NEW", 2**63 - 1, 1, 2**63),  # beyond 64 bits
        (top + 1, txn + 1, "holdings", "USDT", 0.5, cash, cash + 0.5),  # a float
    ):
        with pytest.raises((sqlite3.IntegrityError, OverflowError)):
            connection.execute(entry, bad)
    connection.execute("BEGIN")
    connection.execute(entry, (top + 1, txn + 1, "holdings", "USDT", 5, cash, cash + 5))
    for bad_seal, said in (
        ((txn + 1, 99, 1), "transaction unbalanced"),
        ((txn + 1, 2, 1), "there is such a row"),
        ((txn + 1, 3, 2), "transaction incomplete"),
        ((txn + 2, 3, 1), "txn leaves a hole"),
    ):
        with pytest.raises(sqlite3.IntegrityError, match=said):
            connection.execute(seal, bad_seal)
    connection.execute(entry, (top + 2, txn + 1, "venue", "USDT", -5, venue, venue - 5))
    with pytest.raises(sqlite3.IntegrityError, match="without cause in the journal"):
        connection.execute(seal, (txn + 1, 3, 2))


def test_an_extra_transaction_is_found(written: Path) -> None:
    """One that obeys every law but has no cause in the journal: only the comparison can see it."""
    connection = sqlite3.connect(written, isolation_level=None)
    top, txn = connection.execute("SELECT (SELECT MAX(id) FROM entry), (SELECT MAX(id) FROM txn)").fetchone()
    laws = ("txn_sealed", "entry_of_asset")
    sql = [connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (law,)).fetchone()[0] for law in laws]
    for law in laws:
        connection.execute(f"DROP TRIGGER {law}")
    connection.execute("INSERT INTO entry VALUES (1, ?, ?, 'holdings', 'GIFT', 7, 0, 7)", (top + 1, txn + 1))
    connection.execute("INSERT INTO entry VALUES (1, ?, ?, 'equity', 'GIFT', -7, 0, -7)", (top + 2, txn + 1))
    connection.execute("INSERT INTO txn VALUES (1, ?, 3, 'FILL', 2, zeroblob(32))", (txn + 1,))
    for text in sql:
        connection.execute(text)
    connection.close()
    with pytest.raises(LedgerBroken, match="the journal gives"):
        Journal(written, {"run": "x"}, Ledger((BTC, ETH), "USDT", 10**12), Failpoints())
