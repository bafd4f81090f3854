"""With every model of chance on, a run is still a function of its inputs: no piece, process or compiler changes it.

Whatever is drawn, facts keep their laws: no order fills beyond its size, after its end, or before it can have arrived.
"""

import hashlib
import os
import subprocess
import sys
from collections import defaultdict

import msgspec
import numpy as np
import pytest

from core import config, strategies, ticks
from core.records import ACTION_MASK, Action, Kind, OrderState
from core.settings import Impact, Latency, QueueModel, Simulation
from evaluation import peer
from tests.core.build import only
from tests.core.odd_tapes import OddTape, odd_tape

MS = 1_000_000
LEAST_NS = MS // 2
JITTER = Latency(kind="sampled", quantiles=((0, LEAST_NS), (900_000, 5 * MS), (1_000_000, 80 * MS)))
EVERYTHING = Simulation(
    seed=5,
    request_latency=JITTER,
    response_latency=Latency(kind="recorded", scale_ppm=1_500_000),
    decision_latency=Latency(kind="sampled", quantiles=((0, 0), (1_000_000, MS))),
    late_decision_ns=MS // 2,
    late_slippage_ppm=100,
    queue=QueueModel(kind="power", power=2),
    partial_fills=True,
    impact=Impact(temporary_ppm=1_000, permanent_ppm=500, reference_lots=1_000),
    reject_ppm=50_000,
)


def start(odd: OddTape, simulation: Simulation) -> ticks.Run:
    instrument = peer.peer_instrument(odd.tick, odd.lot, odd.maker_fee_ppm, 500)
    trading = peer.mm1_trading(instrument, odd.lot, odd.lot, odd.clock)
    strategy = msgspec.structs.replace(
        trading.strategy, order_lots=3 * odd.order_lots, inventory_lots=3 * odd.inventory_lots
    )
    execution = msgspec.structs.replace(trading.execution, simulation=simulation)
    built = config.build(msgspec.structs.replace(trading, strategy=strategy, execution=execution), [instrument])
    return ticks.start(built, odd.records, strategies.get("mm1"))


def play(odd: OddTape, simulation: Simulation = EVERYTHING) -> ticks.Run:
    run = start(odd, simulation)
    run.advance(len(odd.records) + 1)
    return run


def digest(seeds: range) -> str:
    runs = [play(odd_tape(seed)) for seed in seeds]
    return hashlib.sha256(b"".join(run.out.tobytes() + run.state.tobytes() for run in runs)).hexdigest()


def test_pieces_change_nothing() -> None:
    rng = np.random.default_rng(4)
    for seed in range(20):
        odd = odd_tape(seed)
        pieces = start(odd, EVERYTHING)
        for rows in sorted(rng.integers(0, len(odd.records) + 1, 5)):
            pieces.advance(int(rows))
        pieces.advance(len(odd.records) + 1)
        whole = play(odd)
        assert pieces.out.tobytes() == whole.out.tobytes(), f"seed {seed}"
        assert pieces.exchange.tobytes() == whole.exchange.tobytes(), f"seed {seed}"


def test_the_seed_is_what_chance_depends_on() -> None:
    other = msgspec.structs.replace(EVERYTHING, seed=6)
    differ = sum(play(odd_tape(seed)).out.tobytes() != play(odd_tape(seed), other).out.tobytes() for seed in range(20))
    assert differ > 5


def test_a_process_without_a_compiler_makes_the_same_bytes() -> None:
    code = "from tests.core.test_models_repeat import digest; print(digest(range(6)))"
    plain = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert plain.stdout.strip() == digest(range(6))


@pytest.mark.parametrize("partial", [True, False])
def test_facts_keep_their_laws(partial: bool) -> None:
    seen: dict[str, int] = defaultdict(int)
    for seed in range(60):
        out = play(odd_tape(seed), msgspec.structs.replace(EVERYTHING, seed=seed, partial_fills=partial)).out
        sent = {
            int(row["order_id"]): row
            for row in only(out, Kind.INTENT)
            if int(row["flags"]) & ACTION_MASK != Action.CANCEL
        }
        filled: dict[int, int] = defaultdict(int)
        ended: set[int] = set()
        for record in out[(out["kind"] == Kind.ORDER) | (out["kind"] == Kind.FILL)]:
            order, intent = int(record["a"]), sent[int(record["a"])]
            if record["kind"] == Kind.FILL:
                assert order not in ended
                filled[order] += int(record["c"])
                assert int(record["ts_event"]) >= int(intent["ts_known"]) + LEAST_NS
                seen["fills"] += 1
            elif record["b"] >= OrderState.CANCELED:
                assert int(record["c"]) == filled[order]
                assert int(record["c"]) + int(record["d"]) == int(intent["qty"])
                ended.add(order)
                seen["rejects"] += int(record["b"] == OrderState.REJECTED)
            assert filled[order] <= int(intent["qty"])
        known = out["ts_known"]
        assert (np.diff(known) >= 0).all()
        seen["parts"] += sum(0 < lots < int(sent[order]["qty"]) for order, lots in filled.items())
    assert seen["fills"] > 100 and seen["rejects"] > 10
    assert (seen["parts"] > 10) == partial
