"""Which strategy trades which instrument, and with what: from typed settings to PARAMS, every value possible."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from core import flow
from core.errors import BadConfig
from core.records import PPM
from core.settings import Strategy, Trading, within
from core.strategies import mean_revert, sma, wants

LOTS_MAX: Final = 2**61
TICKS_MAX: Final = 2**40
TIME_NS_MAX: Final = 10**17
ENTRIES: Final = {"market": wants.MARKET, "cross": wants.CROSS, "post": wants.POST, "best": wants.BEST}
SIZINGS: Final = {"volatility": 0, "edge": 1}
BY_EDGE: Final = SIZINGS["edge"]

_RANGES: Final = {  # key: (least, most); every key is a field of PARAMS too
    "hold_horizons": (1, 10_000),
    "entry_margin_ppm": (0, 1000 * PPM),
    "exit_edge_ppm": (-PPM, PPM),
    "fast": (1, sma.SMA_WINDOW_MAX),
    "slow": (1, sma.SMA_WINDOW_MAX),
    "fixed_lots": (0, LOTS_MAX),
    "edge_scale_ppm": (1, 1000 * PPM),
    "sigma_share_ppm": (0, 10 * PPM),
    "adverse_milliticks": (0, TICKS_MAX),
    "flow_lots": (0, flow.QTY_MAX),
    "chase_ttl_ns": (1, TIME_NS_MAX),
    "take_profit_ticks": (0, TICKS_MAX),
    "take_profit_sigma_ppm": (0, 1000 * PPM),
    "stop_loss_ticks": (0, TICKS_MAX),
    "stop_loss_sigma_ppm": (0, 1000 * PPM),
    "reward_risk_ppm": (0, 1000 * PPM),
    "order_lots": (1, LOTS_MAX),
    "inventory_lots": (0, LOTS_MAX),
    "inventory_skew_milliticks": (0, TICKS_MAX),
}
_ONE_OF: Final = (
    ("take_profit_ticks", "take_profit_sigma_ppm", "reward_risk_ppm"),
    ("stop_loss_ticks", "stop_loss_sigma_ppm"),
)


def check(trading: Trading, names: Sequence[str]) -> None:
    """Raise BadConfig naming the key, its value and what it may be; ``names``: the strategies there are."""
    if not trading.strategies:
        _check(trading.strategy, "strategy", names)
        return
    if trading.strategy != Strategy():
        raise BadConfig("strategy and strategies are both given: name each strategy once, under strategies")
    for k, strategy in enumerate(trading.strategies):
        if not strategy.symbols:
            raise BadConfig(f"strategies[{k}].symbols is empty: name what {strategy.kind} trades")
        _check(strategy, f"strategies[{k}]", names)


def assigned(trading: Trading, symbols: Sequence[str]) -> list[Strategy]:
    """The strategy of each of ``symbols``.

    Raises BadConfig unless each belongs to exactly one: one that two want is named with both, and so is a symbol that
    no strategy wants or that the market does not have.
    """
    if not trading.strategies:
        return [trading.strategy] * len(symbols)
    owner: dict[str, int] = {}
    for k, strategy in enumerate(trading.strategies):
        for symbol in strategy.symbols:
            if symbol not in symbols:
                raise BadConfig(f"strategies[{k}].symbols names {symbol}; the tape has {', '.join(symbols)}")
            if symbol in owner:
                first = owner[symbol]
                raise BadConfig(
                    f"{symbol} belongs to strategies[{first}] ({trading.strategies[first].kind}) and to "
                    f"strategies[{k}] ({strategy.kind}): an instrument has one strategy, or two would share a position"
                )
            owner[symbol] = k
    if idle := [symbol for symbol in symbols if symbol not in owner]:
        raise BadConfig(f"strategies names none for {', '.join(idle)}: give each instrument of the tape one")
    return [trading.strategies[owner[symbol]] for symbol in symbols]


def fill(params: np.void, strategy: Strategy) -> None:
    """Write ``strategy``, which passed ``check``, into ``params`` of dtype PARAMS; costs are the caller's."""
    for key in _RANGES:
        params[key] = getattr(strategy, key)
    params["entry"], params["sizing"] = ENTRIES[strategy.entry], SIZINGS[strategy.sizing]


def _check(strategy: Strategy, where: str, names: Sequence[str]) -> None:
    if strategy.kind not in names:
        raise BadConfig(f"{where}.kind is {strategy.kind!r}; there is {', '.join(names)}")
    for key, choices in (("entry", ENTRIES), ("sizing", SIZINGS)):
        if getattr(strategy, key) not in choices:
            raise BadConfig(f"{where}.{key} is {getattr(strategy, key)!r}; there is {', '.join(choices)}")
    for key, (least, most) in _RANGES.items():
        within(f"{where}.{key}", getattr(strategy, key), least, most)
    if strategy.fast >= strategy.slow:
        raise BadConfig(
            f"{where}.fast is {strategy.fast}, {where}.slow is {strategy.slow}: the first must be below the second"
        )
    if strategy.kind == "mean_revert":
        within(f"{where}.fast", strategy.fast, 1, mean_revert.WINDOW_MAX)
    if strategy.inventory_lots * strategy.inventory_skew_milliticks > 1000 * TICKS_MAX:
        raise BadConfig(
            f"{where}.inventory_lots is {strategy.inventory_lots}, {where}.inventory_skew_milliticks is "
            f"{strategy.inventory_skew_milliticks}: together they move quotes by more than {TICKS_MAX} ticks"
        )
    for keys in _ONE_OF:
        given = [f"{where}.{key}" for key in keys if getattr(strategy, key) > 0]
        if len(given) > 1:
            raise BadConfig(f"{' and '.join(given)} are both given: each distance is stated once")
    if strategy.reward_risk_ppm > 0 and strategy.stop_loss_ticks == strategy.stop_loss_sigma_ppm == 0:
        raise BadConfig(
            f"{where}.reward_risk_ppm is {strategy.reward_risk_ppm} without a stop loss to be a multiple of"
        )
