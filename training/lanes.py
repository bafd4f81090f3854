"""Lanes: a few long contiguous streams side by side, walked chunk by chunk with the recurrent state carried along.

B lanes, C bars a chunk, K chunks a lane, F features. Each run (a stream without a restart) is cut into chunks, the last
one padded; the chunks in order are dealt to the lanes, K to each. A chunk that starts a run or a lane is *fresh*: its
state is zero and its first ``burn_in`` bars carry no loss, since the state there is not what it will be in use.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from features.scaling import Scaling
from training.dataset import Dataset

_PADDING = -1


@dataclass(frozen=True, slots=True)
class Lanes:
    """Which row of the dataset stands where."""

    rows: np.ndarray  # int64 [B, K, C]; padding repeats the first row of all, a past one, and never counts
    counts: np.ndarray  # bool [B, K, C]: the bar carries loss
    fresh: np.ndarray  # bool [B, K]: the chunk starts with a zero state


class Batch(NamedTuple):
    """One chunk of every lane."""

    x: torch.Tensor  # float32 [B, C, F], standardised
    label: torch.Tensor  # int64 [B, C]; 0 where it does not count
    move: torch.Tensor  # float32 [B, C]: realised return in sigma; 0 where it does not count
    counts: torch.Tensor  # float32 [B, C]: 1 or 0
    fresh: torch.Tensor  # bool [B]


def build(runs: Iterable[np.ndarray], loss_rows: np.ndarray, *, lanes: int, chunk: int, burn_in: int) -> Lanes:
    """Lay ``runs`` (row numbers, each in time order) out as ``lanes`` lanes; only ``loss_rows`` carry loss."""
    pieces, starts = [], []
    for run in runs:
        padded = np.full(-(-len(run) // chunk) * chunk, _PADDING, np.int64)
        padded[: len(run)] = run
        pieces.append(padded.reshape(-1, chunk))
        starts.append(np.arange(len(pieces[-1])) == 0)
    chunks, fresh = np.concatenate(pieces), np.concatenate(starts)
    per_lane = -(-len(chunks) // lanes)
    missing = lanes * per_lane - len(chunks)
    rows = np.concatenate([chunks, np.full((missing, chunk), _PADDING)]).reshape(lanes, per_lane, chunk)
    fresh = np.concatenate([fresh, np.ones(missing, bool)]).reshape(lanes, per_lane)
    fresh[:, 0] = True
    counts = np.isin(rows, loss_rows) & (_bars_since_fresh(fresh, chunk) >= burn_in)
    return Lanes(np.where(rows == _PADDING, chunks[0, 0], rows), counts, fresh)


def _bars_since_fresh(fresh: np.ndarray, chunk: int) -> np.ndarray:
    """[B, K, C]: how many bars of the stream came before, since its state was zero."""
    position = np.arange(fresh.shape[1])
    latest = np.maximum.accumulate(np.where(fresh, position, 0), axis=1)
    return ((position - latest) * chunk)[:, :, None] + np.arange(chunk)


@dataclass(frozen=True, slots=True)
class LaneLoader:
    """The chunks in time order, gathered from the memory maps: the largest array alive is one batch."""

    lanes: Lanes
    data: Dataset
    scaling: Scaling

    def __len__(self) -> int:
        return self.lanes.rows.shape[1]

    def __iter__(self) -> Iterator[Batch]:
        for k in range(len(self)):
            rows, counts = self.lanes.rows[:, k], self.lanes.counts[:, k]
            yield Batch(
                x=torch.from_numpy(standardise(self.data.features[rows], self.scaling)),
                label=torch.from_numpy(np.where(counts, self.data.label[rows], 0).astype(np.int64)),
                move=torch.from_numpy(np.where(counts, self.data.label_return[rows], np.float32(0))),
                counts=torch.from_numpy(counts.astype(np.float32)),
                fresh=torch.from_numpy(self.lanes.fresh[:, k].copy()),
            )


def standardise(features: np.ndarray, scaling: Scaling) -> np.ndarray:
    """``features`` float32 [..., F] in units of the training rows' deviations: the exported step's own arithmetic."""
    return (features - scaling.mean) / scaling.std
