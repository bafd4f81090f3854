"""Networks behind the streaming contract of ``training.networks.base``."""

from training.networks.base import StreamingNetwork
from training.networks.lstm import Lstm
from training.settings import ModelParams


def build(params: ModelParams, n_features: int) -> StreamingNetwork:
    """The network ``params`` names, freshly initialised from torch's global generator."""
    return Lstm(n_features, params.hidden, params.layers)
