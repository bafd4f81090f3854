"""A rehearsal of the runner over a fold: bar by bar through kernel, exported model and core, compared and timed.

The backtest reads stored predictions and runs the core in one compiled loop. The runner makes each prediction when its
bar arrives and calls the core record by record. Both must give the same bytes, or the backtest is about another
program; and the rehearsal's time per bar is what the runner will need without its disk.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import config, engine, strategies
from core.errors import BadInput
from core.records import BAR, RECORD, PredictionFlag
from evaluation.backtest import FoldFiles, open_fold
from evaluation.session import play
from features.spec import spec_from_json
from models.predictor import Predictor
from models.stream import Stream


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the comparison found, and what each of the n bars that the model judged took: kernel + model + core.

    ``cpu_ns`` is the processor time of this thread: what the program needs. ``wall_ns`` also holds what other programs
    on the machine did meanwhile, which on a busy build machine is most of its tail; a gate on it would judge them.
    """

    predictions_equal: bool
    outputs_equal: bool
    cpu_ns: np.ndarray  # int64 [n]
    wall_ns: np.ndarray  # int64 [n]

    @property
    def paper_parity(self) -> int:
        """1 if a paper session over this fold is the backtest, else 0."""
        return int(self.predictions_equal and self.outputs_equal)


def rehearse(folder: Path) -> Rehearsal:
    """Run the fold in ``folder`` as the runner would. Raises BadInput if it has no model."""
    files = open_fold(folder)
    stored = play(files.bars, files.tape.instruments, files.predictions, files.manifest.trading, files.trade_from_ns)
    stream = open_stream(folder, files)
    trading = files.manifest.trading
    built = config.build(trading, files.tape.instruments)
    state, venue = engine.new_state(built), engine.new_venue(built)
    strategy = strategies.of(trading, files.tape.instruments)
    records = np.array(files.tape.records)
    bars, buffer = records.view(BAR), np.zeros(engine.OUT_PER_INPUT, RECORD)
    made, outputs = np.zeros(len(bars), RECORD), []
    cpu_ns, wall_ns = np.zeros(len(bars), np.int64), np.zeros(len(bars), np.int64)
    for row in range(len(bars)):
        began_wall, began = time.perf_counter_ns(), time.thread_time_ns()
        prediction = stream.on_bar(bars[row : row + 1]).view(RECORD)
        for record in (records[row : row + 1], prediction):
            n = engine.on_record(built, state, venue, record, buffer, strategy)
            outputs.append(buffer[:n].tobytes())
        cpu_ns[row], wall_ns[row] = time.thread_time_ns() - began, time.perf_counter_ns() - began_wall
        made[row] = prediction[0]
    judged = (made["flags"] & PredictionFlag.WARMUP) == 0
    return Rehearsal(
        predictions_equal=made.tobytes() == files.predictions.tobytes(),
        outputs_equal=b"".join(outputs) == stored.session.out.tobytes()
        and state.tobytes() == stored.session.state.tobytes(),
        cpu_ns=cpu_ns[judged],
        wall_ns=wall_ns[judged],
    )


def open_stream(folder: Path, files: FoldFiles) -> Stream:
    """Kernel and exported step of a fold. Raises BadInput without a model, Refused for an altered file."""
    manifest = files.manifest
    if manifest.model is None:
        raise BadInput(f"{folder / 'manifest.json'}: a rule strategy has no model to rehearse")
    n = len(files.tape.instruments)
    return Stream(
        spec_from_json(manifest.feature_spec),
        Predictor((folder / "step.onnx").read_bytes(), manifest.model, n),
        n,
        warmup_bars=manifest.model.warmup_bars,
        latency_ns=manifest.trading.execution.decision_latency_ns,
        trade_from_ns=files.trade_from_ns,
    )
