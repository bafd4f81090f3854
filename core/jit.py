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

_FLAGS: Final[dict[str, Any]] = {"boundscheck": True, "error_model": "python", "fastmath": False}
_ROOT: Final = Path(__file__).resolve().parent.parent

F = TypeVar("F", bound=Callable[..., Any])


def kernel_hash() -> str:
    """SHA-256 over the sources of ``core``, ``features`` and ``feeds``, Numba's version and the compiler flags."""
    digest = hashlib.sha256(f"{numba.__version__} {sorted(_FLAGS.items())}".encode())
    for folder in ("core", "features", "feeds"):
        for path in sorted((_ROOT / folder).glob("*.py")):
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


def _one_variant_for_all_constants(compiled: Any) -> None:
    """Numba compiles a callee anew for every constant it is called with; this halves the time to compile the core."""
    call_template = compiled.get_call_template
    unliteral: Any = numba.types.unliteral

    def get_call_template(args: Any, kws: Any) -> Any:
        return call_template([unliteral(arg) for arg in args], kws)

    compiled.get_call_template = get_call_template


def entry(function: F) -> F:
    """A compiled function called from Python; kept on disk. Few of these: each costs a cache look-up."""
    compiled: F = numba.njit(cache=True, **_FLAGS)(function)
    return compiled
