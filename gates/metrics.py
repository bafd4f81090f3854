"""``metrics.json``: what the backtest measured, as the judge reads it.

Written by the backtest as {"version": 1, "bundle_id": ..., "metrics": {name: {value, lower, upper, n, unit}}, ...}.
It names the bundle it measured, so that nothing is judged on another one's results. A null value means "not defined on
this sample" (no trades, no spread): too little evidence, not a failure of the program. Other keys (folds, baselines,
timing) are for people and reports.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from core.canonical import sha256_hex
from core.errors import BadInput

VERSION: Final = 1


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One measured quantity with its confidence interval and the number of observations behind it."""

    value: float | None
    lower: float | None = None
    upper: float | None = None
    n: int = 0
    unit: str = ""
    skew: float | None = None  # of the daily returns, beside sharpe_daily
    kurtosis: float | None = None  # not excess: 3 for a normal distribution


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """The part of ``metrics.json`` that decides."""

    version: int
    bundle_id: str
    metrics: dict[str, Metric]


def load_metrics(path: Path | str) -> tuple[Metrics, str]:
    """What was measured, and the SHA-256 of the file's bytes.

    Raises BadInput for a missing or malformed file; NaN and infinities are malformed.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; `dvc repro backtest` measures") from None
    try:
        parsed = msgspec.json.decode(data, type=Metrics)
    except msgspec.DecodeError as error:
        raise BadInput(f"{path}: {error}; `dvc repro backtest` measures again") from None
    if parsed.version != VERSION:
        raise BadInput(f"{path}: version {parsed.version}, this program reads {VERSION}; `dvc repro backtest`")
    return parsed, sha256_hex(data)


def as_metrics(table: dict[str, Any]) -> dict[str, Metric]:
    """``table`` (plain data) as metrics by name. Raises BadInput naming the key."""
    try:
        return msgspec.convert(table, dict[str, Metric])
    except msgspec.ValidationError as error:
        raise BadInput(f"metrics: {error}") from None
