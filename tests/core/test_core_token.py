"""Nothing reaches a venue that risk did not approve, as it approved it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import config, engine, rules, simulator
from core.errors import BrokenInvariant
from core.layout import ORDERS_MAX
from core.records import INTENT, Action, Kind
from tests.core.build import BTC, Desk, bars, only, predict, trading

CONFIG = config.build(trading(), (BTC,))


def approved(action: Action = Action.OPEN) -> np.ndarray:
    """An approved INTENT, shape (1,)."""
    desk = Desk(trading(), (BTC,))
    bar = bars([1_000_000])
    desk.feed(bar)
    return only(desk.feed(predict(bar[0], edge=5_000)), Kind.INTENT)


def test_an_approved_intent_verifies_and_is_taken() -> None:
    venue = engine.new_venue(CONFIG)
    simulator.submit(CONFIG[0], venue[0], approved()[0])
    assert venue[0]["working"][0]["count"] == 1 and venue[0]["working"][0]["orders"][0]["order_id"] == 1


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["order_id", "instrument", "side", "flags", "qty", "deadline_ns", "token"]), st.integers(1, 2**15)
)
def test_any_altered_field_is_refused(field: str, change: int) -> None:
    intent = approved()
    with np.errstate(over="ignore"):
        intent[field] += np.array(change).astype(INTENT[field])
    if intent.tobytes() == approved().tobytes():
        return
    with pytest.raises(BrokenInvariant, match="not approved"):
        rules.verify(CONFIG[0], intent[0])


def test_an_approval_is_worth_nothing_under_another_configuration() -> None:
    other = config.build(trading(cooldown_ns=1), (BTC,))
    with pytest.raises(BrokenInvariant, match="not approved"):
        simulator.submit(other[0], engine.new_venue(other)[0], approved()[0])


def test_more_orders_than_an_instrument_has_slots_are_a_broken_invariant() -> None:
    venue = engine.new_venue(CONFIG)
    for _ in range(ORDERS_MAX):
        simulator.submit(CONFIG[0], venue[0], approved()[0])
    with pytest.raises(BrokenInvariant, match="more orders"):
        simulator.submit(CONFIG[0], venue[0], approved()[0])
