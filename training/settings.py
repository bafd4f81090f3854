"""The ``model:`` and ``training:`` sections of ``params.yaml``. Fractions are decimal strings: params have one hash."""

from typing import Final

from core.errors import BadConfig
from core.settings import Section, decimal, within

NETWORKS: Final = ("lstm",)
LEAST: Final = "1e-12"  # of what must be above 0


class ModelParams(Section, frozen=True, kw_only=True):
    """The network's shape. Raises BadConfig naming the key for a kind or size that cannot be built."""

    kind: str = "lstm"
    hidden: int = 32  # units per layer
    layers: int = 1

    def __post_init__(self) -> None:
        if self.kind not in NETWORKS:
            raise BadConfig(f"model.kind is {self.kind!r}; known are {', '.join(NETWORKS)}")
        within("model.hidden", self.hidden, 1, 1_024)
        within("model.layers", self.layers, 1, 8)


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
    select_features: int = 0  # the best so many of each fold's training rows; 0: all

    def __post_init__(self) -> None:
        within("training.epochs", self.epochs, 1, 10_000)
        within("training.lanes", self.lanes, 1, 4_096)
        within("training.chunk", self.chunk, 1, 65_536)
        within("training.burn_in", self.burn_in, 0, 65_536)
        within("training.select_features", self.select_features, 0, 65_536)
        for name, low in (
            ("learning_rate", LEAST),
            ("gradient_clip", LEAST),
            ("weight_decay", "0"),
            ("move_weight", "0"),
        ):
            decimal(f"training.{name}", getattr(self, name), low, "1000")

    def number(self, name: str) -> float:
        """The decimal string ``name`` as a float."""
        return float(getattr(self, name))
