"""What the bar features are: names, units, windows, warm-up and when they are known. The kernel is ``features.bars``.

Every feature of the row of bar *t* is computed from bars of the same instrument up to and including *t*, so it is known
at that bar's ``ts_known``. Features are dimensionless float32, finite, and clipped to ±``CLIP``. Where a formula says
*sigma*, it is the robust volatility of one bar: an exponentially weighted mean of |log return| times sqrt(pi/2), the
factor that makes it the standard deviation of a normal return.

A window is a half-life for exponentially weighted estimates, otherwise a length, in bars. Every exponentially weighted
mean starts as a plain mean: its n-th weight is max(1/n, alpha), so a young estimate is unbiased instead of zero.

``features.timeframes_minutes`` adds columns of longer bars (``features.timeframes``), from closed ones only. The
warm-up then lasts until the longest has closed ``TIMEFRAME_WARMUP`` times.
"""

from dataclasses import dataclass
from typing import Any, Final

from core.canonical import hash_json
from core.errors import BadConfig, Refused
from core.records import DAY_NS, MINUTE_NS
from core.settings import Section

KERNEL_VERSION: Final = 1  # raise it when a formula changes: bundles made with another one are refused
CLIP: Final = 10
WARMUP_BARS: Final = 288

RETURN_BARS: Final = (1, 3, 12, 36)
MOMENTUM_HALF_LIFE_BARS: Final = (6, 24, 96)
SIGMA_HALF_LIFE_BARS: Final = 48
ATR_BARS: Final = 14
VOLATILITY_SHORT_HALF_LIFE_BARS: Final = 12
VOLATILITY_LONG_HALF_LIFE_BARS: Final = 288
VOLUME_HALF_LIFE_BARS: Final = 288
REGIME_HALF_LIFE_BARS: Final = 2016

TIMEFRAMES_MAX: Final = 4
TREND_HALF_LIFE: Final = 12  # closed bars of the timeframe
TIMEFRAME_MOMENTUM_HALF_LIFE: Final = 6
TIMEFRAME_WARMUP: Final = 12
COMPARED_MOMENTUM: Final = 1  # place among the momenta of the bar itself: the one longer bars are held against


@dataclass(frozen=True, slots=True)
class Feature:
    """One column of ``features.npy``. ``window_bars`` is 0 for a feature of the bar alone."""

    name: str
    unit: str
    window_bars: int
    formula: str


FEATURES: Final = (
    *(
        Feature(f"return_{n}", "sigma", n, "log return over that many bars / (sigma * sqrt(bars)); spans short gaps")
        for n in RETURN_BARS
    ),
    *(
        Feature(f"momentum_{n}", "sigma", n, "weighted mean of return_1, scaled to unit variance for white noise")
        for n in MOMENTUM_HALF_LIFE_BARS
    ),
    Feature("range_to_atr", "ratio", ATR_BARS, "(high - low) / ATR, Wilder's average true range"),
    Feature("atr_to_sigma", "ratio", ATR_BARS, "ATR / (close * sigma)"),
    Feature(
        "volatility_ratio",
        "log ratio",
        VOLATILITY_LONG_HALF_LIFE_BARS,
        f"log of realised volatility, half-life {VOLATILITY_SHORT_HALF_LIFE_BARS} over the window",
    ),
    Feature("volume_z", "sigma", VOLUME_HALF_LIFE_BARS, "z-score of log(1 + lots) against the bars before it"),
    Feature("close_location", "ratio", 0, "(2 close - high - low) / (high - low): -1 at the low, 1 at the high"),
    Feature("session_asia", "flag", 0, "ts_event in 09:00-18:00 Tokyo"),
    Feature("session_london", "flag", 0, "ts_event in 08:00-17:00 London"),
    Feature("session_new_york", "flag", 0, "ts_event in 08:00-17:00 New York"),
    Feature("weekday_sin", "ratio", 0, "sin(2 pi day / 7), Monday is 0, UTC"),
    Feature("weekday_cos", "ratio", 0, "cos(2 pi day / 7), Monday is 0, UTC"),
    Feature(
        "volatility_regime",
        "flag",
        REGIME_HALF_LIFE_BARS,
        "-1, 0, 1: log sigma in the low, middle, high third of the normal fitted to the bars before it",
    ),
    Feature("gap", "flag", 0, "1 if bars are missing just before this one"),
)


def timeframe_features(timeframes_ns: tuple[int, ...], interval_ns: int) -> tuple[Feature, ...]:
    """The columns that ``timeframes_ns`` add to FEATURES: three each, and one of all together."""
    if not timeframes_ns:
        return ()
    columns = []
    for frame_ns in timeframes_ns:
        bars, name = frame_ns // interval_ns, _minutes_name(frame_ns // MINUTE_NS)
        compared = MOMENTUM_HALF_LIFE_BARS[COMPARED_MOMENTUM]
        columns += [
            Feature(
                f"trend_{name}",
                "sigma",
                TREND_HALF_LIFE * bars,
                f"last closed {name} bar: log close - weighted mean of such closes, in sigma * sqrt({bars})",
            ),
            Feature(
                f"momentum_{name}",
                "sigma",
                TIMEFRAME_MOMENTUM_HALF_LIFE * bars,
                f"weighted mean of the closed {name} bars' returns, scaled to unit variance for white noise",
            ),
            Feature(
                f"divergence_{name}",
                "sigma",
                TIMEFRAME_MOMENTUM_HALF_LIFE * bars,
                f"momentum_{compared} - momentum_{name}: 0 where they converge",
            ),
        ]
    longest = TIMEFRAME_MOMENTUM_HALF_LIFE * timeframes_ns[-1] // interval_ns
    every = "mean of the signs of all these momenta: 1 or -1 where every timeframe agrees"
    return (*columns, Feature("momentum_alignment", "ratio", longest, every))


def _minutes_name(minutes: int) -> str:
    return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


class FeatureParams(Section, frozen=True, kw_only=True):
    """Section ``features`` of params.yaml."""

    reset_gap_bars: int = 12  # more missing bars than this restart an instrument's warm-up
    timeframes_minutes: tuple[int, ...] = ()  # longer bars whose closed ones add columns; empty: none

    def __post_init__(self) -> None:
        frames = self.timeframes_minutes
        fit = all(minutes > 0 and DAY_NS % (minutes * MINUTE_NS) == 0 for minutes in frames)
        if not fit or list(frames) != sorted(set(frames)) or len(frames) > TIMEFRAMES_MAX:
            raise BadConfig(
                f"features.timeframes_minutes is {list(frames)}; it takes at most {TIMEFRAMES_MAX} lengths that "
                "divide a day, the shortest first: [15, 60, 240]"
            )
        if not 0 <= self.reset_gap_bars <= WARMUP_BARS:
            raise BadConfig(
                f"features.reset_gap_bars is {self.reset_gap_bars}; it must lie within 0..{WARMUP_BARS} bars"
            )


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The features of one bar length and label horizon. Equal specs give equal features."""

    interval_ns: int
    horizon_ns: int  # the label horizon: ``sigma`` is the standard deviation of the return over it
    reset_gap_bars: int
    features: tuple[Feature, ...] = FEATURES
    warmup_bars: int = WARMUP_BARS  # bars of an instrument after a restart until its row is ready
    timeframes_ns: tuple[int, ...] = ()  # longer bars, the shortest first

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(feature.name for feature in self.features)

    @property
    def n_features(self) -> int:
        """Columns of ``features.npy``."""
        return len(self.features)

    @property
    def horizon_bars(self) -> int:
        """The label horizon in bars."""
        return self.horizon_ns // self.interval_ns

    @property
    def warmup_ns(self) -> int:
        """The warm-up in ns of uninterrupted bars."""
        return self.warmup_bars * self.interval_ns

    def as_json(self) -> dict[str, Any]:
        """The specification as canonical JSON data: ``spec.json`` and the manifest's ``feature_spec``."""
        longer = {"timeframes_ns": list(self.timeframes_ns)} if self.timeframes_ns else {}
        return longer | {
            "kernel_version": KERNEL_VERSION,
            "interval_ns": self.interval_ns,
            "horizon_ns": self.horizon_ns,
            "reset_gap_bars": self.reset_gap_bars,
            "warmup_bars": self.warmup_bars,
            "clip": CLIP,
            "known_at": "ts_known of the bar",
            "sigma_half_life_bars": SIGMA_HALF_LIFE_BARS,
            "features": [{name: getattr(item, name) for name in Feature.__slots__} for item in self.features],
        }

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON: pinned by the bundle."""
        return hash_json(self.as_json())


def bar_spec(params: FeatureParams, interval_ns: int, horizon_ns: int) -> FeatureSpec:
    """The specification for bars of ``interval_ns`` and labels over ``horizon_ns``.

    Raises BadConfig unless the horizon and every timeframe are whole, positive numbers of bars.
    """
    if interval_ns <= 0:
        raise BadConfig(f"bar interval is {interval_ns} ns; features need bars of a length above 0")
    if horizon_ns <= 0 or horizon_ns % interval_ns:
        raise BadConfig(
            f"label horizon is {horizon_ns} ns, a bar {interval_ns} ns: set labels.horizon_minutes to a multiple of it"
        )
    frames = tuple(minutes * MINUTE_NS for minutes in params.timeframes_minutes)
    for frame_ns, minutes in zip(frames, params.timeframes_minutes, strict=True):
        if frame_ns <= interval_ns or frame_ns % interval_ns:
            raise BadConfig(
                f"features.timeframes_minutes holds {minutes}, a bar is {interval_ns} ns: take larger multiples of it"
            )
    closed = (TIMEFRAME_WARMUP + 1) * frames[-1] // interval_ns if frames else 0  # the first is seen in part only
    return FeatureSpec(
        interval_ns=interval_ns,
        horizon_ns=horizon_ns,
        reset_gap_bars=params.reset_gap_bars,
        features=FEATURES + timeframe_features(frames, interval_ns),
        warmup_bars=max(WARMUP_BARS, closed),
        timeframes_ns=frames,
    )


def spec_from_json(data: dict[str, Any]) -> FeatureSpec:
    """The specification a bundle was made with. Raises Refused if this program's kernel would compute another one."""
    try:
        minutes = tuple(frame_ns // MINUTE_NS for frame_ns in data.get("timeframes_ns", ()))
        params = FeatureParams(reset_gap_bars=data["reset_gap_bars"], timeframes_minutes=minutes)
        spec = bar_spec(params, data["interval_ns"], data["horizon_ns"])
    except (KeyError, TypeError) as error:
        raise Refused(f"feature specification: {type(error).__name__} {error}; make the bundle anew") from None
    ours = spec.as_json()
    if differing := sorted(key for key in ours.keys() | data.keys() if ours.get(key) != data.get(key)):
        raise Refused(f"feature specification differs from this program's kernel in {differing}; make the bundle anew")
    return spec
