"""Stage featurize: the market tape through the feature kernel, and its labels.

Reads ``artifacts/data/market.tape``; writes ``artifacts/features``. From bars: one array per quantity, row i belonging
to record i of the tape, and ``spec.json``. From books and quotes: lanes of MarketStates (``data.lanes``), their labels
and ``spec.json``. The tape is read in chunks and the arrays are written through memory maps, so memory does not grow
with the history.
"""

from pathlib import Path
from typing import Final

import numpy as np

from core.canonical import canonical_json
from core.errors import BadInput
from core.records import BAR, Kind
from data import lanes
from features import bars as kernel
from features.market_state import specs_of
from features.spec import FeatureParams, FeatureSpec, bar_spec
from feeds.tape import Tape
from models import command
from models.output import output_folder
from pipelines import params
from training import event_labels, labels
from training.event_labels import EventLabelParams
from training.labels import LabelParams

TAPE: Final = Path("artifacts/data/market.tape")
OUT: Final = Path("artifacts/features")
CHUNK_ROWS: Final = 65_536


def featurize(
    tape: Tape, out: Path, features: FeatureParams, label: LabelParams, *, chunk_rows: int = CHUNK_ROWS
) -> None:
    """Write the features and labels of ``tape`` into the folder ``out``, which appears whole or not at all.

    Raises BadInput for a tape that holds anything but bars; BadConfig if the horizon is no multiple of the interval.
    """
    spec = bar_spec(features, tape.interval_ns, label.horizon_ns)
    document = {"features": spec.as_json(), "features_hash": spec.hash, "label": label.as_json()}
    document |= {"label_hash": label.hash, "tape_id": tape.tape_id}
    with output_folder(out) as folder:
        _fill(tape, folder, spec, label, chunk_rows)
        (folder / "spec.json").write_bytes(canonical_json(document))


def _fill(tape: Tape, folder: Path, spec: FeatureSpec, label: LabelParams, chunk_rows: int) -> None:
    rows = len(tape.records)
    features = lanes.create(folder / "features.npy", np.float32, (rows, spec.n_features))
    ready = lanes.create(folder / "ready.npy", np.bool_, (rows,))
    sigma = lanes.create(folder / "sigma.npy", np.float64, (rows,))
    y = lanes.create(folder / "label.npy", np.int8, (rows,))
    known_at = lanes.create(folder / "label_known_at.npy", np.int64, (rows,))
    label_return = lanes.create(folder / "label_return.npy", np.float32, (rows,))

    state = kernel.new_state(spec, len(tape.instruments))
    waiting = np.zeros(0, np.int64)  # rows of earlier chunks whose horizon has not passed yet
    for start in range(0, rows, chunk_rows):
        chunk = slice(start, min(start + chunk_rows, rows))
        bars = _bars(tape, chunk)
        kernel.batch(state, bars, features[chunk], ready[chunk], sigma[chunk])
        own = np.concatenate([waiting, np.arange(chunk.start, chunk.stop)])
        bars = np.concatenate([_bars(tape, waiting), bars])
        made = labels.make(bars, sigma[own], label)
        y[own], known_at[own], label_return[own] = made.label, made.known_at, made.label_return
        waiting = own[labels.still_open(bars, label)]
    for array in (features, ready, sigma, y, known_at, label_return):
        array.flush()


def featurize_events(tape: Tape, out: Path, label: EventLabelParams) -> None:
    """Write the MarketStates and labels of a tape of books or quotes as lanes into ``out``/lanes; and its spec.json."""
    specs = specs_of(tape.instruments, tape.meta)
    document = {"features": {item.symbol: spec.as_json() for item, spec in zip(tape.instruments, specs, strict=True)}}
    document |= {"features_hash": {item.symbol: spec.hash for item, spec in zip(tape.instruments, specs, strict=True)}}
    document |= {"label": label.as_json(), "label_hash": label.hash, "tape_id": tape.tape_id}
    with output_folder(out) as folder:
        written, digest = lanes.write(tape, folder / "lanes")
        for lane in written:
            made = event_labels.make(lane.states, lane.extra, lane.ready, label)
            np.save(lane.folder / "delta_hat.npy", made.delta_hat)
            np.save(lane.folder / "label_known_at.npy", made.known_at)
            print(f"{lane.symbol} {lane.day}: {len(lane.states):,} events, {int(lane.ready.sum()):,} ready")
        print(f"market_state: {digest.rows:,} ready rows, sha256 {digest.sha256()}")
        document["market_state"] = digest.as_json()  # what `runner paper` shows of the same tape
        (folder / "spec.json").write_bytes(canonical_json(document))


def _bars(tape: Tape, rows: slice | np.ndarray) -> np.ndarray:
    records = np.array(tape.records[rows])
    if (other := np.flatnonzero(records["kind"] != Kind.BAR)).size:
        raise BadInput(f"{tape.path}: record of kind {records['kind'][other[0]]} among bars; featurize reads bars only")
    return records.view(BAR)


def main() -> None:
    """Run the stage with ``params.yaml``."""
    settings, tape = params.load(), Tape.open(TAPE)
    if tape.interval_ns == 0:
        featurize_events(tape, OUT, settings.event_labels)
    else:
        featurize(tape, OUT, settings.features, settings.labels)


if __name__ == "__main__":
    command.run(main)
