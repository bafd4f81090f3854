"""Model step, batch 1, one thread: p50 and p99 of the exported LSTM. Run: ``python tests/benchmarks/bench_model.py``.

Budget: p50 at most 15 us; 350 us is the ceiling for any model.
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from core.canonical import sha256_hex  # noqa: E402
from models.manifest import Model  # noqa: E402
from tests.training.worlds import network_arrays  # noqa: E402
from training.export import export_lstm  # noqa: E402
from training.latency import measure_step  # noqa: E402

FEATURES = 20
SHAPES = ((32, 1), (64, 1), (64, 2))  # hidden units, layers


def main() -> None:
    """Measure every shape and print one table."""
    table = Table("hidden", "layers", "p50 us", "p99 us", title="exported step, batch 1")
    for hidden, layers in SHAPES:
        step = export_lstm(network_arrays(features=FEATURES, hidden=hidden, layers=layers))
        model = Model(
            kind="lstm",
            onnx_sha256=sha256_hex(step.onnx_bytes),
            n_features=FEATURES,
            states=step.states,
            warmup_bars=0,
        )
        taken = measure_step(step.onnx_bytes, model, steps=20_000)
        table.add_row(str(hidden), str(layers), f"{taken['step_p50_us']:.1f}", f"{taken['step_p99_us']:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
