"""The metric table of a walk-forward backtest: every score with its interval, sample size and unit.

``measure`` is pure: fold results in, plain JSON data out, the same bytes for the same input. Measured times are not in
it (``timing.json`` holds them). Intervals come from one day-wise stationary bootstrap shared by all metrics.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from core.errors import BadInput
from core.records import HOUR_NS
from evaluation import probability, statistics
from evaluation.backtest import FoldResult
from evaluation.performance import Curve, chain, daily_returns, drawdown
from evaluation.rehearsal import Rehearsal
from evaluation.rules import BASELINES as RULES
from evaluation.session import Account
from evaluation.settings import EvaluationParams
from evaluation.statistics import Bootstrap, Estimate, utc_day
from features.sessions import ASIA, LONDON, NEW_YORK, sessions

VERSION: Final = 1
DAYS_PER_YEAR: Final = 365  # the market never closes
BASELINES: Final = ("persistence", "climatology", "logistic", *RULES, "buy_and_hold")  # every report has them all
SESSION_NAMES: Final = {"asia": ASIA, "london": LONDON, "new_york": NEW_YORK}


def measure(folds: Sequence[FoldResult], params: EvaluationParams, seed: int, onnx_parity: float) -> dict[str, Any]:
    """Everything ``metrics.json`` holds. ``onnx_parity``: largest difference between training framework and ONNX.

    Raises BadInput for fewer than two test days.
    """
    whole = chain([fold.model.curve for fold in folds])
    days, returns = _daily(folds)
    bootstrap = Bootstrap.over_days(
        len(days),
        block_days=params.bootstrap_block_days,
        draws=params.bootstrap_draws,
        confidence=params.confidence_level,
        seed=seed,
    )
    rows = probability.pool([fold.forecasts for fold in folds])
    n_effective = probability.effective_rows(rows, folds[0].horizon_bars)
    trips = np.concatenate([fold.model.trips for fold in folds])
    scores = probability.scores(rows, days, bootstrap, n_effective)
    decisions = total_reasons(folds)
    table = {name: entry(score, _UNITS.get(name, "share")) for name, score in scores.items()}
    table |= trade_metrics(trips, days, bootstrap)
    table |= account_metrics(whole, returns, bootstrap)
    table |= {
        "n_predictions": count(len(rows)),
        "turnover_daily": exact(_turnover(folds, len(days)), len(days), "equity/day"),
        "onnx_parity": exact(onnx_parity, len(rows), "probability"),
        "decision_flips": exact(sum(fold.flips for fold in folds), sum(decisions.values()), "count"),
    }
    stress = {str(factor): _stress_row(folds, factor, days, bootstrap) for factor in sorted(folds[0].stress)}
    table["expectancy_2x_cost_bps"] = stress["2"]["expectancy_bps"]
    return {
        "version": VERSION,
        "metrics": table,
        "folds": [fold_row(fold) for fold in folds],
        "baselines": baselines(folds, rows, days, bootstrap, n_effective),
        "stress": stress,
        "sessions": by_session(trips, days, bootstrap),
        "costs": costs(folds),
        "decisions": decisions,
        "sample": {
            "days": len(days),
            "folds": len(folds),
            "confidence": params.confidence,
            "bootstrap_draws": params.bootstrap_draws,
            "bootstrap_block_days": params.bootstrap_block_days,
        },
    }


_UNITS: Final = {"log_loss": "nats", "brier": "score"}


def entry(score: Estimate, unit: str) -> dict[str, Any]:
    """``score`` in the form gates read."""
    return {"value": score.value, "lower": score.lower, "upper": score.upper, "n": score.n, "unit": unit}


def exact(value: float, n: int, unit: str) -> dict[str, Any]:
    """A value that is not an estimate: no interval."""
    return entry(Estimate(value, None, None, n), unit)


def count(n: int) -> dict[str, Any]:
    """How many there were."""
    return exact(n, n, "count")


def trade_metrics(trips: np.ndarray, days: np.ndarray, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Expectancy after costs in bps of entry notional, win rate and holding time of round trips (dtype TRIP)."""
    n = len(trips)
    entered = utc_day(trips["ts_entry"])
    hours = (trips["ts_exit"] - trips["ts_entry"]) / HOUR_NS
    wins = statistics.wilson(int(np.count_nonzero(trips["pnl"] > 0)), n, bootstrap.confidence)
    return {
        "expectancy_bps": entry(_expectancy(trips, days, bootstrap), "bps"),
        "win_rate": entry(wins, "share"),
        "holding_hours": entry(_mean(hours, entered, days, bootstrap), "hours"),
        "n_trades": count(n),
    }


def account_metrics(whole: Curve, returns: np.ndarray, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Daily Sharpe with its moments, total return, drawdown and exposure of a chained curve."""
    n = len(returns)
    columns = np.stack([np.ones(n), returns, returns**2], axis=1)
    sharpe = bootstrap.estimate(statistics.sharpe, columns, n)
    if sharpe.value is None:  # an account that never moved has earned nothing for no risk
        sharpe = Estimate(0.0, None, None, n)
    skew, kurtosis = statistics.moments(returns)
    yearly = Estimate(_annual(sharpe.value), _annual(sharpe.lower), _annual(sharpe.upper), n)
    log_growth = np.log1p(returns)
    bounds = bootstrap.interval(np.expm1(bootstrap.sums(log_growth[:, None])[:, 0]))
    return {
        "sharpe_daily": entry(sharpe, "per sqrt(day)") | {"skew": skew, "kurtosis": kurtosis},
        "sharpe_annual": entry(yearly, "per sqrt(year)"),
        "return_total": entry(Estimate(float(whole.growth[-1]) - 1.0, *bounds, n), "share"),
        "max_drawdown": exact(float(drawdown(whole.growth).max()), n, "share"),
        "exposure_mean": exact(float(whole.exposure.mean()), len(whole.ts), "share"),
    }


def _annual(sharpe_daily: float | None) -> float | None:
    """A daily Sharpe ratio as an annual one; the usual scaling, which takes days for independent."""
    return None if sharpe_daily is None else sharpe_daily * DAYS_PER_YEAR**0.5


def baselines(
    folds: Sequence[FoldResult], rows: probability.Forecasts, days: np.ndarray, bootstrap: Bootstrap, n: int
) -> dict[str, dict[str, Any]]:
    """What anyone gets without the model: forecasts on the same rows, rules and holding on the same bars."""

    def directional(up_minus_down: np.ndarray) -> dict[str, Any]:
        return entry(probability.accuracy(rows, up_minus_down, days, bootstrap, n), "share")

    climatology = rows.climatology[:, 2] - rows.climatology[:, 0]
    table: dict[str, dict[str, Any]] = {
        "persistence": {"directional_accuracy": directional(np.concatenate([fold.persistence for fold in folds]))},
        "climatology": {"directional_accuracy": directional(climatology)},
    }
    logistic = np.concatenate([fold.logistic for fold in folds])
    table["logistic"] = {
        "directional_accuracy": directional(logistic[:, 2] - logistic[:, 0]),
        "skill_over_climatology": entry(_skill(rows, logistic, days, bootstrap, n), "share"),
    }
    for name in RULES:
        accounts = [_rule(fold, name) for fold in folds]
        returns = np.concatenate([daily_returns(account.curve)[1] for account in accounts])
        table[name] = account_metrics(chain([account.curve for account in accounts]), returns, bootstrap)
        table[name] |= trade_metrics(np.concatenate([account.trips for account in accounts]), days, bootstrap)
    held = chain([fold.hold for fold in folds])
    table["buy_and_hold"] = account_metrics(held, np.concatenate([daily_returns(f.hold)[1] for f in folds]), bootstrap)
    return table


def _rule(fold: FoldResult, name: str) -> Account:
    """What the rule ``name`` made of ``fold``. Raises BadInput if it did not trade: no report goes without it."""
    if name not in fold.rules:
        raise BadInput(f"fold {fold.index} was not traded by the baseline {name}: run backtest again")
    return fold.rules[name]


def by_session(trips: np.ndarray, days: np.ndarray, bootstrap: Bootstrap) -> dict[str, dict[str, Any]]:
    """Trade metrics by the sessions open at entry; sessions overlap, so a trip may count in two or in none."""
    open_at = np.array([sessions(int(ts)) for ts in trips["ts_entry"]], np.int64)
    return {name: trade_metrics(trips[(open_at & bit) != 0], days, bootstrap) for name, bit in SESSION_NAMES.items()}


def costs(folds: Sequence[FoldResult]) -> dict[str, Any]:
    """Where the money went, as shares of one fold's initial cash, summed over folds: gross = net + fees + slippage."""
    cash = folds[0].model.initial_cash
    net = sum(int(fold.model.trips["pnl"].sum()) for fold in folds)
    fees = sum(int(fold.model.trips["fees"].sum()) for fold in folds)
    slippage = sum(fold.model.slippage for fold in folds)
    amounts = {"gross": net + fees + slippage, "fees": fees, "slippage": slippage, "net": net}
    return {name: amount / cash for name, amount in amounts.items()}


def total_reasons(folds: Sequence[FoldResult]) -> dict[str, int]:
    """How often each reason ended a decision, over all folds."""
    names = sorted({name for fold in folds for name in fold.decisions})
    return {name: sum(fold.decisions.get(name, 0) for fold in folds) for name in names}


def fold_row(fold: FoldResult) -> dict[str, Any]:
    """One fold on one line; no intervals, a fold alone is too short for them."""
    rows, trips = fold.forecasts, fold.model.trips
    _, returns = daily_returns(fold.model.curve)
    loss = float(probability.brier(rows.probabilities, rows.label).sum())
    reference = float(probability.brier(rows.climatology, rows.label).sum())
    hits = probability.direction_hits(rows.probabilities[:, 2] - rows.probabilities[:, 0], rows.direction)
    spread = float(np.std(returns))
    return {
        "fold": fold.index,
        "test_start_ns": int(fold.model.curve.ts[0]),
        "test_end_ns": int(fold.model.curve.ts[-1]),
        "n_predictions": len(rows),
        "skill_over_climatology": 1 - loss / reference if reference else None,
        "directional_accuracy": float(np.nanmean(hits)) if np.isfinite(hits).any() else None,
        "n_trades": len(trips),
        "expectancy_bps": _bps(trips),
        "return": float(fold.model.curve.growth[-1]) - 1.0,
        "sharpe_daily": float(np.mean(returns)) / spread if spread > 0 else 0.0,
        "max_drawdown": float(drawdown(fold.model.curve.growth).max()),
        "exposure_mean": float(fold.model.curve.exposure.mean()),
        "decision_flips": fold.flips,
    }


def _stress_row(folds: Sequence[FoldResult], factor: int, days: np.ndarray, bootstrap: Bootstrap) -> dict[str, Any]:
    played: list[Account] = [fold.stress[factor] for fold in folds]
    trips = np.concatenate([item.trips for item in played])
    returns = np.concatenate([daily_returns(item.curve)[1] for item in played])
    return trade_metrics(trips, days, bootstrap) | account_metrics(
        chain([item.curve for item in played]), returns, bootstrap
    )


def _daily(folds: Sequence[FoldResult]) -> tuple[np.ndarray, np.ndarray]:
    parts = [daily_returns(fold.model.curve) for fold in folds]
    return np.concatenate([days for days, _ in parts]), np.concatenate([returns for _, returns in parts])


def _expectancy(trips: np.ndarray, days: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    columns = np.stack([trips["pnl"] * 1e4, trips["entry_notional"].astype(np.float64)], axis=1)
    daily = probability.by_day(columns, utc_day(trips["ts_entry"]), days)
    return bootstrap.estimate(statistics.ratio, daily, len(trips))


def _mean(values: np.ndarray, day: np.ndarray, days: np.ndarray, bootstrap: Bootstrap) -> Estimate:
    columns = np.stack([values, np.ones(len(values))], axis=1)
    return bootstrap.estimate(statistics.ratio, probability.by_day(columns, day, days), len(values))


def _skill(
    rows: probability.Forecasts, forecast: np.ndarray, days: np.ndarray, bootstrap: Bootstrap, n: int
) -> Estimate:
    columns = [probability.brier(forecast, rows.label), probability.brier(rows.climatology, rows.label)]
    return bootstrap.estimate(statistics.skill, probability.by_day(np.stack(columns, axis=1), rows.day, days), n)


def _bps(trips: np.ndarray) -> float | None:
    notional = int(trips["entry_notional"].sum())
    return 1e4 * int(trips["pnl"].sum()) / notional if notional else None


def _turnover(folds: Sequence[FoldResult], n_days: int) -> float:
    traded = [int(fold.model.trips["entry_notional"].sum() + fold.model.trips["exit_notional"].sum()) for fold in folds]
    return sum(traded) / folds[0].model.initial_cash / n_days


def with_rehearsal(metrics: dict[str, Any], rehearsal: Rehearsal) -> dict[str, Any]:
    """``metrics`` with what the rehearsal found. Its times are the only entries that differ between equal runs."""
    n = len(rehearsal.cpu_ns)
    cpu, wall = _quantiles_ms(rehearsal.cpu_ns), _quantiles_ms(rehearsal.wall_ns)
    table = metrics["metrics"] | {
        "paper_parity": exact(rehearsal.paper_parity, n, "flag"),
        "latency_p99_ms": entry(Estimate(cpu["p99"], None, None, n), "ms"),
    }
    return metrics | {"metrics": table, "timing": {"bar_cpu_ms": cpu, "bar_wall_ms": wall, "bars": n}}


def _quantiles_ms(taken_ns: np.ndarray) -> dict[str, float | None]:
    points = (50, 90, 99)
    return {f"p{point}": float(np.percentile(taken_ns, point)) / 1e6 if len(taken_ns) else None for point in points}
