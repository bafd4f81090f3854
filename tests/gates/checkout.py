"""A minimal checkout for promotion tests: a candidate, its metrics and the real gate file, made in milliseconds."""

import json
import shutil
from pathlib import Path
from typing import Any

from core.canonical import sha256_hex
from core.settings import Trading
from gates.workspace import Workspace
from models.bundle import write_bundle
from models.manifest import Manifest, Model
from pipelines import gate

ROOT = Path(__file__).parents[2]
NOW = "2026-01-01T00:00:00+00:00"

# what a model that passes every gate of bar_model measures
PASSING: dict[str, dict[str, Any]] = {
    "direction_skill": {"value": 0.01, "lower": 0.005, "upper": 0.015, "n": 3_000, "unit": "share"},
    "skill_over_climatology": {"value": 0.02, "lower": 0.01, "upper": 0.03, "n": 5_000, "unit": "share"},
    "expectancy_bps": {"value": 12.0, "lower": 4.0, "upper": 20.0, "n": 400, "unit": "bps"},
    "expectancy_2x_cost_bps": {"value": 3.0, "lower": -2.0, "upper": 8.0, "n": 380, "unit": "bps"},
    "ece_debiased": {"value": 0.004, "lower": 0.0, "upper": 0.009, "n": 5_000, "unit": "share"},
    "sharpe_daily": {"value": 0.4, "lower": 0.2, "upper": 0.6, "n": 120, "unit": "", "skew": 0.1, "kurtosis": 4.0},
    "max_drawdown": {"value": 0.02, "lower": None, "upper": None, "n": 120, "unit": "share"},
    "latency_p99_ms": {"value": 0.2, "lower": None, "upper": None, "n": 10_000, "unit": "ms"},
    "onnx_parity": {"value": 2e-7, "lower": None, "upper": None, "n": 9_000, "unit": "probability"},
    "paper_parity": {"value": 1, "lower": None, "upper": None, "n": 9_000, "unit": ""},
}


def changed(name: str, **fields: Any) -> dict[str, dict[str, Any]]:
    """PASSING with some fields of one metric changed."""
    return PASSING | {name: PASSING[name] | fields}


def manifest(onnx: bytes | None = b"onnx of a", **changes: Any) -> Manifest:
    """A manifest for ``onnx``; ``changes`` replace its fields."""
    model = None
    if onnx is not None:
        model = Model(kind="lstm", onnx_sha256=sha256_hex(onnx), n_features=3, states=(), warmup_bars=10)
    fields: dict[str, Any] = {
        "strategy": "edge" if onnx is not None else "sma",
        "model": model,
        "feature_spec": {"names": ["r1", "r5", "atr"]},
        "feature_spec_hash": "f" * 64,
        "label_spec": {"horizon_minutes": 15},
        "label_spec_hash": "1" * 64,
        "dialect": "synthetic",
        "dialect_hash": "d" * 64,
        "instruments": ({"symbol": "BTC-USDT"},),
        "interval_ns": 300_000_000_000,
        "data_hash": "a" * 64,
        "params_hash": sha256_hex(onnx or b"rule"),
        "code_hash": "c" * 64,
        "injected": False,
        "folds": (),
        "tolerances": {"onnx_parity": "0.00001"},
        "trading": Trading(),
    }
    return Manifest(**{**fields, **changes})


def put_candidate(work: Workspace, onnx: bytes, metrics: dict[str, Any] = PASSING) -> str:
    """Write a candidate and its metrics as the stages do, and return its id."""
    identity = write_bundle(work.candidate, onnx, manifest(onnx))
    work.metrics.parent.mkdir(parents=True, exist_ok=True)
    work.metrics.write_text(json.dumps({"version": 1, "bundle_id": identity, "metrics": metrics, "folds": []}))
    return identity


def judged(work: Workspace, onnx: bytes, metrics: dict[str, Any] = PASSING) -> str:
    """``put_candidate``, then the gate stage's work."""
    identity = put_candidate(work, onnx, metrics)
    gate.judge_candidate(work, work.verdict.parent)
    return identity


def make_workspace(root: Path) -> Workspace:
    """An empty checkout with the product's gate file."""
    (root / "gates").mkdir(parents=True)
    shutil.copy(ROOT / "gates" / "gates.yaml", root / "gates" / "gates.yaml")
    return Workspace(root)
