"""One set of small artifacts and one backtest of them, shared by the tests that only read."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.backtest import FoldResult, FoldSource, run_fold
from pipelines.backtest import backtest
from tests.evaluation.artifacts import make_artifacts, small_params


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of the backtest stage."""
    root = tmp_path_factory.mktemp("artifacts")
    make_artifacts(root, small_params())
    return root


@pytest.fixture(scope="session")
def metrics(artifacts: Path) -> dict[str, Any]:
    """The stage has run: ``artifacts``/backtest exists and this is its ``metrics.json``."""
    return backtest(small_params(), artifacts)


@pytest.fixture(scope="session")
def folds(artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> list[FoldResult]:
    """Every fold's result."""
    out = tmp_path_factory.mktemp("folds")
    return [
        run_fold(FoldSource(folder, artifacts / "data/market.tape", artifacts / "features", out / folder.name), _done)
        for folder in sorted((artifacts / "calibrated").glob("fold_*"))
    ]


def _done() -> None:
    """Nobody watches the progress."""
