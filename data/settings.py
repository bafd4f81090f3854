"""The ``data`` section of ``params.yaml``: what is read, how much of it, and what is planted into it."""

from decimal import Decimal
from typing import Literal

from core.errors import BadConfig
from core.records import MINUTE_NS
from core.settings import Section, decimal, within

STRENGTH_MAX = "4"
EVENT_SOURCES = (
    "binance_ws", "binance_bulk", "binance_depth", "kraken_ws", "coinbase_ws", "lobster", "trades", "quotes",
    "synthetic_book",
)  # fmt: skip
SYNTHETIC = ("synthetic", "synthetic_book")
CLOCK_OFFSET_MS_MAX = 86_400_000
DAYS_MAX = 36_525  # a hundred years: int64 ns reach three times as far from 1970


class DataParams(Section, frozen=True, kw_only=True):
    """Which market is ingested. Days are UTC days; strengths are decimal strings, so that they have one byte form."""

    source: Literal[
        "synthetic",
        "parquet",
        "kline_csv",
        "binance_ws",
        "binance_bulk",
        "binance_depth",
        "kraken_ws",
        "coinbase_ws",
        "lobster",
        "trades",
        "quotes",
        "synthetic_book",
    ] = "synthetic"
    path: str = "data/markets/builtin.yaml"  # what is read: a market file (simulated) or a folder of files
    market: str = "data/markets/builtin.yaml"  # instruments: symbols, grids, fees
    symbols: tuple[str, ...] = ()  # empty: all of the market file
    files: str = "*"  # books and quotes: which files below path, a pattern such as usdm-*.gz
    clock_offset_ms: int = 0  # recordings: added to every time of receipt
    interval_minutes: int = 5  # bars only
    file_minutes: int = 0  # files of shorter bars: their length; 0: interval_minutes
    days: int = 400  # simulated: length; files: the last N days, 0 = all
    holdout: int = 0  # last N days cut off
    strength: str = "1"  # simulated: planted signal
    inject_strength: str = "0"  # files: the same signal added to recorded returns

    def __post_init__(self) -> None:
        if self.interval_minutes < 1 or 1440 % self.interval_minutes:
            raise BadConfig(f"data.interval_minutes is {self.interval_minutes}; it must divide a day (1440)")
        if self.file_minutes and (self.file_minutes < 1 or self.interval_minutes % self.file_minutes):
            raise BadConfig(
                f"data.file_minutes is {self.file_minutes}; it must divide data.interval_minutes "
                f"({self.interval_minutes}), or be 0"
            )
        if self.file_minutes and self.source == "synthetic":
            raise BadConfig("data.file_minutes is for files; the synthetic market makes bars as they are wanted: set 0")
        within("data.clock_offset_ms", self.clock_offset_ms, -CLOCK_OFFSET_MS_MAX, CLOCK_OFFSET_MS_MAX)
        within("data.days", self.days, 0, DAYS_MAX)
        within("data.holdout", self.holdout, 0, DAYS_MAX)
        if self.days and self.holdout >= self.days:
            raise BadConfig(
                f"data.holdout is {self.holdout} of data.days {self.days}; nothing would be left to train on"
            )
        for name in ("strength", "inject_strength"):
            decimal(f"data.{name}", getattr(self, name), "0", STRENGTH_MAX)
        if self.is_simulated and self.days == 0:
            raise BadConfig(f"data.days is 0; the {self.source} source needs a length, for example 400")
        if self.is_simulated and Decimal(self.inject_strength):
            raise BadConfig("data.inject_strength is for recorded data; plant a synthetic signal with data.strength")
        if self.has_events and Decimal(self.inject_strength):
            raise BadConfig('data.inject_strength is for bars; books and quotes are taken as they are: set it to "0"')

    @property
    def has_events(self) -> bool:
        """The source tells books, trades or quotes, not bars."""
        return self.source in EVENT_SOURCES

    @property
    def file_ns(self) -> int:
        """Length of a bar in the files."""
        return (self.file_minutes or self.interval_minutes) * MINUTE_NS

    @property
    def is_simulated(self) -> bool:
        """Nothing is read but the market file."""
        return self.source in SYNTHETIC

    @property
    def interval_ns(self) -> int:
        """Length of a bar."""
        return self.interval_minutes * MINUTE_NS
