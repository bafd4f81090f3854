"""Lots, trades, transfers, funding and risk states: literal cases, and what the database refuses of them."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.records import FeeAsset, Reason, RiskState, TransferCause
from runner.ledger import LedgerBroken, funding_amount
from runner.lots import Closing, Lots, Opening
from runner.store.sqlite import insert
from runner.store.tables import ENTRY, FILL, LOT, RISK_STATE, TRADE, TRANSFER, TXN
from tests.runner.books import (
    BTC,
    BUY,
    ETH,
    SELL,
    T0,
    Books,
    bar,
    database,
    fill,
    funding,
    order,
    risk,
    session,
    trading,
    transfer,
    without,
)

PRICE = 6_000_000
LOT_UNITS = 1_000  # 0.00001 BTC in satoshi
CASH = 10_000_000


def held(*parts: object) -> Books:
    books = Books()
    books.post(session(), bar(PRICE), *parts)  # type: ignore[arg-type]
    return books


def test_first_in_first_out_with_fees_on_both_sides() -> None:
    """0.1 at 60,000 and 0.1 at 61,000, fees 6 and 6.10; sold 0.15 at 62,000, fee 9.30."""
    books = held(
        fill(BUY, 6_000_000, 10_000, exec_id=1, fee=600),
        fill(BUY, 6_100_000, 10_000, exec_id=2, fee=610),
        fill(SELL, 6_200_000, 15_000, exec_id=3, fee=930),
    )
    assert books.rows("SELECT units, cost FROM lot") == [(10_000_000, 600_600), (10_000_000, 610_610)]
    proceeds = 930_000 - 930
    assert books.rows("SELECT lot, units, closed, cost, proceeds, realised FROM trade") == [
        (1, 10_000_000, 10_000_000, 600_600, 619_380, 18_780),
        (2, 5_000_000, 5_000_000, 305_305, proceeds - 619_380, proceeds - 619_380 - 305_305),
    ]
    assert books.ledger.lots.units(0) == 5_000_000
    assert books.ledger.lots.cost(0) == 305_305
    books.verify()


def test_a_fee_in_base_makes_the_lot_smaller_and_dust_stays_a_lot() -> None:
    books = held(
        fill(BUY, PRICE, 10_000, exec_id=1, fee=10_300, fee_asset=FeeAsset.BASE),
        fill(SELL, PRICE, 9_989, exec_id=2),
    )
    assert books.rows("SELECT units FROM lot") == [(10_000_000 - 10_300,)]
    assert books.ledger.lots.units(0) == 700  # less than a lot of 1,000
    assert books.ledger.balances["holdings", "BTC"] == 700


def test_a_sale_beyond_what_is_held_closes_it_and_opens_a_short_lot() -> None:
    """A fact is booked whatever the profile allows."""
    books = held(fill(BUY, 6_000_000, 100, exec_id=1), fill(SELL, 6_000_000, 300, exec_id=2))
    assert books.rows("SELECT units, cost FROM lot") == [(100_000, 6_000), (-200_000, -12_000)]
    books.post(fill(BUY, 5_000_000, 200, exec_id=3))
    assert books.rows("SELECT lot, proceeds, realised FROM trade") == [(1, 6_000, 0), (2, -10_000, 2_000)]
    books.verify()


CHANGES = st.lists(st.tuples(st.integers(-1000, 1000).filter(bool), st.integers(-(10**6), 10**6)), max_size=40)


@given(CHANGES)
def test_cash_is_what_lots_cost_less_what_they_earned(changes: list[tuple[int, int]]) -> None:
    """-cash moved = cost of open lots - realised, to the unit; units are conserved; a lot is never over-closed."""
    lots, opened, closed = Lots(), {}, {}
    for units, paid in changes:
        for made in lots.change(0, units, paid):
            if isinstance(made, Opening):
                opened[made.id] = made.units, made.cost
            else:
                assert isinstance(made, Closing)
                closed[made.lot] = closed.get(made.lot, 0) + made.units
                assert abs(closed[made.lot]) <= abs(opened[made.lot][0])
    assert lots.units(0) == sum(units for units, _ in changes) == sum(lot.left for lot in lots.open_lots(0))
    assert lots.cost(0) == sum(lot.cost_left for lot in lots.open_lots(0))
    assert sum(paid for _, paid in changes) == lots.cost(0) - lots.realised.get(0, 0)


def test_deposits_and_withdrawals_are_not_profit() -> None:
    books = held(transfer(500_000, TransferCause.DEPOSIT, 1), fill(BUY, PRICE, 10_000, fee=600))
    books.post(transfer(-200_000, TransferCause.WITHDRAWAL, 2), transfer(-7, TransferCause.ADJUSTMENT, 3))
    ledger = books.ledger
    assert ledger.paid_in == CASH + 500_000 - 200_000 - 7
    assert ledger.balances["equity", "USDT"] == -(CASH + 300_000)
    assert ledger.balances["adjustment", "USDT"] == 7
    assert ledger.balances["holdings", "USDT"] == ledger.paid_in - 600_600
    books.post(transfer(500_000, TransferCause.DEPOSIT, 1))  # said twice, booked once
    assert ledger.paid_in == CASH + 500_000 - 200_000 - 7
    books.verify()


def test_a_deposit_of_the_base_is_worth_its_mark_and_leaves_at_cost() -> None:
    books = held(transfer(50_000_000, TransferCause.DEPOSIT, 1, FeeAsset.BASE))  # 0.5 BTC: 30,000
    assert books.ledger.paid_in == CASH + 3_000_000
    books.post(transfer(-20_000_000, TransferCause.WITHDRAWAL, 2, FeeAsset.BASE))
    assert books.ledger.paid_in == CASH + 1_800_000
    assert books.ledger.lots.realised == {0: 0}
    books.verify()


@pytest.mark.parametrize(("units", "rate", "paid"), [(100_000_000, 100_000, 600), (-100_000_000, 100_000, -600),
                                                     (100_000_001, 100_000, 601), (-100_000_001, 100_000, -600),
                                                     (1, 1, 1), (-1, 1, 0), (-1, -1, 1), (0, 5, 0)])  # fmt: skip
def test_funding_is_rounded_against_us(units: int, rate: int, paid: int) -> None:
    """1 BTC at 60,000 and 0.01 %: 6.00."""
    market = Books().ledger.markets[0]
    assert funding_amount(market, PRICE, rate, units) == paid


def test_funding_moves_cash_and_no_lot() -> None:
    books = held(fill(BUY, PRICE, 100_000), funding(PRICE, 100_000), funding(PRICE, -50_000))
    assert books.rows("SELECT units, amount FROM funding") == [(100_000_000, 600), (100_000_000, -300)]
    assert books.ledger.balances["funding", "USDT"] == 300
    books.verify()


def test_the_same_fill_twice_is_booked_once_and_the_database_refuses_a_second() -> None:
    books = held(fill(BUY, PRICE, 100))
    books.post(fill(BUY, PRICE, 100), bar(PRICE, T0 + 1))
    assert books.rows("SELECT COUNT(*) FROM fill") == [(1,)]
    books.verify()
    again = Books(connection=books.connection)
    again.ledger.counts |= books.ledger.counts  # a program that forgot what it booked
    again.parts, again.count = books.parts, books.count
    again.ledger.balances |= books.ledger.balances
    again.ledger.lots.lot_count = books.ledger.lots.lot_count
    with pytest.raises(sqlite3.IntegrityError, match="fill is append-only: there is such a row"):
        again.post(fill(BUY, PRICE, 100))


def test_an_order_that_was_never_approved_leaves_a_mark() -> None:
    """A fact is booked, and said to be without approval; claiming one is refused, as is hiding one."""
    books = held(*order(1, BUY, 1_000, PRICE), fill(BUY, PRICE, 400), fill(BUY, PRICE, 100, order_id=77, exec_id=2))
    assert books.rows("SELECT order_id, approved FROM fill") == [(1, 1), (77, 0)]
    assert books.rows("SELECT lots, is_live FROM reservation WHERE order_id = 1") == [(1_000, 1), (600, 1)]
    values = books.rows("SELECT * FROM fill")[1]
    names = dict(zip(FILL.names, values, strict=True))
    books = held(fill(BUY, PRICE, 400), fill(BUY, PRICE, 100, order_id=77, exec_id=2))
    without(books.connection, "fill_no_delete")
    books.connection.execute("DELETE FROM fill WHERE txn = 3")
    with pytest.raises(sqlite3.IntegrityError, match="an approval it does not have"):
        books.connection.execute(insert(FILL), tuple((names | {"approved": 1}).values()))


def test_every_trade_is_traced_to_its_signals() -> None:
    books = held(*order(1, BUY, 1_000, PRICE), fill(BUY, PRICE, 1_000))
    books.post(bar(PRICE + 100, T0 + 1), *order(2, SELL, 1_000, PRICE + 100, action=2, ts=T0 + 1))
    books.post(fill(SELL, PRICE + 100, 1_000, order_id=2, exec_id=2))
    entry_bar, exit_bar = (row[0] for row in books.rows("SELECT seq FROM signal ORDER BY seq"))
    assert books.rows("SELECT trade, lot, opened_by, opened_on, closed_by, closed_on FROM lineage") == [
        (1, 1, 1, entry_bar, 2, exit_bar)
    ]
    assert [books.records[seq]["kind"] for seq in (entry_bar, exit_bar)] == [1, 1]


ORPHANS = [
    (LOT, (1, 1, 9, 0, 5, 5, T0), "lot without its txn"),
    (TRADE, (1, 1, 9, 2, 0, 5, 5, 1, 1, 1, 0, T0), "trade without its lot"),
    (FILL, (1, 9, 1, 1, 0, 1, 1, 1, 1, 1000, 0, "USDT", T0, T0, 0), "fill without its txn"),
    (TRANSFER, (1, 9, 1, "DEPOSIT", "USDT", 5, T0), "transfer without its txn"),
    (ENTRY, (1, 3, 2, "holdings", "DOGE", 5, 0, 5), "entry without its asset"),
    (LOT, (1, 1, 1, 3, 5, 5, T0), "lot without its market"),
]


@pytest.mark.parametrize(("table", "values", "said"), ORPHANS, ids=[item[2] for item in ORPHANS])
def test_no_orphan_at_any_level(table: object, values: tuple, said: str) -> None:
    books = held()
    with pytest.raises(sqlite3.IntegrityError, match=said):
        books.connection.execute(insert(table), values)  # type: ignore[arg-type]


BAD_TRADES = [
    ((1, 1, 1, 4, 0, 5_000, 5_000, 2_999, 2_999, 1, -2_998, T0), None),
    ((1, 1, 1, 4, 0, 5_000, 5_000, 2_999, 2_999, 1, -2_997, T0), "profit"),
    ((1, 1, 1, 4, 0, 100_001, 100_001, 1, 1, 1, 0, T0), "more than its lot"),
    ((1, 1, 1, 4, 0, -5, -5, 1, 1, 1, 0, T0), "more than its lot"),
    ((1, 1, 1, 4, 0, 5_000, 6_000, 1, 1, 1, 0, T0), "continue its lot"),
    ((1, 1, 1, 4, 0, 100_000, 100_000, 5_999, 5_999, 1, -5_998, T0), "keeps back cost"),
    ((1, 1, 2, 4, 0, 5_000, 5_000, 1, 1, 1, 0, T0), "before an older one"),
    ((1, 2, 1, 4, 0, 5_000, 5_000, 1, 1, 1, 0, T0), "hole"),
]


@pytest.mark.parametrize(("values", "said"), BAD_TRADES)
def test_a_trade_that_does_not_add_up_is_refused(values: tuple, said: str | None) -> None:
    """Two lots of 100 x 1,000 units that cost 60.00 each."""
    books = held(fill(BUY, PRICE, 100, exec_id=1), fill(BUY, PRICE, 100, exec_id=2), funding(PRICE, 10**9))
    if said is None:
        books.connection.execute(insert(TRADE), values)
        return
    with pytest.raises(sqlite3.IntegrityError, match=said):
        books.connection.execute(insert(TRADE), values)


NORMAL, CAUTION, HALT, FLATTEN = RiskState


@pytest.mark.parametrize(
    ("before", "after", "reason", "allowed"),
    [
        (NORMAL, CAUTION, Reason.DRAWDOWN_CAUTION, True),
        (CAUTION, NORMAL, Reason.RECOVERED, True),
        (NORMAL, FLATTEN, Reason.DRAWDOWN_FLATTEN, True),
        (FLATTEN, HALT, Reason.ALREADY_FLAT, True),
        (HALT, NORMAL, Reason.OPERATOR_RESUME, True),
        (HALT, NORMAL, Reason.RECOVERED, False),
        (HALT, CAUTION, Reason.OPERATOR_RESUME, False),
        (FLATTEN, NORMAL, Reason.OPERATOR_RESUME, False),
    ],
)
def test_only_the_machines_transitions_become_rows(before: int, after: int, reason: int, allowed: bool) -> None:
    way = [] if before == NORMAL else [risk(Reason.OPERATOR_HALT, NORMAL, before)]
    books = held(*way)
    if allowed:
        books.post(risk(reason, before, after))
        assert books.rows("SELECT COUNT(*) FROM risk_state") == [(len(way) + 1,)]
        assert len({row[0] for row in books.rows("SELECT sha256 FROM risk_state")}) == len(way) + 1
        books.verify()
        return
    with pytest.raises(sqlite3.IntegrityError, match="transition"):
        books.post(risk(reason, before, after))


def test_a_risk_state_continues_the_one_before() -> None:
    books = held(risk(Reason.OPERATOR_HALT, NORMAL, HALT))
    with pytest.raises(sqlite3.IntegrityError, match="does not continue"):
        books.post(risk(Reason.DRAWDOWN_CAUTION, NORMAL, CAUTION))
    row = list(books.rows("SELECT * FROM risk_state")[0])
    row[RISK_STATE.names.index("id")], row[RISK_STATE.names.index("seq")] = 2, 1
    row[RISK_STATE.names.index("state_from")], row[RISK_STATE.names.index("day_stopped")] = int(HALT), 1
    with pytest.raises(sqlite3.IntegrityError, match="daily stop lifted or set without its reason"):
        books.connection.execute(insert(RISK_STATE), row)


def test_two_accounts_in_one_database_never_meet() -> None:
    """Interleaved, each account's rows and chain are those it has alone; no row can name the other's."""
    parts = {
        1: [[session(), bar(PRICE)], [*order(1, BUY, 10_000, PRICE)], [fill(BUY, PRICE, 10_000, fee=600)]],
        2: [[session(), bar(PRICE)], [*order(1, BUY, 5_000, PRICE)], [fill(BUY, PRICE, 4_000, fee=240)]],
    }
    shared = database()
    both = {
        k: Books(BTC, ETH, settings=trading(initial_cash=f"{k}00000"), account_id=k, connection=shared) for k in (1, 2)
    }
    for step in range(3):
        for k in (1, 2):
            both[k].post(*parts[k][step])
    for k in (1, 2):
        alone = Books(BTC, ETH, settings=trading(initial_cash=f"{k}00000"))
        for step in parts[k]:
            alone.post(*step)
        assert both[k].ledger.head() == alone.ledger.head()
        assert both[k].ledger.balances == alone.ledger.balances
        assert both[k].verify().head() == alone.ledger.head()
    assert both[1].ledger.head() != both[2].ledger.head()
    for table, values in (
        (LOT, (3, 1, 1, 0, 5, 5, T0)),
        (ENTRY, (3, 1, 1, "holdings", "USDT", 5, 0, 5)),
        (TXN, (3, 1, 1, "FILL", 1, bytes(32))),
        (LOT, (2, 2, 2 + 5, 0, 5, 5, T0)),
    ):
        with pytest.raises(sqlite3.IntegrityError):
            shared.execute(insert(table), values)
    row = list(both[1].rows("SELECT * FROM trade WHERE account_id = 1") or [])
    assert row == []
    with pytest.raises(sqlite3.IntegrityError, match="trade without its lot"):
        shared.execute(insert(TRADE), (2, 1, 2, 2, 0, 1_000, 1_000, 1, 1, 1, 0, T0))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_any_value_changed_in_any_row_is_found_at_that_row(data: st.DataObject) -> None:
    books = held(*order(1, BUY, 10_000, PRICE), fill(BUY, PRICE, 10_000, fee=600), funding(PRICE, 1000))
    books.post(risk(Reason.OPERATOR_HALT, NORMAL, HALT), *order(2, SELL, 10_000, PRICE, action=2))
    books.post(fill(SELL, PRICE, 10_000, order_id=2, exec_id=2), transfer(5, TransferCause.DEPOSIT, 1))
    books.connection.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in books.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        books.connection.execute(f"DROP TRIGGER {name}")
    filled = [name for name, count in books.ledger.counts.items() if count]
    table = data.draw(st.sampled_from(filled))
    names = [row[1] for row in books.rows(f"PRAGMA table_info({table})")]
    column = data.draw(st.sampled_from(names[1:]))
    rows = books.rows(f"SELECT * FROM {table}")
    row = dict(zip(names, data.draw(st.sampled_from(rows)), strict=True))
    keys = [name[5] and name[1] for name in books.rows(f"PRAGMA table_info({table})")]
    where = " AND ".join(f"{key} = ?" for key in keys if key)
    value = row[column]
    changed = value + 10**9 if isinstance(value, int) else value + ("x" if isinstance(value, str) else b"x")
    books.connection.execute(
        f"UPDATE {table} SET {column} = ? WHERE {where}", (changed, *(row[key] for key in keys if key))
    )
    with pytest.raises(LedgerBroken, match=f"ledger: {table} "):
        books.verify()


def test_a_row_too_many_or_too_few_is_found() -> None:
    for statement, said in (
        ("DELETE FROM entry WHERE id = 3", "ledger: entry 3: id is 4, the journal gives 3"),
        ("DELETE FROM lot WHERE id = 1", "ledger: lot 1 is missing"),
        (
            "INSERT INTO trade VALUES (1, 1, 1, 2, 0, 1, 1, 1, 1, 1, 0, 5)",
            "1 rows of trade stored, the journal gives 0",
        ),
    ):
        books = held(fill(BUY, PRICE, 100))
        without(books.connection, "entry_no_delete", "lot_no_delete")
        books.connection.execute(statement)
        with pytest.raises(LedgerBroken, match=said):
            books.verify()
