"""``params.yaml``, parsed once into frozen typed sections. Every stage takes its own section from here.

YAML guesses types: ``010`` is eight, ``1:30`` is ninety, ``1_000`` is a thousand, ``no`` is false and of two equal
keys the last one wins. In a file that sets risk limits each of these is a mistake, so the loader knows plain decimal
numbers, ``true``, ``false`` and ``null`` only, takes everything else as text (which the typed sections then refuse)
and refuses duplicate keys.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from core.canonical import hash_json
from core.errors import BadConfig
from core.settings import Account, Execution, Risk, Section, Strategy, Trading, as_json, parse
from data.settings import DataParams
from evaluation.settings import EvaluationParams
from features.spec import FeatureParams
from training.labels import LabelParams
from training.settings import ModelParams, TrainingParams
from training.splits import SplitParams


class Params(Section, frozen=True, kw_only=True):
    """The whole of ``params.yaml``; field names are its top-level keys."""

    seed: int
    workers: int = 1  # processes for folds; never changes a result
    data: DataParams
    features: FeatureParams
    labels: LabelParams
    splits: SplitParams
    model: ModelParams
    training: TrainingParams
    account: Account
    execution: Execution
    strategy: Strategy
    risk: Risk
    evaluation: EvaluationParams

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise BadConfig(f"seed is {self.seed}; it must lie in [0, 2^63)")
        if not 1 <= self.workers <= 1_024:
            raise BadConfig(f"workers is {self.workers}; it must lie in [1, 1024]")

    @property
    def trading(self) -> Trading:
        """What the compiled core is configured by: the sections account, execution, strategy and risk."""
        return Trading(account=self.account, execution=self.execution, strategy=self.strategy, risk=self.risk)

    @property
    def params_hash(self) -> str:
        """SHA-256 over every value except ``workers``, which may not change a result."""
        return hash_json({name: value for name, value in as_json(self).items() if name != "workers"})


def load(path: Path | str = "params.yaml") -> Params:
    """Parse ``path``. Raises BadConfig naming the file and the key for anything unknown, missing or mistyped."""
    return parse(Params, read_yaml(path), where=str(path))


def read_yaml(path: Path | str) -> Any:
    """``path`` as plain data. Raises BadConfig for a missing file, broken YAML or a duplicate key."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path}: cannot be read ({error}); run from the repository's root") from None
    try:
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, BadConfig) as error:
        raise BadConfig(f"{path}: {error}") from None


class _StrictLoader(yaml.SafeLoader):
    """A SafeLoader that knows fewer scalars and refuses duplicate keys."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own way to declare them

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise BadConfig(f"line {key.start_mark.line + 1}: the key {key.value!r} is given twice; keep one")
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"null|~|", ["n", "~", ""]),
    ("bool", r"true|false", list("tf")),
    ("int", r"-?(0|[1-9][0-9]*)", list("-0123456789")),
    ("float", r"-?(0|[1-9][0-9]*)\.[0-9]+", list("-0123456789")),
):
    _StrictLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)
