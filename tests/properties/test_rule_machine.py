"""No interleaving of inputs breaks a cap on approvals, a ledger law or an order law; and a broken one is noticed.

Sizes in CI: the rule machine tries 60 sessions of up to 50 actions, the seeded slice runs 390 sessions of 120 actions.
``python -m tests.properties.soak`` goes on for as long as asked; ``docs/testing.md`` says what it has survived.
"""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from core.records import Action, Reason
from tests.properties import soak
from tests.properties.holding import Broken
from tests.properties.scenarios import ACTIONS, WORLDS
from tests.properties.world import World

SESSIONS = 390
REFUSED = (
    "STALE",
    "KILL_SWITCH",
    "EXPOSURE_ASSET",
    "EXPOSURE_TOTAL",
    "LONG_ONLY",
    "COOLDOWN",
    "DAILY_STOP",
    "DUPLICATE",
    "EXPOSURE_THEME",
    "EXPOSURE_CLUSTER",
    "MARGIN",
    "FEE_GUARD",
    "TURNOVER",
)
ENTERED = (
    "DRAWDOWN_CAUTION",
    "DRAWDOWN_HALT",
    "FACT_BEYOND_LIMIT",
    "CIRCUIT_OPEN",
    "RECOVERED",
    "ALREADY_FLAT",
    "DELEVERAGE",
    "BACK_OFF",
    "DEPOSIT",
    "WITHDRAWAL",
    "ADJUSTMENT",
)


class RuleMachine(RuleBasedStateMachine):
    """A world whose every step Hypothesis chooses; it shrinks a session that breaks a law to the shortest."""

    world: World | None = None

    @initialize(number=st.integers(0, len(WORLDS) - 1))
    def start(self, number: int) -> None:
        self.world = World(number)

    def teardown(self) -> None:
        if self.world is not None:
            self.world.replay()


def _add(name: str, arguments: dict[str, tuple[Any, ...]]) -> None:
    def act(self: RuleMachine, **drawn: Any) -> None:
        getattr(self.world, name)(**drawn)

    act.__name__ = name
    drawn = {key: st.sampled_from(list(dict.fromkeys(values))) for key, values in arguments.items()}
    setattr(RuleMachine, name, rule(**drawn)(act))


for _name, (_, _arguments) in ACTIONS.items():
    _add(_name, _arguments)
# pytest collects the machine's test case; a failure prints the session as a program
TestRuleMachine = RuleMachine.TestCase
TestRuleMachine.settings = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture(scope="module")
def seen() -> Counter[str]:
    """The seeded slice, and what happened in it."""
    survived, counts = soak.soak(0, sessions=SESSIONS)
    assert survived == SESSIONS
    return counts


def test_the_seeded_slice_survives_and_has_tried_what_matters(seen: Counter[str]) -> None:
    assert seen["impossible report"] > 100
    for action, reason in (
        (Action.OPEN, Reason.ENTRY),
        (Action.OPEN, Reason.QUOTE),
        (Action.REDUCE, Reason.EXIT),
        (Action.REDUCE, Reason.QUOTE),
        (Action.REDUCE, Reason.FLATTEN),
        (Action.CANCEL, Reason.CANCEL_STALE),
        (Action.CANCEL, Reason.REQUOTE),
        (Action.CANCEL, Reason.FLATTEN),
        (Action.REDUCE, Reason.DELEVERAGE),
        (Action.CANCEL, Reason.DELEVERAGE),
        (Action.REDUCE, Reason.TAKE_PROFIT),
        (Action.REDUCE, Reason.STOP_LOSS),
        (Action.CANCEL, Reason.STOP_LOSS),
        (Action.CANCEL, Reason.EXIT),
        (Action.OPEN, Reason.POST),
        (Action.OPEN, Reason.CHASE),
        (Action.CANCEL, Reason.CHASE),
    ):
        assert seen[f"sent {action.name} {reason.name}"] > 0, (action, reason)
    assert not [name for name in REFUSED if not seen[f"refused {name}"]]
    assert not [name for name in ENTERED if not seen[f"risk {name}"]]


# The core is given one limit that is looser than the model's; the law that must notice, and the world to try it in.
LOOSER = {
    "the asset cap": (1, "asset_cap_ppm", 440_000),
    "the total cap": (1, "total_cap_ppm", 900_000),
    "orders per rolling hour": (1, "max_orders_per_hour", 200),
    "the cool-down": (1, "cooldown_ns", 0),
    "the daily stop": (2, "daily_stop_ppm", 50_000),
    "the caution tier": (0, "caution_drawdown_ppm", 11_000),
    "the halt tier": (6, "halt_drawdown_ppm", 24_000),
    "an open circuit": (5, "circuit_open_ns", 1),
    "a signal is fresh": (0, "prediction_ttl_ns", 10**9 + 1),
    "long only": (0, "is_margin", 1),
    "an entry is no larger than its size": (6, "caution_multiplier_ppm", 900_000),
    "the theme cap": (7, "groups.0.cap_ppm", 700_000),
    "the cluster cap": (7, "groups.1.cap_ppm", 700_000),
    "turnover of a minute": (9, "turnover_minute_ppm", 0),
    "turnover of an hour": (4, "turnover_hour_ppm", 0),
    "the day's fees": (7, "fee_budget_day_ppm", 0),
    "signals per rolling hour": (9, "max_signals_per_hour", 0),
    "the weekly stop": (9, "weekly_stop_ppm", 0),
    "margin": (8, "deleverage_ppm", 900_000),
    "back-off": (10, "backoff_losses", 0),
    "where to leave stays where it was planned": (12, "markets.0.params.take_profit_ticks", 901),
    "where to leave is not forgotten": (11, "markets.0.params.stop_loss_ticks", 0),
}


@pytest.mark.parametrize("law", LOOSER)
def test_a_looser_limit_is_noticed(law: str, monkeypatch: pytest.MonkeyPatch) -> None:
    number, field, value = LOOSER[law]
    made, noticed = World.__init__, set()

    def loosened(self: World, number: int) -> None:
        made(self, number)
        record, (*path, last) = self.config[0], field.split(".")
        for name in path:
            record = record[int(name) if name.isdigit() else name]
        record[last] = value

    monkeypatch.setattr(World, "__init__", loosened)
    for seed in range(number, 80 * len(WORLDS), len(WORLDS)):
        try:
            soak.session(seed, 150)
        except Broken as broken:
            noticed.add(str(broken).split(":")[0])
            if law in noticed:
                return
    raise AssertionError(f"it was not noticed; only {noticed}")


WRONG = {
    "cash is what fills moved": lambda world: _add_to(world.state[0]["account"], "cash"),
    "positions are the sum of fills": lambda world: _add_to(world.state[0]["positions"][0], "base_units"),
    "the peak": lambda world: _add_to(world.state[0]["risk"], "peak_equity"),
    "valued at the last price": lambda world: _add_to(world.state[0]["positions"][0], "mark2"),
    "margin is short": lambda world: _add_to(world.state[0]["risk"], "deleveraging"),
    "the risk state": lambda world: _add_to(world.state[0]["risk"], "state"),
}


def _add_to(record: Any, name: str) -> None:
    record[name] += 1


@pytest.mark.parametrize("law", WRONG)
def test_a_state_that_is_off_by_one_is_noticed(law: str) -> None:
    world = World(8)
    world.timer(1)
    WRONG[law](world)
    with pytest.raises(Broken, match=law):
        world.timer(1)


def test_the_command_prints_the_seed_of_a_broken_session(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["soak", "--seed", "3", "--sessions", "2", "--steps", "20"]
    monkeypatch.setattr("sys.argv", arguments)
    assert soak.main() == 0
    assert "2 sessions of 20 actions survived, from seed 3 on" in capsys.readouterr().out

    def broken(self: World) -> None:
        raise Broken("a law: facts")

    monkeypatch.setattr(World, "replay", broken)
    assert soak.main() == 70
    assert "seed 3, action 20 of 20" in capsys.readouterr().out
