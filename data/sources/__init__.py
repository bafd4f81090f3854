"""Where bars come from. A source is one small module here; ``open_source`` picks it by ``data.source``.

A source only reads: it hands over what the file says, row by row, as floats and times. Judging is ``data.clean``'s
work. ``docs/extending/source.py`` shows how to add one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from core.errors import BadConfig, BadInput
from data.settings import DataParams
from feeds.market import Listing, Market

CHUNK_ROWS: Final = 65_536  # upper bound of a chunk wherever a source can cut


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive rows of one file. ``frame`` has the columns of ``data.schema.RAW``."""

    file: str  # name without folder, for findings
    first_row: int  # of this chunk in its file, from 0
    frame: pl.DataFrame


class Source(Protocol):
    """Everything ingest asks of a source."""

    def chunks(self, listing: Listing) -> Iterator[Chunk]:
        """All rows of one instrument in the order of its files. Raises BadInput for a file that cannot be read."""


def open_source(params: DataParams, market: Market, seed: int) -> Source:
    """The source that ``params`` asks for. Raises BadConfig or BadInput if it does not exist."""
    from data.sources import kline_csv, parquet, synthetic  # they import Chunk from here

    if params.source == "synthetic":
        if params.path != params.market:
            raise BadConfig(
                f"data.path is {params.path}, data.market {params.market}; give synthetic data one market file"
            )
        return synthetic.Synthetic(
            market=market,
            interval_minutes=params.interval_minutes,
            days=params.days,
            seed=seed,
            strength=float(params.strength),
        )
    folder = Path(params.path)
    if not folder.is_dir():
        raise BadInput(f"data.path: {folder} is not a folder; name the folder that holds the files")
    if params.source == "parquet":
        return parquet.Parquet(folder=folder)
    return kline_csv.KlineCsv(folder=folder, interval_minutes=params.interval_minutes)
