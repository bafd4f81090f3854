"""What ``backtest`` and ``sweep`` read: a settings file, and what sizes a strategy that has no model."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from core.errors import BadConfig
from core.plain_yaml import parse_yaml
from core.records import BAR, MINUTE_NS
from core.settings import parse
from evaluation.rules import BASELINES, neutral_predictions
from features.spec import FeatureParams, bar_spec
from feeds.tape import Tape

# Strategies that need no model, in the form that sigma can size.
RULES: Final = {alias: rule.kind for name, rule in BASELINES.items() for alias in (name, rule.kind)}


def read_settings(path: Path, option: str) -> dict[str, Any]:
    """The sections of a YAML file. Raises BadConfig naming ``path``, and ``option`` if there is no such file."""
    try:
        data = parse_yaml(path.read_bytes(), where=str(path))
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}; give {option}") from None
    return parse(dict[str, Any], data, where=str(path))


def neutral(tape: Tape, features: dict[str, Any], horizon_minutes: int, latency_ns: int) -> np.ndarray:
    """What a rule is sized by: the feature kernel's sigma over the label horizon, as one PREDICTION a bar."""
    spec = bar_spec(parse(FeatureParams, features, where="features"), tape.interval_ns, horizon_minutes * MINUTE_NS)
    return neutral_predictions(tape.records.view(BAR), len(tape.instruments), spec, latency_ns)
