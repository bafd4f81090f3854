"""The runner's configuration: what the bundle was judged under, changed only where a YAML file says so.

The file has the sections of ``core.settings.Trading`` and needs only the keys it changes::

    risk:
      asset_cap_ppm: 200000

A session under any changed value is not the one that was judged: parity with the backtest does not apply, and every
place that shows the configuration says so.
"""

from pathlib import Path
from typing import Any

from core.errors import BadConfig
from core.plain_yaml import parse_yaml
from core.settings import Strategy, Trading, as_json, parse


def load_trading(path: Path | None, judged: Trading) -> Trading:
    """``judged`` with the keys of the YAML file at ``path`` put in their place; ``judged`` itself without a file.

    Raises BadConfig naming the file and the key for unknown, duplicate or mistyped keys, and for an unreadable file.
    """
    if path is None:
        return judged
    try:
        changes = parse_yaml(path.read_bytes(), where=str(path))
    except OSError as error:
        raise BadConfig(f"{path}: {error.strerror}; name a readable file with --config") from None
    if not isinstance(changes, dict):
        raise BadConfig(f"{path}: sections expected, such as `risk:`; found {type(changes).__name__}")
    changes.pop("ops", None)  # how it is watched changes no result: ``runner.ops.settings`` reads it
    merged = as_json(judged)
    if isinstance(several := changes.pop("strategies", None), list):  # in place of the one that was judged
        merged |= {"strategies": several, "strategy": as_json(Strategy())}
    elif several is not None:
        raise BadConfig(f"{path}: strategies: a list expected, each with kind and symbols")
    for section, values in changes.items():
        if section not in merged or not isinstance(values, dict):
            raise BadConfig(f"{path}: {section}: not a section; known are {', '.join(merged)}, each with keys below it")
        merged[section] |= values
    return parse(Trading, merged, where=str(path))


def changed_keys(judged: Trading, effective: Trading) -> dict[str, tuple[Any, Any]]:
    """``section.key`` -> (judged value, effective value) for each value that differs; ``strategies`` is one value."""
    before, after = flat(judged), flat(effective)
    return {key: (before[key], value) for key, value in after.items() if before[key] != value}


def flat(trading: Trading) -> dict[str, Any]:
    """Every value by ``section.key``; the list ``strategies`` is one value."""
    data = as_json(trading)
    several = data.pop("strategies")
    values = {f"{section}.{key}": value for section, fields in data.items() for key, value in fields.items()}
    return values | {"strategies": several}
