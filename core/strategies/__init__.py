"""Strategies: plug-in functions that say what they want; sizing and risk decide what they get.

A strategy is a plain function ``(params, memory, view, proposal) -> want`` over records of dtype PARAMS, MEMORY, VIEW
and PROPOSAL (``core.layout``). ``view["event"]`` is the kind of what has just arrived: BAR, PREDICTION or TIMER; the
view holds the instrument's latest of each, its best prices and the lots held. ``memory["words"]`` holds 256 int64 of
its own per instrument, zero at the start. It returns NO_OPINION for an event it does not act on. Beside its want it may
state in ``proposal`` what it reckons with (edge, cost) and how it would go about it (way in, take-profit, stop-loss). A
two-sided strategy fills the proposal's quotes and returns QUOTE: the core brings the orders at work to that. It may
neither loop over data nor keep state elsewhere, and uses integers only. ``docs/extending/strategy.py`` adds one, and
``docs/strategies.md`` describes those built in.
"""

from collections.abc import Sequence
from typing import Final

from core.errors import BadConfig
from core.instruments import Instrument
from core.settings import Trading
from core.strategies import parameters
from core.strategies.compiled import HANDLE, SIGNATURE, Compiled, compile_all, function_at
from core.strategies.edge import edge
from core.strategies.edge_ticks import edge_ticks
from core.strategies.market_maker import mm1
from core.strategies.mean_revert import WANT as MEAN_REVERT_WANT
from core.strategies.mean_revert import mean_revert
from core.strategies.sma import SMA_GAP, SMA_SEEN, SMA_WINDOW_MAX, sma
from core.strategies.wants import (
    FLAT,
    HOLD,
    LONG,
    NO_OPINION,
    ON_BAR,
    ON_PREDICTION,
    ON_TIMER,
    QUOTE,
    SHORT,
    StrategyFunction,
)

__all__ = [
    "FLAT",
    "HANDLE",
    "HOLD",
    "LONG",
    "MEAN_REVERT_WANT",
    "NO_OPINION",
    "ON_BAR",
    "ON_PREDICTION",
    "ON_TIMER",
    "QUOTE",
    "SHORT",
    "SIGNATURE",
    "SMA_GAP",
    "SMA_SEEN",
    "SMA_WINDOW_MAX",
    "Compiled",
    "StrategyFunction",
    "check",
    "edge",
    "edge_ticks",
    "function_at",
    "get",
    "mean_revert",
    "mm1",
    "names",
    "of",
    "register",
    "sma",
]

_REGISTRY: Final[dict[str, StrategyFunction]] = {
    "edge": edge,
    "edge_ticks": edge_ticks,
    "mean_revert": mean_revert,
    "mm1": mm1,
    "sma": sma,
}


def names() -> tuple[str, ...]:
    """Every strategy a configuration may name."""
    return tuple(sorted(_REGISTRY))


def register(name: str, function: StrategyFunction) -> None:
    """Make ``function`` usable as ``strategy.kind: name``.

    Raises BadConfig if the name is taken by another function: a name must mean one strategy.
    """
    if _REGISTRY.setdefault(name, function) is not function:
        raise BadConfig(f"strategy {name!r} is already registered: choose another name")


def get(name: str) -> Compiled:
    """The compiled strategy ``name``, for every instrument. Raises BadConfig if there is none."""
    return compile_all([(name, _named(name))])


def of(trading: Trading, instruments: Sequence[Instrument]) -> Compiled:
    """The compiled strategies of ``trading``, each for its instruments. Raises BadConfig as ``core.config.build``."""
    assigned = parameters.assigned(trading, [instrument.symbol for instrument in instruments])
    return compile_all([(strategy.kind, _named(strategy.kind)) for strategy in assigned])


def check(trading: Trading) -> None:
    """Raise BadConfig naming the key of a strategy that does not exist or a value that is impossible."""
    parameters.check(trading, names())


def _named(name: str) -> StrategyFunction:
    if name not in _REGISTRY:
        raise BadConfig(f"strategy.kind is {name!r}; there is {', '.join(names())}: register it before it is used")
    return _REGISTRY[name]
