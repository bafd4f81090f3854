"""What can happen to a message: its bytes, its fields, its time and its place among the others."""

import copy
import random
from typing import Any

import msgspec

from tests.fuzz.venues import Frame

ODD: tuple[Any, ...] = (
    None, True, False, "", "x", 0, -1, 1, 2**31, 2**62, 2**63, 2**64 - 1, 0.5, -0.0, 1e308, [], {}, [[]], [{}], [None],
    "0", "-1", "NaN", "inf", "1e5", "1e-5", "0.0001", "100.05", "9" * 19, "9" * 50, "\x00", "\u0661",
    "snapshot", "update", "BTC-USD", "BTC/USD", "BTCUSD", "ETH-USD", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2023-11-14T23:59:59Z",
    msgspec.Raw(b"9" * 400), msgspec.Raw(b"-1"), msgspec.Raw(b"1e400"), msgspec.Raw(b"1e-400"), msgspec.Raw(b"1E+2"),
    msgspec.Raw(b"1e99999999999999999999"), msgspec.Raw(b"0.1e1"), msgspec.Raw(b"0.00001"), msgspec.Raw(b"-0"),
    msgspec.Raw(b"[" * 3000 + b"]" * 3000), msgspec.Raw(b'{"a":' * 3000 + b"1" + b"}" * 3000), msgspec.Raw(b"NaN"),
    msgspec.Raw(b'"\xff"'), msgspec.Raw(b'"\\ud800"'), msgspec.Raw(b""),
)  # fmt: skip
ODD_TIMES = (0, -1, 1, 2**61, 2**61 + 1, 2**63, -(2**63), 10**30)
ENCODINGS = ("utf-16", "utf-32", "utf-8-sig", "utf-16-be", "cp037")


def nodes(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a JSON tree but its root."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    return [one for key, value in inner for one in ((*path, key), *nodes(value, (*path, key)))]


def get(tree: Any, path: tuple[Any, ...]) -> Any:
    """What stands at ``path``."""
    for key in path:
        tree = tree[key]
    return tree


def thaw(tree: Any) -> Any:
    """A copy in which pairs are lists too."""
    if isinstance(tree, dict):
        return {key: thaw(value) for key, value in tree.items()}
    return [thaw(value) for value in tree] if isinstance(tree, list | tuple) else tree


def moved(tree: Any, by: int) -> Any:
    """A copy with ``by`` added to every whole number, so that they still go together."""
    if isinstance(tree, dict):
        return {key: moved(value, by) for key, value in tree.items()}
    if isinstance(tree, list):
        return [moved(value, by) for value in tree]
    return tree + by if isinstance(tree, int) and not isinstance(tree, bool) else tree


def bytes_damaged(rng: random.Random, message: bytes) -> bytes:
    """Cut, flipped, doubled, dropped, overwritten or encoded otherwise."""
    data, at = bytearray(message), rng.randrange(len(message) + 1)
    end = min(len(data), at + rng.randrange(1, 20))
    what = rng.randrange(8)
    if what == 0:
        return bytes(data[:at])
    if what == 1:
        return bytes(data[at:])
    if what == 2:
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif what == 3:
        data[at:at] = data[at:end]
    elif what == 4:
        del data[at:end]
    elif what == 5:
        data[at:end] = rng.randbytes(end - at)
    elif what == 6:
        return message.decode().encode(rng.choice(ENCODINGS))
    else:
        digits = [place for place, byte in enumerate(data) if 48 <= byte <= 57]
        if digits:
            data[rng.choice(digits)] = rng.choice(b"0123456789.-eE")
    return bytes(data)


def fields_damaged(rng: random.Random, frame: Frame, other: Frame) -> bytes:
    """A field of another type, exchanged, missing, twice, renamed or another message's; or all counts moved."""
    tree = thaw(frame.tree)
    if rng.random() < 0.1:
        return msgspec.json.encode(moved(tree, rng.choice((-1000, -1, 1, 1000, 10**9, 2**61))))
    paths = nodes(tree)
    path = rng.choice(paths)
    holder, key = get(tree, path[:-1]), path[-1]
    what = rng.randrange(7)
    if what <= 1:
        holder[key] = rng.choice(ODD)
    elif what == 2:
        swapped = rng.choice(paths)
        there, mine, theirs = get(tree, swapped[:-1]), holder[key], get(tree, swapped)
        holder[key], there[swapped[-1]] = copy.copy(theirs), copy.copy(mine)
    elif what == 3:
        del holder[key]
    elif what == 4 and isinstance(holder, dict):
        holder[rng.choice([*holder, "x", ""])] = holder.pop(key)
    elif what == 5:
        foreign = thaw(other.tree)
        holder[key] = get(foreign, rng.choice(nodes(foreign)))
    elif isinstance(holder, list):
        holder.insert(rng.randrange(len(holder) + 1), copy.deepcopy(holder[key]))
        rng.shuffle(holder)
    else:
        text = msgspec.json.encode(tree)
        return text[:-1] + b"," + msgspec.json.encode({key: rng.choice(ODD)})[1:]
    try:
        return msgspec.json.encode(tree)
    except (RecursionError, ValueError):  # a field was put into itself
        return b"{" + frame.message
