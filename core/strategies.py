"""Strategies: plug-in functions that say what they want; sizing and risk decide what they get.

A strategy is a plain function ``(params, memory, view, quotes) -> want`` over records of dtype PARAMS, MEMORY, VIEW and
QUOTES (``core.layout``). ``view["event"]`` is the kind of what has just arrived: BAR, PREDICTION or TIMER; the view
holds the instrument's latest of each, its best prices and the lots held. ``memory["words"]`` holds 256 int64 of its
own per instrument, zero at the start. It returns NO_OPINION for an event it does not act on. A two-sided strategy fills
``quotes`` and returns QUOTE: the core brings the orders at work to that. It may neither loop over data nor keep state
elsewhere, and uses integers only. ``docs/extending/strategy.py`` adds one.

Strategies are compiled against one explicit signature, so a new one never recompiles the engine.
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from core.errors import BadConfig
from core.jit import entry, kernel
from core.layout import MEMORY, MEMORY_WORDS, PARAMS, QUOTES, VIEW
from core.records import PPM, Kind

NO_OPINION: Final = 0  # this event is none of its business
HOLD: Final = 1  # stay as you are
LONG: Final = 2
FLAT: Final = 3
QUOTE: Final = 4  # the orders in ``quotes``, and no others

ON_BAR: Final = int(Kind.BAR)
ON_PREDICTION: Final = int(Kind.PREDICTION)
ON_TIMER: Final = int(Kind.TIMER)

SIGNATURE: Final = types.int64(from_dtype(PARAMS), from_dtype(MEMORY), from_dtype(VIEW), from_dtype(QUOTES))

StrategyFunction = Callable[[np.void, np.void, np.void, np.void], int]

SMA_GAP: Final = 0  # words of ``sma``'s memory
SMA_SEEN: Final = 1
SMA_SLOT: Final = 2
SMA_RING: Final = 3
SMA_WINDOW_MAX: Final = MEMORY_WORDS - SMA_RING


def edge(params: np.void, memory: np.void, view: np.void, quotes: np.void) -> int:
    """Enter when the edge earned over the expected holding time pays the round trip with a margin.

    LONG if edge x hold_horizons >= margin x round-trip cost; FLAT if one horizon's edge is at most exit_edge_ppm.
    """
    if view["event"] != ON_PREDICTION:
        return NO_OPINION
    edge_ppm = view["prediction"]["edge_ppm"]
    if edge_ppm <= params["exit_edge_ppm"]:
        return FLAT
    if edge_ppm * params["hold_horizons"] * PPM >= params["entry_margin_ppm"] * params["cost_ppm"]:
        return LONG
    return HOLD


def sma(params: np.void, memory: np.void, view: np.void, quotes: np.void) -> int:
    """Crossover of two simple moving averages of closes, exact in integers: LONG while fast > slow, else FLAT."""
    if view["event"] != ON_BAR:
        return NO_OPINION
    # slow x (sum of the last fast closes) - fast x (sum of the last slow ones); bars still missing; slot of the oldest
    # close; ring of slow closes, zero where there was none, so that a young sum is the sum of what there is
    words, close = memory["words"], view["bar"]["close"]
    fast, slow, slot = params["fast"], params["slow"], words[SMA_SLOT]
    back = slot - fast if slot >= fast else slot - fast + slow
    gap = words[SMA_GAP] + slow * (close - words[SMA_RING + back]) - fast * (close - words[SMA_RING + slot])
    words[SMA_RING + slot] = close
    words[SMA_GAP] = gap
    words[SMA_SLOT] = slot + 1 if slot + 1 < slow else 0
    if words[SMA_SEEN] < slow:
        words[SMA_SEEN] += 1
    return NO_OPINION if words[SMA_SEEN] < slow else (LONG if gap > 0 else FLAT)


def mm1(params: np.void, memory: np.void, view: np.void, quotes: np.void) -> int:
    """Quote ``order_lots`` at the best bid and ask, each side only while it keeps within ``inventory_lots``.

    Without a bid below an ask it leaves everything as it is.
    """
    if view["event"] != ON_TIMER or view["bid"] == 0 or view["ask"] <= view["bid"]:
        return NO_OPINION
    lots, cap = params["order_lots"], params["inventory_lots"]
    quotes["bid_price"] = view["bid"]
    quotes["bid_lots"] = lots if view["lots"] + lots <= cap else 0
    quotes["ask_price"] = view["ask"]
    quotes["ask_lots"] = lots if view["lots"] - lots >= -cap else 0
    return QUOTE


_REGISTRY: Final[dict[str, StrategyFunction]] = {"edge": edge, "mm1": mm1, "sma": sma}


def names() -> tuple[str, ...]:
    """Every strategy a configuration may name."""
    return tuple(sorted(_REGISTRY))


def register(name: str, function: StrategyFunction) -> None:
    """Make ``function`` usable as ``strategy.kind: name``.

    Raises BadConfig if the name is taken by another function: a name must mean one strategy.
    """
    if _REGISTRY.setdefault(name, function) is not function:
        raise BadConfig(f"strategy {name!r} is already registered: choose another name")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A strategy ready for ``core.engine``.

    ``handle`` is the address of its machine code, so that a call from Python hands over one integer (a function
    object takes 20 us to unpack); without a compiler it is the function. ``code`` keeps the machine code alive.
    """

    name: str
    handle: Any
    code: Any


def get(name: str) -> Compiled:
    """The compiled strategy ``name``. Raises BadConfig if there is none."""
    if name not in _REGISTRY:
        raise BadConfig(f"strategy.kind is {name!r}; there is {', '.join(names())}: register it before it is used")
    return _compile(name)


@functools.cache
def _compile(name: str) -> Compiled:
    function = _REGISTRY[name]
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return Compiled(name=name, handle=function, code=function)
    named = function.__module__ in sys.modules  # the disk cache finds a function again by its module's name
    code: Any = entry(function) if named else kernel(function)
    code.compile(SIGNATURE)
    (variant,) = code.overloads.values()
    address = variant.library.get_pointer_to_function(variant.fndesc.llvm_func_name)
    return Compiled(name=name, handle=address, code=code)


def _function_at(typing_context: Any, handle: Any) -> Any:
    """Compiler intrinsic: the function value whose machine code is at address ``handle``; its errors propagate."""
    function = types.FunctionType(SIGNATURE)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = context.get_value_type(types.voidptr)
        struct: Any = cgutils.create_struct_proxy
        value = struct(function)(context, builder)
        value.c_addr = context.get_constant_null(types.voidptr)
        value.py_addr = context.get_constant_null(types.voidptr)
        value.jit_addr = builder.inttoptr(arguments[0], pointer)
        return value._getvalue()

    return function(types.int64), generate


def _itself(handle: Any) -> Any:
    return handle


function_at: Any = _itself if numba.config.DISABLE_JIT else intrinsic(_function_at)  # type: ignore[attr-defined]
