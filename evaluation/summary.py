"""One session on one line: what ``python -m evaluation backtest`` prints."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np

from core.instruments import Instrument
from core.settings import Trading
from evaluation.performance import buy_and_hold, daily_returns, drawdown
from evaluation.session import Played
from evaluation.statistics import wilson

DAYS_PER_YEAR: Final = 365


def summarise(
    played: Played, bars: np.ndarray, instruments: Sequence[Instrument], trading: Trading, trade_from_ns: int
) -> dict[str, Any]:
    """Trades, return, drawdown, Sharpe ratio, fees, hit rate and exposure; buying and holding beside them."""
    account = played.account
    _, returns = daily_returns(account.curve)
    spread = float(np.std(returns))
    wins = wilson(int(np.count_nonzero(account.trips["pnl"] > 0)), len(account.trips), 0.95)
    notional = int(account.trips["entry_notional"].sum())
    unit = Decimal(instruments[0].quote_unit)
    cost_ppm = trading.execution.slippage_ppm + max(item.taker_fee_ppm for item in instruments)
    hold = buy_and_hold(bars, len(instruments), trade_from_ns, cost_ppm)
    return {
        "bars": len(bars),
        "days": len(returns),
        "trades": len(account.trips),
        "fills": len(played.fills),
        "return": float(account.curve.growth[-1]) - 1.0,
        "max_drawdown": float(drawdown(account.curve.growth).max()),
        "sharpe_annual": float(np.mean(returns)) / spread * DAYS_PER_YEAR**0.5 if spread > 0 else None,
        "fees": str(int(account.trips["fees"].sum()) * unit),
        "hit_rate": wins.value,
        "hit_rate_lower": wins.lower,
        "hit_rate_upper": wins.upper,
        "expectancy_bps": 1e4 * int(account.trips["pnl"].sum()) / notional if notional else None,
        "exposure": float(account.curve.exposure.mean()),
        "final_equity": str(int(played.session.marks["equity"][-1]) * unit),
        "hold_return": float(hold.growth[-1]) - 1.0,
    }


def _percent(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2%}"


def _plain(value: float | None) -> str:
    return "undefined" if value is None else f"{value:,.2f}"


def _whole(value: int) -> str:
    return f"{value:,}"


def _money(value: str) -> str:
    return f"{Decimal(value):,.2f}"


LINES: Final[tuple[tuple[str, str, Callable[[Any], str]], ...]] = (
    ("trades", "round trips", _whole),
    ("return", "return, net", _percent),
    ("max_drawdown", "largest drawdown", _percent),
    ("sharpe_annual", "Sharpe ratio, annual", _plain),
    ("expectancy_bps", "expectancy, bps a trade", _plain),
    ("fees", "fees, quote", _money),
    ("hit_rate", "hit rate", _percent),
    ("hit_rate_lower", "  at least (95 %)", _percent),
    ("exposure", "mean exposure", _percent),
    ("hold_return", "buy and hold", _percent),
    ("days", "days", _whole),
)
