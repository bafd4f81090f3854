"""The ``book`` section of a market file: how a simulated order book moves. ``feeds.book_market`` states the model.

Rates are parts per million of one, lots and ticks those of the listing. Every bound keeps the kernel's integers inside
63 bits.
"""

from typing import Final

from core.errors import BadConfig
from core.instruments import DECIMAL_MAX, STEP_MIN
from core.records import PPM
from core.settings import Section, decimal, within

DEPTH_MIN: Final = 5
DEPTH_MAX: Final = 16
SPREAD_MAX: Final = 8  # ticks
HOUR_MINUTES: Final = 60
MESSAGES_PER_MINUTE_MAX: Final = 60_000
LEVEL_LOTS_MAX: Final = 10**9
RATE_MAX_PPM: Final = 20 * PPM  # hours and regimes together
BRANCHING_MAX_PPM: Final = 900_000  # at 1 every message would call forth another without end
TICKS_MAX: Final = 10_000  # of a jump or an auction's gap
CLOSE_HOUR_MAX: Final = 23  # the day's last record is known before midnight


class Flow(Section, frozen=True, kw_only=True):
    """How one instrument's book starts and how busy it is."""

    price: str  # the best bid at the first opening, before the auction
    messages_per_minute: int  # at all multipliers 1, without those that others call forth
    level_lots: int  # what a level is drawn back to
    spread_ticks: int  # what the spread is drawn back to


class BookRegime(Section, frozen=True, kw_only=True):
    """One state of the volatility chain."""

    name: str
    rate_ppm: int  # multiplier of the rate of messages
    move_ppm: int  # share of messages that move the touch by whole ticks
    spread_ticks: int  # added to the instrument's spread
    next_ppm: tuple[int, ...]  # chance per minute of each regime being the next; sums to 1_000_000


class Period(Section, frozen=True, kw_only=True):
    """A part of the trading day, UTC hours [start, end)."""

    name: str
    start: int
    end: int
    rate_ppm: int  # multiplier of the rate of messages


class BookSignal(Section, frozen=True, kw_only=True):
    """The planted relation of signed flow and the next move of the mid."""

    memory_trades: int = 32  # time constant of the mean of signs
    correlation_ppm: int = 1_000_000  # rho: how far the odds of up lean at a mean sign of 1 and strength 1


class BookDynamics(Section, frozen=True, kw_only=True):
    """How a simulated market of order books moves."""

    start: str  # first UTC day, ISO date
    depth_levels: int  # a side, at neighbouring ticks
    flows: dict[str, Flow]  # by symbol
    regimes: tuple[BookRegime, ...]  # calm first; a jump leads to the last
    sessions: tuple[Period, ...]  # one after the other; the market opens with the first and closes with the last
    auction_minutes: int  # before the opening, before the close, and after a halt
    gap_ticks_max: int  # an auction's price is up to so far from the last book
    excitation_half_life_ms: int
    branching_ppm: int  # messages that one message calls forth, on average
    trade_ppm: int  # share of messages that are trades within the touch
    spread_ppm: int  # share of messages that change the spread
    persistence_ppm: int  # chance that a trade has the side of the one before
    sweep_ppm: int  # share of moves that trade through the levels; the others cancel them
    jump_chance_ppm: int  # of news, per minute and instrument
    jump_ticks_min: int
    jump_ticks_max: int
    halt_chance_ppm: int  # per day and instrument
    halt_minutes_min: int
    halt_minutes_max: int
    signal: BookSignal

    def __post_init__(self) -> None:
        _check_day(self)
        _check_regimes(self)
        _check_bounds(self)

    @property
    def open_hour(self) -> int:
        """UTC hour of the opening."""
        return self.sessions[0].start

    @property
    def close_hour(self) -> int:
        """UTC hour of the close."""
        return self.sessions[-1].end


def _check_day(book: BookDynamics) -> None:
    hours = [hour for period in book.sessions for hour in range(period.start, period.end)]
    if not hours or hours != list(range(hours[0], hours[-1] + 1)) or hours[0] < 1 or hours[-1] >= CLOSE_HOUR_MAX:
        raise BadConfig(
            f"book.sessions cover the hours {hours}; they must follow one another between 1 and {CLOSE_HOUR_MAX}: "
            f"the opening auction is held after midnight and the close before it"
        )
    within("book.auction_minutes", book.auction_minutes, 1, HOUR_MINUTES)
    within("book.halt_minutes_min", book.halt_minutes_min, 1, book.halt_minutes_max)
    needed = book.halt_minutes_max + 2 * book.auction_minutes + 3
    if needed > len(hours) * HOUR_MINUTES:
        raise BadConfig(
            f"book.sessions last {len(hours) * HOUR_MINUTES} minutes; a halt and two auctions need {needed}: "
            f"lower halt_minutes_max or auction_minutes"
        )


def _check_regimes(book: BookDynamics) -> None:
    if not book.regimes:
        raise BadConfig("book.regimes is empty; a market has at least one")
    for regime in book.regimes:
        if len(regime.next_ppm) != len(book.regimes) or sum(regime.next_ppm) != PPM or min(regime.next_ppm) < 0:
            raise BadConfig(
                f"book.regimes: {regime.name}: next_ppm {regime.next_ppm} must be {len(book.regimes)} chances that sum "
                f"to {PPM}"
            )
        within(f"book.regimes.{regime.name}: spread_ticks", regime.spread_ticks, 0, SPREAD_MAX)
        within(f"book.regimes.{regime.name}: rate_ppm", regime.rate_ppm, 1, RATE_MAX_PPM)
        rest = PPM - book.trade_ppm - book.spread_ppm
        within(f"book.regimes.{regime.name}: move_ppm (the shares sum to at most 1)", regime.move_ppm, 0, rest)


def _check_bounds(book: BookDynamics) -> None:
    for name in ("trade_ppm", "spread_ppm", "persistence_ppm", "sweep_ppm", "jump_chance_ppm", "halt_chance_ppm"):
        within(f"book.{name}", getattr(book, name), 0, PPM)
    within("book.depth_levels", book.depth_levels, DEPTH_MIN, DEPTH_MAX)
    within("book.excitation_half_life_ms", book.excitation_half_life_ms, 1, 60_000)
    within("book.branching_ppm", book.branching_ppm, 0, BRANCHING_MAX_PPM)
    within("book.gap_ticks_max", book.gap_ticks_max, 0, TICKS_MAX)
    within("book.jump_ticks_max", book.jump_ticks_max, 1, TICKS_MAX)
    within("book.jump_ticks_min", book.jump_ticks_min, 1, book.jump_ticks_max)
    within("book.signal.memory_trades", book.signal.memory_trades, 1, 10_000)
    within("book.signal.correlation_ppm", book.signal.correlation_ppm, 0, PPM)
    for period in book.sessions:
        top = max(regime.rate_ppm for regime in book.regimes) * period.rate_ppm // PPM
        within(f"book.sessions.{period.name}: rate_ppm", period.rate_ppm, 1, RATE_MAX_PPM)
        within(f"book.sessions.{period.name}: rate_ppm with that of the fastest regime", top, 1, RATE_MAX_PPM)
    for symbol, flow in book.flows.items():
        decimal(f"book.flows.{symbol}.price", flow.price, STEP_MIN, DECIMAL_MAX)
        within(f"book.flows.{symbol}.messages_per_minute", flow.messages_per_minute, 1, MESSAGES_PER_MINUTE_MAX)
        within(f"book.flows.{symbol}.level_lots", flow.level_lots, 4, LEVEL_LOTS_MAX)
        within(f"book.flows.{symbol}.spread_ticks", flow.spread_ticks, 1, SPREAD_MAX)
