"""The tables of a run's database: the journal and the ledger made from it, with the laws of both as constraints.

The laws hold twice, here and in code, so that neither a bug of ours nor another program with write access can break
them unseen: rows are append-only; the journal has no holes; an entry continues its account's balance; a transaction is
complete and sums to zero in every asset before it is sealed; its cause is a record the journal holds.
"""

from typing import Final

FORMAT: Final = 1

TABLES: Final = {
    "segment": """
CREATE TABLE segment (
  id INTEGER PRIMARY KEY CHECK (id = 0),
  header BLOB NOT NULL,
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32)
) STRICT""",
    "batch": """
CREATE TABLE batch (
  first INTEGER PRIMARY KEY CHECK (first >= 0),
  count INTEGER NOT NULL CHECK (count > 0),
  records BLOB NOT NULL CHECK (length(records) = 64 * count),
  head BLOB NOT NULL CHECK (length(head) = 32)
) STRICT""",
    "entry": """
CREATE TABLE entry (
  id INTEGER PRIMARY KEY CHECK (id > 0),
  txn INTEGER NOT NULL CHECK (txn > 0),
  account TEXT NOT NULL CHECK (account IN ('holdings', 'fees', 'venue', 'equity')),
  asset TEXT NOT NULL,
  delta INTEGER NOT NULL CHECK (delta <> 0),
  balance_before INTEGER NOT NULL,
  balance_after INTEGER NOT NULL CHECK (balance_after = balance_before + delta)
) STRICT""",
    "txn": """
CREATE TABLE txn (
  id INTEGER PRIMARY KEY CHECK (id > 0),
  seq INTEGER NOT NULL UNIQUE,
  cause TEXT NOT NULL CHECK (cause IN ('SESSION', 'FILL')),
  entries INTEGER NOT NULL,
  sha256 BLOB NOT NULL CHECK (length(sha256) = 32)
) STRICT""",
}

INDEXES: Final = {
    "entry_account": "CREATE INDEX entry_account ON entry (account, asset, id)",
    "entry_txn": "CREATE INDEX entry_txn ON entry (txn)",
}

_APPEND_ONLY: Final = {
    f"{table}_no_{verb.lower()}": (
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )
    for table in TABLES
    for verb in ("UPDATE", "DELETE")
}

_LAWS: Final = {
    "batch_contiguous": """
CREATE TRIGGER batch_contiguous BEFORE INSERT ON batch
WHEN NEW.first <> COALESCE((SELECT first + count FROM batch ORDER BY first DESC LIMIT 1), 0)
BEGIN SELECT RAISE(ABORT, 'batch does not continue the journal'); END""",
    "entry_continuous": """
CREATE TRIGGER entry_continuous BEFORE INSERT ON entry
WHEN NEW.id <> COALESCE((SELECT MAX(id) FROM entry), 0) + 1
  OR NEW.txn <> COALESCE((SELECT MAX(id) FROM txn), 0) + 1
  OR NEW.balance_before <> COALESCE((SELECT balance_after FROM entry
       WHERE account = NEW.account AND asset = NEW.asset ORDER BY id DESC LIMIT 1), 0)
BEGIN SELECT RAISE(ABORT, 'entry does not continue its account or belongs to a sealed transaction'); END""",
    "txn_sealed": """
CREATE TRIGGER txn_sealed BEFORE INSERT ON txn
WHEN NEW.id <> COALESCE((SELECT MAX(id) FROM txn), 0) + 1
  OR NEW.seq <= COALESCE((SELECT MAX(seq) FROM txn), -1)
  OR NEW.entries <> (SELECT COUNT(*) FROM entry WHERE txn = NEW.id)
  OR EXISTS (SELECT 1 FROM entry WHERE txn = NEW.id GROUP BY asset HAVING SUM(delta) <> 0)
  OR NEW.seq >= COALESCE((SELECT first + count FROM batch ORDER BY first DESC LIMIT 1), 0)
BEGIN SELECT RAISE(ABORT, 'transaction is incomplete, unbalanced or without cause in the journal'); END""",
}

OBJECTS: Final = {name: sql.strip() for group in (TABLES, INDEXES, _APPEND_ONLY, _LAWS) for name, sql in group.items()}
