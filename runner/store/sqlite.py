"""A contract as SQLite statements.

What SQLite does otherwise than the contract's words, and what is done about it:

- a foreign key holds only on connections that ask for it, so a parent row is required by a trigger. Rows are never
  removed or changed, so that is the whole of a foreign key;
- a sum or product beyond 64 bits silently becomes a float: columns are STRICT and bounded, products go through three
  digits of 31 bits, and SUM over integers raises;
- a CHECK cannot look at other rows: laws are BEFORE INSERT triggers;
- INSERT OR REPLACE deletes the row in its way without firing a DELETE trigger: a key that is taken is refused first.
"""

import re
from collections.abc import Sequence
from typing import Final

from runner.store.contract import (
    INT64_MAX,
    INT64_MIN,
    AtMost,
    Column,
    Condition,
    Law,
    Parent,
    Product,
    Quotient,
    Table,
    Type,
    Unless,
    View,
)

_TYPES: Final = {Type.INTEGER: "INTEGER", Type.TEXT: "TEXT", Type.HASH: "BLOB", Type.BYTES: "BLOB"}
_THROUGH: Final = re.compile(r"\b(\w+)@(\w+)")
_DIGIT_BITS: Final = 31
_DIGIT_MASK: Final = 2**_DIGIT_BITS - 1


class Sqlite:
    """The compiler; ``objects`` is all of it."""

    def objects(self, schema: Sequence[Table | View]) -> dict[str, str]:
        """Name -> CREATE statement of everything in ``schema``, in an order in which they can be executed."""
        made: dict[str, str] = {}
        tables = [item for item in schema if isinstance(item, Table)]
        for table in tables:
            made[table.name] = self.table(table)
        for table in tables:
            for name, columns in table.indexes.items():
                made[name] = f"CREATE INDEX {name} ON {table.name} ({', '.join(columns)})"
        for table in tables:
            made |= self._triggers(table)
        for view in schema:
            if isinstance(view, View):
                made[view.name] = f"CREATE VIEW {view.name} AS {view.query.strip()}"
        return made

    def table(self, table: Table) -> str:
        """The CREATE TABLE statement."""
        lines = [self._column(column) for column in table.columns]
        lines.append(f"PRIMARY KEY ({', '.join(table.key)})")
        lines += [f"UNIQUE ({', '.join(columns)})" for columns in table.unique]
        lines += [f"CONSTRAINT {name} CHECK ({condition})" for name, condition in table.checks.items()]
        body = ",\n  ".join(lines)
        return f"CREATE TABLE {table.name} (\n  {body}\n) STRICT{', WITHOUT ROWID' if table.clustered else ''}"

    def _column(self, column: Column) -> str:
        said = f"{column.name} {_TYPES[column.type]} NOT NULL"
        if column.type is Type.HASH:
            return f"{said} CHECK (length({column.name}) = 32)"
        if column.choices:
            return f"{said} CHECK ({column.name} IN ({', '.join(repr(item) for item in column.choices)}))"
        if column.type is Type.INTEGER and (column.low, column.high) != (INT64_MIN, INT64_MAX):
            return f"{said} CHECK ({column.name} BETWEEN {column.low} AND {column.high})"
        return said

    def _triggers(self, table: Table) -> dict[str, str]:
        """Refusals come from the trigger made last: that a key is taken or a parent is missing is said before a law."""
        made = {}
        for verb in ("UPDATE", "DELETE"):
            name = f"{table.name}_no_{verb.lower()}"
            made[name] = (
                f"CREATE TRIGGER {name} BEFORE {verb} ON {table.name} "
                f"BEGIN SELECT RAISE(ABORT, '{table.name} is append-only'); END"
            )
        for law in table.laws:
            made[law.name] = self._law(table.name, law)
        name = f"{table.name}_no_replace"
        taken = " OR ".join(self._taken(table.name, columns) for columns in (table.key, *table.unique))
        made[name] = (
            f"CREATE TRIGGER {name} BEFORE INSERT ON {table.name} WHEN {taken}\n"
            f"BEGIN SELECT RAISE(ABORT, '{table.name} is append-only: there is such a row'); END"
        )
        for item in table.parents:
            name = f"{table.name}_of_{item.table}"
            require_one = self._parent(item)
            made[name] = (
                f"CREATE TRIGGER {name} BEFORE INSERT ON {table.name} WHEN NOT EXISTS ({require_one})\n"
                f"BEGIN SELECT RAISE(ABORT, '{table.name} without its {item.table}'); END"
            )
        return made

    def _taken(self, table: str, columns: tuple[str, ...]) -> str:
        return f"EXISTS (SELECT 1 FROM {table} WHERE " + " AND ".join(f"{name} = NEW.{name}" for name in columns) + ")"

    def _parent(self, item: Parent) -> str:
        pairs = zip(item.keys, item.columns, strict=True)
        return f"SELECT 1 FROM {item.table} WHERE " + " AND ".join(f"{key} = NEW.{column}" for key, column in pairs)

    def _law(self, table: str, law: Law) -> str:
        cases = "\n".join(
            f"  WHEN ({self.condition(holds)}) IS NOT TRUE THEN RAISE(ABORT, '{said}')" for said, holds in law.holds
        )
        source = f" FROM {law.source}" if law.source else ""
        text = f"CREATE TRIGGER {law.name} BEFORE INSERT ON {table}\nBEGIN SELECT CASE\n{cases}\nEND{source}; END"
        return _THROUGH.sub(r"\1 INDEXED BY \2", text)

    def condition(self, holds: Condition) -> str:
        """``holds`` as one SQL expression."""
        if isinstance(holds, AtMost):
            return f"{self._digits(holds.value)} <= {self._digits(holds.most)}"
        if isinstance(holds, Unless):
            return f"({holds.when}) OR ({self.condition(holds.then)})"
        if isinstance(holds, Quotient):
            return self._quotient(holds)
        return holds

    def _quotient(self, it: Quotient) -> str:
        """Up: (value - 1) den < a b <= value den; down: value den <= a b < (value + 1) den."""
        product, den = self._digits(Product(it.a, it.b)), it.den
        here = self._digits(Product(it.value, den))
        if it.up:
            below = self._digits(Product(f"({it.value} - 1)", den))
            return f"{it.value} >= 0 AND {product} <= {here} AND ({it.value} = 0 OR {below} < {product})"
        above = self._digits(Product(f"({it.value} + 1)", den))
        return f"{it.value} >= 0 AND {here} <= {product} AND {product} < {above}"

    def _digits(self, product: Product) -> str:
        """A product as a row of three digits to base 2**31, the first unbounded: rows compare as numbers do."""
        a1, a0 = f"(({product.a}) >> {_DIGIT_BITS})", f"(({product.a}) & {_DIGIT_MASK})"
        b1, b0 = f"(({product.b}) >> {_DIGIT_BITS})", f"(({product.b}) & {_DIGIT_MASK})"
        middle = f"({a1} * {b0} + {a0} * {b1} + (({a0} * {b0}) >> {_DIGIT_BITS}))"
        high = f"{a1} * {b1} + ({middle} >> {_DIGIT_BITS})"
        return f"({high}, {middle} & {_DIGIT_MASK}, ({a0} * {b0}) & {_DIGIT_MASK})"


def insert(table: Table) -> str:
    """The statement that inserts one row of ``table``."""
    return f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(table.columns))})"


def in_order(table: Table) -> str:
    """The query of one account's rows in ``table`` as they were written, all but the first so many."""
    order = ", ".join(table.order or table.key)
    return f"SELECT {', '.join(table.names)} FROM {table.name} WHERE account_id = ? ORDER BY {order} LIMIT -1 OFFSET ?"
