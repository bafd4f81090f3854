"""Paper on the last test fold's tape with that fold's bundle is the backtest that was judged, to the byte.

Needs what `dvc repro` leaves in ``artifacts``; skipped without it, or if it was made by other code.
"""

from pathlib import Path

import numpy as np
import pytest

from core.records import MARK, PREDICTION, RECORD, Kind
from models.bundle import load_bundle
from models.lineage import code_hash
from runner.clock import Pacer
from runner.failpoints import Failpoints
from runner.feed import tape_feed
from runner.home import Run
from runner.journal import Journal
from runner.plan import header_ledger, make_plan, make_stream
from runner.reader import open_run, verify
from runner.session import Session
from tests.parity.test_paper_parity import mark

ARTIFACTS = Path(__file__).resolve().parents[2] / "artifacts"


@pytest.fixture
def fold() -> Path:
    folds = sorted(ARTIFACTS.glob("calibrated/fold_*"), key=lambda path: int(path.name.split("_")[1]))
    if not folds or not (ARTIFACTS / "backtest" / folds[-1].name / "out.npy").exists():
        pytest.skip("no backtest in artifacts/: run `dvc repro` first")
    if load_bundle(folds[-1]).manifest.code_hash != code_hash():
        pytest.skip("artifacts/ was made by other code: run `dvc repro` first")
    return folds[-1]


def test_paper_on_the_last_fold_is_its_backtest(fold: Path, tmp_path: Path) -> None:
    bundle, run = load_bundle(fold), Run(tmp_path / "run")
    plan = make_plan(bundle, tape_feed(fold / "fold.tape"), bundle.manifest.trading)
    stream = make_stream(
        bundle, len(plan.feed.instruments), plan.trading.execution.decision_latency_ns, plan.feed.trade_from_ns
    )
    run.folder.mkdir()
    with Journal(run.journal, plan.header, header_ledger(plan.header), Failpoints()) as journal:
        session = Session(plan, stream, journal, pacer=Pacer(None), failpoints=Failpoints())
        marks = np.concatenate([mark(session, bar) for bar in session.play()])
    with open_run(run) as reader:
        ledger = verify(reader).ledger
        records = np.concatenate(list(reader.batches()))
    backtest = ARTIFACTS / "backtest" / fold.name
    made = records[~np.isin(records["kind"], (Kind.SESSION, Kind.BAR, Kind.PREDICTION))]
    assert made.tobytes() == np.load(backtest / "out.npy").view(RECORD).tobytes()
    assert marks.tobytes() == np.load(backtest / "marks.npy").view(MARK).tobytes()
    predictions = records[records["kind"] == Kind.PREDICTION]
    assert predictions.tobytes() == np.load(fold / "predictions.npy").view(PREDICTION).tobytes()
    assert ledger.balances["holdings", plan.trading.account.quote] == int(session.state["account"]["cash"][0])
