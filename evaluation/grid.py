"""Grids of settings: any keys of ``core.settings.Trading``, each with the values to try."""

import copy
import json
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Final

import msgspec

from core.errors import BadConfig
from core.plain_yaml import parse_yaml
from core.settings import Trading, parse

POINTS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting by its dotted key, and the values it takes, as plain data."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """The product of ``axes`` over the trading ``sections`` they change. The last axis moves fastest."""

    sections: dict[str, Any]  # all of them, defaults included
    axes: tuple[Axis, ...]
    where: str  # what errors call the sections

    def __len__(self) -> int:
        return math.prod(len(axis.values) for axis in self.axes)

    def values(self, index: int) -> tuple[Any, ...]:
        """What each axis holds at point ``index``."""
        found = []
        for axis in reversed(self.axes):
            index, position = divmod(index, len(axis.values))
            found.append(axis.values[position])
        return tuple(reversed(found))

    def trading(self, index: int) -> Trading:
        """The settings of point ``index``. Raises BadConfig for a key that the sections have no place for."""
        sections = copy.deepcopy(self.sections)
        for axis, value in zip(self.axes, self.values(index), strict=True):
            _put(sections, axis.key, value)
        return parse(Trading, sections, where=self.where)


def grid(sections: dict[str, Any], sets: Sequence[str], *, where: str) -> Grid:
    """The grid of ``key=value,value`` texts over trading ``sections``, which errors call ``where``.

    Raises BadConfig naming the key, the value and what there is, for a key given twice, and beyond POINTS_MAX points.
    """
    axes = tuple(_axis(text) for text in sets)
    keys = [axis.key for axis in axes]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise BadConfig(f"--set {twice[0]} is given twice: list all its values once, separated by commas")
    whole = msgspec.json.decode(msgspec.json.encode(parse(Trading, sections, where=where)))  # lists are lists in JSON
    made = Grid(whole, axes, where)
    points = math.prod(len(axis.values) for axis in axes)
    if points > POINTS_MAX:
        raise BadConfig(f"the grid has {points:,} points, at most {POINTS_MAX:,} are swept: give fewer values")
    made.trading(0)
    return made


def _axis(text: str) -> Axis:
    key, _, listed = text.partition("=")
    if not key or not listed:
        raise BadConfig(f"--set {text!r}: write key=value,value, for example strategy.fast=5,10,20")
    kind = _kind(key)
    found = listed.split(",") if kind is str else parse_yaml(f"[{listed}]", where=f"--set {key}")
    seen = set()
    for value in found:
        parse(kind, value, where=f"--set {key}, value {value!r}")
        if (text := json.dumps(value)) in seen:
            raise BadConfig(f"--set {key}: the value {value!r} is given twice; keep one")
        seen.add(text)
    return Axis(key, tuple(found))


def _kind(key: str) -> Any:
    """The type of the setting ``key``."""
    kind: Any = Trading
    walked = "a trading configuration"
    for name in key.split("."):
        kind, walked = _step(key, kind, walked, name), name
    if _is_section(kind):
        raise BadConfig(f"--set {key} is a section: name one of its settings, {', '.join(kind.__struct_fields__)}")
    return kind


def _step(key: str, kind: Any, walked: str, name: str) -> Any:
    """The type of ``name`` within ``kind``; an optional section counts as one."""
    arguments = typing.get_args(kind)
    if _is_section(kind):
        fields = typing.get_type_hints(kind)
        if name not in fields:
            raise BadConfig(f"--set {key}: {walked} has no {name!r}; there is {', '.join(fields)}")
        found = fields[name]
        sections = [item for item in typing.get_args(found) if _is_section(item)]
        return sections[0] if isinstance(found, UnionType) and sections else found
    if typing.get_origin(kind) is dict:
        return arguments[1]
    if typing.get_origin(kind) is tuple and arguments[1:] == (...,):
        if not name.isdecimal():
            raise BadConfig(f"--set {key}: {walked} is a list: {name!r} must be a position in it, from 0")
        return arguments[0]
    raise BadConfig(f"--set {key}: {walked} is a single value and has no {name!r}")


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _put(sections: dict[str, Any], key: str, value: Any) -> None:
    at: Any = sections
    *parents, last = key.split(".")
    for name in parents:
        if isinstance(at, list):
            at = at[_position(at, name, key)]
        else:
            at[name] = {} if at.get(name) is None else at[name]
            at = at[name]
    at[_position(at, last, key) if isinstance(at, list) else last] = value


def _position(held: list[Any], name: str, key: str) -> int:
    if int(name) >= len(held):
        raise BadConfig(f"--set {key}: the settings list {len(held)} there, {name} is none of them (they count from 0)")
    return int(name)
