"""The documented examples of a strategy run, trade as they say, and are refused under a taken name."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from core import config, engine, strategies
from core.errors import BadConfig
from core.records import INTENT, PREDICTION, Kind, Reason, RiskState, Side
from core.settings import Assigned, Strategy, as_json
from tests.core.build import BTC, ETH, bars, only, trading

DOCS = Path(__file__).parents[2] / "docs"
DAY_BARS = 24 * 12  # of five minutes


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", DOCS / "extending" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_strategy_trades_breakouts() -> None:
    load("strategy")
    assert "breakout" in strategies.names()

    tape = bars(100_000 * np.array([10, 11, 10, 12, 13, 12, 10, 9]))
    built = config.build(trading(kind="breakout", fast=4, slow=8, fixed_lots=10_000), (BTC,))
    played = engine.session(built, tape, np.zeros(0, PREDICTION), np.zeros(0, np.int64), strategies.get("breakout"))
    intents = played.out[played.out["kind"] == Kind.INTENT].view(INTENT)
    assert [(int(row["ts_event"]), int(row["reason"])) for row in intents] == [
        (int(tape[1]["ts_known"]), Reason.ENTRY),
        (int(tape[5]["ts_known"]), Reason.EXIT),
    ]
    with pytest.raises(BadConfig, match="already registered"):
        strategies.register("breakout", strategies.sma)


def day_of(rng: np.random.Generator, instrument: int) -> np.ndarray:
    """A day of bars, some of which fall hard and mostly come back."""
    moves = rng.normal(0, 40, DAY_BARS)
    fell = rng.random(DAY_BARS) < 0.06
    moves[fell] -= 1_500
    moves[np.roll(fell, 2)] += 1_200
    tape = bars((100_000 + np.cumsum(moves)).astype(np.int64), instrument=instrument)
    tape["high"] += rng.integers(1, 60, DAY_BARS)
    tape["low"] -= rng.integers(1, 60, DAY_BARS)
    return tape


def test_the_example_rules_run_over_a_universe_for_a_day() -> None:
    """Requirements RUN-22: 24 hours through the simulated venue, every trigger answered, proposals made and worked."""
    load("rules")
    settings = trading(kind="selloff", slow=30, fixed_lots=2_000)
    built, rng = config.build(settings, (BTC, ETH)), np.random.default_rng(4)
    tape = np.concatenate([day_of(rng, index) for index in range(2)])
    tape = tape[np.lexsort((tape["instrument"], tape["ts_known"]))]
    compiled = strategies.of(settings, (BTC, ETH))
    played = engine.session(built, tape, np.zeros(0, PREDICTION), np.zeros(0, np.int64), compiled)

    proposals = only(played.out, Kind.DECISION)
    entries = proposals[proposals["reason"] == Reason.ENTRY]
    assert {int(row["instrument"]) for row in entries} == {0, 1} and len(entries) > 4
    assert (entries["edge"] > entries["cost"]).all() and (entries["cost"] == 2_200).all()
    left = {Reason(int(row["reason"])) for row in only(played.out, Kind.INTENT)} - {Reason.ENTRY}
    assert {Reason.TAKE_PROFIT, Reason.STOP_LOSS} <= left
    fills = only(played.out, Kind.FILL)
    assert fills["qty"][fills["side"] == Side.SELL].sum() > 0
    assert played.state["risk"]["state"][0] == RiskState.NORMAL


def test_the_document_names_every_strategy_and_every_setting() -> None:
    text = (DOCS / "strategies.md").read_text(encoding="utf-8")
    for kind in ("edge", "edge_ticks", "mean_revert", "mm1", "sma"):
        assert f"## `{kind}`" in text and kind in strategies.names()
    named = set(re.findall(r"`([a-z_0-9]+)`", text))
    assert set(as_json(Strategy())) - named == set()
    assert "symbols" in named and "symbols" in Assigned.__struct_fields__
