"""How fast a backtest is: ``python tests/benchmarks/bench_backtest.py`` prints bars/s of a session and of its parts.

400 days of the built-in market, three instruments, one thread, best of three, compiled beforehand. A session is what
one fold pays per variant: the core with all risk checks on, round trips, the account's curve.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from core import config, engine, strategies
from core.settings import Trading, parse
from evaluation.rules import SMA_SIZED, neutral_predictions
from evaluation.session import play
from evaluation.statistics import Bootstrap, sharpe
from features.spec import FeatureParams, bar_spec
from feeds import market, synthetic

ROOT = Path(__file__).parents[2]
RUNS = 3
DAYS = 400
INTERVAL_NS = 300_000_000_000


def best_seconds(function: Callable[[], Any]) -> float:
    """The least of RUNS timings, after one call that compiles."""
    function()
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    spec = market.from_yaml((ROOT / "data/markets/builtin.yaml").read_text(), where="builtin")
    bars, instruments = np.concatenate(list(synthetic.market(spec, days=DAYS, seed=7))), spec.instruments()
    features = bar_spec(FeatureParams(), INTERVAL_NS, 3 * INTERVAL_NS)
    predictions = neutral_predictions(bars, len(instruments), features, 50_000_000)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    sections = {name: params[name] for name in ("account", "execution", "risk")} | {"strategy": {"kind": SMA_SIZED}}
    trading = parse(Trading, sections, where="params.yaml")
    built, strategy, rows = config.build(trading, instruments), strategies.get(SMA_SIZED), np.arange(len(bars))
    core = best_seconds(lambda: engine.session(built, bars, predictions, rows, strategy))
    whole = best_seconds(lambda: play(bars, instruments, predictions, trading, 0))
    trips = len(play(bars, instruments, predictions, trading, 0).account.trips)
    print(f"core:      {len(bars) / core / 1e6:5.2f} M bars/s with one prediction each")
    print(f"session:   {len(bars) / whole / 1e6:5.2f} M bars/s, {trips:,} round trips in Python integers")
    daily = np.random.default_rng(0).normal(size=(365, 3)) ** 2
    drawn = best_seconds(lambda: Bootstrap.over_days(365, block_days=5, draws=2_000, confidence=0.95, seed=1))
    bootstrap = Bootstrap.over_days(365, block_days=5, draws=2_000, confidence=0.95, seed=1)
    used = best_seconds(lambda: bootstrap.estimate(sharpe, daily, 365))
    print(f"bootstrap: {drawn * 1e3:5.0f} ms for 2,000 draws of 365 days, then {used * 1e3:.1f} ms an interval")


if __name__ == "__main__":
    main()
