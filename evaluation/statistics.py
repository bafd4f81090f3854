"""Intervals and corrections: what a score may be trusted for.

Observations of one market overlap in time and move together across instruments, so nothing here resamples single rows.
The unit of resampling is the UTC day with everything that happened in it, drawn in blocks (the stationary bootstrap of
Politis & Romano 1994). A statistic is a function of daily sums, so 2,000 draws are one multiplication.

Sources: Politis & Romano (1994), "The Stationary Bootstrap", JASA 89. Bailey & López de Prado (2012), "The Sharpe Ratio
Efficient Frontier", J. Risk 15, and (2014), "The Deflated Sharpe Ratio", JPM 40. López de Prado (2018), "Advances in
Financial Machine Learning", ch. 4. Kumar, Liang & Ma (2019), "Verified Uncertainty Calibration", NeurIPS.
Wilson (1927), JASA 22.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from core.errors import BadInput
from core.records import DAY_NS

_NORMAL: Final = NormalDist()
_EULER_MASCHERONI: Final = 0.5772156649015329
_ROUNDING: Final = 1e-12  # a variance below this share of the mean square is cancellation, not spread


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its two-sided interval and the sample size behind it. None: cannot be computed from this sample."""

    value: float | None
    lower: float | None
    upper: float | None
    n: int


def utc_day(ts_event: np.ndarray) -> np.ndarray:
    """Days since the epoch of times that end a bar: a bar that closes at midnight belongs to the day before."""
    return (ts_event - 1) // DAY_NS


def stationary_indices(days: int, block_days: float, draws: int, seed: int) -> np.ndarray:
    """Resampled positions of ``days`` days, int64 [draws, days]; blocks wrap around and last ``block_days`` on average.

    Draw ``i`` depends on (``seed``, ``i``) only, so more draws extend fewer ones.
    """
    position = np.arange(days)
    out = np.empty((draws, days), np.int64)
    for draw in range(draws):
        generator = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, draw]))
        restart = generator.random(days) < 1.0 / block_days
        restart[0] = True
        begin = generator.integers(0, days, days)
        last = np.maximum.accumulate(np.where(restart, position, 0))
        out[draw] = (begin[last] + position - last) % days
    return out


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """Resampled days, drawn once and shared by every statistic, so that their intervals are comparable.

    ``weights``: float64 [draws, days], how often a draw holds each day. ``confidence``: of the two-sided interval.
    """

    weights: np.ndarray
    confidence: float

    @classmethod
    def over_days(cls, days: int, *, block_days: float, draws: int, confidence: float, seed: int) -> "Bootstrap":
        """Resample ``days`` days. Raises BadInput for fewer than two: one day has no spread."""
        if days < 2:
            raise BadInput(f"{days} test days: an interval needs at least 2; use a longer tape or shorter folds")
        indices = stationary_indices(days, block_days, draws, seed)
        flat = indices + days * np.arange(draws)[:, None]
        counts = np.bincount(flat.ravel(), minlength=draws * days).reshape(draws, days)
        return cls(weights=counts.astype(np.float64), confidence=confidence)

    def sums(self, daily: np.ndarray) -> np.ndarray:
        """``daily`` [days, k] summed over each draw, [draws, k]; einsum, not BLAS: equal bytes at any thread count."""
        return np.einsum("rd,dk->rk", self.weights, np.asarray(daily, np.float64), optimize=False)

    def estimate(self, statistic: Callable[[np.ndarray], np.ndarray], daily: np.ndarray, n: int) -> Estimate:
        """``statistic`` (sums [m, k] -> [m]; NaN where undefined) on the sample, with its percentile interval.

        ``daily``: [days, k], one row per day of the bootstrap's axis. ``n``: the sample size to report.
        """
        daily = np.asarray(daily, np.float64)
        value = float(statistic(daily.sum(axis=0, keepdims=True))[0])
        if not math.isfinite(value):
            return Estimate(None, None, None, n)
        lower, upper = self.interval(statistic(self.sums(daily)))
        return Estimate(value, lower, upper, n)

    def interval(self, draws: np.ndarray) -> tuple[float | None, float | None]:
        """The central percentile interval of ``draws`` [draws], undefined draws left out."""
        defined = draws[np.isfinite(draws)]
        if not len(defined):
            return None, None
        tail = (1.0 - self.confidence) / 2.0
        lower, upper = np.quantile(defined, [tail, 1.0 - tail])
        return float(lower), float(upper)


def ratio(sums: np.ndarray) -> np.ndarray:
    """Column 0 over column 1 of ``sums`` [m, 2]; NaN where the denominator is zero."""
    return np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] != 0)


def skill(sums: np.ndarray) -> np.ndarray:
    """1 - loss / reference loss for columns (loss, reference loss) [m, 2]: 0 is no better than the reference."""
    return 1.0 - ratio(sums)


def sharpe(sums: np.ndarray) -> np.ndarray:
    """Mean over population standard deviation for columns (count, sum, sum of squares) [m, 3]; NaN without spread."""
    mean, square = sums[:, 1] / sums[:, 0], sums[:, 2] / sums[:, 0]
    variance = square - mean**2
    return mean / np.sqrt(np.where(variance > _ROUNDING * square, variance, np.nan))


def moments(returns: np.ndarray) -> tuple[float, float]:
    """Population skewness and kurtosis (not excess; a normal has 3) of ``returns``; (0, 3) without spread."""
    returns = np.asarray(returns, np.float64)
    centred = returns - np.mean(returns)
    variance = float(np.mean(centred**2))
    if variance <= _ROUNDING * float(np.mean(returns**2)):
        return 0.0, 3.0
    z = centred / math.sqrt(variance)
    return float(np.mean(z**3)), float(np.mean(z**4))


def deflated_sharpe(sharpe: float, n: int, skew: float, kurtosis: float, trial_sharpes: Sequence[float]) -> float:
    """Probability that the true Sharpe ratio beats the best that as many trials would show by luck.

    All Sharpe ratios are per observation (here: per day), ``n`` observations; ``kurtosis`` is not excess.
    ``trial_sharpes`` holds every trial that was run, this one included; with one trial the benchmark is 0 and the
    result is the probabilistic Sharpe ratio (Bailey & López de Prado 2012, eq. 7; 2014, eq. 1 and 2).

    Raises BadInput for fewer than two observations, no trials, or moments no distribution has.
    """
    if n < 2 or not trial_sharpes:
        raise BadInput(f"deflated Sharpe of {n} observations and {len(trial_sharpes)} trials; it needs 2 and 1")
    trials = len(trial_sharpes)
    benchmark = 0.0
    if trials > 1:
        spread = float(np.std(np.asarray(trial_sharpes, np.float64), ddof=1))
        luckiest = (1 - _EULER_MASCHERONI) * _NORMAL.inv_cdf(1 - 1 / trials)
        luckiest += _EULER_MASCHERONI * _NORMAL.inv_cdf(1 - 1 / (trials * math.e))
        benchmark = spread * luckiest
    scale = 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2
    if not scale > 0:
        raise BadInput(
            f"Sharpe {sharpe} with skew {skew} and kurtosis {kurtosis}: these moments do not belong together"
        )
    return _NORMAL.cdf((sharpe - benchmark) * math.sqrt(n - 1) / math.sqrt(scale))


def wilson(hits: float, n: int, confidence: float) -> Estimate:
    """Share of hits among ``n`` independent trials with the Wilson score interval."""
    if n == 0:
        return Estimate(None, None, None, 0)
    z = _NORMAL.inv_cdf((1 + confidence) / 2)
    share = hits / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), n)


def effective_sample_size(bar_index: np.ndarray, horizon_bars: int) -> float:
    """Number of independent labels that overlapping ones are worth: the sum of their average uniqueness.

    ``bar_index``: int64 [n], the bar at which each label of one instrument starts, rising; a label lives in the next
    ``horizon_bars`` bars. A label is unique by the mean of 1 / (labels alive) over its life (López de Prado 2018,
    ch. 4.4). Correlation between instruments is not in it; the day-wise intervals carry that.
    """
    if not len(bar_index):
        return 0.0
    start = np.asarray(bar_index, np.int64) - bar_index[0]
    alive = np.zeros(int(start[-1]) + horizon_bars + 1, np.int64)
    np.add.at(alive, start, 1)
    np.add.at(alive, start + horizon_bars, -1)
    alive = np.cumsum(alive)
    share = np.divide(1.0, alive, out=np.zeros(len(alive)), where=alive > 0)
    total = np.concatenate([[0.0], np.cumsum(share)])
    return float(np.sum((total[start + horizon_bars] - total[start]) / horizon_bars))


def debiased_calibration_error(gap: np.ndarray, weight: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Root-mean-square calibration error over bins without the upward bias of the plug-in, [m].

    ``gap``: mean confidence minus hit rate, [m, bins]; ``weight``: share of rows, [m, bins]; ``variance``: sampling
    variance of each gap, [bins]. The squared gap overstates the true one by exactly that variance, so it is taken off
    (Kumar, Liang & Ma 2019, sec. 4, where rows are independent and the variance is binomial). By Jensen the result is
    never below the debiased mean-absolute error (ECE) on the same bins: the strict reading of an ECE limit.
    """
    return np.sqrt(np.maximum(np.sum(weight * (gap**2 - variance), axis=1), 0.0))
