"""``runner doctor``: everything that would stop a session, found before it starts."""

import shutil
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import numpy as np

from core import config as core_config
from core import engine, strategies, warm
from core.errors import PortcullisError, Refused
from core.jit import cache_folder
from core.records import BAR, MINUTE_NS, PREDICTION, RECORD, Kind
from core.settings import Account, Trading
from features import bars as kernel
from features.market_state import BookSpec
from features.market_stream import MarketStates
from features.spec import FeatureParams, bar_spec
from feeds.market import BUILTIN
from models.lineage import program
from models.statement import read_trust, verify_bundle
from runner.home import Home
from runner.venues.sim import SimVenue

DISK_FREE_BYTES_MIN: Final = 1 << 30
_LIBRARIES: Final = ("numpy", "numba", "onnxruntime", "msgspec", "cryptography")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, whether it is in order, and what was seen."""

    check: str
    ok: bool
    found: str


def examine(home: Home, bundle: Path | None) -> list[Finding]:
    """Run every check; none stops the others."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("program", program),
        ("versions", _versions),
        ("home", lambda: _home(home)),
        ("disk", lambda: _disk(home)),
        ("trust", lambda: _trust(home)),
        ("kernels", _kernels),
    ]
    if bundle is not None:
        checks.append(("bundle", lambda: _bundle(home, bundle)))
    return [_finding(name, check) for name, check in checks]


def _finding(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (PortcullisError, OSError) as error:
        return Finding(name, False, str(error))


def _versions() -> str:
    libraries = ", ".join(f"{name} {metadata.version(name)}" for name in _LIBRARIES)
    return f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}, {libraries}"


def _home(home: Home) -> str:
    home.runs.mkdir(parents=True, exist_ok=True)
    probe = home.runs / ".probe"
    probe.write_bytes(b"probe")
    probe.unlink()
    return f"{home.folder} is writable, {len(list(home.runs.glob('*/journal.db')))} runs"


def _disk(home: Home) -> str:
    free = shutil.disk_usage(home.folder).free
    if free < DISK_FREE_BYTES_MIN:
        raise Refused(f"{free >> 20} MiB free, {DISK_FREE_BYTES_MIN >> 20} MiB needed: a full disk stops trading")
    return f"{free >> 30} GiB free"


def _trust(home: Home) -> str:
    keys = read_trust(home.trust)
    if not keys:
        raise Refused(f"{home.trust}: no trusted key; `python -m gates keys export --to {home.trust}`")
    loose = [path.name for path in home.trust.glob("*.pub") if path.stat().st_mode & 0o022]
    if loose:
        raise Refused(f"{home.trust}: {', '.join(loose)} may be written by others: chmod go-w")
    return ", ".join(f"{name} ({key.trust})" for name, key in keys.items())


def _kernels() -> str:
    """Compile, or load, every kernel, so that no order ever waits for a compiler, and call those of a session."""
    count = len(list(warm.entries()))
    instruments = BUILTIN.instruments()
    config = core_config.build(Trading(account=Account(quote=instruments[0].quote)), instruments)
    state, out = engine.new_state(config), np.zeros(engine.OUT_PER_INPUT, RECORD)
    venue = SimVenue(config)
    bar, prediction = np.zeros(1, BAR), np.zeros(1, PREDICTION)
    bar["kind"], prediction["kind"] = Kind.BAR, Kind.PREDICTION
    for price in ("open", "high", "low", "close"):
        bar[price] = 1_000_000
    bar["ts_event"] = prediction["ts_event"] = prediction["bar_ts"] = 5 * MINUTE_NS
    bar["ts_known"] = prediction["ts_known"] = 5 * MINUTE_NS + 1
    prediction["sigma_ppm"] = 1_000
    strategy = strategies.get("edge")
    venue.on_bar(bar.view(RECORD))
    for record in (bar, prediction):
        engine.on_core_record(config, state, record.view(RECORD), out, strategy)
    spec = bar_spec(FeatureParams(), 5 * MINUTE_NS, 15 * MINUTE_NS)
    kernel.update(kernel.new_state(spec, 1), bar, np.zeros((1, spec.n_features), np.float32))
    MarketStates([BookSpec("none", "crypto_spot", has_depth=True)]).add(np.zeros(1, RECORD))
    return f"{count} entries of the core ready in {cache_folder()}"


def _bundle(home: Home, folder: Path) -> str:
    bundle, statement = verify_bundle(folder, home.trust)
    return f"{bundle.id[:16]}, {statement.verdict}, signed by {statement.key_id} ({statement.trust})"
