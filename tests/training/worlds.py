"""Small worlds to train in: arrays with a known answer, and a walk-forward workspace of the built-in market."""

import tempfile
from pathlib import Path

import msgspec
import numpy as np
import torch

from feeds import synthetic
from feeds.market import from_yaml
from feeds.tape import Tape, write_tape
from pipelines import params
from pipelines.featurize import featurize
from training import weights
from training.calibrate import TrainedNetwork, load_network
from training.dataset import Dataset
from training.networks.lstm import Lstm
from training.settings import ModelParams

ROOT = Path(__file__).parents[2]
INTERVAL_NS = 300 * 10**9
DAY_NS = 86_400 * 10**9


def dataset(rows: int, *, instruments: int = 2, features: int = 4, seed: int = 0) -> Dataset:
    """Interleaved instruments, white-noise features, and a label that is the sign of the first feature 3 bars ago.

    No model of the current bar alone can know the label; one that remembers can know it exactly.
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, features)).astype(np.float32)
    signal = np.sign(np.roll(x[:, 0], 3 * instruments)).astype(np.float32)
    ts_event = (np.arange(rows) // instruments + 1) * INTERVAL_NS
    return Dataset(
        ts_event=ts_event,
        instrument=(np.arange(rows) % instruments).astype(np.uint16),
        features=x,
        ready=np.ones(rows, bool),
        sigma=np.full(rows, 1e-3),
        label=np.where(signal > 0, 2, 0).astype(np.int8),
        label_known_at=ts_event + 3 * INTERVAL_NS,
        label_return=signal,
    )


def settings(**changes: object) -> params.Params:
    """The checkout's parameters, shrunk to folds of days and seconds. ``changes`` replace whole top-level sections."""
    whole = params.load(ROOT / "params.yaml")
    small = {
        "workers": 1,
        "splits": msgspec.structs.replace(whole.splits, train_days=6, calibrate_days=2, test_days=2),
        "model": msgspec.structs.replace(whole.model, hidden=8),
        "training": msgspec.structs.replace(whole.training, epochs=2, lanes=4, chunk=32, burn_in=16),
    }
    return msgspec.structs.replace(whole, **(small | changes))


def workspace(artifacts: Path, chosen: params.Params, *, days: int = 11, strength: float = 1.0) -> Tape:
    """``artifacts`` as ingest and featurize leave them, for two instruments; returns the market tape."""
    path = artifacts / "data" / "market.tape"
    market = from_yaml((ROOT / chosen.data.market).read_text(), where="market").select(("BTC-USDT", "ETH-USDT"))
    write_tape(
        path,
        synthetic.market(market, days=days, seed=chosen.seed, strength=strength),
        instruments=market.instruments(),
        interval_ns=INTERVAL_NS,
        meta={"source": "synthetic", "injected": False},
    )
    tape = Tape.open(path)
    featurize(tape, artifacts / "features", chosen.features, chosen.labels)
    return tape


def network_arrays(seed: int = 0, *, features: int = 20, hidden: int = 16, layers: int = 1) -> dict[str, np.ndarray]:
    """An untrained LSTM's weights and a scaler, as a fold's ``lstm.npz`` holds them."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    arrays = {name: value.detach().numpy() for name, value in Lstm(features, hidden, layers).state_dict().items()}
    mean = rng.standard_normal(features).astype(np.float32)
    return arrays | {"mean": mean, "std": rng.uniform(0.5, 2, features).astype(np.float32)}


def trained_network(arrays: dict[str, np.ndarray], params: ModelParams) -> TrainedNetwork:
    """``arrays`` (as saved) as a network that runs."""
    with tempfile.TemporaryDirectory() as folder:
        weights.save(Path(folder) / "lstm.npz", arrays)
        return load_network(Path(folder) / "lstm.npz", params)


def files(folder: Path) -> dict[str, bytes]:
    """Every file under ``folder`` by its relative name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
