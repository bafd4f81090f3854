"""The records: the only form in which events, intents, fills and risk changes exist in the core.

Every record is 64 bytes, one cache line: a 24-byte head shared by all kinds and a body of five int64 whose names
depend on the kind. So one array, one file and one hash chain hold a whole session, and a typed view of the same
memory gives the names back without copying::

    stream = np.memmap(path, RECORD, "r", offset=65536)
    fills = stream[stream["kind"] == Kind.FILL].view(FILL)

A record's sequence number is its position in its stream; it is not stored. 1,024 records fill one 64 KiB hash block.

Units: times are ns since the Unix epoch (UTC), prices ticks, quantities lots, cash and fees units of the asset they
are in (``Instrument`` gives all three), probabilities, rates and edges parts per million (ppm).
"""

from enum import IntEnum
from typing import Final

import numpy as np

RECORD_VERSION: Final = 1
RECORD_BYTES: Final = 64
PPM: Final = 1_000_000
MINUTE_NS: Final = 60_000_000_000
HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS  # days are UTC days

_HEAD = [
    ("ts_event", "<i8"),  # when it happened at its origin (a bar: its close; a fill: the execution)
    ("ts_known", "<i8"),  # when this process could first know it
    ("kind", "u1"),
    ("side", "u1"),
    ("instrument", "<u2"),  # index into the tape's or session's instrument list
    ("reason", "<u2"),
    ("flags", "<u2"),
]


def _dtype(*body: str) -> np.dtype:
    dtype = np.dtype(_HEAD + [(name, "<i8") for name in body])
    if dtype.itemsize != RECORD_BYTES:
        raise AssertionError(f"record of {dtype.itemsize} bytes, {RECORD_BYTES} required: {body}")
    return dtype


RECORD: Final = _dtype("a", "b", "c", "d", "e")  # the untyped view
BAR: Final = _dtype("open", "high", "low", "close", "volume")  # ticks x 4, lots
PREDICTION: Final = _dtype(
    "p_down_ppm",
    "p_up_ppm",
    "edge_ppm",  # expected return over the label horizon
    "sigma_ppm",  # standard deviation of the return over the label horizon
    "bar_ts",  # ts_event of the bar it was made from: the key of idempotence
)
DECISION: Final = _dtype("bar_ts", "target_lots", "size_lots", "edge_ppm", "cost_ppm")  # reason: why it did not trade
INTENT: Final = _dtype("order_id", "price", "qty", "deadline_ns", "token")  # submit or cancel
ORDER: Final = _dtype("order_id", "state", "filled", "remaining", "exec_id")  # acknowledgement, reject, end of an order
FILL: Final = _dtype("order_id", "price", "qty", "fee", "exec_id")  # fee in units of the asset named by flags
RISK: Final = _dtype("state_from", "state_to", "metric", "value", "limit")  # risk_breach and state changes
COMMAND: Final = _dtype("command", "argument", "c", "d", "e")  # operator input: kill switch, flatten, resume
MARK: Final = _dtype("equity", "cash", "exposure", "drawdown_ppm", "state")  # quote units


class Kind(IntEnum):
    """What a record is. Inputs of the core are below 32, its outputs from 32 up."""

    BAR = 1
    PREDICTION = 2
    ORDER = 3
    FILL = 4
    COMMAND = 5
    SESSION = 6  # first record of a stream; body a..d: run id (first 32 bytes), e: record version
    DECISION = 32
    INTENT = 33
    RISK = 34
    MARK = 35


TYPED: Final = {
    Kind.BAR: BAR,
    Kind.PREDICTION: PREDICTION,
    Kind.ORDER: ORDER,
    Kind.FILL: FILL,
    Kind.COMMAND: COMMAND,
    Kind.SESSION: RECORD,
    Kind.DECISION: DECISION,
    Kind.INTENT: INTENT,
    Kind.RISK: RISK,
    Kind.MARK: MARK,
}


class Side(IntEnum):
    """Of an order or a fill."""

    NONE = 0
    BUY = 1
    SELL = 2


class Action(IntEnum):
    """What an order does to exposure; the columns of the rule table. Stored in INTENT.flags."""

    OPEN = 1
    REDUCE = 2
    CANCEL = 3


class FeeAsset(IntEnum):
    """The asset a fill's fee was charged in. Stored in FILL.flags."""

    QUOTE = 1
    BASE = 2


class OrderState(IntEnum):
    """Order life cycle (requirements C-33). Ends are FILLED, CANCELED, EXPIRED and REJECTED."""

    NONE = 0
    PENDING_NEW = 1
    NEW = 2
    PARTIAL = 3
    PENDING_CANCEL = 4
    UNKNOWN = 5
    FILLED = 6
    CANCELED = 7
    EXPIRED = 8
    REJECTED = 9


class RiskState(IntEnum):
    """How much the account may still do; only a RISK record changes it."""

    NORMAL = 0
    CAUTION = 1  # sizes are multiplied by risk.caution_multiplier_ppm
    HALT = 2  # nothing may increase exposure
    FLATTEN = 3  # cancel everything, close everything


class Command(IntEnum):
    """What an operator may ask for (COMMAND.command)."""

    KILL_HALT = 1
    KILL_FLATTEN = 2
    RESUME = 3


class PredictionFlag(IntEnum):
    """Bits of PREDICTION.flags."""

    WARMUP = 1  # made from a warm-up prefix or an unready kernel: size 0


class Metric(IntEnum):
    """What RISK.metric names; RISK.value and RISK.limit are in its unit."""

    NONE = 0
    DRAWDOWN_PPM = 1
    DAILY_LOSS_PPM = 2
    OPERATOR = 3
    VENUE_FAILURES = 4
    LEDGER = 5


class Reason(IntEnum):
    """Why: one vocabulary for every refusal, no-trade, breach and order end (requirements C-39)."""

    NONE = 0
    # decision: nothing to do
    WARMUP = 1
    NO_EDGE = 2
    HOLD = 3
    ALREADY_LONG = 4
    ALREADY_FLAT = 5
    ORDER_IN_FLIGHT = 6
    SIZE_ZERO = 7
    SIGMA_MISSING = 8
    DUST = 9
    # the nine steps (requirements RISK-18), in order
    NOT_WHITELISTED = 20
    STALE = 21
    LOW_CONFIDENCE = 22
    KILL_SWITCH = 23
    CIRCUIT_OPEN = 24
    PRICE_BAND = 25
    FILTER_TICK = 26
    FILTER_LOT = 27
    FILTER_NOTIONAL = 28
    EXPOSURE_ASSET = 29
    EXPOSURE_TOTAL = 30
    CASH = 31
    LONG_ONLY = 32
    COOLDOWN = 33
    RATE_LIMIT = 34
    DUPLICATE = 35
    # risk state changes
    DRAWDOWN_CAUTION = 50
    DRAWDOWN_HALT = 51
    DRAWDOWN_FLATTEN = 52
    DAILY_STOP = 53
    OPERATOR_HALT = 54
    OPERATOR_FLATTEN = 55
    OPERATOR_RESUME = 56
    RECOVERED = 57
    NEW_DAY = 58
    FACT_BEYOND_LIMIT = 59
    DAILY_FLATTEN = 60
    # intents
    ENTRY = 70
    EXIT = 71
    FLATTEN = 72
    CANCEL_STALE = 73
    # order ends
    FILLED = 80
    PARTIAL = 81
    VENUE_REJECT = 82
    EXPIRED = 83
    NO_VOLUME = 84
    SESSION_END = 85
