"""What the backtest traded is what a runner would do bar by bar, and the check can see when it is not."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from core.errors import Refused
from evaluation.rehearsal import rehearse


@pytest.fixture
def fold(artifacts: Path) -> Path:
    return artifacts / "calibrated/fold_1"


def altered(fold: Path, folder: Path, field: str, row: int, change: int) -> Path:
    shutil.copytree(fold, folder)
    predictions = np.load(folder / "predictions.npy")
    predictions[field][row] += change
    np.save(folder / "predictions.npy", predictions)
    return folder


def test_kernel_model_and_core_bar_by_bar_are_the_backtest(fold: Path) -> None:
    found = rehearse(fold)
    assert found.predictions_equal and found.outputs_equal and found.paper_parity == 1
    assert len(found.cpu_ns) == len(found.wall_ns) > 2000
    assert found.cpu_ns.min() > 0


def test_one_part_per_million_in_one_prediction_is_seen(fold: Path, tmp_path: Path) -> None:
    found = rehearse(altered(fold, tmp_path / "fold", "p_up_ppm", -5, 1))
    assert not found.predictions_equal
    assert found.paper_parity == 0


def test_a_prediction_that_changes_a_decision_changes_the_outputs(fold: Path, tmp_path: Path) -> None:
    found = rehearse(altered(fold, tmp_path / "fold", "edge_ppm", -5, 50_000))
    assert not found.outputs_equal


def test_an_altered_model_is_refused(fold: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(fold, tmp_path / "fold")
    data = bytearray((folder / "step.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "step.onnx").write_bytes(bytes(data))
    with pytest.raises(Refused, match="altered"):
        rehearse(folder)
