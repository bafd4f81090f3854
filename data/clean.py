"""Judging raw rows: every broken rule is a finding with file, row, rule and value; bad rows are quarantined.

Nothing is repaired and nothing is filled. A row that breaks a rule is set aside whole; a missing bar is a finding of
rule ``gap`` and stays missing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from data.grid import WHOLE_MAX, Grid
from data.schema import RAW_COLUMNS, check_bars, check_raw
from data.sources.protocol import Chunk
from data.store import iso
from feeds.market import Listing

PRICES: Final = ("open", "high", "low", "close")
GAP: Final = "gap"
FINDINGS: Final = {"file": pl.String, "row": pl.Int64, "rule": pl.String, "value": pl.String}
QUARANTINE: Final = {"file": pl.String, "row": pl.Int64, "time": pl.Datetime("ns", "UTC")} | dict.fromkeys(
    RAW_COLUMNS[1:], pl.Float64
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The outcome for one chunk. ``bars`` fits ``data.schema.BARS``; rows in = bars + quarantine."""

    bars: pl.DataFrame
    findings: pl.DataFrame  # columns FINDINGS, in order of rows
    quarantine: pl.DataFrame  # columns QUARANTINE: the rows as they were
    last_ns: int | None  # open time of the last bar kept so far: give it to the next chunk
    missing: int  # bars absent between kept bars


def clean(chunk: Chunk, listing: Listing, interval_ns: int, last_ns: int | None) -> Cleaned:
    """Judge one chunk; ``last_ns`` comes from the instrument's chunk before, None at the start.

    Raises BadInput for wrong columns. How rows are cut into chunks changes nothing.
    """
    raw = check_raw(chunk.frame, where=chunk.file)
    rows = raw.with_columns(
        pl.lit(chunk.file).alias("file"),
        (pl.int_range(pl.len()) + chunk.first_row).alias("row"),
        pl.col("time").dt.epoch("ns").alias("ns"),
        *_on_grid(raw, Grid.of(listing)),
    )
    rules = _value_rules(interval_ns)
    rows = rows.with_columns(**{name: rule.fill_null(True) for name, (rule, _) in rules.items()})
    broken = pl.any_horizontal(*rules)
    timed = _order(rows.filter(~broken), last_ns)
    kept = timed.filter(~pl.col("duplicate_time") & ~pl.col("backward_time"))
    gaps = _gaps(kept, interval_ns, last_ns)
    judged = [
        *(_found(rows.filter(name), name, columns) for name, (_, columns) in rules.items()),
        *(_found(timed.filter(name), name, ("time",)) for name in ("duplicate_time", "backward_time")),
        gaps.select(*FINDINGS),
    ]
    quarantine = pl.concat(
        [rows.filter(broken).select(*QUARANTINE), timed.join(kept, on="row", how="anti").select(*QUARANTINE)]
    )
    bars = kept.select("time", *(pl.col(f"{name}_whole").cast(pl.Int64).alias(name) for name in RAW_COLUMNS[1:]))
    return Cleaned(
        bars=check_bars(bars, where=chunk.file),
        findings=pl.concat(judged).sort("row", "rule"),
        quarantine=quarantine.sort("row"),
        last_ns=kept["ns"][-1] if len(kept) else last_ns,
        missing=int(gaps["missing"].sum()),
    )


def _on_grid(raw: pl.DataFrame, grid: Grid) -> Iterator[pl.Series]:
    """Prices in ticks and volume in lots (columns <name>_whole, float64), and whether a price is off the grid."""
    prices = {name: raw[name].to_numpy() for name in PRICES}
    with np.errstate(invalid="ignore", over="ignore"):  # rows of NaN and infinity are judged by their own rule
        for name, values in prices.items():
            yield pl.Series(f"{name}_whole", grid.ticks(values))
        yield pl.Series("volume_whole", grid.lots(raw["volume"].to_numpy()))
        yield pl.Series("off_grid", np.any([grid.off(values) for values in prices.values()], axis=0))


def _value_rules(interval_ns: int) -> dict[str, tuple[pl.Expr, tuple[str, ...]]]:
    """Rules on a single row: the expression that is true where it is broken, and the columns that show why."""
    complete = pl.all_horizontal(pl.col(name).is_not_null() & pl.col(name).is_finite() for name in RAW_COLUMNS[1:])
    complete &= pl.col("time").is_not_null()
    rules = {
        "not_positive": (pl.any_horizontal(pl.col(name) <= 0 for name in PRICES), PRICES),
        "high_below_low": (pl.col("high") < pl.col("low"), ("high", "low")),
        "outside_range": (
            (pl.min_horizontal("open", "close") < pl.col("low"))
            | (pl.max_horizontal("open", "close") > pl.col("high")),
            PRICES,
        ),
        "off_grid": (pl.col("off_grid"), PRICES),
        "too_large": (pl.max_horizontal("high_whole", "volume_whole") >= WHOLE_MAX, ("high", "volume")),
        "negative_volume": (pl.col("volume") < 0, ("volume",)),
        "off_interval": (pl.col("ns") % interval_ns != 0, ("time",)),
    }
    return {"not_a_number": (~complete, RAW_COLUMNS)} | {
        name: (complete & rule, columns) for name, (rule, columns) in rules.items()
    }


def _order(rows: pl.DataFrame, last_ns: int | None) -> pl.DataFrame:
    """Mark rows whose time repeats (``duplicate_time``) or precedes (``backward_time``) the latest time before them."""
    latest = pl.col("ns").cum_max().shift(1)
    if last_ns is not None:
        latest = pl.max_horizontal(latest, pl.lit(last_ns))
    return rows.with_columns(
        (pl.col("ns") == latest).fill_null(False).alias("duplicate_time"),
        (pl.col("ns") < latest).fill_null(False).alias("backward_time"),
    )


def _gaps(kept: pl.DataFrame, interval_ns: int, last_ns: int | None) -> pl.DataFrame:
    """One finding per gap, at the row after it: columns FINDINGS and ``missing`` (bars)."""
    before = pl.col("ns").shift(1, fill_value=last_ns)
    missing = ((pl.col("ns") - before) // interval_ns - 1).alias("missing")
    found = kept.with_columns(before.alias("before"), missing).filter(pl.col("missing") > 0)
    spans = [
        f"{iso(row['before'] + interval_ns)}/{iso(row['ns'] - interval_ns)}"
        for row in found.select("before", "ns").to_dicts()
    ]
    return found.with_columns(pl.lit(GAP).alias("rule"), pl.Series("value", spans, pl.String))


def _found(rows: pl.DataFrame, rule: str, columns: tuple[str, ...]) -> pl.DataFrame:
    value = pl.concat_str(
        [pl.lit(f"{name}=") + pl.col(name).cast(pl.String).fill_null("null") for name in columns], separator=" "
    )
    return rows.select("file", "row", pl.lit(rule).alias("rule"), value.alias("value"))
