"""docs/risk.md is what the program does: its rules in their order, its settings, its reasons, its example."""

import re

from core import config, limits
from core.plain_yaml import parse_yaml
from core.records import Action, Reason, RiskState
from core.rules import RULES
from core.settings import Account, Execution, Group, Risk, Trading, parse
from tests.core.build import BTC
from tests.docs.commands import ROOT, blocks

PAGE = "docs/risk.md"
SECTIONS = {"account": Account, "execution": Execution}


def text() -> str:
    return (ROOT / PAGE).read_text(encoding="utf-8")


def table(title: str) -> list[list[str]]:
    """The cells of the first table under the heading ``title``, without its head."""
    rows = re.findall(r"^\|(.*)\|$", text().split(f"## {title}\n", 1)[1].split("\n## ", 1)[0], re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


def test_the_rules_are_the_chain_in_its_order_with_what_each_applies_to() -> None:
    said = [(row[0].strip("`"), *(cell == "yes" for cell in row[-len(Action) :])) for row in table("The chain")]
    assert said == [(reason.name, *applies) for reason, *applies in RULES]
    assert {cell for row in table("The chain") for cell in row[-len(Action) :]} == {"yes", "no"}


def test_the_settings_of_every_rule_and_limit_exist() -> None:
    named = [name for row in table("The chain") for name in re.findall(r"`([a-z_.]+)`", row[3])]
    named += [
        name for row in table("Limits of the account") for cell in row for name in re.findall(r"`([a-z_.]+)`", cell)
    ]
    assert len(named) > 30
    known = {*Risk.__struct_fields__, *Group.__struct_fields__}
    known |= {f"{section}.{key}" for section, kind in SECTIONS.items() for key in kind.__struct_fields__}
    assert [name for name in named if name not in known] == []


def test_every_limit_has_its_place_on_the_page() -> None:
    elsewhere = {"sigma_target_ppm"}  # a size, not a limit
    assert [key for key in Risk.__struct_fields__ if key not in elsewhere and f"`{key}`" not in text()] == []


def test_every_reason_and_state_it_names_is_one() -> None:
    assert [name for name in re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text()) if name not in Reason.__members__] == []
    states = {word for row in table("States") for cell in row[:2] for word in re.findall(r"\b[A-Z]{4,}\b", cell)}
    assert states == set(RiskState.__members__)


def test_the_example_is_a_possible_configuration() -> None:
    (block,) = [item for item in blocks() if (item.document, item.language) == (PAGE, "yaml")]
    risk = parse(Risk, parse_yaml(block.text, where=PAGE)["risk"], where=PAGE)
    limits.check(risk, Account().leverage_ppm)
    row = config.build(Trading(risk=risk), (BTC,))[0]
    assert (row["daily_loss_limit_ppm"], row["total_loss_limit_ppm"]) == (45_000, 90_000)


def test_every_module_and_test_it_names_exists() -> None:
    named = re.findall(r"`((?:core|tests)/[\w/]+\.py)`", text())
    assert len(named) >= 8
    assert [name for name in named if not (ROOT / name).is_file()] == []
