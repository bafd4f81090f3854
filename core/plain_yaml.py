"""YAML without its surprises: what every settings file of this program is read with.

YAML guesses types: ``010`` is eight, ``1:30`` is ninety, ``1_000`` is a thousand, ``no`` is false and of two equal
keys the last one wins. In a file that sets risk limits each of these is a mistake, so the loader knows plain decimal
numbers, ``true``, ``false`` and ``null`` only, takes everything else as text (which the typed sections then refuse)
and refuses duplicate keys.
"""

import re
from typing import Any, Final

import yaml

from core.errors import BadConfig

_KINDS: Final = ("null", "bool", "int", "float", "str", "seq", "map")  # no dates, sets, binaries even when tagged
_SCALARS: Final = (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"-?(0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+", list("-0123456789")),
)


def parse_yaml(text: bytes | str, *, where: str) -> Any:
    """``text`` as plain data. Raises BadConfig naming ``where`` for broken YAML, other encodings and duplicate keys."""
    try:
        return yaml.load(text.decode() if isinstance(text, bytes) else text, _PlainLoader)
    except BadConfig as error:
        raise BadConfig(f"{where}: {error}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, a number of 5,000 digits
        raise BadConfig(f"{where}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise BadConfig(f"{where}: not YAML that this program reads: nested too deeply") from None


class _PlainLoader(yaml.SafeLoader):
    """A SafeLoader that knows fewer scalars and refuses duplicate keys."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way to declare them
    yaml_constructors = {  # noqa: RUF012
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in _KINDS
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise BadConfig(f"line {key.start_mark.line + 1}: the key {key.value!r} is given twice; keep one")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


for _kind, _pattern, _first in _SCALARS:
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"^(?:{_pattern})$"), _first)
