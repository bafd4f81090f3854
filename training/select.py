"""Which features a fold's model sees: the ``training.select_features`` that tell its training labels apart best.

The score is the F statistic of a one-way analysis of variance of each feature over the label's classes, on the fold's
training rows alone. It only ranks: rows overlap, so it is no test. A feature left out gets an infinite deviation in the
scaler, so its standardised value is 0 in training, in the baseline and in the exported step: the choice travels inside
``step.onnx``, which takes every feature, and the runner need not know of it.
"""

import warnings
from dataclasses import replace

import numpy as np
from sklearn.feature_selection import f_classif

from core.errors import BadConfig
from features.scaling import Scaling


def select(scale: Scaling, features: np.ndarray, labels: np.ndarray, keep: int) -> Scaling:
    """``scale`` with all but the ``keep`` best of ``features`` [n, F] left out; ties go to the first.

    Raises BadConfig if there are fewer features than that.
    """
    if keep > (n_features := features.shape[1]):
        raise BadConfig(f"training.select_features is {keep}; there are {n_features} features: lower it, or 0 for all")
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.filterwarnings("ignore", "Features .* are constant")
        score, _ = f_classif(features, labels)
    order = np.argsort(-np.nan_to_num(score, nan=-1.0), kind="stable")  # a constant one tells nothing
    std = np.full(n_features, np.inf, np.float32)
    std[order[:keep]] = scale.std[order[:keep]]
    return replace(scale, std=std)


def is_kept(std: np.ndarray) -> np.ndarray:
    """Which features a scaler's ``std`` leaves in, bool [F]."""
    return np.isfinite(std)
