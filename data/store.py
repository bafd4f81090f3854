"""Where cleaned bars are kept: Zstd Parquet per instrument for people and queries, tapes for everything that computes.

A bar file has the columns of ``data.schema.BARS`` (open time, ticks, lots) in row groups of ROW_GROUP_ROWS, whatever
the chunks it was written in, and the instrument's grid in its metadata. Memory is bounded by one row group per
instrument, in writing, reading and merging.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import BadInput
from core.instruments import Instrument
from core.records import BAR, Kind
from data.schema import RAW_COLUMNS
from feeds.merging import by_time

ROW_GROUP_ROWS: Final = 65_536
BAR_COLUMNS: Final = RAW_COLUMNS
_ARROW: Final = pa.schema(
    [pa.field("time", pa.timestamp("ns", "UTC"), nullable=False)]
    + [pa.field(name, pa.int64(), nullable=False) for name in BAR_COLUMNS[1:]]
)


class FrameWriter:
    """A Parquet file written in full row groups, so that its bytes do not depend on how the rows arrive."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=3)
        self._schema = schema
        self._held: list[pa.Table] = []
        self.rows = 0

    def write(self, frame: pl.DataFrame) -> None:
        """Append ``frame``, whose columns are the schema's."""
        self._held.append(frame.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(self._schema))
        self.rows += len(frame)
        if sum(len(table) for table in self._held) >= ROW_GROUP_ROWS:
            table = pa.concat_tables(self._held)
            full = len(table) // ROW_GROUP_ROWS * ROW_GROUP_ROWS
            self._writer.write_table(table.slice(0, full), row_group_size=ROW_GROUP_ROWS)
            self._held = [table.slice(full)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._writer:
            if kind is None and self._held and len(rest := pa.concat_tables(self._held)):
                self._writer.write_table(rest)


def bar_writer(path: Path, instrument: Instrument, interval_ns: int) -> FrameWriter:
    """A writer for ``instrument``'s bars (columns BAR_COLUMNS)."""
    about = {
        "symbol": instrument.symbol,
        "tick": instrument.tick,
        "lot": instrument.lot,
        "interval_ns": str(interval_ns),
    }
    return FrameWriter(path, _ARROW.with_metadata(about))


def read_bars(path: Path) -> Iterator[pl.DataFrame]:
    """The bars of ``path``, one row group at a time. Raises BadInput for a file that cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield pl.DataFrame(file.read_row_group(group))
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not readable as Parquet ({error}); make it with `dvc repro ingest`") from None


def records(frame: pl.DataFrame, instrument: int, interval_ns: int, feed_latency_ns: int) -> np.ndarray:
    """Bars as records, dtype BAR, shape (rows,)."""
    bars = np.zeros(len(frame), BAR)
    bars["ts_event"] = frame["time"].dt.epoch("ns").to_numpy() + interval_ns
    bars["ts_known"] = bars["ts_event"] + feed_latency_ns
    bars["kind"], bars["instrument"] = Kind.BAR, instrument
    for name in BAR_COLUMNS[1:]:
        bars[name] = frame[name].to_numpy()
    return bars


def frame_of(bars: np.ndarray, interval_ns: int) -> pl.DataFrame:
    """The inverse of ``records`` for one instrument's bars."""
    frame = pl.DataFrame({"time": bars["ts_event"] - interval_ns} | {name: bars[name] for name in BAR_COLUMNS[1:]})
    return frame.with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC")))


def iso(ns: int) -> str:
    """A time in ns as text, to the second."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).isoformat().replace("+00:00", "Z")


def merged(paths: Sequence[Path], interval_ns: int, feed_latency_ns: int) -> Iterator[np.ndarray]:
    """All bars of ``paths`` (instrument k is ``paths[k]``) in the order of (ts_known, instrument), chunk by chunk."""

    def stream(index: int, path: Path) -> Iterator[np.ndarray]:
        for frame in read_bars(path):
            yield records(frame, index, interval_ns, feed_latency_ns)

    return by_time([stream(index, path) for index, path in enumerate(paths)])
