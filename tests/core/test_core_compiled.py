"""The compiled form: nothing counted in the loop, packed records, and the same bytes without a compiler."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import numba
import numpy as np
import pytest

from core import config, engine, layout, strategies, ticks
from core.jit import COMPILES, compiled, entry
from core.records import RECORD, Kind
from core.settings import Impact, Latency, QueueModel, Simulation
from runner.chain import Chain
from tests.core.build import BTC, ETH, book_tape, trading, walk

ROOT = Path(__file__).resolve().parents[2]
# Every model of the simulated exchange that draws or rounds.
MODELS = Simulation(
    seed=7,
    request_latency=Latency(kind="sampled", quantiles=((0, 1), (500_000, 2_000_000), (1_000_000, 90_000_000))),
    response_latency=Latency(kind="recorded", scale_ppm=1_500_000),
    queue=QueueModel(kind="power", power=2),
    partial_fills=True,
    impact=Impact(temporary_ppm=50, permanent_ppm=10, reference_lots=100),
    reject_ppm=50_000,
)


def bars_digest() -> str:
    """SHA-256 over everything a short session on bars leaves behind, the head of a journal of it among that."""
    tape, predictions, rows = walk(np.random.default_rng(11), 40, 2)
    digest = hashlib.sha256()
    for kind in ("edge", "sma"):
        settings = trading(kind=kind, fast=3, slow=7, participation_ppm=1_000, asset_cap_ppm=300_000)
        built = config.build(settings, (BTC, ETH))
        played = engine.session(built, tape, predictions, rows, strategies.get(kind))
        assert len(played.out) > 50
        for part in (built, played.out, played.marks, played.state, played.venue):
            digest.update(part.tobytes())
        digest.update(head(played.out))
    return digest.hexdigest()


def head(out: np.ndarray) -> bytes:
    """The head of a journal that holds ``out``."""
    chain = Chain(b"")
    chain.update(out.tobytes())
    return chain.head()


def maker(clock: str) -> tuple[np.ndarray, strategies.Compiled]:
    """A market maker's configuration on two books, and its strategy."""
    base = trading(profile="margin", kind="mm1", order_lots=500, inventory_lots=1_400, max_orders_per_hour=0)
    execution = msgspec.structs.replace(base.execution, decision_clock=clock, simulation=MODELS)
    return config.build(msgspec.structs.replace(base, execution=execution), (BTC, ETH)), strategies.get("mm1")


def run_digest(run: ticks.Run) -> str:
    """SHA-256 over everything a run on books leaves behind, the head of a journal of it among that."""
    digest = hashlib.sha256(head(run.out))
    for part in (run.config, run.out, run.state, run.exchange, run.books, run.exchange_books, run.cursor):
        digest.update(part.tobytes())
    return digest.hexdigest()


def books_digest() -> str:
    """The same of a short session on two books, under either clock."""
    tape, digests = book_tape(np.random.default_rng(5), 300, 2), []
    for clock in ("timer", "event"):
        run = ticks.session(maker(clock)[0], tape, maker(clock)[1])
        kinds = Counter(run.out["kind"].tolist())
        assert kinds[Kind.INTENT] > 20 and kinds[Kind.FILL] > 5 and kinds[Kind.ORDER] > 20
        digests.append(run_digest(run))
    return " ".join(digests)


@pytest.mark.parametrize("disable_jit", ["0", "1"], ids=["compiled", "without a compiler"])
def test_another_process_leaves_the_same_bytes(disable_jit: str) -> None:
    code = "from tests.core.test_core_compiled import bars_digest, books_digest; print(bars_digest(), books_digest())"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env={**os.environ, "NUMBA_DISABLE_JIT": disable_jit},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{bars_digest()} {books_digest()}"


@pytest.mark.parametrize("clock", ["timer", "event"])
def test_a_run_on_books_is_the_same_in_any_pieces(clock: str) -> None:
    tape, (built, strategy) = book_tape(np.random.default_rng(6), 500, 2), maker(clock)
    whole = ticks.session(built, tape, strategy)
    for seed, room in ((0, len(whole.buffer)), (1, ticks.OUT_PER_INPUT), (2, ticks.OUT_PER_INPUT + 7)):
        pieces = ticks.start(built, tape, strategy)
        pieces.buffer = np.zeros(room, RECORD)  # nearly full after every input
        for row in np.sort(np.random.default_rng(seed).integers(0, len(tape) + 1, 9)):
            pieces.advance(int(row))
        pieces.advance(len(tape) + 1)
        assert run_digest(pieces) == run_digest(whole)


def test_another_seed_leaves_other_bytes() -> None:
    """What is drawn depends on the seed: the tests above compare something."""
    tape, (built, strategy) = book_tape(np.random.default_rng(5), 300, 2), maker("timer")
    other = built.copy()
    other[0]["simulation"]["seed"] += 1
    assert head(ticks.session(built, tape, strategy).out) != head(ticks.session(other, tape, strategy).out)


@pytest.mark.parametrize(
    "dtype", [layout.CONFIG, layout.STATE, layout.VENUE, layout.OUTBOX, layout.POSITION, layout.MARKET, RECORD]
)
def test_records_are_packed(dtype: np.dtype) -> None:
    assert dtype.itemsize == sum(dtype[name].itemsize for name in dtype.names)
    assert not dtype.isalignedstruct


@pytest.mark.skipif(not COMPILES, reason="nothing is compiled under NUMBA_DISABLE_JIT")
def test_the_loop_counts_no_references() -> None:
    """Only the engine's functions that own or fill arrays may count; one that receives records never does."""
    signature = compiled(engine._run, *engine.ENTRIES[engine._run]).signatures[0]
    fresh = numba.njit(boundscheck=True, error_model="python")(engine._run)  # a cached entry has no LLVM to look at
    fresh.compile(signature)
    functions = re.findall(r"^define [^\n]*\n.*?^}", fresh.inspect_llvm(signature), re.M | re.S)
    names = [re.search(r'@"?([^"(]+)', body)[1] for body in functions if re.search(r"call [^\n]*@NRT_incref", body)]
    counting = {re.search(r"core\d+([a-z]+?)\d+(_?[a-z_]+?)B\d", name).groups() for name in names}
    assert ("engine", "_run") in counting, f"the pattern has gone blind: {names}"
    assert counting <= {("engine", "_run"), ("engine", "_report"), ("engine", "_deliver")}


@pytest.mark.skipif(not COMPILES, reason="nothing is compiled under NUMBA_DISABLE_JIT")
def test_the_entry_keeps_its_signature_and_is_cached() -> None:
    made = compiled(engine._run, *engine.ENTRIES[engine._run])
    assert compiled(engine._run, *engine.ENTRIES[engine._run]) is made
    assert len(made.signatures) == 1
    assert entry(engine._run) is not made
