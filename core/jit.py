"""How kernels are compiled: two decorators, and a cache that can never serve stale code.

Numba's disk cache does not notice a changed callee, a changed imported constant or another bounds-check setting; a
stale kernel would trade. So the cache folder's name is a hash over all kernel sources, Numba's version and the flags.
``NUMBA_DISABLE_JIT=1`` runs the same functions as plain Python with the same results.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numba
import numpy as np
from numba.core import types
from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
from numba.core.environment import Environment
from numba.np.numpy_support import from_dtype

from core.errors import require

_FLAGS: Final[dict[str, Any]] = {"boundscheck": True, "error_model": "python", "fastmath": False}
_ROOT: Final = Path(__file__).resolve().parent.parent

COMPILES: Final = not bool(numba.config.DISABLE_JIT)  # type: ignore[attr-defined]  # the option is set at run time

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
    return _callee(function)


def inlined(function: F) -> F:
    """A kernel that always becomes part of its caller.

    For the few short ones that run for every row: what is rare in them belongs into one kernel of its own, or every
    caller grows by all of it and takes minutes to compile. One: for every call in here, made or not, Numba clears a
    place for its result and one for its error whenever a row's work begins.
    """
    return _callee(function, forceinline=True)


def rare(function: F) -> F:
    """A kernel that never becomes part of its caller: what seldom runs would make what always runs slow to enter."""
    return _callee(function, is_rare=True)


_callees: Final[list[Any]] = []  # kernels that are being compiled because another one calls them


_rare: Final[set[Any]] = set()


def _callee(function: F, *, is_rare: bool = False, forceinline: bool = False) -> F:
    """``function`` for compiled callers and, apart from that, for Python.

    What compiled code calls has no wrapper for Python and no machine code of its own: it is only ever a part of the
    entry that calls it. Constants do not make a variant each, which halves the time to compile the core.
    """
    flags: dict[str, Any] = {**_FLAGS, "forceinline": forceinline}  # unset, it would be inherited from the caller
    from_python: Any = numba.njit(**flags)(function)
    if COMPILES:
        njit: Any = numba.njit
        part = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **flags)(function)
        unliteral: Any = numba.types.unliteral
        if is_rare:
            _rare.add(part)

        def get_call_template(args: Any, kws: Any) -> Any:
            _callees.append(part)
            try:
                return part.get_call_template([unliteral(arg) for arg in args], kws)
            finally:
                _callees.pop()

        from_python.get_call_template = get_call_template
        from_python.get_overload = part.get_overload
    kept: F = from_python
    return kept


def _link_entries_only() -> None:
    """Link, optimise and translate the code of an entry once, with all it calls, not at every level of calls below it.

    Numba links the optimised code of all callees into each caller, optimises the whole and makes machine code of it,
    again at each level: the time grows with the square of the depth, minutes for this core.
    """
    library: Any = JITCodeLibrary
    codegen: Any = JITCPUCodegen
    environments: Any = Environment._memo  # by name, as ``numba.core.environment.lookup_environment`` reads it
    finalize, set_env = library.finalize, codegen.set_env

    def finalize_entry(self: Any) -> None:
        if _callees and self.name == _callees[-1].py_func.__qualname__:
            for made in self._final_module.functions:
                if _callees[-1] in _rare and not made.is_declaration:
                    made.add_function_attribute("noinline")
            self._finalized = True  # nothing may be added; its entry takes it as it is
            return
        self._linking_libraries = _all_below(self)
        finalize(self)
        missing = [part.name for part in self._final_module.functions if part.is_declaration and part.name[:3] == "_ZN"]
        require(not missing, f"{self.name}: {', '.join(missing)}: called, but not linked")
        for variable in self._final_module.global_variables:
            environment = environments.get(variable.name)
            if environment is not None:
                set_env(self.codegen, variable.name, environment)

    def set_env_of_code(self: Any, name: str, environment: Any) -> None:
        if self._engine.get_global_value_address(name) != 0:  # else its entry does
            set_env(self, name, environment)

    library.finalize, codegen.set_env = finalize_entry, set_env_of_code


def _all_below(library: Any) -> list[Any]:
    """Every library that ``library`` links, or that one that was left unlinked would; callers before what they call.

    The linker takes from a library only what is asked for already, so the order is not a matter of taste.
    """
    ordered: list[Any] = []
    seen = {library}
    path = [(library, iter(library._linking_libraries))]
    while path:
        above, below = path[-1]
        for other in below:
            if other not in seen:
                seen.add(other)
                path.append((other, iter(other._linking_libraries)))
                break
        else:
            ordered.append(above)
            path.pop()
    return ordered[-2::-1]  # from the last one done to the first, without ``library`` itself


_link_entries_only()


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


_made: Final[dict[Any, Any]] = {}


def compiled(function: Any, *signature: Any) -> Any:
    """``function`` compiled for ``signature``, the types of its arguments; itself without a compiler.

    An entry has one signature, so it is found by the function alone: hashing the types took microseconds a call.
    """
    made = _made.get(function)
    if made is None:
        made = function
        if COMPILES:
            made = entry(function)
            made.compile(signature)
            made.disable_compile()
        _made[function] = made
    return made
