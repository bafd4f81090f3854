"""Asking for memory before it is needed: a row of a tape that the loop comes to soon.

A session touches each row once, in order, with a few hundred instructions between two rows: too many for the processor
to look ahead by itself. Changes no result.
"""

from typing import Any, Final

import numba
from llvmlite import ir
from numba.core import types
from numba.core.cgutils import int32_t
from numba.extending import intrinsic

ROWS_AHEAD: Final = 24


def _prefetch(typing_context: Any, record: Any) -> Any:
    """Compiler intrinsic: have the processor fetch the line at which ``record`` begins, for reading."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.bitcast(arguments[0], context.get_value_type(types.voidptr))
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, int32_t, int32_t, int32_t])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        for_reading, keep, data = int32_t(0), int32_t(3), int32_t(1)
        builder.call(prefetch, [pointer, for_reading, keep, data])
        return context.get_dummy_value()

    return types.void(record), generate


def _nothing(record: Any) -> None:
    """Without a compiler there is nothing to gain."""


prefetch: Any = _nothing if numba.config.DISABLE_JIT else intrinsic(_prefetch)  # type: ignore[attr-defined]
