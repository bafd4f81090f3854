"""The walk-forward backtest: each fold is a session of its own, traded by the core on the exported model's predictions.

``run_fold`` is a function of files, so folds run on any number of processes in any order; ``metrics.measure`` merges
them by fold index. Beside the model's session the same bars are traded by rules (SMA, mean reversion), under doubled
and tripled costs and on the training framework's predictions, and held.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from core.errors import BadInput
from core.records import BAR, PREDICTION, Reason
from evaluation import probability, rules
from evaluation.performance import Curve, buy_and_hold
from evaluation.probability import Forecasts
from evaluation.session import Account, flips, play, stressed, with_rule
from evaluation.statistics import utc_day
from feeds.tape import Tape
from models.manifest import Fold, Manifest, manifest_from

STRESS_FACTORS: Final = (2, 3)


@dataclass(frozen=True, slots=True)
class FoldSource:
    """Where one fold's inputs lie and where its records go."""

    folder: Path  # fold.tape, manifest.json, predictions.npy, predictions_torch.npy, logistic.npy
    market: Path  # the tape that the rows of ``features`` belong to
    features: Path  # label.npy, label_return.npy, label_known_at.npy
    out: Path  # out.npy and marks.npy are written here


@dataclass(frozen=True, slots=True)
class FoldResult:
    """Everything the metrics need of one fold."""

    index: int
    horizon_bars: int
    forecasts: Forecasts
    persistence: np.ndarray  # int64 [n]: sign of the return over the horizon that just ended
    logistic: np.ndarray  # float64 [n, 3]: the logistic baseline's probabilities
    model: Account
    stress: dict[int, Account]  # by cost factor, 1 included
    rules: dict[str, Account]  # by name of ``evaluation.rules.BASELINES``
    hold: Curve
    decisions: dict[str, int]  # how often each reason ended one
    flips: int  # decisions that the training framework's predictions would change


@dataclass(frozen=True, slots=True)
class FoldFiles:
    """An opened fold."""

    fold: Fold
    manifest: Manifest
    tape: Tape
    predictions: np.ndarray  # PREDICTION, one per row of the tape
    trade_from_ns: int

    @property
    def bars(self) -> np.ndarray:
        """The tape's records as BAR."""
        return self.tape.records.view(BAR)


def open_fold(folder: Path) -> FoldFiles:
    """Open and cross-check a folder of ``artifacts/calibrated``. Raises BadInput naming the file that does not fit."""
    tape = Tape.open(folder / "fold.tape")
    manifest = read_manifest(folder / "manifest.json")
    index = tape.meta["fold"]
    fold = next((item for item in manifest.folds if item.index == index), None)
    if fold is None:
        raise BadInput(f"{folder / 'manifest.json'}: knows no fold {index}, which fold.tape names; run calibrate again")
    return FoldFiles(
        fold=fold,
        manifest=manifest,
        tape=tape,
        predictions=load_predictions(folder / "predictions.npy", tape),
        trade_from_ns=int(tape.meta["trade_from_ns"]),
    )


def run_fold(source: FoldSource, report: Callable[[], None]) -> FoldResult:
    """Trade and score one fold; call ``report`` when done. Raises BadInput for files that do not belong together."""
    files = open_fold(source.folder)
    trading, instruments, start = files.manifest.trading, files.tape.instruments, files.trade_from_ns
    model = play(files.bars, instruments, files.predictions, trading, start)
    source.out.mkdir(parents=True, exist_ok=True)
    np.save(source.out / "out.npy", model.session.out)
    np.save(source.out / "marks.npy", model.session.marks)

    stress = {1: model.account}
    for factor in STRESS_FACTORS:
        dearer_trading, dearer = stressed(trading, instruments, factor)
        stress[factor] = play(files.bars, dearer, files.predictions, dearer_trading, start).account
    beside = {
        name: play(files.bars, instruments, files.predictions, with_rule(trading, rule), start).account
        for name, rule in rules.BASELINES.items()
    }
    cost_ppm = trading.execution.slippage_ppm + max(item.taker_fee_ppm for item in instruments)
    torch = play(
        files.bars, instruments, load_predictions(source.folder / "predictions_torch.npy", files.tape), trading, start
    )
    horizon_bars = files.manifest.label_spec["horizon_ns"] // files.manifest.interval_ns
    rows, forecasts = _forecasts(source, files)
    result = FoldResult(
        index=files.fold.index,
        horizon_bars=horizon_bars,
        forecasts=forecasts,
        persistence=persistence(files.bars, horizon_bars * files.manifest.interval_ns)[rows],
        logistic=_load(source.folder / "logistic.npy", "calibrate", len(files.bars))[rows].astype(np.float64),
        model=model.account,
        stress=stress,
        rules=beside,
        hold=buy_and_hold(files.bars, len(instruments), start, cost_ppm),
        decisions=count_reasons(model.decisions),
        flips=flips(model.decisions, torch.decisions),
    )
    report()
    return result


def count_reasons(decisions: np.ndarray) -> dict[str, int]:
    """How often each reason ended a decision, by name."""
    found = zip(*np.unique(decisions["reason"], return_counts=True), strict=True)
    return {Reason(int(reason)).name: int(times) for reason, times in found}


def persistence(bars: np.ndarray, horizon_ns: int) -> np.ndarray:
    """Sign of each bar's return over the past ``horizon_ns``, int64 [rows]; 0 where that earlier bar is missing."""
    signs = np.zeros(len(bars), np.int64)
    for instrument in np.unique(bars["instrument"]):
        rows = np.flatnonzero(bars["instrument"] == instrument)
        ts, close = bars["ts_event"][rows], bars["close"][rows]
        earlier = np.searchsorted(ts, ts - horizon_ns)
        found = ts[earlier] == ts - horizon_ns
        signs[rows] = np.where(found, np.sign(close - close[earlier]), 0)
    return signs


def read_manifest(path: Path) -> Manifest:
    """The manifest at ``path``. Raises BadInput if it is missing or is not JSON, BadConfig for its content."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}; make it with `dvc repro calibrate`") from None
    return manifest_from(data, where=str(path))


def load_predictions(path: Path, tape: Tape) -> np.ndarray:
    """PREDICTION records [rows of ``tape``], in its order. Raises BadInput if they belong to another tape."""
    predictions = _load(path, "calibrate", len(tape.records))
    if predictions.dtype.itemsize != PREDICTION.itemsize or predictions.ndim != 1:
        raise BadInput(f"{path}: dtype {predictions.dtype}, shape {predictions.shape}; PREDICTION records required")
    predictions = np.array(predictions).view(PREDICTION)
    same = (predictions["bar_ts"] == tape.records["ts_event"]) & (
        predictions["instrument"] == tape.records["instrument"]
    )
    if not same.all():
        raise BadInput(f"{path}: prediction {int(np.argmin(same))} is not of that bar of {tape.path.name}")
    return predictions


def _forecasts(source: FoldSource, files: FoldFiles) -> tuple[np.ndarray, Forecasts]:
    """(rows of the fold's tape that count, their forecasts)."""
    market = Tape.open(source.market, verify=False)
    if files.tape.meta["source_tape"] != market.tape_id:
        raise BadInput(f"{files.tape.path}: not cut from {market.path}; run calibrate again on this data")
    offset = files.tape.meta["source_first_row"]
    window = slice(offset, offset + len(files.bars))
    label, known_at, moved = (
        _load(source.features / f"{name}.npy", "featurize", len(market.records))
        for name in ("label", "label_known_at", "label_return")
    )
    fold, ts = files.fold, market.records["ts_event"]
    trained = (ts >= fold.train_start) & (ts < fold.train_end) & (known_at < fold.calibrate_start)
    climatology = probability.frequencies(np.asarray(label[trained], np.int64))
    rows = np.flatnonzero(probability.scored(files.predictions, label[window]))
    bars = files.bars[rows]
    return rows, Forecasts(
        probabilities=probability.probabilities(files.predictions[rows]),
        climatology=np.tile(climatology, (len(rows), 1)),
        label=label[window][rows].astype(np.int64),
        direction=np.sign(moved[window][rows]).astype(np.int64),
        day=utc_day(bars["ts_event"]),
        bar=bars["ts_event"] // files.manifest.interval_ns,
        instrument=bars["instrument"].astype(np.int64),
        fold=np.full(len(rows), fold.index),
    )


def _load(path: Path, stage: str, rows: int) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}; make it with `dvc repro {stage}`") from None
    if len(array) != rows:
        raise BadInput(f"{path}: {len(array)} rows, {rows} expected; make it anew with `dvc repro {stage}`")
    return array
