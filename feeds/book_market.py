"""The built-in market of order books: levels, trades and statuses of several instruments, and one planted signal.

**Records**: LEVEL, TRADE, CLEAR and STATUS, ``MarketFlag.LAST`` on the last record of each message. LEVEL and CLEAR
carry the message's number, TRADE the trade's. ts_known = ts_event + the feed's latency. While trading each side has
``depth_levels`` levels at neighbouring ticks, at least one lot each; no record ever crosses or locks the book.

**Randomness is counter-based** (``core.chance``): a draw belongs to (seed, symbol, purpose, number of the message, new
level or minute), a day's halt to (seed, symbol, day). Decisions are integers. So neither the chunk size nor the other
instruments can change a byte. Instruments move independently of each other.

**Arrivals** excite each other (A. Hawkes, "Spectra of some self-exciting and mutually exciting point processes", 1971):

    rate(t) = base x session's rate x regime's rate + J x sum over messages before t of 2^-((t - t_i) / half-life)

with J = branching x ln 2 / half-life; the rate is held constant for up to a quarter of a half-life. The regime is a
chain with one step a minute; it sets rate, share of moves and spread.

**A message** is one of: lots that come to or leave a level (the fuller the level, the likelier they leave); a trade
within the touch, whose side is often that of the trade before; a change of the spread by one tick; a move of both
sides by 1 to 3 ticks, whose levels are swept by trades or cancelled.

**The day**: HALT until the opening auction, AUCTION, TRADING, AUCTION, HALT. An auction shows no book and ends with one
trade. A trading halt leaves the book standing, an auction reopens it. News clears both sides and brings them back as a
snapshot ``jump_ticks_min`` to ``jump_ticks_max`` ticks away while trading goes on, with a burst of messages and the
last regime.

**The signal.** With s_k = +1 for a bought and -1 for a sold TRADE record, in order::

    flow_k = flow_(k-1) + (s_k - flow_(k-1)) / memory_trades
    P(the mid's next change by the flow is up) = (1 + lean) / 2,   lean = strength x rho x flow, clipped to +-0.9

A change by the flow is a move or a change of the spread. Which messages change the mid, when, and by how many ticks
does not depend on flow. Directions of news and of auctions' gaps are fair coins that know nothing.

**At strength 0 the mid is a martingale by construction**: each of its changes, seen after whole messages, is a fair
coin of its own times a size that was drawn apart from it. Trades within the touch and quotes leave the mid as it is.
"""

import math
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np

from core.errors import BadConfig, BadInput
from core.layout import PRICE_TICKS_MAX
from core.records import DAY_NS, HOUR_NS, MINUTE_NS, PPM, RECORD, MarketStatus
from core.settings import within
from feeds import book_kernel as kernel
from feeds.book_settings import BookDynamics, BookRegime, BookSignal, Flow, Period
from feeds.market import Listing, Market
from feeds.merging import by_time
from feeds.synthetic import FEED_LATENCY_NS, TICKS_MIN, checked_first_day

CHUNK_ROWS: Final = 65_536

BUILTIN_BOOK: Final = Market(
    venue="builtin",
    maker_fee_ppm=0,
    taker_fee_ppm=50,
    fee_asset="quote",
    listings=(
        Listing(symbol="BTC-USDT", base="BTC", quote="USDT", tick="5", lot="0.001", min_notional="5"),
        Listing(symbol="ETH-USDT", base="ETH", quote="USDT", tick="0.2", lot="0.01", min_notional="5"),
        Listing(symbol="SOL-USDT", base="SOL", quote="USDT", tick="0.01", lot="0.1", min_notional="5"),
    ),
    book=BookDynamics(
        start="2024-01-01",
        depth_levels=10,
        flows={
            "BTC-USDT": Flow(price="60000", messages_per_minute=240, level_lots=2_000, spread_ticks=1),
            "ETH-USDT": Flow(price="3000", messages_per_minute=180, level_lots=3_000, spread_ticks=2),
            "SOL-USDT": Flow(price="150", messages_per_minute=120, level_lots=5_000, spread_ticks=2),
        },
        regimes=(
            BookRegime(name="calm", rate_ppm=700_000, move_ppm=50_000, spread_ticks=0, next_ppm=(990_000, 10_000, 0)),
            BookRegime(
                name="normal", rate_ppm=1_000_000, move_ppm=70_000, spread_ticks=0, next_ppm=(10_000, 985_000, 5_000)
            ),
            BookRegime(
                name="storm", rate_ppm=2_000_000, move_ppm=120_000, spread_ticks=2, next_ppm=(0, 40_000, 960_000)
            ),
        ),
        sessions=(
            Period(name="morning", start=7, end=9, rate_ppm=1_500_000),
            Period(name="midday", start=9, end=13, rate_ppm=700_000),
            Period(name="afternoon", start=13, end=17, rate_ppm=1_400_000),
            Period(name="evening", start=17, end=21, rate_ppm=600_000),
        ),
        auction_minutes=5,
        gap_ticks_max=20,
        excitation_half_life_ms=500,
        branching_ppm=600_000,
        trade_ppm=150_000,
        spread_ppm=30_000,
        persistence_ppm=700_000,
        sweep_ppm=600_000,
        jump_chance_ppm=1_000,
        jump_ticks_min=10,
        jump_ticks_max=40,
        halt_chance_ppm=100_000,
        halt_minutes_min=5,
        halt_minutes_max=30,
        signal=BookSignal(),
    ),
)


def market(
    spec: Market,
    *,
    days: int,
    seed: int,
    strength: float = 1.0,
    start: str | None = None,
    feed_latency_ns: int = FEED_LATENCY_NS,
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[np.ndarray]:
    """The market's records, arrays of dtype RECORD in the order of (ts_known, instrument).

    ``start`` is the first UTC day as an ISO date, by default the market's own. Memory is bounded by ``chunk_rows`` and
    the number of instruments. Raises BadConfig for a market without a book section or arguments out of bounds, BadInput
    if a price falls below 100 ticks.
    """
    yield from by_time(
        [
            instrument(
                spec,
                listing.symbol,
                days=days,
                seed=seed,
                strength=strength,
                start=start,
                feed_latency_ns=feed_latency_ns,
                chunk_rows=chunk_rows,
            )
            for listing in spec.listings
        ]
    )


def instrument(
    spec: Market,
    symbol: str,
    *,
    days: int,
    seed: int,
    strength: float = 1.0,
    start: str | None = None,
    feed_latency_ns: int = FEED_LATENCY_NS,
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[np.ndarray]:
    """One instrument's records in order, at most ``chunk_rows`` at a time, messages whole.

    The instrument's index in the records is its place in ``spec.listings``. Raises as ``market`` does.
    """
    book = _book(spec)
    first_day = checked_first_day(start or book.start, days, seed, strength)
    within("chunk_rows", chunk_rows, kernel.ROOM, 2**24)
    names = [listing.symbol for listing in spec.listings]
    if symbol not in names:
        raise BadConfig(f"symbol {symbol!r} is unknown; the market lists {names}")
    index = names.index(symbol)
    rules = _rules(book, symbol, index, seed, strength, feed_latency_ns)
    state = np.zeros(1, kernel.STATE)
    state["bid"] = state["lowest"] = spec.instruments()[index].price_ticks(book.flows[symbol].price)
    state["ask"] = state["bid"] + book.flows[symbol].spread_ticks
    state["regime"], state["sign"] = len(book.regimes) // 2, 1
    lots = np.zeros((2, book.depth_levels), np.int64)
    regimes = np.array([(r.rate_ppm, r.move_ppm, r.spread_ticks) for r in book.regimes], kernel.REGIME)
    chances = np.cumsum([r.next_ppm for r in book.regimes], axis=1)
    hours = np.zeros(24, np.int64)
    for period in book.sessions:
        hours[period.start : period.end] = period.rate_ppm
    for day in range(first_day, first_day + days):
        plan, state["phase"] = phases(book, symbol, seed, day), 0
        while state["phase"][0] < len(plan):
            records = np.zeros(chunk_rows, RECORD)
            count = kernel.fill(state, lots, rules, regimes, chances, hours, plan, records)
            if state["lowest"][0] < TICKS_MIN or state["ask"][0] > PRICE_TICKS_MAX // 2:
                raise BadInput(
                    f"{symbol}: the price left the range of {TICKS_MIN} to {PRICE_TICKS_MAX // 2} ticks on day {day}; "
                    f"give another tick or fewer days"
                )
            yield records[:count]


def foresight(spec: Market, records: np.ndarray, *, strength: float = 1.0) -> np.ndarray:
    """What a perfect model knows after each of ``records`` (n,): the lean of the mid's next change by the flow, (n,).

    The chance of up is (1 + lean) / 2. ``records`` are ``market``'s from the beginning: the formula needs their TRADEs
    and nothing else. Messages are whole at ``MarketFlag.LAST``; elsewhere the value is that of an unfinished one.
    """
    signal = _book(spec).signal
    lean = np.zeros(len(records), np.int64)
    flows = np.zeros(len(spec.listings), np.int64)
    kernel.lean_after(records, flows, _lean_ppm(signal, strength), signal.memory_trades, lean)
    return lean / PPM


def phases(book: BookDynamics, symbol: str, seed: int, day: int) -> np.ndarray:
    """The statuses of ``symbol`` on ``day`` (days since the epoch), dtype PHASE: each begins at its ``start_ns``.

    ``until_ns`` is when the venue expects the next one, 0 while it trades.
    """
    auction_ns, next_midnight_ns = book.auction_minutes * MINUTE_NS, (day + 1) * DAY_NS
    opens_ns, closes_ns = day * DAY_NS + book.open_hour * HOUR_NS, day * DAY_NS + book.close_hour * HOUR_NS
    rows = [
        (day * DAY_NS, MarketStatus.HALT, opens_ns - auction_ns),
        (opens_ns - auction_ns, MarketStatus.AUCTION, opens_ns),
        (opens_ns, MarketStatus.TRADING, 0),
    ]
    key = np.array([seed, (zlib.crc32(symbol.encode()) << 32) | day], np.uint64)
    happens, where, length = (int(word) >> 1 for word in np.random.Philox(key=key).random_raw(3))
    if happens % PPM < book.halt_chance_ppm:
        minutes = book.halt_minutes_min + length % (book.halt_minutes_max - book.halt_minutes_min + 1)
        free_ns = closes_ns - opens_ns - 2 * auction_ns - (minutes + 2) * MINUTE_NS
        halted_ns = opens_ns + MINUTE_NS + where % free_ns
        reopens_ns = halted_ns + minutes * MINUTE_NS
        rows += [
            (halted_ns, MarketStatus.HALT, reopens_ns),
            (reopens_ns, MarketStatus.AUCTION, reopens_ns + auction_ns),
            (reopens_ns + auction_ns, MarketStatus.TRADING, 0),
        ]
    rows += [
        (closes_ns - auction_ns, MarketStatus.AUCTION, closes_ns),
        (closes_ns, MarketStatus.HALT, next_midnight_ns + book.open_hour * HOUR_NS - auction_ns),
    ]
    return np.array(rows, kernel.PHASE)


def _book(spec: Market) -> BookDynamics:
    if spec.book is None:
        raise BadConfig(f"the market of {spec.venue} has no book section: its order books cannot be simulated")
    return spec.book


def _lean_ppm(signal: BookSignal, strength: float) -> int:
    return round(strength * signal.correlation_ppm)


def _rules(book: BookDynamics, symbol: str, index: int, seed: int, strength: float, feed_latency_ns: int) -> np.ndarray:
    """The scalars of the model as one record, shape (1,)."""
    flow, half_life_ns = book.flows[symbol], book.excitation_half_life_ms * 1_000_000
    values = {
        "seed": int(np.uint64(seed).astype(np.int64)),
        "number": zlib.crc32(symbol.encode()),
        "instrument": index,
        "latency_ns": feed_latency_ns,
        "depth": book.depth_levels,
        "level_lots": flow.level_lots,
        "spread": flow.spread_ticks,
        "rate": flow.messages_per_minute * kernel.UNIT // 60,
        "lean_ppm": _lean_ppm(book.signal, strength),
        "memory": book.signal.memory_trades,
        "quantum_ns": half_life_ns // kernel.QUANTA,
        "excites": round(book.branching_ppm / PPM * math.log(2.0) * 1e9 / half_life_ns * kernel.UNIT),
        "trade_ppm": book.trade_ppm,
        "spread_ppm": book.spread_ppm,
        "persistence_ppm": book.persistence_ppm,
        "sweep_ppm": book.sweep_ppm,
        "jump_ppm": book.jump_chance_ppm,
        "jump_min": book.jump_ticks_min,
        "jump_max": book.jump_ticks_max,
        "gap_max": book.gap_ticks_max,
    }
    row = np.zeros(1, kernel.RULES)
    for name, value in values.items():
        row[name] = value
    return row
