"""The built-in market: seeded bars with regimes, sessions, outages and jumps, and one planted predictable component.

**Randomness is counter-based.** All draws of one day of one instrument come from a Philox generator keyed by (seed,
name, day since the epoch), so any day's innovations can be made alone and neither another day, another instrument nor
a chunk size can change them. Only the price, the regime and the signal carry from bar to bar. Instruments move
independently of each other.

**The model**, per printed bar, with sigma = sigma of the instrument x regime x session x weekday::

    r      = sigma * (e + strength * rho * w(session) * u)    e symmetric, mean 0, bounded: normal, sometimes a jump
    close  = open + floor(open * r + v)                       v uniform on (0, 1): unbiased rounding to ticks
    u_next = d * u + sqrt(1 - d^2) * clip(e)                  d = 2^(-1 / half-life): variance 1 at every strength

w is above 0 in London and New York (moves go on) and below 0 otherwise (they reverse), so that a rule that follows
trends at all hours finds little of it.

u depends on past bars alone: who knows sigma gets e = r / sigma - strength * rho * w * u from each close in turn. An
outage is a halt: no bar, no move, and the price, u and the regime stand still.

**At strength 0 closes are a martingale by construction**, convexity and rounding included. The return is arithmetic,
so E[open * r] = 0 needs no correction: e is drawn symmetric about 0, clipped symmetrically, and scaled by a sigma that
was fixed before. And E[floor(x + v)] = x for v uniform on (0, 1) and any x, so rounding adds no drift. Exactly: the
draws (-e, 1 - v), as likely as (e, v), give the opposite move, because floor(-x + 1 - v) = -floor(x + v) unless x + v
is an integer. Highs, lows and volumes use |move| or draws of their own, regimes and outages draws of their own, so
none of them says anything about the sign of a later move.

Highs and lows are those of a Brownian bridge from open to close (each has its exact law; jointly they are drawn
independently), rounded outwards.
"""

import math
import zlib
from collections.abc import Iterator
from datetime import date
from typing import Final

import numpy as np

from core.errors import BadConfig, BadInput
from core.jit import entry, kernel
from core.records import BAR, DAY_NS, MINUTE_NS, PPM, Kind
from core.settings import Execution, within
from feeds.market import WEEKDAYS, Dynamics, Market, Motion

HOUR_MINUTES: Final = 60
MONDAY_OFFSET: Final = 3  # 1970-01-01 was a Thursday
STRENGTH_MAX: Final = 4.0
DAYS_MAX: Final = 36_525  # a hundred years
LAST_START_YEAR: Final = 2150  # int64 ns end in 2262
TICKS_MIN: Final = 100  # a cheaper price would move by more than 1 % a tick
ACTIVITY_BASE: Final = 0.5  # volume follows the size of a move: mean 1 over normal innovations
ACTIVITY_PER_SIGMA: Final = 0.625
ACTIVITY_SIGMA_MAX: Final = 4.0
FEED_LATENCY_NS: Final = Execution().feed_latency_ns

DRAWS: Final = np.dtype(
    [(name, "<f8") for name in ("normal", "volume_normal", "jump", "rounding", "high", "low", "regime", "lost")]
)
_SLOT: Final = np.dtype([(name, "<f8") for name in ("sigma", "weight", "reach", "volume")])
_CONSTANTS: Final = np.dtype(
    [
        (name, "<f8")
        for name in (
            *("drift", "decay", "gain", "signal_clip", "jump_chance", "jump_scale", "innovation_clip"),
            *("lost_chance", "volume_noise"),
        )
    ]
)
_STATE: Final = np.dtype([("close", "<i8"), ("regime", "<i8"), ("signal", "<f8")])


def market(
    spec: Market,
    *,
    days: int,
    seed: int,
    strength: float = 1.0,
    start: str | None = None,
    feed_latency_ns: int = FEED_LATENCY_NS,
) -> Iterator[np.ndarray]:
    """The market's bars, one array of dtype BAR per UTC day, sorted by (ts_known, instrument).

    ``start`` is the first UTC day as an ISO date, by default the market's own. Memory is bounded by one day. Raises
    BadConfig for a market without dynamics or arguments out of bounds, BadInput if a price falls below 100 ticks.
    """
    for bars, _ in _merged(spec, days, seed, strength, start, feed_latency_ns, horizon_bars=1):
        yield bars


def oracle_edge(
    spec: Market, *, days: int, seed: int, strength: float = 1.0, start: str | None = None, horizon_bars: int = 3
) -> np.ndarray:
    """What a perfect model would predict: the expected return of the ``horizon_bars`` bars after each bar.

    Shape (rows,), float64 fractions, row i belongs to row i of ``market`` with the same arguments. It knows the signal
    and the regime and takes the regime to last for the horizon.
    """
    merged = _merged(spec, days, seed, strength, start, FEED_LATENCY_NS, horizon_bars)
    return np.concatenate([edge for _, edge in merged])


def instrument(
    spec: Market,
    symbol: str,
    *,
    days: int,
    seed: int,
    strength: float = 1.0,
    start: str | None = None,
    feed_latency_ns: int = FEED_LATENCY_NS,
    horizon_bars: int = 3,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One instrument day by day: bars of dtype BAR and the oracle's edge over ``horizon_bars``, both of shape (n,).

    The instrument's index in the records is its place in ``spec.listings``. Raises as ``market`` does.
    """
    dynamics = _dynamics(spec)
    first_day = checked_first_day(start or dynamics.start, days, seed, strength)
    names = [listing.symbol for listing in spec.listings]
    if symbol not in names:
        raise BadConfig(f"symbol {symbol!r} is unknown; the market lists {names}")
    index, grid = names.index(symbol), spec.instruments()[names.index(symbol)]
    motion = dynamics.motions[symbol]
    state = np.zeros(1, _STATE)
    state["close"] = grid.price_ticks(motion.price)
    state["regime"] = len(dynamics.regimes) // 2
    constants = _constants(dynamics, strength)
    regimes = np.array([[r.volatility_ppm, r.volume_ppm] for r in dynamics.regimes]) / PPM
    chances = np.cumsum([r.next_ppm for r in dynamics.regimes], axis=1) / PPM
    weekday_slots = [_slots(dynamics, motion, weekday, horizon_bars) for weekday in range(WEEKDAYS)]
    interval_ns = dynamics.interval_minutes * MINUTE_NS
    for day in range(first_day, first_day + days):
        slots = weekday_slots[(day + MONDAY_OFFSET) % WEEKDAYS]
        bars, edge = np.zeros(len(slots), BAR), np.zeros(len(slots))
        halted = outages(spec, seed, day)
        count = _day(
            state, constants, regimes, chances, slots, innovations(spec, symbol, seed, day), halted, bars, edge
        )
        bars, edge = bars[:count], edge[:count]
        if count and bars["low"].min() < TICKS_MIN:
            raise BadInput(
                f"{symbol}: the price fell below {TICKS_MIN} ticks on day {day}; give a finer tick or fewer days"
            )
        bars["ts_event"] = day * DAY_NS + (bars["ts_event"] + 1) * interval_ns
        bars["ts_known"] = bars["ts_event"] + feed_latency_ns
        bars["kind"], bars["instrument"] = Kind.BAR, index
        yield bars, edge


def innovations(spec: Market, symbol: str, seed: int, day: int) -> np.ndarray:
    """All random draws of ``symbol`` on ``day`` (days since the epoch), dtype DRAWS, shape (slots,).

    ``normal`` and ``volume_normal`` are standard normal, the others uniform over the middles of 2^52 equal cells of
    (0, 1): never 0 or 1, and 1 - v is exact and as likely as v.
    """
    rng = _generator(seed, symbol, day)
    draws = np.empty(_slots_per_day(_dynamics(spec)), DRAWS)
    for name in DRAWS.names or ():
        if name in ("normal", "volume_normal"):
            draws[name] = rng.standard_normal(len(draws))
        else:
            draws[name] = (rng.integers(0, 2**52, len(draws)) + 0.5) * 2.0**-52
    return draws


def outages(spec: Market, seed: int, day: int) -> np.ndarray:
    """Which slots of ``day`` the whole venue is halted, bool, shape (slots,).

    At most one outage a day, its length log-uniform; it ends by midnight, so that a day needs no other day.
    """
    dynamics = _dynamics(spec)
    halted = np.zeros(_slots_per_day(dynamics), np.bool_)
    happens, where, length = _generator(seed, f"venue {spec.venue}", day).random(3)
    if happens < dynamics.outage_chance_ppm / PPM:
        first = int(where * len(halted))
        shortest, longest = dynamics.outage_bars_min, dynamics.outage_bars_max
        halted[first : first + int(shortest * (longest / shortest) ** length)] = True
    return halted


def _generator(seed: int, name: str, day: int) -> np.random.Generator:
    return np.random.Generator(
        np.random.Philox(key=np.array([seed, (zlib.crc32(name.encode()) << 32) | day], np.uint64))
    )


def _merged(
    spec: Market,
    days: int,
    seed: int,
    strength: float,
    start: str | None,
    feed_latency_ns: int,
    horizon_bars: int,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    series = [
        instrument(
            spec,
            listing.symbol,
            days=days,
            seed=seed,
            strength=strength,
            start=start,
            feed_latency_ns=feed_latency_ns,
            horizon_bars=horizon_bars,
        )
        for listing in spec.listings
    ]
    for day in zip(*series, strict=True):
        bars, edge = (np.concatenate(part) for part in zip(*day, strict=True))
        order = np.lexsort((bars["instrument"], bars["ts_known"]))
        yield bars[order], edge[order]


def _dynamics(spec: Market) -> Dynamics:
    if spec.dynamics is None:
        raise BadConfig(
            f"the market of {spec.venue} has no dynamics section: it cannot be simulated; use recorded files"
        )
    return spec.dynamics


def checked_first_day(start: str, days: int, seed: int, strength: float) -> int:
    """Refuse arguments out of bounds and return ``start`` (an ISO date) as a day since the epoch."""
    within("days", days, 1, DAYS_MAX)
    within("seed", seed, 0, 2**64 - 1)
    if not 0 <= strength <= STRENGTH_MAX:
        raise BadConfig(f"strength is {strength}; it must lie in [0, {STRENGTH_MAX:g}]")
    try:
        first = date.fromisoformat(start)
    except ValueError:
        raise BadConfig(f"start is {start!r}; give a day as 2024-01-31") from None
    within("the year of start", first.year, 1970, LAST_START_YEAR)
    return first.toordinal() - date(1970, 1, 1).toordinal()


def _slots_per_day(dynamics: Dynamics) -> int:
    return 1440 // dynamics.interval_minutes


def _constants(dynamics: Dynamics, strength: float) -> np.ndarray:
    """The scalars of the model as one record, shape (1,)."""
    signal = dynamics.signal
    decay = 2.0 ** (-1.0 / signal.half_life_bars)
    values = {
        "drift": strength * signal.correlation_ppm / PPM,
        "decay": decay,
        "gain": math.sqrt(1.0 - decay * decay),
        "signal_clip": signal.clip_ppm / PPM,
        "jump_chance": dynamics.jump_chance_ppm / PPM,
        "jump_scale": dynamics.jump_scale_ppm / PPM,
        "innovation_clip": dynamics.innovation_clip_ppm / PPM,
        "lost_chance": dynamics.lost_bar_chance_ppm / PPM,
        "volume_noise": dynamics.volume_noise_ppm / PPM,
    }
    row = np.zeros(1, _CONSTANTS)
    for name, value in values.items():
        row[name] = value
    return row


def _slots(dynamics: Dynamics, motion: Motion, weekday: int, horizon_bars: int) -> np.ndarray:
    """Sigma, signal weight and volume of each slot of ``weekday``, and how far one unit of drift reaches from it.

    ``reach`` of slot t = sum over j = 1..horizon of sigma[t + j] * weight[t + j] * decay^(j - 1).
    """
    per_day = _slots_per_day(dynamics)
    slot = np.arange(per_day + horizon_bars)
    days = (weekday + slot // per_day) % WEEKDAYS
    hours = (slot % per_day) * dynamics.interval_minutes // HOUR_MINUTES
    by_hour = {
        name: np.concatenate([np.full(s.end - s.start, getattr(s, name) / PPM) for s in dynamics.sessions])
        for name in ("volatility_ppm", "volume_ppm", "signal_ppm")
    }
    table = np.zeros(per_day, _SLOT)
    sigma = (
        motion.sigma_ppm / PPM * by_hour["volatility_ppm"][hours] * np.take(dynamics.weekday_volatility_ppm, days) / PPM
    )
    weight = by_hour["signal_ppm"][hours]
    volume = motion.volume_lots * by_hour["volume_ppm"][hours] * np.take(dynamics.weekday_volume_ppm, days) / PPM
    decay = 2.0 ** (-1.0 / dynamics.signal.half_life_bars)
    table["sigma"], table["weight"], table["volume"] = sigma[:per_day], weight[:per_day], volume[:per_day]
    for step in range(1, horizon_bars + 1):
        table["reach"] += (sigma * weight)[step : step + per_day] * decay ** (step - 1)
    return table


@kernel
def _clip(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)


@kernel
def _move(price: int, rate: float, rounding: float) -> int:
    """``price`` x ``rate`` in whole ticks, unbiased: its mean over ``rounding`` is exact."""
    return math.floor(price * rate + rounding)


@kernel
def _extreme(move: int, spread: float, draw: float) -> float:
    """How far above its start a Brownian bridge that ends ``move`` higher peaks, in ticks; ``spread`` is its sigma.

    The bridge's maximum M has P(M > m) = exp(-2 m (m - move) / spread^2), solved for m.
    """
    return 0.5 * (move + math.sqrt(float(move) * move - 2.0 * spread * spread * math.log(draw)))


@entry
def _day(
    state: np.ndarray,
    constants: np.ndarray,
    regimes: np.ndarray,
    chances: np.ndarray,
    slots: np.ndarray,
    draws: np.ndarray,
    halted: np.ndarray,
    bars: np.ndarray,
    edge: np.ndarray,
) -> int:
    """Advance ``state`` over one day; write its bars (``ts_event`` = slot number) and edges, return how many."""
    now, constant, count = state[0], constants[0], 0
    for slot in range(len(slots)):
        place, draw = slots[slot], draws[slot]
        if halted[slot] or draw["lost"] < constant["lost_chance"]:
            continue
        regime = 0
        while draw["regime"] > chances[now["regime"], regime]:
            regime += 1
        now["regime"] = regime
        scale = constant["jump_scale"] if draw["jump"] < constant["jump_chance"] else 1.0
        innovation = _clip(draw["normal"] * scale, constant["innovation_clip"])
        sigma = place["sigma"] * regimes[regime, 0]
        first = now["close"]
        move = _move(
            first, sigma * (innovation + constant["drift"] * place["weight"] * now["signal"]), draw["rounding"]
        )
        spread = sigma * first
        bar = bars[count]
        bar["ts_event"] = slot
        bar["open"], bar["close"] = first, first + move
        bar["high"] = first + math.ceil(_extreme(move, spread, draw["high"]))
        bar["low"] = first - math.ceil(_extreme(-move, spread, draw["low"]))
        noise = constant["volume_noise"]
        activity = ACTIVITY_BASE + ACTIVITY_PER_SIGMA * min(abs(innovation), ACTIVITY_SIGMA_MAX)
        size = (
            place["volume"]
            * regimes[regime, 1]
            * activity
            * math.exp(noise * draw["volume_normal"] - 0.5 * noise * noise)
        )
        bar["volume"] = max(1, int(size))
        now["close"] = first + move
        now["signal"] = constant["decay"] * now["signal"] + constant["gain"] * _clip(
            innovation, constant["signal_clip"]
        )
        edge[count] = constant["drift"] * now["signal"] * regimes[regime, 0] * place["reach"]
        count += 1
    return count
