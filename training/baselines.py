"""What the network must beat: a logistic regression on the current bar's features, and the climatology."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from features.scaling import Scaling
from training.dataset import Dataset
from training.lanes import standardise

CLASSES = 3


def climatology(labels: np.ndarray) -> np.ndarray:
    """Frequencies of (down, flat, up) among ``labels``, float64 [3], with one count added to each class (Laplace)."""
    counts = np.bincount(labels, minlength=CLASSES) + 1
    return counts / counts.sum()


def fit_logistic(data: Dataset, rows: np.ndarray, scaling: Scaling) -> dict[str, np.ndarray]:
    """Multinomial logistic regression with an L2 penalty of 1, by L-BFGS, on ``rows``.

    Returns ``weight`` [3, F], ``bias`` [3] (float64) and the scaling's ``mean`` and ``std``. A class absent from
    ``rows`` gets the climatology's bias and zero weights.
    """
    labels = np.asarray(data.label[rows])
    model = LogisticRegression(max_iter=500).fit(standardise(data.features[rows], scaling), labels)
    weight, bias = np.zeros((CLASSES, data.features.shape[1])), np.log(climatology(labels))
    if len(model.classes_) == CLASSES:
        weight, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    return {"weight": weight, "bias": bias, "mean": scaling.mean, "std": scaling.std}


def logistic_probabilities(arrays: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Probabilities float64 [n, 3] of ``fit_logistic``'s model for ``features`` [n, F]."""
    logits = standardise(features, Scaling(arrays["mean"], arrays["std"])) @ arrays["weight"].T + arrays["bias"]
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def log_loss(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Negative log-likelihood of each label under its row of ``probabilities`` [n, 3]."""
    taken = np.take_along_axis(probabilities, labels.astype(np.int64)[:, None], axis=1)[:, 0]
    return -np.log(np.maximum(taken, np.finfo(np.float64).tiny))
