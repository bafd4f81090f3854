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
    """SHA-256 over the sources of ``core`` and ``features``, Numba's version and the compiler flags."""
    digest = hashlib.sha256(f"{numba.__version__} {sorted(_FLAGS.items())}".encode())
    for folder in ("core", "features"):
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
    compiled: F = numba.njit(**_FLAGS)(function)
    return compiled


def entry(function: F) -> F:
    """A compiled function called from Python; kept on disk. Few of these: each costs a cache look-up."""
    compiled: F = numba.njit(cache=True, **_FLAGS)(function)
    return compiled
