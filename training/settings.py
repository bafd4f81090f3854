"""The ``model:`` and ``training:`` sections of ``params.yaml``. Fractions are decimal strings: params have one hash."""

import math
from decimal import Decimal, InvalidOperation
from typing import Final

from core.errors import BadConfig
from core.settings import Section

NETWORKS: Final = ("lstm",)


class ModelParams(Section, frozen=True, kw_only=True):
    """The network's shape. Raises BadConfig naming the key for a kind or size that cannot be built."""

    kind: str = "lstm"
    hidden: int = 32  # units per layer
    layers: int = 1

    def __post_init__(self) -> None:
        if self.kind not in NETWORKS:
            raise BadConfig(f"model.kind is {self.kind!r}; known are {', '.join(NETWORKS)}")
        _within("model.hidden", self.hidden, 1, 1_024)
        _within("model.layers", self.layers, 1, 8)


class TrainingParams(Section, frozen=True, kw_only=True):
    """The optimiser and the layout of a batch. Raises BadConfig naming the key for a value out of its range."""

    epochs: int = 10
    learning_rate: str = "0.003"  # AdamW's peak; a cosine brings it to 0
    weight_decay: str = "0.01"
    gradient_clip: str = "1.0"  # norm
    move_weight: str = "0.1"  # of the Huber loss on the expected return, beside the cross-entropy
    lanes: int = 32  # parallel contiguous streams per batch
    chunk: int = 128  # bars per truncated backpropagation step
    burn_in: int = 64  # bars after a fresh state that carry no loss, and no trade

    def __post_init__(self) -> None:
        _within("training.epochs", self.epochs, 1, 10_000)
        _within("training.lanes", self.lanes, 1, 4_096)
        _within("training.chunk", self.chunk, 1, 65_536)
        _within("training.burn_in", self.burn_in, 0, 65_536)
        for name in ("learning_rate", "gradient_clip"):
            if not self.number(name) > 0:
                raise BadConfig(f"training.{name} is {getattr(self, name)}; it must be above 0")
        for name in ("weight_decay", "move_weight"):
            if not self.number(name) >= 0:
                raise BadConfig(f"training.{name} is {getattr(self, name)}; it must be 0 or more")

    def number(self, name: str) -> float:
        """The decimal string ``name`` as a float. Raises BadConfig if it is not a finite decimal."""
        text = getattr(self, name)
        try:
            value = float(Decimal(text))
        except (InvalidOperation, ValueError):  # ValueError: a signalling NaN
            value = math.nan
        if not math.isfinite(value):
            raise BadConfig(f"training.{name} is {text!r}; write a decimal such as '0.001'")
        return value


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadConfig(f"{name} is {value}; it must lie in [{low}, {high}]")
