"""``gates.yaml``: which limits a kind of model is held to. Parsed strictly; what cannot be understood stops everything.

``gates:`` carries the eleven fixed keys for microstructure models (the profile ``micro_model``), ``profiles:`` the
gates of other kinds. A gate's direction is in its name: ``_min`` or ``_max``; three of the fixed keys have neither and
are upper limits. A fixed key with a table of horizons is one gate per horizon, named ``key.horizon``.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from core.canonical import sha256_hex
from core.errors import BadConfig
from core.plain_yaml import parse_yaml
from core.settings import Section, parse

BAR_MODEL: Final = "bar_model"
MICRO_MODEL: Final = "micro_model"
FIXED_KEYS: Final = (
    "retention_f1_drop_pct",
    "fx_gain_f1_min_pct",
    "ece_max",
    "brier_max",
    "alpha_after_fees_bps_min",
    "session_var_spread_pct_max",
    "latency_p99_ms",
    "psi_max",
    "turnover_match_pct",
    "planner_edge_realization_corr_min",
    "exploitability_gap_wow_delta_max",
)
ACTIONS_ON_FAIL: Final = ("reject", "fallback_previous_model")  # what gates.promote does; no other way is offered
_UPPER_LIMITS: Final = ("retention_f1_drop_pct", "latency_p99_ms", "turnover_match_pct")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")

Bound = Literal["value", "lower", "upper"]
Direction = Literal["min", "max"]


class Limit(Section, frozen=True, kw_only=True):
    """The long form of a gate's value."""

    limit: float | Literal["none"]  # "none": reported only; a forgotten value (null) is an error
    bound: Bound = "value"
    min_n: int = 0
    exclusive: bool = False
    why: str = ""


class _Document(Section, frozen=True, kw_only=True):
    gates: dict[str, Any]
    actions_on_fail: tuple[str, ...]
    profiles: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One limit on one metric."""

    name: str
    metric: str
    direction: Direction
    limit: float | None
    bound: Bound = "value"
    min_n: int = 0
    exclusive: bool = False
    why: str = ""

    @property
    def relation(self) -> str:
        """What a number must be to the limit: ≥, >, ≤ or <."""
        if self.direction == "min":
            return ">" if self.exclusive else "≥"
        return "<" if self.exclusive else "≤"

    def holds(self, number: float) -> bool:
        """Whether ``number`` is on the right side of the limit; a gate without limit always holds."""
        if self.limit is None:
            return True
        if number == self.limit:
            return not self.exclusive
        return number > self.limit if self.direction == "min" else number < self.limit


@dataclass(frozen=True, slots=True)
class GateFile:
    """A parsed gate file; ``sha256`` is of its bytes."""

    sha256: str
    profiles: dict[str, tuple[Gate, ...]]

    def profile(self, name: str) -> tuple[Gate, ...]:
        """The gates of one kind of model. Raises BadConfig for an unknown name."""
        if name not in self.profiles:
            raise BadConfig(f"profile {name!r} is not in the gate file; it has {', '.join(sorted(self.profiles))}")
        return self.profiles[name]


def load_gates(path: Path | str) -> GateFile:
    """Parse ``path``. Raises BadConfig naming the file and the key for anything unknown, missing, doubled or odd."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}; restore it with git") from None
    document = parse(_Document, parse_yaml(data, where=str(path)), where=str(path))
    if set(document.gates) != set(FIXED_KEYS):
        raise BadConfig(f"{path}: gates: {', '.join(sorted(set(document.gates) ^ set(FIXED_KEYS)))} unknown or missing")
    if document.actions_on_fail != ACTIONS_ON_FAIL:
        raise BadConfig(
            f"{path}: actions_on_fail is {list(document.actions_on_fail)}; it must be {list(ACTIONS_ON_FAIL)}"
        )
    if not document.profiles or MICRO_MODEL in document.profiles:
        raise BadConfig(f"{path}: profiles must name at least one kind of model; {MICRO_MODEL} is what `gates:` holds")
    profiles = {MICRO_MODEL: _flatten(path, document.gates)}
    for name, gates in document.profiles.items():
        if not gates:
            raise BadConfig(f"{path}: profiles.{name} has no gates: everything would pass")
        profiles[name] = tuple(_gate(f"{path}: profiles.{name}.{key}", key, value) for key, value in gates.items())
    return GateFile(sha256=sha256_hex(data), profiles=profiles)


def _flatten(path: Path | str, gates: dict[str, Any]) -> tuple[Gate, ...]:
    rows = []
    for key, value in gates.items():
        limits = {f"{key}.{part}": limit for part, limit in value.items()} if isinstance(value, dict) else {key: value}
        if not limits:
            raise BadConfig(f"{path}: gates.{key} is empty: it would limit nothing")
        rows += [
            _gate(f"{path}: gates.{name}", name, parse(float, limit, where=f"{path}: gates.{name}"))
            for name, limit in limits.items()
        ]
    return tuple(rows)


def _gate(where: str, name: str, value: Any) -> Gate:
    """``fx_gain_f1_min_pct.ev1`` is a lower limit on the metric ``fx_gain_f1_pct.ev1``."""
    key, _, part = name.partition(".")
    words = key.split("_")
    found: list[Direction] = [direction for direction in ("min", "max") if direction in words[1:]]
    if not found and key in _UPPER_LIMITS:
        found, words = ["max"], [*words, "max"]
    # `max_drawdown_max` limits `max_drawdown`: the last of equal words gives the direction
    if not _NAME.fullmatch(key) or len(found) != 1:
        raise BadConfig(f"{where}: end the name in _min or _max, so that its direction is known")
    index = len(words) - 1 - words[::-1].index(found[0])
    metric = "_".join(words[:index] + words[index + 1 :]) + ("." + part if part else "")
    long = parse(Limit, value if isinstance(value, dict) else {"limit": value}, where=where)
    limit = None if long.limit == "none" else float(long.limit)
    if limit is not None and not math.isfinite(limit):
        raise BadConfig(f"{where}: the limit is {limit}; a finite number is required")
    if long.min_n < 0:
        raise BadConfig(f"{where}: min_n is {long.min_n}; it counts observations")
    return Gate(
        name=name,
        metric=metric,
        direction=found[0],
        limit=limit,
        bound=long.bound,
        min_n=long.min_n,
        exclusive=long.exclusive,
        why=long.why.strip(),
    )
