"""One set of small artifacts and one backtest of them, shared by the tests that only read."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.backtest import FoldResult, FoldSource, open_fold, run_fold
from evaluation.rules import BASELINES
from evaluation.session import Played, play, stressed, with_rule
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


@pytest.fixture(scope="session")
def sessions(artifacts: Path) -> list[dict[str, Played]]:
    """Every fold's sessions with the core's own records: the model, twice and three times the costs, the rules."""
    played = []
    for folder in sorted((artifacts / "calibrated").glob("fold_*")):
        files = open_fold(folder)
        trading, start = files.manifest.trading, files.trade_from_ns
        cases = {"model": (trading, files.tape.instruments)}
        cases |= {name: (with_rule(trading, rule), files.tape.instruments) for name, rule in BASELINES.items()}
        cases |= {f"{factor}x": stressed(trading, files.tape.instruments, factor) for factor in (2, 3)}
        played.append(
            {
                name: play(files.bars, instruments, files.predictions, settings, start)
                for name, (settings, instruments) in cases.items()
            }
        )
    return played


def _done() -> None:
    """Nobody watches the progress."""
