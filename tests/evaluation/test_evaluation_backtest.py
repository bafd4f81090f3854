"""Fold sessions through the real core: money adds up, inputs that do not belong together are refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from core.errors import BadConfig, BadInput
from core.records import BAR, PREDICTION, Reason, Side
from core.settings import Strategy
from evaluation.backtest import FoldResult, FoldSource, open_fold, persistence, run_fold
from evaluation.rules import SMA_SIZED
from evaluation.session import Played, flips, play, stressed, with_rule
from evaluation.trades import round_trips

NO_TRADES = np.zeros(0, PREDICTION)
Sessions = dict[str, Played]


def test_trips_explain_every_unit_of_cash(sessions: list[Sessions], artifacts: Path) -> None:
    instruments = open_fold(artifacts / "calibrated/fold_0").tape.instruments
    for played in [one for fold in sessions for one in fold.values()]:
        assert len(played.account.trips) > 5, "the fixture's signal is meant to be traded"
        unsold = round_trips(played.fills, instruments, (0, 0), 1, 0)  # at a last close of 0 an open trip is its cash
        assert int(unsold["pnl"].sum()) == int(played.session.marks["cash"][-1]) - played.account.initial_cash


def test_open_trips_are_worth_their_mark_less_the_cost_of_selling(sessions: list[Sessions]) -> None:
    for played in [fold[name] for fold in sessions for name in ("model", "sma", "mean_revert")]:
        change = int(played.session.marks["equity"][-1]) - played.account.initial_cash
        still_open = played.account.trips[played.account.trips["closed"] == 0]
        cost = sum(int(trip["exit_notional"]) for trip in still_open) * (1000 + 100) / 10**6
        assert change - int(played.account.trips["pnl"].sum()) == pytest.approx(cost, rel=0.01, abs=10)


def test_nothing_trades_in_the_warm_up_prefix(sessions: list[Sessions], artifacts: Path) -> None:
    for index, fold in enumerate(sessions):
        start = open_fold(artifacts / f"calibrated/fold_{index}").trade_from_ns
        for played in fold.values():
            assert played.fills["ts_event"].min() > start
            early = played.decisions[played.decisions["bar_ts"] <= start]
            assert len(early) > 100 and set(early["reason"]) == {Reason.WARMUP}


def test_every_prediction_has_one_decision(folds: list[FoldResult], sessions: list[Sessions], artifacts: Path) -> None:
    for fold, played in zip(folds, sessions, strict=True):
        predictions = open_fold(artifacts / f"calibrated/fold_{fold.index}").predictions
        assert np.array_equal(played["model"].decisions["bar_ts"], predictions["bar_ts"])
        assert sum(fold.decisions.values()) == len(predictions)
        assert fold.decisions["ENTRY"] == np.count_nonzero(played["model"].decisions["reason"] == Reason.ENTRY)


def test_costs_only_hurt(folds: list[FoldResult]) -> None:
    for fold in folds:
        paid = [int(fold.stress[factor].trips["fees"].sum()) for factor in (1, 2, 3)]
        bps = [s.trips["pnl"].sum() / s.trips["entry_notional"].sum() for s in (fold.stress[f] for f in (1, 2, 3))]
        assert paid[0] < paid[1] < paid[2]
        assert bps[0] > bps[1] > bps[2]


def test_stress_scales_costs_and_keeps_the_threshold(artifacts: Path) -> None:
    files = open_fold(artifacts / "calibrated/fold_0")
    trading, instruments = stressed(files.manifest.trading, files.tape.instruments, 3)
    before = files.manifest.trading
    assert trading.execution.slippage_ppm == 3 * before.execution.slippage_ppm
    assert instruments[0].taker_fee_ppm == 3 * files.tape.instruments[0].taker_fee_ppm
    cost = 2 * (files.tape.instruments[0].taker_fee_ppm + before.execution.slippage_ppm)
    threshold = trading.strategy.entry_margin_ppm * 3 * cost
    assert threshold == pytest.approx(before.strategy.entry_margin_ppm * cost, rel=1e-5)


def test_without_costs_net_is_gross(artifacts: Path) -> None:
    files = open_fold(artifacts / "calibrated/fold_0")
    free, costless = stressed(files.manifest.trading, files.tape.instruments, 1)
    free = msgspec.structs.replace(free, execution=msgspec.structs.replace(free.execution, slippage_ppm=0))
    costless = tuple(replace(item, taker_fee_ppm=0, maker_fee_ppm=0) for item in costless)
    played = play(files.bars, costless, files.predictions, free, files.trade_from_ns)
    account = played.account
    assert account.slippage == 0 and account.trips["fees"].sum() == 0
    assert list(account.trips["pnl"]) == [int(trip["exit_notional"] - trip["entry_notional"]) for trip in account.trips]


def test_flips_count_decisions_that_differ(sessions: list[Sessions], artifacts: Path) -> None:
    files = open_fold(artifacts / "calibrated/fold_0")
    opposite = files.predictions.copy()
    opposite["edge_ppm"] *= -1
    other = play(files.bars, files.tape.instruments, opposite, files.manifest.trading, files.trade_from_ns)
    decisions = sessions[0]["model"].decisions
    assert flips(decisions, decisions) == 0
    assert flips(decisions, other.decisions) > 100
    with pytest.raises(BadInput, match="not sessions over the same bars"):
        flips(decisions, decisions[1:])


def test_sma_baseline_follows_the_averages(sessions: list[Sessions], artifacts: Path) -> None:
    """Against a slow reference: at every entry the fast average is above the slow one, at every exit it is not."""
    files = open_fold(artifacts / "calibrated/fold_0")
    closes = {i: files.bars["close"][files.bars["instrument"] == i] for i in range(2)}
    times = {i: files.bars["ts_event"][files.bars["instrument"] == i] for i in range(2)}
    acted = [item for item in sessions[0]["sma"].decisions if item["reason"] in (Reason.ENTRY, Reason.EXIT)]
    assert len(acted) > 10
    for item in acted:
        position = int(np.searchsorted(times[int(item["instrument"])], item["bar_ts"])) + 1
        window = closes[int(item["instrument"])][:position]
        assert (window[-20:].mean() > window[-100:].mean()) == (item["reason"] == Reason.ENTRY)


def test_mean_revert_baseline_fades_a_move_of_one_range(sessions: list[Sessions], artifacts: Path) -> None:
    """Against a slow reference: it buys one mean range of 20 bars below their mean close, and sells at it or above."""
    bars = open_fold(artifacts / "calibrated/fold_0").bars
    mine = {i: bars[bars["instrument"] == i] for i in range(2)}
    acted = [item for item in sessions[0]["mean_revert"].decisions if item["reason"] in (Reason.ENTRY, Reason.EXIT)]
    assert len(acted) > 10
    for item in acted:
        seen = mine[int(item["instrument"])]
        row = int(np.searchsorted(seen["ts_event"], item["bar_ts"]))
        window = seen[row - 20 : row]
        moved = int(seen["close"][row]) * 20 - int(window["close"].sum())
        spread = int((window["high"] - window["low"]).sum())
        assert moved <= -spread if item["reason"] == Reason.ENTRY else moved >= 0


def test_sides_of_fills_alternate_in_each_instrument(sessions: list[Sessions]) -> None:
    fills = sessions[0]["model"].fills
    for instrument in range(2):
        orders = fills[fills["instrument"] == instrument]
        first = orders[np.unique(orders["order_id"], return_index=True)[1]]
        assert set(first["side"][::2]) == {Side.BUY} and set(first["side"][1::2]) <= {Side.SELL}


def test_persistence_looks_back_exactly_one_horizon() -> None:
    bars = np.zeros(6, BAR)
    bars["ts_event"] = [10, 10, 20, 20, 30, 50]
    bars["instrument"] = [0, 1, 0, 1, 0, 0]
    bars["close"] = [5, 5, 7, 4, 7, 9]
    assert list(persistence(bars, 10)) == [0, 0, 1, -1, 0, 0], "the bar at 50 has no bar at 40"


def test_a_session_without_trades_is_a_result(artifacts: Path) -> None:
    files = open_fold(artifacts / "calibrated/fold_0")
    idle = with_rule(files.manifest.trading, Strategy(kind=SMA_SIZED))
    played = play(files.bars, files.tape.instruments, NO_TRADES, idle, files.trade_from_ns)
    assert len(played.account.trips) == 0 and played.account.curve.growth[-1] == 1.0


Damage = Callable[[Path], None]


def _drop_row(folder: Path) -> None:
    np.save(folder / "predictions.npy", np.load(folder / "predictions.npy")[1:])


def _shift(folder: Path) -> None:
    predictions = np.load(folder / "predictions.npy")
    predictions["bar_ts"][7] += 1
    np.save(folder / "predictions.npy", predictions)


def _other_dtype(folder: Path) -> None:
    np.save(folder / "predictions.npy", np.zeros(len(np.load(folder / "predictions.npy"))))


def _no_torch(folder: Path) -> None:
    (folder / "predictions_torch.npy").unlink()


def _no_logistic(folder: Path) -> None:
    (folder / "logistic.npy").unlink()


def _broken_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{")


def _unknown_key(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"extra": 1}))


def _no_fold(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"folds": []}))


def _flipped_tape(folder: Path) -> None:
    data = bytearray((folder / "fold.tape").read_bytes())
    data[-1] ^= 1
    (folder / "fold.tape").write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "error", "words"),
    [
        (_drop_row, BadInput, "predictions.npy: .* rows, .* expected"),
        (_shift, BadInput, "prediction 7 is not of that bar"),
        (_other_dtype, BadInput, "PREDICTION records required"),
        (_no_torch, BadInput, "predictions_torch.npy"),
        (_no_logistic, BadInput, "logistic.npy"),
        (_broken_manifest, BadInput, "manifest.json"),
        (_unknown_key, BadConfig, "extra"),
        (_no_fold, BadInput, "knows no fold 0"),
        (_flipped_tape, BadInput, "altered"),
    ],
)
def test_damaged_inputs_are_refused_by_name(
    artifacts: Path, tmp_path: Path, damage: Damage, error: type[Exception], words: str
) -> None:
    folder = shutil.copytree(artifacts / "calibrated/fold_0", tmp_path / "fold_0")
    damage(folder)
    source = FoldSource(folder, artifacts / "data/market.tape", artifacts / "features", tmp_path / "out")
    with pytest.raises(error, match=words):
        run_fold(source, lambda: None)
