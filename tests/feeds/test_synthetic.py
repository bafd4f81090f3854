"""The built-in market: its bytes, its martingale, its signal, and a slow reference beside the kernel."""

import hashlib
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.errors import BadConfig, BadInput
from core.records import BAR, Kind
from feeds import synthetic
from feeds.market import BUILTIN

ROOT = Path(__file__).parents[2]
HORIZON = 3
FIRST_DAY = 19_723  # 2024-01-01


def bars_of(**arguments: object) -> np.ndarray:
    return np.concatenate(list(synthetic.market(BUILTIN, **arguments)))


def digest(bars: np.ndarray) -> str:
    return hashlib.sha256(bars.tobytes()).hexdigest()


def accuracy(bars: np.ndarray, direction: np.ndarray) -> float:
    """How often the sign of ``direction`` is that of the next HORIZON bars' return, over all instruments."""
    hits = []
    for instrument in range(3):
        mine = bars["instrument"] == instrument
        close, time = bars["close"][mine], bars["ts_event"][mine]
        move = close[HORIZON:] - close[:-HORIZON]
        usable = (time[HORIZON:] - time[:-HORIZON] == HORIZON * 300_000_000_000) & (move != 0)
        hits.append(((move > 0) == (direction[mine][:-HORIZON] > 0))[usable])
    return float(np.concatenate(hits).mean())


# --- bytes


def test_same_seed_same_bytes_in_another_process_and_without_the_compiler() -> None:
    program = (
        "import hashlib, numpy as np; from feeds import synthetic as s; from feeds.market import BUILTIN;"
        "print(hashlib.sha256(np.concatenate(list(s.market(BUILTIN, days=2, seed=7))).tobytes()).hexdigest())"
    )
    here = digest(bars_of(days=2, seed=7))
    for disable in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"NUMBA_DISABLE_JIT": disable},
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.strip() == here, f"NUMBA_DISABLE_JIT={disable}"


def test_another_seed_or_strength_is_another_market() -> None:
    assert len({digest(bars_of(days=2, seed=seed)) for seed in range(5)}) == 5
    assert digest(bars_of(days=2, seed=1)) != digest(bars_of(days=2, seed=1, strength=0.5))


def test_a_longer_market_begins_with_the_shorter_one() -> None:
    short, long = bars_of(days=3, seed=3), bars_of(days=5, seed=3)
    assert np.array_equal(short, long[: len(short)])


@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
def test_every_day_and_instrument_draws_its_own_numbers(seed: int) -> None:
    """Philox keys are 64-bit integers; built carelessly they pass through float64 and neighbouring days coincide."""
    drawn = {
        synthetic.innovations(BUILTIN, listing.symbol, seed, FIRST_DAY + day).tobytes()
        for listing in BUILTIN.listings
        for day in range(60)
    }
    assert len(drawn) == 3 * 60
    halts = [synthetic.outages(BUILTIN, seed, FIRST_DAY + day) for day in range(2_000)]
    share = np.mean([halt.any() for halt in halts])
    assert 0.02 < share < 0.06  # stated: 4 % of days
    assert max(int(halt.sum()) for halt in halts) > 24  # hours
    assert min(int(halt.sum()) for halt in halts if halt.any()) <= 4


def test_draws_are_those_of_the_counter_based_generator() -> None:
    draws = synthetic.innovations(BUILTIN, "BTC-USDT", 7, FIRST_DAY)
    assert hashlib.sha256(draws["rounding"].tobytes()).hexdigest()[:16] == PINNED_DRAWS
    for name in set(synthetic.DRAWS.names) - {"normal", "volume_normal"}:
        assert draws[name].min() > 0 and draws[name].max() < 1


PINNED_DRAWS = "566042e833e03ef7"


def reference(symbol: str, days: int, seed: int, strength: float) -> list[tuple[int, int, int, int, int, int]]:
    """(time, open, high, low, close, volume) by plain Python from draws that were made last day first."""
    dynamics = BUILTIN.dynamics
    draws = {
        day: synthetic.innovations(BUILTIN, symbol, seed, day) for day in reversed(range(FIRST_DAY, FIRST_DAY + days))
    }
    motion = dynamics.motions[symbol]
    tick = {"BTC-USDT": 0.01, "ETH-USDT": 0.01, "SOL-USDT": 0.001}[symbol]
    close, regime, signal, rows = round(float(motion.price) / tick), 1, 0.0, []
    decay = 2 ** (-1 / 24)
    for day in range(FIRST_DAY, FIRST_DAY + days):
        halted = synthetic.outages(BUILTIN, seed, day)
        weekday = (day + 3) % 7
        for slot, draw in enumerate(draws[day]):
            if halted[slot] or draw["lost"] < dynamics.lost_bar_chance_ppm / 1e6:
                continue
            hours = next(s for s in dynamics.sessions if s.start <= slot // 12 < s.end)
            chances = np.cumsum(dynamics.regimes[regime].next_ppm) / 1e6
            regime = int(np.searchsorted(chances, draw["regime"]))
            volatility = hours.volatility_ppm / 1e6 * dynamics.weekday_volatility_ppm[weekday] / 1e6
            sigma = motion.sigma_ppm / 1e6 * volatility * dynamics.regimes[regime].volatility_ppm / 1e6
            jump = 6.0 if draw["jump"] < 0.001 else 1.0
            e = max(-12.0, min(12.0, draw["normal"] * jump))
            drift = strength * 0.105 * hours.signal_ppm / 1e6 * signal
            opened, move = close, math.floor(close * (sigma * (e + drift)) + draw["rounding"])
            close = opened + move
            spread = (sigma * opened) ** 2
            up = (move + math.sqrt(move**2 - 2 * spread * math.log(draw["high"]))) / 2
            down = (-move + math.sqrt(move**2 - 2 * spread * math.log(draw["low"]))) / 2
            mean = motion.volume_lots * hours.volume_ppm / 1e6 * dynamics.weekday_volume_ppm[weekday] / 1e6
            mean *= dynamics.regimes[regime].volume_ppm / 1e6 * (0.5 + 0.625 * min(abs(e), 4.0))
            volume = max(1, int(mean * math.exp(0.35 * draw["volume_normal"] - 0.35**2 / 2)))
            signal = decay * signal + math.sqrt(1 - decay**2) * max(-3.0, min(3.0, e))
            rows.append((day * 288 + slot + 1, opened, opened + math.ceil(up), opened - math.ceil(down), close, volume))
    return rows


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_kernel_equals_the_slow_reference(strength: float) -> None:
    for index, listing in enumerate(BUILTIN.listings):
        days = synthetic.instrument(BUILTIN, listing.symbol, days=4, seed=11, strength=strength)
        bars = np.concatenate([chunk for chunk, _ in days])
        expected = np.array(reference(listing.symbol, 4, 11, strength))
        assert set(bars["instrument"]) == {index}
        assert np.array_equal(bars["ts_event"], expected[:, 0] * 300_000_000_000)
        for column, name in enumerate(("open", "high", "low", "close"), start=1):
            assert np.abs(bars[name] - expected[:, column]).max() <= 1, name  # sums in another order: at most a tick
        assert np.abs(bars["volume"] / expected[:, 5] - 1).max() < 1e-6


# --- shape


def test_bars_are_consistent_sorted_and_on_time() -> None:
    bars = bars_of(days=40, seed=5)
    assert bars.dtype == BAR and set(bars["kind"]) == {Kind.BAR}
    assert (bars["low"] <= np.minimum(bars["open"], bars["close"])).all()
    assert (bars["high"] >= np.maximum(bars["open"], bars["close"])).all()
    assert bars["low"].min() > 0 and bars["volume"].min() >= 1
    assert not (bars["ts_event"] % 300_000_000_000).any()
    assert (bars["ts_known"] - bars["ts_event"] == synthetic.FEED_LATENCY_NS).all()
    order = np.lexsort((bars["instrument"], bars["ts_known"]))
    assert np.array_equal(order, np.arange(len(bars)))
    assert int(bars["ts_event"][0]) == FIRST_DAY * synthetic.DAY_NS + 300_000_000_000
    for instrument in range(3):
        mine = bars[bars["instrument"] == instrument]
        assert np.array_equal(mine["open"][1:], mine["close"][:-1])
        assert (np.diff(mine["ts_event"]) > 0).all()


def test_volatility_has_regimes_sessions_weekends_and_jumps() -> None:
    bars = bars_of(days=200, seed=9, strength=0.0)
    mine = bars[bars["instrument"] == 1]
    rate = mine["close"] / mine["open"] - 1
    size, hour = np.abs(rate), (mine["ts_event"] - 1) // 3_600_000_000_000 % 24
    weekend = ((mine["ts_event"] - 1) // synthetic.DAY_NS + 3) % 7 >= 5
    assert 0.0012 < rate.std() < 0.0035
    assert size[(hour >= 13) & (hour < 21)].mean() > 1.3 * size[hour < 7].mean()
    assert size[weekend].mean() < 0.95 * size[~weekend].mean()
    assert mine["volume"][(hour >= 13) & (hour < 21)].mean() > 1.3 * mine["volume"][hour < 7].mean()
    daily = size[: len(size) // 288 * 288].reshape(-1, 288).mean(1)
    assert np.corrcoef(daily[1:], daily[:-1])[0, 1] > 0.2  # regimes outlast a day
    assert size.max() > 8 * rate.std()  # jumps
    assert len(mine) < 200 * 288  # outages


def test_selecting_an_instrument_does_not_change_it() -> None:
    alone = np.concatenate(list(synthetic.market(BUILTIN.select(("SOL-USDT",)), days=3, seed=2)))
    among = bars_of(days=3, seed=2)
    among = among[among["instrument"] == 2].copy()
    among["instrument"] = 0
    assert np.array_equal(alone, among)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"days": 0, "seed": 1}, "days is 0"),
        ({"days": 1, "seed": -1}, "seed is -1"),
        ({"days": 1, "seed": 1, "strength": 5.0}, "strength is 5"),
        ({"days": 1, "seed": 1, "strength": float("nan")}, "strength is nan"),
        ({"days": 1, "seed": 1, "start": "tomorrow"}, "tomorrow"),
    ],
)
def test_arguments_out_of_bounds_are_named(arguments: dict, word: str) -> None:
    with pytest.raises(BadConfig, match=word):
        bars_of(**arguments)


def test_a_price_near_its_tick_is_refused() -> None:
    text = (ROOT / "data/markets/builtin.yaml").read_text().replace('price: "150"', 'price: "0.1"')
    from feeds import market

    with pytest.raises(BadInput, match=r"SOL-USDT.*100 ticks"):
        list(synthetic.market(market.from_yaml(text, where="test"), days=3, seed=1))


# --- the martingale at strength 0

UNIFORM = st.integers(0, 2**52 - 1).map(lambda cell: (cell + 0.5) * 2.0**-52)


@settings(deadline=None)  # the first call compiles
@given(price=st.integers(100, 10**9), rate=st.floats(-0.25, 0.25), draw=UNIFORM)
def test_mirrored_draws_give_the_opposite_move(price: int, rate: float, draw: float) -> None:
    """The structure behind E[close] = open: (e, v) and (-e, 1 - v) are equally likely and cancel."""
    assume((price * rate + draw) % 1.0 != 0.0 and (1.0 - draw - price * rate) % 1.0 != 0.0)
    assert synthetic._move(price, rate, draw) == -synthetic._move(price, -rate, 1.0 - draw)


@settings(deadline=None)  # the first call compiles
@given(price=st.integers(100, 10**7), rate=st.floats(-0.25, 0.25))
def test_rounding_to_ticks_is_unbiased(price: int, rate: float) -> None:
    cells = (np.arange(4096) + 0.5) / 4096
    mean = np.mean([synthetic._move(price, rate, cell) for cell in cells])
    assert mean == pytest.approx(price * rate, abs=1 / 4096)


def test_the_whole_kernel_mirrors_at_strength_zero() -> None:
    """Opposite innovations from the same state give opposite moves and the same volume, whatever else is drawn."""
    dynamics = BUILTIN.dynamics
    slots = synthetic._slots(dynamics, dynamics.motions["ETH-USDT"], 2, 3)
    regimes = np.array([[r.volatility_ppm, r.volume_ppm] for r in dynamics.regimes]) / 1e6
    chances = np.cumsum([r.next_ppm for r in dynamics.regimes], axis=1) / 1e6
    draws = synthetic.innovations(BUILTIN, "ETH-USDT", 4, FIRST_DAY)
    mirrored = draws.copy()
    mirrored["normal"], mirrored["rounding"] = -draws["normal"], 1 - draws["rounding"]

    def first_bar(draw: np.ndarray, slot: int, signal: float) -> np.void:
        state = np.array([(300_000, 1, signal)], synthetic._STATE)
        bars, edge = np.zeros(1, BAR), np.zeros(1)
        constants = synthetic._constants(dynamics, 0.0)
        one = slots[slot : slot + 1]
        synthetic._day(state, constants, regimes, chances, one, draw[slot : slot + 1], np.zeros(1, bool), bars, edge)
        return bars[0]

    for slot in range(288):
        for signal in (-2.0, 0.0, 2.0):
            up, down = first_bar(draws, slot, signal), first_bar(mirrored, slot, signal)
            assert up["close"] - up["open"] == -(down["close"] - down["open"])
            assert up["volume"] == down["volume"]


@pytest.mark.parametrize("seed", [1, 2, 3, 7])
def test_nothing_known_predicts_a_move_at_strength_zero(seed: int) -> None:
    """The mean move, and its correlation with everything a model could use, stay within sampling error."""
    bars = bars_of(days=400, seed=seed, strength=0.0)
    signal = synthetic.oracle_edge(BUILTIN, days=400, seed=seed, strength=1.0)  # the signal that is not acted upon
    for instrument in range(3):
        mine = bars["instrument"] == instrument
        chosen, edge = bars[mine], signal[mine]
        rate = (chosen["close"] - chosen["open"]) / chosen["open"]
        scaled = rate / np.convolve(np.abs(rate), np.ones(48) / 48, "full")[: len(rate)].clip(1e-6)
        target, past = scaled[100:], slice(99, -1)
        wick = (chosen["high"] + chosen["low"] - chosen["open"] - chosen["close"]) / chosen["open"]
        known = {
            "mean": np.ones(len(target)),
            "last return": np.sign(rate)[past],
            "signal": np.clip(edge / edge.std(), -3, 3)[past],
            "size of the last move": np.clip(np.abs(scaled), 0, 5)[past],
            "volume": np.log(chosen["volume"])[past] - np.log(chosen["volume"]).mean(),
            "wick": np.clip(wick / wick.std(), -3, 3)[past],
            "hour": np.sin(chosen["ts_event"] / 86_400e9 * 2 * np.pi)[past],
            "price": np.log(chosen["close"] / chosen["close"][0])[past],
        }
        for name, column in known.items():
            product = target * column
            t = product.mean() / (product.std() / math.sqrt(len(product)))
            assert abs(t) < 4.5, f"instrument {instrument}: {name} has t = {t:.1f}"


@pytest.mark.parametrize("seed", [1, 7])
def test_the_same_checks_see_the_signal_at_strength_one(seed: int) -> None:
    """Break it: with the drift in, the statistic that must stay below 4.5 is far above."""
    bars = bars_of(days=100, seed=seed, strength=1.0)
    edge = synthetic.oracle_edge(BUILTIN, days=100, seed=seed, strength=1.0)
    mine = bars["instrument"] == 0
    rate = ((bars["close"] - bars["open"]) / bars["open"])[mine]
    product = rate[1:] * np.sign(edge[mine][:-1])
    assert product.mean() / (product.std() / math.sqrt(len(product))) > 8


# --- the signal


@pytest.mark.parametrize("seed", [1, 2, 3, 7])
def test_oracle_reaches_what_is_stated(seed: int) -> None:
    edge = synthetic.oracle_edge(BUILTIN, days=400, seed=seed, strength=1.0)
    assert 0.545 <= accuracy(bars_of(days=400, seed=seed, strength=1.0), edge) <= 0.56
    assert 0.52 <= accuracy(bars_of(days=400, seed=seed, strength=0.5), edge) <= 0.54
    assert 0.495 <= accuracy(bars_of(days=400, seed=seed, strength=0.0), edge) <= 0.505
    assert not synthetic.oracle_edge(BUILTIN, days=5, seed=seed, strength=0.0).any()


def test_oracle_edge_is_the_conditional_mean() -> None:
    """Returns regressed on the oracle's edge have slope 1: it is calibrated, not only ordered."""
    slopes = []
    for seed in range(4):
        bars, edge = bars_of(days=400, seed=seed), synthetic.oracle_edge(BUILTIN, days=400, seed=seed)
        for instrument in range(3):
            mine = bars["instrument"] == instrument
            close, mean = bars["close"][mine], edge[mine][:-HORIZON]
            rate = close[HORIZON:] / close[:-HORIZON] - 1
            slopes.append(float((rate * mean).sum() / (mean * mean).sum()))
    assert np.mean(slopes) == pytest.approx(1.0, abs=0.06), slopes


def test_signal_is_visible_in_past_bars_alone() -> None:
    """A recursion over past closes, standardised by their own past volatility, finds most of what the oracle knows."""
    bars = bars_of(days=200, seed=7)
    sessions = BUILTIN.dynamics.sessions
    direction = np.zeros(len(bars))
    for instrument in range(3):
        rows = np.flatnonzero(bars["instrument"] == instrument)
        signal, weight, variance, last = 0.0, 0.0, 4e-6, int(bars["open"][rows[0]])
        for row in rows:
            rate = int(bars["close"][row]) / last - 1
            last = int(bars["close"][row])
            surprise = max(-3.0, min(3.0, rate / math.sqrt(variance) - 0.105 * weight * signal))
            signal = 2 ** (-1 / 24) * signal + 0.2367 * surprise
            variance += 0.02 * (rate * rate - variance)
            hour = int(bars["ts_event"][row]) // 3_600_000_000_000 % 24
            weight = next(hours.signal_ppm for hours in sessions if hours.start <= hour < hours.end) / 1e6
            direction[row] = weight * signal
    assert accuracy(bars, direction) > 0.54


def test_signal_has_unit_variance_whatever_the_strength() -> None:
    """The edge divided by its own scale is the signal; its variance must not grow with the drift it causes."""
    one = synthetic.oracle_edge(BUILTIN, days=300, seed=3, strength=1.0, horizon_bars=1)
    two = synthetic.oracle_edge(BUILTIN, days=300, seed=3, strength=2.0, horizon_bars=1)
    assert np.allclose(two, 2 * one, rtol=1e-12)


def test_market_is_made_a_day_at_a_time() -> None:
    chunks = list(synthetic.market(BUILTIN, days=6, seed=1))
    assert len(chunks) == 6 and max(map(len, chunks)) <= 3 * 288
