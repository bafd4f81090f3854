"""Where a resting order stands in the queue at its price, when only the level's total is known.

Kernels work on an order's record with the fields ``ahead`` and ``traded`` (``core.layout.RESTING``) and a model of
dtype QUEUE_MODEL. ``ahead`` is counted in 2**-20 lots, quantities in lots; both are integers, so results do not depend
on a compiler. Below 0 it is what traded beyond us and has not filled us yet.

What every model agrees on: an order joins behind all that is shown; a trade at its price takes from the front; the
queue in front of it is never longer than what is shown. They differ in a decrease that no trade explains, that is in
cancelled lots:

- risk-averse: all of them were behind us. Pessimistic, and the default.
- power n: each was behind us with probability b^n / (b^n + f^n), where f lots are in front of us and b behind. For
  n = 1 every lot is as likely to be cancelled; for a larger n cancellations come more from the longer part.
- logarithm: the same with log(1 + f / unit) and log(1 + b / unit).

The last two follow R. Rigtorp, "Estimating order queue position" (2013). No more lots can have been cancelled behind
us, nor in front of us, than stood there: only a trade takes ``ahead`` below 0. All rounding is against us, towards a
longer queue.
"""

from enum import IntEnum
from typing import Final

import numpy as np

from core.errors import BadConfig
from core.jit import kernel
from core.settings import within

FRACTION_BITS: Final = 20
LOT: Final = 1 << FRACTION_BITS
HALF_LOT: Final = LOT // 2
LOTS_MAX: Final = 2**41  # of one level; more is counted as that many
POWER_MAX: Final = 3
UNIT_LOTS_MAX: Final = 10**12
QUEUE_MODEL: Final = np.dtype(
    [
        ("kind", "<i8"),
        ("power", "<i8"),  # power: n
        ("unit_lots", "<i8"),  # logarithm: the quantity that counts as 1
    ]
)
_ONE_BITS: Final = 30  # of a probability: 2**30 is 1
_ONE: Final = 1 << _ONE_BITS


class Queue(IntEnum):
    """QUEUE_MODEL.kind."""

    RISK_AVERSE = 1
    POWER = 2
    LOGARITHM = 3


_RISK_AVERSE: Final = int(Queue.RISK_AVERSE)
_LOGARITHM: Final = int(Queue.LOGARITHM)
_KINDS: Final = {"risk_averse": Queue.RISK_AVERSE, "power": Queue.POWER, "logarithm": Queue.LOGARITHM}


def model(kind: str = "risk_averse", *, power: int = 1, unit_lots: int = 1, key: str = "queue") -> np.ndarray:
    """A queue model, shape (), dtype QUEUE_MODEL. Raises BadConfig naming ``key`` for an impossible one."""
    if kind not in _KINDS:
        raise BadConfig(f"{key}.kind is {kind!r}; there is {', '.join(_KINDS)}")
    within(f"{key}.power", power, 1, POWER_MAX)
    within(f"{key}.unit_lots", unit_lots, 1, UNIT_LOTS_MAX)
    return np.array((_KINDS[kind], power, unit_lots), QUEUE_MODEL)


@kernel
def on_new(order: np.void, shown: int) -> None:
    """The order joins a level that shows ``shown`` lots."""
    order["ahead"] = min(shown, LOTS_MAX) << FRACTION_BITS
    order["traded"] = 0


@kernel
def on_trade(order: np.void, lots: int) -> None:
    """``lots`` traded at the order's price, initiated from the other side."""
    lots = min(lots, LOTS_MAX)
    order["ahead"] = max(order["ahead"] - (lots << FRACTION_BITS), -(LOTS_MAX << FRACTION_BITS))
    order["traded"] = min(order["traded"] + lots, LOTS_MAX)


@kernel
def on_depth(model: np.void, order: np.void, before: int, after: int) -> None:
    """The order's level showed ``before`` lots and now shows ``after``."""
    after = min(after, LOTS_MAX)
    if model["kind"] != _RISK_AVERSE:
        before = min(before, LOTS_MAX)
        cancelled = before - after - order["traded"]  # the trades since the last change are in this change
        if cancelled > 0:
            _cancel(model, order, before << FRACTION_BITS, cancelled << FRACTION_BITS)
    order["traded"] = 0
    order["ahead"] = min(order["ahead"], after << FRACTION_BITS)


@kernel
def _cancel(model: np.void, order: np.void, shown: int, cancelled: int) -> None:
    """Take the share of ``cancelled`` off the queue that was in front of us; all in 2**-20 lots."""
    ahead = order["ahead"]
    front = max(0, ahead)
    behind = max(0, shown - ahead)
    from_behind = min(behind, _scale(cancelled, behind_probability(model, front, behind)))
    order["ahead"] = max(min(ahead, 0), ahead - cancelled + from_behind)


@kernel
def behind_probability(model: np.void, front: int, behind: int) -> int:
    """The chance that a cancelled lot stood behind us, 2**30 = 1; ``front``, ``behind`` >= 0 in 2**-20 lots."""
    if front == 0:
        return _ONE
    if behind == 0:
        return 0
    if model["kind"] == _LOGARITHM:
        unit = model["unit_lots"] << FRACTION_BITS
        zero = _log2(unit)
        weight_front, weight_behind = _log2(front + unit) - zero, _log2(behind + unit) - zero
        return _part(weight_behind, max(1, weight_front + weight_behind))
    share = _part(behind, front + behind)
    weight_front, weight_behind = _ONE - share, share
    for _ in range(1, model["power"]):
        weight_front = weight_front * (_ONE - share) >> _ONE_BITS
        weight_behind = weight_behind * share >> _ONE_BITS
    return _part(weight_behind, weight_front + weight_behind)


@kernel
def _part(part: int, whole: int) -> int:
    """``part`` / ``whole`` with 0 <= part <= whole, 2**30 = 1, rounded up; both are brought below 2**32 first."""
    while whole >= 4 * _ONE:
        part >>= 1
        whole >>= 1
    return ((part << _ONE_BITS) + whole - 1) // whole


@kernel
def _scale(amount: int, probability: int) -> int:
    """``amount`` below 2**61 x ``probability`` / 2**30, rounded up, without leaving 63 bits."""
    high, low = amount >> _ONE_BITS, amount & (_ONE - 1)
    return high * probability + ((low * probability + _ONE - 1) >> _ONE_BITS)


@kernel
def _log2(number: int) -> int:
    """log2 of 1 <= number < 2**62, 2**30 = 1.

    The place of the highest bit, then the fraction bit by bit: squaring a number in [1, 2) doubles its logarithm.
    """
    whole = 0
    while number >> whole >= 2:
        whole += 1
    mantissa = number << (_ONE_BITS - whole) if whole <= _ONE_BITS else number >> (whole - _ONE_BITS)
    fraction = 0
    for _ in range(_ONE_BITS):
        mantissa = mantissa * mantissa >> _ONE_BITS
        fraction *= 2
        if mantissa >= 2 * _ONE:
            mantissa >>= 1
            fraction += 1
    return (whole << _ONE_BITS) + fraction


@kernel
def take_filled(order: np.void, left: int, partial: bool) -> int:
    """Lots that the trades at our price fill: 0 until at least half a lot traded beyond the queue.

    Then what traded beyond it, rounded to whole lots and at most ``left``, if ``partial`` fills are on, and all of
    ``left`` if not. What was counted is used up: the order is then at the front of its queue.
    """
    beyond = (HALF_LOT - order["ahead"]) >> FRACTION_BITS
    if beyond <= 0:
        return 0
    order["ahead"] = 0
    return min(left, beyond) if partial else left
