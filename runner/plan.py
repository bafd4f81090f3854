"""A session before it starts: the bundle, the market, the configuration, and the header that fixes them all.

The header is the journal's first content and the start of its hash chain. It holds nothing that may differ between two
honest sessions of the same inputs: no clock, path, process or key. What is local or measured goes to ``about.json``.
"""

from dataclasses import dataclass
from importlib import metadata
from typing import Any, Final

import msgspec
import numpy as np

from core import config as core_config
from core import strategies
from core.canonical import canonical_json, hash_json
from core.errors import Refused
from core.instruments import Instrument, instrument_from_json
from core.jit import kernel_hash
from core.layout import BOOK, EXCHANGE, STATE, VENUE
from core.records import RECORD, RECORD_VERSION, Kind
from core.settings import Trading, as_json, parse
from core.stepwise import PLACE
from features import book as book_kernel
from features.spec import FeatureSpec, spec_from_json
from models.bundle import Bundle
from models.manifest import Manifest
from models.predictor import Predictor
from models.stream import Stream
from runner.feed import Feed, check_feed
from runner.ledger import Ledger
from runner.schema import FORMAT
from runner.settings import changed_keys

KERNEL_HASH: Final = kernel_hash()  # of the kernels this process has loaded
# Of how states lie in memory: a checkpoint can only be taken up by a program with the same.
LAYOUT_HASH: Final = hash_json([str(dtype.descr) for dtype in (STATE, BOOK, VENUE, EXCHANGE, PLACE, book_kernel.STATE)])


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session is made of. ``parity``: the configuration is the one the bundle was judged under."""

    bundle: Bundle
    feed: Feed
    trading: Trading
    header: dict[str, Any]

    @property
    def parity(self) -> bool:
        return not self.header["changed"]


def make_plan(bundle: Bundle, feed: Feed, trading: Trading) -> Plan:
    """Check that the parts fit and derive the header.

    Raises Refused if the market is not the bundle's or its features are not this program's.
    """
    manifest = bundle.manifest
    check_feed(feed, manifest)
    if manifest.model is not None:
        if feed.interval_ns == 0:
            raise Refused("the bundle has a model, and a session on books trades by a rule: use a rule's bundle")
        feature_spec(manifest)
    config = as_json(trading)
    config_hash = hash_json(config)
    header = {
        "format": FORMAT,
        "record_version": RECORD_VERSION,
        "mode": "paper",
        "run_id": hash_json({"feed": feed.id, "bundle": bundle.id, "config": config_hash}),
        "bundle_id": bundle.id,
        "feed_id": feed.id,
        "source": feed.source,
        "trading": config,
        "config_hash": config_hash,
        "changed": sorted(changed_keys(manifest.trading, trading)),
        "feature_spec_hash": manifest.feature_spec_hash,
        "dialect": manifest.dialect,
        "dialect_hash": manifest.dialect_hash,
        "kernel_hash": KERNEL_HASH,
        "layout_hash": LAYOUT_HASH,
        "version": metadata.version("portcullis"),
        "instruments": [item.as_json() for item in feed.instruments],
        "interval_ns": feed.interval_ns,
        "trade_from_ns": feed.trade_from_ns,
    }
    # As it will be read back: JSON knows lists, not tuples.
    return Plan(bundle, feed, trading, msgspec.json.decode(canonical_json(header)))


def session_record(header: dict[str, Any]) -> np.ndarray:
    """The SESSION record of ``header``: the run id in the body, no time. Shape (1,), dtype RECORD."""
    record = np.zeros(1, RECORD)
    record["kind"] = Kind.SESSION
    words = np.frombuffer(bytes.fromhex(header["run_id"]), "<i8")
    for name, word in zip("abcd", words, strict=True):
        record[name] = word
    record["e"] = header["record_version"]
    return record


def header_instruments(header: dict[str, Any]) -> tuple[Instrument, ...]:
    """The instruments a journal was written for."""
    return tuple(instrument_from_json(item) for item in header["instruments"])


def header_core(header: dict[str, Any]) -> tuple[np.ndarray, Any]:
    """The core's CONFIG record and compiled strategy for ``header``. Raises BadConfig."""
    trading = parse(Trading, header["trading"], where="journal header: trading")
    instruments = header_instruments(header)
    return core_config.build(trading, instruments), strategies.of(trading, instruments)


def header_ledger(header: dict[str, Any]) -> Ledger:
    """An empty ledger for ``header``, its opening balance the core's initial cash. Raises BadConfig."""
    config, _ = header_core(header)
    quote, cash = header["trading"]["account"]["quote"], int(config["initial_cash"][0])
    return Ledger(header_instruments(header), quote, cash, config)


def feature_spec(manifest: Manifest) -> FeatureSpec:
    """The bundle's feature specification. Raises Refused if this program's kernel computes another one."""
    spec = spec_from_json(manifest.feature_spec)
    if spec.hash != manifest.feature_spec_hash:
        raise Refused(
            f"the feature specification hashes to {spec.hash[:16]}, the manifest says "
            f"{manifest.feature_spec_hash[:16]}: make the bundle anew"
        )
    return spec


def make_stream(bundle: Bundle, n_instruments: int, latency_ns: int, trade_from_ns: int) -> Stream | None:
    """Kernel and model of ``bundle``, from nothing; None for a rule strategy, which needs no predictions."""
    model = bundle.manifest.model
    if model is None or bundle.onnx_bytes is None:
        return None
    return Stream(
        feature_spec(bundle.manifest),
        Predictor(bundle.onnx_bytes, model, n_instruments),
        n_instruments,
        warmup_bars=model.warmup_bars,
        latency_ns=latency_ns,
        trade_from_ns=trade_from_ns,
    )
