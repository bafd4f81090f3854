"""How ``python -m data`` prints rows."""

import json
import sys
from typing import Any, Final

import typer
from rich.console import Console
from rich.table import Table

WIDTH: Final = 160  # of a table that goes to a file or a pipe


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """A table with a line per row, a single row as a column of its own, or JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    if not rows:
        typer.echo("nothing to show")
        return
    if len(rows) == 1:
        table = Table(show_header=False)
        for name, value in rows[0].items():
            table.add_row(name, str(value))
    else:
        table = Table(*rows[0])
        for row in rows:
            table.add_row(*(str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
