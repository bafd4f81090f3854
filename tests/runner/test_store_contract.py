"""The contract compiled to SQLite: exact wide arithmetic, and tables that refuse what the contract refuses."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import journal_schema
from runner.schema import LEDGER, OBJECTS
from runner.store.contract import AMOUNT_MAX, AtMost, Law, Product, Quotient, Table, Type, Unless, integer, parent
from runner.store.sqlite import Sqlite, insert

AMOUNTS = st.one_of(
    st.integers(0, AMOUNT_MAX),
    st.integers(0, 1000),
    st.sampled_from([0, 1, 2**31 - 1, 2**31, AMOUNT_MAX, AMOUNT_MAX - 1]),
)
SQL = sqlite3.connect(":memory:")


def truth(condition: object, **values: int) -> int:
    """What SQLite makes of ``condition`` on columns with these values."""
    columns = ", ".join(f":{name} AS {name}" for name in values)
    text = Sqlite().condition(condition)  # type: ignore[arg-type]
    return SQL.execute(f"SELECT ({text}) FROM (SELECT {columns})", values).fetchone()[0]


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_products_of_124_bits_compare_as_integers_do(a: int, b: int, c: int, d: int) -> None:
    assert truth(AtMost(Product("a", "b"), Product("c", "d")), a=a, b=b, c=c, d=d) == (a * b <= c * d)


@given(AMOUNTS, AMOUNTS)
def test_products_one_apart_are_told_apart(a: int, b: int) -> None:
    """(a + 1) (b) against a b: equal only if b is 0; against themselves always at most."""
    assert truth(AtMost(Product("a", "b"), Product("b", "a")), a=a, b=b) == 1
    a = min(a, AMOUNT_MAX - 1)
    assert truth(AtMost(Product("(a + 1)", "b"), Product("a", "b")), a=a, b=b) == (b == 0)


@given(AMOUNTS, AMOUNTS, st.integers(1, AMOUNT_MAX), st.booleans(), st.integers(-2, 2))
def test_a_quotient_is_the_rounded_one_and_no_other(a: int, b: int, den: int, up: bool, off: int) -> None:
    exact = -(-a * b // den) if up else a * b // den
    value = exact + off
    if not 0 <= value < AMOUNT_MAX:
        return
    held = truth(Quotient("v", "a", "b", "den", up), v=value, a=a, b=b, den=den)
    assert held == (off == 0)


def test_unless_excuses_only_the_rows_it_names() -> None:
    law = Unless("a = 1", AtMost(Product("b", "b"), Product("3", "3")))
    assert [truth(law, a=a, b=b) for a, b in ((1, 9), (0, 9), (0, 3), (1, 3))] == [1, 0, 1, 1]


SMALL = Table("small", (integer("id", 1), integer("x", -5, 5)), ("id",), checks={"odd": "x % 2 <> 0"})
CHILD = Table(
    "child",
    (integer("id", 1), integer("of", 1)),
    ("id",),
    parents=(parent("small", "of", keys=("id",)),),
    laws=(
        Law(
            "child_laws",
            (("first", "s.x > 0"), ("second", "(SELECT x FROM small WHERE id = 99) = 1"), ("third", "NEW.id < 9")),
            source="small s WHERE s.id = NEW.of",
        ),
    ),
)


def database(*tables: Table) -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    for sql in Sqlite().objects(tables).values():
        made.execute(sql)
    return made


@pytest.mark.parametrize("bad", [(0, 1), (2**63 - 1 - 2**62 + 2**62, 1), (1, 7), (1, 2), (1, None), (1, 1.5), (1, "x")])
def test_a_column_takes_only_integers_within_its_bounds(bad: tuple) -> None:
    made = database(SMALL)
    made.execute(insert(SMALL), (1, 5))
    with pytest.raises((sqlite3.IntegrityError, OverflowError)):
        made.execute(insert(SMALL), bad)


def test_laws_are_judged_in_order_and_fail_closed() -> None:
    """The second condition is NULL while small has no row 99: what is unknown does not hold."""
    made = database(SMALL, CHILD)
    made.executemany(insert(SMALL), [(1, -1), (2, 1)])
    for row, said in (((1, 7), "child without its small"), ((1, 1), "first"), ((1, 2), "second")):
        with pytest.raises(sqlite3.IntegrityError, match=said):
            made.execute(insert(CHILD), row)
    made.execute(insert(SMALL), (99, 1))
    with pytest.raises(sqlite3.IntegrityError, match="third"):
        made.execute(insert(CHILD), (9, 2))
    made.execute(insert(CHILD), (1, 2))


@pytest.mark.parametrize("table", [*journal_schema.TABLES, *LEDGER], ids=lambda table: table.name)
def test_no_table_can_be_updated_or_deleted_from(table: Table) -> None:
    """The triggers fire for each row, so the check needs one: put in with the laws switched off."""
    made = sqlite3.connect(":memory:", isolation_level=None)
    for name, sql in OBJECTS.items():
        if not sql.startswith("CREATE TRIGGER") or name.endswith(("_no_update", "_no_delete", "_no_replace")):
            made.execute(sql)
    made.execute("PRAGMA ignore_check_constraints = ON")
    values = [
        b"\0" * 32 if column.type in (Type.HASH, Type.BYTES) else "x" if column.type is Type.TEXT else 1
        for column in table.columns
    ]
    made.execute(insert(table), values)
    for statement in (f"UPDATE {table.name} SET {table.names[-1]} = {table.names[-1]}", f"DELETE FROM {table.name}"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            made.execute(statement)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        made.execute(f"REPLACE INTO {table.name} VALUES ({', '.join('?' * len(values))})", values)


def test_every_table_of_the_ledger_belongs_to_an_account() -> None:
    for table in LEDGER:
        assert table.names[0] == table.key[0] == "account_id"
        owners = {item.table for item in table.parents if item.columns[0] == "account_id"}
        assert table.name == "account" or owners, table.name
