"""The order's life at the boundary, without a venue: whatever is said, however often, in whatever order."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BrokenInvariant
from core.orders import AFTER as CORE_AFTER
from core.orders import IMPOSSIBLE
from core.records import FILL, INTENT, ORDER, Kind, OrderState, Reason, Side
from runner.venues.outbound import AFTER, Execution, Order, Outbound, Report, Stage

QTY = 10


def made() -> tuple[Outbound, Order]:
    clock = iter(range(1000, 10**9))
    outbound = Outbound(lambda: next(clock))
    return outbound, outbound.add(intent(), "ours")


def intent() -> np.ndarray:
    row = np.zeros(1, INTENT)
    row["order_id"], row["qty"], row["price"], row["side"] = 7, QTY, 100, Side.BUY
    return row


def execution(number: int, qty: int, before: int = -1) -> Execution:
    return Execution(number, "v1", 0, Side.BUY, 100, qty, 1, 1, 5, {}, before)


def report(state: OrderState, filled: int, told: Execution | None = None) -> Report:
    return Report("ours", "v1", 0, Side.BUY, 100, QTY, state, filled, 5, told)


def kinds(records: np.ndarray) -> list[str]:
    return [
        f"{row.view(FILL)['qty']}" if row["kind"] == Kind.FILL else OrderState(int(row.view(ORDER)["state"])).name
        for row in records
    ]


def test_the_table_of_stages_is_what_the_core_allows() -> None:
    """Each stage's record may follow each stage's that precedes it."""
    told = {Stage.ACKED: OrderState.NEW, Stage.UNKNOWN: OrderState.UNKNOWN, Stage.REJECTED: OrderState.REJECTED,
            Stage.ABSENT: OrderState.REJECTED, Stage.ENDED: OrderState.CANCELED}  # fmt: skip
    for stage, nexts in AFTER.items():
        before = told.get(stage, OrderState.PENDING_NEW)
        for after in nexts:
            if after in told:
                assert CORE_AFTER[before, told[after]] != IMPOSSIBLE, (stage, after)


def test_steps_that_cannot_be_are_faults_of_the_program() -> None:
    outbound, order = made()
    with pytest.raises(BrokenInvariant, match="cannot go from NEW to ENDED"):
        outbound._move(order, Stage.ENDED)
    with pytest.raises(BrokenInvariant, match="submitted twice"):
        outbound.add(intent(), "other")


def test_only_an_unknown_order_can_be_absent() -> None:
    outbound, order = made()
    outbound.sent(order, 0)
    outbound.absent(order)
    assert order.stage == Stage.SENT
    outbound.unknown(order)
    outbound.absent(order)
    assert kinds(outbound.told.take()) == ["UNKNOWN", "REJECTED"]
    assert order.stage == Stage.ABSENT


def test_what_was_seen_is_not_denied_by_an_answer() -> None:
    outbound, order = made()
    outbound.sent(order, 0)
    outbound.report(report(OrderState.NEW, 0))
    outbound.unknown(order)
    outbound.refused(order, Reason.VENUE_REJECT)
    assert kinds(outbound.told.take()) == ["NEW"]


def test_an_order_given_up_that_returns_is_told_of_and_its_fill_is_a_fact() -> None:
    outbound, order = made()
    outbound.sent(order, 0)
    outbound.unknown(order)
    outbound.absent(order)
    outbound.told.take()
    outbound.report(report(OrderState.PARTIAL, 4, execution(1, 4, 0)))
    assert kinds(outbound.told.take()) == ["4"]  # the core halts on it
    assert [finding.kind for finding in outbound.findings] == ["returned"]


def test_a_report_of_nobodys_order_is_nobodys() -> None:
    outbound, _ = made()
    other = Report("theirs", "v9", 0, Side.BUY, 100, QTY, OrderState.NEW, 0, 5)
    assert outbound.report(other) is None
    assert not outbound.told.waiting


@given(st.integers(0, 10**9))
def test_any_order_of_reports_and_lists_gives_the_same_fills_and_then_the_end(seed: int) -> None:
    chance = random.Random(seed)
    outbound, order = made()
    outbound.sent(order, 0)
    sizes = [chance.randrange(1, 4) for _ in range(chance.randrange(0, 4))]
    before = [sum(sizes[:k]) for k in range(len(sizes))]
    all_ = [execution(k + 1, size, before[k]) for k, size in enumerate(sizes)]
    reports = [report(OrderState.NEW, 0)]
    reports += [report(OrderState.PARTIAL, each.before + each.qty, each) for each in all_]
    is_full = sum(sizes) == QTY
    reports.append(report(OrderState.FILLED if is_full else OrderState.CANCELED, sum(sizes)))
    said = [each for each in reports for _ in range(chance.randrange(0, 3))]  # lost, or said again
    chance.shuffle(said)
    for each in said:
        outbound.report(each)
        if chance.random() < 0.2:
            outbound.executions(order, [execution(one.exec_id, one.qty) for one in all_[: chance.randrange(1, 4)]])
    outbound.report(reports[-1])
    outbound.executions(order, [execution(one.exec_id, one.qty) for one in all_])
    told = kinds(outbound.told.take())
    assert told[0] == "NEW"
    assert [int(each) for each in told[1:] if each.isdigit()] == sizes
    assert told[len(sizes) + 1 :] == ([] if is_full else ["CANCELED"])
    assert order.stage == Stage.ENDED


def test_orders_that_are_over_are_forgotten_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.venues.outbound.OVER_KEPT", 3)
    outbound = Outbound(lambda: 1)
    for number in range(1, 8):
        row = intent()
        row["order_id"] = number
        order = outbound.add(row, f"id {number}")
        if number != 2:
            outbound.refused(order, Reason.STALE)
    assert list(outbound.orders) == [2, 5, 6, 7]
    assert [order.order_id for order in outbound.live()] == [2]
    assert outbound.find("id 1", "") is None
    assert outbound.find("id 7", "") is not None
