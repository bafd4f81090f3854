"""Typed names for one record: the same 64 bytes under the field names of its kind (``core.records``)."""

from typing import Any, Final

import numpy as np
from numba.core import types
from numba.extending import intrinsic
from numba.np.numpy_support import from_dtype

from core.jit import COMPILES
from core.records import (
    BAR,
    CLEAR,
    COMMAND,
    FILL,
    FUNDING,
    INTENT,
    LEVEL,
    ORDER,
    PREDICTION,
    STATUS,
    TOP,
    TRADE,
    TRANSFER,
)


def _cast_to(dtype: np.dtype) -> Any:
    """A function of one record (any record dtype) that gives it under ``dtype``; compiled it costs nothing.

    Compiled it is the same memory, otherwise a copy: use it to read.
    """
    if not COMPILES:
        return lambda record: np.frombuffer(record.tobytes(), dtype)[0]
    target = from_dtype(dtype)

    def cast(typing_context: Any, record: Any) -> Any:
        if not isinstance(record, types.Record):
            return None
        return target(record), lambda context, builder, signature, arguments: arguments[0]

    return intrinsic(cast)


as_bar: Final = _cast_to(BAR)
as_prediction: Final = _cast_to(PREDICTION)
as_command: Final = _cast_to(COMMAND)
as_order: Final = _cast_to(ORDER)
as_fill: Final = _cast_to(FILL)
as_intent: Final = _cast_to(INTENT)
as_level: Final = _cast_to(LEVEL)
as_top: Final = _cast_to(TOP)
as_trade: Final = _cast_to(TRADE)
as_clear: Final = _cast_to(CLEAR)
as_status: Final = _cast_to(STATUS)
as_funding: Final = _cast_to(FUNDING)
as_transfer: Final = _cast_to(TRANSFER)
