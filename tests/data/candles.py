"""Candles for the tests of ``data``: small frames, markets to read them with, and one call that ingests them."""

import gzip
import json
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from data.build import build
from data.settings import DataParams
from data.sources import open_source
from data.sources.protocol import Chunk, Source
from feeds.market import Listing, Market

MINUTE_NS = 60_000_000_000
START = datetime(2025, 1, 1, tzinfo=UTC)
BTC = Listing(symbol="BTC-USDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001", min_notional="5")
ETH = Listing(symbol="ETH-USDT", base="ETH", quote="USDT", tick="0.01", lot="0.0001", min_notional="5")
MARKET = Market(venue="test", maker_fee_ppm=0, taker_fee_ppm=0, listings=(BTC, ETH))


def candles(rows: int = 10, *, minutes: int = 5, price: int = 9_279_205, seed: int = 0) -> pl.DataFrame:
    """``rows`` clean candles in the form of ``data.schema.RAW``, a few ticks up and down."""
    close = [price + (seed + 7 * row) % 23 - 11 for row in range(rows)]
    opened = [price, *close[:-1]]
    start = int(START.timestamp()) * 1_000_000_000
    return pl.DataFrame(
        {
            "time": pl.Series([start + row * minutes * MINUTE_NS for row in range(rows)]).cast(
                pl.Datetime("ns", "UTC")
            ),
            "open": [value / 100 for value in opened],
            "high": [(max(pair) + 3) / 100 for pair in zip(opened, close, strict=True)],
            "low": [(min(pair) - 3) / 100 for pair in zip(opened, close, strict=True)],
            "close": [value / 100 for value in close],
            "volume": [1.0 + (row % 50) / 100_000 for row in range(rows)],
        }
    )


def change(frame: pl.DataFrame, row: int, **values: Any) -> pl.DataFrame:
    """``frame`` with the cells ``values`` of ``row`` replaced."""
    here = pl.int_range(pl.len()) == row
    return frame.with_columns(
        pl.when(here).then(pl.lit(value, dtype=frame.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in values.items()
    )


@dataclass(frozen=True)
class Frames:
    """A source that hands over frames, cut into chunks of ``rows``."""

    frames: dict[str, pl.DataFrame]
    rows: int = 1_000_000

    def chunks(self, listing: Listing):
        frame = self.frames[listing.symbol]
        for first in range(0, len(frame), self.rows):
            yield Chunk(f"{listing.symbol}.test", first, frame.slice(first, self.rows))


def write_parquet(folder: Path, listing: Listing, frame: pl.DataFrame) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{listing.base}_{listing.quote}.parquet"
    frame.with_columns(pl.col("time").dt.cast_time_unit("us")).write_parquet(path)
    return path


def kline_text(frame: pl.DataFrame, *, per_second: int = 1_000) -> bytes:
    """``frame`` as the exchange writes it: times in ms (``per_second`` 1,000) or us (1,000,000)."""
    lines = []
    for row in frame.with_columns(pl.col("time").dt.epoch("ns")).to_dicts():
        time = row["time"] * per_second // 1_000_000_000
        prices = ",".join(f"{row[name]:.8f}" for name in ("open", "high", "low", "close", "volume"))
        lines.append(f"{time},{prices},{time + 300 * per_second - 1},1.5,10,0.5,0.7,0\n")
    return "".join(lines).encode()


def write_kline(folder: Path, name: str, text: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text, mtime=0))
    elif name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name.removesuffix(".zip"), text)
    else:
        path.write_bytes(text)
    return path


def ingest(
    out: Path,
    source: Source | None = None,
    market: Market = MARKET,
    *,
    source_name: str = "parquet",
    market_path: str = "data/markets/builtin.yaml",
    **params: Any,
) -> dict[str, Any]:
    """Build into ``out``/data and ``out``/holdout and return the summary."""
    settings = DataParams(**({"source": source_name, "market": market_path, "days": 0} | params))
    market = market.select(settings.symbols)
    for name in ("data", "holdout"):
        (out / name).mkdir(parents=True)
    build(
        source or open_source(settings, market, 7),
        market,
        settings,
        seed=7,
        feed_latency_ns=50_000_000,
        out=out / "data",
        holdout=out / "holdout",
    )
    return json.loads((out / "data" / "summary.json").read_text())


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under ``folder`` with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
