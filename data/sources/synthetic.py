"""The built-in market as a source: the same road as recorded files, so that cleaning is not a special case."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from core.errors import BadConfig
from core.records import MINUTE_NS
from data.grid import Grid
from data.sources.protocol import CHUNK_ROWS, Chunk
from feeds import synthetic
from feeds.market import Listing, Market


@dataclass(frozen=True, slots=True)
class Synthetic:
    """A seeded market of ``days`` days."""

    market: Market
    interval_minutes: int
    days: int
    seed: int
    strength: float

    def __post_init__(self) -> None:
        dynamics = self.market.dynamics
        if dynamics and dynamics.interval_minutes != self.interval_minutes:
            raise BadConfig(
                f"data.interval_minutes is {self.interval_minutes}, the market makes bars of "
                f"{dynamics.interval_minutes} minutes; set both alike"
            )

    def chunks(self, listing: Listing) -> Iterator[Chunk]:
        """The instrument's bars, several days to a chunk."""
        grid, row, held = Grid.of(listing), 0, []
        days = synthetic.instrument(self.market, listing.symbol, days=self.days, seed=self.seed, strength=self.strength)
        for bars, _ in days:
            held.append(bars)
            if sum(map(len, held)) + len(bars) > CHUNK_ROWS:
                yield self._chunk(grid, row, held)
                row, held = row + sum(map(len, held)), []
        if held:
            yield self._chunk(grid, row, held)

    def _chunk(self, grid: Grid, row: int, held: list[np.ndarray]) -> Chunk:
        bars = np.concatenate(held)
        opened = bars["ts_event"] - self.interval_minutes * MINUTE_NS
        columns = {name: grid.price(bars[name]) for name in ("open", "high", "low", "close")}
        frame = pl.DataFrame({"time": opened, **columns, "volume": grid.quantity(bars["volume"])})
        return Chunk("synthetic", row, frame.with_columns(pl.col("time").cast(pl.Datetime("ns", "UTC"))))
