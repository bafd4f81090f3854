"""A small signed bundle and the home that trusts it: what every test of the runner starts from.

The model is a momentum rule with one recurrent state, written out in ONNX: it trades a few times a day on the built-in
market, in both directions, and its state matters.
"""

from pathlib import Path

import msgspec
import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from core.canonical import canonical_json, sha256_hex
from core.instruments import Instrument
from core.settings import Execution, Risk, Strategy, Trading, as_json
from features.spec import FeatureParams, bar_spec
from feeds.market import BUILTIN
from models.bundle import load_bundle, write_bundle
from models.manifest import Manifest, Model, StateSpec
from models.statement import SIGNATURE, STATEMENT, Statement, public_key, sign

MINUTE_NS = 60_000_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
SPEC = bar_spec(FeatureParams(), 5 * MINUTE_NS, 15 * MINUTE_NS)
TRADING = Trading(
    execution=Execution(participation_ppm=1_000),
    strategy=Strategy(hold_horizons=6),
    risk=Risk(caution_drawdown_ppm=10_000, halt_drawdown_ppm=200_000, flatten_drawdown_ppm=300_000),
)


def momentum_onnx() -> bytes:
    """h' = 0.8 h + 0.2 x.w, move = h', probabilities = softmax(-h', 0, h'); w picks the three momentum features."""
    weights = np.array([[0.1 * name.startswith("momentum")] for name in SPEC.names], np.float32)
    constants = {"w": weights, "keep": np.float32(0.8), "take": np.float32(0.2), "zero": np.zeros((1, 1), np.float32)}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["signal"]),
        helper.make_node("Mul", ["h", "keep"], ["kept"]),
        helper.make_node("Mul", ["signal", "take"], ["taken"]),
        helper.make_node("Add", ["kept", "taken"], ["h_next"]),
        helper.make_node("Identity", ["h_next"], ["move"]),
        helper.make_node("Neg", ["h_next"], ["down"]),
        helper.make_node("Concat", ["down", "zero", "h_next"], ["logits"], axis=1),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]

    def value(name: str, width: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, width))

    graph = helper.make_graph(
        nodes,
        "momentum",
        [value("x", SPEC.n_features), value("h", 1)],
        [value("probabilities", 3), value("move", 1), value("h_next", 1)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def make_manifest(onnx_bytes: bytes | None, trading: Trading = TRADING) -> Manifest:
    """A manifest for the built-in market; without ``onnx_bytes`` that of a rule strategy."""
    model = None
    if onnx_bytes is not None:
        model = Model(
            kind="momentum",
            onnx_sha256=sha256_hex(onnx_bytes),
            n_features=SPEC.n_features,
            states=(StateSpec(name="h", shape=(1, 1)),),
            warmup_bars=20,
        )
    return Manifest(
        strategy=trading.strategy.kind,
        model=model,
        feature_spec=SPEC.as_json(),
        feature_spec_hash=SPEC.hash,
        label_spec={},
        label_spec_hash="0" * 64,
        dialect="builtin",
        dialect_hash="0" * 64,
        instruments=tuple(item.as_json() for item in BUILTIN.instruments()),
        interval_ns=5 * MINUTE_NS,
        data_hash="0" * 64,
        params_hash="0" * 64,
        code_hash="0" * 64,
        injected=False,
        folds=(),
        tolerances={},
        trading=trading,
    )


def make_bundle(
    folder: Path, trading: Trading = TRADING, *, rule: bool = False, key: Ed25519PrivateKey = KEY,
    verdict: str = "PASS", books_of: tuple[Instrument, ...] = (),
) -> Path:  # fmt: skip
    """Write a signed bundle into ``folder``; with ``books_of`` that of a rule on the books of those instruments."""
    onnx_bytes = None if rule or books_of else momentum_onnx()
    manifest = make_manifest(onnx_bytes, trading)
    if books_of:
        listed = tuple(item.as_json() for item in books_of)
        manifest = msgspec.structs.replace(manifest, instruments=listed, interval_ns=0)
    write_bundle(folder, onnx_bytes, manifest)
    bundle = load_bundle(folder)
    statement = Statement(
        bundle_id=bundle.id,
        onnx_sha256=bundle.onnx_sha256,
        manifest_sha256=bundle.manifest_sha256,
        verdict=verdict,
        profile="bar_model",
        gates={},
        metrics_sha256="0" * 64,
        gates_sha256="0" * 64,
        trials=1,
        created="2024-01-01T00:00:00Z",
        trust="dev",
        key_id=public_key(key, "dev").id,
    )
    data, signature = sign(statement, key)
    (folder / STATEMENT).write_bytes(data)
    (folder / SIGNATURE).write_bytes(signature)
    return folder


def make_home(folder: Path, key: Ed25519PrivateKey = KEY) -> Path:
    """A home that trusts ``key``."""
    public = public_key(key, "dev")
    (folder / "trust").mkdir(parents=True)
    (folder / "trust" / f"{public.id}.pub").write_bytes(canonical_json(as_json(public)))
    return folder


def with_trading(**sections: object) -> Trading:
    """TRADING with whole sections replaced."""
    return msgspec.structs.replace(TRADING, **sections)
