"""Calibration of one fold: a temperature for its probabilities, a scale for its expected return.

Both are fitted on the fold's calibration block alone: labels the network never saw, known before the test starts. The
network runs over the block as it will in use: from a zero state at each run's start, the first ``burn_in`` bars unused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from core.errors import BadInput
from features.scaling import Scaling
from models.manifest import Fold
from training import networks, weights
from training.dataset import Dataset, between, rows, runs
from training.lanes import standardise
from training.networks.base import StreamingNetwork
from training.settings import ModelParams

_LOG_TEMPERATURE_MAX: Final = 3.0  # e^3 leaves next to nothing of any logit
_SCALE_MAX: Final = 4.0
_CHUNK_BARS: Final = 4_096


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """A fold's network with its scaler, ready to run."""

    arrays: dict[str, np.ndarray]  # as saved: the state dict plus mean and std
    network: StreamingNetwork
    scaling: Scaling

    def forward(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits float32 [n, 3] and moves float32 [n] for one run of ``features`` [n, F], from a zero state."""
        logits, moves, state = [], [], self.network.initial_state(1)
        with torch.no_grad():
            for start in range(0, len(features), _CHUNK_BARS):
                x = torch.from_numpy(standardise(features[start : start + _CHUNK_BARS], self.scaling))[None]
                outputs, state = self.network(x, state)
                logits.append(outputs.logits[0].numpy())
                moves.append(outputs.move[0].numpy())
        return np.concatenate(logits), np.concatenate(moves)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A network with what is applied after it: probabilities = softmax(logits / temperature), move x move_scale."""

    network: TrainedNetwork
    temperature: float
    move_scale: float
    rows: np.ndarray  # row numbers it was fitted on

    def outputs(self, features: np.ndarray) -> np.ndarray:
        """p_down, p_flat, p_up, move as float32 [n, 4] for one run of ``features`` [n, F]."""
        logits, moves = self.network.forward(features)
        return np.column_stack([softmax(logits / self.temperature, axis=1), moves * self.move_scale])


def load_network(path: Path, params: ModelParams) -> TrainedNetwork:
    """The network saved at ``path``. Raises BadInput if the file is missing or of another shape."""
    arrays = weights.load(path)
    network = networks.build(params, len(arrays["mean"]))
    state = {name: torch.from_numpy(value) for name, value in arrays.items() if name not in ("mean", "std")}
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise BadInput(f"{path}: {error}; train again with `dvc repro train`") from None
    return TrainedNetwork(arrays, network, Scaling(arrays["mean"], arrays["std"]))


def calibrate(data: Dataset, fold: Fold, network: TrainedNetwork, burn_in: int) -> Calibrated:
    """Temperature and move scale of ``fold``, fitted on the labelled rows of its calibration block."""
    labelled = rows(data, fold).calibrate
    block = between(data, fold.calibrate_start, fold.calibrate_end)
    used, logits, moves = [], [], []
    for run in runs(data.instrument, data.ready, block):
        run_logits, run_moves = network.forward(data.features[run])
        keep = np.isin(run, labelled) & (np.arange(len(run)) >= burn_in)
        used.append(run[keep])
        logits.append(run_logits[keep])
        moves.append(run_moves[keep])
    fitted = np.concatenate(used)
    return Calibrated(
        network=network,
        temperature=fit_temperature(np.concatenate(logits), data.label[fitted]),
        move_scale=fit_move_scale(np.concatenate(moves), data.label_return[fitted]),
        rows=fitted,
    )


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature of least log loss (Guo et al. 2017, section 4.2), within e^-3 .. e^3; 1 without rows."""
    if not len(labels):
        return 1.0
    wide, index = logits.astype(np.float64), np.arange(len(labels))

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(wide / np.exp(log_temperature), axis=1)[index, labels].mean())

    bounds = (-_LOG_TEMPERATURE_MAX, _LOG_TEMPERATURE_MAX)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def fit_move_scale(moves: np.ndarray, realised: np.ndarray) -> float:
    """Slope through the origin of the realised on the predicted return, both in sigma, within 0 .. 4.

    Never negative: a model that was wrong way round on the block gets no edge, not the opposite one. 0 without rows.
    """
    predicted, found = moves.astype(np.float64), realised.astype(np.float64)
    power = float(predicted @ predicted)
    return min(max(float(predicted @ found) / power, 0.0), _SCALE_MAX) if power > 0 else 0.0
