from pathlib import Path

import pytest
import yaml

from core.errors import BadConfig
from core.settings import Trading, as_json, parse

PARAMS = Path(__file__).parents[2] / "params.yaml"
SECTIONS = ("account", "execution", "strategy", "risk")


def test_the_default_parameters_parse_and_round_trip() -> None:
    fields = {name: yaml.safe_load(PARAMS.read_text())[name] for name in SECTIONS}
    trading = parse(Trading, fields, where="params.yaml")
    assert parse(Trading, as_json(trading), where="again") == trading


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"risk": {"daily_stop_pmm": 1}},
            r"params.yaml: Object contains unknown field `daily_stop_pmm` - at `\$.risk`",
        ),
        ({"risk": {"daily_stop_ppm": "2%"}}, "Expected `int`, got `str`"),
        ({"risk": {"daily_stop_ppm": 0.02}}, "Expected `int`, got `float`"),
        ({"account": {"initial_cash": 1e5}}, "Expected `str`, got `float`.*decimals are quoted"),
        ({"acount": {}}, "unknown field `acount`"),
    ],
)
def test_unknown_keys_and_wrong_types_name_the_key(fields: dict[str, object], words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        parse(Trading, fields, where="params.yaml")
