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

RECORD_VERSION: Final = 2
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
# reason: why it did not trade; edge and cost: ppm, or thousandths of a tick (DecisionFlag)
DECISION: Final = _dtype("bar_ts", "target_lots", "size_lots", "edge", "cost")
INTENT: Final = _dtype("order_id", "price", "qty", "deadline_ns", "token")  # submit or cancel; price 0: at market
ORDER: Final = _dtype("order_id", "state", "filled", "remaining", "exec_id")  # acknowledgement, reject, end of an order
FILL: Final = _dtype("order_id", "price", "qty", "fee", "exec_id")  # fee in units of the asset named by flags
RISK: Final = _dtype("state_from", "state_to", "metric", "value", "limit")  # risk_breach and state changes
COMMAND: Final = _dtype("command", "argument", "c", "d", "e")  # operator input: kill switch, flatten, resume
MARK: Final = _dtype("equity", "cash", "exposure", "peak_equity", "state")  # quote units
LEVEL: Final = _dtype("price", "qty", "update_id", "d", "e")  # side's level is now qty lots; 0: gone
TRADE: Final = _dtype("price", "qty", "trade_id", "d", "e")  # side: of the initiator
CLEAR: Final = _dtype("price", "b", "update_id", "d", "e")  # side's levels from its best to price are gone; 0: all
TOP: Final = _dtype("bid", "bid_qty", "ask", "ask_qty", "update_id")  # best bid and offer of a venue without depth
STATUS: Final = _dtype("status", "until_ns", "c", "d", "e")  # what the venue lets this instrument do
FUNDING: Final = _dtype("price", "rate_ppb", "c", "d", "e")  # a holder of q lots pays q x price x rate
TRANSFER: Final = _dtype("amount", "cause", "transfer_id", "d", "e")  # units of the asset named by flags; + into us
TIMER: Final = _dtype("a", "b", "c", "d", "e")  # the moment to decide
CHECK: Final = _dtype("order_id", "value", "limit", "qty", "price")  # one rule's judgement of an order; see Verdict


class Kind(IntEnum):
    """What a record is. Inputs of the core are below 32, its outputs from 32 up."""

    BAR = 1
    PREDICTION = 2
    ORDER = 3
    FILL = 4
    COMMAND = 5
    SESSION = 6  # first record of a stream; body a..d: run id (first 32 bytes), e: record version
    LEVEL = 7
    TRADE = 8
    CLEAR = 9
    TOP = 10
    STATUS = 11
    FUNDING = 12
    TRANSFER = 13
    TIMER = 14
    DECISION = 32
    INTENT = 33
    RISK = 34
    MARK = 35
    CHECK = 36  # the chain, rule by rule, before the INTENT or the refusing DECISION it led to


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
    Kind.LEVEL: LEVEL,
    Kind.TRADE: TRADE,
    Kind.CLEAR: CLEAR,
    Kind.TOP: TOP,
    Kind.STATUS: STATUS,
    Kind.FUNDING: FUNDING,
    Kind.TRANSFER: TRANSFER,
    Kind.TIMER: TIMER,
    Kind.CHECK: CHECK,
}


class Side(IntEnum):
    """Of an order or a fill."""

    NONE = 0
    BUY = 1
    SELL = 2


class Action(IntEnum):
    """What an order does to exposure; the columns of the rule table. Stored in the low byte of INTENT.flags."""

    OPEN = 1
    REDUCE = 2
    CANCEL = 3


ACTION_MASK: Final = 0xFF


class OrderFlag(IntEnum):
    """Bits of INTENT.flags beside the action. A price above 0 without a bit is a plain limit order."""

    POST_ONLY = 0x100  # expires instead of taking
    IMMEDIATE = 0x200  # what does not fill at once is cancelled
    # With REDUCE: rests until the market is at ``price`` or beyond, then executes at market. With CANCEL: not cancelled
    # now; from now on what is left of the order does so. At price 0 it does so at once. So a take-profit with a stop is
    # one order, of which no more than its quantity can ever fill.
    STOP = 0x400


class DecisionFlag(IntEnum):
    """Bits of DECISION.flags beside the action."""

    MILLITICKS = 0x100  # edge and cost are thousandths of a tick, not ppm


class MarketFlag(IntEnum):
    """Bits of the flags of LEVEL, TRADE, CLEAR and TOP."""

    LAST = 1  # the last record of a venue's message: the book is whole again
    SNAPSHOT = 2  # part of a snapshot


class MarketStatus(IntEnum):
    """STATUS.status."""

    TRADING = 1
    HALT = 2  # nothing matches; orders rest
    CANCEL_ONLY = 3
    AUCTION = 4


class TransferCause(IntEnum):
    """TRANSFER.cause."""

    DEPOSIT = 1
    WITHDRAWAL = 2
    ADJUSTMENT = 3  # reconciliation: the venue's books differ from ours and are right


class Verdict(IntEnum):
    """CHECK.flags: what the rule named by CHECK.reason said. ``limit`` is the most ``value`` may be."""

    PASS = 0
    REFUSED = 1


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
    WEEKLY_LOSS_PPM = 6
    TOTAL_LOSS_PPM = 7
    MARGIN_PPM = 8
    LOSSES = 9  # round trips that ended at a loss
    MARKET_DATA = 10


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
    ALREADY_SHORT = 10
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
    EXPOSURE_THEME = 36
    EXPOSURE_CLUSTER = 37
    FEE_GUARD = 38
    TURNOVER = 39
    WEEKLY_STOP = 40
    MARGIN = 41
    MARKET_HALTED = 42
    DEPTH = 43  # clipped to, or above, the share of visible depth that one order may take
    ORDERS_MAX = 44  # every slot of the instrument is taken
    BACK_OFF = 45
    TOTAL_LOSS = 46
    SIGNAL_RATE = 47  # entries in a rolling hour
    SIGNAL_RATE_HIGH = 48  # entries of high confidence in a rolling hour
    REDUCE_ONLY = 49  # more than is left to reduce
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
    NEW_WEEK = 61
    TOTAL_LOSS_FLATTEN = 62
    DELEVERAGE = 63
    BOOK_INVALID = 64
    DEPOSIT = 65
    WITHDRAWAL = 66
    ADJUSTMENT = 67
    # intents
    ENTRY = 70
    EXIT = 71
    FLATTEN = 72
    CANCEL_STALE = 73
    QUOTE = 74  # a resting order of a two-sided strategy
    REQUOTE = 75  # the market or the inventory moved away from a resting order
    CROSS = 76
    POST = 77
    CHASE = 78
    TAKE_PROFIT = 79
    # order ends
    FILLED = 80
    PARTIAL = 81
    VENUE_REJECT = 82
    EXPIRED = 83
    NO_VOLUME = 84
    SESSION_END = 85
    WOULD_CROSS = 86  # a post-only order that would have taken
    LATE_CANCEL = 87  # the order had ended before the cancel arrived
    STOP_LOSS = 90
