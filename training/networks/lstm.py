"""A long short-term memory network behind the streaming contract.

Hochreiter & Schmidhuber 1997 with forget gates (Gers et al. 2000), as ``torch.nn.LSTM`` writes it. Shapes: B streams,
T bars, F features, H hidden units, L layers; state = (h [L, B, H], c [L, B, H]).
"""

import torch
from torch import nn

from training.networks.base import Outputs, State


class Lstm(nn.Module):
    """``layers`` LSTM layers of ``hidden`` units, a direction head and a move head."""

    def __init__(self, n_features: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_features, hidden, layers, batch_first=True)
        self.direction = nn.Linear(hidden, 3)
        self.move = nn.Linear(hidden, 1)

    def initial_state(self, streams: int) -> State:
        """Zero h and c for ``streams`` streams."""
        shape = (self.lstm.num_layers, streams, self.lstm.hidden_size)
        return torch.zeros(shape), torch.zeros(shape)

    def reset_state(self, state: State, fresh: torch.Tensor) -> State:
        """``state`` with the streams where ``fresh`` (bool [B]) holds put back to zero."""
        keep = (~fresh).to(state[0].dtype)[None, :, None]
        return tuple(part * keep for part in state)

    def forward(self, x: torch.Tensor, state: State) -> tuple[Outputs, State]:
        """Outputs for ``x`` [B, T, F] and the state after its last bar."""
        hidden, state = self.lstm(x, state)  # [B, T, H]
        return Outputs(self.direction(hidden), self.move(hidden)[..., 0]), state

    def step(self, x: torch.Tensor, state: State) -> tuple[Outputs, State]:
        """``forward`` for one bar ``x`` [B, F]; outputs have T = 1."""
        return self.forward(x[:, None, :], state)
