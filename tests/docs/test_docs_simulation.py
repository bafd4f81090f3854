"""What docs/simulation.md shows as settings are settings, and the tables it names exist."""

import re

import pytest

from core import simulation
from core.plain_yaml import parse_yaml
from core.settings import Execution, parse
from data import fee_tables
from tests.docs.commands import ROOT, blocks

PAGE = "docs/simulation.md"


def shown() -> Execution:
    """The execution section of the page's YAML block."""
    (block,) = [item for item in blocks() if (item.document, item.language) == (PAGE, "yaml")]
    fields = fee_tables.resolve(parse_yaml(block.text, where=PAGE))
    return parse(Execution, fields["execution"], where=PAGE)


def test_the_settings_shown_are_settings() -> None:
    execution = shown()
    simulation.build(execution)
    assert execution.simulation.fees is not None and execution.simulation.fees.table.venue == "binance"


def test_every_model_has_its_key_on_the_page() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert [key for key in Execution().simulation.__struct_fields__ if key not in text] == []


@pytest.mark.parametrize("kind", ["risk_averse", "power", "logarithm"])
def test_every_queue_model_is_on_the_page(kind: str) -> None:
    assert f"`{kind}`" in (ROOT / PAGE).read_text(encoding="utf-8")


def test_every_module_and_test_it_names_exists() -> None:
    named = re.findall(r"`((?:core|data|tests)/[\w/*]+\.(?:py|yaml))`", (ROOT / PAGE).read_text(encoding="utf-8"))
    assert len(named) >= 8
    assert [name for name in named if "*" not in name and not (ROOT / name).is_file()] == []
