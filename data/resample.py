"""Longer bars from shorter ones, by the one boundary rule of this project (requirements DATA-09).

A bar that opens at t holds the shorter bars that open at t or later and before t + interval; intervals count from
midnight UTC. Open is the first one's, close the last one's, high and low the extremes, volume the sum. A bar of which
some are missing is made from the others and is a finding; one of which all are missing stays missing.
"""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

PARTIAL: Final = "partial"


@dataclass(slots=True)
class Resampler:
    """One instrument's bars, chunk by chunk: how they are cut into chunks changes nothing."""

    file_ns: int  # length of a bar that comes in
    interval_ns: int  # and of one that goes out: a multiple
    partial: list[tuple[int, int]] = field(default_factory=list)  # since ``take_partial``: open time, bars missing
    _held: pl.DataFrame | None = None  # bars of the group that may go on

    def push(self, bars: pl.DataFrame) -> pl.DataFrame:
        """Take ``bars`` (``data.schema.BARS``, in order); the longer bars that are complete now."""
        whole = bars if self._held is None else pl.concat([self._held, bars])
        if not len(whole):
            return whole
        group = whole["time"].dt.epoch("ns") // self.interval_ns
        goes_on = group == group[-1]
        self._held = whole.filter(goes_on)
        return self._made(whole.filter(~goes_on))

    def flush(self) -> pl.DataFrame:
        """What is left; after it the resampler is empty."""
        held, self._held = self._held, None
        return self._made(held) if held is not None else pl.DataFrame()

    def take_partial(self) -> list[tuple[int, int]]:
        """The bars made of fewer than there should be, since the last call: (open time ns, missing)."""
        taken, self.partial = self.partial, []
        return taken

    def _made(self, bars: pl.DataFrame) -> pl.DataFrame:
        start = (pl.col("time").dt.epoch("ns") // self.interval_ns * self.interval_ns).cast(pl.Datetime("ns", "UTC"))
        made = bars.group_by(start.alias("opened"), maintain_order=True).agg(
            pl.col("open").first(),
            pl.col("high").max(),
            pl.col("low").min(),
            pl.col("close").last(),
            pl.col("volume").sum(),
            pl.len().alias("count"),
        )
        needed = self.interval_ns // self.file_ns
        short = made.filter(pl.col("count") < needed)
        self.partial += zip(
            short["opened"].dt.epoch("ns").to_list(), (needed - short["count"].cast(pl.Int64)).to_list(), strict=True
        )
        return made.drop("count").rename({"opened": "time"})
