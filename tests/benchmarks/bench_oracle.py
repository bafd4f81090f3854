"""How often a forecaster that knows the built-in market's formula is right about the next 15 minutes.

    python -m tests.benchmarks.bench_oracle

Directional accuracy at full coverage over 400 days and all instruments; rows whose price did not move are left out. No
model can expect to do better than this.
"""

import numpy as np

from feeds import synthetic
from feeds.market import BUILTIN

DAYS, HORIZON_BARS, SEEDS = 400, 3, (7, 1, 2, 3, 4, 5)
HORIZON_NS = HORIZON_BARS * 300_000_000_000


def accuracy(seed: int, strength: float) -> float:
    """Share of horizons whose direction the oracle's expected return has."""
    bars = np.concatenate(list(synthetic.market(BUILTIN, days=DAYS, seed=seed, strength=strength)))
    # Without a signal there is nothing to know, and always saying "up" is as good as anything.
    edge = synthetic.oracle_edge(BUILTIN, days=DAYS, seed=seed, strength=strength) if strength else np.ones(len(bars))
    hits = []
    for index in range(len(BUILTIN.listings)):
        mine = bars["instrument"] == index
        close, ts, expected = bars["close"][mine], bars["ts_event"][mine], edge[mine]
        move = close[HORIZON_BARS:] - close[:-HORIZON_BARS]
        whole = (ts[HORIZON_BARS:] - ts[:-HORIZON_BARS] == HORIZON_NS) & (move != 0)
        hits.append(((move > 0) == (expected[:-HORIZON_BARS] > 0))[whole])
    return float(np.concatenate(hits).mean())


def main() -> None:
    """Print the accuracy by strength: the default seed's, and the range over all seeds."""
    for strength in (1.0, 0.5, 0.0):
        found = [accuracy(seed, strength) for seed in SEEDS]
        print(f"strength {strength}: seed 7 {found[0]:.2%}, {len(SEEDS)} seeds {min(found):.2%} to {max(found):.2%}")


if __name__ == "__main__":
    main()
