"""What the stages made, as Polars frames for notebooks: records, features, MarketStates, labels, folds, forecasts.

Every function takes the folder ``artifacts`` (or a tape) and reads what it needs; times are UTC, prices decimals of the
quote where an instrument's tick is known. ``docs/data.md`` shows them in use.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from core.errors import BadConfig, BadInput
from core.records import PREDICTION, TYPED
from data import lanes
from features.market_state import MARKET_STATE
from feeds.tape import Tape

ARTIFACTS: Final = Path("artifacts")
_UTC: Final = pl.Datetime("ns", "UTC")
_PRICES: Final = ("open", "high", "low", "close", "price", "bid", "ask")
_LOTS: Final = ("volume", "qty", "bid_qty", "ask_qty")
_CLASSES: Final = ("down", "flat", "up")
_ENDS: Final = ("stop", "timeout", "profit")


def tape(path: Path | str, kind: str, *, symbol: str = "") -> pl.DataFrame:
    """The records of one ``kind`` ("bar", "trade", "level", "top", "prediction", ...) with their names and in decimals.

    Columns: ts_event, ts_known, symbol, side and the kind's own. Raises BadConfig for a kind or symbol that is none.
    """
    opened = Tape.open(path, verify=False)
    kinds = {kind.name.lower(): kind for kind in TYPED}
    if kind not in kinds:
        raise BadConfig(f"kind is {kind!r}; a tape may hold {', '.join(kinds)}")
    names = [instrument.symbol for instrument in opened.instruments]
    if symbol and symbol not in names:
        raise BadConfig(f"symbol is {symbol!r}; the tape holds {', '.join(names)}")
    wanted = opened.records["kind"] == kinds[kind]
    if symbol:
        wanted &= opened.records["instrument"] == names.index(symbol)
    return _frame_of(opened.records[wanted].view(TYPED[kinds[kind]]), opened)


def _frame_of(records: np.ndarray, opened: Tape) -> pl.DataFrame:
    """Records of one kind, in the decimals of the tape's instruments."""
    ticks, lots = (
        np.array([float(getattr(instrument, name)) for instrument in opened.instruments])[records["instrument"]]
        for name in ("tick", "lot")
    )
    own = [name for name in records.dtype.names or () if name not in ("kind", "instrument", "reason", "flags")]
    names = np.array([instrument.symbol for instrument in opened.instruments])
    columns: dict[str, Any] = {"symbol": names[records["instrument"]]}
    for name in own:
        columns[name] = records[name] * (ticks if name in _PRICES else lots if name in _LOTS else 1)
    return _with_times(pl.DataFrame(columns), "ts_event", "ts_known")


def features(artifacts: Path | str = ARTIFACTS, *, symbol: str = "") -> pl.DataFrame:
    """Bars' features, a row a bar: ts_event, symbol, ready, sigma, every feature by name, labels and their known_at.

    ``label`` is "down", "flat", "up" or null, ``barrier`` "stop", "timeout", "profit" or null, ``label_return`` and
    ``barrier_return`` in sigma, ``quantile`` 0 is the lowest; ``training.targets`` has the rules. Raises BadInput if
    features and tape do not belong together.
    """
    folder = Path(artifacts) / "features"
    spec, opened = read_spec(folder), Tape.open(Path(artifacts) / "data/market.tape", verify=False)
    if spec["tape_id"] != opened.tape_id:
        raise BadInput(f"{folder} was made from tape {spec['tape_id'][:16]}, not {opened.path}: run `dvc repro`")
    names = np.array([instrument.symbol for instrument in opened.instruments])[opened.records["instrument"]]
    rows = np.flatnonzero(names == symbol) if symbol else np.arange(len(names))
    values = _load(folder / "features.npy")[rows]
    columns: dict[str, Any] = {"ts_event": opened.records["ts_event"][rows], "symbol": names[rows]}
    columns |= {name: _load(folder / f"{name}.npy")[rows] for name in ("ready", "sigma")}
    columns |= {item["name"]: values[:, place] for place, item in enumerate(spec["features"]["features"])}
    for name, classes in (("label", _CLASSES), ("barrier", _ENDS)):
        columns |= _label_columns(folder, name, classes, rows)
    for name in ("big_move", "quantile"):
        columns[name] = [value if value >= 0 else None for value in _load(folder / f"{name}.npy")[rows].tolist()]
    frame = pl.DataFrame(columns).with_columns(pl.col("big_move").cast(pl.Boolean))
    return _with_times(frame, "ts_event", "label_known_at", "barrier_known_at")


def _label_columns(folder: Path, name: str, classes: tuple[str, ...], rows: np.ndarray) -> dict[str, Any]:
    """A label's class, when it is known and its return; null where there is none."""
    label = _load(folder / f"{name}.npy")[rows]
    there = pl.Series(label >= 0)
    values = {
        f"{name}_{part}": pl.Series(_load(folder / f"{name}_{part}.npy")[rows]) for part in ("known_at", "return")
    }
    columns: dict[str, Any] = {name: [classes[value] if value >= 0 else None for value in label.tolist()]}
    return columns | {key: value.zip_with(there, pl.Series([None], dtype=value.dtype)) for key, value in values.items()}


def priors(artifacts: Path | str = ARTIFACTS) -> pl.DataFrame:
    """Per UTC day how many labels of bars were known when it began, and the share of each class among them."""
    made = _load(Path(artifacts) / "features/priors.npy")
    days = pl.Series(made["day"]).cast(pl.Int32).cast(pl.Date)
    shares = {name: made["share"][:, place] for place, name in enumerate(_CLASSES)}
    return pl.DataFrame({"day": days, "count": made["count"]} | shares).with_columns(pl.col(*_CLASSES).fill_nan(None))


def states(artifacts: Path | str = ARTIFACTS, *, symbol: str, day: str = "") -> pl.DataFrame:
    """MarketStates of an instrument, all its days or one: a row an event, the 17 fields, the extras, ready, labels.

    ``depth_feat`` is an array column. A label without a value is null. Raises BadInput if there is no such lane.
    """
    folder = Path(artifacts) / "features"
    found = [lane for lane in lanes.read(folder / "lanes") if lane.symbol == symbol and day in ("", lane.day)]
    if not found:
        there = sorted({f"{lane.symbol} {lane.day}" for lane in lanes.read(folder / "lanes")})
        raise BadInput(f"{folder}/lanes: nothing of {symbol} {day}; there is {', '.join(there) or 'nothing'}")
    names = read_spec(folder)["label"]["columns"]
    return pl.concat([_states_of(lane, names) for lane in found])


def folds(artifacts: Path | str = ARTIFACTS) -> pl.DataFrame:
    """The walk-forward folds: their bounds and how many labelled rows each part has."""
    document = json.loads(_read(Path(artifacts) / "folds/folds.json"))
    rows = [
        {name: value for name, value in fold.items() if not isinstance(value, dict | list)}
        | {f"rows_{part}": count for part, count in fold["rows"].items()}
        for fold in document["folds"]
    ]
    frame = pl.DataFrame(rows)
    return _with_times(frame, *(name for name in frame.columns if name.endswith(("_start", "_end"))))


def predictions(artifacts: Path | str = ARTIFACTS) -> pl.DataFrame:
    """Out-of-fold forecasts of the exported model, as the backtest was fed them; rates in ppm, and the fold."""
    folders = sorted((Path(artifacts) / "calibrated").glob("fold_*"), key=lambda path: int(path.name[len("fold_") :]))
    if not folders:
        raise BadInput(f"{artifacts}/calibrated: no fold; make it with `dvc repro calibrate`")
    parts = [
        _frame_of(_load(folder / "predictions.npy").view(PREDICTION), Tape.open(folder / "fold.tape", verify=False))
        .drop("side")
        .with_columns(fold=pl.lit(int(folder.name[len("fold_") :])))
        for folder in folders
    ]
    return pl.concat(parts)


def _states_of(lane: lanes.Lane, labels: list[str]) -> pl.DataFrame:
    plain = [name for name in MARKET_STATE.names or () if name != "depth_feat"]
    columns: dict[str, Any] = {name: lane.states[name] for name in plain} | {"depth_feat": lane.states["depth_feat"]}
    columns |= {name: lane.extra[name] for name in lane.extra.dtype.names or ()} | {"ready": np.array(lane.ready)}
    delta = lane.array("delta_hat")
    columns |= {name: delta[:, place] for place, name in enumerate(labels)}
    frame = pl.DataFrame({name: np.ascontiguousarray(values) for name, values in columns.items()})
    frame = frame.with_columns(pl.col(*labels).fill_nan(None), pl.lit(lane.symbol).alias("symbol"))
    return _with_times(frame, "ts")


def _with_times(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    return frame.with_columns(pl.col(*names).cast(_UTC))


def read_spec(folder: Path) -> dict[str, Any]:
    """What the features in ``folder`` were made with. Raises BadInput without one."""
    spec: dict[str, Any] = json.loads(_read(folder / "spec.json"))
    return spec


def _load(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}; make it with `dvc repro featurize`") from None
    return array


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; make it with `dvc repro`") from None
