"""Small faults, one at a time: every mutant of a module of ``core`` as a changed syntax tree.

The faults are those that hurt money code: a comparison that is off by its boundary or turned round, arithmetic with
another operator, a constant off by one, a condition negated, ``min`` for ``max``, rounding the other way, buying for
selling, a statement, an argument's sign or a table's row left out. What cannot change behaviour (documentation, types,
messages of errors) is left alone.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_NAMES = {"min": "max", "max": "min", "UP": "DOWN", "DOWN": "UP", "BUY": "SELL", "SELL": "BUY"}


@dataclass(frozen=True)
class Mutant:
    """One fault: where it is, what it says, and the whole module with it."""

    module: str  # its name below ``core``
    function: str  # "" for the module's own statements
    lines: range  # of the statement it is in; of the head of a compound one
    change: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Stable while the code around the fault stands: it names no line."""
        return f"{self.module}.{self.function or '(module)'}: {self.change}"

    @property
    def line(self) -> int:
        """Where to look."""
        return self.lines.start


Edit = tuple[str, Callable[[ast.AST], ast.AST]]  # what is changed, how; the node given is a copy


def mutants(module: str) -> list[Mutant]:
    """Every mutant of ``core/<module>.py``, in the order of its lines; equal names are numbered."""
    source = (ROOT / "core" / f"{module}.py").read_text()
    tree, found, seen = ast.parse(source), list[Mutant](), dict[str, int]()
    for path, node, function, lines in _walk(tree, (), "", range(0)):
        for what, change in _edits(node):
            altered = copy.deepcopy(tree)
            old = ast.unparse(node)
            new = _replace(altered, path, change)
            said = f"{_short(old)} -> {what or _short(new)}"
            seen[function + said] = seen.get(function + said, 0) + 1
            number = seen[function + said]
            said += f" #{number}" if number > 1 else ""
            found.append(Mutant(module, function, lines, said, ast.fix_missing_locations(altered)))
    return found


def _short(code: str) -> str:
    line = " ".join(code.split())
    return line if len(line) <= 90 else line[:87] + "..."


Path_ = tuple[tuple[str, int | None], ...]  # fields, and places in lists, from the module down to a node


def _walk(node: ast.AST, path: Path_, function: str, lines: range) -> Iterator[tuple[Path_, ast.AST, str, range]]:
    """Every node that may be changed, with the way to it, the function and the lines of the statement it is in."""
    if isinstance(node, ast.stmt):
        lines = range(node.lineno, _end_of_head(node) + 1)
    yield path, node, function, lines
    if isinstance(node, ast.FunctionDef):
        function = node.name
    for field, value in ast.iter_fields(node):
        if _is_left_alone(node, field):
            continue
        children = value if isinstance(value, list) else [value]
        for place, child in enumerate(children):
            if isinstance(child, ast.AST) and not _is_documentation(child):
                step = (field, place if isinstance(value, list) else None)
                yield from _walk(child, (*path, step), function, lines)


def _end_of_head(statement: ast.stmt) -> int:
    if isinstance(statement, ast.If | ast.While):
        return statement.test.end_lineno or 0
    if isinstance(statement, ast.For):
        return statement.iter.end_lineno or 0
    return statement.end_lineno or 0


def _is_left_alone(node: ast.AST, field: str) -> bool:
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.ClassDef):
        return True
    return field in ("annotation", "returns", "decorator_list", "args") and isinstance(
        node, ast.FunctionDef | ast.AnnAssign | ast.arguments
    )


def _is_documentation(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _edits(node: ast.AST) -> Iterator[Edit]:
    """The ways to change ``node`` itself."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in _COMPARE.get(type(operator), ()):
                yield "", _setter(lambda n, place=place, other=other: n.ops.__setitem__(place, other()))
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _ARITHMETIC:
        other_operator = _ARITHMETIC[type(node.op)]
        yield "", _setter(lambda n: setattr(n, "op", other_operator()))
    elif isinstance(node, ast.BoolOp):
        swapped = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield "", _setter(lambda n: setattr(n, "op", swapped()))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield "", lambda n: n.operand  # type: ignore[attr-defined]
    elif isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in _NAMES:
        yield "", _setter(lambda n: setattr(n, "id", _NAMES[n.id]))
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "abs":
        yield "", lambda n: n.args[0]  # type: ignore[attr-defined]
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield "negated", _setter(lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test)))
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        for place in range(len(node.keys)):
            yield f"without {ast.unparse(node.keys[place] or node)}", _setter(lambda n, place=place: _drop(n, place))
    if _may_go(node):
        yield "(removed)", lambda n: ast.Pass()


def _constants(node: ast.Constant) -> Iterator[Edit]:
    if isinstance(node.value, bool):
        yield "", _setter(lambda n: setattr(n, "value", not n.value))
    elif isinstance(node.value, int):
        yield "", _setter(lambda n: setattr(n, "value", n.value + 1))
        yield "", _setter(lambda n: setattr(n, "value", n.value - 1))


def _may_go(node: ast.AST) -> bool:
    """A statement without which the function still is one. Plain assignments to names would only fail loudly."""
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Subscript) for target in node.targets)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Return):
        return node.value is None
    return isinstance(node, ast.AugAssign | ast.Raise | ast.Break | ast.Continue)


def _setter(change: Callable[..., object]) -> Callable[[ast.AST], ast.AST]:
    def apply(node: ast.AST) -> ast.AST:
        change(node)
        return node

    return apply


def _drop(table: ast.Dict, place: int) -> None:
    del table.keys[place], table.values[place]


def _replace(tree: ast.AST, path: Path_, change: Callable[[ast.AST], ast.AST]) -> str:
    """Change the node at ``path`` of ``tree`` in place; the new code."""
    if not path:
        return ast.unparse(change(tree))
    parent = tree
    for field, place in path[:-1]:
        value = getattr(parent, field)
        parent = value if place is None else value[place]
    field, place = path[-1]
    value = getattr(parent, field)
    made = change(value if place is None else value[place])
    if place is None:
        setattr(parent, field, made)
    else:
        value[place] = made
    return "" if isinstance(made, ast.Pass) else ast.unparse(ast.fix_missing_locations(made))
