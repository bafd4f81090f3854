"""The Lightning module: loss, optimiser and logged curves. The network is a plain ``nn.Module``, handed in.

Loss per counting bar = cross-entropy(logits, direction) + move_weight x Huber(move, realised return in sigma). The
recurrent state is carried from chunk to chunk and detached there (truncated backpropagation through time), so no
gradient crosses a chunk's edge.
"""

from typing import Any

import lightning
import torch
from torch.nn import functional

from training.lanes import Batch
from training.networks.base import Outputs, State, StreamingNetwork
from training.settings import TrainingParams


class DirectionModule(lightning.LightningModule):
    """Trains ``network`` on batches of lanes; ``steps`` is the number of optimiser steps of the whole fit."""

    def __init__(self, network: StreamingNetwork, params: TrainingParams, steps: int) -> None:
        super().__init__()
        self.network = network
        self.params = params
        self.steps = steps
        self.state: State = ()

    def training_step(self, batch: Batch, batch_index: int) -> torch.Tensor:
        """Loss of one chunk of every lane; the epoch's first chunk starts from zero states."""
        state = self.state if batch_index else self.network.initial_state(len(batch.fresh))
        state = self.network.reset_state(tuple(part.detach() for part in state), batch.fresh)
        outputs, self.state = self.network(batch.x, state)
        direction, move = losses(outputs, batch)
        loss = direction + self.params.number("move_weight") * move
        values = {"loss": loss, "direction_loss": direction, "move_loss": move}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=max(1, int(batch.counts.sum())))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW (Loshchilov & Hutter 2019) with the learning rate on a half cosine down to 0, step by step."""
        optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.params.number("learning_rate"),
            weight_decay=self.params.number("weight_decay"),
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=self.steps)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def losses(outputs: Outputs, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy and mean Huber loss over the counting bars; 0 if none counts."""
    weight = batch.counts / batch.counts.sum().clamp(min=1)  # [B, C]
    direction = functional.cross_entropy(outputs.logits.transpose(1, 2), batch.label, reduction="none")
    move = functional.huber_loss(outputs.move, batch.move, reduction="none")
    return (direction * weight).sum(), (move * weight).sum()
