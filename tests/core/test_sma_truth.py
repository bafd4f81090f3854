"""Truth from outside for bars: 520,499 real one-minute bars, equal to the last cent; a plain loop on odd bars."""

import csv
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from core import config
from core.records import BAR, FILL, Kind
from evaluation import peer, peer_tape
from tests.core.build import only
from tests.core.recorded import SHARED, needs

CANDLES = SHARED / "market-data/candles/bitfinex-spot-1m-2018/BTCUSD.parquet"
GOLDEN = SHARED / "golden/engines/sma_fills.csv"
FEE_PPM = 1000
PNL_UNITS = -6_052_446_192_000  # -60,524.46192 USD in units of 1e-8
MINUTE_NS = 60_000_000_000
ODD_TAPES = 60


def prepared(path: Path, opened: np.ndarray, ticks: dict[str, np.ndarray], tick: float) -> Path:
    """A file as the peers' scripts prepare it."""
    np.savez(path, time_ns=opened, **{name: values * tick for name, values in ticks.items()})
    return path


def bitfinex(path: Path) -> Path:
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(CANDLES)
    cents = {name: np.rint(frame[name].to_numpy() * 100) for name in peer_tape.PRICES}
    return prepared(path, frame["time"].dt.epoch("ns").to_numpy(), cents, 0.01)


def played(path: Path, tick: str, lot: str = "0.00000001") -> tuple[np.ndarray, np.ndarray, peer.Run, int]:
    """(bars, the bar at whose open each fill is, the session, profit in cash units)."""
    instrument, bars = peer.peer_instrument(tick, lot, FEE_PPM, FEE_PPM), peer_tape.read_bars(path, tick)
    built = config.build(peer.sma_trading(instrument, "1", "1000000"), [instrument])
    run = peer.play_bars(built, bars)
    row = np.searchsorted(bars["ts_event"], only(run.out, Kind.FILL)["ts_event"], side="right")
    return bars, row, run, int(run.state[0]["account"]["equity"]) - int(built[0]["initial_cash"])


@needs(CANDLES, GOLDEN)
def test_sma_on_real_bars_equals_the_reference_fill_by_fill(tmp_path: Path) -> None:
    _, row, run, pnl_units = played(bitfinex(tmp_path / "bars.npz"), "0.01")
    fills = only(run.out, Kind.FILL)
    with open(GOLDEN, newline="") as file:
        truth = list(csv.DictReader(file))
    assert len(fills) == len(truth) == 7_593
    assert [int(item["open_cents"]) for item in truth] == fills["price"].tolist()
    assert [int(item["bar"]) for item in truth] == row.tolist()
    assert [{"buy": 1, "sell": 2}[item["side"]] for item in truth] == fills["side"].tolist()
    assert pnl_units == PNL_UNITS


def crossover(opens: list[int], closes: list[int]) -> tuple[list[tuple[int, int, int]], int]:
    """The rule as it is written: (bar, side, open) of every fill; cash and position valued at the last close, in ticks.

    Whole sums of each window at every bar, no running total. Fees are left out.
    """
    fills, held, want, cash = [], 0, 0, 0
    for bar, price in enumerate(opens):
        if want != held:
            fills.append((bar, 1 if want else 2, price))
            cash -= (want - held) * price
            held = want
        if bar >= 99:
            want = int(sum(closes[bar - 19 : bar + 1]) * 5 > sum(closes[bar - 99 : bar + 1]))
    return fills, cash + held * closes[-1]


def odd_bars(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray], str]:
    """Open times with absent minutes, prices with jumps, pauses and plateaus, and a tick; always the same per seed."""
    rng = np.random.default_rng([23, seed])
    n = int(rng.choice([1, 2, 99, 100, 101, 400, 900], p=[0.05, 0.05, 0.05, 0.05, 0.1, 0.4, 0.3]))
    opened = 1_500_000_000_000_000_000 + MINUTE_NS * np.cumsum(rng.choice([1, 1, 1, 2, 5_000], n))
    steps = np.cumsum(rng.choice([0, 0, 1, -1, 9, -9], n)) + rng.choice([0, 300], n, p=[0.98, 0.02])
    waves = np.rint(rng.choice([2, 90]) * np.sin(np.arange(n) / rng.choice([5, 17, 40]))).astype(int)
    closes = np.maximum(1, rng.choice([3, 800, 90_000]) + steps + waves)
    opens = np.maximum(1, np.concatenate([closes[:1], closes[:-1]]) + rng.choice([0, 0, 4, -4], n))
    prices = {"open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes), "close": closes}
    return opened, prices, str(rng.choice(["0.01", "0.5", "0.07", "0.000025"]))


def test_sma_equals_a_plain_loop_on_odd_bars(tmp_path: Path) -> None:
    n_fills = 0
    for seed in range(ODD_TAPES):
        opened, prices, tick = odd_bars(seed)
        bars, row, run, pnl_units = played(prepared(tmp_path / "odd.npz", opened, prices, float(tick)), tick, "1")
        fills = only(run.out, Kind.FILL)
        truth, gained = crossover(prices["open"].tolist(), prices["close"].tolist())
        assert list(zip(row.tolist(), fills["side"].tolist(), fills["price"].tolist(), strict=True)) == truth, seed
        value = Fraction(tick) * 10**8  # whole cash units: nothing is rounded but the fees
        fees = [-(-value * price * FEE_PPM // 1_000_000) for _, _, price in truth]
        assert fills["fee"].tolist() == fees, seed
        assert pnl_units == gained * value - sum(fees), seed
        assert len(bars) == len(opened)
        n_fills += len(truth)
    assert n_fills > 5 * ODD_TAPES


def test_a_signal_on_the_last_bar_is_not_executed(tmp_path: Path) -> None:
    closes = np.array([100] * 99 + [101])
    prices = dict.fromkeys(peer_tape.PRICES, closes)
    opened = MINUTE_NS * np.arange(1, 101)
    _, _, run, _ = played(prepared(tmp_path / "a.npz", opened, prices, 0.01), "0.01")
    assert len(run.of(Kind.FILL, FILL)) == 0
    longer = {name: np.append(closes, 100) for name in peer_tape.PRICES}
    _, row, _, _ = played(prepared(tmp_path / "b.npz", np.append(opened, 7_200 * MINUTE_NS), longer, 0.01), "0.01")
    assert row.tolist() == [100]


def test_bars_are_read_as_prepared(tmp_path: Path) -> None:
    opened = np.array([60, 120, 240]) * 1_000_000_000
    prices = {
        "open": np.array([5, 6, 7]),
        "high": np.array([5, 6, 6]),
        "low": np.array([5, 6, 7]),
        "close": np.array([6, 6, 8]),
    }
    bars = peer_tape.read_bars(prepared(tmp_path / "bars.npz", opened, prices, 0.01), "0.01")
    assert bars.dtype == BAR
    assert bars["ts_event"].tolist() == [120_000_000_000, 180_000_000_000, 300_000_000_000]
    assert bars["high"].tolist() == [6, 6, 8]
    assert bars["low"].tolist() == [5, 6, 7]
