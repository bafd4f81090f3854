"""Strategies: plug-in functions that say what they want; sizing and risk decide what they get.

A strategy is a plain function ``(params, memory, event, bar, prediction) -> want`` over records of dtype PARAMS,
MEMORY, BAR and PREDICTION (``core.layout``, ``core.records``). ``event`` is the kind of the record that has just
arrived, BAR or PREDICTION; the other record is the instrument's latest. ``memory["words"]`` holds 256 int64 of its
own per instrument, zero at the start. It returns NO_OPINION for an event it does not act on. It may neither loop over
data nor keep state elsewhere, and uses integers only. ``docs/extending/strategy.py`` adds one.

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
from core.layout import MEMORY, MEMORY_WORDS, PARAMS
from core.records import BAR, PPM, PREDICTION, Kind

NO_OPINION: Final = 0  # this event is none of its business
HOLD: Final = 1  # stay as you are
LONG: Final = 2
FLAT: Final = 3

ON_BAR: Final = int(Kind.BAR)
ON_PREDICTION: Final = int(Kind.PREDICTION)

SIGNATURE: Final = types.int64(
    from_dtype(PARAMS), from_dtype(MEMORY), types.int64, from_dtype(BAR), from_dtype(PREDICTION)
)

StrategyFunction = Callable[[np.void, np.void, int, np.void, np.void], int]

SMA_HEAD: Final = 3  # words of memory before the ring of closes
SMA_WINDOW_MAX: Final = MEMORY_WORDS - SMA_HEAD


def edge(params: np.void, memory: np.void, event: int, bar: np.void, prediction: np.void) -> int:
    """Enter when the edge earned over the expected holding time pays the round trip with a margin.

    LONG if edge x hold_horizons >= margin x round-trip cost; FLAT if one horizon's edge is at most exit_edge_ppm.
    """
    if event != ON_PREDICTION:
        return NO_OPINION
    if prediction["edge_ppm"] <= params["exit_edge_ppm"]:
        return FLAT
    if prediction["edge_ppm"] * params["hold_horizons"] * PPM >= params["entry_margin_ppm"] * params["cost_ppm"]:
        return LONG
    return HOLD


def sma(params: np.void, memory: np.void, event: int, bar: np.void, prediction: np.void) -> int:
    """Crossover of two simple moving averages of closes, exact in integers: LONG while fast > slow, else FLAT."""
    if event != ON_BAR:
        return NO_OPINION
    words = memory["words"]  # bars seen, sum of the last fast closes, sum of the last slow closes, ring of slow closes
    seen, fast, slow = words[0], params["fast"], params["slow"]
    slot = SMA_HEAD + seen % slow
    if seen >= fast:
        words[1] -= words[SMA_HEAD + (seen - fast) % slow]
    words[2] -= words[slot]
    words[slot] = bar["close"]
    words[1] += bar["close"]
    words[2] += bar["close"]
    words[0] = seen + 1
    if seen + 1 < slow:
        return NO_OPINION
    return LONG if words[1] * slow > words[2] * fast else FLAT


_REGISTRY: Final[dict[str, StrategyFunction]] = {"edge": edge, "sma": sma}


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
