"""Same seed, same bytes: the head is that of another process, of smaller commits, and without the compiler."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.runner.book_tapes import builtin_rows, make_place, uneven
from tests.runner.bundles import make_bundle, make_home

ROOT = Path(__file__).resolve().parents[2]


def played(place: Path, run: str, seed: int, *options: str, compiled: bool = True) -> dict[str, Any]:
    """The summary of two days on paper in a process of its own."""
    command = [sys.executable, "-m", "runner.cli", "paper", "--home", str(place / "home"), "--run", run, "--json"]
    command += ["--bundle", str(place / "bundle"), "--days", "2", "--seed", str(seed), *options]
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "0" if compiled else "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("same")
    make_home(folder / "home")
    make_bundle(folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def first(place: Path) -> dict[str, Any]:
    found = played(place, "first", 5)
    assert found["fills"] > 5
    return found


@pytest.mark.parametrize(
    ("name", "options", "compiled"),
    [
        ("again", (), True),
        ("in pieces", ("--snapshot-records", "150"), True),
        ("interpreted", (), False),
        ("interpreted in pieces", ("--snapshot-records", "700"), False),
    ],
)
def test_the_head_is_the_same(
    place: Path, first: dict[str, Any], name: str, options: tuple[str, ...], compiled: bool
) -> None:
    found = played(place, name.replace(" ", "-"), 5, *options, compiled=compiled)
    for key in ("head", "ledger_head", "records", "equity", "fills"):
        assert found[key] == first[key], key


def test_another_seed_has_another_head(place: Path, first: dict[str, Any]) -> None:
    assert played(place, "other", 6)["head"] != first["head"]


def test_on_books_the_head_is_the_same_without_the_compiler(tmp_path: Path) -> None:
    place = make_place(tmp_path, [uneven(builtin_rows(rows=300))])
    command = [sys.executable, "-m", "runner.cli", "paper", "--home", str(place.home.folder), "--json"]
    command += ["--bundle", str(place.bundle), "--tape", str(place.tape), "--run"]
    heads = []
    for disabled in "01":
        environment = {**os.environ, "NUMBA_DISABLE_JIT": disabled}
        done = subprocess.run(
            [*command, f"run-{disabled}"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        heads.append([found[key] for key in ("head", "ledger_head", "records", "fills", "market_state")])
        assert found["fills"] > 5
    assert heads[0] == heads[1]
