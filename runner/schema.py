"""The tables of a run's database: the journal and the ledger made from it, with the laws of both as constraints.

The laws hold twice, here and in code, so that neither a bug of ours nor another program with write access can break
them unseen: rows are append-only; the journal has no holes; an entry continues its account's balance; a transaction is
complete and sums to zero in every asset before it is sealed; an order's approval states the account as it is and
passes every rule; what caused a row is a record the journal holds. They are written once, in
``runner.journal_schema`` and ``runner.store``, and compiled for SQLite here.
"""

from typing import Final

from runner import journal_schema
from runner.store import accounts, approvals, tables
from runner.store.sqlite import Sqlite

FORMAT: Final = 2

LEDGER: Final = (*accounts.TABLES, *tables.TABLES, *approvals.TABLES)
OBJECTS: Final = Sqlite().objects((*journal_schema.TABLES, *LEDGER, *tables.VIEWS)) | journal_schema.RETENTION
