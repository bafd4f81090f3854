"""One fold: its training rows in, weights and curves out. The same task gives the same bytes in any process."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np

from core.errors import BadInput
from features import scaling
from models.manifest import Fold
from training import lanes, networks
from training.baselines import climatology, fit_logistic
from training.dataset import Dataset, between, open_dataset, rows, runs
from training.determinism import make_deterministic
from training.module import DirectionModule
from training.select import select
from training.settings import ModelParams, TrainingParams


@dataclass(frozen=True, slots=True)
class FoldTask:
    """What a worker needs to train one fold; it opens the memory maps itself."""

    fold: Fold
    tape: Path
    features: Path
    model: ModelParams
    training: TrainingParams
    seed: int


@dataclass(frozen=True, slots=True)
class FoldFit:
    """One trained fold. ``network`` and ``logistic`` hold weights plus the scaler's ``mean`` and ``std``."""

    index: int
    network: dict[str, np.ndarray]
    logistic: dict[str, np.ndarray]
    climatology: tuple[float, float, float]  # frequencies of down, flat, up among the training labels
    counts: dict[str, int]  # usable rows of the train, calibrate and test blocks
    curves: dict[str, list[float]]  # per epoch


def fit_fold(task: FoldTask, report: Callable[[], None]) -> FoldFit:
    """Fit all of a fold on its training rows: scaler, selection, network, baselines. ``report`` follows every epoch."""
    make_deterministic(f"{task.seed} {task.fold.index}")
    data = open_dataset(task.tape, task.features)
    used = rows(data, task.fold)
    scale = scaling.fit(data.features, used.train)
    if keep := task.training.select_features:
        scale = select(scale, data.features[used.train], np.asarray(data.label[used.train]), keep)
    network, curves = _fit_network(task, data, used.train, scale, report)
    frequencies = climatology(np.asarray(data.label[used.train]))
    return FoldFit(
        index=task.fold.index,
        network=network | {"mean": scale.mean, "std": scale.std},
        logistic=fit_logistic(data, used.train, scale),
        climatology=(float(frequencies[0]), float(frequencies[1]), float(frequencies[2])),
        counts={name: len(getattr(used, name)) for name in ("train", "calibrate", "test")},
        curves=curves,
    )


def _fit_network(
    task: FoldTask, data: Dataset, train: np.ndarray, scale: scaling.Scaling, report: Callable[[], None]
) -> tuple[dict[str, np.ndarray], dict[str, list[float]]]:
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no hardware report per fold
    params = task.training
    layout = lanes.build(
        runs(data.instrument, data.ready, between(data, task.fold.train_start, task.fold.train_end)),
        train,
        lanes=params.lanes,
        chunk=params.chunk,
        burn_in=params.burn_in,
    )
    if not layout.counts.any():
        raise BadInput(
            f"fold {task.fold.index}: training.burn_in is {params.burn_in} bars and leaves none to learn from; "
            f"lower it or training.lanes ({params.lanes})"
        )
    loader = lanes.LaneLoader(layout, data, scale)
    network = networks.build(task.model, data.features.shape[1])
    module = DirectionModule(network, params, steps=params.epochs * len(loader))
    curves = _Curves(report)
    trainer = lightning.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=params.epochs,
        gradient_clip_val=params.number("gradient_clip"),
        deterministic=True,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[curves],
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*does not have many workers")  # batches are gathers from a memory map
        warnings.filterwarnings("ignore", ".*treespec", FutureWarning)  # Lightning calls torch's older interface
        trainer.fit(module, loader)
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}, curves.values


class _Curves(lightning.Callback):
    """Collects the epoch means of what the module logs."""

    def __init__(self, report: Callable[[], None]) -> None:
        self.values: dict[str, list[float]] = {}
        self._report = report

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        for name, value in trainer.callback_metrics.items():
            self.values.setdefault(name, []).append(float(value))
        self._report()
