"""What the runner's commands share: their options, and how they print."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from runner import show

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home", envvar="PORTCULLIS_HOME", help="Folder with trust/ and runs/.", show_default="~/.portcullis"
    ),
]
RunOption = Annotated[str | None, typer.Option("--run", help="Name of the run; the latest if left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print plain data for programs.")]
BundleOption = Annotated[
    Path | None, typer.Option("--bundle", help="Bundle folder; <store>/promoted if left out.", show_default=False)
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder with the `promoted` pointer.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="YAML that changes keys of what was judged.", show_default=False)
]
DEFAULT_HOME: Final = Path.home() / ".portcullis"
DEFAULT_STORE: Final = Path("models")


def print_view(as_data: bool, data: Any, view: Any) -> None:
    """``data`` for programs, or ``view`` for people."""
    if as_data:
        print_json(data)
    else:
        show.console().print(view)


def print_json(data: Any) -> None:
    """``data`` for programs."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
