"""``python -m core.warm``: compile every entry of the core now, so that no session waits for the compiler.

``make setup`` and ``runner doctor`` do it. One process compiles what the entries share once; two sessions that start
without would each compile all they need.
"""

import sys
from collections.abc import Iterator

from core import engine, marks, replay, stepwise, strategies, ticks
from core.jit import cache_folder, compiled


def entries() -> Iterator[str]:
    """The name of every entry and built-in strategy, each compiled or loaded before it is named."""
    for module in (engine, ticks, stepwise, replay, marks):
        for function, signature in module.ENTRIES.items():
            compiled(function, *signature)
            yield f"{module.__name__}.{function.__name__}"
    for name in strategies.names():
        strategies.get(name)
        yield f"strategy {name}"


def main() -> None:
    """Say what is compiled, as soon as it is."""
    sys.stdout.write(f"kernels in {cache_folder()}\n")
    for name in entries():
        sys.stdout.write(f"  {name}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
