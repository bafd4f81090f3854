import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.canonical import canonical_json, hash_json

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(plain)
def test_serialise_parse_serialise_is_the_identity(value: object) -> None:
    data = canonical_json(value)
    assert canonical_json(json.loads(data)) == data


def test_key_order_does_not_matter_and_the_hash_is_pinned() -> None:
    assert canonical_json({"b": 1, "a": [None, "é"]}) == '{"a":[null,"é"],"b":1}'.encode()
    assert hash_json({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@pytest.mark.parametrize("value", [1.5, {"a": [float("nan")]}, {"a": {"b": 0.0}}])
def test_floats_are_refused_with_their_place(value: object) -> None:
    with pytest.raises(TypeError, match="canonical JSON holds integers and decimal strings only"):
        canonical_json(value)


def test_keys_are_strings() -> None:
    with pytest.raises(TypeError, match="keys of canonical JSON are strings"):
        canonical_json({1: "a"})
