"""Queue models: what each does by hand, what all obey, and the fixed-point formulas against plain float ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import queue
from core.errors import BadConfig

LOT = queue.LOT
ORDER = np.dtype([("ahead", "<i8"), ("traded", "<i8")])
MODELS = [queue.model(), *[queue.model("power", power=n) for n in (1, 2, 3)], queue.model("logarithm", unit_lots=10)]


def row(model: np.ndarray) -> np.void:
    return model.reshape(1)[0]


def joined(shown: int) -> np.void:
    order = np.zeros(1, ORDER)[0]
    queue.on_new(order, shown)
    return order


def test_risk_averse_by_hand() -> None:
    order, model = joined(10), row(queue.model())
    queue.on_depth(model, order, 10, 15)  # more behind us
    assert order["ahead"] == 10 * LOT
    queue.on_depth(model, order, 15, 12)  # cancelled: behind us, to be safe
    assert order["ahead"] == 10 * LOT
    queue.on_trade(order, 4)
    queue.on_depth(model, order, 12, 8)
    assert order["ahead"] == 6 * LOT
    queue.on_depth(model, order, 8, 5)  # never longer than what is shown
    assert order["ahead"] == 5 * LOT
    queue.on_trade(order, 5)
    assert queue.take_filled(order, 7, True) == 0  # used up, nothing beyond
    queue.on_trade(order, 2)
    assert queue.take_filled(order, 7, True) == 2
    assert order["ahead"] == 0


def test_power_one_by_hand() -> None:
    order, model = joined(6), row(queue.model("power", power=1))
    queue.on_depth(model, order, 6, 8)
    queue.on_depth(model, order, 8, 4)  # 4 cancelled, each behind us with 2/8: 1 behind, 3 in front
    assert order["ahead"] == 3 * LOT
    queue.on_trade(order, 1)
    queue.on_depth(model, order, 4, 3)  # the trade explains it
    assert order["ahead"] == 2 * LOT
    queue.on_trade(order, 1)
    queue.on_depth(model, order, 3, 1)  # one traded, one cancelled: 1 in front, 2 behind
    assert abs(order["ahead"] - LOT * 2 / 3) <= 1


def test_no_more_is_cancelled_behind_than_stood_there() -> None:
    order, model = joined(10), row(queue.model("power", power=1))
    queue.on_depth(model, order, 10, 11)
    order["ahead"] = 1 * LOT
    queue.on_depth(model, order, 11, 0)
    assert order["ahead"] == 0


def test_no_more_is_cancelled_in_front_than_stood_there() -> None:
    """Six lots in front, two behind, all gone: cubes put 7.7 of the 8 in front, but nothing has traded beyond us."""
    order, model = joined(6), row(queue.model("power", power=3))
    queue.on_depth(model, order, 6, 8)
    queue.on_depth(model, order, 8, 0)
    assert order["ahead"] == 0
    assert queue.take_filled(order, 5, False) == 0


@pytest.mark.parametrize("partial", [True, False])
@pytest.mark.parametrize(("beyond", "lots"), [(-1, 0), (0, 0), (LOT // 2 - 1, 0), (LOT // 2, 1), (5 * LOT // 2, 3)])
def test_fills_start_at_half_a_lot(partial: bool, beyond: int, lots: int) -> None:
    order = joined(0)
    order["ahead"] = -beyond
    assert queue.take_filled(order, 9, partial) == (lots if partial or lots == 0 else 9)
    assert order["ahead"] == (0 if lots else -beyond)


def test_a_partial_fill_never_exceeds_what_is_left() -> None:
    order = joined(0)
    queue.on_trade(order, 100)
    assert queue.take_filled(order, 3, True) == 3


events = st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=30)


@pytest.mark.parametrize("model", MODELS)
@given(st.integers(0, 50), events)
def test_what_every_model_obeys(model: np.ndarray, shown: int, events: list[tuple[bool, int]]) -> None:
    """The queue ahead never grows, never exceeds what is shown, and no model is slower than the risk-averse one."""
    order, safe = joined(shown), joined(shown)
    for is_trade, lots in events:
        before = int(order["ahead"])
        if is_trade:
            queue.on_trade(order, lots)
            queue.on_trade(safe, lots)
        else:
            queue.on_depth(row(model), order, shown, lots)
            queue.on_depth(row(queue.model()), safe, shown, lots)
            shown = lots
            assert order["ahead"] <= shown * LOT
        assert order["ahead"] <= before
        assert order["ahead"] <= safe["ahead"]


def reference(kind: str, n: float, unit: float, events: list[tuple[bool, float]], shown: float) -> list[float]:
    """The published formula in floats, by lots; ``kind`` power or logarithm."""

    def weight(x: float) -> float:
        return x**n if kind == "power" else math.log(1 + x / unit)

    front, traded, track = shown, 0.0, []
    for is_trade, lots in events:
        if is_trade:
            front -= lots
            traded += lots
        else:
            cancelled = shown - lots - traded
            if cancelled > 0:
                before, behind = max(0.0, front), max(0.0, shown - front)
                total = weight(before) + weight(behind)
                chance = weight(behind) / total if total > 0 else 1.0
                front = max(min(front, 0.0), front - cancelled + min(behind, chance * cancelled))
            front, traded, shown = min(front, lots), 0.0, lots
        track.append(front)
    return track


@pytest.mark.parametrize(("kind", "n"), [("power", 1), ("power", 2), ("power", 3), ("logarithm", 1)])
@pytest.mark.parametrize("scale", [1, 1_000_000])
@given(st.integers(0, 2000), st.lists(st.tuples(st.booleans(), st.integers(0, 2000)), max_size=20))
def test_fixed_point_follows_the_formula(
    kind: str, n: int, scale: int, shown: int, events: list[tuple[bool, int]]
) -> None:
    """Within 1e-4 lots plus 1e-5 of the largest quantity, after up to 20 events, for small and for large levels."""
    unit = 7 * scale
    model = row(queue.model(kind, power=n, unit_lots=unit))
    order, level = joined(shown * scale), shown * scale
    floats = reference(kind, n, unit, [(t, lots * scale) for t, lots in events], shown * scale)
    largest = max([shown, *[lots for _, lots in events]]) * scale
    for (is_trade, lots), expected in zip(events, floats, strict=True):
        if is_trade:
            queue.on_trade(order, lots * scale)
        else:
            queue.on_depth(model, order, level, lots * scale)
            level = lots * scale
        assert abs(order["ahead"] / LOT - expected) <= 1e-4 + 1e-5 * largest


@given(st.integers(0, 2**61), st.integers(0, 2**61 - 1), st.sampled_from(MODELS[1:]))
def test_a_probability_is_one_and_falls_with_the_queue_in_front(front: int, behind: int, model: np.ndarray) -> None:
    front = min(front, 2**61 - behind)
    chance = queue.behind_probability(row(model), front, behind)
    assert 0 <= chance <= 1 << 30
    longer = queue.behind_probability(row(model), min(2 * front + LOT, 2**61 - behind), behind)
    assert longer <= chance + 64 or front > 2**61 - behind - front - LOT


@given(st.integers(1, 2**62 - 1))
def test_logarithm(number: int) -> None:
    assert abs(queue._log2(number) / 2**30 - math.log2(number)) < 1e-8


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.sampled_from(MODELS))
def test_no_quantity_overflows(shown: int, after: int, traded: int, model: np.ndarray) -> None:
    order = joined(shown)
    for _ in range(5):
        queue.on_trade(order, traded)
        queue.on_depth(row(model), order, shown, after)
    assert -(2**61) <= order["ahead"] <= 2**61
    assert 0 <= queue.take_filled(order, 5, True) <= 5


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kind": "fifo"}, "line.kind is 'fifo'; there is risk_averse, power, logarithm"),
        ({"kind": "power", "power": 4}, "line.power is 4"),
        ({"kind": "logarithm", "unit_lots": 0}, "line.unit_lots is 0"),
    ],
)
def test_impossible_models_are_refused(settings: dict, says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        queue.model(**settings, key="line")
