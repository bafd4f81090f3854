"""Warming reaches every entry: nothing of the core is left to be compiled when a session begins."""

import ast
from pathlib import Path

from core import engine, marks, replay, stepwise, strategies, ticks, warm

CORE = Path(engine.__file__).parent


def test_every_compiled_entry_is_warmed() -> None:
    """``compiled`` is called in these modules alone, and only for functions of their ENTRIES."""
    calling = {
        path.stem
        for path in CORE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "compiled"
    }
    assert calling == {"engine", "ticks", "stepwise", "replay", "marks", "warm"}
    names = list(warm.entries())
    modules = (engine, ticks, stepwise, replay, marks)
    expected = [f"{module.__name__}.{function.__name__}" for module in modules for function in module.ENTRIES]
    assert names == expected + [f"strategy {name}" for name in strategies.names()]
