"""YAML without surprises: what it gives, and that nothing but BadConfig comes out of bad text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadConfig
from core.plain_yaml import parse_yaml


def test_plain_values() -> None:
    text = b"a: no\nb: 1e3\nc: true\nd: null\ne: -4\nf: 2001-01-01\ng: 1_000\nh: 010\ni: 1:30\nj: 0.5\nk: .nan\n"
    assert parse_yaml(text, where="x") == {
        "a": "no", "b": "1e3", "c": True, "d": None, "e": -4, "f": "2001-01-01", "g": "1_000", "h": "010", "i": "1:30",
        "j": 0.5, "k": ".nan",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", r"^x: line 2: the key 'a' is given twice; keep one$"),
        ("s:\n  a: 1\n  'a': 2", "line 3: the key 'a' is given twice"),
        ("a: [", "not YAML"),
        ("? [a]\n: 1", "not YAML"),
        ("a: !!timestamp soon", "not YAML.*timestamp"),
        ("a: !!python/object:os.system 1", "not YAML"),
        ("a: " + "1" * 5_000, "not YAML.*limit"),
        ("[" * 3_000, "not YAML"),
        (b"\xff\xfe", "not YAML.*utf-8"),
        ("a: \x00", "not YAML"),
    ],
)
def test_bad_text_is_one_line_that_names_the_file(text: bytes | str, words: str) -> None:
    with pytest.raises(BadConfig, match=words) as caught:
        parse_yaml(text, where="x")
    assert str(caught.value).startswith("x: ") and "\n" not in str(caught.value)


@given(st.one_of(st.text(alphabet="ab:-?!&*[]{}#\n '\"\t0.", max_size=40), st.binary(max_size=30)))
def test_nothing_else_comes_out(text: bytes | str) -> None:
    try:
        parse_yaml(text, where="x")
    except BadConfig as error:
        assert str(error).startswith("x: ")
