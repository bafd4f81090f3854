"""``params.yaml``, parsed once into frozen typed sections. Every stage takes its own section from here."""

from pathlib import Path
from typing import Any

from core import config
from core.canonical import hash_json
from core.errors import BadConfig
from core.plain_yaml import parse_yaml
from core.settings import Account, Execution, Risk, Section, Strategy, Trading, as_json, parse, within
from data import fee_tables
from data.settings import DataParams
from evaluation.settings import EvaluationParams
from features.spec import FeatureParams
from training.event_labels import EventLabelParams
from training.labels import LabelParams
from training.settings import ModelParams, TrainingParams
from training.splits import SplitParams
from training.targets import TargetParams


class Params(Section, frozen=True, kw_only=True):
    """The whole of ``params.yaml``; field names are its top-level keys."""

    seed: int
    workers: int = 1  # processes for folds; never changes a result
    data: DataParams
    features: FeatureParams
    labels: LabelParams
    event_labels: EventLabelParams = EventLabelParams()
    targets: TargetParams = TargetParams()
    splits: SplitParams
    model: ModelParams
    training: TrainingParams
    account: Account
    execution: Execution
    strategy: Strategy
    risk: Risk
    evaluation: EvaluationParams

    def __post_init__(self) -> None:
        within("seed", self.seed, 0, 2**63 - 1)
        within("workers", self.workers, 1, 1_024)
        config.check(self.trading)  # here, or the backtest would find out after hours of training

    @property
    def trading(self) -> Trading:
        """What the compiled core is configured by: the sections account, execution, strategy and risk."""
        return Trading(account=self.account, execution=self.execution, strategy=self.strategy, risk=self.risk)

    @property
    def params_hash(self) -> str:
        """SHA-256 over every value except ``workers``, which may not change a result."""
        return hash_json({name: value for name, value in as_json(self).items() if name != "workers"})


def load(path: Path | str = "params.yaml") -> Params:
    """Parse ``path``. Raises BadConfig naming the file and the key for anything unknown, missing or mistyped."""
    return parse(Params, fee_tables.resolve(read_yaml(path)), where=str(path))


def read_yaml(path: Path | str) -> Any:
    """``path`` as plain data. Raises BadConfig for a missing file, broken YAML or a duplicate key."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise BadConfig(f"{path}: cannot be read ({error.strerror}); run from the repository's root") from None
    return parse_yaml(text, where=str(path))
