"""How strategies are compiled: against one explicit signature, so that a new one never recompiles the engine.

The engine takes the addresses of their machine code, one per instrument, as a record: what a handle costs in its loop
is one load, whether one strategy trades everything or each instrument has its own.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from core.jit import COMPILES, entry, kernel, readable
from core.layout import HANDLES, INSTRUMENTS_MAX, MEMORY, PARAMS, PROPOSAL, VIEW
from core.strategies.wants import StrategyFunction

SIGNATURE: Final = types.int64(from_dtype(PARAMS), from_dtype(MEMORY), from_dtype(VIEW), from_dtype(PROPOSAL))
HANDLE: Final = readable(HANDLES)  # the type of ``Compiled.handle`` in an entry's signature


@dataclass(frozen=True, slots=True)
class Compiled:
    """The strategies of an account, ready for ``core.engine``.

    ``handle``: (1,) HANDLES, the address of each instrument's machine code, so that a call from Python hands over one
    array (a function object takes 20 us to unpack); without a compiler the functions stand there themselves.
    ``code`` keeps the machine code alive.
    """

    name: str
    handle: Any
    code: Any


def compile_all(functions: Sequence[tuple[str, StrategyFunction]]) -> Compiled:
    """One (name, function) per instrument; the last one also serves every instrument after it."""
    made = [_compile(function) for _, function in functions]
    made += made[-1:] * (INSTRUMENTS_MAX - len(made))
    name = "+".join(dict.fromkeys(name for name, _ in functions))
    if not COMPILES:
        return Compiled(name=name, handle=[{"addresses": [address for address, _ in made]}], code=None)
    handle = np.zeros(1, HANDLES)
    handle["addresses"] = [address for address, _ in made]
    handle.flags.writeable = False
    return Compiled(name=name, handle=handle, code=tuple(code for _, code in made))


@functools.cache
def _compile(function: StrategyFunction) -> tuple[Any, Any]:
    """(address, code) of ``function``; without a compiler (itself, itself)."""
    if not COMPILES:
        return function, function
    named = function.__module__ in sys.modules  # the disk cache finds a function again by its module's name
    code: Any = entry(function) if named else kernel(function)
    code.compile(SIGNATURE)
    (variant,) = code.overloads.values()
    return variant.library.get_pointer_to_function(variant.fndesc.llvm_func_name), code


def _function_at(typing_context: Any, address: Any) -> Any:
    """Compiler intrinsic: the function value whose machine code is at ``address``; its errors propagate."""
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


def _itself(address: Any) -> Any:
    return address


function_at: Any = intrinsic(_function_at) if COMPILES else _itself
