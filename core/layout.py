"""Where the core keeps things: one nested record per owner, packed, int64 throughout.

A compiled function receives such records and never an array view of their insides: that is seven times faster, since
nothing in the loop is reference counted. A state is its bytes: equal sessions have equal states, byte for byte.

A record that straddles two cache lines is read back slowly right after it was written, so what is copied for every row
begins on a line of its own: ``zeros`` aligns an array, ``_lines`` rounds a record up to whole lines, big parts first.
"""

from typing import Any, Final

import numpy as np

from core.fees import FEES, TURNOVER
from core.instruments import INSTRUMENT
from core.records import BAR, PREDICTION, RECORD
from core.simulation import SIMULATION

LINE_BYTES: Final = 64
INSTRUMENTS_MAX: Final = 16
ORDERS_MAX: Final = 8  # orders an instrument may have at work at one time
GROUPS_MAX: Final = 16  # themes and clusters
MEMORY_WORDS: Final = 256  # int64 words a strategy may keep per instrument
RATE_SLOTS: Final = 256  # submit times kept for the rolling hour
FILL_SLOTS: Final = 256  # executions kept per instrument, to know a fill that is delivered again
OUTBOX_SLOTS: Final = 2048  # most records one input can produce
PRICE_TICKS_MAX: Final = 2**42  # so that price x window x window of a moving average stays inside 64 bits

BOOK_TICKS: Final = 2**16  # prices of a book around its touch that are one array look-up away
FAR_LEVELS: Final = 2**14  # levels beyond them a book can hold
FAR_SLOTS: Final = 4 * FAR_LEVELS
REQUEST_SLOTS: Final = 512  # requests on their way to the simulated exchange
RESPONSE_SLOTS: Final = 4096  # reports on their way back


def zeros(count: int, dtype: np.dtype) -> np.ndarray:
    """``count`` zero records of ``dtype`` that begin on a cache line."""
    memory = np.zeros(count * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % LINE_BYTES
    return memory[start : start + count * dtype.itemsize].view(dtype)


def _ints(*names: str) -> list[tuple[str, str]]:
    return [(name, "<i8") for name in names]


def _lines(fields: list[Any]) -> np.dtype:
    """A record of ``fields``, filled up to whole cache lines."""
    missing = -np.dtype(fields).itemsize % LINE_BYTES
    return np.dtype([*fields, ("filling", "u1", (missing,))] if missing else fields)


PARAMS: Final = np.dtype(
    _ints(
        "hold_horizons",
        "entry_margin_ppm",
        "exit_edge_ppm",
        "fast",
        "slow",
        "cost_ppm",  # of a round trip in this instrument: 2 x (taker fee + slippage)
        "slippage_ppm",
        "taker_fee_ppm",
        "maker_fee_ppm",
        "adverse_milliticks",  # expected move against us after a fill
        "flow_lots",  # lots expected to trade at the price of a resting order; 0: it surely fills
        "sigma_share_ppm",  # k of max(spread, k sigma)
        "entry",  # the way in: ``core.strategies.wants``
        "chase_ttl_ns",
        "sizing",  # ``core.strategies.parameters.SIZINGS``
        "fixed_lots",  # above 0: the size
        "edge_scale_ppm",  # of equity, bought at an edge of one sigma
        "take_profit_ticks",  # distances from the price of the decision; 0: not by this
        "take_profit_sigma_ppm",
        "stop_loss_ticks",
        "stop_loss_sigma_ppm",
        "reward_risk_ppm",  # the take-profit as a multiple of the stop's distance
        "order_lots",  # of one resting order of a two-sided strategy
        "inventory_lots",  # most lots it may hold on either side
        "inventory_skew_milliticks",  # by which its quotes move against each lot held
    )
)
MEMORY: Final = np.dtype([("words", "<i8", (MEMORY_WORDS,))])

MARKET: Final = np.dtype(
    [
        ("instrument", INSTRUMENT),
        ("params", PARAMS),
        ("fees", FEES),
        *_ints(
            "allowed",  # 1: on the whitelist
            "price_max",  # ticks; price x value_num fits 61 bits
            "lots_max",  # base units of that many lots fit 61 bits
            "unit_den",  # value_den x lot_units: divides price x value_num x base units to quote units
            "capacity_lots",  # most lots of one entry; 0: no limit
        ),
    ]
)

GROUP: Final = np.dtype(_ints("is_cluster", "cap_ppm", "members"))  # members: bit k set for instrument k
BUCKET_SLOTS: Final = 64  # a rolling minute in seconds, a rolling hour in minutes, and room
LOSS_SLOTS: Final = 16  # times kept of round trips that lost

CONFIG: Final = np.dtype(
    [
        *_ints(
            "n_instruments",
            "key",  # of the approval token, derived from everything else here
            "initial_cash",  # quote units
            "equity_max",  # quote units: the bound all arithmetic was proven for
            "is_margin",  # 1: short positions and borrowed cash within the caps
            "leverage_ppm",  # exposure in ppm of equity that uses all margin
            "order_latency_ns",  # no request arrives sooner
            "decision_interval_ns",
            "decide_on_event",  # 1: also after every instant at which something became known
            "slippage_ppm",
            "participation_ppm",
            "order_ttl_ns",
            "sigma_target_ppm",
            "asset_cap_ppm",
            "total_cap_ppm",
            "caution_drawdown_ppm",
            "halt_drawdown_ppm",
            "flatten_drawdown_ppm",
            "caution_multiplier_ppm",
            "daily_stop_ppm",
            "weekly_stop_ppm",
            "flatten_daily_loss_ppm",
            "daily_loss_limit_ppm",  # of the initial cash; 0: no limit
            "total_loss_limit_ppm",
            "day_offset_ns",  # where days begin: ``core.days``
            "day_seasons",
            "min_confidence_ppm",
            "prediction_ttl_ns",
            "price_band_ppm",
            "max_orders_per_hour",  # 0: no limit
            "max_signals_per_hour",
            "max_signals_per_hour_high",
            "high_confidence_ppm",
            "backoff_losses",
            "backoff_window_ns",
            "backoff_cut_ppm",
            "turnover_minute_ppm",
            "turnover_hour_ppm",
            "fee_guard_ppm",
            "fee_budget_day_ppm",
            "depth_share_ppm",
            "deleverage_ppm",
            "cooldown_ns",
            "circuit_failures",
            "circuit_open_ns",
            "n_groups",
        ),
        ("simulation", SIMULATION),
        ("groups", GROUP, (GROUPS_MAX,)),
        ("markets", MARKET, (INSTRUMENTS_MAX,)),
    ]
)

ACCOUNT: Final = np.dtype(
    _ints(
        "now_ns",  # the latest ts_known seen: the core's only clock
        "cash",  # quote units; below 0: borrowed
        "holdings",  # quote units, all positions at their mark, shorts negative
        "exposure",  # quote units, all positions at their mark, shorts positive
        "equity",  # cash + holdings
        "next_order_id",
    )
)

# What a strategy sees of its instrument.
VIEW: Final = _lines(
    [
        ("bar", BAR),
        ("prediction", PREDICTION),
        *_ints(
            "event",  # Kind of the record that has just arrived: BAR, PREDICTION or TIMER
            "now_ns",
            "lots",  # whole lots held, short negative
            "bid",  # best prices in ticks; 0: none
            "bid_qty",
            "ask",
            "ask_qty",
        ),
    ]
)
# What a strategy says beside its want. What it does not fill in stays as it was, at first 0.
PROPOSAL: Final = np.dtype(
    _ints(
        "bid_price",  # with QUOTE: the orders it wants at work; 0 lots: none
        "bid_lots",
        "ask_price",
        "ask_lots",
        "edge",  # what it reckons to earn, as DECISION records it: ppm, or thousandths of a tick if ...
        "cost",  # what trading on it costs, in the same unit
        "in_milliticks",  # ... this is 1
        "entry",  # the way in; 0: as the settings say
        "take_profit_ticks",  # distances from the price of the decision; 0: as the settings say
        "stop_loss_ticks",
    )
)
# What is under way to one goal: an entry that rests and follows the market.
CHASE: Final = np.dtype(
    _ints(
        "side",  # 0: none
        "goal",  # whole lots held when it is done, short negative
        "limit",  # ticks of its latest order
        "until_ns",
    )
)
HANDLES: Final = np.dtype([("addresses", "<i8", (INSTRUMENTS_MAX,))])  # of the strategy of each instrument

POSITION: Final = _lines(
    [
        ("view", VIEW),
        *_ints(
            "base_units",
            "value",  # quote units at ``mark2``, rounded down
            "mark2",  # twice the price in ticks it is valued at: 2 x close or fill, bid + ask of a book
            "per_mark",  # value / mark2 while base_units stands, if that is a whole number; else 0
            "mark2_safe",  # the largest mark2 that times per_mark surely fits
            "price",  # ticks: last bar's close, last fill, or the mark rounded down
            "previous_close",  # ticks; 0 before the second bar
            "decided_ts",  # latest bar_ts a decision was made for: the key of idempotence
            "exit_ns",  # when the position last became flat; 0: never
            "cost",  # quote units paid for ``base_units``, at their average; shorts: received, negative
            "realised",  # quote units earned by everything closed so far, fees and funding taken off
            "trip_start",  # ``realised`` when the present round trip began
            "status",  # MarketStatus; 0: nothing was said, it trades
            "status_until_ns",  # when ``status`` ends by itself; 0: it does not
            "refused",  # the last refusal of a quote per side, a forced exit, a bracket: one that stands is said once
            "take_profit",  # ticks: where the position is to be left; 0: not by a price
            "stop_loss",
            "entered",  # side of the entry those two are for
            "managed",  # 1: a chase or such prices are to be looked after
        ),
        ("proposal", PROPOSAL),
        ("chase", CHASE),
        ("memory", MEMORY),
    ]
)

ORDER_SLOT: Final = np.dtype(
    _ints(
        "order_id",
        "side",
        "state",
        "action",
        "qty",  # lots
        "filled",
        "limit",  # ticks; 0: a market order
        "price",  # ticks at approval: what the reserved cash and exposure are counted at
        "deadline_ns",
        "reason",  # of its INTENT: what it is for
        "stop",  # ticks at which what is left of it executes at market; 0: nowhere
    )
)
# The live ones first, oldest first; then the one that ended last and some before it. The last slot is scratch.
ORDERS: Final = np.dtype([*_ints("live"), ("slots", ORDER_SLOT, (ORDERS_MAX + 1,))])

BUCKETS: Final = np.dtype([("number", "<i8", (BUCKET_SLOTS,)), ("amount", "<i8", (BUCKET_SLOTS,))])
RISK_STATE: Final = np.dtype(
    [
        *_ints(
            "state",
            "peak_equity",
            "drawdown_max_ppm",
            "peak_bound",  # while the peak is at most this, ...
            "attention",  # ... equity above this ...
            "exposure_bound",  # ... and exposure at most this, no limit is reached
            "day_end_ns",  # of the venue's calendar
            "day_equity",  # at the start of that day
            "day_balance",  # the same without what was unrealised
            "day_floor",  # equity at or below which the daily stop holds
            "day_stopped",
            "day_fees",  # quote units paid in that day
            "week",
            "week_equity",  # at the start of that week
            "week_floor",
            "week_stopped",
            "start_equity",  # what was paid in: the initial cash, deposits less withdrawals
            "total_floor",  # equity at or below which the account has lost all it may, ...
            "day_sell_floor",  # ... the day's equity all that it may, ...
            "day_limit_floor",  # ... the day's balance all that it may: everything is closed
            "total_stopped",
            "deleveraging",  # 1: more margin in use than ``deleverage_ppm``
            "failures",  # venue rejects in a row
            "circuit_until_ns",
            "probe_id",  # the order sent to see whether an open circuit can close; 0: none
            "probe_instrument",
            "trips",  # how often the circuit opened
            "trips_week",
            "losses",  # round trips that lost; index into the ring below
            "backed_off",  # 1: sizes are cut for the rest of the day
            "signals",  # entries approved; index into the ring below
            "signals_high",
            "submitted",  # orders ever submitted; index into the ring below
        ),
        ("loss_ns", "<i8", (LOSS_SLOTS,)),
        ("signal_ns", "<i8", (RATE_SLOTS,)),
        ("signal_high_ns", "<i8", (RATE_SLOTS,)),
        ("submit_ns", "<i8", (RATE_SLOTS,)),
        ("seconds", BUCKETS),  # what was traded, by second
        ("minutes", BUCKETS),
    ]
)

EXECUTIONS: Final = np.dtype(
    [
        *_ints(
            "booked",  # fills ever booked; index into the rings below
            "exec_id_max",  # an id above it is new: most venues count upwards, and nothing need be searched
        ),
        ("order_ids", "<i8", (FILL_SLOTS,)),
        ("exec_ids", "<i8", (FILL_SLOTS,)),
    ]
)

STATE: Final = np.dtype(
    [
        ("positions", POSITION, (INSTRUMENTS_MAX,)),
        ("account", ACCOUNT),
        ("risk", RISK_STATE),
        ("orders", ORDERS, (INSTRUMENTS_MAX,)),
        ("executions", EXECUTIONS, (INSTRUMENTS_MAX,)),
    ]
)

BOOK: Final = _lines(
    [
        *_ints(
            "bid",  # best prices in ticks; 0: that side is empty
            "ask",
            "floor",  # the window holds the prices floor + 1 to floor + BOOK_TICKS
            "n_bids",  # levels per side inside the window
            "n_asks",
            "n_far",  # levels outside it
            "far_bid",  # their best prices; 0: none
            "far_ask",
        ),
        ("levels", "<i8", (BOOK_TICKS,)),  # lots by price modulo BOOK_TICKS: bids above 0, asks below
        ("far_prices", "<i8", (2 * FAR_LEVELS,)),  # in no order
        ("far_lots", "<i8", (2 * FAR_LEVELS,)),  # same signs
        ("far_index", "<i8", (FAR_SLOTS,)),  # where a price is in them, plus 1
    ]
)

WORKING: Final = np.dtype(
    _ints(
        "order_id",
        "side",
        "qty",
        "filled",
        "limit",  # ticks; 0: a market order
        "stop",  # ticks at which it becomes one; 0: nowhere
        "flags",
        "arrival_ns",
        "deadline_ns",
        "cancel_ns",  # when a cancel request arrives; 0: none
        "acknowledged",
        "late",  # 1: an entry whose decision took too long
    )
)
# The orders at work on one instrument, oldest first.
BAR_VENUE: Final = np.dtype(
    [
        *_ints(
            "count",
            "last_close_ns",  # ts_event of the instrument's previous bar
            "last_known_ns",  # and its ts_known
            "shift_ppm",  # by how much our own taking has moved prices for us
        ),
        ("orders", WORKING, (ORDERS_MAX,)),
    ]
)
VENUE: Final = np.dtype([*_ints("next_exec_id"), ("turnover", TURNOVER), ("working", BAR_VENUE, (INSTRUMENTS_MAX,))])

RESTING: Final = np.dtype(
    _ints(
        "order_id",
        "side",
        "price",
        "qty",
        "filled",
        "ahead",  # queued before us at our price, 2**-20 lots; below 0: traded beyond us
        "traded",  # lots at our price since what is shown there last changed
        "deadline_ns",
        "stop",  # ticks at which what is left executes at market; 0: nowhere
    )
)
MATCHING: Final = np.dtype(
    [
        *_ints(
            "count",
            "status",  # MarketStatus; 0: trading
            "shift_ppm",  # by how much our own taking has moved prices for us
            "stops",  # how many of the orders have a stop
        ),
        ("orders", RESTING, (ORDERS_MAX,)),  # oldest first
    ]
)
REQUEST: Final = np.dtype(
    _ints(
        "arrival_ns",
        "order_id",
        "instrument",
        "side",
        "price",
        "qty",
        "deadline_ns",
        "flags",
        "late",  # 1: an entry whose decision took too long
    )
)
EXCHANGE: Final = _lines(
    [
        ("responses", RECORD, (RESPONSE_SLOTS,)),
        *_ints(
            "next_exec_id",
            "request_head",  # counts of requests ever taken out and put in; their slots are modulo REQUEST_SLOTS
            "request_tail",
            "response_head",
            "response_tail",
            "request_ns",  # arrival of the first request waiting; a far future if there is none
            "response_ns",
            "request_last_ns",  # arrival of the last request sent: none overtakes another
            "response_last_ns",
            "feed_ns",  # ts_known - ts_event of the latest record of the tape
        ),
        ("turnover", TURNOVER),
        ("triggered", REQUEST),  # scratch: an order whose stop was reached, as if it had just arrived
        ("matching", MATCHING, (INSTRUMENTS_MAX,)),
        ("requests", REQUEST, (REQUEST_SLOTS,)),
    ]
)

CURSOR: Final = np.dtype(
    _ints(
        "exchange_row",  # rows of the tape the exchange has seen
        "local_row",  # rows we have seen
        "timer_ns",  # when the next decision is due
        "decisions",
        "ended",
    )
)

OUTBOX: Final = _lines([("records", RECORD, (OUTBOX_SLOTS,)), *_ints("count")])
