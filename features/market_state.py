"""MarketState: what a model sees of a market at one of its events, in ticks, spreads and shares, never in money.

The 17 fields carry the names of the contract (requirements B.1). Every one is made by ``features.book`` from records
known at ``ts`` or before, so ``ts`` is when the row is known. ``EXTRA`` holds what is of use beside them: flow, queues
and sigma for models, the mid for labels.

| Field | Unit | What |
| --- | --- | --- |
| spread_ticks | ticks | best ask - best bid; 0 or less where a feed without depth is locked or crossed |
| microprice_off | ticks | (ask x bid lots + bid x ask lots) / lots - mid: where the next trade is likelier |
| ofi_norm | -1 to 1 | weighted order flow / weighted absolute flow of the last events (``OFI_HALF_LIFE_EVENTS``) |
| qimbalance | -1 to 1 | (bid lots - ask lots) / (bid lots + ask lots) at the touch |
| refresh_hz | 1/s | messages that changed the book, weighted with ``REFRESH_SECONDS`` |
| stale_ms | ms | since a best price or its quantity last changed, at most ``STALE_MS_MAX`` |
| slope_bid, curve_bid | share | least squares: cumulative share = slope x + curve x^2, x = ticks / ``DEPTH_TICKS`` |
| slope_ask, curve_ask | share | the same on the other side, also from the best price outwards |
| depth_feat | share | lots per pool of ticks from the touch, bids then asks, as shares of all of them: they sum to 1 |
| has_depth | flag | 0: the venue shows no depth; sizes, slopes, curves and depth_feat are 0 then |
| session_id | ``Session`` | what is open; of several the one that opened last |
| liquidity_id | ``Liquidity`` | of yesterday among the days before today; never of today |
| venue_id | ``VENUES`` | where; the asset class belongs to the instrument (``ASSET_CLASSES``) |
| ts, seq | ns, place | ts_known of the record that completed the event, and its place in the stream |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np

from core.canonical import hash_json
from core.errors import BadConfig
from core.instruments import Instrument

KERNEL_VERSION: Final = 1  # raise it when a formula changes: what was made with another one is refused
POOL_EDGES: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128)  # ticks from the touch; a pool holds one edge up to the next
POOLS: Final = len(POOL_EDGES) - 1
DEPTH_TICKS: Final = POOL_EDGES[-1]
OFI_HALF_LIFE_EVENTS: Final = 32
TRADE_HALF_LIFE_TRADES: Final = 32
QUEUE_HALF_LIFE_EVENTS: Final = 512
REFRESH_SECONDS: Final = 1.0
STALE_MS_MAX: Final = 60_000.0
SIGMA_STEP_NS: Final = 1_000_000_000  # between samples of the mid: over 100 ms most medians are zero
SIGMA_HALF_LIFE_STEPS: Final = 128
SIGMA_WINDOW_STEPS: Final = 256  # of the median absolute deviation
RESTART_GAP_NS: Final = 3_600_000_000_000  # silence after which everything but the days begins anew
WARMUP_EVENTS: Final = 256
DAYS_KEPT: Final = 64
DAYS_LEAST: Final = 3  # fewer days say nothing about how liquid one of them was

MARKET_STATE: Final = np.dtype(
    [
        ("spread_ticks", "<i8"),
        ("microprice_off", "<f4"),
        ("ofi_norm", "<f4"),
        ("qimbalance", "<f4"),
        ("refresh_hz", "<f4"),
        ("stale_ms", "<f4"),
        ("slope_bid", "<f4"),
        ("slope_ask", "<f4"),
        ("curve_bid", "<f4"),
        ("curve_ask", "<f4"),
        ("depth_feat", "<f4", (2 * POOLS,)),
        ("has_depth", "u1"),
        ("session_id", "u1"),
        ("liquidity_id", "u1"),
        ("venue_id", "u1"),
        ("ts", "<i8"),
        ("seq", "<i8"),
    ]
)  # 128 bytes: two cache lines

EXTRA: Final = np.dtype(
    [
        ("mid2", "<i8"),  # twice the mid, ticks
        ("wide", "<f4"),  # 1: more than one tick of spread
        ("trade_imbalance", "<f4"),  # weighted (bought - sold) / (bought + sold) of takers, -1 to 1; 0 before any trade
        ("queue_bid", "<f4"),  # log of the best bid's lots over their weighted mean
        ("queue_ask", "<f4"),
        ("sigma", "<f4"),  # ticks per SIGMA_STEP_NS: weighted mean of |change of the mid| x sqrt(pi / 2)
        ("sigma_mad", "<f4"),  # the same from the median absolute deviation x 1.4826
    ]
)  # 32 bytes


class Session(IntEnum):
    """MarketState.session_id (requirements FEAT-02)."""

    CLOSED = 0
    ASIA = 1
    LONDON = 2
    NEW_YORK = 3
    AUCTION_OPEN = 4  # an auction before the day's first trade
    AUCTION_CLOSE = 5  # any other
    HALT = 6


class Liquidity(IntEnum):
    """MarketState.liquidity_id: which third of the days before it the last whole day belongs to."""

    LOW = 0
    MID = 1  # also while there are fewer than DAYS_LEAST days
    HIGH = 2


# Tokens are learned by models: a number never changes its meaning and is never used again.
VENUES: Final = {
    "none": 0,
    "nasdaq": 1,
    "globex": 2,
    "spot_agg": 3,
    "binance": 4,
    "kraken": 5,
    "coinbase": 6,
    "builtin": 7,
}
ASSET_CLASSES: Final = {"equity": 0, "fx_fut": 1, "fx_spot": 2, "crypto_spot": 3, "crypto_perp": 4}


@dataclass(frozen=True, slots=True)
class BookSpec:
    """What MarketStates of one instrument are made with. Raises BadConfig for a venue or class without a token."""

    venue: str
    asset_class: str
    has_depth: bool

    def __post_init__(self) -> None:
        for key, name, known in (("venue", self.venue, VENUES), ("asset_class", self.asset_class, ASSET_CLASSES)):
            if name not in known:
                raise BadConfig(f"{key} is {name!r}, which has no token; there is {', '.join(known)}")

    def as_json(self) -> dict[str, Any]:
        """As canonical JSON data, with all that the kernel fixes."""
        return {
            "kernel_version": KERNEL_VERSION,
            "venue_id": VENUES[self.venue],
            "asset_class_id": ASSET_CLASSES[self.asset_class],
            "has_depth": self.has_depth,
            "fields": [[name, str(dtype.base.str), list(dtype.shape)] for name, dtype in _fields()],
            "pool_edges_ticks": list(POOL_EDGES),
            "ofi_half_life_events": OFI_HALF_LIFE_EVENTS,
            "trade_half_life_trades": TRADE_HALF_LIFE_TRADES,
            "queue_half_life_events": QUEUE_HALF_LIFE_EVENTS,
            "refresh_ms": int(1000 * REFRESH_SECONDS),
            "stale_ms_max": int(STALE_MS_MAX),
            "sigma_step_ns": SIGMA_STEP_NS,
            "sigma_half_life_steps": SIGMA_HALF_LIFE_STEPS,
            "sigma_window_steps": SIGMA_WINDOW_STEPS,
            "restart_gap_ns": RESTART_GAP_NS,
            "warmup_events": WARMUP_EVENTS,
            "days_kept": DAYS_KEPT,
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON."""
        return hash_json(self.as_json())


def specs_of(instruments: Sequence[Instrument], meta: dict[str, Any]) -> list[BookSpec]:
    """What MarketStates of ``instruments`` are made with, from their tape's ``meta``. Raises BadConfig as BookSpec."""
    asset_class, has_depth = str(meta.get("asset_class", "")), bool(meta.get("has_depth"))
    return [BookSpec(instrument.venue, asset_class, has_depth) for instrument in instruments]


def _fields() -> list[tuple[str, np.dtype]]:
    return [(name, dtype[name]) for dtype in (MARKET_STATE, EXTRA) for name in dtype.names or ()]
