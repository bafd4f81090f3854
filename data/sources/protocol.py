"""What a source is: a thing that hands over an instrument's rows, as its files state them.

A source only reads. Judging is ``data.clean``'s work. ``docs/extending/source.py`` shows how to add one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import polars as pl

from feeds.market import Listing

CHUNK_ROWS: Final = 65_536  # upper bound of a chunk wherever a source can cut


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one file. ``frame`` has the columns of ``data.schema.RAW``."""

    file: str  # name without folder, for findings
    first_row: int  # of this chunk in its file, from 0
    frame: pl.DataFrame
    notes: tuple[tuple[int, str, str], ...] = ()  # what the source found on the way: row, rule, value


class Source(Protocol):
    """Everything ingest asks of a source."""

    def chunks(self, listing: Listing) -> Iterator[Chunk]:
        """All rows of one instrument in the order of its files. Raises BadInput for a file that cannot be read."""
