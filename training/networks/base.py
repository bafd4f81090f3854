"""The streaming contract every network keeps: chunks with carried state for training, one step for the export.

Shapes: B streams, T bars, F features. A state is a tuple of tensors, all zero at a stream's start; ``forward`` over a
sequence, over any split of it with the state carried, and ``step`` bar by bar give the same outputs up to rounding.
"""

from typing import NamedTuple, Protocol

import torch

State = tuple[torch.Tensor, ...]


class Outputs(NamedTuple):
    """What a network says about each bar."""

    logits: torch.Tensor  # [B, T, 3]: down, flat, up
    move: torch.Tensor  # [B, T]: expected return over the label horizon in units of its sigma


class StreamingNetwork(Protocol):
    """A plain ``nn.Module`` over standardised features."""

    def initial_state(self, streams: int) -> State:
        """The zero state of ``streams`` streams."""

    def reset_state(self, state: State, fresh: torch.Tensor) -> State:
        """``state`` with the streams where ``fresh`` (bool [B]) holds put back to zero."""

    def forward(self, x: torch.Tensor, state: State) -> tuple[Outputs, State]:
        """Outputs for ``x`` [B, T, F] and the state after its last bar."""

    def step(self, x: torch.Tensor, state: State) -> tuple[Outputs, State]:
        """``forward`` for one bar ``x`` [B, F]; outputs have T = 1."""
