"""The words a schema is written in, once, for every database: tables, bounds, keys, laws.

Conditions are SQL that SQLite and PostgreSQL read alike (comparisons, CASE, COALESCE, scalar subqueries with ORDER BY
and LIMIT 1, ``NEW.column`` for the row that is being inserted). What the two say differently is a word here: a
column's type and bounds, an append-only table, a parent row, a product of more than 64 bits. A compiler
(``runner.store.sqlite``) turns a schema into one database's statements.

``table@index`` in a query means: through that index. (SQLite guesses without statistics, and a wrong guess reads a
whole table for every row.)

A law says what must hold of a new row. It fails closed: a condition that is unknown (NULL) does not hold.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

AMOUNT_MAX: Final = 2**62  # so that one sum or difference of two amounts fits 64 bits
INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
PPM: Final = 1_000_000

Row = tuple[str, tuple[Any, ...]]  # table, values without the account's id


class Type(Enum):
    """What a column holds. Nothing is ever NULL, and there are no floats."""

    INTEGER = 1
    TEXT = 2
    HASH = 3  # 32 bytes
    BYTES = 4


@dataclass(frozen=True, slots=True)
class Column:
    """One column; integers lie in [low, high], texts are one of ``choices`` if there are any."""

    name: str
    type: Type = Type.INTEGER
    low: int = -AMOUNT_MAX
    high: int = AMOUNT_MAX
    choices: tuple[str, ...] = ()


def integer(name: str, low: int = -AMOUNT_MAX, high: int = AMOUNT_MAX) -> Column:
    """A bounded integer."""
    return Column(name, Type.INTEGER, low, high)


def any_integer(name: str) -> Column:
    """An integer that others choose: an order or execution id, a time stamp."""
    return Column(name, Type.INTEGER, INT64_MIN, INT64_MAX)


def flag(name: str) -> Column:
    """0 or 1."""
    return Column(name, Type.INTEGER, 0, 1)


def text(name: str, *choices: str) -> Column:
    """A text, one of ``choices`` if given."""
    return Column(name, Type.TEXT, choices=choices)


def digest(name: str) -> Column:
    """A SHA-256."""
    return Column(name, Type.HASH)


def blob(name: str) -> Column:
    """Any bytes."""
    return Column(name, Type.BYTES)


@dataclass(frozen=True, slots=True)
class Product:
    """The exact product of two expressions, each in [0, 2**62]."""

    a: str
    b: str


@dataclass(frozen=True, slots=True)
class AtMost:
    """``value`` <= ``most``, exactly, however large the products are."""

    value: Product
    most: Product


@dataclass(frozen=True, slots=True)
class Quotient:
    """``value`` = a b / den, rounded up or down; a, b and den lie in [0, 2**62], den is at least 1."""

    value: str
    a: str
    b: str
    den: str
    up: bool


@dataclass(frozen=True, slots=True)
class Unless:
    """``then`` holds, or ``when`` does: ``when`` names the rows the law is not about."""

    when: str
    then: "str | AtMost | Quotient"


Condition = str | AtMost | Quotient | Unless


@dataclass(frozen=True, slots=True)
class Law:
    """Conditions on a new row, judged in order: the first that does not hold is named in the refusal.

    ``source`` is the FROM clause that gives them other tables' rows. It must always find exactly one row: declare the
    parents that make it so.
    """

    name: str
    holds: tuple[tuple[str, Condition], ...]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Parent:
    """A row of ``table`` whose ``keys`` equal the new row's ``columns`` must exist."""

    columns: tuple[str, ...]
    table: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """An append-only table. ``checks`` are conditions on the row alone; ``laws`` look at other rows."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...] = ()
    parents: tuple[Parent, ...] = ()
    checks: dict[str, str] = field(default_factory=dict)
    laws: tuple[Law, ...] = ()
    indexes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    order: tuple[str, ...] = ()  # in which the rows were written, if that is not the order of the key
    clustered: bool = True  # small rows, kept in the order of their key

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class View:
    """A named query that both databases read alike."""

    name: str
    query: str


def parent(table: str, *columns: str, keys: tuple[str, ...] | None = None) -> Parent:
    """The row of ``table`` with the same ``columns``, or named ``keys`` there."""
    return Parent(columns, table, keys or columns)


def latest(column: str, table: str, where: str, default: str | int, order: str = "id") -> str:
    """``column`` of the last row of ``table`` with ``where``; ``default`` if there is none."""
    return f"COALESCE((SELECT {column} FROM {table} WHERE {where} ORDER BY {order} DESC LIMIT 1), {default})"


def positive(expression: str) -> str:
    """The expression, or 0 if it is below."""
    return f"CASE WHEN {expression} > 0 THEN {expression} ELSE 0 END"
