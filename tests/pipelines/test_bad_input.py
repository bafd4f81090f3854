"""Stages as processes on inputs that are missing or do not fit the disk: one line, the code, nothing half-written."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.instruments import Instrument
from feeds.tape import write_tape
from tests.features.walk import INTERVAL_NS, walk

ROOT = Path(__file__).parents[2]


def stage(folder: Path, name: str, preexec: Callable[[], None] | None = None) -> tuple[int, str]:
    """Exit code and standard error of a stage run in ``folder``."""
    done = subprocess.run(
        [sys.executable, "-m", f"pipelines.{name}"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=preexec,
    )
    return done.returncode, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkout's settings without any artifact."""
    for name in ("params.yaml", "gates/gates.yaml", "data/markets/builtin.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("featurize", 31, "artifacts/data/market.tape: No such file or directory; make it with `dvc repro ingest`"),
        ("train", 31, "market.tape"),
        ("calibrate", 31, "market.tape"),
        ("backtest", 31, "market.tape"),
        ("gate", 30, "artifacts/backtest is missing or incomplete; make it anew with `dvc repro backtest`"),
    ],
)
def test_a_stage_without_its_inputs_says_which_stage_makes_them(folder: Path, name: str, code: int, words: str) -> None:
    found, text = stage(folder, name)
    assert (found, text.startswith("error: "), words in text) == (code, True, True), text
    assert not (folder / "artifacts").exists()


def test_a_key_that_no_stage_knows_stops_the_first_one(folder: Path) -> None:
    path = folder / "params.yaml"
    path.write_text(path.read_text().replace("asset_cap_ppm: 300000", "asset_cap_ppm: -1"))
    code, text = stage(folder, "ingest")
    assert code == 32 and "risk.asset_cap_ppm is -1; it must lie in [1, 1000000]" in text


def test_features_that_do_not_fit_the_disk_leave_nothing(folder: Path) -> None:
    """A limit on file sizes stands for a full disk; the map of an array without room would end in SIGBUS."""
    tape = folder / "artifacts/data/market.tape"
    instrument = Instrument(symbol="A", base="A", quote="USDT", tick="0.01", lot="0.00001")
    write_tape(tape, [walk(3_000, 1)], instruments=[instrument], interval_ns=INTERVAL_NS)
    code, text = stage(folder, "featurize", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    assert code == 30 and "artifacts/features" in text and "raise the limit on file sizes" in text
    assert [path.name for path in (folder / "artifacts").iterdir()] == ["data"]
