"""FI-2010: files of its format, made here; every defect named with its line or event."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from core.errors import BadInput
from data import fi2010
from tests.data.malformed import DEFECTS
from tests.data.test_data_catalog import run

NAME = "Test_Dst_NoAuction_DecPre_CF_7.txt"
EVENTS = 12


def matrix() -> np.ndarray:
    """Ten levels a cent apart, sizes of some hundred shares, features and labels; (149, EVENTS)."""
    values = np.zeros((149, EVENTS))
    for level in range(10):
        for event in range(EVENTS):
            place = 26.15 + 0.01 * (event % 3)
            values[4 * level : 4 * level + 4, event] = (
                round(place + 0.01 * (level + 1), 2) / 100, (300 + level) / 100_000,
                round(place - 0.01 * level, 2) / 100, (200 + event) / 100_000,
            )  # fmt: skip
    values[40:144] = np.arange(104)[:, None] + 0.5
    values[144:] = 1 + (np.arange(EVENTS) + np.arange(5)[:, None]) % 3
    return values


def text(values: np.ndarray) -> bytes:
    return b"".join(b"   ".join(b"%.7e" % value for value in row) + b"\n" for row in values)


def read(folder: Path, data: bytes, name: str = NAME) -> fi2010.Fi2010:
    (folder / name).write_bytes(data)
    return fi2010.read(folder / name, sha256=hashlib.sha256(data).hexdigest())


def test_a_file_gives_its_books_features_and_labels(tmp_path: Path) -> None:
    file = read(tmp_path, text(matrix()))
    books, events, findings = file.books()
    assert books.shape == (EVENTS, 10, 4) and events.tolist() == list(range(EVENTS)) and not findings.counts.total()
    assert books[0, 0].tolist() == [2616, 300, 2615, 200] and books[1, 9].tolist() == [2626, 309, 2607, 201]
    assert file.features.shape == (EVENTS, 144) and file.features[3, 40] == 0.5
    assert file.labels[:3, 0].tolist() == [1, 0, -1] and file.labels.shape == (EVENTS, 5)


@pytest.mark.parametrize("normalisation", ["ZScore", "MinMax"])
def test_normalised_prices_are_no_prices(tmp_path: Path, normalisation: str) -> None:
    file = read(tmp_path, text(matrix()), NAME.replace("DecPre", normalisation))
    assert file.features.shape == (EVENTS, 144)
    with pytest.raises(BadInput, match=f"{normalisation} has no prices.*take the file with DecPre"):
        file.books()


def test_the_bytes_are_held_against_the_setting(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(text(matrix()))
    for said in ("", "0" * 64):
        with pytest.raises(
            BadInput, match=r"CF_7.txt: its SHA-256 is [0-9a-f]{64}, .* is expected; get the file again"
        ):
            fi2010.read(tmp_path / NAME, sha256=said)
    with pytest.raises(BadInput, match="does not say its normalisation; keep the publisher's"):
        fi2010.read(tmp_path / "x.txt", sha256="")
    with pytest.raises(BadInput, match="is missing; get it from the publisher"):
        fi2010.read(tmp_path / NAME.replace("7", "8"), sha256="")


def test_the_command_describes_a_file(tmp_path: Path) -> None:
    data = text(matrix())
    (tmp_path / NAME).write_bytes(data)
    told = ["fi2010", str(tmp_path / NAME), "--sha256", hashlib.sha256(data).hexdigest(), "--json"]
    code, shown = run(*told)
    assert code == 0
    assert json.loads(shown) == [
        {"file": NAME, "normalisation": "DecPre", "events": EVENTS, "label_-1": 4, "label_0": 4, "label_1": 4,
         "books": EVENTS, "findings": {}}
    ]  # fmt: skip


def changed(line: int, event: int, value: float) -> bytes:
    values = matrix()
    values[line, event] = value
    return text(values)


VALID = text(matrix())
ROWS = VALID.splitlines()
FAULTS: dict[str, tuple[bytes, str] | str] = {  # the file and the error's words; or why it cannot be had
    "cut mid-line": (
        VALID[: -len(ROWS[-1]) // 2],
        "line 149 has .* numbers, 12 as line 1 expected; get the file again",
    ),
    "wrong separator": (VALID.replace(b"   ", b";", 5), "line 1 holds what is no number|line 2 has 12 numbers, 7"),
    "unexpected header": (b"alpha beta\n" + VALID, "line 1 holds what is no number.*; get the file again"),
    "missing header": "the format has no header",
    "header in the middle": "the format has no header",
    "byte-order mark": (b"\xef\xbb\xbf" + VALID, "line 1 begins with a byte-order mark; save it"),
    "mixed time units": "the files hold no times",
    "times a thousandth": "the files hold no times",
    "another unit than the file before": "the files hold no times",
    "a symbol twice": "one file is read",
    "updates without a snapshot": "every event is a whole book",
    "empty": (b"", "ends after line 0, 149 are expected; get the file again"),
    "time backward": "the files hold no times",
    "binary garbage": (VALID.replace(ROWS[46], b"\x00\xff\x10"), "line 47 has 1 numbers, 12 as line 1"),
    "truncated gzip": "the files are plain text",
    "truncated zip": "the files are plain text",
    "wrong column count": (VALID.replace(ROWS[46], ROWS[46] + b" 1"), "line 47 has 13 numbers, 12 as line 1 expected"),
    "duplicate row": (VALID + ROWS[-1], "has a line 150, 149 are expected; get the file again"),
}
FOUND = {  # the file, and the rule that its event 4 breaks
    "NaN": (changed(0, 4, np.nan), "not_finite"),
    "price of zero": (changed(0, 4, 0.0), "not_positive"),
    "negative price": (changed(2, 4, -0.2615), "negative"),
}


def test_every_defect_of_the_table_has_a_cell_here() -> None:
    assert {*FAULTS, *FOUND, "CRLF"} == set(DEFECTS)


@pytest.mark.parametrize("defect", [name for name, cell in FAULTS.items() if not isinstance(cell, str)])
def test_every_unusable_file_is_named_with_its_line(tmp_path: Path, defect: str) -> None:
    data, words = FAULTS[defect]
    with pytest.raises(BadInput, match=words) as raised:
        read(tmp_path, data)
    assert NAME in str(raised.value)


@pytest.mark.parametrize("defect", FOUND)
def test_events_that_are_no_books_are_findings(tmp_path: Path, defect: str) -> None:
    data, rule = FOUND[defect]
    books, events, findings = read(tmp_path, data).books()
    assert [(found.row, found.rule) for found in findings.examples] == [(4, rule)]
    assert len(books) == EVENTS - 1 and 4 not in events


def test_line_ends_and_a_wrong_scale(tmp_path: Path) -> None:
    assert np.array_equal(read(tmp_path, VALID.replace(b"\n", b"\r\n")).values, read(tmp_path, VALID).values)
    _, _, findings = read(tmp_path, text(np.vstack([matrix()[:40] / 3, matrix()[40:]]))).books()
    assert findings.counts.total() == EVENTS and findings.counts["off_grid"] == EVENTS
    with pytest.raises(BadInput, match="line 145 holds the label 4, 1, 2 or 3 are expected"):
        read(tmp_path, changed(144, 0, 4))
