"""Small artifacts of the stages before the backtest, made by those stages: two folds of a short built-in market."""

from pathlib import Path

import msgspec

from core.settings import Account, Execution, Risk, Strategy
from data.settings import DataParams
from evaluation.settings import EvaluationParams
from features.spec import FeatureParams
from feeds import market, synthetic
from feeds.tape import Tape, write_tape
from pipelines.calibrate import calibrate
from pipelines.featurize import featurize
from pipelines.params import Params, load
from pipelines.train import train
from training.labels import LabelParams
from training.splits import SplitParams

ROOT = Path(__file__).parents[2]
INTERVAL_NS = 300_000_000_000


def small_params() -> Params:
    """The committed parameters, reduced: 14 training days, 4 test days, a small network."""
    whole = load(ROOT / "params.yaml")
    replace = msgspec.structs.replace
    return replace(
        whole,
        workers=1,
        data=DataParams(days=24),
        features=FeatureParams(),
        labels=LabelParams(),
        splits=SplitParams(train_days=14, calibrate_days=4, test_days=4),
        model=replace(whole.model, hidden=8),
        training=replace(whole.training, epochs=6, learning_rate="0.01", lanes=4, chunk=64, burn_in=16),
        account=Account(),
        execution=Execution(),
        strategy=Strategy(entry_margin_ppm=400_000),
        risk=Risk(),
        evaluation=EvaluationParams(bootstrap_draws=200, bootstrap_block_days=2),
    )


def make_artifacts(root: Path, params: Params, *, strength: float = 4.0) -> None:
    """Everything the backtest stage reads, under ``root``. The strongest signal: eight test days must show it."""
    spec = market.from_yaml((ROOT / "data/markets/builtin.yaml").read_text(), where="builtin").select(
        ("BTC-USDT", "ETH-USDT")
    )
    write_tape(
        root / "data/market.tape",
        synthetic.market(spec, days=params.data.days, seed=params.seed, strength=strength),
        instruments=spec.instruments(),
        interval_ns=INTERVAL_NS,
        meta={"source": "synthetic", "injected": False},
    )
    featurize(Tape.open(root / "data/market.tape"), root / "features", params.features, params.labels)
    train(params, root)
    calibrate(params, root)
