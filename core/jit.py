"""How kernels are compiled: two decorators, and a cache that can never serve stale code.

Numba's disk cache does not notice a changed callee, a changed imported constant or another bounds-check setting; a
stale kernel would trade. So the cache folder's name is a hash over all kernel sources, Numba's version and the flags.
``NUMBA_DISABLE_JIT=1`` runs the same functions as plain Python with the same results.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numba
import numpy as np
from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.np.numpy_support import from_dtype

_FLAGS: Final[dict[str, Any]] = {"boundscheck": True, "error_model": "python", "fastmath": False}
_ROOT: Final = Path(__file__).resolve().parent.parent

F = TypeVar("F", bound=Callable[..., Any])


def kernel_hash() -> str:
    """SHA-256 over the sources of ``core``, ``features`` and ``feeds``, Numba's version and the compiler flags."""
    digest = hashlib.sha256(f"{numba.__version__} {sorted(_FLAGS.items())}".encode())
    for folder in ("core", "features", "feeds"):
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where compiled kernels of exactly these sources are kept (``PORTCULLIS_CACHE`` moves it)."""
    base = os.environ.get("PORTCULLIS_CACHE") or Path.home() / ".cache" / "portcullis"
    return Path(base) / "numba" / kernel_hash()[:16]


numba.config.CACHE_DIR = str(cache_folder())  # type: ignore[attr-defined]


def kernel(function: F) -> F:
    """A compiled function called by other kernels. Bounds are checked; integer division by zero raises."""
    compiled: Any = numba.njit(**_FLAGS)(function)
    if not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        _one_variant_for_all_constants(compiled)
    kept: F = compiled
    return kept


def inlined(function: F) -> F:
    """A kernel that always becomes part of its caller.

    For the few short ones that run for every row: what is rare in them belongs into a kernel of its own, or every
    caller grows by all of it and takes minutes to compile.
    """
    compiled: Any = numba.njit(forceinline=True, **_FLAGS)(function)
    if not numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        _one_variant_for_all_constants(compiled)
    kept: F = compiled
    return kept


_callees: Final[list[Any]] = []  # kernels that are being compiled because another one calls them


def _optimise_entries_only() -> None:
    """Optimise the code of an entry once, with all it calls, and not at every level of calls on the way there.

    Numba links the optimised code of all callees into each caller and optimises the whole again: the time grows with
    the square of the depth, minutes for this core.
    """
    library: Any = JITCodeLibrary
    optimise = library._optimize_final_module

    def optimise_entries(self: Any) -> None:
        if not _callees or self.name != _callees[-1].py_func.__qualname__:  # Numba's own helpers stay as they are
            optimise(self)

    library._optimize_final_module = optimise_entries


_optimise_entries_only()


def _one_variant_for_all_constants(compiled: Any) -> None:
    """Numba compiles a callee anew for every constant it is called with; this halves the time to compile the core."""
    call_template = compiled.get_call_template
    unliteral: Any = numba.types.unliteral

    def get_call_template(args: Any, kws: Any) -> Any:
        _callees.append(compiled)
        try:
            return call_template([unliteral(arg) for arg in args], kws)
        finally:
            _callees.pop()

    compiled.get_call_template = get_call_template


def entry(function: F) -> F:
    """A compiled function called from Python; kept on disk. Few of these: each costs a cache look-up."""
    compiled: F = numba.njit(cache=True, **_FLAGS)(function)
    return compiled


def writable(dtype: np.dtype) -> types.Array:
    """The type of a contiguous array that a kernel may write to."""
    return types.Array(from_dtype(dtype), 1, "C")


def readable(dtype: np.dtype) -> types.Array:
    """The type of a contiguous array that a kernel only reads: a tape is a read-only map, writable ones convert."""
    return types.Array(from_dtype(dtype), 1, "C", readonly=True)


@functools.cache
def compiled(function: Any, *signature: Any) -> Any:
    """``function`` compiled for exactly one ``signature``, the types of its arguments; itself without a compiler."""
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return function
    made: Any = entry(function)
    made.compile(signature)
    made.disable_compile()
    return made
