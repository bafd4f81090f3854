"""Asking for memory before it is needed: the rows of a tape that a loop comes to soon.

A session touches each row once, in order, with hundreds of instructions between two rows: too many for the processor to
look ahead by itself. Changes no result.
"""

from typing import Any, Final

from llvmlite import ir
from numba.core import types
from numba.core.cgutils import int32_t
from numba.extending import intrinsic

from core.jit import COMPILES

ROWS_AHEAD: Final = 24


def _fetch(context: Any, builder: Any, pointer: Any) -> Any:
    """Have the processor fetch the line of ``pointer``, for reading, and keep it."""
    pointer = builder.bitcast(pointer, context.get_value_type(types.voidptr))
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, int32_t, int32_t, int32_t])
    for_reading, keep, data = int32_t(0), int32_t(3), int32_t(1)
    builder.call(builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind), [
        pointer, for_reading, keep, data,
    ])  # fmt: skip
    return context.get_dummy_value()


def _row(typing_context: Any, record: Any) -> Any:
    """Compiler intrinsic: the line at which ``record`` begins."""
    return types.void(record), lambda context, builder, signature, arguments: _fetch(context, builder, arguments[0])


def _nothing(record: Any) -> None:
    """Without a compiler there is nothing to gain."""


prefetch_row: Any = intrinsic(_row) if COMPILES else _nothing
