"""Market files: which instruments exist, their grids and fees, and how the built-in market moves.

One YAML describes one venue in one quote asset. Recorded markets give instruments only; a market that can be simulated
adds a ``dynamics`` section for bars or a ``book`` section for order books (``feeds.book_settings``). ``BUILTIN`` is the
built-in market of bars itself, so that it runs where no checkout is; the repository's ``data/markets/builtin.yaml``
spells out the same values (a test holds the two together).

Rates are parts per million of one (1_000_000 = 1), grids and prices decimal strings.
"""

import re
from datetime import date
from typing import Final

import msgspec

from core.errors import BadConfig
from core.instruments import DECIMAL_MAX, STEP_MIN, Instrument
from core.plain_yaml import parse_yaml
from core.records import PPM
from core.settings import Section, decimal, parse, within
from feeds.book_settings import BookDynamics

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
HOURS: Final = 24
WEEKDAYS: Final = 7
MULTIPLIER_MAX: Final = 100
HALF_LIFE_BARS_MAX: Final = 1_000_000
VOLUME_LOTS_MAX: Final = 10**13  # mean of a bar; noise and activity then stay far inside 64 bits


class Listing(Section, frozen=True, kw_only=True):
    """One traded pair and its grid, as decimals."""

    symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    min_qty: str = "0"
    min_notional: str = "0"


class Motion(Section, frozen=True, kw_only=True):
    """How one simulated instrument starts and moves."""

    price: str  # at the first bar's open
    sigma_ppm: int  # standard deviation of one bar's return at all multipliers 1
    volume_lots: int  # mean of one bar at all multipliers 1


class Regime(Section, frozen=True, kw_only=True):
    """One state of the volatility chain."""

    name: str
    volatility_ppm: int  # multiplier of sigma
    volume_ppm: int
    next_ppm: tuple[int, ...]  # chance per bar of each regime being the next; sums to 1_000_000


class Hours(Section, frozen=True, kw_only=True):
    """One trading session, UTC hours [start, end)."""

    name: str
    start: int
    end: int
    volatility_ppm: int
    volume_ppm: int
    signal_ppm: int  # multiplier of the planted drift; below 0 past moves reverse


class Signal(Section, frozen=True, kw_only=True):
    """The planted predictable component; ``feeds.synthetic`` states the formula."""

    half_life_bars: int = 24
    correlation_ppm: int = 105_000  # rho: drift of one bar in units of its sigma, at signal 1 and strength 1
    clip_ppm: int = 3_000_000  # a move beyond this many sigma counts as this many


SESSIONS: Final = (
    Hours(name="tokyo", start=0, end=7, volatility_ppm=850_000, volume_ppm=800_000, signal_ppm=-1_000_000),
    Hours(name="london", start=7, end=13, volatility_ppm=1_000_000, volume_ppm=1_000_000, signal_ppm=1_000_000),
    Hours(name="new_york", start=13, end=21, volatility_ppm=1_250_000, volume_ppm=1_500_000, signal_ppm=1_000_000),
    Hours(name="overnight", start=21, end=24, volatility_ppm=800_000, volume_ppm=600_000, signal_ppm=-1_000_000),
)


class Dynamics(Section, frozen=True, kw_only=True):
    """How a simulated market moves."""

    start: str  # first UTC day, ISO date
    interval_minutes: int
    motions: dict[str, Motion]  # by symbol
    regimes: tuple[Regime, ...]
    sessions: tuple[Hours, ...]  # cover the day without overlap, in order
    weekday_volatility_ppm: tuple[int, ...]  # Monday first
    weekday_volume_ppm: tuple[int, ...]
    jump_chance_ppm: int  # per bar
    jump_scale_ppm: int  # a jump's innovation in units of sigma: its standard deviation
    innovation_clip_ppm: int  # no innovation exceeds this many sigma
    outage_chance_ppm: int  # of the venue, per day
    outage_bars_min: int
    outage_bars_max: int
    lost_bar_chance_ppm: int  # of a single bar of one instrument
    volume_noise_ppm: int  # standard deviation of the logarithm of volume
    signal: Signal

    def __post_init__(self) -> None:
        _check_shape(self)
        _check_bounds(self)


class Market(Section, frozen=True, kw_only=True):
    """One venue's instruments in one quote asset, and how they move if they are simulated."""

    venue: str
    maker_fee_ppm: int
    taker_fee_ppm: int
    fee_asset: str = "quote"
    asset_class: str = "crypto_spot"  # a token of models (``features.market_state``); decides how a venue's feed counts
    listings: tuple[Listing, ...]
    dynamics: Dynamics | None = None  # of bars
    book: BookDynamics | None = None  # of order books

    def __post_init__(self) -> None:
        symbols = [listing.symbol for listing in self.listings]
        if not symbols:
            raise BadConfig("listings is empty; a market needs at least one instrument")
        for name in [*symbols, *(part for listing in self.listings for part in (listing.base, listing.quote))]:
            if not _NAME.fullmatch(name):
                raise BadConfig(f"listings: {name!r} is no symbol; letters, digits, - _ and . only: it names files")
        self.instruments()  # raises for an impossible grid or fee
        if len(set(symbols)) < len(symbols):
            raise BadConfig(f"listings name {sorted(symbols)}; each symbol may be there once")
        if len(quotes := {listing.quote for listing in self.listings}) > 1:
            raise BadConfig(f"listings are quoted in {sorted(quotes)}; an account has one quote asset: split the file")
        if self.dynamics and (missing := set(symbols) ^ set(self.dynamics.motions)):
            raise BadConfig(f"dynamics.motions and listings differ in {sorted(missing)}")
        if self.book and (missing := set(symbols) ^ set(self.book.flows)):
            raise BadConfig(f"book.flows and listings differ in {sorted(missing)}")

    def instruments(self) -> tuple[Instrument, ...]:
        """The listings as instruments, in order: an instrument's index is its place here."""
        return tuple(
            Instrument(
                venue=self.venue,
                maker_fee_ppm=self.maker_fee_ppm,
                taker_fee_ppm=self.taker_fee_ppm,
                fee_asset=self.fee_asset,
                **{name: getattr(listing, name) for name in listing.__struct_fields__},
            )
            for listing in self.listings
        )

    def select(self, symbols: tuple[str, ...]) -> "Market":
        """This market reduced to ``symbols`` (empty: all of it), in the market's own order.

        Raises BadConfig for a symbol it does not list or that is given twice.
        """
        if len(set(symbols)) < len(symbols):
            raise BadConfig(f"symbols {list(symbols)}: one is given twice; keep one")
        known = [listing.symbol for listing in self.listings]
        if unknown := set(symbols) - set(known):
            raise BadConfig(f"symbols {sorted(unknown)} are unknown; the market lists {known}")
        if not symbols:
            return self
        dynamics, book = self.dynamics, self.book
        if dynamics:
            motions = {symbol: motion for symbol, motion in dynamics.motions.items() if symbol in symbols}
            dynamics = msgspec.structs.replace(dynamics, motions=motions)
        if book:
            flows = {symbol: flow for symbol, flow in book.flows.items() if symbol in symbols}
            book = msgspec.structs.replace(book, flows=flows)
        listings = tuple(listing for listing in self.listings if listing.symbol in symbols)
        return msgspec.structs.replace(self, listings=listings, dynamics=dynamics, book=book)


def from_yaml(text: str, *, where: str) -> Market:
    """Parse a market file's ``text``. Raises BadConfig naming ``where`` and the key."""
    return parse(Market, parse_yaml(text, where=where), where=where)


def _check_shape(dynamics: Dynamics) -> None:
    try:
        date.fromisoformat(dynamics.start)
    except ValueError:
        raise BadConfig(f"dynamics.start is {dynamics.start!r}; give a day as 2024-01-31") from None
    if dynamics.interval_minutes < 1 or 1440 % dynamics.interval_minutes:
        raise BadConfig(f"dynamics.interval_minutes is {dynamics.interval_minutes}; it must divide a day (1440)")
    for session in dynamics.sessions:
        within(f"dynamics.sessions.{session.name}: start", session.start, 0, HOURS)
        within(f"dynamics.sessions.{session.name}: end", session.end, 0, HOURS)
    if not dynamics.regimes:
        raise BadConfig("dynamics.regimes is empty; a market has at least one")
    covered = [hour for session in dynamics.sessions for hour in range(session.start, session.end)]
    if covered != list(range(HOURS)):
        raise BadConfig(f"dynamics.sessions cover the hours {covered}; each of 0..23 is needed once, in order")
    for name in ("weekday_volatility_ppm", "weekday_volume_ppm"):
        if len(getattr(dynamics, name)) != WEEKDAYS:
            raise BadConfig(f"dynamics.{name} has {len(getattr(dynamics, name))} values; give 7, Monday first")
    for regime in dynamics.regimes:
        if len(regime.next_ppm) != len(dynamics.regimes) or sum(regime.next_ppm) != PPM or min(regime.next_ppm) < 0:
            raise BadConfig(
                f"dynamics.regimes: {regime.name}: next_ppm {regime.next_ppm} must be "
                f"{len(dynamics.regimes)} chances that sum to {PPM}"
            )


def _check_bounds(dynamics: Dynamics) -> None:
    for name in ("jump_chance_ppm", "outage_chance_ppm", "lost_bar_chance_ppm", "volume_noise_ppm"):
        within(f"dynamics.{name}", getattr(dynamics, name), 0, PPM)
    within("dynamics.outage_bars_max", dynamics.outage_bars_max, 1, 1440 // dynamics.interval_minutes)
    within("dynamics.outage_bars_min", dynamics.outage_bars_min, 1, dynamics.outage_bars_max)
    within("dynamics.signal.half_life_bars", dynamics.signal.half_life_bars, 1, HALF_LIFE_BARS_MAX)
    for symbol, motion in dynamics.motions.items():
        decimal(f"dynamics.motions.{symbol}.price", motion.price, STEP_MIN, DECIMAL_MAX)
        within(f"dynamics.motions.{symbol}.sigma_ppm", motion.sigma_ppm, 1, PPM)
        within(f"dynamics.motions.{symbol}.volume_lots", motion.volume_lots, 1, VOLUME_LOTS_MAX)
    for part in (dynamics, dynamics.signal, *dynamics.regimes, *dynamics.sessions):
        for name in part.__struct_fields__:
            if name.endswith("_ppm"):
                value = getattr(part, name)
                for item in value if isinstance(value, tuple) else (value,):
                    low = -MULTIPLIER_MAX * PPM if name == "signal_ppm" else 0  # a session may turn the drift round
                    within(f"dynamics: {name}", item, low, MULTIPLIER_MAX * PPM)
    _check_tops(dynamics)


def _check_tops(dynamics: Dynamics) -> None:
    """What all multipliers together may come to."""
    volume_top = (
        max(motion.volume_lots for motion in dynamics.motions.values())
        * max(regime.volume_ppm for regime in dynamics.regimes)
        * max(session.volume_ppm for session in dynamics.sessions)
        * max(dynamics.weekday_volume_ppm)
    ) // PPM**3
    if volume_top > VOLUME_LOTS_MAX:
        raise BadConfig(
            f"dynamics allow a mean volume of {volume_top} lots a bar, at most {VOLUME_LOTS_MAX}; lower volume_lots"
        )
    sigma_top = (
        max(motion.sigma_ppm for motion in dynamics.motions.values())
        * max(regime.volatility_ppm for regime in dynamics.regimes)
        * max(session.volatility_ppm for session in dynamics.sessions)
        * max(dynamics.weekday_volatility_ppm)
    ) / PPM**4
    if (move := sigma_top * dynamics.innovation_clip_ppm / PPM) > 0.25:
        raise BadConfig(
            f"dynamics allow one bar to move by {move:.0%}; lower volatility or innovation_clip_ppm to 25 %"
        )


BUILTIN: Final = Market(
    venue="builtin",
    maker_fee_ppm=1_000,
    taker_fee_ppm=1_000,
    fee_asset="quote",
    listings=(
        Listing(symbol="BTC-USDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001", min_notional="5"),
        Listing(symbol="ETH-USDT", base="ETH", quote="USDT", tick="0.01", lot="0.0001", min_notional="5"),
        Listing(symbol="SOL-USDT", base="SOL", quote="USDT", tick="0.001", lot="0.001", min_notional="5"),
    ),
    dynamics=Dynamics(
        start="2024-01-01",
        interval_minutes=5,
        motions={
            "BTC-USDT": Motion(price="60000", sigma_ppm=1_700, volume_lots=5_000_000),
            "ETH-USDT": Motion(price="3000", sigma_ppm=2_000, volume_lots=8_000_000),
            "SOL-USDT": Motion(price="150", sigma_ppm=2_400, volume_lots=12_000_000),
        },
        regimes=(
            Regime(name="calm", volatility_ppm=700_000, volume_ppm=700_000, next_ppm=(998_000, 2_000, 0)),
            Regime(name="normal", volatility_ppm=1_000_000, volume_ppm=1_000_000, next_ppm=(2_000, 997_000, 1_000)),
            Regime(name="storm", volatility_ppm=2_000_000, volume_ppm=2_200_000, next_ppm=(0, 8_000, 992_000)),
        ),
        sessions=SESSIONS,
        weekday_volatility_ppm=(1_050_000, 1_050_000, 1_050_000, 1_050_000, 1_050_000, 850_000, 850_000),
        weekday_volume_ppm=(1_050_000, 1_100_000, 1_100_000, 1_100_000, 1_050_000, 700_000, 700_000),
        jump_chance_ppm=1_000,
        jump_scale_ppm=6_000_000,
        innovation_clip_ppm=12_000_000,
        outage_chance_ppm=40_000,
        outage_bars_min=3,
        outage_bars_max=48,
        lost_bar_chance_ppm=200,
        volume_noise_ppm=350_000,
        signal=Signal(),
    ),
)
