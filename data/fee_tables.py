"""Fee tables of venues: one YAML a venue in ``data/fees``, with its source and date.

A venue without a table, a table without a row for some volume: both are errors. No fee is ever assumed.
"""

from pathlib import Path
from typing import Any, Final

from core.errors import BadInput
from core.fees import check_rows
from core.plain_yaml import parse_yaml
from core.settings import FeeTable, as_json, parse

FOLDER: Final = Path(__file__).parent / "fees"


def venues() -> list[str]:
    """The venues that have a table."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(venue: str) -> FeeTable:
    """The table of ``venue``. Raises BadInput if there is none, BadConfig for one with gaps or unknown keys."""
    if venue not in venues():
        raise BadInput(f"no fee table for venue {venue!r}; there is {', '.join(venues())}: add data/fees/{venue}.yaml")
    path = FOLDER / f"{venue}.yaml"
    table = parse(FeeTable, parse_yaml(path.read_bytes(), where=path.name), where=path.name)
    check_rows(table)
    return table


def resolve(fields: Any) -> Any:
    """Settings as plain data with ``execution.simulation.fees.table``, if it is a venue's name, replaced by its table.

    So what is hashed, judged and put into a manifest is the rates and not a name. Raises as ``load``.
    """
    fees = fields
    for key in ("execution", "simulation", "fees"):
        fees = fees.get(key) if isinstance(fees, dict) else None
    if isinstance(fees, dict) and isinstance(fees.get("table"), str):
        fees["table"] = as_json(load(fees["table"]))
    return fields
