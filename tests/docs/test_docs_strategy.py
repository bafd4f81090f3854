"""The documented example of a strategy runs, trades as it says, and is refused under a taken name."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from core import config, engine, strategies
from core.errors import BadConfig
from core.records import INTENT, PREDICTION, Kind, Reason
from tests.core.build import BTC, bars, trading

EXAMPLE = Path(__file__).parents[2] / "docs" / "extending" / "strategy.py"


def test_the_example_strategy_trades_breakouts() -> None:
    spec = importlib.util.spec_from_file_location("example_strategy", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
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
