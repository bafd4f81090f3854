"""The models of the simulated venue, chosen by settings, as one record that ``exchange`` and ``simulator`` read.

Each model is a module of its own (``latency``, ``queue``, ``fees``, ``impact``, ``chance``) and stands behind a number
here, so a run's record says everything that its outcome depends on.
"""

from typing import Final

import numpy as np

from core import chance, fees, impact, latency, queue
from core.errors import BadConfig
from core.instruments import Instrument
from core.jit import kernel
from core.records import PPM
from core.settings import Execution, Impact, Latency, Simulation, within

SEED_MAX: Final = 2**63 - 1
REFERENCE_LOTS_MAX: Final = 10**15
SIMULATION: Final = np.dtype(
    [
        ("seed", "<i8"),
        ("late_decision_ns", "<i8"),
        ("late_slippage_ppm", "<i8"),
        ("partial_fills", "<i8"),
        ("reject_ppm", "<i8"),
        ("decision", latency.LATENCY),
        ("request", latency.LATENCY),
        ("response", latency.LATENCY),
        ("queue", queue.QUEUE_MODEL),
        ("impact", impact.IMPACT),
    ]
)
_REJECT: Final = int(chance.Purpose.REJECT)
_RECORDED: Final = int(latency.Latency.RECORDED)


def build(execution: Execution) -> np.ndarray:
    """The models of ``execution``, shape (), dtype SIMULATION. Raises BadConfig naming the key of an impossible one."""
    settings, key = execution.simulation, "execution.simulation"
    check(settings)
    row = np.zeros((), SIMULATION)
    for name in ("seed", "late_decision_ns", "late_slippage_ppm", "partial_fills", "reject_ppm"):
        row[name] = getattr(settings, name)
    row["decision"] = _latency(settings.decision_latency, 0, f"{key}.decision_latency")
    row["request"] = _latency(settings.request_latency, execution.order_latency_ns, f"{key}.request_latency")
    if least_ns(row["request"]) < 1:
        raise BadConfig(f"{key}.request_latency: every request takes at least 1 ns, so that execution follows decision")
    row["response"] = _latency(settings.response_latency, execution.response_latency_ns, f"{key}.response_latency")
    model = settings.queue
    row["queue"] = queue.model(model.kind, power=model.power, unit_lots=model.unit_lots, key=f"{key}.queue")
    row["impact"] = _impact(settings.impact, f"{key}.impact")
    return row


def least_ns(model: np.ndarray) -> int:
    """The least latency of ``model``, shape (), dtype LATENCY. ``delay_ns`` lifts a recorded one to 1 ns."""
    if model["kind"] == latency.Latency.RECORDED:
        return 1
    return int(model["constant_ns"] if model["kind"] == latency.Latency.CONSTANT else model["quantile_ns"][0])


def check(settings: Simulation) -> None:
    """Raise BadConfig naming the key for a value outside its range, or one that has no effect without another."""
    key = "execution.simulation"
    within(f"{key}.seed", settings.seed, 0, SEED_MAX)
    within(f"{key}.late_decision_ns", settings.late_decision_ns, 0, latency.LATENCY_NS_MAX)
    within(f"{key}.late_slippage_ppm", settings.late_slippage_ppm, 0, PPM // 2)
    within(f"{key}.reject_ppm", settings.reject_ppm, 0, PPM)
    if (settings.late_decision_ns == 0) != (settings.late_slippage_ppm == 0):
        raise BadConfig(
            f"{key}.late_decision_ns is {settings.late_decision_ns}, {key}.late_slippage_ppm is "
            f"{settings.late_slippage_ppm}: give both or none"
        )


def schedule(execution: Execution, instrument: Instrument) -> np.ndarray:
    """What an execution in ``instrument`` is charged, shape (), dtype FEES. Raises BadConfig as ``fees.schedule``."""
    if execution.simulation.fees is None:
        received = instrument.fee_asset == "received"
        return fees.flat(instrument.maker_fee_ppm, instrument.taker_fee_ppm, received=received)
    return fees.schedule(execution.simulation.fees, quote=instrument.quote, quote_unit=instrument.quote_unit)


def _latency(settings: Latency | None, constant_ns: int, key: str) -> np.ndarray:
    if settings is None:
        return latency.constant(constant_ns, key=key)
    if settings.kind == "constant":
        return latency.constant(settings.constant_ns, key=key)
    if settings.kind == "sampled":
        return latency.sampled(settings.quantiles, key=key)
    if settings.kind == "recorded":
        return latency.recorded(settings.scale_ppm, key=key)
    raise BadConfig(f"{key}.kind is {settings.kind!r}; there is constant, sampled, recorded")


def _impact(settings: Impact, key: str) -> np.ndarray:
    within(f"{key}.temporary_ppm", settings.temporary_ppm, 0, PPM // 2)
    within(f"{key}.permanent_ppm", settings.permanent_ppm, 0, PPM // 2)
    within(f"{key}.reference_lots", settings.reference_lots, 0, REFERENCE_LOTS_MAX)
    return np.array((settings.temporary_ppm, settings.permanent_ppm, settings.reference_lots), impact.IMPACT)


@kernel
def delay_ns(model: np.void, seed: int, purpose: int, instrument: int, counter: int, feed_ns: int) -> int:
    """One latency of ``purpose`` (dtype LATENCY): ``counter`` is the order id, or the number of the response."""
    drawn = latency.draw_ns(model, seed, chance.stream(purpose, instrument), counter, feed_ns)
    return max(1, drawn) if model["kind"] == _RECORDED else drawn


@kernel
def is_rejected(simulation: np.void, instrument: int, order_id: int) -> bool:
    """Chance has the venue reject this order."""
    if simulation["reject_ppm"] == 0:
        return False
    return chance.draw_ppm(simulation["seed"], chance.stream(_REJECT, instrument), order_id) < simulation["reject_ppm"]
