from pathlib import Path

import pytest
import yaml

from core.errors import BadConfig
from core.settings import Trading, as_json, decimal, parse, within

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


@pytest.mark.parametrize("text", ["", "abc", "nan", "sNaN", "inf", "-inf", "-0.1", "10.1", "1e400", "1/3"])
def test_a_decimal_out_of_its_range_names_key_value_and_limits(text: str) -> None:
    with pytest.raises(BadConfig) as caught:
        decimal("labels.dead_zone_sigma", text, "0", "10")
    assert str(caught.value).startswith(f"labels.dead_zone_sigma is {text!r}; it must be a decimal in [0, 10]")


def test_both_ends_of_a_range_belong_to_it() -> None:
    assert decimal("x", "0", "0", "1e1") == 0 and decimal("x", "10", "0", "1e1") == 10
    within("x", 1, 1, 3)
    within("x", 3, 1, 3)
    for value in (0, 4, 10**30):
        with pytest.raises(BadConfig, match=rf"x is {value}; it must lie in \[1, 3\]"):
            within("x", value, 1, 3)
