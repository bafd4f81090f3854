"""The two shapes data has here: RAW as a source hands it over, BARS as it is kept. Declared with Pandera.

RAW says what a file must be to be read at all (columns and types); single bad rows are ``data.clean``'s findings. BARS
says what every kept bar is; ``clean`` checks its own output against it.
"""

from typing import Final

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from core.errors import BadInput, BrokenInvariant

RAW_COLUMNS: Final = ("time", "open", "high", "low", "close", "volume")
TIME: Final = pl.Datetime("ns", "UTC")

RAW: Final = pa.DataFrameSchema(
    {"time": pa.Column(TIME, nullable=True)} | {name: pa.Column(pl.Float64, nullable=True) for name in RAW_COLUMNS[1:]},
    strict=True,
    ordered=True,
)

_WITHIN: Final = (pl.col("low") <= pl.min_horizontal("open", "close")) & (
    pl.col("high") >= pl.max_horizontal("open", "close")
)
BARS: Final = pa.DataFrameSchema(
    {
        "time": pa.Column(TIME),  # open of the bar
        **{name: pa.Column(pl.Int64, pa.Check.gt(0)) for name in RAW_COLUMNS[1:5]},  # ticks
        "volume": pa.Column(pl.Int64, pa.Check.ge(0)),  # lots
    },
    checks=[
        pa.Check(lambda data: data.lazyframe.select(_WITHIN), name="open and close lie within low and high"),
        pa.Check(
            lambda data: data.lazyframe.select((pl.col("time").diff() > pl.duration()).fill_null(True)),
            name="time increases",
        ),
    ],
    strict=True,
    ordered=True,
)


def check_raw(frame: pl.DataFrame, *, where: str) -> pl.DataFrame:
    """``frame`` if it has RAW's columns. Raises BadInput naming ``where`` and each missing or mistyped column."""
    try:
        return RAW.validate(frame, lazy=True)
    except SchemaErrors as error:
        wrong = [f"{row['column'] or row['failure_case']} ({row['check']})" for row in error.failure_cases.to_dicts()]
        raise BadInput(
            f"{where}: wrong columns: {', '.join(wrong)}; needed are time (UTC timestamp) and "
            f"open, high, low, close, volume (float64)"
        ) from None


def check_bars(frame: pl.DataFrame, *, where: str) -> pl.DataFrame:
    """``frame`` if it is made of valid bars. Raises BrokenInvariant: cleaning let something through."""
    try:
        return BARS.validate(frame, lazy=True)
    except SchemaErrors as error:
        raise BrokenInvariant(f"{where}: {error}") from None
