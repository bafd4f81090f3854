"""Core and database refuse the same orders for the same reason, and the comparison notices if one of them changes."""

import pytest

from core.records import Action
from core.rules import RULES
from runner.store import rules as store_rules
from tests.properties import differential, stored_state


def test_the_two_rule_tables_are_equal() -> None:
    """Name, order and the actions each rule may refuse; neither may refuse a cancel."""
    core = [(reason.name, {action for action, may in zip(Action, may_refuse, strict=True) if may})
            for reason, *may_refuse in RULES]  # fmt: skip
    assert [(rule.name, set(rule.actions)) for rule in store_rules.RULES] == core
    assert not any(Action.CANCEL in actions for _, actions in core)


def test_two_thousand_random_states() -> None:
    seen = differential.compare(2_000, seed=7)
    assert seen["APPROVED"] > 100
    assert {name for name, count in seen.items() if count} >= {rule.name for rule in store_rules.RULES} - {
        "LOW_CONFIDENCE"
    }


WEAKENED = [
    ("NEW.qty <= NEW.lots_held - NEW.lots_pending", "NEW.qty <= NEW.lots_held - NEW.lots_pending + 1", "LONG_ONLY"),
    ("<= NEW.cash - NEW.cash_reserved", "< NEW.cash - NEW.cash_reserved", "CASH"),
    ("NEW.live < 8", "NEW.live <= 8", "ORDERS_MAX"),
    ("NEW.day_stopped = 0", "NEW.day_stopped >= 0", "DAILY_STOP"),
    ("NEW.circuit_until_ns <= NEW.decision_ns", "NEW.circuit_until_ns < NEW.decision_ns", "CIRCUIT_OPEN"),
]


@pytest.mark.parametrize(("rule", "weaker", "name"), WEAKENED, ids=[item[2] for item in WEAKENED])
def test_a_rule_that_is_off_by_one_is_found(monkeypatch: pytest.MonkeyPatch, rule: str, weaker: str, name: str) -> None:
    altered = {key: sql.replace(rule, weaker) for key, sql in stored_state.OBJECTS.items()}
    assert altered != stored_state.OBJECTS
    monkeypatch.setattr(stored_state, "OBJECTS", altered)
    with pytest.raises(AssertionError, match=name):
        differential.compare(20_000, seed=7)
