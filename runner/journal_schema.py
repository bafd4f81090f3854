"""The journal's tables, and how a batch gets into them. The laws of the journal, as constraints:

- a batch continues the one before, and the database holds its records when it is written;
- a segment begins where the records end, or at the very first one, and is numbered after the one before;
- a snapshot is of the last record there is;
- records leave the database only when their segment is closed and its archive is written and named here.

Batches themselves (their place, number of records and head) stay for ever: what a ledger row was caused by can be
told when its record has long been archived, and every head can be compared.
"""

import sqlite3
from typing import Final

from core.records import RECORD_BYTES
from runner.store.contract import Law, Table, blob, digest, integer, parent

END: Final = "COALESCE((SELECT first + count FROM batch ORDER BY first DESC LIMIT 1), 0)"

SEGMENT: Final = Table(
    "segment",
    (integer("id", 0), integer("first", 0), blob("header"), digest("sha256")),
    key=("id",),
    unique=(("first",),),
    laws=(
        Law(
            "segment_follows",
            (
                ("segment leaves a hole", "NEW.id = COALESCE((SELECT MAX(id) + 1 FROM segment), 0)"),
                ("segment does not begin where the records end", f"NEW.first = {END}"),
                (
                    "segment without its checkpoint",
                    "NEW.id = 0 OR EXISTS (SELECT 1 FROM snapshot WHERE records = NEW.first)",
                ),
            ),
        ),
    ),
    clustered=False,
)
BATCH: Final = Table(
    "batch",
    (integer("first", 0), integer("count", 1), digest("head")),
    key=("first",),
    laws=(
        Law(
            "batch_contiguous",
            (
                ("batch does not continue the journal", f"NEW.first = {END}"),
                (
                    "batch without its records",
                    "(SELECT length(records) FROM block WHERE first = NEW.first) = 64 * NEW.count",
                ),
            ),
        ),
    ),
)
BLOCK: Final = Table("block", (integer("first", 0), blob("records")), key=("first",), clustered=False)
SNAPSHOT: Final = Table(
    "snapshot",
    (integer("records", 1), digest("link"), blob("parts"), digest("sha256")),
    key=("records",),
    laws=(Law("snapshot_of_the_end", (("snapshot is not of the last record", f"NEW.records = {END}"),)),),
    clustered=False,
)
ARCHIVE: Final = Table(
    "archive",
    (integer("segment", 0), integer("bytes", 1), digest("sha256")),
    key=("segment",),
    parents=(parent("segment", "segment", keys=("id",)),),
    laws=(
        Law(
            "archive_of_a_closed_segment",
            (("segment is not closed", "EXISTS (SELECT 1 FROM segment WHERE id > NEW.segment)"),),
        ),
    ),
)
EXPIRY: Final = Table(
    "expiry",
    (integer("segment", 0),),
    key=("segment",),
    parents=(parent("archive", "segment"),),
    laws=(
        Law(
            "expiry_from_the_oldest_on",
            (
                (
                    "an older segment is still kept",
                    "NEW.segment = COALESCE((SELECT MAX(segment) + 1 FROM expiry), 0)",
                ),
            ),
        ),
    ),
)

TABLES: Final = (SEGMENT, BLOCK, BATCH, SNAPSHOT, ARCHIVE, EXPIRY)

# In place of the compiler's rule that no row may be deleted.
RETENTION: Final = {
    "block_no_delete": """
CREATE TRIGGER block_no_delete BEFORE DELETE ON block
WHEN NOT EXISTS (SELECT 1 FROM archive WHERE segment = (SELECT MAX(id) FROM segment WHERE first <= OLD.first))
BEGIN SELECT RAISE(ABORT, 'block is append-only until its segment is archived'); END""".strip(),
}


def insert_batch(connection: sqlite3.Connection, first: int, records: bytes, head: bytes) -> None:
    """Add the batch of ``records`` from number ``first`` on, inside the caller's transaction."""
    connection.execute("INSERT INTO block VALUES (?, ?)", (first, records))
    connection.execute("INSERT INTO batch VALUES (?, ?, ?)", (first, len(records) // RECORD_BYTES, head))
