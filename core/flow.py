"""What order flow does to a resting order: how likely it fills, and how the price moves once it has.

Both are estimators for strategies, on records and in integers; the exchange does not use them.

- Fill probability (requirements ORD-11): our size / (queue ahead + epsilon) x flow, at most 1, with epsilon one lot.
  The flow is the lots that trade at our price over a horizon, per lot of ours, times a scale: the formula is too sure
  of short queues and the scale is learnt from outcomes until forecasts are right on average.
- Adverse selection (requirements ORD-12): by how much the microprice moved against the side we traded on, ``horizon``
  quotes after we did, on average. The microprice weighs each side's price with the other side's quantity.
"""

from typing import Final

import numpy as np

from core.jit import kernel
from core.records import PPM, Side
from core.units import DOWN, UP, mul_div

PENDING_MAX: Final = 64  # actions whose outcome is still awaited; a further one is not counted
MICRO_BITS: Final = 10  # a microprice is in 2**-10 ticks
QTY_MAX: Final = 2**40
FLOW_PPM_MAX: Final = 1000 * PPM
SILENCE_MAX: Final = 1000  # horizons without a trade after which nothing of the average is left
SCALE_PPM_MAX: Final = 100 * PPM
_BUY: Final = int(Side.BUY)

# One instrument's flow: the average of lots traded per horizon, the latest with the share ``weight_ppm``.
FLOW: Final = np.dtype(
    [
        ("horizon_ns", "<i8"),
        ("weight_ppm", "<i8"),
        ("from_ns", "<i8"),  # start of the horizon under way
        ("lots", "<i8"),  # traded in it
        ("milli", "<i8"),  # the average, thousandths of a lot
        ("scale_ppm", "<i8"),
    ]
)
ADVERSE: Final = np.dtype(
    [
        ("horizon", "<i8"),  # quotes after an action at which its outcome is taken
        ("quotes", "<i8"),  # seen so far
        ("head", "<i8"),  # counts of actions ever settled and ever made; their slots are modulo PENDING_MAX
        ("tail", "<i8"),
        ("count", "<i8", (3,)),  # by side
        ("drift", "<i8", (3,)),  # sum of moves against us, 2**-10 ticks
        ("side", "<i8", (PENDING_MAX,)),
        ("due", "<i8", (PENDING_MAX,)),
        ("micro", "<i8", (PENDING_MAX,)),
    ]
)


@kernel
def fill_probability_ppm(our_lots: int, ahead_lots: int, flow_ppm: int) -> int:
    """The chance that an order of ``our_lots`` > 0 behind ``ahead_lots`` >= 0 fills within the horizon.

    ``flow_ppm`` >= 0: lots expected to trade at our price over the horizon, in ppm of ``our_lots``.
    """
    flow = min(flow_ppm, FLOW_PPM_MAX)
    return min(PPM, mul_div(min(our_lots, QTY_MAX), flow, min(ahead_lots, QTY_MAX) + 1, DOWN))


def new_flow(horizon_ns: int, weight_ppm: int) -> np.ndarray:
    """No flow seen yet, shape (1,), dtype FLOW."""
    flow = np.zeros(1, FLOW)
    flow["horizon_ns"], flow["weight_ppm"], flow["scale_ppm"] = horizon_ns, weight_ppm, PPM
    return flow


@kernel
def flow_ppm(flow: np.void, our_lots: int) -> int:
    """``flow_ppm`` of an order of ``our_lots`` > 0 at the average flow seen, times the scale learnt (dtype FLOW)."""
    per_lot = min(FLOW_PPM_MAX, mul_div(flow["milli"], 1000, our_lots, DOWN))
    return min(FLOW_PPM_MAX, mul_div(per_lot, flow["scale_ppm"], PPM, DOWN))


@kernel
def on_outcome(flow: np.void, forecast_ppm: int, filled: bool) -> None:
    """An order forecast at ``forecast_ppm`` did or did not fill in time: move the scale towards the truth."""
    missed = (PPM if filled else 0) - forecast_ppm
    step = mul_div(abs(missed), flow["weight_ppm"], PPM, DOWN)
    flow["scale_ppm"] = min(SCALE_PPM_MAX, max(0, flow["scale_ppm"] + (step if missed > 0 else -step)))


@kernel
def on_traded(flow: np.void, ts_ns: int, lots: int) -> None:
    """``lots`` traded on the side that fills us at ``ts_ns``; 0 lots: only time passes."""
    if flow["from_ns"] == 0:
        flow["from_ns"] = ts_ns
    ended = (ts_ns - flow["from_ns"]) // flow["horizon_ns"]
    flow["from_ns"] += ended * flow["horizon_ns"]
    for _ in range(min(ended, SILENCE_MAX)):
        gained = mul_div(flow["lots"] * 1000, flow["weight_ppm"], PPM, DOWN)
        flow["milli"] += gained - mul_div(flow["milli"], flow["weight_ppm"], PPM, UP)
        flow["lots"] = 0
    if ended > SILENCE_MAX:
        flow["milli"] = 0
    flow["lots"] = min(flow["lots"] + lots, QTY_MAX)


@kernel
def microprice(bid: int, bid_lots: int, ask: int, ask_lots: int) -> int:
    """(bid x ask lots + ask x bid lots) / all lots in 2**-10 ticks, rounded down; lots > 0, prices below 2**42."""
    bid_lots, ask_lots = min(bid_lots, QTY_MAX), min(ask_lots, QTY_MAX)
    return (bid << MICRO_BITS) + mul_div((ask - bid) << MICRO_BITS, bid_lots, bid_lots + ask_lots, DOWN)


@kernel
def on_action(adverse: np.void, side: int, micro: int) -> None:
    """We traded (or joined the queue) on ``side`` while the microprice was ``micro``."""
    tail = adverse["tail"]
    if tail - adverse["head"] >= PENDING_MAX:
        return
    slot = tail % PENDING_MAX
    adverse["side"][slot] = side
    adverse["due"][slot] = adverse["quotes"] + adverse["horizon"]
    adverse["micro"][slot] = micro
    adverse["tail"] = tail + 1


@kernel
def on_quote(adverse: np.void, micro: int) -> None:
    """The next quote has the microprice ``micro``: actions that are due are settled at it."""
    adverse["quotes"] += 1
    while adverse["head"] < adverse["tail"]:
        slot = adverse["head"] % PENDING_MAX
        if adverse["due"][slot] > adverse["quotes"]:
            return
        side, moved = adverse["side"][slot], micro - adverse["micro"][slot]
        adverse["drift"][side] += -moved if side == _BUY else moved
        adverse["count"][side] += 1
        adverse["head"] += 1


@kernel
def penalty(adverse: np.void, side: int) -> int:
    """Average move against us after trading on ``side``, 2**-10 ticks, rounded down; 0 before the first outcome."""
    count = adverse["count"][side]
    return adverse["drift"][side] // count if count > 0 else 0
