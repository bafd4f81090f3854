"""The bar venue under each replaceable model, one entry at a time: what it pays, when it arrives, what is charged."""

import numpy as np
import pytest

from core.records import DAY_NS, FILL, Kind, OrderState, Reason
from core.settings import FeeRow, Fees, FeeTable, Impact, Latency, Simulation
from tests.core.build import BTC, STEP_NS, Desk, bars, only, predict, trading

MS = 1_000_000
PRICE = 1_000_000  # ticks: 10,000 USDT


def entry(
    simulation: Simulation, *, decision_ns: int = 50 * MS, volume: int = 10_000_000, after: int = 1
) -> tuple[np.ndarray, Desk]:
    """Everything said about one entry of 1,000 lots decided on the first of ``after`` + 1 equal bars."""
    desk = Desk(trading(simulation=simulation, fixed_lots=1_000, participation_ppm=1_000_000), (BTC,))
    tape = bars([PRICE] * (after + 1), volume=volume)
    desk.feed(tape[0:1])
    prediction = predict(tape[0], edge=5_000)
    prediction["ts_known"] = tape[0]["ts_known"] + decision_ns
    desk.feed(prediction)
    for row in range(1, after + 1):
        desk.feed(tape[row : row + 1])
    return np.concatenate(desk.out), desk


def paid(simulation: Simulation, **changes: int) -> int:
    (fill,) = only(entry(simulation, **changes)[0], Kind.FILL)
    return int(fill["price"])


def test_slippage_alone() -> None:
    assert paid(Simulation()) == PRICE + 100


@pytest.mark.parametrize(("decision_ms", "price"), [(500, PRICE + 100), (501, PRICE + 100 + 250)])
def test_a_late_decision_degrades_an_entry_by_exactly_the_p90_slippage(decision_ms: int, price: int) -> None:
    """EVAL-12."""
    late = Simulation(late_decision_ns=500 * MS, late_slippage_ppm=250)
    assert paid(late, decision_ns=decision_ms * MS) == price


def test_a_late_decision_does_not_degrade_an_exit() -> None:
    late = Simulation(late_decision_ns=500 * MS, late_slippage_ppm=250)
    desk = Desk(trading(simulation=late, fixed_lots=1_000, cooldown_ns=0), (BTC,))
    tape = bars([PRICE] * 4)
    for row, edge in enumerate((5_000, -5_000)):
        desk.feed(tape[row : row + 1])
        prediction = predict(tape[row], edge=edge)
        prediction["ts_known"] += 600 * MS
        desk.feed(prediction)
    desk.feed(tape[2:3])
    fills = only(np.concatenate(desk.out), Kind.FILL)
    assert fills["price"].tolist() == [PRICE + 100 + 250, PRICE - 100]


def test_impact_is_measured_against_the_bars_volume() -> None:
    """1,000 of 10,000 lots: a tenth of 5 % temporary; permanent impact moves what comes later, not this."""
    impact = Impact(temporary_ppm=50_000, permanent_ppm=10_000)
    found, desk = entry(Simulation(impact=impact), volume=10_000)
    assert only(found, Kind.FILL)["price"].tolist() == [PRICE + 100 + 5_000]
    assert int(desk.venue[0]["working"][0]["shift_ppm"]) == 1_000


def test_a_sampled_request_is_drawn_from_seed_and_order() -> None:
    slow = Latency(kind="sampled", quantiles=((0, 1), (1_000_000, 4 * STEP_NS)))

    def arrived(seed: int) -> int:
        found, _ = entry(Simulation(request_latency=slow, seed=seed), after=6)
        return int(only(found, Kind.ORDER)["ts_event"][0])

    assert arrived(1) == arrived(1)
    times = [arrived(seed) for seed in range(5)]
    assert len(set(times)) == 5 and max(times) - min(times) > STEP_NS // 2


def test_a_rejected_order_never_fills() -> None:
    found, desk = entry(Simulation(reject_ppm=1_000_000))
    (report,) = only(found, Kind.ORDER)
    assert (int(report["state"]), int(report["reason"])) == (OrderState.REJECTED, Reason.VENUE_REJECT)
    assert len(only(found, Kind.FILL)) == 0
    assert desk.state[0]["positions"][0]["base_units"] == 0


TIERS = FeeTable(
    venue="tiers",
    source="this test",
    as_of="now",
    volume_assets=("USDT",),
    fee_asset="quote",
    rows=(
        FeeRow(volume_from="0", volume_below="50", maker_ppm=1_000, taker_ppm=2_000),
        FeeRow(volume_from="50", volume_below=None, maker_ppm=500, taker_ppm=1_000),
    ),
)


@pytest.mark.parametrize(("start", "rate_ppm"), [("0", 2_000), ("60", 1_000)])
def test_fees_are_the_takers_of_the_volumes_tier(start: str, rate_ppm: int) -> None:
    found, desk = entry(Simulation(fees=Fees(table=TIERS, volume_start=start)))
    (fill,) = only(found, Kind.FILL).view(FILL)
    value = int(fill["price"]) * int(fill["qty"]) * 10  # one lot at one tick is ten units
    assert int(fill["fee"]) == -(-value * rate_ppm // 1_000_000)
    turnover = desk.venue[0]["turnover"]
    assert int(turnover["today"]) == value
    assert int(turnover["day"]) == int(fill["ts_event"]) // DAY_NS
