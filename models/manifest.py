"""The manifest: what a bundle is made of and judged under. Its hash together with the ONNX file's is the bundle's id.

It holds nothing that may differ between two honest runs of the same inputs: no clock, path, worker count, MLflow id,
measured latency or metric. Those belong to the signed statement beside it. Numbers with a fraction are decimal
strings, so that the manifest has canonical bytes.
"""

from typing import Any

from core.canonical import canonical_json, hash_json
from core.settings import Section, Trading, as_json, parse


class Fold(Section, frozen=True, kw_only=True):
    """One walk-forward fold, times in ns since the epoch, half-open intervals on ts_event."""

    index: int
    train_start: int
    train_end: int  # after purge: every training label is known before calibrate_start
    calibrate_start: int
    calibrate_end: int  # after purge: every calibration label is known before test_start
    test_start: int
    test_end: int


class StateSpec(Section, frozen=True, kw_only=True):
    """One recurrent state of the step: input ``name`` and output ``name + "_next"``."""

    name: str
    shape: tuple[int, ...]


class Model(Section, frozen=True, kw_only=True):
    """The exported step. Inputs: ``x`` float32 [1, n_features] and the states, all zero at a stream's start.

    Outputs: ``probabilities`` float32 [1, 3] (down, flat, up), ``move`` float32 [1, 1] (expected return over the
    horizon in units of its sigma), and the next states.
    """

    kind: str
    onnx_sha256: str
    n_features: int
    states: tuple[StateSpec, ...]
    warmup_bars: int  # predictions of the first bars after a reset carry the flag WARMUP


class Manifest(Section, frozen=True, kw_only=True):
    """Everything that identifies a bundle. ``model`` is None for a rule strategy."""

    version: int = 1
    strategy: str
    model: Model | None
    feature_spec: dict[str, Any]  # features.spec.as_json(): names, units, parameters
    feature_spec_hash: str
    label_spec: dict[str, Any]
    label_spec_hash: str
    dialect: str
    dialect_hash: str
    instruments: tuple[dict[str, Any], ...]
    interval_ns: int
    data_hash: str  # tape_id of the market tape
    params_hash: str
    code_hash: str
    injected: bool  # a signal was planted into recorded data: may never trade live
    folds: tuple[Fold, ...]
    tolerances: dict[str, str]
    trading: Trading


def manifest_bytes(manifest: Manifest) -> bytes:
    """The canonical bytes of ``manifest``: what is written, hashed and signed."""
    return canonical_json(as_json(manifest))


def manifest_from(data: dict[str, Any], *, where: str) -> Manifest:
    """The inverse of ``manifest_bytes`` on parsed JSON. Raises BadConfig naming ``where`` and the key."""
    return parse(Manifest, data, where=where)


def bundle_id(onnx_sha256: str | None, manifest_sha256: str) -> str:
    """The id of a bundle: a hash over its two files' hashes."""
    return hash_json({"onnx": onnx_sha256, "manifest": manifest_sha256})
