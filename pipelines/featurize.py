"""Stage featurize: the market tape through the feature kernel, and its labels.

Reads ``artifacts/data/market.tape``; writes ``artifacts/features``. From bars: one array per quantity, row i belonging
to record i of the tape, and ``spec.json``. From books and quotes: lanes of MarketStates (``data.lanes``), their labels
and ``spec.json``. The tape is read in chunks and the arrays are written through memory maps, so memory does not grow
with the history.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from core.canonical import canonical_json
from core.errors import BadInput
from core.records import BAR, DAY_NS, Kind
from data import lanes
from features import bars as kernel
from features.market_state import specs_of
from features.market_stream import RowsDigest, as_one
from features.spec import FeatureParams, FeatureSpec, bar_spec
from feeds.tape import Tape
from models import command
from models.output import output_folder
from pipelines import params
from training import event_labels, labels, targets
from training.event_labels import EventLabelParams
from training.labels import LabelParams, Labels
from training.pool import Report, run_tasks
from training.targets import TargetParams

TAPE: Final = Path("artifacts/data/market.tape")
OUT: Final = Path("artifacts/features")
CHUNK_ROWS: Final = 65_536
DEFAULT_TARGETS: Final = TargetParams()


def featurize(
    tape: Tape,
    out: Path,
    features: FeatureParams,
    label: LabelParams,
    target: TargetParams = DEFAULT_TARGETS,
    *,
    chunk_rows: int = CHUNK_ROWS,
) -> None:
    """Write the features and labels of ``tape`` into the folder ``out``, which appears whole or not at all.

    Raises BadInput for a tape that holds anything but bars; BadConfig if the horizon is no multiple of the interval.
    """
    spec = bar_spec(features, tape.interval_ns, label.horizon_ns)
    document = {"features": spec.as_json(), "features_hash": spec.hash, "label": label.as_json()}
    document |= {"label_hash": label.hash, "targets": target.as_json(), "targets_hash": target.hash}
    document |= {"tape_id": tape.tape_id}
    with output_folder(out) as folder:
        made = _fill(tape, folder, spec, label, target, chunk_rows)
        _write_past_only(tape, folder, made, label, target, chunk_rows)
        (folder / "spec.json").write_bytes(canonical_json(document))


def _fill(
    tape: Tape, folder: Path, spec: FeatureSpec, label: LabelParams, target: TargetParams, chunk_rows: int
) -> Labels:
    """Everything that a chunk and the rows still waiting for their horizon tell; returns the labels, mapped."""
    rows = len(tape.records)
    features = lanes.create(folder / "features.npy", np.float32, (rows, spec.n_features))
    ready = lanes.create(folder / "ready.npy", np.bool_, (rows,))
    sigma = lanes.create(folder / "sigma.npy", np.float64, (rows,))
    y = Labels(*_create_labels(folder, "label", rows))
    barrier = targets.Barriers(*_create_labels(folder, "barrier", rows))
    big_move = lanes.create(folder / "big_move.npy", np.int8, (rows,))

    state = kernel.new_state(spec, len(tape.instruments))
    longest_ns = max(label.horizon_ns, target.barrier_ns)
    waiting = np.zeros(0, np.int64)  # rows of earlier chunks whose horizon has not passed yet
    for start in range(0, rows, chunk_rows):
        chunk = slice(start, min(start + chunk_rows, rows))
        bars = _bars(tape, chunk)
        kernel.batch(state, bars, features[chunk], ready[chunk], sigma[chunk])
        own = np.concatenate([waiting, np.arange(chunk.start, chunk.stop)])
        bars = np.concatenate([_bars(tape, waiting), bars])
        made = labels.make(bars, sigma[own], label)
        y.label[own], y.known_at[own], y.label_return[own] = made.label, made.known_at, made.label_return
        big_move[own] = targets.big_moves(made, target)
        ends = targets.barriers(bars, sigma[own], tape.interval_ns, target)
        barrier.label[own], barrier.known_at[own], barrier.label_return[own] = (
            ends.label,
            ends.known_at,
            ends.label_return,
        )
        waiting = own[labels.still_open(bars, longest_ns)]
    for part in (y, barrier):
        lanes.flush(part.label, part.known_at, part.label_return)
    lanes.flush(features, ready, sigma, big_move)
    return y


def _create_labels(folder: Path, name: str, rows: int) -> list[np.ndarray]:
    """Label, when it is known and its return, in sigma; each beside the others under ``name``."""
    kinds = (("", np.int8), ("_known_at", np.int64), ("_return", np.float32))
    return [lanes.create(folder / f"{name}{suffix}.npy", dtype, (rows,)) for suffix, dtype in kinds]


def _write_past_only(
    tape: Tape, folder: Path, made: Labels, label: LabelParams, target: TargetParams, chunk_rows: int
) -> None:
    """What a day's rows are given from the days before: quantiles of the return, shares of the classes."""
    days, starts = _days(tape, chunk_rows)
    quantile = lanes.create(folder / "quantile.npy", np.int8, made.label.shape)
    targets.quantiles(days, starts, made, label.horizon_ns, target, quantile)
    lanes.flush(quantile)
    np.save(folder / "priors.npy", targets.priors(days, made.label, made.known_at))


def _days(tape: Tape, chunk_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The UTC days of ``ts_known``, ascending, and where the rows of each begin, with the number of all rows last."""
    days, starts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    last = -1
    for start in range(0, len(tape.records), chunk_rows):
        of_row = tape.records["ts_known"][start : start + chunk_rows] // DAY_NS
        begins = np.flatnonzero(np.diff(of_row, prepend=last))
        days.append(of_row[begins])
        starts.append(start + begins)
        last = int(of_row[-1])
    return np.concatenate(days), np.concatenate([*starts, [len(tape.records)]])


@dataclass(frozen=True, slots=True)
class _Instrument:
    """One process's work: the lanes and labels of one instrument."""

    tape: Path
    index: int
    folder: Path
    label: EventLabelParams


def featurize_events(tape: Tape, out: Path, label: EventLabelParams, workers: int = 1) -> None:
    """Write the MarketStates and labels of a tape of books or quotes as lanes into ``out``/lanes; and its spec.json.

    Instruments are made side by side on ``workers`` processes, whose number changes no byte.
    """
    specs = specs_of(tape.instruments, tape.meta)
    document = {"features": {item.symbol: spec.as_json() for item, spec in zip(tape.instruments, specs, strict=True)}}
    document |= {"features_hash": {item.symbol: spec.hash for item, spec in zip(tape.instruments, specs, strict=True)}}
    document |= {"label": label.as_json(), "label_hash": label.hash, "tape_id": tape.tape_id}
    with output_folder(out) as folder:
        tasks = [_Instrument(tape.path, index, folder / "lanes", label) for index in range(len(specs))]
        done = run_tasks(_featurize_one, tasks, steps=1, workers=workers, title="featurize")
        print("\n".join(line for lines, _ in done for line in lines))
        document["market_state"] = digest = as_one([digest for _, digest in done])  # as `runner paper` shows it
        print(f"market_state: {digest['rows']:,} ready rows, sha256 {digest['sha256']}")
        (folder / "spec.json").write_bytes(canonical_json(document))


def _featurize_one(task: _Instrument, report: Report) -> tuple[list[str], RowsDigest]:
    """Returns a line for each lane, and the digest of their ready rows."""
    lines: list[str] = []
    past = np.zeros((len(event_labels.COLUMNS), targets.CLASSES), np.int64)  # labels of the days before
    written, (digest,) = lanes.write(Tape.open(task.tape, verify=False), task.folder, [task.index])
    for lane in written:
        np.save(lane.folder / "priors.npy", event_labels.priors(past))
        past += _label(lane, task.label)
        lines.append(f"{lane.symbol} {lane.day}: {len(lane.states):,} events, {int(lane.ready.sum()):,} ready")
    report()
    return lines, digest


def _label(lane: lanes.Lane, label: EventLabelParams) -> np.ndarray:
    """Write the labels of ``lane`` chunk by chunk; how many of each class there are, (6, 3)."""
    shape = (len(lane.states), len(event_labels.COLUMNS))
    delta_hat = lanes.create(lane.folder / "delta_hat.npy", np.float32, shape)
    known_at = lanes.create(lane.folder / "label_known_at.npy", np.int64, shape)
    count = np.zeros((len(event_labels.COLUMNS), targets.CLASSES), np.int64)
    for start in range(0, len(lane.states), CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, len(lane.states))
        seen = slice(start, event_labels.look_ahead(lane.states["ts"], stop))
        made = event_labels.make(lane.states[seen], lane.extra[seen], lane.ready[seen], label)
        delta_hat[start:stop], known_at[start:stop] = (part[: stop - start] for part in (made.delta_hat, made.known_at))
        count += event_labels.counts(delta_hat[start:stop])
        lanes.forget(delta_hat, known_at, lane.states, lane.extra, lane.ready)
    lanes.flush(delta_hat, known_at)
    return count


def _bars(tape: Tape, rows: slice | np.ndarray) -> np.ndarray:
    records = np.array(tape.records[rows])
    if (other := np.flatnonzero(records["kind"] != Kind.BAR)).size:
        raise BadInput(f"{tape.path}: record of kind {records['kind'][other[0]]} among bars; featurize reads bars only")
    return records.view(BAR)


def main() -> None:
    """Run the stage with ``params.yaml``."""
    settings, tape = params.load(), Tape.open(TAPE)
    if tape.interval_ns == 0:
        featurize_events(tape, OUT, settings.event_labels, settings.workers)
    else:
        featurize(tape, OUT, settings.features, settings.labels, settings.targets)


if __name__ == "__main__":
    command.run(main)
