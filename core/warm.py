"""``python -m core.warm``: compile every entry of the core now, so that no session waits for the compiler.

``make setup`` and ``runner doctor`` do it. One process compiles what the entries share once; two sessions that start
without would each compile all they need.
"""

import sys
import time
from collections.abc import Iterator

from core import engine, marks, replay, strategies, ticks
from core.jit import cache_folder, compiled


def entries() -> Iterator[tuple[str, float]]:
    """(name, seconds) of every entry and built-in strategy, each compiled or loaded as it is reached."""
    for module in (engine, ticks, replay, marks):
        for function, signature in module.ENTRIES.items():
            begun = time.perf_counter()
            compiled(function, *signature)
            yield f"{module.__name__}.{function.__name__}", time.perf_counter() - begun
    for name in strategies.names():
        begun = time.perf_counter()
        strategies.get(name)
        yield f"strategy {name}", time.perf_counter() - begun


def main() -> None:
    """Say what is compiled, while it is."""
    begun = time.perf_counter()
    sys.stdout.write(f"kernels in {cache_folder()}\n")
    for name, seconds in entries():
        sys.stdout.write(f"{seconds:8.2f} s  {name}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{time.perf_counter() - begun:8.2f} s  in all\n")


if __name__ == "__main__":
    main()
