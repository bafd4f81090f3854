"""The compiled form: nothing counted in the loop, packed records, and the same bytes without a compiler."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from core import config, engine, layout, strategies
from core.jit import entry
from core.records import RECORD
from tests.core.build import BTC, ETH, trading, walk

ROOT = Path(__file__).resolve().parents[2]


def session_digest() -> str:
    """SHA-256 over everything a short session leaves behind."""
    tape, predictions, rows = walk(np.random.default_rng(11), 40, 2)
    digest = hashlib.sha256()
    for kind in ("edge", "sma"):
        settings = trading(kind=kind, fast=3, slow=7, participation_ppm=1_000, asset_cap_ppm=300_000)
        built = config.build(settings, (BTC, ETH))
        played = engine.session(built, tape, predictions, rows, strategies.get(kind))
        assert len(played.out) > 50
        for part in (built, played.out, played.marks, played.state, played.venue):
            digest.update(part.tobytes())
    return digest.hexdigest()


def test_without_a_compiler_the_bytes_are_the_same() -> None:
    code = "from tests.core.test_core_compiled import session_digest; print(session_digest())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == session_digest()


@pytest.mark.parametrize(
    "dtype", [layout.CONFIG, layout.STATE, layout.VENUE, layout.OUTBOX, layout.POSITION, layout.MARKET, RECORD]
)
def test_records_are_packed(dtype: np.dtype) -> None:
    assert dtype.itemsize == sum(dtype[name].itemsize for name in dtype.names)
    assert not dtype.isalignedstruct


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="nothing is compiled under NUMBA_DISABLE_JIT")
def test_the_loop_counts_no_references() -> None:
    """Only the engine's functions that own or fill arrays may count; one that receives records never does."""
    signature = engine._compiled(engine._run).signatures[0]
    fresh = numba.njit(boundscheck=True, error_model="python")(engine._run)  # a cached entry has no LLVM to look at
    fresh.compile(signature)
    functions = re.findall(r"^define [^\n]*\n.*?^}", fresh.inspect_llvm(signature), re.M | re.S)
    names = [re.search(r'@"?([^"(]+)', body)[1] for body in functions if re.search(r"call [^\n]*@NRT_incref", body)]
    counting = {re.search(r"core\d+([a-z]+?)\d+(_?[a-z_]+?)B\d", name).groups() for name in names}
    assert ("engine", "_run") in counting, f"the pattern has gone blind: {names}"
    assert counting <= {("engine", "_run"), ("engine", "_report"), ("engine", "_deliver")}


def test_the_entry_keeps_its_signature_and_is_cached() -> None:
    compiled = engine._compiled(engine._run)
    assert engine._compiled(engine._run) is compiled
    assert len(compiled.signatures) == 1
    assert entry(engine._run) is not compiled
