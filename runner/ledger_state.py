"""The ledger's memory, for snapshots: everything that is not in its constructor's arguments or plainly in its tables.

Whatever attribute the ledger, its lots and its standing have is kept, so none can be forgotten here: values are the
containers and small dataclasses named below, and anything else is refused. Equal ledgers give equal bytes, however
they came to be. The sets that grow with every fill and order are read back from the tables, which hold them anyway.
"""

import sqlite3
from collections import deque
from dataclasses import astuple, is_dataclass
from typing import Any, Final

import msgspec
import numpy as np

from core.errors import BadTape, require
from core.layout import BOOK
from runner.ledger import Ledger
from runner.lots import OpenLot
from runner.standing import Pending

_GIVEN: Final = {  # by the constructor, or of use only within one call
    "_instruments", "_quote", "_account_id", "_limits", "_approves", "markets", "_markets", "_opening", "_balance",
    "_made", "_stored", "lots", "standing",
}  # fmt: skip
_IN_TABLES: Final = {  # attribute -> its rows
    "_executions": "SELECT order_id, exec_id FROM fill WHERE account_id = ? ORDER BY txn LIMIT ?",
    "_transfers": "SELECT transfer_id FROM transfer WHERE account_id = ? ORDER BY txn LIMIT ?",
    "known": "SELECT order_id FROM approval WHERE account_id = ? ORDER BY order_id LIMIT ?",
}
_CLASSES: Final[dict[str, type]] = {"OpenLot": OpenLot, "Pending": Pending}


def dump(ledger: Ledger) -> bytes:
    """What ``load`` needs to go on from here."""
    kept = {name: _plain(_memory(owner)) for name, owner in _owners(ledger).items()}
    return msgspec.msgpack.encode(dict(sorted(kept.items())))


def load(ledger: Ledger, data: bytes, connection: sqlite3.Connection) -> None:
    """Give a new ``ledger``, already started, the memory in ``data``; ``connection``: the database of its tables.

    Raises BadTape if it is the memory of another ledger's program.
    """
    kept = msgspec.msgpack.decode(data)
    for name, owner in _owners(ledger).items():
        memory = _value(kept[name])
        if memory.keys() != _memory(owner).keys():
            raise BadTape(f"the snapshot's {name} is another program's: go on with the program that wrote it")
        for attribute, value in memory.items():
            setattr(owner, attribute, value)
    for attribute, query in _IN_TABLES.items():
        owner = ledger if hasattr(ledger, attribute) else ledger.standing
        table = query.split(" FROM ")[1].split()[0]
        rows = connection.execute(query, (ledger._account_id, ledger.counts[table]))
        setattr(owner, attribute, {row if len(row) > 1 else row[0] for row in rows})


def _owners(ledger: Ledger) -> dict[str, Any]:
    return {"ledger": ledger, "lots": ledger.lots, "standing": ledger.standing}


def _memory(owner: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(owner).items() if name not in _GIVEN and name not in _IN_TABLES}


def _plain(value: Any) -> Any:
    """``value`` in lists that begin with what they stand for, unordered ones sorted."""
    if value is None or type(value) in (int, str, bytes, bool):
        return value
    if isinstance(value, int):
        return int(value)  # an enumeration's
    if isinstance(value, dict):
        return ["dict", *sorted(([_plain(key), _plain(item)] for key, item in value.items()), key=_key)]
    if isinstance(value, deque):
        return ["deque", value.maxlen, *map(_plain, value)]
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(_plain, value)]
    if isinstance(value, np.ndarray):
        require(value.dtype == BOOK, "of arrays, only books are kept in a snapshot")
        return ["books", value.tobytes()]
    name = type(value).__name__
    require(is_dataclass(value) and name in _CLASSES, f"a {name} cannot be kept in a snapshot: add it to _CLASSES")
    return [name, *map(_plain, astuple(value))]


def _key(item: list[Any]) -> bytes:
    return msgspec.msgpack.encode(item[0])


def _value(plain: Any) -> Any:
    if not isinstance(plain, list):
        return plain
    name, *items = plain
    if name == "dict":
        return {_value(key): _value(item) for key, item in items}
    if name == "deque":
        return deque(map(_value, items[1:]), maxlen=items[0])
    if name == "list":
        return [_value(item) for item in items]
    if name == "tuple":
        return tuple(_value(item) for item in items)
    if name == "books":
        return np.frombuffer(items[0], BOOK).copy()
    return _CLASSES[name](*map(_value, items))
