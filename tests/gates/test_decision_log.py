"""The decision log: any altered, missing, added or moved line is refused by its number."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.canonical import canonical_json, hash_json
from core.errors import BrokenInvariant, Refused
from core.settings import as_json
from gates.log import Decision, next_decision, read_log, write_log


def decisions(count: int) -> tuple[Decision, ...]:
    made: tuple[Decision, ...] = ()
    for number in range(count):
        made += (
            next_decision(
                made,
                at=f"2026-01-0{number + 1}T00:00:00+00:00",
                action="reject",
                bundle_id=f"{number}" * 64,
                tag=None,
                reason=f"reason {number}",
                verdict="FAIL",
                metrics_sha256="a" * 64,
                gates_sha256="b" * 64,
                trials=number + 1,
            ),
        )
    return made


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "gates" / "decisions.jsonl"
    assert read_log(path) == ()
    write_log(path, decisions(3))
    assert read_log(path) == decisions(3)
    assert path.read_bytes().count(b"\n") == 3


def test_the_log_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    write_log(path, decisions(2))
    for shorter in (decisions(1), decisions(0)):
        with pytest.raises(BrokenInvariant, match="only grows"):
            write_log(path, shorter)
    assert read_log(path) == decisions(2)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_flipped_bit_is_refused_by_line(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("log") / "decisions.jsonl"
    write_log(path, decisions(3))
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    line = content[:position].count(b"\n") + 1
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(Refused, match=rf"line [{line}{line + 1}]:"):
        read_log(path)


@pytest.mark.parametrize(
    ("order", "line"), [((1, 2), 1), ((0, 2), 2), ((0, 2, 1), 2), ((0, 0, 1, 2), 2), ((0, 1, 1, 2), 3)]
)
def test_missing_moved_and_doubled_lines_are_refused(tmp_path: Path, order: tuple[int, ...], line: int) -> None:
    path = tmp_path / "decisions.jsonl"
    write_log(path, decisions(3))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[index] for index in order))
    with pytest.raises(Refused, match=f"line {line}:"):
        read_log(path)


def test_a_line_rewritten_with_a_hash_of_its_own_breaks_the_chain_after_it(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    write_log(path, decisions(3))
    lines = path.read_bytes().splitlines(keepends=True)
    fields = as_json(replace(decisions(3)[1], reason="a better story"))
    lines[1] = canonical_json({"decision": fields, "hash": hash_json(fields)}) + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(Refused, match="line 3:"):
        read_log(path)


def test_another_spelling_of_the_same_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    write_log(path, decisions(2))
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number": 2'))
    with pytest.raises(Refused, match="line 2:"):
        read_log(path)


@pytest.mark.parametrize("tail", [b"{", b"null\n", b"[]\n", b'{"hash":1}\n', b"\n", b"\xff\n"])
def test_foreign_lines_are_refused(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "decisions.jsonl"
    write_log(path, decisions(2))
    path.write_bytes(path.read_bytes() + tail)
    with pytest.raises(Refused, match="line 3:"):
        read_log(path)
